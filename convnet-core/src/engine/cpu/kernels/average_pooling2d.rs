//! Average pooling over any window, vectors of channels at a time.
//!
//! A window takes the mean of what is inside the map; should it hold nothing of the map at all, its output is 0. The
//! gradient is shared out evenly over the same values. Sums go row by row of the window, so that rounding stays small
//! in windows as large as the map.
//!
//! NaN: a window with a NaN gives NaN, and so does a NaN of the gradient for all values of its window.

use super::pooling_window::{Window, each_output};
use crate::engine::cpu::kernel::{Backward, Forward, ForwardPart, Kernel, Part};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::average_pooling2d::Spec;
use crate::shape::Shape;
use std::ops::Range;

/// Vectors of channels that are summed side by side: one sum would wait for its last addition.
const SIDE_BY_SIDE: usize = 4;

/// An average pooling of a fixed shape.
pub struct AveragePooling2D {
    level: Level,
    spec: Spec,
    input: Shape,
    output: Shape,
}

impl AveragePooling2D {
    /// The pooling `spec` from maps of shape `input` to maps of shape `output`.
    pub fn new(spec: Spec, input: Shape, output: Shape, level: Level) -> Self {
        AveragePooling2D { level, spec, input, output }
    }
}

/// Makes some rows of one image's output.
struct Pool<'a> {
    kernel: &'a AveragePooling2D,
    input: &'a [f32],
    /// These rows.
    output: &'a mut [f32],
    rows: Range<usize>,
}

impl Vectorized for Pool<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let AveragePooling2D { spec, input, output, .. } = self.kernel;
        each_output(spec, *input, *output, self.rows, |at, window| {
            let mut means = &mut self.output[at..at + output.channels()];
            let mut channel = 0;
            while means.len() >= SIDE_BY_SIDE * S::LANES {
                let (now, later) = means.split_at_mut(SIDE_BY_SIDE * S::LANES);
                mean::<S, SIDE_BY_SIDE>(s, window, &self.input[channel..], now);
                channel += now.len();
                means = later;
            }
            for now in means.chunks_mut(S::LANES) {
                mean::<S, 1>(s, window, &self.input[channel..], now);
                channel += now.len();
            }
        });
    }
}

/// The means of a window in as many channels as `means` is long: `N` vectors, or less than one.
#[inline(always)]
fn mean<S: Simd, const N: usize>(s: S, window: Window, input: &[f32], means: &mut [f32]) {
    let count = means.len();
    let mut sums = [s.splat(0.0); N];
    window.each_row(|row| {
        let mut row_sums = [s.splat(0.0); N];
        for at in row.taps() {
            let values = &input[at..at + count];
            for (v, sum) in row_sums.iter_mut().enumerate() {
                // SAFETY: `values` holds N whole vectors, or less than one and N is 1.
                let values = unsafe { s.load_first(values.as_ptr().add(v * S::LANES), S::LANES.min(count)) };
                *sum = s.add(*sum, values);
            }
        }
        for (sum, row) in sums.iter_mut().zip(row_sums) {
            *sum = s.add(*sum, row);
        }
    });
    let inside = s.splat(window.inside().max(1) as f32);
    for (v, sum) in sums.into_iter().enumerate() {
        // SAFETY: as above, for writing.
        unsafe { s.store_first(means.as_mut_ptr().add(v * S::LANES), s.div(sum, inside), S::LANES.min(count)) }
    }
}

/// Adds the gradient of one image's outputs to that of its input.
struct Spread<'a> {
    kernel: &'a AveragePooling2D,
    gradient: &'a mut [f32],
    d_input: &'a mut [f32],
}

impl Vectorized for Spread<'_> {
    type Output = ();
    /// Plain loops, which the compiler vectorises.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let AveragePooling2D { spec, input, output, .. } = self.kernel;
        each_output(spec, *input, *output, 0..output.height(), |at, window| {
            let share = &mut self.gradient[at..at + output.channels()];
            let inside = window.inside().max(1) as f32;
            share.iter_mut().for_each(|d| *d /= inside);
            window.each_row(|row| {
                for to in row.taps() {
                    for (d, share) in self.d_input[to..to + share.len()].iter_mut().zip(&*share) {
                        *d += share;
                    }
                }
            });
        });
    }
}

impl Kernel for AveragePooling2D {
    fn scratch(&self, _: usize) -> usize {
        0
    }

    fn forward(&self, pass: Forward<'_>) {
        let inputs = pass.input.chunks_exact(self.input.len()).take(pass.images);
        for (input, output) in inputs.zip(pass.output.chunks_exact_mut(self.output.len())) {
            vectorize(self.level, Pool { kernel: self, input, output, rows: 0..self.output.height() });
        }
    }

    fn parts(&self, outputs: usize, most: usize) -> usize {
        let taps = self.spec.vertical.window * self.spec.horizontal.window;
        Part::worth(4 * taps * outputs, self.output.height(), most)
    }

    unsafe fn forward_part(&self, pass: ForwardPart<'_>) {
        let rows = pass.part.share(self.output.height(), 1);
        let row = self.output.width() * self.output.channels();
        // SAFETY: shares do not overlap; the rest is the caller's promise.
        let output = unsafe { pass.output.part(rows.start * row..rows.end * row) };
        vectorize(self.level, Pool { kernel: self, input: pass.input, output, rows });
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let images = d_input.chunks_exact_mut(self.input.len()).take(pass.images);
        for (d_input, gradient) in images.zip(pass.d_output.chunks_exact_mut(self.output.len())) {
            d_input.fill(0.0);
            vectorize(self.level, Spread { kernel: self, gradient, d_input });
        }
    }
}
