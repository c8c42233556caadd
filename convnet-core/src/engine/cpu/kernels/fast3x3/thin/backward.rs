//! The gradient of the weights. There is none of the input.
//!
//! Through the pooling each filter needs the 3×3 pixels around its maximum: a lane permute picks them out of the
//! window's 4×4, so that a window costs nine multiply-adds and nine picks instead of 36 multiply-adds. The pixels are
//! rearranged beforehand, band by band, such that the four from which a tap picks lie beside each other: one load repeats
//! them throughout a vector, and one position serves all taps.
//!
//! Where there are 32 registers, up to three channels go at one go, 27 sums: gradient, relu and position are read once
//! for all.
//!
//! Large maps go in bands of rows: all filters and channels of a band while its outputs and their gradients are in the
//! second cache. (224 × 224 × 64 outputs and gradients, 26 MB, otherwise come from memory once for each group of channels
//! and filters.)
//!
//! Of a large map outputs and gradients come from beyond the second cache all the same, a line of each for 27
//! multiply-adds: more than half of the samples waited for them. They are asked for [`AHEAD`], which with the picks
//! above makes a training step of the book's second convnet 3 to 5 % shorter on two threads, 1 to 2 % on one.
//!
//! Tried: the pixels of two taps in a register of 16 floats, which takes as many instructions to bring together as to pick
//! from; all channels rearranged in one loop (1.4 times the time: the compiler makes no vectors of it); to ask ahead in
//! `sparse`, too (nothing: it reads what is near).

use super::super::block::Block;
use super::two_columns;
use crate::engine::cpu::aligned::carve;
use crate::engine::cpu::kernel::Backward;
use crate::engine::cpu::simd::{Simd, Vectorized, prefetch};
use std::ops::Range;

/// Outputs whose gradients are worked on together, every filter and channel, so that a large map comes from memory
/// once: with the gradients half of the second cache of smaller machines.
const TOGETHER: usize = 32 * 1024;

/// How many windows before their use outputs and gradients are asked for: of a large map they come from far.
const AHEAD: usize = 16;

/// Images and rows of outputs that are worked on together; several images only of one channel.
fn together(block: &Block) -> (usize, usize) {
    let images = if block.channels == 1 { (TOGETHER / block.output_len()).max(1) } else { 1 };
    let (rows, _) = block.output();
    (images, (TOGETHER * rows / block.output_len()).clamp(1, rows))
}

/// Floats that [`Run::pair_rows`] fills for the windows that are worked on together, of so many images.
pub(super) fn pairs_len(block: &Block, images: usize) -> usize {
    let (images_together, rows) = together(block);
    if block.pooled { images_together.min(images) * block.channels * (2 * rows + 1) * 2 * block.width } else { 0 }
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
        let (images_together, rows_together) = together(&self.block);
        let pairs = carve(&mut scratch, pairs_len(&self.block, self.pass.images));
        let (rows, _) = self.block.output();
        for image in (0..self.pass.images).step_by(images_together) {
            let images = image..self.pass.images.min(image + images_together);
            for row in (0..rows).step_by(rows_together) {
                let rows = row..rows.min(row + rows_together);
                if self.block.pooled {
                    match self.block.channels {
                        1 => self.pair_rows::<1>(images.clone(), rows.clone(), pairs),
                        2 => self.pair_rows::<2>(images.clone(), rows.clone(), pairs),
                        3 => self.pair_rows::<3>(images.clone(), rows.clone(), pairs),
                        _ => self.pair_rows::<4>(images.clone(), rows.clone(), pairs),
                    }
                }
                self.part(s, images.clone(), rows, pairs);
                // From here on, sums are added to those of the first part.
                self.pass.accumulate = true;
            }
        }
    }
}

