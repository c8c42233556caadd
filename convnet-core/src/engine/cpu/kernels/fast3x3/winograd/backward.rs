//! The backward pass in the transformed space.
//!
//! A tile of the output's gradient is transformed once for both gradients. Behind a pooling, each window's gradient goes
//! to the output that was its maximum first; most of the work is then on zeros, so [`super::super::sparse`] is the
//! better way wherever there is one.
//!
//! Tried, for maps of one tile (5×5×64 to 64, 8 images a lane, where the sums over tiles are as much work as the products): to
//! leave both factors in memory, and make the weights' gradient once for the batch when the update asks for it. One thread
//! took a tenth less for a training step of the book's first convnet; two took 4 % more, since half of the factors come
//! out of the other core's cache.

use super::super::block::{Block, load, put_bias, store};
use super::blocking::{Blocking, Sums};
use super::digits::Left;
use super::forward::{Input, Place, transform_input};
use super::outer::Outer;
use super::product::{Factors, PANEL, Slice, apart};
use super::transform::{Added, F, Strided, Tile as Maps, square};
use super::{Tile, Winograd, even, padded, vectors};
use crate::engine::cpu::aligned::{carve, carved};
use crate::engine::cpu::kernel::Backward;
use crate::engine::cpu::simd::{Simd, Vectorized};
use std::ops::Range;

/// Channels whose sums over tiles are in registers at a time.
pub(super) const GROUP: usize = 8;

/// Floats of scratch.
pub(super) fn scratch(winograd: &Winograd, images: usize) -> usize {
    carved(&pieces(winograd, &Blocking::backward(winograd, images)))
}

/// Of a chunk's inputs, gradients and products, and of sums over tiles and of the bias's gradient.
fn pieces(winograd: &Winograd, blocking: &Blocking) -> [usize; 6] {
    let Block { channels, filters, .. } = winograd.block;
    let columns = blocking.columns.min(padded(channels));
    let [inputs, gradients, products] = [padded(channels), padded(filters), columns]
        .map(|columns| winograd.points() * apart(blocking.rows() * columns));
    let bias = if winograd.block.bias { filters } else { 0 };
    let left = Left { points: winograd.points(), rows: blocking.rows(), depth: filters };
    let digits = winograd.amx.map_or(0, |_| left.floats());
    [inputs, gradients, digits, products, blocking.sums(winograd).floats(winograd, blocking.single()), bias]
}

/// The backward pass; `back` are the transformed transposed weights.
pub(super) struct Run<'r, 'a> {
    pub winograd: &'r Winograd,
    pub back: &'r [f32],
    pub pass: &'r mut Backward<'a>,
}

impl Vectorized for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.winograd.m {
            2 => s.call(Sized::<2, 4>(self)),
            3 => s.call(Sized::<3, 5>(self)),
            _ => s.call(Sized::<4, 6>(self)),
        }
    }
}

/// For one size of tiles.
struct Sized<'r, 'a, const M: usize, const N: usize>(Run<'r, 'a>);

impl<const M: usize, const N: usize> Vectorized for Sized<'_, '_, M, N>
where
    F: Maps<M, N>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Run { winograd, back, pass } = self.0;
        let Block { channels, filters, .. } = winograd.block;
        let blocking = Blocking::backward(winograd, pass.images);
        let mut rest = std::mem::take(&mut pass.scratch);
        let [inputs, gradients, digits, products, sums, bias] =
            pieces(winograd, &blocking).map(|len| carve(&mut rest, len));
        if let Some(d_input) = pass.d_input.as_deref_mut() {
            d_input.fill(0.0);
        }
        let (d_kernel, d_bias) = pass.d_weights.split_at_mut(9 * channels * filters);
        bias.fill(0.0);
        let source = Source { output: pass.output, d_output: pass.d_output, kept: pass.kept };
        let (chunks, last) = (blocking.chunks(), blocking.chunks().count().saturating_sub(1));
        for (number, chunk) in chunks.enumerate() {
            let (tiles, rows) = (chunk.len(), even(chunk.len()));
            for (row, tile) in winograd.tiles_from(chunk.start).take(tiles).enumerate() {
                let place = Place { rows, row };
                transform_input::<S, Input<M, N>, Input<M, N>, N, N>(s, winograd, pass.input, tile, inputs, place);
                transform_gradient::<S, M, N>(s, winograd, &source, tile, gradients, place, bias);
            }
            if let Some(d_input) = pass.d_input.as_deref_mut() {
                let vectors = vectors::<S>(channels);
                let digits = winograd.amx.map(|amx| {
                    let left = Left { points: N * N, rows, depth: filters };
                    left.take(amx, gradients, |_| 0..rows, digits)
                });
                let factors =
                    Factors { points: N * N, left: gradients, rows, depth: filters, right: back, vectors, digits };
                input_gradient::<S, M, N>(s, winograd, &factors, chunk, blocking.columns, products, d_input);
            }
            let stage = Stage {
                blocks: blocking.sums(winograd),
                rows,
                tiles,
                first: number == 0,
                last: number == last,
                accumulate: pass.accumulate,
            };
            weights_gradient::<S, M, N>(s, winograd, &stage, inputs, gradients, sums, d_kernel);
        }
        put_bias(bias, d_bias, pass.accumulate);
    }
}

