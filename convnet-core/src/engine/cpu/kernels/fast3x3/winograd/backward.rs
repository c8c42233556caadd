//! The backward pass of convolution + relu in the transformed space.

use super::super::block::{Block, carve, carved};
use super::product::{Blocked, Outer, product};
use super::transform::{F, Tile, square};
use super::{CHUNK, Place, apart, chunk, derived, tiles, transform_input, vectors};
use crate::engine::cpu::kernel::Backward;
use crate::engine::cpu::simd::{Simd, Vectorized};

/// Channels in a group whose sums over tiles are finished together: a group's sums of all points fit the first cache.
const GROUP: usize = 8;

/// Floats of scratch.
pub(in super::super) fn scratch(block: &Block, m: usize, images: usize) -> usize {
    carved(&pieces(block, m, images))
}

fn pieces(block: &Block, m: usize, images: usize) -> [usize; 4] {
    let (points, chunk) = ((m + 2) * (m + 2), chunk(block, m, images));
    let (rows, columns) = tiles(block, m);
    // Sums that wait for the next chunk must all be kept; those of a single chunk are used up group by group.
    let sums = if images * rows * columns <= CHUNK { GROUP * 2 * 16 } else { block.channels * block.filters };
    [
        points * apart(chunk * block.channels),
        points * apart(chunk * block.filters),
        points * apart(chunk * 2 * 16),
        points * sums,
    ]
}

/// The backward pass; `back` are the transformed transposed weights.
#[inline(always)]
pub(in super::super) fn backward<S: Simd>(s: S, block: &Block, m: usize, back: &[f32], pass: &mut Backward<'_>) {
    match m {
        2 => s.call(Run::<2, 4> { block, back, pass }),
        3 => s.call(Run::<3, 5> { block, back, pass }),
        _ => s.call(Run::<4, 6> { block, back, pass }),
    }
}

struct Run<'r, 'a, const M: usize, const N: usize> {
    block: &'r Block,
    back: &'r [f32],
    pass: &'r mut Backward<'a>,
}

impl<const M: usize, const N: usize> Vectorized for Run<'_, '_, M, N>
where
    F: Tile<M, N>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        run::<S, M, N>(s, self.block, self.back, self.pass);
    }
}

