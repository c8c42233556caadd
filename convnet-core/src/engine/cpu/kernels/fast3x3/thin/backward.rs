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

/// What is summed in registers at one go: the outputs of some rows of some images, for a few filters and channels.
struct Piece {
    images: Range<usize>,
    rows: Range<usize>,
    /// The first of the filters.
    filter: usize,
    /// The first of the channels.
    channel: usize,
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
        // 27 sums and what they are made of fit into 32 registers, nine into 16.
        let wide = S::REGISTERS >= 32;
        let Block { channels, filters, pooled, .. } = self.block;
        let mut channel = 0;
        while channel < channels {
            let together = if wide { [1, 2, 3, 2][channels - channel - 1] } else { 1 };
            let mut filter = 0;
            while filter < filters {
                let two = wide && together == 1 && filter + 2 * S::LANES <= filters;
                let piece = Piece { images: images.clone(), rows: rows.clone(), filter, channel };
                match (pooled, together, two) {
                    (true, 1, true) => self.pooled::<S, 2, 1>(s, piece, planes),
                    (true, 1, false) => self.pooled::<S, 1, 1>(s, piece, planes),
                    (true, 2, _) => self.pooled::<S, 1, 2>(s, piece, planes),
                    (true, ..) => self.pooled::<S, 1, 3>(s, piece, planes),
                    (false, 1, true) => self.unpooled::<S, 2, 1>(s, piece),
                    (false, 1, false) => self.unpooled::<S, 1, 1>(s, piece),
                    (false, 2, _) => self.unpooled::<S, 1, 2>(s, piece),
                    (false, ..) => self.unpooled::<S, 1, 3>(s, piece),
                }
                filter += if two { 2 } else { 1 } * S::LANES;
            }
            channel += together;
        }
    }

    /// The weights' gradient of `C` channels and `N` vectors of filters, through the pooling.
    #[inline(always)]
    fn pooled<S: Simd, const N: usize, const C: usize>(&mut self, s: S, piece: Piece, planes: &[f32]) {
        let Block { height, width, channels, filters, .. } = self.block;
        let (rows, columns) = self.block.output();
        let (mut sums, mut biases) = ([[[s.splat(0.0); N]; 9]; C], [s.splat(0.0); N]);
        for image in piece.images.clone() {
            let x = match channels {
                1 => self.pass.input[image * height * width..].as_ptr(),
                _ => planes[piece.channel * height * width..].as_ptr(),
            };
            for i in piece.rows.clone() {
                // SAFETY: `check_backward` has checked all lengths; a window's 4×4 pixels lie in the image, since
                // `2 · rows + 2 ≤ height`, and likewise for columns; `C` planes begin at `x`.
                unsafe {
                    let mut left = if C == 1 { two_columns(x.add(2 * i * width), width) } else { 1 };
                    for j in 0..columns {
                        let at = ((image * rows + i) * columns + j) * filters + piece.filter;
                        let corner = x.add(2 * i * width + 2 * j);
                        let right = if C == 1 { two_columns(corner.add(2), width) } else { 1 };
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
        self.finish(s, &piece, sums, biases);
    }

    /// Adds what one window gives to the sums: to each lane the pixels around that filter's maximum.
    ///
    /// # Safety
    /// The window's 4×4 pixels are readable at `corner`, and at the same place of the next `C − 1` planes; its outputs
    /// lie at `at`.
    #[inline(always)]
    unsafe fn add_window<S: Simd, const N: usize, const C: usize>(
        &self,
        s: S,
        corner: *const f32,
        at: usize,
        d: [S::V; N],
        sums: &mut [[[S::V; N]; 9]; C],
    ) {
        let Block { height, width, .. } = self.block;
        // SAFETY: the caller vouches for the pixels and the outputs.
        unsafe {
            let mut places = [[s.splat(0.0); 3]; N];
            for v in 0..N {
                let first = s.load_bytes(self.pass.kept.as_ptr().add(at + v * S::LANES));
                places[v] = [first, s.add(first, s.splat(1.0)), s.add(first, s.splat(2.0))];
            }
            for c in 0..C {
                for y in 0..3 {
                    let row = corner.add(c * height * width + y * width);
                    let pair = s.load_pair(row, row.add(width));
                    for v in 0..N {
                        for x in 0..3 {
                            let sum = &mut sums[c][3 * y + x][v];
                            *sum = s.mul_add(d[v], s.pick(pair, places[v][x]), *sum);
                        }
                    }
                }
            }
        }
    }

    /// The same without pooling.
    #[inline(always)]
    fn unpooled<S: Simd, const N: usize, const C: usize>(&mut self, s: S, piece: Piece) {
        let Block { width, channels, filters, .. } = self.block;
        let (rows, columns) = self.block.output();
        let (mut sums, mut biases) = ([[[s.splat(0.0); N]; 9]; C], [s.splat(0.0); N]);
        for image in piece.images.clone() {
            for i in piece.rows.clone() {
                // SAFETY: `check_backward` has checked all lengths; the 3×3 pixels of an output lie in the image.
                unsafe {
                    let row = self.pass.input.as_ptr().add(image * self.block.input_len() + i * width * channels);
                    for j in 0..columns {
                        let at = ((image * rows + i) * columns + j) * filters + piece.filter;
                        let mut d = [s.splat(0.0); N];
                        for v in 0..N {
                            d[v] = self.gradient(s, at + v * S::LANES);
                            biases[v] = s.add(biases[v], d[v]);
                        }
                        for tap in 0..9 {
                            let pixel = row.add((tap / 3 * width + j + tap % 3) * channels + piece.channel);
                            for c in 0..C {
                                let x = s.splat(*pixel.add(c));
                                for v in 0..N {
                                    sums[c][tap][v] = s.mul_add(x, d[v], sums[c][tap][v]);
                                }
                            }
                        }
                    }
                }
            }
        }
        self.finish(s, &piece, sums, biases);
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
    fn finish<S: Simd, const N: usize, const C: usize>(
        &mut self,
        s: S,
        piece: &Piece,
        sums: [[[S::V; N]; 9]; C],
        biases: [S::V; N],
    ) {
        let Block { channels, filters, bias, .. } = self.block;
        for (c, sums) in sums.into_iter().enumerate() {
            for (tap, sums) in sums.into_iter().enumerate() {
                // SAFETY: `N · LANES` filters of one tap and channel.
                unsafe { self.put(s, (tap * channels + piece.channel + c) * filters + piece.filter, sums) };
            }
        }
        if bias && piece.channel == 0 {
            // SAFETY: `N · LANES` filters of the bias.
            unsafe { self.put(s, 9 * channels * filters + piece.filter, biases) };
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
