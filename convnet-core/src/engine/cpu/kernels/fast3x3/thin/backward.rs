//! The gradient of the weights.

use super::super::block::{Block, carve};
use super::two_columns;
use crate::engine::cpu::kernel::Backward;
use crate::engine::cpu::simd::{Simd, Vectorized};
use std::ops::Range;

/// Outputs whose gradients are worked on together, every filter and channel, so that a large map comes from memory
/// once: with the gradients half of the second cache of smaller machines.
const TOGETHER: usize = 32 * 1024;

/// Of so many pieces of a map: images and pieces that are worked on together; several images only of one channel.
fn together(block: &Block, pieces: usize) -> (usize, usize) {
    let images = if block.channels == 1 { (TOGETHER / block.output_len()).max(1) } else { 1 };
    (images, (TOGETHER * pieces / block.output_len()).clamp(1, pieces))
}

pub(super) struct Run<'a> {
    pub block: Block,
    pub pass: Backward<'a>,
}

impl Vectorized for Run<'_> {
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

impl Run<'_> {
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