#[inline(always)]
fn run<S: Simd, const M: usize, const N: usize>(s: S, block: &Block, back: &[f32], pass: &mut Backward<'_>)
where
    F: Tile<M, N>,
{
    let mut rest = std::mem::take(&mut pass.scratch);
    let [inputs, gradients, products, sums] = pieces(block, M, pass.images).map(|len| carve(&mut rest, len));
    if let Some(d_input) = pass.d_input.as_deref_mut() {
        d_input.fill(0.0);
    }
    let kernel = 9 * block.channels * block.filters;
    if !pass.accumulate {
        pass.d_weights[kernel..].fill(0.0);
    }
    let (down, across) = tiles(block, M);
    let (per_image, total) = (down * across, pass.images * down * across);
    for start in (0..total).step_by(CHUNK) {
        let rows = CHUNK.min(total - start);
        for tile in 0..rows {
            let (image, at) = ((start + tile) / per_image, (start + tile) % per_image);
            let map = &pass.input[image * block.input_len()..][..block.input_len()];
            let (row, column) = (at / across * M, at % across * M);
            let place = Place { rows, tile };
            transform_input::<S, M, N>(s, block, map, row, column, inputs, place);
            transform_gradient::<S, M, N>(s, block, pass, image, row, column, gradients, place);
        }
        if let Some(d_input) = pass.d_input.as_deref_mut() {
            let chunk = Chunk { start, rows };
            input_gradient::<S, M, N>(s, block, chunk, gradients, back, products, d_input);
        }
        let stage = Stage { rows, first: start == 0, last: start + rows == total, single: total <= CHUNK };
        let d_kernel = &mut pass.d_weights[..kernel];
        weights_gradient::<S, M, N>(s, block, stage, inputs, gradients, sums, d_kernel, pass.accumulate);
    }
}

/// The tile's part of the output's gradient behind relu, transformed to rows of the points' matrices; adds it to the
/// bias's gradient.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // A tile's three coordinates, and where to.
fn transform_gradient<S: Simd, const M: usize, const N: usize>(
    s: S,
    block: &Block,
    pass: &mut Backward<'_>,
    image: usize,
    row: usize,
    column: usize,
    to: &mut [f32],
    place: Place,
) where
    F: Tile<M, N>,
{
    let Block { channels, filters, bias, .. } = *block;
    let (rows, columns) = block.output();
    assert!(to.len() >= N * N * apart(place.rows * filters));
    for filter in (0..filters).step_by(S::LANES) {
        let mut d = [[s.splat(0.0); M]; M];
        let mut sum = s.splat(0.0);
        for i in 0..M {
            for j in 0..M {
                if row + i < rows && column + j < columns {
                    let at = ((image * rows + row + i) * columns + column + j) * filters + filter;
                    // SAFETY: the position is in the output; `filters` is a multiple of the lanes.
                    unsafe {
                        let output = s.load(pass.output.as_ptr().add(at));
                        let passed = s.greater(output, s.splat(0.0));
                        d[i][j] = s.keep(passed, s.load(pass.d_output.as_ptr().add(at)));
                    }
                    sum = s.add(sum, d[i][j]);
                }
            }
        }
        if bias {
            // SAFETY: the weights end in one bias a filter.
            unsafe {
                let to = pass.d_weights.as_mut_ptr().add(9 * channels * filters + filter);
                s.store(to, s.add(s.load(to), sum));
            }
        }
        let points = square::<S, <F as Tile<M, N>>::OutputBack, M, N>(s, d);
        let at = filter * place.rows + place.tile * S::LANES;
        for i in 0..N * N {
            // SAFETY: point i, this filter's block of `rows` rows, row `tile`: the length was checked.
            unsafe { s.store(to.as_mut_ptr().add(i * apart(place.rows * filters) + at), points[i / N][i % N]) };
        }
    }
}

/// The tiles at work.
#[derive(Clone, Copy)]
struct Chunk {
    start: usize,
    rows: usize,
}

/// Adds the tiles' gradients to the input's, `V` vectors of channels at a time.
#[inline(always)]
fn input_gradient<S: Simd, const M: usize, const N: usize>(
    s: S,
    block: &Block,
    chunk: Chunk,
    gradients: &[f32],
    back: &[f32],
    products: &mut [f32],
    d_input: &mut [f32],
) where
    F: Tile<M, N>,
{
    let Block { height, width, channels, filters, .. } = *block;
    let (down, across) = tiles(block, M);
    let vectors = vectors::<S>(channels);
    let (panel, rows) = (vectors * S::LANES, chunk.rows);
    assert_eq!(back.len(), derived(block, M));
    for channel in (0..channels).step_by(panel) {
        for point in 0..N * N {
            // SAFETY: the pieces of scratch hold N² points of `rows` tiles with all filters, or one panel; `back` has
            // N² points of all filters a panel.
            unsafe {
                let a = Blocked { at: gradients.as_ptr().add(point * apart(rows * filters)), rows };
                let b = back.as_ptr().add((channel / panel * N * N + point) * apart(filters * panel));
                let to = products.as_mut_ptr().add(point * apart(rows * panel));
                product(s, vectors, a, b, filters / S::LANES, to, rows);
            }
        }
        for tile in 0..rows {
            let (image, at) = ((chunk.start + tile) / (down * across), (chunk.start + tile) % (down * across));
            let (row, column) = (at / across * M, at % across * M);
            for v in 0..vectors {
                let mut points = [[s.splat(0.0); N]; N];
                for i in 0..N * N {
                    // SAFETY: point i of this tile in the products.
                    points[i / N][i % N] =
                        unsafe { s.load(products.as_ptr().add(i * apart(rows * panel) + tile * panel + v * S::LANES)) };
                }
                let d = square::<S, <F as Tile<M, N>>::InputBack, N, N>(s, points);
                for i in 0..N.min(height - row) {
                    for j in 0..N.min(width - column) {
                        let position = (image * height + row + i) * width + column + j;
                        // SAFETY: the position is in the map; the channels are the block's.
                        unsafe {
                            let to = d_input.as_mut_ptr().add(position * channels + channel + v * S::LANES);
                            s.store(to, s.add(s.load(to), d[i][j]));
                        }
                    }
                }
            }
        }
    }
}

/// Where in the sum over chunks the weights' gradient is.
#[derive(Clone, Copy)]
struct Stage {
    rows: usize,
    first: bool,
    last: bool,
    single: bool,
}

/// Adds the tiles' products to the sums of every point; after the last chunk, transforms them back.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // Two factors, sums, result.
fn weights_gradient<S: Simd, const M: usize, const N: usize>(
    s: S,
    block: &Block,
    stage: Stage,
    inputs: &[f32],
    gradients: &[f32],
    sums: &mut [f32],
    d_kernel: &mut [f32],
    accumulate: bool,
) where
    F: Tile<M, N>,
{
    let Block { channels, filters, .. } = *block;
    let vectors = vectors::<S>(filters);
    let (panel, rows) = (vectors * S::LANES, stage.rows);
    let group = N * N * GROUP * panel;
    for filter in (0..filters).step_by(panel) {
        for channel in (0..channels).step_by(GROUP) {
            let number = if stage.single { 0 } else { filter / panel * (channels / GROUP) + channel / GROUP };
            let sums = &mut sums[number * group..][..group];
            for point in 0..N * N {
                // SAFETY: `GROUP` divides the lanes, so a group is within one block of the inputs' matrix, which has
                // `rows` rows, as has each of the blocks of the gradients'. A group's sums were sliced above.
                unsafe {
                    let block = channel / S::LANES * rows * S::LANES + channel % S::LANES;
                    let a = inputs.as_ptr().add(point * apart(rows * channels) + block);
                    let b = gradients.as_ptr().add(point * apart(rows * filters) + filter * rows);
                    let to = sums.as_mut_ptr().add(point * GROUP * panel);
                    let outer = Outer { a, b, next: rows * S::LANES, count: rows, to, fresh: stage.first };
                    outer.sum::<S, GROUP>(s, vectors);
                }
            }
            if stage.last {
                let at = channel * filters + filter;
                finish::<S, M, N>(s, vectors, sums, &mut d_kernel[at..], channels, filters, accumulate);
            }
        }
    }
}

/// Transforms a group's sums back to taps, into (or onto) the gradient.
#[inline(always)]
fn finish<S: Simd, const M: usize, const N: usize>(
    s: S,
    vectors: usize,
    sums: &[f32],
    to: &mut [f32],
    channels: usize,
    filters: usize,
    accumulate: bool,
) where
    F: Tile<M, N>,
{
    let panel = vectors * S::LANES;
    assert!(sums.len() == N * N * GROUP * panel && to.len() >= (8 * channels + GROUP - 1) * filters + panel);
    for r in 0..GROUP {
        for v in 0..vectors {
            let mut points = [[s.splat(0.0); N]; N];
            for i in 0..N * N {
                // SAFETY: the length was checked.
                points[i / N][i % N] = unsafe { s.load(sums.as_ptr().add((i * GROUP + r) * panel + v * S::LANES)) };
            }
            let taps = square::<S, <F as Tile<M, N>>::TapsBack, N, 3>(s, points);
            for i in 0..9 {
                // SAFETY: the length was checked.
                unsafe {
                    let to = to.as_mut_ptr().add((i * channels + r) * filters + v * S::LANES);
                    let value = taps[i / 3][i % 3];
                    s.store(to, if accumulate { s.add(s.load(to), value) } else { value });
                }
            }
        }
    }
}
