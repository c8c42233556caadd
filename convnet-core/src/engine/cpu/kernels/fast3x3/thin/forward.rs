//! The forward pass: bias, relu, pooling and the position of the maximum are computed in registers.
//!
//! With one input channel a filter has nine weights: those of two vectors of filters stay in 18 registers, and every
//! window of the pooling reads 16 pixels for 72 multiply-adds.
//!
//! With several channels the weights come from the first cache, once for a strip of two windows: 16 sums, and a tap
//! costs two loads of weights and eight broadcasts for 16 multiply-adds. The loop over the taps must stay a loop: where
//! all taps stand in one piece of code, as they do in a window of one channel, the compiler keeps the pixels that
//! several taps share in registers and the sums in memory (1.4 to 2.2 times slower). So written the loops run at the
//! arithmetic's peak, 160 of the 201 µs of a 150×150×3 image; the rest is relu, pooling and positions, 13 instructions
//! a vector of windows. Levels of 16 registers take one window at a time: eight sums just cover the latency.
//!
//! Tried: strips of three windows (24 sums), no faster; bands of rows, no clear difference. Not tried: Winograd, whose
//! 16 multiply-adds and eight additions (once for all channels) would with three channels save a third of the
//! arithmetic, but not in `exact` mode; with one channel it saves nothing.

use super::super::block::{Block, maximum};
use super::two_columns;
use crate::engine::cpu::kernel::Forward;
use crate::engine::cpu::simd::{Simd, Vectorized};

/// What `kept` holds for the four positions of a pooling window, where the backward pass finds their pixels: columns
/// first.
const CORNERS: [f32; 4] = [0.0, 2.0, 1.0, 3.0];

pub(super) struct Run<'a> {
    pub block: Block,
    pub pass: Forward<'a>,
}

impl Vectorized for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut filter = 0;
        while filter < self.block.filters {
            let two = filter + 2 * S::LANES <= self.block.filters;
            match (two, self.block.channels) {
                (true, 1) => self.one_channel::<S, 2>(s, filter),
                (false, 1) => self.one_channel::<S, 1>(s, filter),
                (true, _) => self.channels::<S, 2>(s, filter),
                (false, _) => self.channels::<S, 1>(s, filter),
            }
            filter += if two { 2 } else { 1 } * S::LANES;
        }
    }
}

