//! Max pooling over any window, vectors of channels at a time.
//!
//! Forward keeps for each output which tap of its window was the largest, the first in reading order where several
//! were; the gradient goes there, and adds up where windows overlap. A window looks only at what is inside the map;
//! should it hold nothing of the map at all (dilated, on a tiny map), its output is 0 and its gradient goes nowhere.
//!
//! NaN: a window with a NaN gives NaN, so that the loss shows it; its gradient goes to one of its taps.

use super::pooling_window::{Window, each_output};
use crate::engine::cpu::kernel::{Backward, Forward, ForwardPart, Kernel, Part};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::max_pooling2d::Spec;
use crate::shape::Shape;
use std::ops::Range;

/// The most floats in a vector of any level.
const MAX_LANES: usize = 16;

/// A max pooling of a fixed shape.
pub struct MaxPooling2D {
    level: Level,
    spec: Spec,
    input: Shape,
    output: Shape,
    /// Bytes that hold a tap's number.
    bytes: usize,
}

impl MaxPooling2D {
    /// The pooling `spec` from maps of shape `input` to maps of shape `output`.
    pub fn new(spec: Spec, input: Shape, output: Shape, level: Level) -> Self {
        let taps = spec.vertical.window * spec.horizontal.window;
        let bytes = (1..size_of::<usize>()).find(|bytes| (taps - 1) >> (8 * bytes) == 0).unwrap_or(size_of::<usize>());
        MaxPooling2D { level, spec, input, output, bytes }
    }

    /// The tap that output `at` of an image was taken from, of what forward kept of the image.
    pub(super) fn kept_tap(&self, kept: &[u8], at: usize) -> usize {
        let planes = kept.chunks_exact(self.output.len()).enumerate();
        planes.fold(0, |tap, (byte, plane)| tap | usize::from(plane[at]) << (8 * byte))
    }
}

/// Makes some rows of one image's output.
struct Pool<'a> {
    kernel: &'a MaxPooling2D,
    input: &'a [f32],
    /// These rows.
    output: &'a mut [f32],
    rows: Range<usize>,
    /// For all rows; empty if no backward pass follows.
    kept: &'a mut [u8],
}

impl Vectorized for Pool<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (channels, planes) = (self.kernel.output.channels(), self.kernel.output.len());
        let bytes = self.kernel.bytes;
        each_output(&self.kernel.spec, self.kernel.input, self.kernel.output, self.rows, |at, window| {
            let mut channel = 0;
            while channels - channel >= S::LANES {
                let (largest, taps) = largest::<S, true>(s, window, &self.input[channel..], S::LANES);
                let first = at + channel;
                // SAFETY: the slices are as long as a vector.
                unsafe {
                    s.store(self.output[first..first + S::LANES].as_mut_ptr(), largest);
                    if bytes == 1 && !self.kept.is_empty() {
                        s.store_bytes(self.kept[first..first + S::LANES].as_mut_ptr(), taps);
                    }
                }
                if bytes > 1 {
                    keep(s, taps, self.kept, planes, first, S::LANES);
                }
                channel += S::LANES;
            }
            if channel < channels {
                let count = channels - channel;
                let (largest, taps) = largest::<S, false>(s, window, &self.input[channel..], count);
                let output = &mut self.output[at + channel..][..count];
                // SAFETY: `count` values are writable.
                unsafe { s.store_first(output.as_mut_ptr(), largest, count) }
                keep(s, taps, self.kept, planes, at + channel, count);
            }
        });
    }
}

/// Keeps the numbers of `count` taps, byte by byte, from `at` on; of planes of so many bytes there may be none.
#[inline(always)]
fn keep<S: Simd>(s: S, taps: S::V, kept: &mut [u8], planes: usize, at: usize, count: usize) {
    let mut numbers = [0.0; MAX_LANES];
    // SAFETY: no level's vectors are longer than MAX_LANES.
    unsafe { s.store(numbers.as_mut_ptr(), taps) }
    for (byte, plane) in kept.chunks_exact_mut(planes).enumerate() {
        // SAFETY: numbers of taps are whole, not negative and far below 2³¹.
        let bytes = numbers.map(|tap: f32| (unsafe { tap.to_int_unchecked::<i32>() } >> (8 * byte)) as u8);
        plane[at..at + count].copy_from_slice(&bytes[..count]);
    }
}

