//! Convolutions with a neighbouring positions' values in a vector instead of filters': for few filters, and for groups of few
//! filters, which would leave most of a vector of filters empty.
//!
//! A band of rows is turned from channels last to a plane for each channel, within zeros. With strides, rows and columns
//! are dealt out to as many planes as strides, so that what neighbouring outputs see through one tap always lies side by
//! side. Then outputs are a matrix product with filters as rows and positions, row after row of the band, as columns:
//! the right factor's rows are the planes, each from where a tap looks ([`B::Runs`]). What lies between the end of a row
//! and the start of the next is computed too, and dropped when the results are turned back.
//!
//! The gradient of the input is the same thing: planes of the output's gradient, and the kernel with filters and channels
//! exchanged. With strides, inputs that see other taps are products of their own.
//!
//! Weights are read as they lie: a tap's are rows of `filters` values, and the product takes any steps between rows and
//! between k. The sums are those of [`super::conv2d`] to the bit: factors exchanged, the order of k the same.
//!
//! Turning costs about half a cycle a value and way on AVX-512 ([`super::turn`]), which [`pays`] weighs against lanes
//! that would be empty. Bands keep planes and results in the second-level cache.
//!
//! Found on a Sapphire Rapids core (AVX-512, 8 images, 28×28, 3×3): 32 channels to 1, 2, 3, 4, 8 filters at 40, 57, 73,
//! 88, 108 GFLOP/s, 11, 22, 33, 44, 87 with vectors of filters; the input's gradient of 1 to 4 channels from 32 filters
//! twice to three times as fast. At 12 of 16 filters both ways cost the same. For single filters half the time goes
//! into loads that straddle cache lines, a sixth into turning.

use super::gemm::{A, B, Gemm, Offsets, Start, gemm};
use super::turn::turn;
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::conv2d::Spec;
use crate::shape::{Axis, Shape};

/// Floats of planes and results that a band may take.
const BAND: usize = 1 << 17;
/// Floats behind the planes that the last vector may reach into.
const SLACK: usize = 16;

/// Whether outputs are made faster this way than with vectors of filters.
pub(super) fn pays_forward(lanes: usize, spec: &Spec, input: Shape) -> bool {
    let (channels, filters) = (input.channels() / spec.groups, spec.filters / spec.groups);
    pays(lanes, [taps(spec), channels, filters], channels * strides(spec) + filters)
}

/// The same of inputs' gradients.
pub(super) fn pays_backward(lanes: usize, spec: &Spec, input: Shape) -> bool {
    let (channels, filters) = (input.channels() / spec.groups, spec.filters / spec.groups);
    let strides = strides(spec);
    pays(lanes, [taps(spec).div_ceil(strides), filters, channels], filters.div_ceil(strides) + channels)
}

fn taps(spec: &Spec) -> usize {
    spec.vertical.window * spec.horizontal.window
}

fn strides(spec: &Spec) -> usize {
    spec.vertical.stride * spec.horizontal.stride
}

/// For one position: the taps that it sees, channels and filters of a group, and the values that are turned for it.
fn pays(lanes: usize, [taps, channels, filters]: [usize; 3], turned: usize) -> bool {
    let products = |filters: usize| taps * channels * filters;
    // In halves of a cycle and lane: two multiply-adds a cycle; half a cycle a value to turn it.
    6 * products(filters) / 5 + lanes * turned < products(filters.next_multiple_of(lanes))
}

/// Where the taps of an axis lead, for targets that see the same ones.
struct Phase {
    /// The first target, how many, and from one to the next.
    first: usize,
    count: usize,
    step: usize,
    /// Where the first target looks without a tap's shift, in a plane.
    start: usize,
    /// Number, plane and shift of each tap, in the order of summation.
    taps: Vec<[usize; 3]>,
}

/// How an axis is dealt out.
struct Line {
    /// Sources, and zeros before them.
    inner: usize,
    before: usize,
    /// Planes.
    planes: usize,
    /// Places of a plane, for all targets.
    places: usize,
    /// The most places from a target to those that its taps see.
    reach: usize,
    phases: Vec<Phase>,
}