/// What the output's gradient before relu and pooling is made from.
struct Source<'a> {
    output: &'a [f32],
    d_output: &'a [f32],
    kept: &'a [u8],
}

impl Source<'_> {
    /// The gradient at place `at` of the output, of the first `count` filters (all lanes, if `FULL`).
    ///
    /// # Safety
    /// They are there.
    #[inline(always)]
    unsafe fn gradient<S: Simd, const FULL: bool>(&self, s: S, at: usize, count: usize, relu: bool) -> S::V {
        // SAFETY: the caller vouches for the place; the lengths were checked at the door.
        unsafe {
            let d = load::<S, FULL>(s, self.d_output.as_ptr().add(at), count);
            if relu {
                let output = load::<S, FULL>(s, self.output.as_ptr().add(at), count);
                s.keep(s.greater(output, s.splat(0.0)), d)
            } else {
                d
            }
        }
    }

    /// Which of its window each maximum at place `at` was.
    ///
    /// # Safety
    /// As [`Source::gradient`].
    #[inline(always)]
    unsafe fn corners<S: Simd, const FULL: bool>(&self, s: S, at: usize, count: usize) -> S::V {
        // SAFETY: as in `gradient`.
        unsafe {
            let from = self.kept.as_ptr().add(at);
            if FULL {
                return s.load_bytes(from);
            }
            let mut bytes = [0; 16];
            std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), count);
            s.load_bytes(bytes.as_ptr())
        }
    }

    /// The gradient of a tile's outputs of the convolution, for a vector of filters; zeros beyond the map.
    #[inline(always)]
    fn tile<S: Simd, const M: usize, const FULL: bool>(
        &self,
        s: S,
        winograd: &Winograd,
        tile: Tile,
        filter: usize,
    ) -> [[S::V; M]; M] {
        let Block { filters, pooled, .. } = winograd.block;
        let count = S::LANES.min(filters - filter);
        let (rows, columns) = winograd.block.output();
        let step = if pooled { 2 } else { 1 };
        let mut d = [[s.splat(0.0); M]; M];
        for i in (0..M).step_by(step) {
            for j in (0..M).step_by(step) {
                let (row, column) = ((tile.row + i) / step, (tile.column + j) / step);
                if row >= rows || column >= columns {
                    continue;
                }
                let at = ((tile.image * rows + row) * columns + column) * filters + filter;
                // SAFETY: the position is in the output.
                unsafe {
                    let value = self.gradient::<S, FULL>(s, at, count, winograd.relu);
                    if pooled {
                        let corners = self.corners::<S, FULL>(s, at, count);
                        for corner in 0..4 {
                            // Only even M go with pooling: within the tile, whatever the compiler thinks.
                            let (i, j) = ((i + corner / 2) % M, (j + corner % 2) % M);
                            let other = s.differs(corners, s.splat(corner as f32));
                            d[i][j] = s.select(other, s.splat(0.0), value);
                        }
                    } else {
                        d[i][j] = value;
                    }
                }
            }
        }
        d
    }
}

/// The tile's part of the output's gradient, transformed to rows of the points' matrices; adds it to the bias's gradient.
#[inline(always)]
fn transform_gradient<S: Simd, const M: usize, const N: usize>(
    s: S,
    winograd: &Winograd,
    source: &Source<'_>,
    tile: Tile,
    to: &mut [f32],
    place: Place,
    d_bias: &mut [f32],
) where
    F: Maps<M, N>,
{
    let filters = winograd.block.filters;
    let stride = apart(place.rows * filters.next_multiple_of(S::LANES));
    assert!(to.len() >= N * N * stride && place.row < place.rows && (d_bias.is_empty() || d_bias.len() == filters));
    for filter in (0..filters).step_by(S::LANES) {
        let count = S::LANES.min(filters - filter);
        let d = if count == S::LANES {
            source.tile::<S, M, true>(s, winograd, tile, filter)
        } else {
            source.tile::<S, M, false>(s, winograd, tile, filter)
        };
        if !d_bias.is_empty() {
            let mut sum = s.splat(0.0);
            for value in d.as_flattened() {
                sum = s.add(sum, *value);
            }
            // SAFETY: one element a filter.
            unsafe {
                let to = d_bias.as_mut_ptr().add(filter);
                store::<S, false>(s, to, s.add(load::<S, false>(s, to, count), sum), count);
            }
        }
        let at = filter * place.rows + place.row * S::LANES;
        // SAFETY: the points of this filter's block of `rows` rows, one of them: the length was checked.
        let mut to = unsafe { Strided::<_, true>::new(to.as_mut_ptr().add(at), N * stride, stride, S::LANES) };
        square::<S, <F as Maps<M, N>>::OutputBack, M, N>(s, &d, &mut to);
    }
}

