//! `padding = "same"`: a border of zeros around each image, then the kernel without padding.
//!
//! Why it is as it is. Copying a map is a hundredth of the work of the convolution that follows, and the kernels stay
//! free of edges.

use super::block::Block;
use crate::engine::cpu::aligned::{carve, carved};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};

/// The kernel: `inner` covers `block`, whose input includes the border.
pub(super) struct Same {
    pub block: Block,
    pub inner: Box<dyn Kernel>,
}

impl Same {
    fn pieces(&self, images: usize) -> [usize; 3] {
        let maps = images * self.block.input_len();
        [maps, maps, self.inner.scratch(images)]
    }

    /// Floats of one image without its border.
    fn image_len(&self) -> usize {
        (self.block.height - 2) * (self.block.width - 2) * self.block.channels
    }

    /// Copies images into the middle of bordered ones.
    fn border(&self, images: &[f32], to: &mut [f32]) {
        let Block { height, width, channels, .. } = self.block;
        to.fill(0.0);
        let row = (width - 2) * channels;
        for (image, to) in images.chunks_exact(self.image_len()).zip(to.chunks_exact_mut(height * width * channels)) {
            for (from, to) in image.chunks_exact(row).zip(to.chunks_exact_mut(width * channels).skip(1)) {
                to[channels..channels + row].copy_from_slice(from);
            }
        }
    }

    /// The reverse.
    fn middle(&self, bordered: &[f32], to: &mut [f32]) {
        let Block { height, width, channels, .. } = self.block;
        let row = (width - 2) * channels;
        for (image, to) in bordered.chunks_exact(height * width * channels).zip(to.chunks_exact_mut(self.image_len())) {
            for (from, to) in image.chunks_exact(width * channels).skip(1).zip(to.chunks_exact_mut(row)) {
                to.copy_from_slice(&from[channels..channels + row]);
            }
        }
    }
}

impl Kernel for Same {
    fn scratch(&self, images: usize) -> usize {
        carved(&self.pieces(images))
    }

    fn kept(&self) -> usize {
        self.inner.kept()
    }

    fn derived(&self) -> usize {
        self.inner.derived()
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        self.inner.prepare(weights, derived);
    }

    fn derived_parts(&self) -> Vec<usize> {
        self.inner.derived_parts()
    }

    fn prepare_part(&self, part: usize, weights: &[f32], derived: &mut [f32]) {
        self.inner.prepare_part(part, weights, derived);
    }

    fn adds_sums(&self) -> bool {
        self.inner.adds_sums()
    }

    fn forward(&self, pass: Forward<'_>) {
        assert_eq!(pass.input.len(), pass.images * self.image_len(), "input");
        let mut rest = pass.scratch;
        let [input, _, scratch] = self.pieces(pass.images).map(|len| carve(&mut rest, len));
        self.border(pass.input, input);
        self.inner.forward(Forward { input, scratch, ..pass });
    }

    fn backward(&self, pass: Backward<'_>) {
        assert_eq!(pass.input.len(), pass.images * self.image_len(), "input");
        let mut rest = pass.scratch;
        let [input, gradient, scratch] = self.pieces(pass.images).map(|len| carve(&mut rest, len));
        self.border(pass.input, input);
        let d_bordered = pass.d_input.is_some().then_some(&mut *gradient);
        self.inner.backward(Backward { input, d_input: d_bordered, scratch, ..pass });
        if let Some(d_input) = pass.d_input {
            self.middle(gradient, d_input);
        }
    }
}
