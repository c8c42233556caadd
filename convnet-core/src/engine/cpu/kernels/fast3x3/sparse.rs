//! The backward pass of convolution + relu + 2×2 pooling, which is sparse.
//!
//! Of the convolution's outputs one in four is the maximum of its window, and relu stops about half of those: one
//! gradient in eight is not zero. A dense backward pass multiplies all of them.
//!
//! Why it is as it is. An active gradient touches 3×3 positions × all channels, in the input's gradient (its filter's
//! weights, scaled) and in the weights' (the input around it, scaled). Each way there is an order in which many active
//! gradients meet the same nine sums, so that these stay in registers:
//!
//! - [`input`]: along a row of convolution positions, all active filters of a position. Three columns of sums move
//!   along; the one left behind is added to the map.
//! - [`weights`]: filter by filter, all its active windows of an image.
//!
//! Which are active is a bit mask (64 filters of a position, 32 windows of a filter), walked by counting trailing
//! zeros. Compacted lists of positions and values do the same; building them costs more than the walk, and bits need
//! no instruction that only AVX-512 has. Channels go in slices whose nine sums fill the registers, with input and
//! weights rearranged so that a slice is contiguous.
//!
//! Tried, without difference: slices of one vector instead of two, and masks of 32 filters, with which a slice's weights
//! of 32 channels fit the first cache; what they save in loads, shorter runs presumably cost.
//!
//! An output of zero or NaN stops its gradient, and a gradient of zero is skipped: what would be 0 · NaN or 0 · ∞ in a
//! dense pass adds nothing here.

use super::block::{Block, carve, carved};
use crate::engine::cpu::kernel::Backward;
use crate::engine::cpu::select::equal_bytes;
use crate::engine::cpu::simd::{Simd, Vectorized};

/// Filters whose activity at a position is one mask.
const FILTERS: usize = 64;
/// Windows whose activity in a filter is one mask.
const WINDOWS: usize = 32;

/// Floats of derived weights.
pub(super) fn derived(block: &Block) -> usize {
    9 * block.channels * block.filters
}

/// Floats of scratch.
pub(super) fn scratch(block: &Block) -> usize {
    carved(&pieces(block))
}

fn pieces(block: &Block) -> [usize; 5] {
    let (rows, columns) = block.output();
    let windows = rows * columns;
    [8 * windows, 4 * windows, block.filters, block.input_len(), 9 * block.channels * block.filters]
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
    let (slice, filters) = (vectors::<S>(block) * S::LANES, block.filters);
    for (natural, rearranged) in squares::<S>(block) {
        // SAFETY: `squares` stay within 9 · channels · filters floats on both sides.
        unsafe { s.transpose(weights.as_ptr().add(natural), filters, derived.as_mut_ptr().add(rearranged), 9 * slice) };
    }
}

/// Every square of channels × filters: where it starts in the natural order, and where transposed in the rearranged.
#[inline(always)]
fn squares<S: Simd>(block: &Block) -> impl Iterator<Item = (usize, usize)> {
    let Block { channels, filters, .. } = *block;
    let slice = vectors::<S>(block) * S::LANES;
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
        run::<S, N>(s, self.block, self.derived, self.pass);
    }
}

