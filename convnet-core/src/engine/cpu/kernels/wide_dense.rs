//! A dense layer of many weights in a training step: all images of a batch at once, all threads on one layer.
//!
//! Why it is as it is. The weights, not the arithmetic, are the work: the 6272 × 512 of the book's second convnet are
//! 12.8 MB, and a batch of 32 images needs 0.2 GFLOP with them, less than a millisecond. Taken lane by lane like other
//! layers, they would be read by each lane twice, and each lane would write and the update read a gradient of that
//! size: 8 × 12.8 MB. Here each of the three products reads the weights once for the whole batch:
//!
//! - forward, the items of work are panels of columns (of some images each, where panels are few), or, where the weights are
//!   so many that they come from beyond the second cache, slices of the features, whose rows of weights lie in one stretch:
//!   each makes a part of every sum ([`WideDense::slices`]);
//! - the input's gradient is computed transposed, rows of the weights as they lie times the images' gradients turned
//!   around, so that no copy of the weights is needed;
//! - the weights' gradient is never stored as a whole: the update asks for some rows, which it uses up while they are in
//!   the cache.
//!
//! Fewer weights gain less: 576 × 64 of them, the book's first convnet, 5 % of a training step.
//!
//! The bias counts as one more row of the weights.

use super::activate::{activate, activate_backward, add_rows};
use super::gemm::{A, B, Gemm, Offsets, Start, Widths, gemm};
use super::gemm_pack::Panels;
use super::merge::accumulate;
use super::turn::Turn;
use crate::engine::cpu::simd::{Level, vectorize};
use crate::layers::Activation;
use crate::layers::dense::Spec;
use std::ops::Range;

/// Rows of the weights whose part of the input's gradient is one piece of work.
const ROWS: usize = 96;
/// Floats of the weights' gradient in a piece of the update.
const PIECE: usize = 16 * 1024;

/// Weights, in floats, that no second cache holds.
const MANY: usize = 512 * 1024;
/// Slices of the features of a layer that has so many.
const SLICES: usize = 8;
/// Features an image of the batch from which on slices pay: each writes outputs of all images.
const TALL: usize = 32;

/// The products of a layer of fixed shape.
pub struct WideDense {
    level: Level,
    units: usize,
    bias: bool,
    activation: Activation,
    features: usize,
    widths: Widths,
    /// The images' rows, the rows of the weights, single values, and nothing but zero.
    images: Offsets,
    weights: Offsets,
    values: Offsets,
    zero: Offsets,
}

/// The gradient of a batch's output, arranged for the two products that take it.
pub struct Gradient<'a> {
    images: usize,
    /// A row a unit, in panels of images.
    turned: &'a [f32],
    /// A row an image, in panels of units.
    plain: &'a [f32],
}

impl WideDense {
    /// The layer `spec` on vectors of `features` values.
    pub fn new(spec: Spec, features: usize, level: Level) -> Self {
        WideDense {
            level,
            units: spec.units,
            bias: spec.use_bias,
            activation: spec.activation,
            features,
            widths: Widths::of(level),
            images: Offsets::every(features),
            weights: Offsets::every(spec.units),
            values: Offsets::every(1),
            zero: Offsets::every(0),
        }
    }

    /// Outputs.
    pub fn units(&self) -> usize {
        self.units
    }

    /// Floats of scratch that a piece of work wants for a batch of `images`.
    pub fn scratch(&self, images: usize) -> usize {
        let rows = ROWS.min(self.features);
        (images * self.widths.panel).max(2 * images * rows).max(self.rows_in_piece() * self.units)
    }

    /// Pieces of the forward product.
    pub fn column_blocks(&self) -> usize {
        self.units.div_ceil(self.widths.panel)
    }

    /// The columns of a piece.
    pub fn columns(&self, block: usize) -> Range<usize> {
        let start = block * self.widths.panel;
        start..self.units.min(start + self.widths.panel)
    }

