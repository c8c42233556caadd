//! Convolution in groups: each group of filters sees its own group of channels only.
//!
//! The same matrix products as in [`super::conv2d`], a set of them for each group. In forward pass and kernel gradient,
//! and in the gradient of the input where there are no strides, the left factor lies in the map with all its channels,
//! since a row's runs are then single taps of as many values as a group has channels; results go straight to the
//! group's columns. What a product wants in one piece is copied: the group's part of the kernel (once, into the derived
//! floats), and of the output's gradient where its last vector would reach beyond the last filter. Groups that would
//! leave most of a vector empty, and gradients through strides, go the way of [`super::planar`], where a group is some
//! planes.
//!
//! The kernel's gradient takes some rows of the maps at a time, which all groups find in the cache: each takes only
//! a part of every line.
//!
//! A convolution with one channel a group is a depthwise one, whose kernel even has the same layout: [`select`] takes
//! [`super::depthwise_conv2d`] for it. Groups of a few channels with as many filters are little else, but for the order of
//! sums: where that is free, [`super::choose`] does the same.

use super::activate::{activate, activate_backward, add_rows};
use super::depthwise_conv2d::DepthwiseConv2D;
use super::gemm::{A, B, Gemm, Offsets, Start, Widths, gemm};
use super::gemm_pack::Panels;
use super::planar::{self, Factor, Planar};
use super::window::{Border, positions, tap_offsets};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::Level;
use crate::layers::Activation;
use crate::layers::conv2d::Spec;
use crate::layers::depthwise_conv2d;
use crate::shape::Shape;
use Way::{Planes, Windows};

/// Positions that a run of images should have.
const POSITIONS: usize = 256;

/// The kernel of a convolution in groups.
pub fn select(spec: Spec, input: Shape, output: Shape, activation: Activation, level: Level) -> Box<dyn Kernel> {
    if spec.groups != input.channels() {
        return Box::new(GroupedConv2D::new(spec, input, output, activation, level));
    }
    let Spec { vertical, horizontal, use_bias, .. } = spec;
    let depth_multiplier = spec.filters / spec.groups;
    let spec = depthwise_conv2d::Spec { depth_multiplier, vertical, horizontal, activation, use_bias };
    Box::new(DepthwiseConv2D::new(spec, input, output, activation, level))
}

/// A convolution in groups, of a fixed shape.
pub struct GroupedConv2D {
    level: Level,
    /// Of the whole convolution.
    spec: Spec,
    activation: Activation,
    input: Shape,
    output: Shape,
    /// Channels and filters of a group.
    channels: usize,
    filters: usize,
    /// Images that go through together.
    images: usize,
    border: Border,
    /// Where each element of a window lies, of a group's channels.
    elements: Offsets,
    /// Where each output row's first window starts.
    rows: Offsets,
    /// Elements of the whole kernel.
    kernel_len: usize,
    forward: Way,
    input_gradient: Way,
    /// Floats in a vector.
    lanes: usize,
}

/// How a map is made from another, all groups of it.
enum Way {
    /// With positions as columns.
    Planes(Planar),
    /// With filters as columns.
    Windows(Slide),
}

/// Windows that slide over a map within zeros.
struct Slide {
    border: Border,
    groups: usize,
    /// Channels of a group, of the source and of the target.
    channels: [usize; 2],
    windows: Offsets,
    taps: Offsets,
    /// Taps of a window.
    window: usize,
    /// The layout of a group's kernel.
    panels: Panels,
}

/// Floats of maps and gradients that a band of the kernel's gradient may take.
const BAND: usize = 1 << 16;

impl Slide {
    fn new(spec: &Spec, border: Border, target: Shape, [down, right]: [usize; 2], level: Level) -> Slide {
        let window = spec.vertical.window * spec.horizontal.window;
        let channels = [border.channels, target.channels()].map(|all| all / spec.groups);
        let windows = positions(target.height(), target.width(), down * border.row(), right * border.channels);
        Slide {
            border,
            groups: spec.groups,
            channels,
            windows: Offsets::new(windows, border.len()),
            taps: Offsets::new(tap_offsets(spec, border.row(), border.channels), 0),
            window,
            panels: Panels::new(Widths::of(level), window * channels[0], channels[1]),
        }
    }