impl Line {
    /// Outputs from inputs.
    fn outputs(axis: &Axis, input: usize, output: usize) -> Line {
        let taps = (0..axis.window).map(|u| (u, u * axis.dilation));
        let taps = taps.map(|(u, at)| [u, at % axis.stride, at / axis.stride]).collect();
        Line::new(
            [input, axis.pad_before(input), axis.stride],
            vec![Phase { first: 0, count: output, step: 1, start: 0, taps }],
        )
    }

    /// Gradients of inputs from those of outputs.
    fn inputs(axis: &Axis, input: usize, output: usize) -> Line {
        let (pad, stride) = (axis.pad_before(input), axis.stride);
        let before = (axis.window - 1) * axis.dilation / stride;
        let phases = (pad..pad + input.min(stride)).map(|at| Phase {
            first: at - pad,
            count: (pad + input - at).div_ceil(stride),
            step: stride,
            start: at / stride,
            taps: (0..axis.window)
                .rev()
                .filter(|u| u * axis.dilation % stride == at % stride)
                .map(|u| [u, 0, before - u * axis.dilation / stride])
                .collect(),
        });
        Line::new([output, before, 1], phases.collect())
    }

    fn new([inner, before, planes]: [usize; 3], phases: Vec<Phase>) -> Line {
        let reach = |phase: &Phase| phase.start + phase.taps.iter().map(|tap| tap[2]).max().unwrap_or(0);
        let reach = phases.iter().map(reach).max().unwrap_or(0);
        let count = phases.iter().map(|phase| phase.count).max().unwrap_or(0);
        Line { inner, before, planes, places: count + reach, reach, phases }
    }

    /// Whether a plane has places for which there is no source.
    fn zeros(&self) -> bool {
        self.before > 0 || self.places * self.planes > self.inner
    }

    /// The sources that lie in plane `plane` from place `first` on for `count` places: the first place that has one, the
    /// source there, and how many.
    fn inside(&self, plane: usize, first: usize, count: usize) -> [usize; 3] {
        let place = self.before.saturating_sub(plane).div_ceil(self.planes).max(first);
        let source = place * self.planes + plane - self.before;
        let sources = self.inner.saturating_sub(source).div_ceil(self.planes);
        [place, source, sources.min((first + count).saturating_sub(place))]
    }
}

/// Targets that see the same taps.
struct Part {
    /// Indices of the phases of rows and columns.
    phases: [usize; 2],
    /// Where each tap's weights lie.
    weights: Offsets,
    /// Where it looks in the planes.
    planes: Offsets,
    taps: usize,
}

/// A convolution, or the gradient of its input, of a fixed shape.
pub(super) struct Planar {
    level: Level,
    groups: usize,
    /// Channels of the source and of the target, in a group.
    channels: usize,
    filters: usize,
    /// Positions of the target.
    target: [usize; 2],
    lines: [Line; 2],
    parts: Vec<Part>,
    /// In the weights: where each filter's begin, from one channel to the next, from one group to the next.
    rows_of_filters: Offsets,
    to_channel: usize,
    to_group: usize,
    /// Rows of a band.
    rows: usize,
    /// Floats of a plane, and of a filter's results.
    plane: usize,
    results: usize,
}

/// The weights of the layer, and what happens to the sums.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a> {
    /// As Keras has it.
    pub kernel: &'a [f32],
    /// What each filter's sums start from, if not from zero.
    pub bias: Option<&'a [f32]>,
    /// Whether `max(0, x)` is applied in the end. NaN stays NaN.
    pub relu: bool,
}

/// Rounded up to an odd number of cache lines: planes then do not compete for the same places of a cache.
fn odd_lines(len: usize) -> usize {
    (len.div_ceil(16) | 1) * 16
}

