//! The forward pass: input transform, products, output transform.

use super::super::block::{Block, load, maximum, store, store_maxima};
use super::blocking::{Blocking, FILTERS};
use super::digits::Left;
use super::edges::{Kind, Rows, SHORT};
use super::product::{Factors, PANEL, Slice, apart};
use super::transform::{F, Map, ShortInput, ShortOutput, Strided, Tile as Maps, rectangle};
use super::{Tile, Winograd, padded, vectors};
use crate::engine::cpu::aligned::{carve, carved};
use crate::engine::cpu::disjoint::Disjoint;
use crate::engine::cpu::simd::{Simd, Vectorized};
use std::ops::Range;

/// Floats of scratch.
pub(super) fn scratch(winograd: &Winograd, images: usize) -> usize {
    carved(&pieces(winograd, &Blocking::forward(winograd, images)))
}

/// Of a chunk's inputs, these in digits, and products.
fn pieces(winograd: &Winograd, blocking: &Blocking) -> [usize; 3] {
    let Block { channels, filters, .. } = winograd.block;
    let columns = blocking.columns.min(padded(filters));
    let [inputs, products] =
        [padded(channels), columns].map(|columns| winograd.points() * apart(blocking.rows() * columns));
    let left = Left { points: winograd.points(), rows: blocking.rows(), depth: channels };
    [inputs, winograd.amx.map_or(0, |_| left.floats()), products]
}

/// The forward pass, or a part of it.
pub(super) struct Run<'a> {
    pub winograd: &'a Winograd,
    pub images: usize,
    /// Which tiles of all images, and which filters: from a multiple of [`FILTERS`] up to another or to the last.
    pub tiles: Range<usize>,
    pub filters: Range<usize>,
    pub weights: &'a [f32],
    /// The transformed weights.
    pub derived: &'a [f32],
    pub input: &'a [f32],
    /// All of it, of which these filters of these tiles are written.
    pub output: Disjoint<'a, f32>,
    /// Places of maxima, or empty.
    pub kept: &'a mut [u8],
    pub scratch: &'a mut [f32],
}

impl Vectorized for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(!self.winograd.block.pooled || self.winograd.m.is_multiple_of(2), "a tile must cover whole windows");
        match self.winograd.m {
            2 => s.call(Sized::<2, 4>(self)),
            3 => s.call(Sized::<3, 5>(self)),
            _ => s.call(Sized::<4, 6>(self)),
        }
    }
}

/// For one size of tiles.
struct Sized<'a, const M: usize, const N: usize>(Run<'a>);

