//! Few input channels (one to four): the first layer of a network.
//!
//! Why it is as it is. With one input channel a filter has nine weights: those of two vectors of filters stay in 18
//! registers, and every window of the pooling reads 16 pixels for 72 multiply-adds. Bias, relu, pooling and the
//! position of the maximum are computed in registers. The gradient of the weights needs, for each filter, the 3×3
//! pixels around its maximum: a lane permute picks them out of the window's 4×4, so that it costs nine multiply-adds a
//! window instead of 36. Several channels go through the same code one after the other.
//!
//! Backward, large maps go in bands of rows: all filters and channels of a band while its outputs and their gradients
//! are in the second cache. (224 × 224 × 64 outputs and gradients, 26 MB, otherwise come from memory once for each
//! channel and block of filters: six times, with vectors of eight floats 24 times.) Forward, bands make no clear
//! difference.
//!
//! A window whose pixels are all zero (most of a digit's image) is answered by the bias alone. That is exact for
//! finite weights; infinite or NaN weights do not show in such windows, but do in every other.
//!
//! Tried: Winograd would save a fifth of the multiply-adds of a window, and adds as many shuffles of registers. Strips
//! of three or four windows and one vector of filters, for more independent sums than the eight of a window (which just
//! cover the latency of the multiply-adds): the compiler keeps 16 sums in memory, 1.5 times slower.

use super::block::{Block, carve, carved, maximum};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use std::ops::Range;

/// Where the four positions of a pooling window lie in a pair of rows, as `Select::pick` counts: what `kept` holds.
const CORNERS: [f32; 4] = [0.0, 1.0, 8.0, 9.0];

/// Outputs whose gradients are worked on together, every filter and channel, so that a large map comes from memory
/// once: with the gradients half of the second cache of smaller machines.
const TOGETHER: usize = 32 * 1024;

/// Of so many pieces of a map: images and pieces that are worked on together; several images only of one channel.
fn together(block: &Block, pieces: usize) -> (usize, usize) {
    let images = if block.channels == 1 { (TOGETHER / block.output_len()).max(1) } else { 1 };
    (images, (TOGETHER * pieces / block.output_len()).clamp(1, pieces))
}

/// The kernel: the gradient of the input is not computed.
pub(super) struct Thin {
    pub block: Block,
    pub level: Level,
}

impl Thin {
    /// Whether this family covers the block: the map must hold one 2×2 window.
    pub fn covers(block: &Block) -> bool {
        let (rows, columns) = block.convolved();
        (1..=4).contains(&block.channels) && block.filters.is_multiple_of(16) && rows >= 2 && columns >= 2
    }
}

impl Kernel for Thin {
    fn scratch(&self, _images: usize) -> usize {
        carved(&[self.block.input_len()])
    }

    fn kept(&self) -> usize {
        self.block.kept()
    }

    fn forward(&self, pass: Forward<'_>) {
        self.block.check_forward(&pass);
        vectorize(self.level, RunForward { block: self.block, pass });
    }

    fn backward(&self, pass: Backward<'_>) {
        self.block.check_backward(&pass);
        assert!(pass.d_input.is_none(), "a first layer has no gradient of the input");
        vectorize(self.level, RunBackward { block: self.block, pass });
    }
}

struct RunForward<'a> {
    block: Block,
    pass: Forward<'a>,
}

impl Vectorized for RunForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut filter = 0;
        while filter < self.block.filters {
            let two = filter + 2 * S::LANES <= self.block.filters;
            match (two, self.block.channels) {
                (true, 1) => self.filters::<S, 2, true>(s, filter),
                (true, _) => self.filters::<S, 2, false>(s, filter),
                (false, 1) => self.filters::<S, 1, true>(s, filter),
                (false, _) => self.filters::<S, 1, false>(s, filter),
            }
            filter += if two { 2 } else { 1 } * S::LANES;
        }
    }
}

