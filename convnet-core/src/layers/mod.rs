//! The layers: one folder each, with its type, what it tells the plan, and its reference.
//!
//! A layer of a listing becomes a type without values, `Conv2D<U32, Window<…>, Relu, true>`; its settings live in its
//! type parameters. [`Layers::NODE`] turns a type (or a tree of pairs of types) into plain data, [`Node`], from which
//! [`crate::plan`] computes everything else. A layer type does not know the size of the map that it works on: the
//! same `Conv2D` serves 28×28 and 150×150.

pub mod activation;
pub mod average_pooling2d;
pub mod batch_normalization;
pub mod composition;
pub mod conv2d;
pub mod dense;
pub mod depthwise_conv2d;
#[cfg(test)]
mod differences;
pub mod dropout;
pub mod flatten;
pub mod global_average_pooling2d;
pub mod global_max_pooling2d;
pub mod leaky_relu;
pub mod max_pooling2d;
pub mod relu;
pub mod rescaling;
pub mod reshape;
pub mod separable_conv2d;
pub mod settings;
pub mod up_sampling2d;
pub mod window;
pub mod zero_padding2d;

use crate::plan::InitializerKind;
use crate::shape::{Pattern, Shape};

pub use activation::Activation;
pub use composition::{Merge, Nested, Paths, Repeat};
pub use settings::{Frozen, Initialized, Named, Regularized};
pub use window::{PaddingKind, Slides, Window, WindowKind};

/// What a layer does, with its settings: the part of a layer that engines execute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// A convolution over a map, in groups of channels if there are any.
    Conv2D(conv2d::Spec),
    /// A convolution of each channel by itself.
    DepthwiseConv2D(depthwise_conv2d::Spec),
    /// A depthwise convolution, then one of 1×1 that mixes the channels.
    SeparableConv2D(separable_conv2d::Spec),
    /// The largest value of each window of a map.
    MaxPooling2D(max_pooling2d::Spec),
    /// The mean of each window of a map.
    AveragePooling2D(average_pooling2d::Spec),
    /// The mean of each channel of a map.
    GlobalAveragePooling2D(global_average_pooling2d::Spec),
    /// The largest value of each channel of a map.
    GlobalMaxPooling2D(global_max_pooling2d::Spec),
    /// Zeros around a map.
    ZeroPadding2D(zero_padding2d::Spec),
    /// A map enlarged by whole factors.
    UpSampling2D(up_sampling2d::Spec),
    /// A map as a vector.
    Flatten,
    /// The same values in another shape.
    Reshape(Shape),
    /// A fully connected layer on a vector.
    Dense(dense::Spec),
    /// An activation as a layer of its own.
    Activation(Activation),
    /// `softmax` as a layer of its own.
    Softmax,
    /// A rectifier with a ceiling, a slope and a threshold.
    ReLU(relu::Spec),
    /// A rectifier with a slope below zero.
    LeakyReLU(leaky_relu::Spec),
    /// Each value times a factor, plus an offset.
    Rescaling(rescaling::Spec),
    /// In training a share of the values set to zero.
    Dropout(dropout::Spec),
    /// Each channel shifted and scaled to mean 0 and variance 1, then by its own offset and factor.
    BatchNormalization(batch_normalization::Spec),
    /// The sum of several tensors.
    Add,
    /// Several tensors joined along the last axis.
    Concatenate,
}

impl Op {
    /// How many kinds of layers there are.
    pub(crate) const KINDS: usize = 21;

    /// The kind's number, below [`Op::KINDS`].
    pub(crate) const fn number(&self) -> usize {
        match self {
            Op::Conv2D(_) => 0,
            Op::DepthwiseConv2D(_) => 1,
            Op::SeparableConv2D(_) => 2,
            Op::MaxPooling2D(_) => 3,
            Op::AveragePooling2D(_) => 4,
            Op::GlobalAveragePooling2D(_) => 5,
            Op::GlobalMaxPooling2D(_) => 6,
            Op::ZeroPadding2D(_) => 7,
            Op::UpSampling2D(_) => 8,
            Op::Flatten => 9,
            Op::Reshape(_) => 10,
            Op::Dense(_) => 11,
            Op::Activation(_) => 12,
            Op::Softmax => 13,
            Op::ReLU(_) => 14,
            Op::LeakyReLU(_) => 15,
            Op::Rescaling(_) => 16,
            Op::Dropout(_) => 17,
            Op::BatchNormalization(_) => 18,
            Op::Add => 19,
            Op::Concatenate => 20,
        }
    }

