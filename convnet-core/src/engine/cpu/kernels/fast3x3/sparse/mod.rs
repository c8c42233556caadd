//! The backward pass of convolution + relu + 2×2 pooling, which is sparse.
//!
//! Of the convolution's outputs one in four is the maximum of its window, and relu stops about half of those: one
//! gradient in eight is not zero. A dense backward pass multiplies all of them.
//!
//! Why it is as it is. An active gradient touches 3×3 positions × all channels, in the input's gradient (its filter's
//! weights, scaled) and in the weights' (the input around it, scaled). Each way there is an order in which many active
//! gradients meet the same nine sums, so that these stay in registers:
//!
//! - [`input`]: along two rows of convolution positions, all active filters of a position. Three columns of sums move
//!   along; the one left behind is added to the map.
//! - [`weights`]: filter by filter, all its active windows of a tile.
//!
//! Which are active is a bit mask (filters of a position, windows of a filter), walked by counting trailing zeros.
//! Channels go in slices whose sums fill the registers, with input and weights rearranged so that a slice is contiguous.
//! What a slice meets again and again stays in the first cache: 32 filters' weights in [`input`], the input of a
//! [`Tile`] of windows in [`weights`]. A map is cut into bands of rows (small maps into groups of images), and a band goes
//! through both gradients with all its slices before the next, while it is in the second cache.
//!
//! What limits it (AVX-512, two vectors of 16 channels; cycles for an active gradient, each way): its 18 multiply-adds
//! need 9, and 11 with factors from memory, all from one place (Sapphire Rapids). With the loads of the gradient and of
//! what says where, a loop over the first cache takes 13 to 14 (over 54 KB of weights and more 16 to 29); walking a
//! mask instead of a list makes it 15 to 16; the end of a run, which is hard to predict, costs about 13 more, so 2.7
//! where five filters are active at a position, and 1 with 15 windows. Found in training steps: 16.5 for [`input`]; 19
//! for [`weights`] as long as it picked gradients and maxima up where they lie, each in a line of its own; turned
//! around first ([`Image::turn_windows`]) they make a step 2 to 3 % shorter. That is still faster than the dense
//! backward pass by Winograd of the same convolution with all outputs active: 15.7 µs an image against 25 for
//! 13×13×32→64, 0.85 ms against 0.94 for 74×74×32→64, 0.80 against 0.82 to 0.89 for 36×36×64→128. So there is no share
//! at which it should give way.
//!
//! Tried, slower or without difference: one vector a slice with masks of 64 or 32 filters; two with 16 or 64; tiles of
//! other sizes; for comparison, sums and input of [`weights`] always at one place, only a tenth faster: memory is not
//! what it waits for; writing the input's gradient where it is the first there, instead of zeros before all: no gain, for
//! writing zeros brings the lines. Not tried: lists from compressed stores, which would pay where there are many slices.
//!
//! An output of zero or NaN stops its gradient, and a gradient of zero is skipped: what would be 0 · NaN or 0 · ∞ in a
//! dense pass adds nothing here.

mod input;
mod weights;

use super::block::{Block, put_bias};
use crate::engine::cpu::aligned::{carve, carved};
use crate::engine::cpu::kernel::Backward;
use crate::engine::cpu::simd::{Simd, Vectorized};
use input::filters_together;
use std::ops::Range;
use weights::{Filter, Tile};

/// Windows that are worked on together: both gradients, every slice.
const TOGETHER: usize = 256;

/// Floats of derived weights.
pub(super) fn derived(block: &Block) -> usize {
    9 * block.channels * block.filters
}

/// Floats of scratch.
pub(super) fn scratch(block: &Block) -> usize {
    carved(&pieces(block, weights::WINDOWS))
}

fn pieces(block: &Block, tile: usize) -> [usize; 7] {
    let (_, columns) = block.output();
    let (images, rows) = together(block);
    let packed = block.input_len();
    let sums = 9 * block.channels * block.filters;
    let bias = if block.bias { block.filters } else { 0 };
    let turned = block.filters * size_of::<Filter>() / size_of::<f32>();
    [8 * images * rows * columns, tile, 2 * block.filters, turned, packed, sums, bias]
}