impl RunForward<'_> {
    /// All windows of all images for `N` vectors of filters. `ONE` channel: the weights stay in registers.
    #[inline(always)]
    fn filters<S: Simd, const N: usize, const ONE: bool>(&mut self, s: S, filter: usize) {
        let Block { height, width, channels, filters, bias, pooled, .. } = self.block;
        let (rows, columns) = self.block.convolved();
        let weights = self.pass.weights;
        // SAFETY: `check_forward` has checked all lengths. A window's top left pixel is at most at row `rows − 2 ≤
        // height − 4`, and likewise for columns, so its 4×4 pixels lie in the image and its outputs in the output;
        // `filter + N · LANES ≤ filters`.
        unsafe {
            let mut start = [s.splat(0.0); N];
            if bias {
                for (v, start) in start.iter_mut().enumerate() {
                    *start = s.load(weights.as_ptr().add(9 * channels * filters + filter + v * S::LANES));
                }
            }
            let kernel = weights.as_ptr().add(filter);
            let first = load_taps::<S, N>(s, kernel, channels * filters);
            for image in 0..self.pass.images {
                let x = self.pass.input[image * height * width * channels..].as_ptr();
                for i in 0..rows.div_ceil(2) {
                    // Where there is no pooling, the last window of an odd map overlaps the one before it.
                    let row = (2 * i).min(rows - 2);
                    let mut left = if ONE { two_columns(x.add(row * width), width) } else { 1 };
                    for j in 0..columns.div_ceil(2) {
                        let column = (2 * j).min(columns - 2);
                        let corner = x.add((row * width + column) * channels);
                        let right = if ONE { two_columns(corner.add(2), width) } else { 1 };
                        let empty = left | right == 0 && column == 2 * j;
                        left = right;
                        let mut sums = [start; 4];
                        if !empty {
                            for channel in 0..if ONE { 1 } else { channels } {
                                let taps = match ONE {
                                    true => first,
                                    false => load_taps::<S, N>(s, kernel.add(channel * filters), channels * filters),
                                };
                                window(s, corner.add(channel), width * channels, channels, &taps, &mut sums);
                            }
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

/// The bits of 4×2 pixels, or'ed: zero if all are zero.
///
/// # Safety
/// Two floats are readable at `x` and in the three rows below.
#[inline(always)]
unsafe fn two_columns(x: *const f32, width: usize) -> u64 {
    // SAFETY: the caller vouches for the floats.
    unsafe {
        let row = |i: usize| x.add(i * width).cast::<u64>().read_unaligned();
        row(0) | row(1) | row(2) | row(3)
    }
}

/// Adds the 2×2 convolution outputs of one 4×4 patch of one channel.
///
/// # Safety
/// The patch is readable: four rows `row` apart, of four pixels `pixel` apart.
#[inline(always)]
unsafe fn window<S: Simd, const N: usize>(
    s: S,
    patch: *const f32,
    row: usize,
    pixel: usize,
    taps: &[[S::V; N]; 9],
    sums: &mut [[S::V; N]; 4],
) {
    for y in 0..4 {
        for x in 0..4 {
            // SAFETY: the caller vouches for the patch.
            let value = s.splat(unsafe { *patch.add(y * row + x * pixel) });
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

struct RunBackward<'a> {
    block: Block,
    pass: Backward<'a>,
}

impl Vectorized for RunBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut scratch = std::mem::take(&mut self.pass.scratch);
        let planes = carve(&mut scratch, self.block.input_len());
        let (rows, _) = self.block.output();
        let (images_together, rows_together) = together(&self.block, rows);
        for image in (0..self.pass.images).step_by(images_together) {
            let images = image..self.pass.images.min(image + images_together);
            if self.block.channels > 1 {
                self.split(image, planes);
            }
            for row in (0..rows).step_by(rows_together) {
                self.part(s, images.clone(), row..rows.min(row + rows_together), planes);
                // From here on, sums are added to those of the first part.
                self.pass.accumulate = true;
            }
        }
    }
}

impl RunBackward<'_> {
    /// Rearranges an image (positions, channels) to (channels, positions).
    fn split(&self, image: usize, planes: &mut [f32]) {
        let Block { height, width, channels, .. } = self.block;
        let pixels = &self.pass.input[image * self.block.input_len()..][..self.block.input_len()];
        for (channel, plane) in planes.chunks_exact_mut(height * width).enumerate() {
            for (to, pixel) in plane.iter_mut().zip(pixels.chunks_exact(channels)) {
                *to = pixel[channel];
            }
        }
    }

    /// What some rows of the output of some images give.
    #[inline(always)]
    fn part<S: Simd>(&mut self, s: S, images: Range<usize>, rows: Range<usize>, planes: &[f32]) {
        // 18 sums and what they are made of fit into 32 registers, nine into 16.
        let wide = S::REGISTERS >= 32;
        let mut filter = 0;
        while filter < self.block.filters {
            let two = wide && filter + 2 * S::LANES <= self.block.filters;
            for channel in 0..self.block.channels {
                let (images, rows) = (images.clone(), rows.clone());
                match (two, self.block.pooled) {
                    (true, true) => self.pooled::<S, 2>(s, images, rows, filter, channel, planes),
                    (true, false) => self.unpooled::<S, 2>(s, images, rows, filter, channel),
                    (false, true) => self.pooled::<S, 1>(s, images, rows, filter, channel, planes),
                    (false, false) => self.unpooled::<S, 1>(s, images, rows, filter, channel),
                }
            }
            filter += if two { 2 } else { 1 } * S::LANES;
        }
    }

    /// The weights' gradient of one channel and `N` vectors of filters, through the pooling.
    #[inline(always)]
    fn pooled<S: Simd, const N: usize>(
        &mut self,
        s: S,
        images: Range<usize>,
        part: Range<usize>,
        filter: usize,
        channel: usize,
        planes: &[f32],
    ) {
        let Block { height, width, channels, filters, .. } = self.block;
        let (rows, columns) = self.block.output();
        let (mut sums, mut biases) = ([[s.splat(0.0); N]; 9], [s.splat(0.0); N]);
        for image in images {
            let x = match channels {
                1 => self.pass.input[image * height * width..].as_ptr(),
                _ => planes[channel * height * width..].as_ptr(),
            };
            for i in part.clone() {
                // SAFETY: `check_backward` has checked all lengths; a window's 4×4 pixels lie in the image, since
                // `2 · rows + 2 ≤ height`, and likewise for columns.
                unsafe {
                    let mut left = two_columns(x.add(2 * i * width), width);
                    for j in 0..columns {
                        let at = ((image * rows + i) * columns + j) * filters + filter;
                        let corner = x.add(2 * i * width + 2 * j);
                        let right = two_columns(corner.add(2), width);
                        let empty = left | right == 0;
                        left = right;
                        let mut d = [s.splat(0.0); N];
                        for v in 0..N {
                            d[v] = self.gradient(s, at + v * S::LANES);
                            biases[v] = s.add(biases[v], d[v]);
                        }
                        if !empty {
                            self.add_window(s, corner, at, d, &mut sums);
                        }
                    }
                }
            }
        }
        self.finish(s, filter, channel, sums, biases);
    }

    /// Adds what one window gives to the nine sums: to each lane the pixels around that filter's maximum.
    ///
    /// # Safety
    /// The window's 4×4 pixels are readable at `corner`, its outputs lie at `at`.
    #[inline(always)]
    unsafe fn add_window<S: Simd, const N: usize>(
        &self,
        s: S,
        corner: *const f32,
        at: usize,
        d: [S::V; N],
        sums: &mut [[S::V; N]; 9],
    ) {
        let width = self.block.width;
        // SAFETY: the caller vouches for the pixels and the outputs.
        unsafe {
            let rows = [corner, corner.add(width), corner.add(2 * width), corner.add(3 * width)];
            let pairs = [s.load_pair(rows[0], rows[1]), s.load_pair(rows[1], rows[2]), s.load_pair(rows[2], rows[3])];
            for v in 0..N {
                let first = s.load_bytes(self.pass.kept.as_ptr().add(at + v * S::LANES));
                let column = [first, s.add(first, s.splat(1.0)), s.add(first, s.splat(2.0))];
                for tap in 0..9 {
                    sums[tap][v] = s.mul_add(d[v], s.pick(pairs[tap / 3], column[tap % 3]), sums[tap][v]);
                }
            }
        }
    }

    /// The same without pooling.
    #[inline(always)]
    fn unpooled<S: Simd, const N: usize>(
        &mut self,
        s: S,
        images: Range<usize>,
        part: Range<usize>,
        filter: usize,
        channel: usize,
    ) {
        let Block { width, channels, filters, .. } = self.block;
        let (rows, columns) = self.block.output();
        let (mut sums, mut biases) = ([[s.splat(0.0); N]; 9], [s.splat(0.0); N]);
        for image in images {
            for i in part.clone() {
                // SAFETY: `check_backward` has checked all lengths; the 3×3 pixels of an output lie in the image.
                unsafe {
                    let row = self.pass.input.as_ptr().add(image * self.block.input_len() + i * width * channels);
                    for j in 0..columns {
                        let at = ((image * rows + i) * columns + j) * filters + filter;
                        let mut d = [s.splat(0.0); N];
                        for v in 0..N {
                            d[v] = self.gradient(s, at + v * S::LANES);
                            biases[v] = s.add(biases[v], d[v]);
                        }
                        for (tap, sums) in sums.iter_mut().enumerate() {
                            let x = *row.add((tap / 3 * width + j + tap % 3) * channels + channel);
                            for v in 0..N {
                                sums[v] = s.mul_add(s.splat(x), d[v], sums[v]);
                            }
                        }
                    }
                }
            }
        }
        self.finish(s, filter, channel, sums, biases);
    }

    /// The output's gradient behind the relu.
    ///
    /// # Safety
    /// A vector of outputs lies at `at`.
    #[inline(always)]
    unsafe fn gradient<S: Simd>(&self, s: S, at: usize) -> S::V {
        // SAFETY: the caller vouches for the place; the two slices are as long as each other.
        unsafe {
            let output = s.load(self.pass.output.as_ptr().add(at));
            s.keep(s.greater(output, s.splat(0.0)), s.load(self.pass.d_output.as_ptr().add(at)))
        }
    }

    /// Writes the sums into the gradient, or adds them.
    #[inline(always)]
    fn finish<S: Simd, const N: usize>(
        &mut self,
        s: S,
        filter: usize,
        channel: usize,
        sums: [[S::V; N]; 9],
        biases: [S::V; N],
    ) {
        let Block { channels, filters, bias, .. } = self.block;
        for (tap, sums) in sums.into_iter().enumerate() {
            // SAFETY: `N · LANES` filters of one tap and channel.
            unsafe { self.put(s, (tap * channels + channel) * filters + filter, sums) };
        }
        if bias && channel == 0 {
            // SAFETY: `N · LANES` filters of the bias.
            unsafe { self.put(s, 9 * channels * filters + filter, biases) };
        }
    }

    /// # Safety
    /// `N` vectors lie at `at` in the gradient.
    #[inline(always)]
    unsafe fn put<S: Simd, const N: usize>(&mut self, s: S, at: usize, values: [S::V; N]) {
        for (v, value) in values.into_iter().enumerate() {
            // SAFETY: the caller vouches for the place.
            unsafe {
                let to = self.pass.d_weights.as_mut_ptr().add(at + v * S::LANES);
                s.store(to, if self.pass.accumulate { s.add(s.load(to), value) } else { value });
            }
        }
    }
}