impl Run<'_> {
    /// All windows of all images of one channel, for `N` vectors of filters.
    #[inline(always)]
    fn one_channel<S: Simd, const N: usize>(&mut self, s: S, filter: usize) {
        let Block { height, width, filters, pooled, .. } = self.block;
        let (rows, columns) = self.block.convolved();
        // SAFETY: `check_forward` has checked all lengths. A window's top left pixel is at most at row `rows − 2 ≤
        // height − 4`, and likewise for columns, so its 4×4 pixels lie in the image and its outputs in the output;
        // `filter + N · LANES ≤ filters`.
        unsafe {
            let start = self.biases::<S, N>(s, filter);
            let taps = load_taps::<S, N>(s, self.pass.weights.as_ptr().add(filter), filters);
            for image in 0..self.pass.images {
                let x = self.pass.input[image * height * width..].as_ptr();
                for i in 0..rows.div_ceil(2) {
                    // Where there is no pooling, the last window of an odd map overlaps the one before it.
                    let row = (2 * i).min(rows - 2);
                    let mut left = two_columns(x.add(row * width), width);
                    for j in 0..columns.div_ceil(2) {
                        let column = (2 * j).min(columns - 2);
                        let corner = x.add(row * width + column);
                        let right = two_columns(corner.add(2), width);
                        let empty = left | right == 0 && column == 2 * j;
                        left = right;
                        let mut sums = [start; 4];
                        if !empty {
                            window(s, corner, width, &taps, &mut sums);
                        }
                        if pooled {
                            let at = ((image * (rows / 2) + i) * (columns / 2) + j) * filters + filter;
                            self.store_maximum(s, sums, at);
                        } else {
                            let at = ((image * rows + row) * columns + column) * filters + filter;
                            self.store_all(s, sums, at, columns * filters);
                        }
                    }
                }
            }
        }
    }

    /// All windows of all images of several channels, for `N` vectors of filters.
    #[inline(always)]
    fn channels<S: Simd, const N: usize>(&mut self, s: S, filter: usize) {
        let Block { height, width, channels, .. } = self.block;
        let (rows, columns) = self.block.convolved();
        // SAFETY: as in `one_channel`; four columns of outputs need two more of pixels.
        unsafe {
            let start = self.biases::<S, N>(s, filter);
            for image in 0..self.pass.images {
                let x = self.pass.input[image * height * width * channels..].as_ptr();
                for i in 0..rows.div_ceil(2) {
                    let row = (2 * i).min(rows - 2);
                    let x = x.add(row * width * channels);
                    let mut column = 0;
                    if S::REGISTERS >= 32 {
                        while column + 4 <= columns {
                            let sums = self.strip::<S, N, 4>(s, x.add(column * channels), filter, start);
                            self.store_strip(s, sums, (image, row, column), filter);
                            column += 4;
                        }
                    }
                    while column < columns {
                        let at = column.min(columns - 2);
                        let sums = self.strip::<S, N, 2>(s, x.add(at * channels), filter, start);
                        self.store_strip(s, sums, (image, row, at), filter);
                        column += 2;
                    }
                }
            }
        }
    }

    /// What the sums of `N` vectors of filters start from.
    ///
    /// # Safety
    /// So many filters are there.
    #[inline(always)]
    unsafe fn biases<S: Simd, const N: usize>(&self, s: S, filter: usize) -> [S::V; N] {
        let Block { channels, filters, bias, .. } = self.block;
        let mut start = [s.splat(0.0); N];
        if bias {
            for (v, start) in start.iter_mut().enumerate() {
                let at = 9 * channels * filters + filter + v * S::LANES;
                // SAFETY: the caller vouches for the filters; the biases lie behind the kernel.
                *start = unsafe { s.load(self.pass.weights.as_ptr().add(at)) };
            }
        }
        start
    }

    /// Two rows of `COLUMNS` outputs. A loop over the taps, not to be unrolled: each tap's weights are loaded once for
    /// all outputs, and each pixel as often as it is used.
    ///
    /// # Safety
    /// Four rows of `COLUMNS + 2` pixels are readable at `corner`, and `N` vectors of filters from `filter` on.
    #[inline(always)]
    unsafe fn strip<S: Simd, const N: usize, const COLUMNS: usize>(
        &self,
        s: S,
        corner: *const f32,
        filter: usize,
        start: [S::V; N],
    ) -> [[[S::V; N]; COLUMNS]; 2] {
        let Block { width, channels, filters, .. } = self.block;
        let mut sums = [[start; COLUMNS]; 2];
        for y in 0..3 {
            // SAFETY: the caller vouches for pixels and filters. Three pixels with all their channels are one run of
            // the row, their taps one run of rows of the kernel.
            unsafe {
                let rows = [corner.add(y * width * channels), corner.add((y + 1) * width * channels)];
                let kernel = self.pass.weights.as_ptr().add(y * 3 * channels * filters + filter);
                for k in 0..3 * channels {
                    let mut taps = [s.splat(0.0); N];
                    for (v, tap) in taps.iter_mut().enumerate() {
                        *tap = s.load(kernel.add(k * filters + v * S::LANES));
                    }
                    for column in 0..COLUMNS {
                        for i in 0..2 {
                            let value = s.splat(*rows[i].add(column * channels + k));
                            for v in 0..N {
                                sums[i][column][v] = s.mul_add(value, taps[v], sums[i][column][v]);
                            }
                        }
                    }
                }
            }
        }
        sums
    }

    /// Writes what the sums of [`Run::strip`] give, whose place among the convolution's outputs is `(image, row,
    /// column)`.
    ///
    /// # Safety
    /// The place is one of a strip, and `N` vectors of filters from `filter` on are there.
    #[inline(always)]
    unsafe fn store_strip<S: Simd, const N: usize, const COLUMNS: usize>(
        &mut self,
        s: S,
        sums: [[[S::V; N]; COLUMNS]; 2],
        (image, row, column): (usize, usize, usize),
        filter: usize,
    ) {
        let filters = self.block.filters;
        let (rows, columns) = self.block.convolved();
        for left in (0..COLUMNS).step_by(2) {
            let window = [sums[0][left], sums[0][left + 1], sums[1][left], sums[1][left + 1]];
            let column = column + left;
            // SAFETY: the caller vouches for the place.
            unsafe {
                if self.block.pooled {
                    let at = ((image * (rows / 2) + row / 2) * (columns / 2) + column / 2) * filters + filter;
                    self.store_maximum(s, window, at);
                } else {
                    let at = ((image * rows + row) * columns + column) * filters + filter;
                    self.store_all(s, window, at, columns * filters);
                }
            }
        }
    }

    /// Relu, the maximum of four and where it was.
    ///
    /// # Safety
    /// `N · LANES` filters lie at `at` in the output.
    #[inline(always)]
    unsafe fn store_maximum<S: Simd, const N: usize>(&mut self, s: S, sums: [[S::V; N]; 4], at: usize) {
        for v in 0..N {
            let (best, corner) = maximum(s, std::array::from_fn(|i| sums[i][v]), CORNERS);
            // SAFETY: the caller vouches for the place in the output; `kept` is as long, in training.
            unsafe {
                s.store(self.pass.output.as_mut_ptr().add(at + v * S::LANES), best);
                if self.pass.training {
                    s.store_bytes(self.pass.kept.as_mut_ptr().add(at + v * S::LANES), corner);
                }
            }
        }
    }

    /// Relu of four outputs.
    ///
    /// # Safety
    /// `N · LANES` filters lie at `at` in the output, in the next column, and the same in the row below.
    #[inline(always)]
    unsafe fn store_all<S: Simd, const N: usize>(&mut self, s: S, sums: [[S::V; N]; 4], at: usize, row: usize) {
        for (i, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                let at = at + i / 2 * row + i % 2 * self.block.filters + v * S::LANES;
                // SAFETY: the caller vouches for the four places in the output.
                unsafe { s.store(self.pass.output.as_mut_ptr().add(at), s.max(s.splat(0.0), sum)) };
            }
        }
    }
}

