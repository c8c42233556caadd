//! `Rescaling(scale, offset)`: `x · scale + offset`, for inputs that come in another range.

pub mod reference;

use super::{Layer, LayerSpec, Op};
use crate::shape::walk::Walk;

/// The settings of a rescaling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// What every value is multiplied by.
    pub scale: f64,
    /// What is added then.
    pub offset: f64,
}

/// The type of a rescaling; its numbers are the bits of `f64`s.
pub struct Rescaling<const SCALE: u64, const OFFSET: u64>;

impl<const SCALE: u64, const OFFSET: u64> Layer for Rescaling<SCALE, OFFSET> {
    const SPEC: LayerSpec =
        LayerSpec::of(Op::Rescaling(Spec { scale: f64::from_bits(SCALE), offset: f64::from_bits(OFFSET) }));
}

impl<In, const SCALE: u64, const OFFSET: u64> Walk<In> for Rescaling<SCALE, OFFSET> {
    type Out = In;
}
