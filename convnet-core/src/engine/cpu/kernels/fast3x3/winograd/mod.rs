//! Winograd convolution, F(M×M, 3×3) with M from 2 to 4: forward, and backward where no pooling makes that sparse.
//!
//! A chunk of tiles goes through input transform, one matrix product a point of the tile ([`product`]), and output
//! transform, panel by panel of filters, so that what lies between stays in the second cache. Bias, relu, pooling and
//! the position of the maximum happen in the output transform: with M even a tile covers whole pooling windows.
//!
//! The backward pass is the transposed algorithm (see [`transform`]) on the same tiles: the gradient of the input is
//! one product a point with the transposed transformed weights, that of the weights one product a point summed over
//! tiles. It is exact calculus on another order of summation, as good as the forward pass.
//!
//! Which M: by the number of multiplications, `(M + 2)² ⌈rows / M⌉ ⌈columns / M⌉`; see [`best`].
//!
//! Tried, without difference: chunks of 12 to 48 tiles; constant distances between the products' points. Three
//! quarters of the time of M = 2 are the products, their inner loop within 5 % of the machine's peak; the transforms'
//! loads and stores are the rest. Not tried: tiles of several sizes in one map (10 = 4 + 4 + 2 would save a third of
//! the multiplications of M = 2).

mod backward;
mod product;
mod transform;

use super::block::{Block, carve, carved, maximum};
use crate::engine::cpu::kernel::Forward;
use crate::engine::cpu::simd::{Simd, Vectorized};
use product::{Blocked, product};
use transform::{F, Tile, square};

pub(super) use backward::{backward, scratch as backward_scratch};

/// Tiles that go through the transforms together.
const CHUNK: usize = 24;

/// The tile size for a block; `None` where none pays.
///
/// A larger tile must save a quarter of the multiplications: its transforms cost more, it rounds worse, and from M = 3
/// on an output whose exact value is zero may come out as 10⁻⁸, through which relu lets a gradient pass. (13×13×32 to
/// 64, pooled: 400 multiplications a channel and filter with M = 2, 324 with M = 4, and the same time.)
pub(super) fn best(block: &Block) -> Option<usize> {
    let (rows, columns) = block.convolved();
    let cost = |m: usize| (m + 2) * (m + 2) * rows.div_ceil(m) * columns.div_ceil(m);
    let larger: &[usize] = if block.pooled { &[4] } else { &[3, 4] };
    let best = larger.iter().fold(2, |best, &m| if 4 * cost(m) <= 3 * cost(best) { m } else { best });
    (cost(best) < 9 * rows * columns).then_some(best)
}

/// Floats of transformed weights, in one direction.
pub(super) fn derived(block: &Block, m: usize) -> usize {
    // A line more a point and panel, see `apart`; a panel has at least 16 columns.
    (m + 2) * (m + 2) * (block.channels * block.filters + block.channels.max(block.filters))
}

/// Floats from one point to the next of `len` floats a point: one cache line more, for else the points of a tile, a
/// multiple of some large power of two apart, would all fall into the same few sets of the first cache.
const fn apart(len: usize) -> usize {
    len + 16
}

/// Tiles of one image: rows and columns.
fn tiles(block: &Block, m: usize) -> (usize, usize) {
    let (rows, columns) = block.convolved();
    (rows.div_ceil(m), columns.div_ceil(m))
}

fn chunk(block: &Block, m: usize, images: usize) -> usize {
    let (rows, columns) = tiles(block, m);
    CHUNK.min(images * rows * columns)
}

/// Vectors in a panel of columns.
#[inline(always)]
fn vectors<S: Simd>(columns: usize) -> usize {
    if columns.is_multiple_of(2 * S::LANES) { 2 } else { 1 }
}

/// Floats of scratch of the forward pass.
pub(super) fn scratch(block: &Block, m: usize, images: usize) -> usize {
    carved(&pieces(block, m, images))
}

