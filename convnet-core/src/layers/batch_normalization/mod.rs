//! `BatchNormalization(momentum, epsilon, center, scale)` (Ioffe & Szegedy 2015).
//!
//! `y = (x − mean) / √(variance + epsilon) · gamma + beta`, for each channel. In training mean and variance are those
//! of the batch, over all its images and positions, and the moving ones follow them:
//! `moving ← moving · momentum + batch · (1 − momentum)`. Everywhere else, and in a frozen layer, the moving ones are
//! used. The variance is that of the batch itself (divided by its size, not by one less), as in Keras.

pub mod reference;

use super::{Layer, LayerSpec, Op};
use crate::shape::walk::Walk;

/// The settings of a batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// How much of the moving statistics a training step leaves.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether `beta` is added.
    pub center: bool,
    /// Whether `gamma` multiplies.
    pub scale: bool,
}

/// The type of a batch normalisation; momentum and epsilon are the bits of `f64`s.
pub struct BatchNormalization<const MOMENTUM: u64, const EPSILON: u64, const CENTER: bool, const SCALE: bool>;

impl<const MOMENTUM: u64, const EPSILON: u64, const CENTER: bool, const SCALE: bool> Layer
    for BatchNormalization<MOMENTUM, EPSILON, CENTER, SCALE>
{
    const SPEC: LayerSpec = LayerSpec::of(Op::BatchNormalization(Spec {
        momentum: f64::from_bits(MOMENTUM),
        epsilon: f64::from_bits(EPSILON),
        center: CENTER,
        scale: SCALE,
    }));
}

impl<In, const MOMENTUM: u64, const EPSILON: u64, const CENTER: bool, const SCALE: bool> Walk<In>
    for BatchNormalization<MOMENTUM, EPSILON, CENTER, SCALE>
{
    type Out = In;
}
