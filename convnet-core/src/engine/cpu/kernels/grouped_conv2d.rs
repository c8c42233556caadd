//! Convolution in groups: each group of filters sees its own group of channels only.
//!
//! The same matrix products as in [`super::conv2d`], a set of them for each group. In forward pass and kernel gradient
//! the left factor lies in the map with all its channels, since a row's runs are then single taps of as many values as
//! a group has channels; results go straight to the group's columns. What a product wants in one piece is copied: the
//! group's part of the kernel (once, into the derived floats) and of the output's gradient. The gradient of the input
//! is [`super::conv2d_input`]'s for a group's own small maps, from which it is copied to its channels.
//!
//! A convolution with one channel a group is a depthwise one, whose kernel even has the same layout:
//! [`select`] takes [`super::depthwise_conv2d`] for it.

use super::activate::{activate, activate_backward, add_rows};
use super::conv2d_input::InputGradient;
use super::depthwise_conv2d::DepthwiseConv2D;
use super::gemm::{A, B, Gemm, Offsets, Start, Widths, gemm};
use super::gemm_pack::{Panels, Rows};
use super::window::{Border, positions, tap_offsets};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::Level;
use crate::layers::Activation;
use crate::layers::conv2d::Spec;
use crate::layers::depthwise_conv2d;
use crate::shape::Shape;

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
    /// Where each position's window starts.
    windows: Offsets,
    /// Where each tap of a window lies.
    taps: Offsets,
    /// Where each element of a window lies, of a group's channels.
    elements: Offsets,
    /// Where each output row's first window starts.
    rows: Offsets,
    /// Elements of the whole kernel.
    kernel_len: usize,
    /// The layout of a group's kernel.
    panels: Panels,
    gradient_rows: Rows,
    /// For a group.
    input_gradient: InputGradient,
}

impl GroupedConv2D {
    /// The convolution `spec` from maps of shape `input` to maps of shape `output`, with `activation` instead of its
    /// own. Channels and filters are multiples of the groups.
    pub fn new(spec: Spec, input: Shape, output: Shape, activation: Activation, level: Level) -> Self {
        let widths = Widths::of(level);
        let (vertical, horizontal) = (spec.vertical, spec.horizontal);
        let (channels, filters) = (input.channels() / spec.groups, spec.filters / spec.groups);
        let (height, width) = (output.height(), output.width());
        let border = Border {
            inner: [input.height(), input.width()],
            outer: [
                (height - 1) * vertical.stride + vertical.reach(),
                (width - 1) * horizontal.stride + horizontal.reach(),
            ],
            before: [vertical.pad_before(input.height()), horizontal.pad_before(input.width())],
            channels: input.channels(),
        };
        let (row, len) = (border.row(), border.len());
        let (down, right) = (vertical.stride * row, horizontal.stride * input.channels());
        let window = vertical.window * horizontal.window * channels;
        let taps = || tap_offsets(&spec, row, input.channels());
        let group = Spec { filters, groups: 1, ..spec };
        let [small_input, small_output] =
            [(input, channels), (output, filters)].map(|(map, depth)| Shape::map(map.height(), map.width(), depth));
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
            windows: Offsets::new(positions(height, width, down, right), len),
            taps: Offsets::new(taps(), 0),
            elements: Offsets::new(taps().flat_map(|tap| (0..channels).map(move |c| tap + c)), 0),
            rows: Offsets::new((0..height).map(|i| i * down), len),
            kernel_len: window * spec.filters,
            panels: Panels::new(widths, window, filters),
            gradient_rows: Rows::new(widths, filters),
            input_gradient: InputGradient::new(&group, small_input, small_output, level),
        }
    }

    /// Elements of a window over a group's channels.
    fn window(&self) -> usize {
        self.kernel_len / self.spec.filters
    }

    /// Derived floats of a group.
    fn derived_of_group(&self) -> usize {
        self.panels.size() + self.input_gradient.derived()
    }

    /// The gradient of a group's part of the kernel. `maps` have their border; `gradient` is the group's own.
    fn kernel_gradient(&self, group: usize, maps: &[f32], gradient: &[f32], d_kernel: &mut [f32], scratch: &mut [f32]) {
        let width = self.output.width();
        let product = Gemm {
            a: A {
                data: &maps[group * self.channels..],
                row_offsets: &self.elements,
                rows: self.window(),
                run_offsets: &self.rows,
                runs: gradient.len() / (width * self.filters),
                len: width,
                step: self.spec.horizontal.stride * self.input.channels(),
            },
            b: self.gradient_rows.factor(gradient, scratch),
            c: &mut d_kernel[group * self.filters..],
            c_stride: self.spec.filters,
            columns: self.filters,
            start: Start::C,
            relu: false,
        };
        gemm(self.level, product);
    }
}

