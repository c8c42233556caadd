//! Direct 3×3 convolution for 16 channels and more: what runs where re-associated sums are not wanted (`exact`), and
//! where Winograd does not pay.
//!
//! Why it is as it is. Channels last, the three columns and all channels under a row of the kernel are one contiguous
//! run of 3 · channels floats, in the map as in the weights; so a convolution is three matrix products without im2col.
//! Eight positions × two vectors of filters are summed in registers; where pooling follows, the eight are two windows.
//! The gradient of the input is the same convolution of the output's gradient, with a border of two zeros, with the
//! weights flipped and transposed; that of the weights is a product summed over positions.

use super::block::{Block, maximum};
use crate::engine::cpu::aligned::{carve, carved};
use crate::engine::cpu::kernel::{Backward, Forward};
use crate::engine::cpu::simd::{Simd, Vectorized};

/// Floats of derived weights, for the backward pass.
pub(super) fn derived(block: &Block) -> usize {
    9 * block.channels * block.filters
}

/// Flips and transposes weights (3, 3, channels, filters) to (3, 3, filters, channels).
#[inline(always)]
pub(super) fn prepare<S: Simd>(s: S, block: &Block, weights: &[f32], derived: &mut [f32]) {
    let Block { channels, filters, .. } = *block;
    assert!(weights.len() >= derived.len() && derived.len() == self::derived(block));
    for tap in 0..9 {
        for channel in (0..channels).step_by(S::LANES) {
            for filter in (0..filters).step_by(S::LANES) {
                // SAFETY: squares of channels × filters within one tap, on both sides.
                unsafe {
                    let from = weights.as_ptr().add((tap * channels + channel) * filters + filter);
                    let to = derived.as_mut_ptr().add(((8 - tap) * filters + filter) * channels + channel);
                    s.transpose(from, filters, to, channels);
                }
            }
        }
    }
}

/// A convolution without padding: a map and weights (3, 3, channels, filters).
#[derive(Clone, Copy)]
struct Convolution<'a> {
    map: &'a [f32],
    width: usize,
    channels: usize,
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    filters: usize,
}

/// Where the outputs go.
struct Target<'a> {
    output: &'a mut [f32],
    /// Places of maxima, or empty.
    kept: &'a mut [u8],
    /// Rows and columns of the output.
    rows: usize,
    columns: usize,
}

/// The forward pass.
#[inline(always)]
pub(super) fn forward<S: Simd>(s: S, block: &Block, pass: &mut Forward<'_>) {
    let (rows, columns) = block.output();
    let (kernel, bias) = pass.weights.split_at(9 * block.channels * block.filters);
    for image in 0..pass.images {
        let convolution = Convolution {
            map: &pass.input[image * block.input_len()..][..block.input_len()],
            width: block.width,
            channels: block.channels,
            weights: kernel,
            bias: block.bias.then_some(bias),
            filters: block.filters,
        };
        let at = image * block.output_len()..(image + 1) * block.output_len();
        let kept = if pass.training && block.pooled { &mut pass.kept[at.clone()] } else { &mut [][..] };
        let target = Target { output: &mut pass.output[at], kept, rows, columns };
        if block.pooled {
            convolve::<S, true, true>(s, convolution, target);
        } else {
            convolve::<S, false, true>(s, convolution, target);
        }
    }
}

/// Computes all outputs.
#[inline(always)]
fn convolve<S: Simd, const POOL: bool, const RELU: bool>(s: S, convolution: Convolution<'_>, mut target: Target<'_>) {
    let mut filter = 0;
    while filter < convolution.filters {
        let two = filter + 2 * S::LANES <= convolution.filters;
        match (S::REGISTERS >= 32, two) {
            (true, true) => s.call(Filters::<8, 2, POOL, RELU> { convolution, target: &mut target, filter }),
            (true, false) => s.call(Filters::<8, 1, POOL, RELU> { convolution, target: &mut target, filter }),
            (false, true) => s.call(Filters::<4, 2, POOL, RELU> { convolution, target: &mut target, filter }),
            (false, false) => s.call(Filters::<4, 1, POOL, RELU> { convolution, target: &mut target, filter }),
        }
        filter += if two { 2 } else { 1 } * S::LANES;
    }
}

/// What [`filters`] is called with, as a function of its own.
struct Filters<'r, 'a, const P: usize, const V: usize, const POOL: bool, const RELU: bool> {
    convolution: Convolution<'r>,
    target: &'r mut Target<'a>,
    filter: usize,
}