/// Adds the tiles' gradients to the input's, some `columns` channels at a time.
#[inline(always)]
fn input_gradient<S: Simd, const M: usize, const N: usize>(
    s: S,
    winograd: &Winograd,
    factors: &Factors<'_>,
    chunk: Range<usize>,
    columns: usize,
    products: &mut [f32],
    d_input: &mut [f32],
) where
    F: Maps<M, N>,
{
    let channels = winograd.block.channels;
    let step = columns / S::LANES;
    for first in (0..factors.vectors).step_by(step) {
        let slice = Slice { first, count: step.min(factors.vectors - first) };
        factors.multiply(s, &slice, |_| 0..factors.rows, products);
        for panel in (0..slice.count).step_by(PANEL) {
            for (row, tile) in winograd.tiles_from(chunk.start).take(chunk.len()).enumerate() {
                for vector in panel..slice.count.min(panel + PANEL) {
                    let (at, width) = slice.place::<S>(factors.rows, vector);
                    let (from, apart) = (&products[at + row * width..], slice.apart::<S>(factors.rows));
                    let channel = (first + vector) * S::LANES;
                    if channel + S::LANES <= channels {
                        add_patch::<S, M, N, true>(s, winograd, from, apart, tile, channel, d_input);
                    } else {
                        add_patch::<S, M, N, false>(s, winograd, from, apart, tile, channel, d_input);
                    }
                }
            }
        }
    }
}

/// Transforms a vector of each point, `apart` from each other, to the patch under a tile, and adds that.
#[inline(always)]
fn add_patch<S: Simd, const M: usize, const N: usize, const FULL: bool>(
    s: S,
    winograd: &Winograd,
    from: &[f32],
    apart: usize,
    tile: Tile,
    channel: usize,
    d_input: &mut [f32],
) where
    F: Maps<M, N>,
{
    let channels = winograd.block.channels;
    let count = S::LANES.min(channels - channel);
    assert!(from.len() >= (N * N - 1) * apart + S::LANES);
    // SAFETY: the length was checked.
    let from = unsafe { Strided::<_, true>::new(from.as_ptr(), N * apart, apart, S::LANES) };
    let len = winograd.input_len();
    let map = d_input[tile.image * len..][..len].as_mut_ptr();
    let patch = winograd.patch::<N, N>(tile);
    if patch.whole::<N, N>() {
        let to = map.wrapping_add(patch.position(0, 0) * channels + channel);
        // SAFETY: the whole tile is in the map, and so many channels are there.
        let to = unsafe { Strided::<_, FULL>::new(to, patch.width * channels, channels, count) };
        return square::<S, <F as Maps<M, N>>::InputBack, N, N>(s, &from, &mut Added(to));
    }
    let mut d = [[s.splat(0.0); N]; N];
    square::<S, <F as Maps<M, N>>::InputBack, N, N>(s, &from, &mut d);
    for i in patch.rows.0..patch.rows.1 {
        for j in patch.columns.0..patch.columns.1 {
            // SAFETY: the position is in the map, and so many channels are there.
            unsafe {
                let to = map.add(patch.position(i, j) * channels + channel);
                store::<S, FULL>(s, to, s.add(load::<S, FULL>(s, to, count), d[i][j]), count);
            }
        }
    }
}

/// Where in the sum over chunks the weights' gradient is.
struct Stage {
    blocks: Sums,
    /// Rows of the chunk's matrices, and how many of them are tiles.
    rows: usize,
    tiles: usize,
    first: bool,
    last: bool,
    accumulate: bool,
}

