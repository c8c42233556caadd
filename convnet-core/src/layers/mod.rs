//! The layers: one folder each, with its type, what it tells the plan, and its reference.
//!
//! A layer of a listing becomes a type without values, `Conv2D<U32, Window<…>, Relu, true>`; its settings live in its
//! type parameters. [`Layers::NODE`] turns a type (or a tree of pairs of types) into plain data, [`Node`], from which
//! [`crate::plan`] computes everything else. A layer type does not know the size of the map that it works on: the
//! same `Conv2D` serves 28×28 and 150×150.

pub mod activation;
pub mod conv2d;
pub mod dense;
#[cfg(test)]
mod differences;
pub mod flatten;
pub mod max_pooling2d;

use crate::shape::size::{Phantom, Size, Text};
use crate::shape::walk::{Same, Valid, Walk};
use crate::shape::{Axis, Padding, Shape};

pub use activation::Activation;

/// What a layer does, with its settings: the part of a layer that engines execute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// A convolution over a map.
    Conv2D(conv2d::Spec),
    /// The largest value of each window of a map.
    MaxPooling2D(max_pooling2d::Spec),
    /// A map as a vector.
    Flatten,
    /// A fully connected layer on a vector.
    Dense(dense::Spec),
}

impl Op {
    /// How many kinds of layers there are.
    pub(crate) const KINDS: usize = 4;

    /// The kind's number, below [`Op::KINDS`].
    pub(crate) const fn number(&self) -> usize {
        match self {
            Op::Conv2D(_) => 0,
            Op::MaxPooling2D(_) => 1,
            Op::Flatten => 2,
            Op::Dense(_) => 3,
        }
    }

    /// The layer's name in a listing and in the summary: `Conv2D`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Op::Conv2D(_) => "Conv2D",
            Op::MaxPooling2D(_) => "MaxPooling2D",
            Op::Flatten => "Flatten",
            Op::Dense(_) => "Dense",
        }
    }

    /// What Keras names such a layer: `conv2d`, to which it appends the count.
    pub const fn stem(&self) -> &'static str {
        match self {
            Op::Conv2D(_) => "conv2d",
            Op::MaxPooling2D(_) => "max_pooling2d",
            Op::Flatten => "flatten",
            Op::Dense(_) => "dense",
        }
    }

    /// The activation applied to the layer's output; linear where the layer has none.
    pub const fn activation(&self) -> Activation {
        match self {
            Op::Conv2D(spec) => spec.activation,
            Op::Dense(spec) => spec.activation,
            Op::MaxPooling2D(_) | Op::Flatten => Activation::Linear,
        }
    }

    /// The same with another activation; unchanged where the layer has none.
    pub const fn with_activation(self, activation: Activation) -> Op {
        match self {
            Op::Conv2D(spec) => Op::Conv2D(conv2d::Spec { activation, ..spec }),
            Op::Dense(spec) => Op::Dense(dense::Spec { activation, ..spec }),
            Op::MaxPooling2D(_) | Op::Flatten => self,
        }
    }
}

/// One layer of a listing, as its type says it: before any shape is known.
#[derive(Clone, Copy, Debug)]
pub struct LayerSpec {
    /// The `name = "…"` given to it.
    pub name: Option<&'static str>,
    /// What it does.
    pub op: Op,
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
    /// Another network used as a layer: it wants an input of its own shape.
    Network {
        /// The name of that network.
        name: &'static str,
        /// What it takes.
        input: Shape,
        /// Its layers.
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

/// A layer with a `name` of its own.
pub struct Named<L, Name>(Phantom<(L, Name)>);

/// The types of single layers.
pub trait Layer: 'static {
    /// The layer as data, unnamed.
    const OP: Op;
}

impl<L: Layer, Name: Text> Layers for Named<L, Name> {
    const NODE: &'static Node = &Node::Layer(LayerSpec { name: Some(Name::TEXT), op: L::OP });
}

impl<In, L: Walk<In>, Name> Walk<In> for Named<L, Name> {
    type Out = L::Out;
}

/// Another network as a layer.
pub struct Nested<N>(Phantom<N>);

impl<N: crate::network::Definition> Layers for Nested<N> {
    const NODE: &'static Node = &Node::Network {
        name: N::NAME,
        input: <N::Input as crate::shape::size::InputShape>::SHAPE,
        layers: N::Layers::NODE,
    };
}

impl<In, N: crate::network::Definition> Walk<In> for Nested<N>
where
    N::Layers: Walk<In>,
{
    type Out = <N::Layers as Walk<In>>::Out;
}

/// A two-dimensional window in a layer's type: its height and width, strides, dilation ([`Size`] types) and padding
/// ([`Valid`] or [`Same`]).
pub struct Window<KH, KW, SH, SW, DH, DW, P>(Phantom<(KH, KW, SH, SW, DH, DW, P)>);

/// The padding types.
pub trait PaddingKind: 'static {
    /// The same as a value.
    const PADDING: Padding;
}

impl PaddingKind for Valid {
    const PADDING: Padding = Padding::Valid;
}

impl PaddingKind for Same {
    const PADDING: Padding = Padding::Same;
}

/// The vertical and the horizontal axis of a [`Window`].
pub trait WindowKind: 'static {
    /// How the window slides vertically.
    const VERTICAL: Axis;
    /// How the window slides horizontally.
    const HORIZONTAL: Axis;
}

impl<KH: Size, KW: Size, SH: Size, SW: Size, DH: Size, DW: Size, P: PaddingKind> WindowKind
    for Window<KH, KW, SH, SW, DH, DW, P>
{
    const VERTICAL: Axis = Axis { window: KH::SIZE, stride: SH::SIZE, dilation: DH::SIZE, padding: P::PADDING };
    const HORIZONTAL: Axis = Axis { window: KW::SIZE, stride: SW::SIZE, dilation: DW::SIZE, padding: P::PADDING };
}

/// The map behind a [`Window`] that slides over a map of `H` × `W`.
pub trait Slides<H, W> {
    /// Its height.
    type Height: typenum::Unsigned;
    /// Its width.
    type Width: typenum::Unsigned;
}

mod slides {
    use super::*;
    use crate::shape::size::TypeSize;
    use crate::shape::walk::{Slide, Sliding};

    impl<H, W, KH, KW, SH, SW, DH, DW, P> Slides<H, W> for Window<KH, KW, SH, SW, DH, DW, P>
    where
        KH: TypeSize,
        KW: TypeSize,
        SH: TypeSize,
        SW: TypeSize,
        DH: TypeSize,
        DW: TypeSize,
        Sliding<KH::Digits, SH::Digits, DH::Digits, P>: Slide<H>,
        Sliding<KW::Digits, SW::Digits, DW::Digits, P>: Slide<W>,
    {
        type Height = <Sliding<KH::Digits, SH::Digits, DH::Digits, P> as Slide<H>>::Out;
        type Width = <Sliding<KW::Digits, SW::Digits, DW::Digits, P> as Slide<W>>::Out;
    }
}
