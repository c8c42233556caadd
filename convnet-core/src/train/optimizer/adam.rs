//! Adam, and Adam with weight decay.

use super::check::{Interval, Setting, complement};
use super::sweep::{Floor, Rule, TINY, settled};
use crate::Result;
use crate::engine::cpu::simd::Simd;

/// Keras's `Adam` (Kingma & Ba 2015, in the order of section 2 that saves two divisions).
///
/// In step t, from 1: `m ← m + (1−β₁)·(g−m)`, `v ← v + (1−β₂)·(g²−v)`, both from zero; `w ← w − α·m/(√v+ε)` with
/// `α = lr·√(1−β₂ᵗ)/(1−β₁ᵗ)`. As in Keras, α is computed in f32 from β₁ and β₂ as f32 has them; βᵗ is taken in f64 and
/// rounded to f32, of which Keras's f32 power is at most a rounding away.
///
/// Gradients and averages too small to be seen beside ε or in a weight (below 2⁻¹⁰⁰, of squares at times less) count as
/// zero, since denormal numbers are slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// lr, at least zero.
    pub learning_rate: f32,
    /// β₁, in [0, 1).
    pub beta_1: f32,
    /// β₂, in [0, 1).
    pub beta_2: f32,
    /// ε, above zero.
    pub epsilon: f32,
}

impl Default for Adam {
    fn default() -> Self {
        Adam { learning_rate: 0.001, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7 }
    }
}

impl Adam {
    pub(super) fn check(&self) -> Result<()> {
        Setting("learning_rate", self.learning_rate).within(Interval::NotNegative)?;
        Setting("beta_1", self.beta_1).within(Interval::BelowOne)?;
        Setting("beta_2", self.beta_2).within(Interval::BelowOne)?;
        Setting("epsilon", self.epsilon).within(Interval::Positive)
    }
}

/// Keras's `AdamW`: [`Adam`] whose weights, biases too, first shrink by `w ← w − lr·λ·w` (Loshchilov & Hutter 2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// lr, at least zero.
    pub learning_rate: f32,
    /// β₁, in [0, 1).
    pub beta_1: f32,
    /// β₂, in [0, 1).
    pub beta_2: f32,
    /// ε, above zero.
    pub epsilon: f32,
    /// λ, at least zero.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        let Adam { learning_rate, beta_1, beta_2, epsilon } = Adam::default();
        AdamW { learning_rate, beta_1, beta_2, epsilon, weight_decay: 0.004 }
    }
}

impl AdamW {
    /// The same without decay.
    pub(crate) fn adam(&self) -> Adam {
        let AdamW { learning_rate, beta_1, beta_2, epsilon, .. } = *self;
        Adam { learning_rate, beta_1, beta_2, epsilon }
    }

    pub(super) fn check(&self) -> Result<()> {
        self.adam().check()?;
        Setting("weight_decay", self.weight_decay).within(Interval::NotNegative)
    }
}

/// Slots: the moments m and v.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    /// −α
    rate: f32,
    /// 1 − β₁
    fresh_1: f32,
    /// 1 − β₂
    fresh_2: f32,
    epsilon: f32,
    floor: Floor,
    /// −lr·λ
    decay: f32,
}

impl Moments {
    pub(super) fn new(adam: &Adam, weight_decay: f32, step: u64) -> Self {
        let [fresh_1, fresh_2] = [adam.beta_1, adam.beta_2].map(complement);
        // Keras computes α in f32 from the rounded β: at the first steps 1 − f32(0.999)ᵗ is 6e-6 off, which every weight
        // feels, so it is done here likewise. Only the power is taken in f64, then rounded.
        let bias = |beta: f32| 1.0 - f64::from(beta).powf(step as f64) as f32;
        let rate = adam.learning_rate * bias(adam.beta_2).sqrt() / bias(adam.beta_1);
        Moments {
            rate: -rate,
            fresh_1: fresh_1 as f32,
            fresh_2: fresh_2 as f32,
            epsilon: adam.epsilon,
            floor: Floor::beside(adam.epsilon),
            decay: -adam.learning_rate * weight_decay,
        }
    }
}

impl Rule<2> for Moments {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, weight: S::V, gradient: S::V, [m, v]: [S::V; 2]) -> (S::V, [S::V; 2]) {
        let weight = simd.mul_add(weight, simd.splat(self.decay), weight);
        let m = settled(simd, simd.mul_add(simd.sub(gradient, m), simd.splat(self.fresh_1), m), TINY);
        let square = self.floor.square(simd, gradient);
        let v = self.floor.settled(simd, simd.mul_add(simd.sub(square, v), simd.splat(self.fresh_2), v));
        let root = simd.add(simd.sqrt(v), simd.splat(self.epsilon));
        let change = simd.div(simd.mul(m, simd.splat(self.rate)), root);
        (simd.add(weight, change), [m, v])
    }
}
