//! Rescaling: each value times a factor, plus an offset.
//!
//! NaN: stays NaN.

use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::rescaling::Spec;

/// A rescaling of any shape.
pub struct Rescaling {
    level: Level,
    scale: f32,
    offset: f32,
}

impl Rescaling {
    /// The rescaling `spec`.
    pub fn new(spec: Spec, level: Level) -> Self {
        Rescaling { level, scale: spec.scale as f32, offset: spec.offset as f32 }
    }
}

/// `to ← from · scale + offset`
struct Scale<'a> {
    scale: f32,
    offset: f32,
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Vectorized for Scale<'_> {
    type Output = ();
    /// A plain loop, which the compiler vectorises.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Scale { scale, offset, from, to } = self;
        for (to, from) in to.iter_mut().zip(from) {
            *to = from * scale + offset;
        }
    }
}

impl Kernel for Rescaling {
    fn scratch(&self, _: usize) -> usize {
        0
    }

    fn forward(&self, pass: Forward<'_>) {
        let Rescaling { level, scale, offset } = *self;
        vectorize(level, Scale { scale, offset, from: pass.input, to: pass.output });
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        vectorize(self.level, Scale { scale: self.scale, offset: 0.0, from: pass.d_output, to: d_input });
    }
}