    /// Overwrites the target of some images.
    fn compute(&self, level: Level, sources: &[f32], factor: (&[f32], Start<'_>, bool), pass: [&mut [f32]; 2]) {
        let [targets, scratch] = pass;
        let ((derived, start, relu), [len, columns]) = (factor, self.channels);
        let (maps, _) = self.border.bordered(sources, scratch);
        for (group, panels) in derived.chunks_exact(self.panels.size()).take(self.groups).enumerate() {
            let a = A {
                data: &maps[group * len..],
                row_offsets: &self.windows,
                rows: targets.len() / (columns * self.groups),
                run_offsets: &self.taps,
                runs: self.window,
                len,
                step: 1,
            };
            let start = if let Start::Bias(bias) = start { Start::Bias(&bias[group * columns..]) } else { start };
            let (b, c) = (B::Panels(panels), &mut targets[group * columns..]);
            gemm(level, Gemm { a, b, c, c_stride: columns * self.groups, columns, start, relu });
        }
    }
}

impl Way {
    fn scratch(&self, images: usize) -> usize {
        match self {
            Planes(planar) => planar.scratch(),
            Windows(slide) => slide.border.scratch(images),
        }
    }

    fn derived(&self) -> usize {
        match self {
            Planes(_) => 0,
            Windows(slide) => slide.groups * slide.panels.size(),
        }
    }
}

impl GroupedConv2D {
    /// The convolution `spec` from maps of shape `input` to maps of shape `output`, with `activation` instead of its
    /// own. Channels and filters are multiples of the groups.
    pub fn new(spec: Spec, input: Shape, output: Shape, activation: Activation, level: Level) -> Self {
        let widths = Widths::of(level);
        let (vertical, horizontal) = (spec.vertical, spec.horizontal);
        let (channels, filters) = (input.channels() / spec.groups, spec.filters / spec.groups);
        let (height, width) = (output.height(), output.width());
        let border = Border::of_input(&spec, input, output);
        let row = border.row();
        let window = vertical.window * horizontal.window;
        let taps = || tap_offsets(&spec, row, input.channels());
        let forward = if planar::pays_forward(widths.lanes, &spec, input) {
            Planes(Planar::outputs(&spec, input, output, level))
        } else {
            Windows(Slide::new(&spec, border, output, [vertical.stride, horizontal.stride], level))
        };
        let strides = vertical.stride * horizontal.stride;
        let input_gradient = if strides > 1 || planar::pays_backward(widths.lanes, &spec, input) {
            Planes(Planar::inputs(&spec, input, output, level))
        } else {
            let border = Border::of_gradient(&spec, input, output);
            Windows(Slide::new(&spec, border, input, [1, 1], level))
        };
        GroupedConv2D {
            level,
            spec,
            activation,
            input,
            output,
            channels,
            filters,
            images: (POSITIONS / (height * width)).max(1),
            border,
            elements: Offsets::new(taps().flat_map(|tap| (0..channels).map(move |c| tap + c)), 0),
            rows: Offsets::every(vertical.stride * row),
            kernel_len: window * channels * spec.filters,
            forward,
            input_gradient,
            lanes: widths.lanes,
        }
    }

    /// Elements of a window over a group's channels.
    fn window(&self) -> usize {
        self.kernel_len / self.spec.filters
    }

    /// A group's part of the gradient: as it lies, if the last vector of the last row stays within it, and else a copy.
    fn gradient_of_group<'a>(&self, group: usize, gradient: &'a [f32], scratch: &'a mut [f32]) -> B<'a> {
        let (first, width) = (group * self.filters, self.filters.next_multiple_of(self.lanes));
        if first + width <= self.spec.filters {
            return B::Rows { data: &gradient[first..], stride: self.spec.filters };
        }
        for (from, to) in gradient.chunks_exact(self.spec.filters).zip(scratch.chunks_exact_mut(width)) {
            to[..self.filters].copy_from_slice(&from[first..first + self.filters]);
            to[self.filters..].fill(0.0);
        }
        B::Rows { data: scratch, stride: width }
    }

    /// Adds to the gradient of the kernel. `maps` have their border.
    fn kernel_gradient(&self, maps: &[f32], gradient: &[f32], d_kernel: &mut [f32], scratch: &mut [f32]) {
        let width = self.output.width();
        let row = width * self.spec.filters;
        let down = self.spec.vertical.stride * self.border.row();
        let band = (BAND / (row + down)).max(1);
        let images = maps.chunks_exact(self.border.len()).zip(gradient.chunks_exact(self.output.len()));
        let bands = images.flat_map(|(map, gradient)| {
            gradient.chunks(band * row).enumerate().map(move |(i, gradient)| (&map[i * band * down..], gradient))
        });
        for (maps, gradient) in bands {
            for group in 0..self.spec.groups {
                let product = Gemm {
                    a: A {
                        data: &maps[group * self.channels..],
                        row_offsets: &self.elements,
                        rows: self.window(),
                        run_offsets: &self.rows,
                        runs: gradient.len() / row,
                        len: width,
                        step: self.spec.horizontal.stride * self.input.channels(),
                    },
                    b: self.gradient_of_group(group, gradient, scratch),
                    c: &mut d_kernel[group * self.filters..],
                    c_stride: self.spec.filters,
                    columns: self.filters,
                    start: Start::C,
                    relu: false,
                };
                gemm(self.level, product);
            }
        }
    }
}

/// Copies `width` columns from `first` on out of rows of `all`.
fn take_columns(from: &[f32], all: usize, first: usize, width: usize, to: &mut [f32]) {
    for (from, to) in from.chunks_exact(all).zip(to.chunks_exact_mut(width)) {
        to.copy_from_slice(&from[first..first + width]);
    }
}

impl Kernel for GroupedConv2D {
    fn scratch(&self, images: usize) -> usize {
        let images = images.min(self.images);
        let positions = images * self.output.height() * self.output.width();
        let weights = self.border.scratch(images) + positions * self.filters.next_multiple_of(self.lanes);
        weights.max(self.forward.scratch(images)).max(self.input_gradient.scratch(images))
    }

