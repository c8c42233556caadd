//! The plan: all that is known of a network before it runs, as one constant.
//!
//! [`build()`] folds the layers of a network's type, in order, into a [`Table`]: names, shapes, parameters, where each
//! weight lies in one flat buffer. Everything else reads the resulting [`Plan`]: summary, saving and loading, engines,
//! initialisers. A network that cannot be is a [`Fault`] in the table, raised at compile time where it reads well.

mod build;
mod fault;

pub use build::{MAX_LAYERS, Table, build, count};
pub use fault::{Fault, FaultKind, Message, report};

use crate::layers::Op;
use crate::shape::Shape;

/// All that is known of a network at compile time.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The network's name.
    pub network: &'static str,
    /// Shape of one input.
    pub input: Shape,
    /// Shape of one output.
    pub output: Shape,
    /// The layers in the order of execution; each takes the output of the one before it.
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
        let output = layers.last().map_or(self.input, |layer| layer.output);
        Plan { layers, params, trainable_params: params, output, ..*self }
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
    /// Shape that it takes, without the batch.
    pub input: Shape,
    /// Shape that it has, without the batch.
    pub output: Shape,
    pub(crate) weights: [Weight; 2],
    pub(crate) weight_count: usize,
}

impl LayerPlan {
    /// Its weight tensors: kernel, then bias.
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

/// How a weight starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initializer {
    /// U(±√(6 / (fan_in + fan_out))) (Glorot & Bengio 2010).
    GlorotUniform {
        /// Inputs that one output sums over.
        fan_in: usize,
        /// Outputs that one input reaches.
        fan_out: usize,
    },
    /// All zero.
    Zeros,
}