/// Images and rows of windows that are worked on together.
fn together(block: &Block) -> (usize, usize) {
    let (rows, columns) = block.output();
    ((TOGETHER / (rows * columns)).clamp(1, 8), (TOGETHER / columns).clamp(1, rows))
}

/// Vectors in a slice of channels.
#[inline(always)]
fn vectors<S: Simd>(block: &Block) -> usize {
    if S::REGISTERS >= 32 && block.channels.is_multiple_of(2 * S::LANES) { 2 } else { 1 }
}

/// Rearranges weights (3, 3, channels, filters) to (slices, filters, 3, 3, channels of the slice).
#[inline(always)]
pub(super) fn prepare<S: Simd>(s: S, block: &Block, weights: &[f32], derived: &mut [f32]) {
    assert!(weights.len() >= derived.len() && derived.len() == self::derived(block));
    let slice = vectors::<S>(block) * S::LANES;
    for (natural, rearranged) in squares::<S>(block, slice) {
        // SAFETY: `squares` stay within 9 · channels · filters floats on both sides.
        unsafe {
            let (from, to) = (weights.as_ptr().add(natural), derived.as_mut_ptr().add(rearranged));
            s.transpose(from, block.filters, to, 9 * slice);
        }
    }
}

/// Every square of channels × filters: where it starts in the natural order, and where transposed in the rearranged.
#[inline(always)]
fn squares<S: Simd>(block: &Block, slice: usize) -> impl Iterator<Item = (usize, usize)> {
    let Block { channels, filters, .. } = *block;
    let (down, across) = (channels / S::LANES, filters / S::LANES);
    (0..9 * down * across).map(move |i| {
        let (tap, channel, filter) = (i / across / down, i / across % down * S::LANES, i % across * S::LANES);
        let natural = (tap * channels + channel) * filters + filter;
        (natural, ((channel / slice * filters + filter) * 9 + tap) * slice + channel % slice)
    })
}

/// The whole backward pass; `derived` are the rearranged weights.
#[inline(always)]
pub(super) fn backward<S: Simd>(s: S, block: &Block, derived: &[f32], pass: &mut Backward<'_>) {
    if vectors::<S>(block) == 2 {
        s.call(Run::<2> { block, derived, pass });
    } else {
        s.call(Run::<1> { block, derived, pass });
    }
}

struct Run<'r, 'a, const N: usize> {
    block: &'r Block,
    derived: &'r [f32],
    pass: &'r mut Backward<'a>,
}

impl<const N: usize> Vectorized for Run<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Run { block, derived, pass } = self;
        let (rows, _) = block.output();
        let (images_together, rows_together) = together(block);
        let tile = Tile::of(block, N * S::LANES);
        let mut rest = std::mem::take(&mut pass.scratch);
        let [masks, places, marks, turned, packed, sums, bias] =
            pieces(block, tile.windows()).map(|len| carve(&mut rest, len));
        // SAFETY: each float is as large as a `u32` and any bits are one; two are as large as a `u64`, and the pieces
        // start at cache lines.
        let (masks, places, marks, turned) = unsafe {
            (
                std::slice::from_raw_parts_mut(masks.as_mut_ptr().cast::<u64>(), masks.len() / 2),
                std::slice::from_raw_parts_mut(places.as_mut_ptr().cast::<u32>(), places.len()),
                std::slice::from_raw_parts_mut(marks.as_mut_ptr().cast::<[u32; 2]>(), marks.len() / 2),
                std::slice::from_raw_parts_mut(turned.as_mut_ptr().cast::<Filter>(), block.filters),
            )
        };
        tile.list(block, N * S::LANES, places);
        let (d_kernel, d_bias) = pass.d_weights.split_at_mut(9 * block.channels * block.filters);
        bias.fill(0.0);
        let all =
            Image { block: *block, input: pass.input, output: pass.output, kept: pass.kept, d_output: pass.d_output };
        let mut collect = Collect { sums, bias, packed, places, marks, turned, tile, fresh: true };
        for image in (0..pass.images).step_by(images_together) {
            let images = image..pass.images.min(image + images_together);
            for row in (0..rows).step_by(rows_together) {
                let rows = row..rows.min(row + rows_together);
                if let Some(d_input) = pass.d_input.as_deref_mut() {
                    all.input::<S, N>(s, images.clone(), rows.clone(), derived, d_input, masks);
                }
                collect.add::<S, N>(s, &all, images.clone(), rows);
            }
        }
        write_weights(s, block, N * S::LANES, collect.sums, d_kernel, pass.accumulate);
        put_bias(collect.bias, d_bias, pass.accumulate);
    }
}