/// Adds the tiles' products to the sums of every point, block by block; after the last chunk, transforms them back.
#[inline(always)]
fn weights_gradient<S: Simd, const M: usize, const N: usize>(
    s: S,
    winograd: &Winograd,
    stage: &Stage,
    inputs: &[f32],
    gradients: &[f32],
    sums: &mut [f32],
    d_kernel: &mut [f32],
) where
    F: Maps<M, N>,
{
    let Block { channels, filters, .. } = winograd.block;
    let Stage { blocks, rows, tiles, .. } = *stage;
    let (depth, vectors) = (channels.next_multiple_of(GROUP), vectors::<S>(filters));
    let input_apart = apart(rows * channels.next_multiple_of(S::LANES));
    let gradient_apart = apart(rows * vectors * S::LANES);
    assert!(inputs.len() >= N * N * input_apart && gradients.len() >= N * N * gradient_apart);
    let step = blocks.filters / S::LANES;
    let mut start = 0;
    for vector in (0..vectors).step_by(step) {
        for channel in (0..depth).step_by(blocks.channels) {
            let block = SumsBlock {
                channel,
                channels: blocks.channels.min(depth - channel),
                vector,
                vectors: step.min(vectors - vector),
            };
            let len = N * N * block.apart::<S>();
            let sums = &mut sums[start..][..len];
            // Sums that nobody waits for are used up in one place.
            start += if stage.first && stage.last { 0 } else { len };
            for point in 0..N * N {
                for panel in (0..block.vectors).step_by(PANEL) {
                    let count = PANEL.min(block.vectors - panel);
                    for group in (0..block.channels).step_by(GROUP) {
                        let channel = channel + group;
                        let a = channel / S::LANES * rows * S::LANES + channel % S::LANES;
                        let to = point * block.apart::<S>() + block.place::<S>(group, panel).0;
                        // SAFETY: `GROUP` divides the lanes, so a group is within one block of the inputs' matrix,
                        // which has `rows` rows, as has each of the blocks of the gradients'; the lengths were
                        // checked, and those of the sums when they were sliced.
                        unsafe {
                            let outer = Outer {
                                a: inputs.as_ptr().add(point * input_apart + a),
                                b: gradients.as_ptr().add(point * gradient_apart + (vector + panel) * rows * S::LANES),
                                next: rows * S::LANES,
                                count: tiles,
                                to: sums.as_mut_ptr().add(to),
                                fresh: stage.first,
                            };
                            outer.sum::<S, GROUP>(s, count);
                        }
                    }
                }
            }
            if stage.last {
                finish::<S, M, N>(s, winograd, &block, sums, d_kernel, stage.accumulate);
            }
        }
    }
}

/// Some channels by some vectors of filters: their sums lie as (points, panels, channels, filters of the panel).
struct SumsBlock {
    channel: usize,
    channels: usize,
    vector: usize,
    vectors: usize,
}

impl SumsBlock {
    /// Floats from point to point.
    #[inline(always)]
    fn apart<S: Simd>(&self) -> usize {
        apart(self.channels * self.vectors * S::LANES)
    }

    /// Where a channel's vector lies in a point, and how far it is to the next channel's.
    #[inline(always)]
    fn place<S: Simd>(&self, channel: usize, vector: usize) -> (usize, usize) {
        let panel = vector / PANEL * PANEL;
        let width = PANEL.min(self.vectors - panel) * S::LANES;
        (panel * self.channels * S::LANES + channel * width + vector % PANEL * S::LANES, width)
    }
}

/// Transforms a block's sums back to taps, into (or onto) the gradient.
#[inline(always)]
fn finish<S: Simd, const M: usize, const N: usize>(
    s: S,
    winograd: &Winograd,
    block: &SumsBlock,
    sums: &[f32],
    d_kernel: &mut [f32],
    accumulate: bool,
) where
    F: Maps<M, N>,
{
    let Block { channels, filters, .. } = winograd.block;
    let apart = block.apart::<S>();
    assert!(sums.len() >= N * N * apart && d_kernel.len() == 9 * channels * filters);
    for vector in 0..block.vectors {
        let filter = (block.vector + vector) * S::LANES;
        let count = S::LANES.min(filters - filter);
        let (at, width) = block.place::<S>(0, vector);
        for channel in 0..block.channels.min(channels - block.channel) {
            // SAFETY: the length was checked.
            let from = unsafe { sums.as_ptr().add(at + channel * width) };
            // SAFETY: as above.
            let from = unsafe { Strided::<_, true>::new(from, N * apart, apart, S::LANES) };
            let mut taps = [[s.splat(0.0); 3]; 3];
            square::<S, <F as Maps<M, N>>::TapsBack, N, 3>(s, &from, &mut taps);
            for i in 0..9 {
                let value = taps[i / 3][i % 3];
                // SAFETY: the tap's channel, and so many filters.
                unsafe {
                    let to = d_kernel.as_mut_ptr().add((i * channels + block.channel + channel) * filters + filter);
                    let value = if accumulate { s.add(load::<S, false>(s, to, count), value) } else { value };
                    store::<S, false>(s, to, value, count);
                }
            }
        }
    }
}