fn pieces(block: &Block, m: usize, images: usize) -> [usize; 2] {
    let (points, chunk) = ((m + 2) * (m + 2), chunk(block, m, images));
    [points * apart(chunk * block.channels), points * apart(chunk * 2 * 16)]
}

/// Transforms weights (3, 3, channels, filters) to (panels, points, channels, filters of the panel).
#[inline(always)]
pub(super) fn prepare<S: Simd>(s: S, block: &Block, m: usize, weights: &[f32], derived: &mut [f32]) {
    match m {
        2 => transform_weights::<S, 2, 4>(s, block.channels, block.filters, weights, derived),
        3 => transform_weights::<S, 3, 5>(s, block.channels, block.filters, weights, derived),
        _ => transform_weights::<S, 4, 6>(s, block.channels, block.filters, weights, derived),
    }
}

#[inline(always)]
fn transform_weights<S: Simd, const M: usize, const N: usize>(
    s: S,
    rows: usize,
    columns: usize,
    weights: &[f32],
    derived: &mut [f32],
) where
    F: Tile<M, N>,
{
    assert!(weights.len() >= 9 * rows * columns && derived.len() >= N * N * (rows * columns + columns));
    let panel = vectors::<S>(columns) * S::LANES;
    let apart = apart(rows * panel);
    for row in 0..rows {
        for column in (0..columns).step_by(S::LANES) {
            // SAFETY: the lengths were checked; a vector of columns of one row and tap, or point.
            unsafe {
                let from = weights.as_ptr().add(row * columns + column);
                let to = derived.as_mut_ptr().add(column / panel * N * N * apart + row * panel + column % panel);
                transform_taps::<S, M, N>(s, from, rows * columns, to, apart);
            }
        }
    }
}

/// One vector of 3×3 taps, `from_stride` apart, to N×N points.
///
/// # Safety
/// A vector is readable and writable at each.
#[inline(always)]
unsafe fn transform_taps<S: Simd, const M: usize, const N: usize>(
    s: S,
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
) where
    F: Tile<M, N>,
{
    let mut taps = [[s.splat(0.0); 3]; 3];
    for i in 0..9 {
        // SAFETY: the caller vouches for the taps.
        taps[i / 3][i % 3] = unsafe { s.load(from.add(i * from_stride)) };
    }
    let points = square::<S, <F as Tile<M, N>>::Taps, 3, N>(s, taps);
    for i in 0..N * N {
        // SAFETY: the caller vouches for the points.
        unsafe { s.store(to.add(i * to_stride), points[i / N][i % N]) };
    }
}

/// The same of the transposed weights: to (panels, points, filters, channels of the panel).
#[inline(always)]
pub(super) fn prepare_back<S: Simd>(s: S, block: &Block, m: usize, weights: &[f32], derived: &mut [f32]) {
    match m {
        2 => transform_transposed::<S, 2, 4>(s, block, weights, derived),
        3 => transform_transposed::<S, 3, 5>(s, block, weights, derived),
        _ => transform_transposed::<S, 4, 6>(s, block, weights, derived),
    }
}

#[inline(always)]
fn transform_transposed<S: Simd, const M: usize, const N: usize>(
    s: S,
    block: &Block,
    weights: &[f32],
    derived: &mut [f32],
) where
    F: Tile<M, N>,
{
    let Block { channels, filters, .. } = *block;
    assert!(weights.len() >= 9 * channels * filters && derived.len() == self::derived(block, M));
    let panel = vectors::<S>(channels) * S::LANES;
    let apart = apart(filters * panel);
    let mut taps = [[0.0; 256]; 9];
    for channel in (0..channels).step_by(S::LANES) {
        for filter in (0..filters).step_by(S::LANES) {
            // SAFETY: a square of channels × filters of each tap, at most 16 × 16; then a vector of channels of one
            // filter and tap, or point.
            unsafe {
                for (tap, square) in taps.iter_mut().enumerate() {
                    let from = weights.as_ptr().add((tap * channels + channel) * filters + filter);
                    s.transpose(from, filters, square.as_mut_ptr(), S::LANES);
                }
                for f in 0..S::LANES {
                    let from = taps.as_ptr().cast::<f32>().add(f * S::LANES);
                    let at = channel / panel * N * N * apart + (filter + f) * panel + channel % panel;
                    transform_taps::<S, M, N>(s, from, 256, derived.as_mut_ptr().add(at), apart);
                }
            }
        }
    }
}

