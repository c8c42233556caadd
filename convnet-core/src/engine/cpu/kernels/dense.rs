//! Fully connected layers as matrix products over the images of a call.
//!
//! Forward, the weights are the right factor as they lie, if their rows are whole vectors: with few images a copy in
//! another order would cost more than it brings. The input's gradient needs them transposed, which
//! [`Kernel::prepare`] does once for each change of the weights; layers of many units do without ([`super::dots`]).

use super::activate::{activate, activate_backward, add_rows};
use super::dots::{Dots, worth_it};
use super::gemm::{A, B, Gemm, Offsets, Start, Widths, gemm};
use super::gemm_pack::{Panels, Rows};
use crate::engine::cpu::kernel::{Backward, Forward, ForwardPart, Kernel, Part};
use crate::engine::cpu::simd::Level;
use crate::layers::Activation;
use crate::layers::dense::Spec;

/// Units of which threads take a multiple each: a few vectors of any level.
const UNITS: usize = 64;

/// A dense layer of a fixed shape.
pub struct Dense {
    level: Level,
    spec: Spec,
    activation: Activation,
    features: usize,
    /// The images' rows, the features of a row, the units of a row, and nothing but zero.
    inputs: Offsets,
    elements: Offsets,
    outputs: Offsets,
    zero: Offsets,
    /// The kernel's layout, where plain rows would not do.
    panels: Option<Panels>,
    /// The transposed kernel's layout, where it is needed.
    transposed: Option<Panels>,
    gradient_rows: Rows,
}

impl Dense {
    /// The layer `spec` on vectors of `features` values, with `activation` instead of its own.
    pub fn new(spec: Spec, features: usize, activation: Activation, level: Level) -> Self {
        let widths = Widths::of(level);
        let plain = spec.units.is_multiple_of(widths.lanes);
        Dense {
            level,
            spec,
            activation,
            features,
            inputs: Offsets::every(features),
            elements: Offsets::every(1),
            outputs: Offsets::every(spec.units),
            zero: Offsets::every(0),
            panels: (!plain).then(|| Panels::new(widths, features, spec.units)),
            transposed: (!worth_it(spec.units)).then(|| Panels::new(widths, spec.units, features)),
            gradient_rows: Rows::new(widths, spec.units),
        }
    }

    /// For networks in which nobody asks this kernel for the input's gradient.
    pub fn without_input_gradient(self) -> Self {
        Dense { transposed: None, ..self }
    }

    /// What follows the sums.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    fn panels_len(&self) -> usize {
        self.panels.map_or(0, |panels| panels.size())
    }

    /// One row of `len` values for each image.
    fn rows<'a>(&'a self, data: &'a [f32], row_offsets: &'a Offsets, images: usize, len: usize) -> A<'a> {
        A { data, row_offsets, rows: images, run_offsets: &self.zero, runs: 1, len, step: 1 }
    }
}

impl Kernel for Dense {
    fn scratch(&self, images: usize) -> usize {
        self.gradient_rows.scratch(images)
    }

    fn derived(&self) -> usize {
        self.panels_len() + self.transposed.map_or(0, |panels| panels.size())
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        let kernel = &weights[..self.features * self.spec.units];
        let (forward, transposed) = derived.split_at_mut(self.panels_len());
        if let Some(panels) = self.panels {
            panels.pack(kernel, forward);
        }
        if let Some(panels) = self.transposed {
            panels.pack_transposed(kernel, 0, self.spec.units, transposed);
        }
    }

    fn forward(&self, pass: Forward<'_>) {
        let units = self.spec.units;
        let (kernel, bias) = pass.weights.split_at(self.features * units);
        let b = match self.panels {
            Some(_) => B::Panels(&pass.derived[..self.panels_len()]),
            None => B::Rows { data: kernel, stride: units },
        };
        let start = if self.spec.use_bias { Start::Bias(bias) } else { Start::Zero };
        let a = self.rows(pass.input, &self.inputs, pass.images, self.features);
        let output = &mut pass.output[..pass.images * units];
        let relu = self.activation == Activation::Relu;
        gemm(self.level, Gemm { a, b, c: output, c_stride: units, columns: units, start, relu });
        if !relu {
            activate(self.level, self.activation, output, units);
        }
    }

    fn parts(&self, outputs: usize, most: usize) -> usize {
        let whole = self.panels.is_some() || self.activation == Activation::Softmax;
        // What takes the time is to read the weights.
        if whole { 1 } else { Part::worth(8 * self.features * outputs, outputs.div_ceil(UNITS), most) }
    }

    unsafe fn forward_part(&self, pass: ForwardPart<'_>) {
        let units = self.spec.units;
        let some = pass.part.share(units, UNITS);
        // SAFETY: shares do not overlap; the rest is the caller's promise.
        let output = unsafe { pass.output.part(some.clone()) };
        let (kernel, bias) = pass.weights.split_at(self.features * units);
        let start = if self.spec.use_bias { Start::Bias(&bias[some.clone()]) } else { Start::Zero };
        let a = self.rows(pass.input, &self.inputs, 1, self.features);
        let b = B::Rows { data: &kernel[some.start..], stride: units };
        let relu = self.activation == Activation::Relu;
        gemm(self.level, Gemm { a, b, c: &mut *output, c_stride: units, columns: some.len(), start, relu });
        if !relu {
            activate(self.level, self.activation, output, some.len());
        }
    }

    fn backward(&self, pass: Backward<'_>) {
        let units = self.spec.units;
        let gradient = &mut pass.d_output[..pass.images * units];
        activate_backward(self.level, self.activation, pass.output, gradient, units);
        let (d_kernel, d_bias) = pass.d_weights.split_at_mut(self.features * units);
        let b = self.gradient_rows.factor(gradient, pass.scratch);
        let a = A {
            data: pass.input,
            row_offsets: &self.elements,
            rows: self.features,
            run_offsets: &self.zero,
            runs: 1,
            len: pass.images,
            step: self.features,
        };
        let start = if pass.accumulate { Start::C } else { Start::Zero };
        gemm(self.level, Gemm { a, b, c: d_kernel, c_stride: units, columns: units, start, relu: false });
        if self.spec.use_bias {
            if !pass.accumulate {
                d_bias.fill(0.0);
            }
            add_rows(self.level, gradient, d_bias);
        }
        let Some(d_input) = pass.d_input else { return };
        let d_input = &mut d_input[..pass.images * self.features];
        if self.transposed.is_none() {
            let kernel = &pass.weights[..self.features * units];
            return Dots { a: gradient, b: kernel, c: d_input, depth: units }.run(self.level);
        }
        let product = Gemm {
            a: self.rows(gradient, &self.outputs, pass.images, units),
            b: B::Panels(&pass.derived[self.panels_len()..]),
            c: d_input,
            c_stride: self.features,
            columns: self.features,
            start: Start::Zero,
            relu: false,
        };
        gemm(self.level, product);
    }
}
