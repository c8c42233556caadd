//! `Dropout(rate)`: in training each value is zero with probability `rate` and else divided by `1 − rate`; outside of
//! training nothing happens (Srivastava et al. 2014).

pub mod reference;

use super::{Layer, LayerSpec, Op};
use crate::shape::walk::Walk;

/// The setting of a dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// The share of values that become zero: from 0 up to, but not including, 1.
    pub rate: f64,
}

/// The type of a dropout; its rate is given by the bits of an `f64`.
pub struct Dropout<const RATE: u64>;

impl<const RATE: u64> Layer for Dropout<RATE> {
    const SPEC: LayerSpec = LayerSpec::of(Op::Dropout(Spec { rate: f64::from_bits(RATE) }));
}

impl<In, const RATE: u64> Walk<In> for Dropout<RATE> {
    type Out = In;
}