impl<const P: usize, const V: usize, const POOL: bool, const RELU: bool> Vectorized
    for Filters<'_, '_, P, V, POOL, RELU>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        filters::<S, P, V, POOL, RELU>(s, &self.convolution, self.target, self.filter);
    }
}

/// Computes the outputs of `V` vectors of filters, `P` positions of the convolution at a time. The last time repeats
/// the last output as often as it takes.
#[inline(always)]
fn filters<S: Simd, const P: usize, const V: usize, const POOL: bool, const RELU: bool>(
    s: S,
    convolution: &Convolution<'_>,
    target: &mut Target<'_>,
    filter: usize,
) {
    let (step, corners) = if POOL { (2, 4) } else { (1, 1) };
    let (outputs, columns) = (target.rows * target.columns, target.columns);
    for first in (0..outputs).step_by(P / corners) {
        let mut places = [0; P];
        for (p, place) in places.iter_mut().enumerate() {
            let (output, corner) = ((first + p / corners).min(outputs - 1), p % corners);
            let (row, column) = (output / columns * step + corner / 2, output % columns * step + corner % 2);
            *place = (row * convolution.width + column) * convolution.channels;
        }
        let sums = sums::<S, P, V>(s, convolution, places, filter);
        for o in 0..P / corners {
            let at = (first + o).min(outputs - 1) * convolution.filters + filter;
            for v in 0..V {
                let at = at + v * S::LANES;
                assert!(at + S::LANES <= target.output.len());
                // SAFETY: checked; `kept` is empty or as long as the output.
                unsafe {
                    let to = target.output.as_mut_ptr().add(at);
                    if POOL {
                        let window = [0, 1, 2, 3].map(|corner| sums[(o * corners + corner) % P][v]);
                        let (best, corner) = maximum(s, window, [0.0, 1.0, 2.0, 3.0]);
                        s.store(to, best);
                        if !target.kept.is_empty() {
                            s.store_bytes(target.kept.as_mut_ptr().add(at), corner);
                        }
                    } else if RELU {
                        s.store(to, s.max(s.splat(0.0), sums[o][v]));
                    } else {
                        s.store(to, sums[o][v]);
                    }
                }
            }
        }
    }
}

/// The sums of `P` positions, whose patches start at `places`, and `V` vectors of filters.
#[inline(always)]
fn sums<S: Simd, const P: usize, const V: usize>(
    s: S,
    convolution: &Convolution<'_>,
    places: [usize; P],
    filter: usize,
) -> [[S::V; V]; P] {
    let Convolution { map, width, channels, weights, bias, filters } = *convolution;
    let (run, last) = (3 * channels, places.iter().fold(0, |a, &b| a.max(b)));
    assert!(last + 2 * width * channels + run <= map.len() && weights.len() == 3 * run * filters);
    let mut start = [s.splat(0.0); V];
    if let Some(bias) = bias {
        for (v, start) in start.iter_mut().enumerate() {
            // SAFETY: one bias a filter.
            *start = unsafe { s.load(bias[filter + v * S::LANES..][..S::LANES].as_ptr()) };
        }
    }
    let mut sums = [start; P];
    for row in 0..3 {
        // SAFETY: the last patch ends in the map, the run's weights are there (both checked above).
        unsafe {
            let rows = places.map(|place| map.as_ptr().add(place + row * width * channels));
            let mut weights = weights.as_ptr().add(row * run * filters + filter);
            for k in 0..run {
                let mut columns = [s.splat(0.0); V];
                for v in 0..V {
                    columns[v] = s.load(weights.add(v * S::LANES));
                }
                for p in 0..P {
                    let x = s.splat(*rows[p].add(k));
                    for v in 0..V {
                        sums[p][v] = s.mul_add(x, columns[v], sums[p][v]);
                    }
                }
                weights = weights.wrapping_add(filters);
            }
        }
    }
    sums
}

/// Floats of scratch of the backward pass: the output's gradient of one image with its border.
pub(super) fn scratch(block: &Block) -> usize {
    carved(&[bordered(block)])
}

fn bordered(block: &Block) -> usize {
    (block.height + 2) * (block.width + 2) * block.filters
}