/// The forward pass; `derived` are the transformed weights.
#[inline(always)]
pub(super) fn forward<S: Simd>(s: S, block: &Block, m: usize, derived: &[f32], pass: &mut Forward<'_>) {
    assert!(!block.pooled || m.is_multiple_of(2), "a tile must cover whole windows");
    match m {
        2 => s.call(Run::<2, 4> { block, derived, pass }),
        3 => s.call(Run::<3, 5> { block, derived, pass }),
        _ => s.call(Run::<4, 6> { block, derived, pass }),
    }
}

struct Run<'r, 'a, const M: usize, const N: usize> {
    block: &'r Block,
    derived: &'r [f32],
    pass: &'r mut Forward<'a>,
}

impl<const M: usize, const N: usize> Vectorized for Run<'_, '_, M, N>
where
    F: Tile<M, N>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        run::<S, M, N>(s, self.block, self.derived, self.pass);
    }
}

#[inline(always)]
fn run<S: Simd, const M: usize, const N: usize>(s: S, block: &Block, derived: &[f32], pass: &mut Forward<'_>)
where
    F: Tile<M, N>,
{
    let Block { channels, filters, .. } = *block;
    assert_eq!(derived.len(), self::derived(block, M));
    let mut rest = std::mem::take(&mut pass.scratch);
    let [inputs, products] = pieces(block, M, pass.images).map(|len| carve(&mut rest, len));
    let (_, across) = tiles(block, M);
    let per_image = across * tiles(block, M).0;
    let total = pass.images * per_image;
    let vectors = vectors::<S>(filters);
    let panel = vectors * S::LANES;
    for start in (0..total).step_by(CHUNK) {
        let rows = CHUNK.min(total - start);
        for tile in 0..rows {
            let (image, at) = ((start + tile) / per_image, (start + tile) % per_image);
            let map = &pass.input[image * block.input_len()..][..block.input_len()];
            let (row, column) = (at / across * M, at % across * M);
            transform_input::<S, M, N>(s, block, map, row, column, inputs, Place { rows, tile });
        }
        for filter in (0..filters).step_by(panel) {
            for point in 0..N * N {
                // SAFETY: the pieces of scratch hold N² points of `rows` ≤ `chunk` tiles with all channels, or one
                // panel; `derived` has N² points of all channels a panel.
                unsafe {
                    let a = Blocked { at: inputs.as_ptr().add(point * apart(rows * channels)), rows };
                    let b = derived.as_ptr().add((filter / panel * N * N + point) * apart(channels * panel));
                    let to = products.as_mut_ptr().add(point * apart(rows * panel));
                    product(s, vectors, a, b, channels / S::LANES, to, rows);
                }
            }
            for tile in 0..rows {
                let (image, at) = ((start + tile) / per_image, (start + tile) % per_image);
                let out = Out { image, row: at / across * M, column: at % across * M, filter };
                for v in 0..vectors {
                    let out = Out { filter: filter + v * S::LANES, ..out };
                    let from = &products[tile * panel + v * S::LANES..];
                    transform_output::<S, M, N>(s, block, from, apart(rows * panel), out, pass);
                }
            }
        }
    }
}

/// Where a tile's points go: which of how many rows of each point's matrix.
#[derive(Clone, Copy)]
struct Place {
    rows: usize,
    tile: usize,
}

/// All channels of the tile at (`row`, `column`) of a map, zeros beyond its border, transformed to rows of the points'
/// matrices.
#[inline(always)]
fn transform_input<S: Simd, const M: usize, const N: usize>(
    s: S,
    block: &Block,
    map: &[f32],
    row: usize,
    column: usize,
    to: &mut [f32],
    place: Place,
) where
    F: Tile<M, N>,
{
    let Block { height, width, channels, .. } = *block;
    assert!(map.len() == block.input_len() && to.len() >= N * N * apart(place.rows * channels));
    let inside = row + N <= height && column + N <= width;
    for channel in (0..channels).step_by(S::LANES) {
        let mut x = [[s.splat(0.0); N]; N];
        if inside {
            // SAFETY: the whole tile is in the map, and `channels` is a multiple of the lanes.
            let corner = unsafe { map.as_ptr().add((row * width + column) * channels + channel) };
            for i in 0..N {
                for j in 0..N {
                    // SAFETY: as above.
                    x[i][j] = unsafe { s.load(corner.add((i * width + j) * channels)) };
                }
            }
        } else {
            for i in 0..N.min(height - row) {
                for j in 0..N.min(width - column) {
                    let at = ((row + i) * width + column + j) * channels + channel;
                    // SAFETY: the position is in the map.
                    x[i][j] = unsafe { s.load(map.as_ptr().add(at)) };
                }
            }
        }
        let points = square::<S, <F as Tile<M, N>>::Input, N, N>(s, x);
        let at = channel * place.rows + place.tile * S::LANES;
        for i in 0..N * N {
            // SAFETY: point i, this channel's block of `rows` rows, row `tile`: the length was checked.
            unsafe { s.store(to.as_mut_ptr().add(i * apart(place.rows * channels) + at), points[i / N][i % N]) };
        }
    }
}

/// Which outputs of the convolution: the top left one of a tile, and the first filter of a vector.
#[derive(Clone, Copy)]
struct Out {
    image: usize,
    row: usize,
    column: usize,
    filter: usize,
}

/// Points, `stride` apart, to outputs: bias, relu, pooling.
#[inline(always)]
fn transform_output<S: Simd, const M: usize, const N: usize>(
    s: S,
    block: &Block,
    from: &[f32],
    stride: usize,
    out: Out,
    pass: &mut Forward<'_>,
) where
    F: Tile<M, N>,
{
    let Block { filters, .. } = *block;
    assert!(from.len() >= (N * N - 1) * stride + S::LANES);
    let mut points = [[s.splat(0.0); N]; N];
    for i in 0..N * N {
        // SAFETY: the length was checked.
        points[i / N][i % N] = unsafe { s.load(from.as_ptr().add(i * stride)) };
    }
    let mut y = square::<S, <F as Tile<M, N>>::Output, N, M>(s, points);
    if block.bias {
        // SAFETY: the weights end in one bias a filter.
        let bias = unsafe { s.load(pass.weights.as_ptr().add(9 * block.channels * filters + out.filter)) };
        for value in y.as_flattened_mut() {
            *value = s.add(*value, bias);
        }
    }
    let (rows, columns) = block.output();
    let step = if block.pooled { 2 } else { 1 };
    for i in (0..M).step_by(step) {
        for j in (0..M).step_by(step) {
            let (row, column) = ((out.row + i) / step, (out.column + j) / step);
            if row >= rows || column >= columns {
                continue;
            }
            let at = ((out.image * rows + row) * columns + column) * filters + out.filter;
            // SAFETY: the output's position is in the map; in training `kept` is as long, where there is pooling.
            unsafe {
                let to = pass.output.as_mut_ptr().add(at);
                if block.pooled {
                    let window = [y[i][j], y[i][(j + 1) % M], y[(i + 1) % M][j], y[(i + 1) % M][(j + 1) % M]];
                    let (best, corner) = maximum(s, window, [0.0, 1.0, 2.0, 3.0]);
                    s.store(to, best);
                    if pass.training {
                        s.store_bytes(pass.kept.as_mut_ptr().add(at), corner);
                    }
                } else {
                    s.store(to, s.max(s.splat(0.0), y[i][j]));
                }
            }
        }
    }
}