impl Planar {
    /// Outputs from inputs.
    pub fn outputs(spec: &Spec, input: Shape, output: Shape, level: Level) -> Planar {
        let lines = [
            Line::outputs(&spec.vertical, input.height(), output.height()),
            Line::outputs(&spec.horizontal, input.width(), output.width()),
        ];
        let (channels, filters) = (input.channels() / spec.groups, spec.filters / spec.groups);
        let steps = [1, spec.filters, filters];
        Planar::new(spec, level, [channels, filters], [output.height(), output.width()], lines, steps)
    }

    /// The gradient of inputs from that of outputs.
    pub fn inputs(spec: &Spec, input: Shape, output: Shape, level: Level) -> Planar {
        let lines = [
            Line::inputs(&spec.vertical, input.height(), output.height()),
            Line::inputs(&spec.horizontal, input.width(), output.width()),
        ];
        let (channels, filters) = (input.channels() / spec.groups, spec.filters / spec.groups);
        let steps = [spec.filters, 1, filters];
        Planar::new(spec, level, [filters, channels], [input.height(), input.width()], lines, steps)
    }

    fn new(
        spec: &Spec,
        level: Level,
        [channels, filters]: [usize; 2],
        target: [usize; 2],
        lines: [Line; 2],
        steps: [usize; 3],
    ) -> Planar {
        let [down, right] = &lines;
        let row = right.places;
        let most = down.phases.iter().map(|phase| phase.count).max().unwrap_or(0);
        let of_row = row * spec.groups * (channels * down.planes * right.planes + filters);
        let rows = (BAND / of_row).clamp(1, most.max(1));
        // Bands of even height.
        let rows = most.div_ceil(most.div_ceil(rows).max(1));
        let plane = odd_lines((rows + down.reach) * row);
        // Weights of a tap.
        let tap = spec.groups * channels * filters;
        let mut parts = Vec::new();
        for (i, vertical) in down.phases.iter().enumerate() {
            for (j, horizontal) in right.phases.iter().enumerate() {
                let taps = || vertical.taps.iter().flat_map(|u| horizontal.taps.iter().map(move |v| (u, v)));
                let window = spec.horizontal.window;
                parts.push(Part {
                    phases: [i, j],
                    weights: Offsets::new(taps().map(|(u, v)| (u[0] * window + v[0]) * tap), 0),
                    planes: Offsets::new(
                        taps().map(|(u, v)| (u[1] * right.planes + v[1]) * plane + u[2] * row + v[2]),
                        0,
                    ),
                    taps: vertical.taps.len() * horizontal.taps.len(),
                });
            }
        }
        let results = odd_lines(rows * row);
        let [to_filter, to_channel, to_group] = steps;
        Planar {
            level,
            groups: spec.groups,
            channels,
            filters,
            target,
            lines,
            parts,
            rows_of_filters: Offsets::every(to_filter),
            to_channel,
            to_group,
            rows,
            plane,
            results,
        }
    }

    /// Floats of all planes.
    fn planes(&self) -> usize {
        self.groups * self.channels * self.lines[0].planes * self.lines[1].planes * self.plane + SLACK
    }

    /// Floats of scratch.
    pub fn scratch(&self) -> usize {
        self.planes() + self.groups * self.filters * self.results
    }

    /// Overwrites the target of some images.
    pub fn compute(&self, factor: Factor<'_>, sources: &[f32], targets: &mut [f32], scratch: &mut [f32]) {
        let (planes, results) = scratch[..self.scratch()].split_at_mut(self.planes());
        let [from, to] = [[self.lines[0].inner, self.lines[1].inner], self.target].map(|map| map[0] * map[1]);
        let (from, to) = (from * self.groups * self.channels, to * self.groups * self.filters);
        let most = self.lines[0].phases.iter().map(|phase| phase.count).max().unwrap_or(0);
        for (source, target) in sources.chunks_exact(from).zip(targets.chunks_exact_mut(to)) {
            for first in (0..most).step_by(self.rows) {
                vectorize(self.level, Spread { planar: self, first, source, planes: &mut *planes });
                for part in &self.parts {
                    self.multiply(part, first, factor, planes, results);
                    vectorize(self.level, Collect { planar: self, part, first, results, target: &mut *target });
                }
            }
        }
    }

