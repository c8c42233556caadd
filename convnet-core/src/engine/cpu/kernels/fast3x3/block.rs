//! The shape of a fused block, convolution + relu (+ pooling), and the scratch memory that its kernels carve up.

use crate::engine::cpu::kernel::{Backward, Forward};
use crate::engine::cpu::simd::Simd;

/// A 3×3 convolution with stride 1, without padding, with relu, and perhaps a 2×2 pooling with stride 2 behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the output.
    pub filters: usize,
    /// Whether the weights end in one bias a filter.
    pub bias: bool,
    /// Whether the pooling follows.
    pub pooled: bool,
}

impl Block {
    /// Rows and columns of the convolution that anybody reads: a pooling never sees an odd last one.
    pub fn convolved(&self) -> (usize, usize) {
        let (rows, columns) = (self.height - 2, self.width - 2);
        if self.pooled { (rows & !1, columns & !1) } else { (rows, columns) }
    }

    /// Rows and columns of the output.
    pub fn output(&self) -> (usize, usize) {
        let (rows, columns) = self.convolved();
        if self.pooled { (rows / 2, columns / 2) } else { (rows, columns) }
    }

    /// Floats of one input image.
    pub fn input_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Floats of one output image.
    pub fn output_len(&self) -> usize {
        let (rows, columns) = self.output();
        rows * columns * self.filters
    }

    /// Parameters: the kernel (3, 3, channels, filters), then the bias.
    pub fn weights_len(&self) -> usize {
        9 * self.channels * self.filters + if self.bias { self.filters } else { 0 }
    }

    /// Bytes an image that the forward pass keeps: where each maximum was.
    pub fn kept(&self) -> usize {
        if self.pooled { self.output_len() } else { 0 }
    }

    /// Checks once, at the door, the lengths that all pointer arithmetic inside relies on.
    pub fn check_forward(&self, pass: &Forward<'_>) {
        self.check_forward_of(pass, self.input_len());
    }

    /// The same where an image of the input has `input` floats.
    pub fn check_forward_of(&self, pass: &Forward<'_>, input: usize) {
        assert_eq!(pass.input.len(), pass.images * input, "input");
        assert_eq!(pass.output.len(), pass.images * self.output_len(), "output");
        assert_eq!(pass.weights.len(), self.weights_len(), "weights");
        assert!(!pass.training || pass.kept.len() == pass.images * self.kept(), "kept");
    }

    /// As [`Block::check_forward`].
    pub fn check_backward(&self, pass: &Backward<'_>) {
        self.check_backward_of(pass, self.input_len());
    }

    /// As [`Block::check_forward_of`].
    pub fn check_backward_of(&self, pass: &Backward<'_>, input: usize) {
        assert_eq!(pass.input.len(), pass.images * input, "input");
        assert_eq!(pass.output.len(), pass.images * self.output_len(), "output");
        assert_eq!(pass.d_output.len(), pass.images * self.output_len(), "gradient of the output");
        assert_eq!(pass.weights.len(), self.weights_len(), "weights");
        assert_eq!(pass.d_weights.len(), self.weights_len(), "gradient of the weights");
        assert_eq!(pass.kept.len(), pass.images * self.kept(), "kept");
        let d_input = pass.d_input.as_ref().map_or(pass.input.len(), |d_input| d_input.len());
        assert_eq!(d_input, pass.input.len(), "gradient of the input");
    }
}

/// Writes what was summed up as the gradient of the bias, or adds it.
pub(super) fn put_bias(sum: &[f32], d_bias: &mut [f32], accumulate: bool) {
    for (to, sum) in d_bias.iter_mut().zip(sum) {
        *to = if accumulate { *to + sum } else { *sum };
    }
}

/// The relu of the largest of a window's four values, and which it was (as `names` names them), the first where
/// several are equal. A NaN in the first place stays; NaNs elsewhere lose.
#[inline(always)]
pub(super) fn maximum<S: Simd>(s: S, values: [S::V; 4], names: [f32; 4]) -> (S::V, S::V) {
    let (mut best, mut name) = (values[0], s.splat(names[0]));
    for i in 1..4 {
        let larger = s.greater(values[i], best);
        best = s.select(larger, values[i], best);
        name = s.select(larger, s.splat(names[i]), name);
    }
    (s.max(s.splat(0.0), best), name)
}

/// Loads a vector of which `count` lanes are there, all of them if `FULL`; zeros in the others.
///
/// # Safety
/// They are readable.
#[inline(always)]
pub(super) unsafe fn load<S: Simd, const FULL: bool>(s: S, from: *const f32, count: usize) -> S::V {
    // SAFETY: the caller vouches for it.
    unsafe {
        match FULL {
            true => s.load(from),
            false if S::REGISTERS >= 16 => s.load_first(from, count),
            // Without masks that is a branch a lane.
            false => {
                let mut lanes = [0.0; 16];
                std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
                s.load(lanes.as_ptr())
            }
        }
    }
}

/// Stores a vector of which `count` lanes are wanted, all of them if `FULL`.
///
/// # Safety
/// They are writable.
#[inline(always)]
pub(super) unsafe fn store<S: Simd, const FULL: bool>(s: S, to: *mut f32, value: S::V, count: usize) {
    // SAFETY: the caller vouches for it.
    unsafe {
        match FULL {
            true => s.store(to, value),
            false if S::REGISTERS >= 16 => s.store_first(to, value, count),
            false => {
                let mut lanes = [0.0; 16];
                s.store(lanes.as_mut_ptr(), value);
                std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
            }
        }
    }
}

/// Stores a vector of maxima, and in `kept`, if there is any, which of its window each was; `count` lanes, all if `FULL`.
///
/// # Safety
/// They are writable in both.
#[inline(always)]
pub(super) unsafe fn store_maxima<S: Simd, const FULL: bool>(
    s: S,
    [maxima, corners]: [S::V; 2],
    output: *mut f32,
    kept: Option<*mut u8>,
    count: usize,
) {
    // SAFETY: the caller vouches for it; the bytes between have room for the widest vector.
    unsafe {
        store::<S, FULL>(s, output, maxima, count);
        match kept {
            Some(kept) if FULL => s.store_bytes(kept, corners),
            Some(kept) => {
                let mut bytes = [0; 16];
                s.store_bytes(bytes.as_mut_ptr(), corners);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), kept, count);
            }
            None => {}
        }
    }
}
