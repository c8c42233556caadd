//! `ReLU` with a ceiling, a slope and a threshold, and `LeakyReLU`, as layers of their own.
//!
//! Above the threshold a value stays, but for the ceiling; else it is `slope · (x − threshold)`. The gradient looks at
//! the input, since the output may be the same on both sides of the threshold.
//!
//! NaN: stays NaN; its gradient is that below the threshold.

use super::activate::{read, write};
use crate::engine::cpu::kernel::{Backward, Forward, ForwardPart, Kernel, Part};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::{leaky_relu, relu};

/// Values of which threads take a multiple each: a vector of any level, or a cache line.
const VALUES: usize = 16;

/// A rectifier on any shape.
pub struct Rectifier {
    level: Level,
    shape: Rectified,
}

impl Rectifier {
    /// A `ReLU` layer. Where its pieces meet, its slope is that of the operations that Keras makes it of in TensorFlow:
    /// `relu6` is flat at its ceiling, `clip_by_value` is not; `leaky_relu` has a slope at 0, all else is flat at the
    /// threshold.
    pub fn relu(spec: relu::Spec, level: Level) -> Self {
        let [ceiling, threshold, slope] = [spec.max_value, spec.threshold, spec.negative_slope].map(|x| x as f32);
        let at_ceiling = if ceiling == 6.0 && threshold == 0.0 { 0.0 } else { 1.0 };
        let at_threshold = if ceiling == f32::INFINITY && threshold == 0.0 { slope } else { 0.0 };
        Rectifier { level, shape: Rectified { ceiling, threshold, slope, at_ceiling, at_threshold } }
    }

    /// A `LeakyReLU` layer.
    pub fn leaky_relu(spec: leaky_relu::Spec, level: Level) -> Self {
        let slope = spec.negative_slope as f32;
        let shape = Rectified { ceiling: f32::INFINITY, threshold: 0.0, slope, at_ceiling: 1.0, at_threshold: slope };
        Rectifier { level, shape }
    }
}

/// The pieces that a rectifier is made of, and its slope where they meet.
#[derive(Clone, Copy)]
struct Rectified {
    ceiling: f32,
    threshold: f32,
    /// Below the threshold.
    slope: f32,
    at_ceiling: f32,
    at_threshold: f32,
}

impl Rectified {
    /// The output for `x`.
    #[inline(always)]
    fn value(&self, x: f32) -> f32 {
        // A slope of 0 must not make NaN of −∞.
        let flat = if x.is_nan() { x } else { 0.0 };
        let below = if self.slope == 0.0 { flat } else { self.slope * (x - self.threshold) };
        let above = if x < self.ceiling { x } else { self.ceiling };
        if x > self.threshold { above } else { below }
    }

    /// The slopes at `x`. In vectors, since the compiler makes branches of the cases.
    #[inline(always)]
    fn slopes<S: Simd>(&self, s: S, x: S::V) -> S::V {
        let [ceiling, threshold] = [self.ceiling, self.threshold].map(|value| s.splat(value));
        let from_ceiling = s.if_greater(x, ceiling, s.splat(0.0), s.splat(self.at_ceiling));
        let above = s.if_greater(ceiling, x, s.splat(1.0), from_ceiling);
        let at_most = s.if_nan(x, s.splat(self.slope), s.splat(self.at_threshold));
        let below = s.if_greater(threshold, x, s.splat(self.slope), at_most);
        s.if_greater(x, threshold, above, below)
    }
}

/// Rectifies values.
struct Rectify<'a> {
    shape: Rectified,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl Vectorized for Rectify<'_> {
    type Output = ();
    /// A plain loop, which the compiler vectorises.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (y, x) in self.output.iter_mut().zip(self.input) {
            *y = self.shape.value(*x);
        }
    }
}

/// Gradients times slopes.
struct Gradient<'a> {
    shape: Rectified,
    input: &'a [f32],
    d_output: &'a [f32],
    d_input: &'a mut [f32],
}

impl Vectorized for Gradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let chunks = self.input.chunks(S::LANES).zip(self.d_output.chunks(S::LANES));
        for (to, (x, d)) in self.d_input.chunks_mut(S::LANES).zip(chunks) {
            let slopes = self.shape.slopes(s, read(s, x));
            let d = s.mul(slopes, read(s, d));
            // As `relu` has it: what does not get through does not show, not even if it is infinite.
            let zero = s.splat(0.0);
            write(s, to, s.if_greater(slopes, zero, d, s.if_greater(zero, slopes, d, zero)));
        }
    }
}

impl Kernel for Rectifier {
    fn scratch(&self, _: usize) -> usize {
        0
    }

    fn forward(&self, pass: Forward<'_>) {
        vectorize(self.level, Rectify { shape: self.shape, input: pass.input, output: pass.output });
    }

    fn parts(&self, outputs: usize, most: usize) -> usize {
        Part::worth(4 * outputs, outputs.div_ceil(VALUES), most)
    }

    unsafe fn forward_part(&self, pass: ForwardPart<'_>) {
        // SAFETY: the caller's promise.
        unsafe { pass.forward_rows(self, VALUES) }
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let gradient = Gradient { shape: self.shape, input: pass.input, d_output: pass.d_output, d_input };
        vectorize(self.level, gradient);
    }
}
