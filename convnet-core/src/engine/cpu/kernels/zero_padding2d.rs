//! Zeros around a map: rows are copied, and back.
//!
//! NaN: copied like any value; a NaN in the gradient of the zeros goes nowhere.

use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::layers::zero_padding2d::Spec;
use crate::shape::Shape;

/// A padding of a fixed shape.
pub struct ZeroPadding2D {
    spec: Spec,
    input: Shape,
    output: Shape,
}

impl ZeroPadding2D {
    /// The padding `spec` from maps of shape `input` to maps of shape `output`.
    pub fn new(spec: Spec, input: Shape, output: Shape) -> Self {
        ZeroPadding2D { spec, input, output }
    }

    /// Floats in a row: of the input, and of the output.
    fn rows(&self) -> (usize, usize) {
        (self.input.width() * self.input.channels(), self.output.width() * self.output.channels())
    }
}

impl Kernel for ZeroPadding2D {
    fn scratch(&self, _: usize) -> usize {
        0
    }

    fn forward(&self, pass: Forward<'_>) {
        let (row, wide) = self.rows();
        let left = self.spec.left * self.input.channels();
        let inputs = pass.input.chunks_exact(self.input.len()).take(pass.images);
        for (input, output) in inputs.zip(pass.output.chunks_exact_mut(self.output.len())) {
            let (top, rest) = output.split_at_mut(self.spec.top * wide);
            let (middle, bottom) = rest.split_at_mut(self.input.height() * wide);
            top.fill(0.0);
            for (from, to) in input.chunks_exact(row).zip(middle.chunks_exact_mut(wide)) {
                to[..left].fill(0.0);
                to[left..left + row].copy_from_slice(from);
                to[left + row..].fill(0.0);
            }
            bottom.fill(0.0);
        }
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let (row, wide) = self.rows();
        let left = self.spec.left * self.input.channels();
        let images = d_input.chunks_exact_mut(self.input.len()).take(pass.images);
        for (d_input, gradient) in images.zip(pass.d_output.chunks_exact(self.output.len())) {
            let inside = gradient.chunks_exact(wide).skip(self.spec.top);
            for (to, from) in d_input.chunks_exact_mut(row).zip(inside) {
                to.copy_from_slice(&from[left..left + row]);
            }
        }
    }
}