#[inline(always)]
fn run<S: Simd, const N: usize>(s: S, block: &Block, derived: &[f32], pass: &mut Backward<'_>) {
    let mut rest = std::mem::take(&mut pass.scratch);
    let [masks, places, marks, packed, sums] = pieces(block).map(|len| carve(&mut rest, len));
    // SAFETY: each float is as large as a `u32` and any bits are one; two are as large as a `u64`, and the pieces
    // start at cache lines.
    let (masks, places, marks) = unsafe {
        (
            std::slice::from_raw_parts_mut(masks.as_mut_ptr().cast::<u64>(), masks.len() / 2),
            std::slice::from_raw_parts_mut(places.as_mut_ptr().cast::<u32>(), places.len()),
            std::slice::from_raw_parts_mut(marks.as_mut_ptr().cast::<u32>(), marks.len()),
        )
    };
    let (d_kernel, d_bias) = pass.d_weights.split_at_mut(9 * block.channels * block.filters);
    if !pass.accumulate {
        d_bias.fill(0.0);
    }
    list_places(block, N * S::LANES, places);
    for image in 0..pass.images {
        let at = image * block.output_len()..(image + 1) * block.output_len();
        let (input, len) = (image * block.input_len(), block.input_len());
        let view = Image {
            block: *block,
            input: &pass.input[input..][..len],
            output: &pass.output[at.clone()],
            kept: &pass.kept[at.clone()],
            d_output: &pass.d_output[at],
        };
        if let Some(d_input) = pass.d_input.as_deref_mut() {
            view.input::<S, N>(s, derived, &mut d_input[input..][..len], masks);
        }
        view.weights::<S, N>(s, image == 0, sums, d_bias, packed, places, marks);
    }
    write_weights(s, block, sums, d_kernel, pass.accumulate);
}

/// Where the patch of each window and corner starts in the rearranged input.
#[inline(always)]
fn list_places(block: &Block, slice: usize, places: &mut [u32]) {
    let (_, columns) = block.output();
    for (i, place) in places.iter_mut().enumerate() {
        let (window, corner) = (i / 4, i % 4);
        let (row, column) = (2 * (window / columns) + corner / 2, 2 * (window % columns) + corner % 2);
        *place = ((row * block.width + column) * slice) as u32;
    }
}

/// Brings the sums into the natural order.
#[inline(always)]
fn write_weights<S: Simd>(s: S, block: &Block, sums: &mut [f32], d_kernel: &mut [f32], accumulate: bool) {
    let (stride, mut square) = (9 * vectors::<S>(block) * S::LANES, [0.0; 256]);
    for (natural, rearranged) in squares::<S>(block) {
        // SAFETY: `squares` stay within 9 · channels · filters floats on both sides; a square of vectors has at most
        // 256 floats.
        unsafe {
            let (from, to) = (sums.as_ptr().add(rearranged), d_kernel.as_mut_ptr().add(natural));
            if accumulate {
                s.transpose(from, stride, square.as_mut_ptr(), S::LANES);
                for i in 0..S::LANES {
                    let to = to.add(i * block.filters);
                    s.store(to, s.add(s.load(to), s.load(square.as_ptr().add(i * S::LANES))));
                }
            } else {
                s.transpose(from, stride, to, block.filters);
            }
        }
    }
}

/// One image.
struct Image<'a> {
    block: Block,
    input: &'a [f32],
    output: &'a [f32],
    kept: &'a [u8],
    d_output: &'a [f32],
}