    fn derived(&self) -> usize {
        match self.forward.derived() + self.input_gradient.derived() {
            0 => 0,
            // In the end some room to put a group's kernel together.
            panels => panels + self.window() * self.filters,
        }
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        let (forward, derived) = derived.split_at_mut(self.forward.derived());
        let (inputs, own) = derived.split_at_mut(self.input_gradient.derived());
        for group in 0..self.spec.groups {
            if let Windows(slide) = &self.forward {
                take_columns(&weights[..self.kernel_len], self.spec.filters, group * self.filters, self.filters, own);
                slide.panels.pack(own, &mut forward[group * slide.panels.size()..][..slide.panels.size()]);
            }
            if let Windows(slide) = &self.input_gradient {
                take_columns(&weights[..self.kernel_len], self.spec.filters, group * self.filters, self.filters, own);
                let to = &mut inputs[group * slide.panels.size()..][..slide.panels.size()];
                for (t, tap) in own.chunks_exact(self.channels * self.filters).rev().enumerate() {
                    slide.panels.pack_transposed(tap, t * self.filters, self.filters, to);
                }
            }
        }
    }

    fn forward(&self, pass: Forward<'_>) {
        let (kernel, bias) = pass.weights.split_at(self.kernel_len);
        let bias = self.spec.use_bias.then_some(bias);
        let relu = self.activation == Activation::Relu;
        let [input_len, output_len] = [self.input.len(), self.output.len()].map(|len| self.images * len);
        let output = &mut pass.output[..pass.images * self.output.len()];
        for (input, output) in pass.input.chunks(input_len).zip(output.chunks_mut(output_len)) {
            match &self.forward {
                Planes(planar) => planar.compute(Factor { kernel, bias, relu }, input, output, pass.scratch),
                Windows(slide) => {
                    let factor = (pass.derived, bias.map_or(Start::Zero, Start::Bias), relu);
                    let input = &input[..output.len() / self.output.len() * self.input.len()];
                    slide.compute(self.level, input, factor, [output, pass.scratch]);
                }
            }
            if !relu {
                activate(self.level, self.activation, output, self.spec.filters);
            }
        }
    }

    fn backward(&self, mut pass: Backward<'_>) {
        let (input_len, output_len) = (self.input.len(), self.output.len());
        let (level, filters) = (self.level, self.spec.filters);
        if !pass.accumulate {
            pass.d_weights.fill(0.0);
        }
        let (d_kernel, d_bias) = pass.d_weights.split_at_mut(self.kernel_len);
        let factor = Factor { kernel: &pass.weights[..self.kernel_len], bias: None, relu: false };
        let derived = &pass.derived[self.forward.derived()..];
        let all = pass.images * output_len;
        let runs =
            pass.d_output[..all].chunks_mut(self.images * output_len).zip(pass.output.chunks(self.images * output_len));
        for (run, (gradient, output)) in runs.enumerate() {
            activate_backward(level, self.activation, output, gradient, filters);
            if self.spec.use_bias {
                add_rows(level, gradient, d_bias);
            }
            let first = run * self.images * input_len;
            let images = first..first + gradient.len() / output_len * input_len;
            let (maps, scratch) = self.border.bordered(&pass.input[images.clone()], pass.scratch);
            self.kernel_gradient(maps, gradient, d_kernel, scratch);
            if let Some(d_input) = pass.d_input.as_deref_mut() {
                let d_input = &mut d_input[images];
                match &self.input_gradient {
                    Planes(planar) => planar.compute(factor, gradient, d_input, pass.scratch),
                    Windows(slide) => {
                        let factor = (derived, Start::Zero, false);
                        slide.compute(level, gradient, factor, [d_input, pass.scratch]);
                    }
                }
            }
        }
    }
}
