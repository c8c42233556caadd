//! Activations: `linear`, `relu`, `sigmoid`, `tanh`, `softmax` (over the last axis).

pub mod reference;

use super::{Layer, LayerSpec, Op};
use crate::shape::size::Phantom;
use crate::shape::walk::Walk;

/// The function applied to a layer's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`
    Linear,
    /// `max(x, 0)`
    Relu,
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `eˣᵢ / Σ eˣⱼ` over the last axis.
    Softmax,
}

impl Activation {
    /// Keras's name for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Activation::Linear => "linear",
            Activation::Relu => "relu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Softmax => "softmax",
        }
    }
}

/// The type of `Activation("relu")`: an activation as a layer of its own.
pub struct Alone<A>(Phantom<A>);

impl<A: ActivationKind> Layer for Alone<A> {
    const SPEC: LayerSpec = LayerSpec::of(Op::Activation(A::ACTIVATION));
}

impl<In, A> Walk<In> for Alone<A> {
    type Out = In;
}

/// The type of `Softmax()`.
pub struct SoftmaxLayer;

impl Layer for SoftmaxLayer {
    const SPEC: LayerSpec = LayerSpec::of(Op::Softmax);
}

impl<In> Walk<In> for SoftmaxLayer {
    type Out = In;
}

/// The activation types.
pub trait ActivationKind: 'static {
    /// The same as a value.
    const ACTIVATION: Activation;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident)*) => {$(
        $(#[$doc])*
        pub struct $kind;

        impl ActivationKind for $kind {
            const ACTIVATION: Activation = Activation::$kind;
        }
    )*};
}

kinds! {
    /// `activation = "linear"` in a layer's type.
    Linear
    /// `activation = "relu"` in a layer's type.
    Relu
    /// `activation = "sigmoid"` in a layer's type.
    Sigmoid
    /// `activation = "tanh"` in a layer's type.
    Tanh
    /// `activation = "softmax"` in a layer's type.
    Softmax
}
