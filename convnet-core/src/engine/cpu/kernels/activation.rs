//! An activation as a layer of its own: a copy, and [`super::activate`] on it.
//!
//! NaN: as there; softmax makes a row with a NaN NaN.

use super::activate::{activate, activate_backward};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::Level;
use crate::layers::Activation as Function;

/// An activation on rows of a fixed width.
pub struct Activation {
    level: Level,
    function: Function,
    /// Values along the last axis, over which softmax is taken.
    width: usize,
}

impl Activation {
    /// The activation `function` on tensors with `width` values along the last axis.
    pub fn new(function: Function, width: usize, level: Level) -> Self {
        Activation { level, function, width }
    }
}

impl Kernel for Activation {
    fn scratch(&self, _: usize) -> usize {
        0
    }

    fn forward(&self, pass: Forward<'_>) {
        pass.output.copy_from_slice(pass.input);
        activate(self.level, self.function, pass.output, self.width);
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        d_input.copy_from_slice(pass.d_output);
        activate_backward(self.level, self.function, pass.output, d_input, self.width);
    }
}
