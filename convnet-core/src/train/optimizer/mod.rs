//! Optimizers, by Keras's names, defaults and formulas (Keras 3).
//!
//! Each is a struct with Keras's arguments as fields, and a rule that moves one parameter (`sweep` runs it over a
//! range, at any SIMD level). [`Optimizer`] is any of them. The engine owns the state, [`Optimizer::slots`] floats a
//! parameter that start at zero, and may cut the parameters among its threads as it likes: the result is the same.

mod adam;
pub(crate) mod check;
mod rms_prop;
mod sgd;
pub(crate) mod sweep;
#[cfg(test)]
mod tests;

pub use adam::{Adam, AdamW};
pub use rms_prop::RmsProp;
pub use sgd::Sgd;
pub use sweep::MAX_SLOTS;

use crate::Result;
use crate::engine::cpu::simd::Level;
use adam::Moments;
use check::{Interval, Setting};
use rms_prop::Averaged;
use sweep::sweep;

/// Any of the optimizers.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Gradient descent, with or without momentum.
    Sgd(Sgd),
    /// The gradient over the root of its mean square.
    RmsProp(RmsProp),
    /// Averages of gradient and square, both corrected for their start.
    Adam(Adam),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
}

macro_rules! from {
    ($($optimizer:ident)*) => {$(
        impl From<$optimizer> for Optimizer {
            fn from(optimizer: $optimizer) -> Self {
                Optimizer::$optimizer(optimizer)
            }
        }
    )*};
}

from!(Sgd RmsProp Adam AdamW);

/// What a model can be compiled with: whatever [`Optimizer`] can be made from. It stands before that conversion so that
/// the compiler says in words what is wrong with another type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an optimizer",
    label = "an optimizer is expected here",
    note = "there are `RmsProp`, `Adam`, `AdamW` and `Sgd`, as in `RmsProp {{ learning_rate: 1e-4, ..RmsProp::default() }}`"
)]
pub trait IntoOptimizer {
    /// The optimizer.
    fn into_optimizer(self) -> Optimizer;
}

#[diagnostic::do_not_recommend]
impl<T: Into<Optimizer>> IntoOptimizer for T {
    fn into_optimizer(self) -> Optimizer {
        self.into()
    }
}

impl Optimizer {
    /// State floats that it keeps for each parameter, at most [`MAX_SLOTS`].
    pub const fn slots(&self) -> usize {
        match self {
            Optimizer::Sgd(sgd) => (sgd.momentum != 0.0) as usize,
            Optimizer::RmsProp(rms) => 1 + (rms.momentum > 0.0) as usize + rms.centered as usize,
            Optimizer::Adam(_) | Optimizer::AdamW(_) => 2,
        }
    }

    /// The learning rate.
    pub const fn learning_rate(&self) -> f32 {
        match self {
            Optimizer::Sgd(Sgd { learning_rate, .. })
            | Optimizer::RmsProp(RmsProp { learning_rate, .. })
            | Optimizer::Adam(Adam { learning_rate, .. })
            | Optimizer::AdamW(AdamW { learning_rate, .. }) => *learning_rate,
        }
    }

    /// Changes the learning rate; the state stays.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] for a negative or infinite one or NaN, and the old one stays.
    pub fn set_learning_rate(&mut self, rate: f32) -> Result<()> {
        Setting("learning_rate", rate).within(Interval::NotNegative)?;
        match self {
            Optimizer::Sgd(Sgd { learning_rate, .. })
            | Optimizer::RmsProp(RmsProp { learning_rate, .. })
            | Optimizer::Adam(Adam { learning_rate, .. })
            | Optimizer::AdamW(AdamW { learning_rate, .. }) => *learning_rate = rate,
        }
        Ok(())
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] with the name of the first that does not.
    pub fn check(&self) -> Result<()> {
        match self {
            Optimizer::Sgd(sgd) => sgd.check(),
            Optimizer::RmsProp(rms) => rms.check(),
            Optimizer::Adam(adam) => adam.check(),
            Optimizer::AdamW(adam_w) => adam_w.check(),
        }
    }

    /// Moves a range of the parameters by one step; `step` counts from 1 over the whole training.
    ///
    /// `slots` holds the state of the same range, zero before the first step: the first [`Optimizer::slots`] slices
    /// are as long as `weights`, the others are not looked at. Allocates nothing. Each parameter moves by itself: any
    /// division into ranges gives the same bits, at one `level`.
    ///
    /// # Panics
    /// Where a slice is of another length than `weights`.
    pub fn update(
        &self,
        step: u64,
        weights: &mut [f32],
        gradient: &[f32],
        slots: [&mut [f32]; MAX_SLOTS],
        level: Level,
    ) {
        match *self {
            Optimizer::Sgd(Sgd { learning_rate: rate, momentum, nesterov }) => {
                if momentum == 0.0 {
                    sweep(level, sgd::Plain { rate }, weights, gradient, slots);
                } else {
                    sweep(level, sgd::Momentum { rate, momentum, nesterov }, weights, gradient, slots);
                }
            }
            Optimizer::RmsProp(rms) => match (rms.momentum > 0.0, rms.centered) {
                (false, false) => sweep::<1>(level, Averaged::<false, false>::new(rms), weights, gradient, slots),
                (true, false) => sweep::<2>(level, Averaged::<true, false>::new(rms), weights, gradient, slots),
                (false, true) => sweep::<2>(level, Averaged::<false, true>::new(rms), weights, gradient, slots),
                (true, true) => sweep::<3>(level, Averaged::<true, true>::new(rms), weights, gradient, slots),
            },
            Optimizer::Adam(adam) => sweep(level, Moments::new(&adam, 0.0, step), weights, gradient, slots),
            Optimizer::AdamW(adam_w) => {
                let rule = Moments::new(&adam_w.adam(), adam_w.weight_decay, step);
                sweep(level, rule, weights, gradient, slots);
            }
        }
    }
}