impl Run<'_> {
    /// For the windows in some rows of some images: (image, channel, row, column, 2), where each pixel has the one below
    /// it at its side. So the four pixels that a tap may meet in a window lie beside each other.
    #[inline(always)]
    fn pair_rows<const C: usize>(&self, images: Range<usize>, rows: Range<usize>, pairs: &mut [f32]) {
        let Block { width, .. } = self.block;
        let mut to = pairs.chunks_exact_mut(2 * width);
        for image in images {
            let pixels = &self.pass.input[image * self.block.input_len()..][..self.block.input_len()];
            for channel in 0..C {
                for (row, to) in (2 * rows.start..2 * rows.end + 1).zip(&mut to) {
                    let (upper, lower) = pixels[row * width * C..][..2 * width * C].split_at(width * C);
                    let (upper, lower) = (upper.as_chunks::<C>().0, lower.as_chunks::<C>().0);
                    for ((to, upper), lower) in to.as_chunks_mut::<2>().0.iter_mut().zip(upper).zip(lower) {
                        *to = [upper[channel], lower[channel]];
                    }
                }
            }
        }
    }

    /// What some rows of the output of some images give.
    #[inline(always)]
    fn part<S: Simd>(&mut self, s: S, images: Range<usize>, rows: Range<usize>, pairs: &[f32]) {
        // 27 sums fit into 32 registers, nine and what they are made of into 16.
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
                    (true, 1, true) => self.pooled::<S, 2, 1>(s, piece, pairs),
                    (true, 1, false) => self.pooled::<S, 1, 1>(s, piece, pairs),
                    (true, 2, _) => self.pooled::<S, 1, 2>(s, piece, pairs),
                    (true, ..) => self.pooled::<S, 1, 3>(s, piece, pairs),
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
    fn pooled<S: Simd, const N: usize, const C: usize>(&mut self, s: S, piece: Piece, pairs: &[f32]) {
        let Block { width, channels, filters, .. } = self.block;
        let (rows, columns) = self.block.output();
        let (mut sums, mut biases) = ([[[s.splat(0.0); N]; 9]; C], [s.splat(0.0); N]);
        // Of `pairs`: one row, one channel, one image.
        let row = 2 * width;
        let plane = (2 * piece.rows.len() + 1) * row;
        let planes = pairs[piece.channel * plane..].chunks(channels * plane);
        for (image, pairs) in piece.images.clone().zip(planes) {
            for (y, i) in piece.rows.clone().enumerate() {
                let windows = pairs[2 * y * row..].as_ptr();
                // SAFETY: `check_backward` has checked all lengths; a window's 4×4 pixels lie in the image, since
                // `2 · rows + 2 ≤ height`, and likewise for columns; `pairs` has all rows of the piece, in `C` planes.
                unsafe {
                    // Read where there is one channel.
                    let x = self.pass.input.as_ptr().add(image * self.block.input_len() + 2 * i * width * channels);
                    let mut left = if C == 1 && channels == 1 { two_columns(x, width) } else { 1 };
                    for j in 0..columns {
                        let right = if C == 1 && channels == 1 { two_columns(x.add(2 * j + 2), width) } else { 1 };
                        let empty = left | right == 0;
                        left = right;
                        let at = ((image * rows + i) * columns + j) * filters + piece.filter;
                        let mut d = [s.splat(0.0); N];
                        for v in 0..N {
                            let soon = at + v * S::LANES + AHEAD * filters;
                            prefetch::<true>(self.pass.output.as_ptr().wrapping_add(soon));
                            prefetch::<true>(self.pass.d_output.as_ptr().wrapping_add(soon));
                            d[v] = self.gradient(s, at + v * S::LANES);
                            biases[v] = s.add(biases[v], d[v]);
                        }
                        if !empty {
                            self.add_window(s, windows.add(4 * j), plane, at, d, &mut sums);
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
    /// In `C` planes from `window` on, `plane` apart, three rows of eight floats of [`Run::pair_rows`] are readable; the
    /// window's outputs lie at `at`.
    #[inline(always)]
    unsafe fn add_window<S: Simd, const N: usize, const C: usize>(
        &self,
        s: S,
        window: *const f32,
        plane: usize,
        at: usize,
        d: [S::V; N],
        sums: &mut [[[S::V; N]; 9]; C],
    ) {
        // SAFETY: the caller vouches for the pixels and the outputs.
        unsafe {
            let corners: [_; N] =
                std::array::from_fn(|v| s.load_places(self.pass.kept.as_ptr().add(at + v * S::LANES)));
            for c in 0..C {
                for tap in 0..9 {
                    // Four floats, of which `CORNERS` tell one.
                    let four = window.add(c * plane + tap / 3 * 2 * self.block.width + tap % 3 * 2);
                    for v in 0..N {
                        let value = s.pick(four, corners[v]);
                        sums[c][tap][v] = s.mul_add(d[v], value, sums[c][tap][v]);
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
