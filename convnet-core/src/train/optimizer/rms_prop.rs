//! RMSprop.

use super::check::{Interval, Setting, complement};
use super::sweep::Rule;
use crate::Result;
use crate::engine::cpu::simd::Simd;

/// Keras's `RMSprop`: the gradient over the root of a moving average of its square (Hinton, lecture 6e of "Neural
/// Networks for Machine Learning", 2012).
///
/// `v ← ρ·v + (1−ρ)·g²` from zero, `w ← w − lr·g/√(v+ε)`: ε stands under the root. With `centered` an average
/// `a ← ρ·a + (1−ρ)·g` is kept too, and the root is of the variance, `√(v−a²+ε)` (Graves 2013); where rounding makes
/// v−a² negative it counts as zero, where Keras would leave NaN. With momentum μ: `m ← μ·m + lr·g/√…`, `w ← w − m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// lr, at least zero.
    pub learning_rate: f32,
    /// ρ, in [0, 1): how much of the averages is kept.
    pub rho: f32,
    /// μ, in [0, 1].
    pub momentum: f32,
    /// ε, above zero.
    pub epsilon: f32,
    /// Whether to divide by the root of the variance.
    pub centered: bool,
}

impl Default for RmsProp {
    fn default() -> Self {
        RmsProp { learning_rate: 0.001, rho: 0.9, momentum: 0.0, epsilon: 1e-7, centered: false }
    }
}

impl RmsProp {
    pub(super) fn check(&self) -> Result<()> {
        Setting("learning_rate", self.learning_rate).within(Interval::NotNegative)?;
        Setting("rho", self.rho).within(Interval::BelowOne)?;
        Setting("momentum", self.momentum).within(Interval::Unit)?;
        Setting("epsilon", self.epsilon).within(Interval::Positive)
    }
}

/// Slots: the velocity v, then the momentum m if there is one, then the average a if centered.
#[derive(Clone, Copy)]
pub(super) struct Averaged<const MOMENTUM: bool, const CENTERED: bool> {
    settings: RmsProp,
    /// 1 − ρ
    fresh: f32,
}

impl<const MOMENTUM: bool, const CENTERED: bool> Averaged<MOMENTUM, CENTERED> {
    pub(super) fn new(settings: RmsProp) -> Self {
        Averaged { settings, fresh: complement(settings.rho) as f32 }
    }
}

impl<const N: usize, const MOMENTUM: bool, const CENTERED: bool> Rule<N> for Averaged<MOMENTUM, CENTERED> {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, weight: S::V, gradient: S::V, mut slots: [S::V; N]) -> (S::V, [S::V; N]) {
        const { assert!(N == 1 + MOMENTUM as usize + CENTERED as usize) };
        let (rho, fresh) = (simd.splat(self.settings.rho), simd.splat(self.fresh));
        slots[0] = simd.mul_add(rho, slots[0], simd.mul(fresh, simd.mul(gradient, gradient)));
        let mut variance = slots[0];
        if CENTERED {
            let average = simd.mul_add(rho, slots[N - 1], simd.mul(fresh, gradient));
            slots[N - 1] = average;
            variance = simd.max(simd.splat(0.0), simd.sub(variance, simd.mul(average, average)));
        }
        let root = simd.sqrt(simd.add(variance, simd.splat(self.settings.epsilon)));
        let mut change = simd.div(simd.mul(simd.splat(self.settings.learning_rate), gradient), root);
        if MOMENTUM {
            let moving = &mut slots[MOMENTUM as usize];
            change = simd.mul_add(simd.splat(self.settings.momentum), *moving, change);
            *moving = change;
        }
        (simd.sub(weight, change), slots)
    }
}
