//! `LeakyReLU(negative_slope)`: `x` above zero, `negative_slope · x` below (Maas, Hannun & Ng 2013).

pub mod reference;

use super::{Layer, LayerSpec, Op};
use crate::shape::walk::Walk;

/// The setting of a leaky rectifier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// The slope below zero.
    pub negative_slope: f64,
}

/// The type of a leaky rectifier; its slope is given by the bits of an `f64`.
pub struct LeakyReLU<const NEGATIVE_SLOPE: u64>;

impl<const NEGATIVE_SLOPE: u64> Layer for LeakyReLU<NEGATIVE_SLOPE> {
    const SPEC: LayerSpec = LayerSpec::of(Op::LeakyReLU(Spec { negative_slope: f64::from_bits(NEGATIVE_SLOPE) }));
}

impl<In, const NEGATIVE_SLOPE: u64> Walk<In> for LeakyReLU<NEGATIVE_SLOPE> {
    type Out = In;
}
