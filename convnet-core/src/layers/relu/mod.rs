//! `ReLU(max_value, negative_slope, threshold)`, a rectifier as a layer of its own:
//! above `threshold` the lesser of `x` and `max_value`, else `negative_slope · (x − threshold)`.
//!
//! That is what Keras computes. Its documentation says otherwise of two cases: `x` at a threshold that is not 0, and a
//! threshold above `max_value`.

pub mod reference;

use super::{Layer, LayerSpec, Op};
use crate::shape::walk::Walk;

/// The settings of a rectifier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// The largest output; infinite for none.
    pub max_value: f64,
    /// The slope below the threshold.
    pub negative_slope: f64,
    /// Where the rectifier opens.
    pub threshold: f64,
}

/// The type of a rectifier; its numbers are the bits of `f64`s.
pub struct ReLU<const MAX_VALUE: u64, const NEGATIVE_SLOPE: u64, const THRESHOLD: u64>;

impl<const MAX_VALUE: u64, const NEGATIVE_SLOPE: u64, const THRESHOLD: u64> Layer
    for ReLU<MAX_VALUE, NEGATIVE_SLOPE, THRESHOLD>
{
    const SPEC: LayerSpec = LayerSpec::of(Op::ReLU(Spec {
        max_value: f64::from_bits(MAX_VALUE),
        negative_slope: f64::from_bits(NEGATIVE_SLOPE),
        threshold: f64::from_bits(THRESHOLD),
    }));
}

impl<In, const MAX_VALUE: u64, const NEGATIVE_SLOPE: u64, const THRESHOLD: u64> Walk<In>
    for ReLU<MAX_VALUE, NEGATIVE_SLOPE, THRESHOLD>
{
    type Out = In;
}
