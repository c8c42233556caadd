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
//! Where windows are single positions without strides, each position goes through as an image of its own: nothing but
//! the product's tiles then says how many belong together.
//!
//! Few filters would leave lanes of a vector empty. The kernel's gradient then has them as rows and taps as columns, if
//! those fill vectors; for the forward pass see [`super::planar`] and, where sums need not keep the kernel's order,
//! [`super::window_dots`].
//!
//! Images go through in groups whose positions fill the product's tiles, 3×3 maps included. Every sum runs over a
//! fixed order of its own image's values, so no result depends on how images are grouped; the kernel's gradient adds
//! position after position, image after image, to what it starts from.

use super::activate::{activate, activate_backward, add_rows};
use super::conv2d_input::InputGradient;
use super::gemm::{A, B, Gemm, Offsets, Start, Widths, gemm};
use super::gemm_pack::{Panels, Rows};
use super::planar::{self, Factor, Planar};
use super::window::{Border, Taps, positions, tap_offsets};
use super::window_dots::WindowDots;
use crate::engine::cpu::kernel::{Backward, Forward, ForwardPart, Kernel, Part};
use crate::engine::cpu::simd::Level;
use crate::layers::Activation;
use crate::layers::conv2d::Spec;
use crate::shape::{Axis, Shape};

/// Positions that a group of images should have.
const POSITIONS: usize = 256;

/// Single positions that go through together: a multiple of the heights of all tiles.
const TILES: usize = 252;

/// Single positions of which threads take a multiple each: the height of the highest tiles, as few parts of tiles are left.
const ROWS: usize = 12;

/// A convolution of a fixed shape.
pub struct Conv2D {
    level: Level,
    spec: Spec,
    activation: Activation,
    /// Of images as they are counted here.
    input_len: usize,
    /// How many of those an image is: see above.
    split: usize,
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
    /// The filters of a position, and where each row of the output's gradient starts.
    filters: Offsets,
    rows_of_gradient: Offsets,
    kernel_len: usize,
    /// The kernel's layout.
    panels: Panels,
    few: Option<Few>,
    gradient_rows: Rows,
    /// Whether the kernel's gradient has filters as rows.
    across: bool,
    input_gradient: InputGradient,
}

/// The forward pass of few filters.
enum Few {
    Planes(Planar),
    Dots(WindowDots),
}

impl Few {
    fn new(spec: &Spec, input: Shape, output: Shape, level: Level, sums: Sums) -> Option<Few> {
        let dots = || WindowDots::outputs(spec, input, output, level).map(Few::Dots);
        let planes = planar::pays_forward(Widths::of(level).lanes, spec, input);
        let planes = || planes.then(|| Few::Planes(Planar::outputs(spec, input, output, level)));
        if sums == Sums::InAnyOrder { dots().or_else(planes) } else { planes() }
    }

    fn scratch(&self) -> usize {
        match self {
            Few::Planes(planar) => planar.scratch(),
            Few::Dots(dots) => dots.scratch(),
        }
    }

    fn derived(&self) -> usize {
        match self {
            Few::Planes(_) => 0,
            Few::Dots(dots) => dots.derived(),
        }
    }
}

/// The order of sums.
#[derive(Clone, Copy, PartialEq)]
enum Sums {
    /// The kernel's.
    InOrder,
    InAnyOrder,
}

impl Conv2D {
    /// The convolution `spec` from maps of shape `input` to maps of shape `output`, with `activation` instead of its
    /// own.
    pub fn new(spec: Spec, input: Shape, output: Shape, activation: Activation, level: Level) -> Self {
        Conv2D::with_sums(spec, input, output, activation, level, Sums::InOrder)
    }

    /// The same with sums in another order than the kernel's, where that is faster.
    pub fn in_any_order(spec: Spec, input: Shape, output: Shape, activation: Activation, level: Level) -> Option<Self> {
        let convolution = Conv2D::with_sums(spec, input, output, activation, level, Sums::InAnyOrder);
        let faster = matches!(convolution.few, Some(Few::Dots(_))) || convolution.input_gradient.reorders();
        faster.then_some(convolution)
    }