/// Brings the sums into the natural order.
#[inline(always)]
fn write_weights<S: Simd>(s: S, block: &Block, slice: usize, sums: &[f32], d_kernel: &mut [f32], accumulate: bool) {
    let (stride, mut square) = (9 * slice, [0.0; 256]);
    for (natural, rearranged) in squares::<S>(block, slice) {
        // SAFETY: `squares` stay within 9 · channels · filters floats on both sides; a square of vectors has at most
        // 256 floats.
        unsafe {
            let (from, to) = (sums.as_ptr().add(rearranged), d_kernel.as_mut_ptr().add(natural));
            if accumulate {
                s.transpose(from, stride, square.as_mut_ptr(), S::LANES);
                for i in 0..S::LANES {
                    add(s, to.add(i * block.filters), s.load(square.as_ptr().add(i * S::LANES)));
                }
            } else {
                s.transpose(from, stride, to, block.filters);
            }
        }
    }
}

/// Adds to a vector in memory.
///
/// # Safety
/// A vector lies at `to`.
#[inline(always)]
unsafe fn add<S: Simd>(s: S, to: *mut f32, value: S::V) {
    // SAFETY: the caller vouches for the vector.
    unsafe { s.store(to, s.add(s.load(to), value)) };
}

/// An image, with those behind it.
#[derive(Clone, Copy)]
struct Image<'a> {
    block: Block,
    input: &'a [f32],
    output: &'a [f32],
    kept: &'a [u8],
    d_output: &'a [f32],
}

impl<'a> Image<'a> {
    /// The one that is so many further on.
    #[inline(always)]
    fn skip(&self, images: usize) -> Image<'a> {
        let (input, output) = (images * self.block.input_len(), images * self.block.output_len());
        Image {
            block: self.block,
            input: &self.input[input..],
            output: &self.output[output..],
            kept: &self.kept[output..],
            d_output: &self.d_output[output..],
        }
    }

    /// Where the gradient passes relu, for a vector of outputs at `at`.
    ///
    /// # Safety
    /// A vector of outputs lies at `at`.
    #[inline(always)]
    unsafe fn active<S: Simd>(&self, s: S, at: usize) -> S::M {
        let zero = s.splat(0.0);
        // SAFETY: the caller vouches for the place; the slices are as long as each other.
        unsafe {
            let (output, d) = (s.load(self.output.as_ptr().add(at)), s.load(self.d_output.as_ptr().add(at)));
            s.both(s.greater(output, zero), s.differs(d, zero))
        }
    }

    /// What some rows of windows of some images give to the gradient of the input; `masks` holds four for each window.
    #[inline(always)]
    fn input<S: Simd, const N: usize>(
        &self,
        s: S,
        images: Range<usize>,
        rows: Range<usize>,
        derived: &[f32],
        d_input: &mut [f32],
        masks: &mut [u64],
    ) {
        let Block { channels, filters, .. } = self.block;
        let (len, slice) = (self.block.input_len(), N * S::LANES);
        let (_, columns) = self.block.output();
        for d_input in d_input[images.start * len..images.end * len].chunks_exact_mut(len) {
            self.clear(rows.clone(), d_input);
        }
        for filter in (0..filters).step_by(filters_together::<S>()) {
            for (image, masks) in images.clone().zip(masks.chunks_exact_mut(4 * rows.len() * columns)) {
                self.skip(image).mask_filters(s, rows.clone(), filter, masks);
            }
            for channel in (0..channels).step_by(slice) {
                let weights = &derived[(channel * filters + filter * slice) * 9..];
                for (image, masks) in images.clone().zip(masks.chunks_exact(4 * rows.len() * columns)) {
                    let (d_input, image) = (&mut d_input[image * len..][..len], self.skip(image));
                    image.input_slice::<S, N>(s, rows.clone(), filter, channel, weights, d_input, masks);
                }
            }
        }
    }

    /// Writes zeros where these rows of windows are the first to add something, or where none ever will.
    fn clear(&self, rows: Range<usize>, d_input: &mut [f32]) {
        let (all, _) = self.block.output();
        let from = if rows.start == 0 { 0 } else { 2 * rows.start + 2 };
        let to = if rows.end == all { self.block.height } else { 2 * rows.end + 2 };
        let row = self.block.width * self.block.channels;
        d_input[from * row..to * row].fill(0.0);
    }
}