/// The nine taps of one channel, `stride` apart.
///
/// # Safety
/// `N` vectors are readable at each.
#[inline(always)]
unsafe fn load_taps<S: Simd, const N: usize>(s: S, from: *const f32, stride: usize) -> [[S::V; N]; 9] {
    let mut taps = [[s.splat(0.0); N]; 9];
    for (tap, vectors) in taps.iter_mut().enumerate() {
        for (v, vector) in vectors.iter_mut().enumerate() {
            // SAFETY: the caller vouches for the floats.
            *vector = unsafe { s.load(from.add(tap * stride + v * S::LANES)) };
        }
    }
    taps
}

/// Adds the 2×2 convolution outputs of one 4×4 patch of one channel.
///
/// # Safety
/// The patch is readable: four rows `row` apart.
#[inline(always)]
unsafe fn window<S: Simd, const N: usize>(
    s: S,
    patch: *const f32,
    row: usize,
    taps: &[[S::V; N]; 9],
    sums: &mut [[S::V; N]; 4],
) {
    for y in 0..4 {
        for x in 0..4 {
            // SAFETY: the caller vouches for the patch.
            let value = s.splat(unsafe { *patch.add(y * row + x) });
            for (i, sums) in sums.iter_mut().enumerate() {
                let (top, left) = (i / 2, i % 2);
                if (top..top + 3).contains(&y) && (left..left + 3).contains(&x) {
                    for v in 0..N {
                        sums[v] = s.mul_add(value, taps[(y - top) * 3 + x - left][v], sums[v]);
                    }
                }
            }
        }
    }
}
