//! Convolution as a matrix product, for every setting: any kernel, strides, dilation, padding.
//!
//! Channels last, the taps of a kernel's row are one contiguous run of the image (one run a tap, if dilated), so the
//! windows of all positions are the rows of a matrix that already lies in memory: nothing is unrolled. `same` padding
//! works on a copy of the image within zeros. Three products do all the work:
//!
//! - forward: positions × taps, times the kernel;
//! - gradient of the kernel: the same matrix transposed, times the gradient of the output;
//! - gradient of the input ([`super::conv2d_input`]).
//!
//! Images go through in groups whose positions fill the product's tiles, 3×3 maps included. Every sum runs over a
//! fixed order of its own image's values, so no result depends on how images are grouped; the kernel's gradient adds
//! position after position, image after image, to what it starts from.

use super::activate::{activate, activate_backward, add_rows};
use super::conv2d_input::InputGradient;
use super::gemm::{A, B, Gemm, Offsets, Start, Widths, gemm};
use super::gemm_pack::{Panels, Rows};
use super::window::{Border, Taps, positions, tap_offsets};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::Level;
use crate::layers::Activation;
use crate::layers::conv2d::Spec;
use crate::shape::Shape;

/// Positions that a group of images should have.
const POSITIONS: usize = 256;

/// A convolution of a fixed shape.
pub struct Conv2D {
    level: Level,
    spec: Spec,
    activation: Activation,
    input_len: usize,
    /// Height, width, filters.
    output: [usize; 3],
    /// Images in a group.
    group: usize,
    image: Border,
    /// Where each position's window starts.
    windows: Offsets,
    taps: Taps,
    /// Where each element of a window lies.
    elements: Offsets,
    /// Where each output row's first window starts.
    rows: Offsets,
    kernel_len: usize,
    /// The kernel's layout.
    panels: Panels,
    gradient_rows: Rows,
    input_gradient: InputGradient,
}

impl Conv2D {
    /// The convolution `spec` from maps of shape `input` to maps of shape `output`, with `activation` instead of its
    /// own.
    pub fn new(spec: Spec, input: Shape, output: Shape, activation: Activation, level: Level) -> Self {
        let widths = Widths::of(level);
        let (vertical, horizontal, filters) = (spec.vertical, spec.horizontal, spec.filters);
        let channels = input.channels();
        let (height, width) = (output.height(), output.width());
        let image = Border {
            inner: [input.height(), input.width()],
            outer: [
                (height - 1) * vertical.stride + vertical.reach(),
                (width - 1) * horizontal.stride + horizontal.reach(),
            ],
            before: [vertical.pad_before(input.height()), horizontal.pad_before(input.width())],
            channels,
        };
        let (row, len) = (image.row(), image.len());
        let (down, right) = (vertical.stride * row, horizontal.stride * channels);
        let window = vertical.window * horizontal.window * channels;
        let elements = tap_offsets(&spec, row, channels).flat_map(|tap| (0..channels).map(move |c| tap + c));
        Conv2D {
            level,
            spec,
            activation,
            input_len: input.len(),
            output: [height, width, filters],
            group: (POSITIONS / (height * width)).max(1),
            image,
            windows: Offsets::new(positions(height, width, down, right), len),
            taps: Taps::new(&spec, row, channels),
            elements: Offsets::new(elements, 0),
            rows: Offsets::new((0..height).map(|i| i * down), len),
            kernel_len: window * filters,
            panels: Panels::new(widths, window, filters),
            gradient_rows: Rows::new(widths, filters),
            input_gradient: InputGradient::new(&spec, input, output, level),
        }
    }

    fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    /// The gradient of kernel and bias, given that of the output before the activation.
    fn weight_gradient(&self, input: &[f32], gradient: &[f32], d_weights: &mut [f32], scratch: &mut [f32]) {
        let [height, width, filters] = self.output;
        let (d_kernel, d_bias) = d_weights.split_at_mut(self.kernel_len);
        let images = input.chunks(self.group * self.input_len);
        for (input, gradient) in images.zip(gradient.chunks(self.group * self.output_len())) {
            let (maps, scratch) = self.image.bordered(input, scratch);
            let b = self.gradient_rows.factor(gradient, scratch);
            let product = Gemm {
                a: A {
                    data: maps,
                    row_offsets: &self.elements,
                    rows: self.kernel_len / filters,
                    run_offsets: &self.rows,
                    runs: input.len() / self.input_len * height,
                    len: width,
                    step: self.spec.horizontal.stride * self.image.channels,
                },
                b,
                c: d_kernel,
                c_stride: filters,
                columns: filters,
                start: Start::C,
                relu: false,
            };
            gemm(self.level, product);
            if self.spec.use_bias {
                add_rows(self.level, gradient, d_bias);
            }
        }
    }
}

impl Kernel for Conv2D {
    fn scratch(&self, images: usize) -> usize {
        let group = images.min(self.group);
        let weights = self.image.scratch(group) + self.gradient_rows.scratch(group * self.output[0] * self.output[1]);
        weights.max(self.input_gradient.scratch(group))
    }

    fn derived(&self) -> usize {
        self.panels.size() + self.input_gradient.derived()
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        let (forward, input) = derived.split_at_mut(self.panels.size());
        self.panels.pack(&weights[..self.kernel_len], forward);
        self.input_gradient.prepare(&weights[..self.kernel_len], input);
    }

    fn forward(&self, pass: Forward<'_>) {
        let [height, width, filters] = self.output;
        let bias = &pass.weights[self.kernel_len..];
        let b = B::Panels(&pass.derived[..self.panels.size()]);
        let start = if self.spec.use_bias { Start::Bias(bias) } else { Start::Zero };
        let groups = pass.input[..pass.images * self.input_len].chunks(self.group * self.input_len);
        for (input, output) in groups.zip(pass.output.chunks_mut(self.group * self.output_len())) {
            let (maps, _) = self.image.bordered(input, pass.scratch);
            let a = A {
                data: maps,
                row_offsets: &self.windows,
                rows: input.len() / self.input_len * height * width,
                run_offsets: &self.taps.offsets,
                runs: self.taps.runs,
                len: self.taps.len,
                step: 1,
            };
            let relu = self.activation == Activation::Relu;
            gemm(self.level, Gemm { a, b, c: output, c_stride: filters, columns: filters, start, relu });
            if !relu {
                activate(self.level, self.activation, &mut output[..a.rows * filters], filters);
            }
        }
    }

    fn backward(&self, pass: Backward<'_>) {
        let filters = self.output[2];
        let gradient = &mut pass.d_output[..pass.images * self.output_len()];
        activate_backward(self.level, self.activation, pass.output, gradient, filters);
        if !pass.accumulate {
            pass.d_weights.fill(0.0);
        }
        let input = &pass.input[..pass.images * self.input_len];
        self.weight_gradient(input, gradient, pass.d_weights, pass.scratch);
        let Some(d_input) = pass.d_input else { return };
        let derived = &pass.derived[self.panels.size()..];
        let groups = d_input[..pass.images * self.input_len].chunks_mut(self.group * self.input_len);
        for (d_input, gradient) in groups.zip(gradient.chunks(self.group * self.output_len())) {
            self.input_gradient.compute(gradient, derived, d_input, pass.scratch);
        }
    }
}