impl<const M: usize, const N: usize> Vectorized for Sized<'_, M, N>
where
    F: Maps<M, N>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Run { winograd, images, tiles, filters: some, weights, derived, input, output, kept, scratch: mut rest } =
            self.0;
        let Block { channels, filters, .. } = winograd.block;
        assert!(tiles.end <= images * winograd.image_tiles() && some.start.is_multiple_of(FILTERS));
        assert!(some.end <= filters && (some.end == filters || some.end.is_multiple_of(FILTERS)));
        let blocking = Blocking::forward(winograd, images);
        let [inputs, digits, products] = pieces(winograd, &blocking).map(|len| carve(&mut rest, len));
        let bias = winograd.block.bias.then(|| &weights[9 * channels * filters..]);
        let mut target = Target { output, kept, bias };
        let vectors = vectors::<S>(filters);
        let some = some.start / S::LANES..some.end.div_ceil(S::LANES);
        let step = blocking.columns / S::LANES;
        for chunk in blocking.chunks_of(tiles) {
            let order = Rows::new(winograd, chunk);
            let rows = order.count();
            for (row, kind, tile) in order.tiles() {
                let place = Place { rows, row };
                match kind {
                    Kind::Narrow if M == 4 => {
                        transform_input::<S, Input<M, N>, ShortInput, N, SHORT>(s, winograd, input, tile, inputs, place)
                    }
                    Kind::Low if M == 4 => {
                        transform_input::<S, ShortInput, Input<M, N>, SHORT, N>(s, winograd, input, tile, inputs, place)
                    }
                    Kind::Corner if M == 4 => transform_input::<S, ShortInput, ShortInput, SHORT, SHORT>(
                        s, winograd, input, tile, inputs, place,
                    ),
                    _ => transform_input::<S, Input<M, N>, Input<M, N>, N, N>(s, winograd, input, tile, inputs, place),
                }
            }
            let digits = winograd.amx.map(|amx| {
                let left = Left { points: N * N, rows, depth: channels };
                left.take(amx, inputs, |point| order.of::<N>(point), digits)
            });
            let factors =
                Factors { points: N * N, left: inputs, rows, depth: channels, right: derived, vectors, digits };
            for first in some.clone().step_by(step) {
                let slice = Slice { first, count: step.min(some.end - first) };
                factors.multiply(s, &slice, |point| order.of::<N>(point), products);
                // Tile by tile through a panel: where a vector is half a cache line, both halves at once.
                for panel in (0..slice.count).step_by(PANEL) {
                    for (row, kind, tile) in order.tiles() {
                        for vector in panel..slice.count.min(panel + PANEL) {
                            let (at, width) = slice.place::<S>(rows, vector);
                            let from = &products[at + row * width..];
                            let points = Points { from, apart: slice.apart::<S>(rows) };
                            let filter = (first + vector) * S::LANES;
                            if filter + S::LANES <= filters {
                                output_of::<S, M, N, true>(s, winograd, points, (kind, tile), filter, &mut target);
                            } else {
                                output_of::<S, M, N, false>(s, winograd, points, (kind, tile), filter, &mut target);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Where a tile's points go: which of how many rows of each point's matrix.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub rows: usize,
    pub row: usize,
}

/// Bᵀ of a whole side.
pub(super) type Input<const M: usize, const N: usize> = <F as Maps<M, N>>::Input;
/// Aᵀ of a whole side.
type Output<const M: usize, const N: usize> = <F as Maps<M, N>>::Output;

/// All channels of a tile of the call's images, zeros beyond the border, transformed to rows of the points' matrices: `V`
/// makes the `A` points of its columns, `H` the `B` of its rows.
#[inline(always)]
pub(super) fn transform_input<S: Simd, V: Map<A, A>, H: Map<B, B>, const A: usize, const B: usize>(
    s: S,
    winograd: &Winograd,
    images: &[f32],
    tile: Tile,
    to: &mut [f32],
    place: Place,
) {
    let (channels, len) = (winograd.block.channels, winograd.input_len());
    let map = &images[tile.image * len..][..len];
    let stride = apart(place.rows * channels.next_multiple_of(S::LANES));
    let side = winograd.m + 2;
    assert!(A.max(B) <= side && to.len() >= side * side * stride && place.row < place.rows);
    let patch = winograd.patch::<A, B>(tile);
    for channel in (0..channels).step_by(S::LANES) {
        let count = S::LANES.min(channels - channel);
        let at = channel * place.rows + place.row * S::LANES;
        // SAFETY: the points of this channel's block of `rows` rows, one of them: the length was checked.
        let mut to = unsafe { Strided::<_, true>::new(to.as_mut_ptr().add(at), side * stride, stride, S::LANES) };
        if patch.whole::<A, B>() && count == S::LANES {
            let corner = map.as_ptr().wrapping_add(patch.position(0, 0) * channels + channel);
            // SAFETY: the whole tile is in the map, and so are the vector's channels.
            let from = unsafe { Strided::<_, true>::new(corner, patch.width * channels, channels, count) };
            rectangle::<S, V, H, A, A, B, B>(s, &from, &mut to);
        } else {
            let mut x = [[s.splat(0.0); B]; A];
            for i in patch.rows.0..patch.rows.1 {
                for j in patch.columns.0..patch.columns.1 {
                    let from = map.as_ptr().wrapping_add(patch.position(i, j) * channels + channel);
                    // SAFETY: the position is in the map, and so many channels are there.
                    x[i][j] = unsafe { load::<S, false>(s, from, count) };
                }
            }
            rectangle::<S, V, H, A, A, B, B>(s, &x, &mut to);
        }
    }
}

/// What the output transform writes to, and adds.
struct Target<'a> {
    output: Disjoint<'a, f32>,
    /// Places of maxima, or empty.
    kept: &'a mut [u8],
    bias: Option<&'a [f32]>,
}

/// A vector of each point of a tile's products.
#[derive(Clone, Copy)]
struct Points<'a> {
    from: &'a [f32],
    apart: usize,
}

/// [`transform_output`] of a tile of any kind.
#[inline(always)]
fn output_of<S: Simd, const M: usize, const N: usize, const FULL: bool>(
    s: S,
    winograd: &Winograd,
    points: Points<'_>,
    (kind, tile): (Kind, Tile),
    filter: usize,
    target: &mut Target<'_>,
) where
    F: Maps<M, N>,
{
    match kind {
        Kind::Narrow if M == 4 => transform_output::<S, Output<M, N>, ShortOutput, N, M, SHORT, 2, FULL>(
            s, winograd, points, tile, filter, target,
        ),
        Kind::Low if M == 4 => transform_output::<S, ShortOutput, Output<M, N>, SHORT, 2, N, M, FULL>(
            s, winograd, points, tile, filter, target,
        ),
        Kind::Corner if M == 4 => transform_output::<S, ShortOutput, ShortOutput, SHORT, 2, SHORT, 2, FULL>(
            s, winograd, points, tile, filter, target,
        ),
        _ => transform_output::<S, Output<M, N>, Output<M, N>, N, M, N, M, FULL>(
            s, winograd, points, tile, filter, target,
        ),
    }
}

/// Points to `P` × `Q` outputs, of a vector of filters (as many as there are, unless `FULL`): bias, relu, pooling.
#[inline(always)]
fn transform_output<S, V, H, const A: usize, const P: usize, const B: usize, const Q: usize, const FULL: bool>(
    s: S,
    winograd: &Winograd,
    points: Points<'_>,
    tile: Tile,
    filter: usize,
    target: &mut Target<'_>,
) where
    S: Simd,
    V: Map<A, P>,
    H: Map<B, Q>,
{
    let Block { filters, pooled, .. } = winograd.block;
    let side = winograd.m + 2;
    assert!(A.max(B) <= side && points.from.len() >= (side * side - 1) * points.apart + S::LANES);
    let count = if FULL { S::LANES } else { filters - filter };
    let mut y = [[s.splat(0.0); Q]; P];
    // SAFETY: the length was checked.
    let from = unsafe { Strided::<_, true>::new(points.from.as_ptr(), side * points.apart, points.apart, S::LANES) };
    rectangle::<S, V, H, A, P, B, Q>(s, &from, &mut y);
    let mut bias = s.splat(0.0);
    if let Some(from) = target.bias {
        // SAFETY: one bias a filter.
        bias = unsafe { load::<S, FULL>(s, from[filter..][..count].as_ptr(), count) };
    }
    let (rows, columns) = winograd.block.output();
    if !pooled {
        for i in 0..P.min(rows - tile.row) {
            let at = ((tile.image * rows + tile.row + i) * columns + tile.column) * filters + filter;
            for j in 0..Q.min(columns - tile.column) {
                let value = s.add(y[i][j], bias);
                let value = if winograd.relu { s.max(s.splat(0.0), value) } else { value };
                // SAFETY: the position is in the map, whose length was checked at the door.
                unsafe { store::<S, FULL>(s, target.output.as_mut_ptr().add(at + j * filters), value, count) };
            }
        }
        return;
    }
    for i in (0..P).step_by(2) {
        for j in (0..Q).step_by(2) {
            let (row, column) = ((tile.row + i) / 2, (tile.column + j) / 2);
            if row >= rows || column >= columns {
                continue;
            }
            let at = ((tile.image * rows + row) * columns + column) * filters + filter;
            let mut window = [y[i][j], y[i][(j + 1) % Q], y[(i + 1) % P][j], y[(i + 1) % P][(j + 1) % Q]];
            for value in &mut window {
                *value = s.add(*value, bias);
            }
            let (best, corner) = maximum(s, window, [0.0, 1.0, 2.0, 3.0]);
            // SAFETY: the position is in the map, whose length was checked at the door; `kept` is as long, if it is not
            // empty.
            unsafe {
                let kept = (!target.kept.is_empty()).then(|| target.kept.as_mut_ptr().add(at));
                store_maxima::<S, FULL>(s, [best, corner], target.output.as_mut_ptr().add(at), kept, count);
            }
        }
    }
}