    /// Computes some columns of the output, into rows of scratch without gaps. `panels`: the weights in panels, where
    /// their rows are not whole vectors.
    pub fn forward<'s>(
        &self,
        columns: &Range<usize>,
        inputs: &[f32],
        weights: &[f32],
        panels: &[f32],
        scratch: &'s mut [f32],
    ) -> &'s mut [f32] {
        let (kernel, bias) = weights.split_at(self.features * self.units);
        let (images, width) = (inputs.len() / self.features, columns.len());
        let b = if self.units.is_multiple_of(self.widths.lanes) {
            B::Rows { data: &kernel[columns.start..], stride: self.units }
        } else {
            B::Panels(&panels[columns.start * self.features..])
        };
        let output = &mut scratch[..images * width];
        let a = self.rows_of(inputs, &self.images, images, self.features);
        let start = if self.bias { Start::Bias(&bias[columns.clone()]) } else { Start::Zero };
        gemm(self.level, Gemm { a, b, c: output, c_stride: width, columns: width, start, relu: false });
        activate(self.level, self.activation, output, width);
        output
    }

    /// Slices of the features whose parts of the forward product of `images` images are pieces of work: none, where these are
    /// the columns.
    pub fn slices(&self, images: usize) -> usize {
        if images <= self.most_sliced() { SLICES } else { 0 }
    }

    /// The most images that go by slices.
    fn most_sliced(&self) -> usize {
        let rows = self.units.is_multiple_of(self.widths.lanes);
        if rows && self.features * self.units >= MANY { self.features / TALL } else { 0 }
    }

    /// Floats of what all slices give, for batches of up to `images` images.
    pub fn slice_floats(&self, images: usize) -> usize {
        SLICES * self.units * images.min(self.most_sliced())
    }

    /// Computes what a slice of the features gives to the outputs.
    pub fn forward_slice(&self, slice: usize, inputs: &[f32], weights: &[f32], to: &mut [f32]) {
        let [start, end] = [slice, slice + 1].map(|slice| slice * self.features / SLICES);
        let a = self.rows_of(&inputs[start..], &self.images, inputs.len() / self.features, end - start);
        let b = B::Rows { data: &weights[start * self.units..end * self.units], stride: self.units };
        let (c_stride, columns) = (self.units, self.units);
        gemm(self.level, Gemm { a, b, c: to, c_stride, columns, start: Start::Zero, relu: false });
    }

    /// Completes some images' outputs, of which there is the part of the first slice, by those of the others.
    pub fn complete<'s>(&self, outputs: &mut [f32], slices: impl Iterator<Item = &'s [f32]>, weights: &[f32]) {
        slices.for_each(|slice| accumulate(self.level, outputs, slice));
        let (_, bias) = weights.split_at(self.features * self.units);
        if self.bias {
            outputs.chunks_exact_mut(self.units).for_each(|row| accumulate(self.level, row, bias));
        }
        activate(self.level, self.activation, outputs, self.units);
    }

    fn turned(&self, images: usize) -> Panels {
        Panels::new(self.widths, self.units, images)
    }

    fn plain(&self, images: usize) -> Panels {
        Panels::new(self.widths, images, self.units)
    }

    /// Floats of the gradient of the output of `images` images, arranged.
    pub fn arranged(&self, images: usize) -> usize {
        self.turned(images).size() + self.plain(images).size()
    }

    /// Turns the gradient of some outputs into that before the activation.
    pub fn through_activation(&self, output: &[f32], gradient: &mut [f32]) {
        activate_backward(self.level, self.activation, output, gradient, self.units);
    }

    /// Arranges a gradient with respect to the output before the activation.
    pub fn arrange(&self, gradient: &[f32], arranged: &mut [f32]) {
        let images = gradient.len() / self.units;
        let (turned, plain) = arranged.split_at_mut(self.turned(images).size());
        self.turned(images).pack_transposed(gradient, 0, self.units, turned);
        self.plain(images).pack(gradient, plain);
    }

    /// What [`WideDense::arrange`] wrote for `images` images.
    pub fn arranged_gradient<'a>(&self, images: usize, arranged: &'a [f32]) -> Gradient<'a> {
        let (turned, rest) = arranged.split_at(self.turned(images).size());
        Gradient { images, turned, plain: &rest[..self.plain(images).size()] }
    }

    /// Pieces of the input's gradient.
    pub fn feature_blocks(&self) -> usize {
        self.features.div_ceil(ROWS)
    }

    /// The features of a piece.
    pub fn features(&self, block: usize) -> Range<usize> {
        block * ROWS..self.features.min((block + 1) * ROWS)
    }

    /// The input's gradient for some features, into rows of scratch of an image each.
    pub fn input_gradient<'s>(
        &self,
        features: &Range<usize>,
        weights: &[f32],
        gradient: &Gradient<'_>,
        scratch: &'s mut [f32],
    ) -> &'s mut [f32] {
        let rows = &weights[features.start * self.units..features.end * self.units];
        let (turned, rest) = scratch.split_at_mut(features.len() * gradient.images);
        let product = Gemm {
            a: self.rows_of(rows, &self.weights, features.len(), self.units),
            b: B::Panels(gradient.turned),
            c: &mut *turned,
            c_stride: gradient.images,
            columns: gradient.images,
            start: Start::Zero,
            relu: false,
        };
        gemm(self.level, product);
        let rows = &mut rest[..turned.len()];
        vectorize(self.level, Turn { from: turned, columns: gradient.images, to: rows });
        rows
    }

    fn rows_in_piece(&self) -> usize {
        (PIECE / self.units).max(1)
    }

    /// The rows of each piece of the update of some of the weights, all of the kernel's or the bias's.
    pub fn rows(&self, weights: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, end) = (self.rows_in_piece(), weights.end / self.units);
        (weights.start / self.units..end).step_by(rows).map(move |start| start..end.min(start + rows))
    }

    /// The gradient of some rows of the weights, overwritten.
    pub fn weight_gradient(&self, rows: &Range<usize>, inputs: &[f32], gradient: &Gradient<'_>, to: &mut [f32]) {
        if rows.start == self.features {
            to.fill(0.0);
            let (width, mut column) = (self.widths.panel, 0);
            while column < self.units {
                let count = width.min(self.units - column);
                let panel = &gradient.plain[column * gradient.images..];
                let row = count.next_multiple_of(self.widths.lanes);
                for values in panel.chunks_exact(row).take(gradient.images) {
                    add_rows(self.level, &values[..count], &mut to[column..column + count]);
                }
                column += count;
            }
            return;
        }
        let a = A {
            data: &inputs[rows.start..],
            row_offsets: &self.values,
            rows: rows.len(),
            run_offsets: &self.zero,
            runs: 1,
            len: gradient.images,
            step: self.features,
        };
        let (b, columns) = (B::Panels(gradient.plain), self.units);
        gemm(self.level, Gemm { a, b, c: to, c_stride: columns, columns, start: Start::Zero, relu: false });
    }

    /// Rows of `len` values.
    fn rows_of<'a>(&'a self, data: &'a [f32], row_offsets: &'a Offsets, rows: usize, len: usize) -> A<'a> {
        A { data, row_offsets, rows, run_offsets: &self.zero, runs: 1, len, step: 1 }
    }
}