/// The backward pass of convolution + relu; `derived` are the flipped, transposed weights.
#[inline(always)]
pub(super) fn backward<S: Simd>(s: S, block: &Block, derived: &[f32], pass: &mut Backward<'_>) {
    let Block { height, width, channels, filters, .. } = *block;
    let mut rest = std::mem::take(&mut pass.scratch);
    let gradient = carve(&mut rest, bordered(block));
    gradient.fill(0.0);
    let (d_kernel, d_bias) = pass.d_weights.split_at_mut(9 * channels * filters);
    if !pass.accumulate {
        d_bias.fill(0.0);
    }
    for image in 0..pass.images {
        let at = image * block.output_len()..(image + 1) * block.output_len();
        pass_relu(s, block, &pass.output[at.clone()], &pass.d_output[at], gradient, d_bias);
        let map = image * block.input_len()..(image + 1) * block.input_len();
        let fresh = image == 0 && !pass.accumulate;
        if S::REGISTERS >= 32 && filters.is_multiple_of(2 * S::LANES) {
            weights_gradient::<S, 8, 2>(s, block, &pass.input[map.clone()], gradient, d_kernel, fresh);
        } else {
            weights_gradient::<S, 8, 1>(s, block, &pass.input[map.clone()], gradient, d_kernel, fresh);
        }
        if let Some(d_input) = pass.d_input.as_deref_mut() {
            let convolution = Convolution {
                map: gradient,
                width: width + 2,
                channels: filters,
                weights: derived,
                bias: None,
                filters: channels,
            };
            let target = Target { output: &mut d_input[map], kept: &mut [], rows: height, columns: width };
            convolve::<S, false, false>(s, convolution, target);
        }
    }
}

/// The output's gradient behind relu, into the middle of the bordered map; its sums onto the bias's gradient.
#[inline(always)]
fn pass_relu<S: Simd>(s: S, block: &Block, output: &[f32], d_output: &[f32], to: &mut [f32], d_bias: &mut [f32]) {
    let filters = block.filters;
    let (rows, columns) = block.output();
    assert!(output.len() == rows * columns * filters && d_output.len() == output.len());
    assert!(to.len() == bordered(block) && (d_bias.is_empty() || d_bias.len() == filters));
    for filter in (0..filters).step_by(S::LANES) {
        let mut sum = s.splat(0.0);
        for position in 0..rows * columns {
            let (row, column) = (position / columns + 2, position % columns + 2);
            // SAFETY: lengths were checked; the middle of the bordered map begins at (2, 2).
            unsafe {
                let at = position * filters + filter;
                let passed = s.greater(s.load(output.as_ptr().add(at)), s.splat(0.0));
                let d = s.keep(passed, s.load(d_output.as_ptr().add(at)));
                s.store(to.as_mut_ptr().add((row * (block.width + 2) + column) * filters + filter), d);
                sum = s.add(sum, d);
            }
        }
        if !d_bias.is_empty() {
            // SAFETY: one element a filter.
            unsafe {
                let to = d_bias.as_mut_ptr().add(filter);
                s.store(to, s.add(s.load(to), sum));
            }
        }
    }
}

/// One image's share of the weights' gradient, summed in registers for `R` channels and `V` vectors of filters.
#[inline(always)]
fn weights_gradient<S: Simd, const R: usize, const V: usize>(
    s: S,
    block: &Block,
    map: &[f32],
    gradient: &[f32],
    d_kernel: &mut [f32],
    fresh: bool,
) {
    let Block { width, channels, filters, .. } = *block;
    let (rows, columns) = block.output();
    assert!(map.len() == block.input_len() && gradient.len() == bordered(block));
    assert!(d_kernel.len() == 9 * channels * filters && channels.is_multiple_of(R));
    for tap in 0..9 {
        for filter in (0..filters).step_by(V * S::LANES) {
            for channel in (0..channels).step_by(R) {
                let mut sums = [[s.splat(0.0); V]; R];
                for row in 0..rows {
                    // SAFETY: the tap's row and columns are in the map, the middle of the gradient begins at (2, 2).
                    unsafe {
                        let x = map.as_ptr().add(((row + tap / 3) * width + tap % 3) * channels + channel);
                        let d = gradient.as_ptr().add(((row + 2) * (width + 2) + 2) * filters + filter);
                        for column in 0..columns {
                            let mut d_vectors = [s.splat(0.0); V];
                            for v in 0..V {
                                d_vectors[v] = s.load(d.add(column * filters + v * S::LANES));
                            }
                            for r in 0..R {
                                let x = s.splat(*x.add(column * channels + r));
                                for v in 0..V {
                                    sums[r][v] = s.mul_add(x, d_vectors[v], sums[r][v]);
                                }
                            }
                        }
                    }
                }
                for r in 0..R {
                    for v in 0..V {
                        let at = (tap * channels + channel + r) * filters + filter + v * S::LANES;
                        // SAFETY: the tap's channel and filters.
                        unsafe {
                            let to = d_kernel.as_mut_ptr().add(at);
                            s.store(to, if fresh { sums[r][v] } else { s.add(s.load(to), sums[r][v]) });
                        }
                    }
                }
            }
        }
    }
}
