//! The gradient of the input: along each row of windows, sums for four rows and three columns of the map move on
//! column by column; the column left behind is added to the map.

use super::{Image, add};
use crate::engine::cpu::select::equal_bytes;
use crate::engine::cpu::simd::Simd;
use std::ops::Range;

/// Filters whose activity at a position is one mask, at most 64: as many as leave their slice of the weights in the
/// first cache, 36 KB in two vectors of 16 channels, 18 KB in one of 8.
#[inline(always)]
pub(super) fn filters_together<S: Simd>() -> usize {
    if S::LANES == 16 { 32 } else { 64 }
}

/// Sums of `N` vectors for four rows and three columns.
type Sums<V, const N: usize> = [[[V; N]; 3]; 4];

impl Image<'_> {
    /// For every window of some rows and every corner: which of the filters from `filter` on have their maximum there
    /// and are active.
    #[inline(always)]
    pub(super) fn mask_filters<S: Simd>(&self, s: S, rows: Range<usize>, filter: usize, masks: &mut [u64]) {
        let (filters, (_, columns)) = (self.block.filters, self.block.output());
        let count = filters_together::<S>().min(filters - filter);
        for (window, masks) in (rows.start * columns..rows.end * columns).zip(masks.chunks_exact_mut(4)) {
            let at = window * filters + filter;
            let mut active = 0;
            for f in (0..count).step_by(S::LANES) {
                // SAFETY: `filters`, and with it `count`, is a multiple of 16, so whole vectors lie there.
                active |= u64::from(s.bits(unsafe { self.active(s, at + f) })) << f;
            }
            for (corner, mask) in masks.iter_mut().enumerate() {
                let mut maxima = 0;
                for f in (0..count).step_by(16) {
                    // SAFETY: as above, 16 bytes lie there.
                    let bits = unsafe { equal_bytes(self.kept.as_ptr().add(at + f), corner as u8) };
                    maxima |= u64::from(bits) << f;
                }
                *mask = active & maxima;
            }
        }
    }

    /// Adds what the filters of `masks` give to a slice of channels, through some rows of windows.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // Which part of the work, and what it reads and writes.
    pub(super) fn input_slice<S: Simd, const N: usize>(
        &self,
        s: S,
        rows: Range<usize>,
        filter: usize,
        channel: usize,
        weights: &[f32],
        d_input: &mut [f32],
        masks: &[u64],
    ) {
        let (width, channels, filters) = (self.block.width, self.block.channels, self.block.filters);
        let (_, columns) = self.block.output();
        assert!(weights.len() >= 9 * N * S::LANES * filters_together::<S>().min(filters - filter));
        assert!(d_input.len() == self.block.input_len() && masks.len() >= 4 * rows.len() * columns);
        let mut masks = masks.as_ptr();
        for row in rows {
            let mut sums: Sums<S::V, N> = [[[s.splat(0.0); N]; 3]; 4];
            // SAFETY: the four rows from `2 · row` on and columns up to `2 · columns + 1` are in the map; there are
            // four masks for each window.
            unsafe {
                let mut to = d_input.as_mut_ptr().add(2 * row * width * channels + channel);
                let mut d = self.d_output.as_ptr().add(row * columns * filters + filter);
                for _ in 0..columns {
                    for column in 0..2 {
                        add_filters(s, *masks.add(column), d, weights, &mut sums, 0);
                        add_filters(s, *masks.add(2 + column), d, weights, &mut sums, 1);
                        add_column(s, to, width * channels, &sums, 0);
                        for sums in &mut sums {
                            *sums = [sums[1], sums[2], [s.splat(0.0); N]];
                        }
                        to = to.add(channels);
                    }
                    masks = masks.add(4);
                    d = d.add(filters);
                }
                add_column(s, to, width * channels, &sums, 0);
                add_column(s, to.add(channels), width * channels, &sums, 1);
            }
        }
    }
}

/// Adds the weights of the mask's filters, scaled, to the three rows of sums from `top` on.
///
/// # Safety
/// Gradients at `d` and `weights` exist for every bit that is set.
#[inline(always)]
unsafe fn add_filters<S: Simd, const N: usize>(
    s: S,
    mut mask: u64,
    d: *const f32,
    weights: &[f32],
    sums: &mut Sums<S::V, N>,
    top: usize,
) {
    while mask != 0 {
        let filter = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        // SAFETY: the caller vouches for the filter.
        unsafe {
            let (d, weights) = (s.splat(*d.add(filter)), weights.as_ptr().add(filter * 9 * N * S::LANES));
            for tap in 0..9 {
                for v in 0..N {
                    let sum = &mut sums[top + tap / 3][tap % 3][v];
                    *sum = s.mul_add(d, s.load(weights.add((tap * N + v) * S::LANES)), *sum);
                }
            }
        }
    }
}

/// Adds one column of the sums to four rows of the map.
///
/// # Safety
/// `N` vectors are writable at `to` and in the three rows below.
#[inline(always)]
unsafe fn add_column<S: Simd, const N: usize>(s: S, to: *mut f32, row: usize, sums: &Sums<S::V, N>, column: usize) {
    for (y, sums) in sums.iter().enumerate() {
        for (v, sum) in sums[column].iter().enumerate() {
            // SAFETY: the caller vouches for the rows.
            unsafe { add(s, to.add(y * row + v * S::LANES), *sum) };
        }
    }
}
