//! Stochastic gradient descent, with momentum.

use super::check::{Interval, Setting};
use super::sweep::{Rule, TINY, settled};
use crate::Result;
use crate::engine::cpu::simd::Simd;

/// Keras's `SGD`: `w ← w − lr·g`.
///
/// With momentum μ: `m ← μ·m − lr·g`, `w ← w + m`; with `nesterov` the last is `w ← w + μ·m − lr·g` (Sutskever,
/// Martens, Dahl & Hinton 2013, in the form that looks ahead by rewriting the weights). Without momentum `nesterov`
/// changes nothing. Gradients and momenta below 2⁻¹⁰⁰ in size count as zero, since denormal numbers are slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// lr, at least zero.
    pub learning_rate: f32,
    /// μ, in [0, 1].
    pub momentum: f32,
    /// Whether to step from where the momentum leads.
    pub nesterov: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Sgd { learning_rate: 0.01, momentum: 0.0, nesterov: false }
    }
}

impl Sgd {
    pub(super) fn check(&self) -> Result<()> {
        Setting("learning_rate", self.learning_rate).within(Interval::NotNegative)?;
        Setting("momentum", self.momentum).within(Interval::Unit)
    }
}

/// Without momentum.
#[derive(Clone, Copy)]
pub(super) struct Plain {
    pub rate: f32,
}

impl Rule<0> for Plain {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, weight: S::V, gradient: S::V, _: [S::V; 0]) -> (S::V, [S::V; 0]) {
        (simd.mul_add(gradient, simd.splat(-self.rate), weight), [])
    }
}

/// With momentum, kept in the one slot.
#[derive(Clone, Copy)]
pub(super) struct Momentum {
    pub rate: f32,
    pub momentum: f32,
    pub nesterov: bool,
}

impl Rule<1> for Momentum {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, weight: S::V, gradient: S::V, [moving]: [S::V; 1]) -> (S::V, [S::V; 1]) {
        let momentum = simd.splat(self.momentum);
        let downhill = simd.mul(gradient, simd.splat(-self.rate));
        let moving = settled(simd, simd.mul_add(moving, momentum, downhill), TINY);
        let change = if self.nesterov { simd.mul_add(moving, momentum, downhill) } else { moving };
        (simd.add(weight, change), [moving])
    }
}