    fn with_sums(spec: Spec, input: Shape, output: Shape, activation: Activation, level: Level, sums: Sums) -> Self {
        let widths = Widths::of(level);
        let single = |axis: Axis| axis.window == 1 && axis.stride == 1;
        let (split, input, output) = if single(spec.vertical) && single(spec.horizontal) {
            let one = |map: Shape| Shape::map(1, 1, map.channels());
            (input.height() * input.width(), one(input), one(output))
        } else {
            (1, input, output)
        };
        let few = Few::new(&spec, input, output, level, sums);
        let (vertical, horizontal, filters) = (spec.vertical, spec.horizontal, spec.filters);
        let channels = input.channels();
        let (height, width) = (output.height(), output.width());
        let image = Border::of_input(&spec, input, output);
        let (row, len) = (image.row(), image.len());
        let (down, right) = (vertical.stride * row, horizontal.stride * channels);
        let window = vertical.window * horizontal.window * channels;
        let taps = Taps::new(&spec, row, channels);
        let elements = tap_offsets(&spec, row, channels).flat_map(|tap| (0..channels).map(move |c| tap + c));
        Conv2D {
            level,
            spec,
            activation,
            input_len: input.len(),
            split,
            output: [height, width, filters],
            group: if split > 1 { TILES } else { (POSITIONS / (height * width)).max(1) },
            image,
            windows: Offsets::new(positions(height, width, down, right), len),
            across: filters < widths.lanes && taps.len.is_multiple_of(widths.lanes),
            taps,
            elements: Offsets::new(elements, 0),
            rows: Offsets::new((0..height).map(|i| i * down), len),
            filters: Offsets::every(1),
            rows_of_gradient: Offsets::every(width * filters),
            kernel_len: window * filters,
            panels: if few.is_some() { Panels::new(widths, 0, 0) } else { Panels::new(widths, window, filters) },
            few,
            gradient_rows: Rows::new(widths, filters),
            input_gradient: match sums {
                Sums::InOrder => InputGradient::new(&spec, input, output, level),
                Sums::InAnyOrder => InputGradient::in_any_order(&spec, input, output, level),
            },
        }
    }

    /// Floats derived from the kernel for the forward pass.
    fn derived_forward(&self) -> usize {
        self.few.as_ref().map_or(self.panels.size(), Few::derived)
    }

    fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    /// The outputs of as many positions as `output` has room for, the first of which has its window at the start of `maps`.
    fn outputs(&self, maps: &[f32], weights: &[f32], derived: &[f32], output: &mut [f32]) {
        let filters = self.output[2];
        let a = A {
            data: maps,
            row_offsets: &self.windows,
            rows: output.len() / filters,
            run_offsets: &self.taps.offsets,
            runs: self.taps.runs,
            len: self.taps.len,
            step: 1,
        };
        let b = B::Panels(&derived[..self.panels.size()]);
        let start = if self.spec.use_bias { Start::Bias(&weights[self.kernel_len..]) } else { Start::Zero };
        let relu = self.activation == Activation::Relu;
        gemm(self.level, Gemm { a, b, c: output, c_stride: filters, columns: filters, start, relu });
        if !relu {
            activate(self.level, self.activation, output, filters);
        }
    }

    /// How many rows of outputs a group's gradient has, and their length. Single positions are one row, not one each.
    fn runs(&self, gradient: &[f32]) -> (usize, usize) {
        let [_, width, filters] = self.output;
        let positions = gradient.len() / filters;
        if self.split > 1 { (1, positions) } else { (positions / width, width) }
    }