    /// The layer's name in a listing and in the summary: `Conv2D`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Op::Conv2D(_) => "Conv2D",
            Op::DepthwiseConv2D(_) => "DepthwiseConv2D",
            Op::SeparableConv2D(_) => "SeparableConv2D",
            Op::MaxPooling2D(_) => "MaxPooling2D",
            Op::AveragePooling2D(_) => "AveragePooling2D",
            Op::GlobalAveragePooling2D(_) => "GlobalAveragePooling2D",
            Op::GlobalMaxPooling2D(_) => "GlobalMaxPooling2D",
            Op::ZeroPadding2D(_) => "ZeroPadding2D",
            Op::UpSampling2D(_) => "UpSampling2D",
            Op::Flatten => "Flatten",
            Op::Reshape(_) => "Reshape",
            Op::Dense(_) => "Dense",
            Op::Activation(_) => "Activation",
            Op::Softmax => "Softmax",
            Op::ReLU(_) => "ReLU",
            Op::LeakyReLU(_) => "LeakyReLU",
            Op::Rescaling(_) => "Rescaling",
            Op::Dropout(_) => "Dropout",
            Op::BatchNormalization(_) => "BatchNormalization",
            Op::Add => "Add",
            Op::Concatenate => "Concatenate",
        }
    }

    /// What Keras names such a layer: `conv2d`, to which it appends the count.
    pub const fn stem(&self) -> &'static str {
        match self {
            Op::Conv2D(_) => "conv2d",
            Op::DepthwiseConv2D(_) => "depthwise_conv2d",
            Op::SeparableConv2D(_) => "separable_conv2d",
            Op::MaxPooling2D(_) => "max_pooling2d",
            Op::AveragePooling2D(_) => "average_pooling2d",
            Op::GlobalAveragePooling2D(_) => "global_average_pooling2d",
            Op::GlobalMaxPooling2D(_) => "global_max_pooling2d",
            Op::ZeroPadding2D(_) => "zero_padding2d",
            Op::UpSampling2D(_) => "up_sampling2d",
            Op::Flatten => "flatten",
            Op::Reshape(_) => "reshape",
            Op::Dense(_) => "dense",
            Op::Activation(_) => "activation",
            Op::Softmax => "softmax",
            Op::ReLU(_) => "re_lu",
            Op::LeakyReLU(_) => "leaky_re_lu",
            Op::Rescaling(_) => "rescaling",
            Op::Dropout(_) => "dropout",
            Op::BatchNormalization(_) => "batch_normalization",
            Op::Add => "add",
            Op::Concatenate => "concatenate",
        }
    }

    /// The activation applied to the layer's output; linear where the layer has none.
    pub const fn activation(&self) -> Activation {
        match self {
            Op::Conv2D(spec) => spec.activation,
            Op::DepthwiseConv2D(spec) => spec.activation,
            Op::SeparableConv2D(spec) => spec.activation,
            Op::Dense(spec) => spec.activation,
            Op::Activation(activation) => *activation,
            Op::Softmax => Activation::Softmax,
            _ => Activation::Linear,
        }
    }

    /// The same with another activation; unchanged where the layer has none.
    pub const fn with_activation(self, activation: Activation) -> Op {
        match self {
            Op::Conv2D(spec) => Op::Conv2D(conv2d::Spec { activation, ..spec }),
            Op::DepthwiseConv2D(spec) => Op::DepthwiseConv2D(depthwise_conv2d::Spec { activation, ..spec }),
            Op::SeparableConv2D(spec) => Op::SeparableConv2D(separable_conv2d::Spec { activation, ..spec }),
            Op::Dense(spec) => Op::Dense(dense::Spec { activation, ..spec }),
            Op::Activation(_) | Op::Softmax => Op::Activation(activation),
            _ => self,
        }
    }
}

/// The most weights that a layer has.
pub const MAX_WEIGHTS: usize = 4;

/// One layer of a listing, as its type says it: before any shape is known. Lists of weights are in the order of their
/// roles (see [`settings`]).
#[derive(Clone, Copy, Debug)]
pub struct LayerSpec {
    /// The `name = "…"` given to it.
    pub name: Option<&'static str>,
    /// What it does.
    pub op: Op,
    /// How each weight starts, where it is not as usual.
    pub initializers: [Option<InitializerKind>; MAX_WEIGHTS],
    /// The factor of each weight's sum of squares in the loss.
    pub l2: [f64; MAX_WEIGHTS],
}

impl LayerSpec {
    /// A layer as it is without further settings.
    pub const fn of(op: Op) -> Self {
        LayerSpec { name: None, op, initializers: [None; MAX_WEIGHTS], l2: [0.0; MAX_WEIGHTS] }
    }
}

/// A network's layers as data: the shape of its type.
#[derive(Clone, Copy, Debug)]
pub enum Node {
    /// No layer at all.
    Empty,
    /// One layer.
    Layer(LayerSpec),
    /// Two trees, one after the other.
    Pair(&'static Node, &'static Node),
    /// Another network or a block used as a layer: it wants an input of its own shape.
    Network {
        /// The name of that network.
        name: &'static str,
        /// What it takes.
        input: Pattern,
        /// Its layers.
        layers: &'static Node,
    },
    /// A tree whose weights training leaves alone.
    Frozen(&'static Node),
    /// Trees that begin from the same tensor, and the layer that merges them.
    Branches {
        /// [`Op::Add`] or [`Op::Concatenate`].
        merge: LayerSpec,
        /// The trees.
        paths: &'static [&'static Node],
    },
    /// A tree several times, one after the other.
    Repeat {
        /// How often.
        times: usize,
        /// The tree.
        layers: &'static Node,
    },
}

/// A layer's type, or a tree of them: `((A, B), (C, D))`. The macro balances the tree, since the compiler's work on
/// a list grows with the square of its length.
pub trait Layers: 'static {
    /// The same as data.
    const NODE: &'static Node;
}

impl Layers for () {
    const NODE: &'static Node = &Node::Empty;
}

impl<A: Layers, B: Layers> Layers for (A, B) {
    const NODE: &'static Node = &Node::Pair(A::NODE, B::NODE);
}

/// The types of single layers.
pub trait Layer: 'static {
    /// The layer as data.
    const SPEC: LayerSpec;
}

impl<L: Layer> Layers for L {
    const NODE: &'static Node = &Node::Layer(L::SPEC);
}