    /// Rows of a part in the band from row `first` on, and the width of a part.
    fn size(&self, part: &Part, first: usize) -> [usize; 2] {
        let [vertical, horizontal] = [0, 1].map(|axis| &self.lines[axis].phases[part.phases[axis]]);
        [vertical.count.saturating_sub(first).min(self.rows), horizontal.count]
    }

    /// The products of a part in a band.
    fn multiply(&self, part: &Part, first: usize, factor: Factor<'_>, planes: &[f32], results: &mut [f32]) {
        let Factor { kernel, bias, relu } = factor;
        let [height, width] = self.size(part, first);
        if height == 0 {
            return;
        }
        let [vertical, horizontal] = [0, 1].map(|axis| &self.lines[axis].phases[part.phases[axis]]);
        let row = self.lines[1].places;
        let of_channel = self.lines[0].planes * self.lines[1].planes * self.plane;
        let columns = (height - 1) * row + width;
        for group in 0..self.groups {
            let results = &mut results[group * self.filters * self.results..][..self.filters * self.results];
            if let Some(bias) = bias {
                let bias = &bias[group * self.filters..];
                results.chunks_exact_mut(self.results).zip(bias).for_each(|(row, bias)| row[..columns].fill(*bias));
            }
            let a = A {
                data: &kernel[group * self.to_group..],
                row_offsets: &self.rows_of_filters,
                rows: self.filters,
                run_offsets: &part.weights,
                runs: part.taps,
                len: self.channels,
                step: self.to_channel,
            };
            let from = group * self.channels * of_channel + vertical.start * row + horizontal.start;
            let b = B::Runs { data: &planes[from..], offsets: &part.planes, stride: of_channel };
            let start = if bias.is_some() { Start::C } else { Start::Zero };
            gemm(self.level, Gemm { a, b, c: results, c_stride: self.results, columns, start, relu });
        }
    }
}

/// Fills the planes of a band.
struct Spread<'a> {
    planar: &'a Planar,
    /// The band's first row.
    first: usize,
    source: &'a [f32],
    planes: &'a mut [f32],
}

impl Vectorized for Spread<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Spread { planar, first, source, planes } = self;
        let [down, right] = &planar.lines;
        let (all, row) = (planar.groups * planar.channels, right.places);
        let of_channel = down.planes * right.planes * planar.plane;
        let rows = planar.rows + down.reach;
        if down.zeros() || right.zeros() {
            planes.fill(0.0);
        }
        for u in 0..down.planes {
            let [top, y, inside] = down.inside(u, first, rows);
            for v in 0..right.planes {
                let [left, x, count] = right.inside(v, 0, row);
                let at = (u * right.planes + v) * planar.plane;
                for i in 0..inside {
                    let from = &source[((y + i * down.planes) * right.inner + x.min(right.inner)) * all..];
                    let to = &mut planes[at + (top - first + i) * row + left.min(row)..];
                    turn(s, from, right.planes * all, [count, all], to, of_channel);
                }
            }
        }
    }
}

/// Writes the results of a part in a band to where they belong.
struct Collect<'a> {
    planar: &'a Planar,
    part: &'a Part,
    first: usize,
    results: &'a [f32],
    target: &'a mut [f32],
}

impl Vectorized for Collect<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Collect { planar, part, first, results, target } = self;
        let [vertical, horizontal] = [0, 1].map(|axis| &planar.lines[axis].phases[part.phases[axis]]);
        let all = planar.groups * planar.filters;
        let [height, width] = planar.size(part, first);
        for i in 0..height {
            let y = vertical.first + (first + i) * vertical.step;
            let to = &mut target[(y * planar.target[1] + horizontal.first) * all..];
            let from = &results[i * planar.lines[1].places..];
            turn(s, from, planar.results, [all, width], to, horizontal.step * all);
        }
    }
}
