//! The plan: all that is known of a network before it runs, as one constant.
//!
//! [`build()`] folds the layers of a network's type, in order, into a [`Table`]: names, shapes, parameters, where each
//! weight lies in one flat buffer. Everything else reads the resulting [`Plan`]: summary, saving and loading, engines,
//! initialisers. A network that cannot be is a [`Fault`] in the table, raised at compile time where it reads well.

mod build;
mod fault;
mod initializer;
mod shapes;
mod weights;

pub use build::{MAX_LAYERS, Table, build, count};
pub use fault::{Fault, FaultKind, Message, report};
pub use initializer::{Distribution, Initializer, InitializerKind};
#[cfg(feature = "dfdx")]
pub(crate) use shapes::{merged_shape, output_shape};

use crate::layers::{MAX_WEIGHTS, Op};
use crate::shape::Shape;

/// The most branches that a merge joins.
pub const MAX_BRANCHES: usize = 8;

/// All that is known of a network at compile time.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The network's name.
    pub network: &'static str,
    /// Shape of one input.
    pub input: Shape,
    /// Shape of one output.
    pub output: Shape,
    /// The layers in the order of the listing, in which each comes behind those whose outputs it takes.
    pub layers: &'static [LayerPlan],
    /// Number of parameters, and length of the flat parameter buffer.
    pub params: usize,
    /// How many of them training changes.
    pub trainable_params: usize,
}

impl Plan {
    /// The plan of the first `layers` layers alone: what leads to an inner layer's output. Weights keep their places.
    pub fn prefix(&self, layers: usize) -> Plan {
        let layers = &self.layers[..layers.min(self.layers.len())];
        let params = layers.iter().map(LayerPlan::params).sum();
        let trainable_params = layers.iter().map(LayerPlan::trainable_params).sum();
        let output = layers.last().map_or(self.input, |layer| layer.output);
        Plan { layers, params, trainable_params, output, ..*self }
    }

    /// The shape of a tensor, numbered as in [`LayerPlan::inputs`].
    pub fn tensor(&self, number: usize) -> Shape {
        number.checked_sub(1).map_or(self.input, |layer| self.layers[layer].output)
    }

    /// All weight tensors in the order of the flat buffer, each with its layer.
    pub fn weights(&self) -> impl Iterator<Item = (&'static LayerPlan, &'static Weight)> + use<> {
        self.layers.iter().flat_map(|layer| layer.weights().iter().map(move |weight| (layer, weight)))
    }
}

/// One layer of a [`Plan`].
#[derive(Clone, Copy, Debug)]
pub struct LayerPlan {
    /// Its name: `conv2d_1`.
    pub name: Name,
    /// What it does.
    pub op: Op,
    /// Shape that it takes, without the batch; for a merge, that of its first branch.
    pub input: Shape,
    /// Shape that it has, without the batch.
    pub output: Shape,
    /// Whether training may change its weights: `false` with `trainable = false`.
    pub trainable: bool,
    pub(crate) inputs: [usize; MAX_BRANCHES],
    pub(crate) input_count: usize,
    pub(crate) weights: [Weight; MAX_WEIGHTS],
    pub(crate) weight_count: usize,
}

impl LayerPlan {
    /// The tensors that it takes: 0 is the network's input, `i + 1` the output of layer `i`. One, but for merges.
    pub const fn inputs(&self) -> &[usize] {
        self.inputs.split_at(self.input_count).0
    }

    /// Its weight tensors in Keras's order: kernel, then bias.
    pub const fn weights(&self) -> &[Weight] {
        self.weights.split_at(self.weight_count).0
    }

    /// Number of its parameters.
    pub const fn params(&self) -> usize {
        let mut params = 0;
        let mut i = 0;
        while i < self.weight_count {
            params += self.weights[i].len();
            i += 1;
        }
        params
    }

    /// How many of them training changes.
    pub const fn trainable_params(&self) -> usize {
        let mut params = 0;
        let mut i = 0;
        while i < self.weight_count {
            if self.weights[i].trainable {
                params += self.weights[i].len();
            }
            i += 1;
        }
        params
    }
}

/// A layer's name: given by the user, or counted per kind as Keras does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `name = "…"`
    Given(&'static str),
    /// `conv2d_1`: Keras's stem, and the how-manieth of its kind this is.
    Counted(&'static str, usize),
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::Given(name) => f.write_str(name),
            Name::Counted(stem, number) => write!(f, "{stem}_{number}"),
        }
    }
}

/// One weight tensor: what it is called, its sizes, where it lies, how it starts.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    /// `kernel` or `bias`: with the layer's name the key in a file, `conv2d_1/kernel`.
    pub name: &'static str,
    /// First element in the network's flat parameter buffer.
    pub offset: usize,
    /// How it is filled at the start.
    pub initializer: Initializer,
    /// Whether training changes it by its gradient. Not the case in frozen layers, nor for moving statistics.
    pub trainable: bool,
    /// The factor of its sum of squares in the loss: `kernel_regularizer = L2(…)`; 0 for none.
    pub l2: f64,
    pub(crate) sizes: [usize; 4],
    pub(crate) rank: usize,
}

impl Weight {
    /// Sizes, in Keras's order.
    pub const fn sizes(&self) -> &[usize] {
        self.sizes.split_at(self.rank).0
    }

    /// Number of elements. Saturates instead of overflowing.
    pub const fn len(&self) -> usize {
        let mut len = 1usize;
        let mut i = 0;
        while i < self.rank {
            len = len.saturating_mul(self.sizes[i]);
            i += 1;
        }
        len
    }

    /// Whether it has no element.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its place in the flat parameter buffer.
    pub const fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }
}
