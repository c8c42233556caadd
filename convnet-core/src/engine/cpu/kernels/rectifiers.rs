//! `ReLU` with a ceiling, a slope and a threshold, and `LeakyReLU`, as layers of their own.
//!
//! Above the threshold a value stays, but for the ceiling; else it is `slope · (x − threshold)`. The gradient looks at
//! the input, since the output may be the same on both sides of the threshold.
//!
//! NaN: stays NaN; its gradient is that below the threshold.

use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::{leaky_relu, relu};

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

    /// The slope at `x`.
    #[inline(always)]
    fn slope(&self, x: f32) -> f32 {
        let from_ceiling = if x > self.ceiling { 0.0 } else { self.at_ceiling };
        let above = if x < self.ceiling { 1.0 } else { from_ceiling };
        let below = if x == self.threshold { self.at_threshold } else { self.slope };
        if x > self.threshold { above } else { below }
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
    /// A plain loop, which the compiler vectorises.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((d_input, d_output), x) in self.d_input.iter_mut().zip(self.d_output).zip(self.input) {
            let slope = self.shape.slope(*x);
            // As `relu` has it: what does not get through does not show, not even if it is infinite.
            *d_input = if slope == 0.0 { 0.0 } else { slope * d_output };
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

    fn backward(&self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let gradient = Gradient { shape: self.shape, input: pass.input, d_output: pass.d_output, d_input };
        vectorize(self.level, gradient);
    }
}