/// The largest values of a window in `count` channels, a vector if `WHOLE`, and the numbers of their taps.
#[inline(always)]
fn largest<S: Simd, const WHOLE: bool>(s: S, window: Window, input: &[f32], count: usize) -> (S::V, S::V) {
    let (mut largest, mut taps) = (s.splat(0.0), s.splat(0.0));
    let mut first = true;
    window.each_tap(|tap, at| {
        let values = &input[at..at + count];
        // SAFETY: `count` values are readable.
        let values = unsafe { if WHOLE { s.load(values.as_ptr()) } else { s.load_first(values.as_ptr(), count) } };
        let tap = s.splat(tap as f32);
        if first {
            (largest, taps, first) = (values, tap, false);
        } else {
            taps = s.if_greater(values, largest, tap, taps);
            // A NaN that is the largest stays, since nothing is greater; one that comes later replaces it.
            largest = s.if_nan(values, values, s.if_greater(values, largest, values, largest));
        }
    });
    (largest, taps)
}

/// Adds the gradient of one image's outputs to that of its input.
struct Spread<'a> {
    kernel: &'a MaxPooling2D,
    gradient: &'a [f32],
    kept: &'a [u8],
    d_input: &'a mut [f32],
}

impl Vectorized for Spread<'_> {
    type Output = ();
    /// Plain loops over all taps, which the compiler vectorises: faster than going to the kept tap of each value.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (channels, plane) = (self.kernel.output.channels(), self.kernel.output.len());
        let rows = 0..self.kernel.output.height();
        each_output(&self.kernel.spec, self.kernel.input, self.kernel.output, rows, |at, window| {
            let gradient = &self.gradient[at..at + channels];
            window.each_tap(|tap, to| {
                let d_input = &mut self.d_input[to..to + channels];
                let low = &self.kept[at..at + channels];
                if self.kernel.bytes == 1 {
                    for ((d, g), kept) in d_input.iter_mut().zip(gradient).zip(low) {
                        *d += if *kept == tap as u8 { *g } else { 0.0 };
                    }
                } else {
                    for (c, (d, g)) in d_input.iter_mut().zip(gradient).enumerate() {
                        let byte = |byte: usize| self.kept[byte * plane + at + c];
                        if (0..self.kernel.bytes).all(|b| byte(b) == (tap >> (8 * b)) as u8) {
                            *d += *g;
                        }
                    }
                }
            });
        });
    }
}

impl Kernel for MaxPooling2D {
    fn scratch(&self, _: usize) -> usize {
        0
    }

    fn kept(&self) -> usize {
        self.output.len() * self.bytes
    }

    fn forward(&self, pass: Forward<'_>) {
        let inputs = pass.input.chunks_exact(self.input.len()).take(pass.images);
        for (i, (input, output)) in inputs.zip(pass.output.chunks_exact_mut(self.output.len())).enumerate() {
            let kept = if pass.training { &mut pass.kept[i * self.kept()..][..self.kept()] } else { &mut [][..] };
            let rows = 0..self.output.height();
            vectorize(self.level, Pool { kernel: self, input, output, rows, kept });
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
        vectorize(self.level, Pool { kernel: self, input: pass.input, output, rows, kept: &mut [] });
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let images = d_input.chunks_exact_mut(self.input.len()).take(pass.images);
        let gradients = pass.d_output.chunks_exact(self.output.len()).zip(pass.kept.chunks_exact(self.kept()));
        for (d_input, (gradient, kept)) in images.zip(gradients) {
            d_input.fill(0.0);
            vectorize(self.level, Spread { kernel: self, gradient, kept, d_input });
        }
    }
}
