//! `Dense(units, activation, use_bias)`: `y = act(x · kernel + bias)`, the kernel as `(features, units)`.

pub mod reference;

use super::activation::{Activation, ActivationKind};
use super::{Layer, LayerSpec, Op};
use crate::shape::size::{Phantom, Size, TypeSize};
use crate::shape::walk::Walk;

/// The settings of a fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// Length of the output.
    pub units: usize,
    /// Applied to the output.
    pub activation: Activation,
    /// Whether a bias is added for each unit.
    pub use_bias: bool,
}

/// The type of a fully connected layer of `U` units.
pub struct Dense<U, A, const USE_BIAS: bool>(Phantom<(U, A)>);

impl<U: Size, A: ActivationKind, const USE_BIAS: bool> Layer for Dense<U, A, USE_BIAS> {
    const SPEC: LayerSpec =
        LayerSpec::of(Op::Dense(Spec { units: U::SIZE, activation: A::ACTIVATION, use_bias: USE_BIAS }));
}

impl<N, U: TypeSize, A, const USE_BIAS: bool> Walk<(N,)> for Dense<U, A, USE_BIAS> {
    type Out = (U::Digits,);
}