/// The gradient of the weights as it is summed up.
struct Collect<'a> {
    /// In the order of the derived weights.
    sums: &'a mut [f32],
    bias: &'a mut [f32],
    packed: &'a mut [f32],
    places: &'a [u32],
    marks: &'a mut [[u32; 2]],
    turned: &'a mut [Filter],
    tile: Tile,
    /// Whether nothing is in the sums yet.
    fresh: bool,
}

impl Collect<'_> {
    /// Adds what some rows of windows of some images give.
    #[inline(always)]
    fn add<S: Simd, const N: usize>(&mut self, s: S, all: &Image, images: Range<usize>, rows: Range<usize>) {
        let Block { width, channels, .. } = all.block;
        let (tile, (_, columns)) = (self.tile, all.block.output());
        for first in images.clone().step_by(tile.images) {
            let image = all.skip(first);
            // A map with a single slice is in that order as it is.
            if N * S::LANES != channels {
                let positions = 2 * rows.start * width..(2 * rows.end + 2) * width;
                pack(s, &image.input[..all.block.input_len()], positions, channels, N * S::LANES, self.packed);
            }
            for row in rows.clone().step_by(tile.rows) {
                for column in (0..columns).step_by(tile.columns) {
                    let images = tile.images.min(images.end - first);
                    let (rows, columns) = (tile.rows.min(rows.end - row), tile.columns.min(columns - column));
                    self.add_tile::<S, N>(s, &image, row, column, images * rows * columns);
                }
            }
        }
    }

    /// Adds what so many windows from a row and column on give.
    #[inline(always)]
    fn add_tile<S: Simd, const N: usize>(&mut self, s: S, image: &Image, row: usize, column: usize, windows: usize) {
        let Block { width, height, channels, filters, .. } = image.block;
        let (slice, (_, columns)) = (N * S::LANES, image.block.output());
        let first = row * columns + column;
        image.mark_windows(s, first..first + windows, self.marks, self.bias);
        image.turn_windows(s, first..first + windows, slice, self.places, self.turned);
        let map = if slice == channels { image.input } else { &*self.packed };
        for channel in (0..channels).step_by(slice) {
            let x = &map[channel * height * width + (2 * row * width + 2 * column) * slice..];
            let sums = &mut self.sums[channel * filters * 9..][..filters * 9 * slice];
            image.weights_slice::<S, N>(s, self.fresh, sums, x, self.turned, self.marks);
        }
        self.fresh = false;
    }
}

/// Rearranges positions of a map (positions, channels) to (slices, positions, channels of the slice).
#[inline(always)]
fn pack<S: Simd>(s: S, map: &[f32], positions: Range<usize>, channels: usize, slice: usize, packed: &mut [f32]) {
    let all = map.len() / channels;
    assert!(packed.len() >= all * channels && positions.end <= all);
    for channel in (0..channels).step_by(S::LANES) {
        let to = channel / slice * slice * all + channel % slice;
        for position in positions.clone() {
            // SAFETY: a vector of channels of a position, on both sides.
            unsafe {
                let value = s.load(map.as_ptr().add(position * channels + channel));
                s.store(packed.as_mut_ptr().add(to + position * slice), value);
            }
        }
    }
}