    /// Adds to the gradient of kernel and bias, for the images of a group, given that of the output before the
    /// activation.
    fn weight_gradient(&self, input: &[f32], gradient: &[f32], d_weights: &mut [f32], scratch: &mut [f32]) {
        let filters = self.output[2];
        let (d_kernel, d_bias) = d_weights.split_at_mut(self.kernel_len);
        let (maps, scratch) = self.image.bordered(input, scratch);
        if self.across {
            self.weight_gradient_across(maps, gradient, d_kernel, scratch);
            if self.spec.use_bias {
                add_rows(self.level, gradient, d_bias);
            }
            return;
        }
        let (runs, len) = self.runs(gradient);
        let b = self.gradient_rows.factor(gradient, scratch);
        let product = Gemm {
            a: A {
                data: maps,
                row_offsets: &self.elements,
                rows: self.kernel_len / filters,
                run_offsets: &self.rows,
                runs,
                len,
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

impl Conv2D {
    /// Adds to the gradient of the kernel, with filters as rows: the sums are the same.
    fn weight_gradient_across(&self, maps: &[f32], gradient: &[f32], d_kernel: &mut [f32], scratch: &mut [f32]) {
        let filters = self.output[2];
        let row = self.kernel_len / filters;
        let turned = &mut scratch[..self.kernel_len];
        for (k, values) in d_kernel.chunks_exact(filters).enumerate() {
            values.iter().enumerate().for_each(|(f, value)| turned[f * row + k] = *value);
        }
        let (runs, len) = self.runs(gradient);
        for run in 0..self.taps.runs {
            let product = Gemm {
                a: A {
                    data: gradient,
                    row_offsets: &self.filters,
                    rows: filters,
                    run_offsets: &self.rows_of_gradient,
                    runs,
                    len,
                    step: filters,
                },
                b: B::Runs {
                    data: &maps[self.taps.offsets.at(run)..],
                    offsets: &self.rows,
                    stride: self.spec.horizontal.stride * self.image.channels,
                },
                c: &mut turned[run * self.taps.len..],
                c_stride: row,
                columns: self.taps.len,
                start: Start::C,
                relu: false,
            };
            gemm(self.level, product);
        }
        for (k, values) in d_kernel.chunks_exact_mut(filters).enumerate() {
            values.iter_mut().enumerate().for_each(|(f, value)| *value = turned[f * row + k]);
        }
    }
}

impl Kernel for Conv2D {
    fn scratch(&self, images: usize) -> usize {
        let group = (images * self.split).min(self.group);
        let turned = if self.across { self.kernel_len } else { 0 };
        let weights =
            turned + self.image.scratch(group) + self.gradient_rows.scratch(group * self.output[0] * self.output[1]);
        let few = self.few.as_ref().map_or(0, Few::scratch);
        weights.max(self.input_gradient.scratch(group)).max(few)
    }

    fn derived(&self) -> usize {
        self.derived_forward() + self.input_gradient.derived()
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        let (forward, input) = derived.split_at_mut(self.derived_forward());
        match &self.few {
            None => self.panels.pack(&weights[..self.kernel_len], forward),
            Some(Few::Planes(_)) => {}
            Some(Few::Dots(dots)) => dots.prepare(&weights[..self.kernel_len], forward),
        }
        self.input_gradient.prepare(&weights[..self.kernel_len], input);
    }

    fn forward(&self, pass: Forward<'_>) {
        let [height, width, filters] = self.output;
        if let Some(few) = &self.few {
            let (kernel, bias) = pass.weights.split_at(self.kernel_len);
            let (relu, bias) = (self.activation == Activation::Relu, self.spec.use_bias.then_some(bias));
            let output = &mut pass.output[..pass.images * self.split * self.output_len()];
            match few {
                Few::Planes(planar) => planar.compute(Factor { kernel, bias, relu }, pass.input, output, pass.scratch),
                Few::Dots(dots) => dots.compute(pass.derived, (bias, relu), pass.input, output, pass.scratch),
            }
            if !relu {
                activate(self.level, self.activation, output, filters);
            }
            return;
        }
        let groups = pass.input[..pass.images * self.split * self.input_len].chunks(self.group * self.input_len);
        for (input, output) in groups.zip(pass.output.chunks_mut(self.group * self.output_len())) {
            let (maps, _) = self.image.bordered(input, pass.scratch);
            let positions = input.len() / self.input_len * height * width;
            self.outputs(maps, pass.weights, pass.derived, &mut output[..positions * filters]);
        }
    }

    fn parts(&self, outputs: usize, most: usize) -> usize {
        let places = if self.split > 1 { self.split.div_ceil(ROWS) } else { self.output[0] };
        let operations = 2 * self.kernel_len / self.output[2] * outputs;
        if self.few.is_some() { 1 } else { Part::worth(operations, places, most) }
    }

    unsafe fn forward_part(&self, pass: ForwardPart<'_>) {
        let [height, width, filters] = self.output;
        if self.split > 1 {
            let positions = pass.part.share(self.split, ROWS);
            // SAFETY: shares do not overlap; the rest is the caller's promise.
            let output = unsafe { pass.output.part(positions.start * filters..positions.end * filters) };
            let input = &pass.input[positions.start * self.input_len..positions.end * self.input_len];
            return self.outputs(input, pass.weights, pass.derived, output);
        }
        let rows = pass.part.share(height, 1);
        // SAFETY: as above.
        let output = unsafe { pass.output.part(rows.start * width * filters..rows.end * width * filters) };
        // With a border each part copies the whole map, little beside the product that makes it worth to be a part.
        let (map, _) = self.image.bordered(pass.input, pass.scratch);
        self.outputs(&map[self.rows.at(rows.start)..], pass.weights, pass.derived, output);
    }

    /// Group by group, so that a gradient is still in the cache when the next product wants it.
    fn backward(&self, mut pass: Backward<'_>) {
        let filters = self.output[2];
        if !pass.accumulate {
            pass.d_weights.fill(0.0);
        }
        let weights = [&pass.weights[..self.kernel_len], &pass.derived[self.derived_forward()..]];
        let [inputs, outputs] = [self.input_len, self.output_len()].map(|len| self.group * len);
        let gradients = pass.d_output[..pass.images * self.split * self.output_len()].chunks_mut(outputs);
        for (group, (gradient, output)) in gradients.zip(pass.output.chunks(outputs)).enumerate() {
            activate_backward(self.level, self.activation, output, gradient, filters);
            let first = group * inputs;
            let images = first..first + gradient.len() / self.output_len() * self.input_len;
            self.weight_gradient(&pass.input[images.clone()], gradient, pass.d_weights, pass.scratch);
            if let Some(d_input) = pass.d_input.as_deref_mut() {
                self.input_gradient.compute(gradient, weights, &mut d_input[images], pass.scratch);
            }
        }
    }
}