impl Image<'_> {
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

    /// The gradient of the input; `masks` holds four for each window.
    #[inline(always)]
    fn input<S: Simd, const N: usize>(&self, s: S, derived: &[f32], d_input: &mut [f32], masks: &mut [u64]) {
        let Block { channels, filters, .. } = self.block;
        let slice = N * S::LANES;
        d_input.fill(0.0);
        for filter in (0..filters).step_by(FILTERS) {
            self.mask_filters(s, filter, masks);
            for channel in (0..channels).step_by(slice) {
                let weights = &derived[(channel * filters + filter * slice) * 9..];
                self.input_slice::<S, N>(s, filter, channel, weights, d_input, masks);
            }
        }
    }

    /// For every window and corner: which of the filters from `filter` on have their maximum there and are active.
    #[inline(always)]
    fn mask_filters<S: Simd>(&self, s: S, filter: usize, masks: &mut [u64]) {
        let filters = self.block.filters;
        let count = FILTERS.min(filters - filter);
        for (window, masks) in masks.chunks_exact_mut(4).enumerate() {
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

    /// What up to 64 filters give to a slice of channels: nine sums of `N` vectors move along each row.
    #[inline(always)]
    fn input_slice<S: Simd, const N: usize>(
        &self,
        s: S,
        filter: usize,
        channel: usize,
        weights: &[f32],
        d_input: &mut [f32],
        masks: &[u64],
    ) {
        let Block { width, channels, filters, .. } = self.block;
        let (rows, columns) = self.block.convolved();
        let slice = N * S::LANES;
        assert!(weights.len() >= 9 * slice * FILTERS.min(filters - filter) && masks.len() >= rows * columns);
        for row in 0..rows {
            let mut sums = [[[s.splat(0.0); N]; 3]; 3];
            // SAFETY: rows up to `row + 2` and columns up to `columns + 1` are in the map.
            let to = unsafe { d_input.as_mut_ptr().add(row * width * channels + channel) };
            for column in 0..columns {
                let window = row / 2 * (columns / 2) + column / 2;
                let mut mask = masks[window * 4 + row % 2 * 2 + column % 2];
                let d = self.d_output[window * filters + filter..].as_ptr();
                while mask != 0 {
                    let f = mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    // SAFETY: bits are set only for the block's filters; their weights were checked above.
                    unsafe {
                        let (d, weights) = (s.splat(*d.add(f)), weights.as_ptr().add(f * 9 * slice));
                        for (i, sums) in sums.as_flattened_mut().iter_mut().enumerate() {
                            for (v, sum) in sums.iter_mut().enumerate() {
                                *sum = s.mul_add(d, s.load(weights.add(i * slice + v * S::LANES)), *sum);
                            }
                        }
                    }
                }
                // SAFETY: as for `to`.
                unsafe { add_column(s, to.add(column * channels), width * channels, &sums, 0) };
                for sums in &mut sums {
                    *sums = [sums[1], sums[2], [s.splat(0.0); N]];
                }
            }
            // SAFETY: as for `to`.
            unsafe {
                add_column(s, to.add(columns * channels), width * channels, &sums, 0);
                add_column(s, to.add((columns + 1) * channels), width * channels, &sums, 1);
            }
        }
    }

    /// The gradient of the weights, added to `sums` (in the order of the derived weights), and of the bias.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // What it works on, and four pieces of scratch.
    fn weights<S: Simd, const N: usize>(
        &self,
        s: S,
        first: bool,
        sums: &mut [f32],
        d_bias: &mut [f32],
        packed: &mut [f32],
        places: &[u32],
        marks: &mut [u32],
    ) {
        let Block { channels, filters, .. } = self.block;
        let slice = N * S::LANES;
        let windows = places.len() / 4;
        // A map with a single slice is in that order as it is.
        let packed: &[f32] = if slice == channels {
            self.input
        } else {
            pack(s, self.input, channels, slice, packed);
            packed
        };
        for window in (0..windows).step_by(WINDOWS) {
            self.mark_windows(s, window, windows.min(window + WINDOWS), marks, d_bias);
            for channel in (0..channels).step_by(slice) {
                let packed = &packed[channel * self.block.height * self.block.width..];
                let sums = &mut sums[channel * filters * 9..][..filters * 9 * slice];
                let fresh = first && window == 0;
                self.weights_slice::<S, N>(s, window, fresh, sums, packed, places, marks);
            }
        }
    }

    /// For every filter: in which of the windows it is active. Adds its gradients to the bias's.
    #[inline(always)]
    fn mark_windows<S: Simd>(&self, s: S, from: usize, to: usize, marks: &mut [u32], d_bias: &mut [f32]) {
        let filters = self.block.filters;
        for filter in (0..filters).step_by(S::LANES) {
            let (mut lanes, mut sum) = (s.splat(0.0), s.splat(0.0));
            for window in from..to {
                let at = window * filters + filter;
                // SAFETY: windows and filters are the block's, and `filters` is a multiple of the lanes.
                unsafe {
                    let active = self.active(s, at);
                    lanes = s.mark(active, lanes, 1 << (window - from));
                    sum = s.add(sum, s.keep(active, s.load(self.d_output.as_ptr().add(at))));
                }
            }
            // SAFETY: `marks` has one element a filter, and so has the bias's gradient, if there is one.
            unsafe {
                s.store(marks.as_mut_ptr().add(filter).cast(), lanes);
                if !d_bias.is_empty() {
                    let to = d_bias.as_mut_ptr().add(filter);
                    s.store(to, s.add(s.load(to), sum));
                }
            }
        }
    }

    /// What up to 32 windows from `window` on give to the weights of a slice of channels.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // What it works on, and three pieces of scratch.
    fn weights_slice<S: Simd, const N: usize>(
        &self,
        s: S,
        window: usize,
        fresh: bool,
        sums: &mut [f32],
        packed: &[f32],
        places: &[u32],
        marks: &[u32],
    ) {
        let filters = self.block.filters;
        let (slice, row) = (N * S::LANES, self.block.width * N * S::LANES);
        for (filter, to) in sums.chunks_exact_mut(9 * slice).enumerate() {
            let to = to.as_mut_ptr();
            // SAFETY: `to` has 9 · slice floats. Marked windows exist; `places` holds starts of 3×3 patches in the
            // packed map; a corner is at most 3, since `kept` is what the forward pass left.
            unsafe {
                let mut sums = [[s.splat(0.0); N]; 9];
                if !fresh {
                    for (i, sums) in sums.iter_mut().enumerate() {
                        for (v, sum) in sums.iter_mut().enumerate() {
                            *sum = s.load(to.add(i * slice + v * S::LANES));
                        }
                    }
                }
                let mut mask = marks[filter];
                while mask != 0 {
                    let window = window + mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    let at = window * filters + filter;
                    let d = s.splat(*self.d_output.as_ptr().add(at));
                    let corner = usize::from(*self.kept.as_ptr().add(at) & 3);
                    let x = packed.as_ptr().add(*places.as_ptr().add(window * 4 + corner) as usize);
                    for (i, sums) in sums.iter_mut().enumerate() {
                        for (v, sum) in sums.iter_mut().enumerate() {
                            let x = s.load(x.add(i / 3 * row + i % 3 * slice + v * S::LANES));
                            *sum = s.mul_add(d, x, *sum);
                        }
                    }
                }
                for (i, sums) in sums.iter().enumerate() {
                    for (v, sum) in sums.iter().enumerate() {
                        s.store(to.add(i * slice + v * S::LANES), *sum);
                    }
                }
            }
        }
    }
}

/// Adds one column of the sums to three rows of the map.
///
/// # Safety
/// `N` vectors are writable at `to` and in the two rows below.
#[inline(always)]
unsafe fn add_column<S: Simd, const N: usize>(
    s: S,
    to: *mut f32,
    row: usize,
    sums: &[[[S::V; N]; 3]; 3],
    column: usize,
) {
    for (y, sums) in sums.iter().enumerate() {
        for (v, sum) in sums[column].iter().enumerate() {
            // SAFETY: the caller vouches for the rows.
            unsafe {
                let to = to.add(y * row + v * S::LANES);
                s.store(to, s.add(s.load(to), *sum));
            }
        }
    }
}

/// Rearranges a map (positions, channels) to (slices, positions, channels of the slice).
#[inline(always)]
fn pack<S: Simd>(s: S, map: &[f32], channels: usize, slice: usize, packed: &mut [f32]) {
    let positions = map.len() / channels;
    assert!(packed.len() >= positions * channels);
    for channel in (0..channels).step_by(S::LANES) {
        let to = channel / slice * slice * positions + channel % slice;
        for position in 0..positions {
            // SAFETY: a vector of channels of a position, on both sides.
            unsafe {
                let value = s.load(map.as_ptr().add(position * channels + channel));
                s.store(packed.as_mut_ptr().add(to + position * slice), value);
            }
        }
    }
}
