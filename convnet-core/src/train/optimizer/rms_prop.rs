//! RMSprop.

use super::check::{Interval, Setting, complement};
use super::sweep::{Floor, Rule, TINY, settled};
use crate::Result;
use crate::engine::cpu::simd::Simd;

/// Keras's `RMSprop`: the gradient over the root of a moving average of its square (Hinton, lecture 6e of "Neural
/// Networks for Machine Learning", 2012).
///
/// `v ← ρ·v + (1−ρ)·g²` from zero, `w ← w − lr·g/√(v+ε)`: ε stands under the root. With `centered` an average
/// `a ← ρ·a + (1−ρ)·g` is kept too, and the root is of the variance, `√(v−a²+ε)` (Graves 2013); where rounding makes
/// v−a² negative it counts as zero, where Keras would leave NaN. With momentum μ: `m ← μ·m + lr·g/√…`, `w ← w − m`.
///
/// Gradients and averages too small to be seen beside ε or in a weight (below 2⁻¹⁰⁰, of squares at times less) count as
/// zero, since denormal numbers are slow.
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
    floor: Floor,
}

impl<const MOMENTUM: bool, const CENTERED: bool> Averaged<MOMENTUM, CENTERED> {
    pub(super) fn new(settings: RmsProp) -> Self {
        let floor = Floor::beside(settings.epsilon.sqrt());
        Averaged { settings, fresh: complement(settings.rho) as f32, floor }
    }
}

impl<const N: usize, const MOMENTUM: bool, const CENTERED: bool> Rule<N> for Averaged<MOMENTUM, CENTERED> {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, weight: S::V, gradient: S::V, mut slots: [S::V; N]) -> (S::V, [S::V; N]) {
        const { assert!(N == 1 + MOMENTUM as usize + CENTERED as usize) };
        let (rho, fresh) = (simd.splat(self.settings.rho), simd.splat(self.fresh));
        let square = simd.mul(fresh, self.floor.square(simd, gradient));
        slots[0] = self.floor.settled(simd, simd.mul_add(rho, slots[0], square));
        let mut variance = slots[0];
        if CENTERED {
            let average = settled(simd, simd.mul_add(rho, slots[N - 1], simd.mul(fresh, gradient)), TINY);
            slots[N - 1] = average;
            variance = simd.max(simd.splat(0.0), simd.sub(variance, self.floor.square(simd, average)));
        }
        let root = simd.sqrt(simd.add(variance, simd.splat(self.settings.epsilon)));
        let mut change = simd.div(simd.mul(simd.splat(self.settings.learning_rate), gradient), root);
        if MOMENTUM {
            let moving = &mut slots[MOMENTUM as usize];
            change = simd.mul_add(simd.splat(self.settings.momentum), *moving, change);
            change = settled(simd, change, TINY);
            *moving = change;
        }
        (simd.sub(weight, change), slots)
    }
}