/// Copies `width` columns from `first` on out of rows of `all`.
fn take_columns(from: &[f32], all: usize, first: usize, width: usize, to: &mut [f32]) {
    for (from, to) in from.chunks_exact(all).zip(to.chunks_exact_mut(width)) {
        to.copy_from_slice(&from[first..first + width]);
    }
}

/// Copies rows of `width` to the columns from `first` on of rows of `all`.
fn put_columns(from: &[f32], width: usize, to: &mut [f32], all: usize, first: usize) {
    for (from, to) in from.chunks_exact(width).zip(to.chunks_exact_mut(all)) {
        to[first..first + width].copy_from_slice(from);
    }
}

impl Kernel for GroupedConv2D {
    fn scratch(&self, images: usize) -> usize {
        let images = images.min(self.images);
        let positions = images * self.output.height() * self.output.width();
        let d_input = images * self.input.height() * self.input.width() * self.channels;
        let after = self.gradient_rows.scratch(positions).max(d_input + self.input_gradient.scratch(images));
        self.border.scratch(images) + positions * self.filters + after
    }

    fn derived(&self) -> usize {
        // In the end some room to put a group's kernel together.
        self.spec.groups * self.derived_of_group() + self.window() * self.filters
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        let (groups, kernel) = derived.split_at_mut(self.spec.groups * self.derived_of_group());
        for (group, derived) in groups.chunks_exact_mut(self.derived_of_group()).enumerate() {
            take_columns(&weights[..self.kernel_len], self.spec.filters, group * self.filters, self.filters, kernel);
            let (forward, input) = derived.split_at_mut(self.panels.size());
            self.panels.pack(kernel, forward);
            self.input_gradient.prepare(kernel, input);
        }
    }

    fn forward(&self, pass: Forward<'_>) {
        let bias = &pass.weights[self.kernel_len..];
        let relu = self.activation == Activation::Relu;
        let (input_len, output_len, filters) = (self.input.len(), self.output.len(), self.filters);
        let runs = pass.input[..pass.images * input_len].chunks(self.images * input_len);
        for (input, output) in runs.zip(pass.output.chunks_mut(self.images * output_len)) {
            let (maps, _) = self.border.bordered(input, pass.scratch);
            let output = &mut output[..input.len() / input_len * output_len];
            for (group, derived) in
                pass.derived.chunks_exact(self.derived_of_group()).take(self.spec.groups).enumerate()
            {
                let a = A {
                    data: &maps[group * self.channels..],
                    row_offsets: &self.windows,
                    rows: output.len() / self.spec.filters,
                    run_offsets: &self.taps,
                    runs: self.spec.vertical.window * self.spec.horizontal.window,
                    len: self.channels,
                    step: 1,
                };
                let b = B::Panels(&derived[..self.panels.size()]);
                let start = if self.spec.use_bias { Start::Bias(&bias[group * filters..]) } else { Start::Zero };
                let c = &mut output[group * filters..];
                gemm(self.level, Gemm { a, b, c, c_stride: self.spec.filters, columns: filters, start, relu });
            }
            if !relu {
                activate(self.level, self.activation, output, self.spec.filters);
            }
        }
    }

    fn backward(&self, mut pass: Backward<'_>) {
        let (input_len, output_len) = (self.input.len(), self.output.len());
        let gradients = &mut pass.d_output[..pass.images * output_len];
        activate_backward(self.level, self.activation, pass.output, gradients, self.spec.filters);
        if !pass.accumulate {
            pass.d_weights.fill(0.0);
        }
        let (d_kernel, d_bias) = pass.d_weights.split_at_mut(self.kernel_len);
        if self.spec.use_bias {
            add_rows(self.level, gradients, d_bias);
        }
        let inputs = pass.input[..pass.images * input_len].chunks(self.images * input_len);
        for (run, (input, gradients)) in inputs.zip(gradients.chunks(self.images * output_len)).enumerate() {
            let first = run * self.images * input_len;
            let mut d_input = pass.d_input.as_deref_mut().map(|d_input| &mut d_input[first..first + input.len()]);
            let (own, scratch) = pass.scratch.split_at_mut(gradients.len() / self.spec.groups);
            let (maps, scratch) = self.border.bordered(input, scratch);
            for (group, derived) in
                pass.derived.chunks_exact(self.derived_of_group()).take(self.spec.groups).enumerate()
            {
                take_columns(gradients, self.spec.filters, group * self.filters, self.filters, own);
                self.kernel_gradient(group, maps, own, d_kernel, scratch);
                let Some(d_input) = d_input.as_deref_mut() else { continue };
                let (d_own, scratch) = scratch.split_at_mut(input.len() / self.spec.groups);
                self.input_gradient.compute(own, &derived[self.panels.size()..], d_own, scratch);
                put_columns(d_own, self.channels, d_input, self.input.channels(), group * self.channels);
            }
        }
    }
}
