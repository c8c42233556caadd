//! An activation as a layer of its own: [`super::activate`], from one slice to the other. Its gradient is a copy that it
//! then works on, some rows at a time, which stay in the first-level cache between the two.
//!
//! NaN: as there; softmax makes a row with a NaN NaN.

use super::activate::{activate_backward, activate_to};
use crate::engine::cpu::kernel::{Backward, Forward, ForwardPart, Kernel, Part};
use crate::engine::cpu::simd::Level;
use crate::layers::Activation as Function;

/// Values that go through together.
const CHUNK: usize = 4096;

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

    /// Values of some whole rows.
    fn chunk(&self) -> usize {
        (CHUNK / self.width).max(1) * self.width
    }
}

impl Kernel for Activation {
    fn scratch(&self, _: usize) -> usize {
        0
    }

    fn forward(&self, pass: Forward<'_>) {
        activate_to(self.level, self.function, pass.input, pass.output, self.width);
    }

    fn parts(&self, outputs: usize, most: usize) -> usize {
        Part::worth(8 * outputs, outputs / self.width, most)
    }

    unsafe fn forward_part(&self, pass: ForwardPart<'_>) {
        // SAFETY: the caller's promise.
        unsafe { pass.forward_rows(self, self.width) }
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let chunks = pass.d_output.chunks(self.chunk()).zip(pass.output.chunks(self.chunk()));
        for ((from, output), to) in chunks.zip(d_input.chunks_mut(self.chunk())) {
            to.copy_from_slice(from);
            activate_backward(self.level, self.function, output, to, self.width);
        }
    }
}
