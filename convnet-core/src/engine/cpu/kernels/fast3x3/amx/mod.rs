//! The forward pass on the tile unit (AMX), for 16 channels and more, with or without a border of zeros, relu or another
//! activation, a pooling behind relu. For who allows a [`Precision`] below that of floats.
//!
//! [`sliding`] says how a window becomes a product, `kernels::amx_panels` how the weights lie, [`forward`] what becomes of the
//! sums.
//!
//! Why it is as it is. Three products of parts (`simd::amx`) take 12 instructions of 16 cycles where vectors need 256: at
//! best 4.4 times the vectors' peak, against the 2.4 that Winograd's F(4×4) reaches, and without transforms. Found, GFLOP/s
//! (the operations of the sum counted) with Winograd in brackets: 64 to 64 channels at 56×56 649 (592), 128 to 128 at 28×28
//! 759 (624), 64 to 16 at 56×56 622 (378), 16 to 64 at 112×112 364 (407: its outputs leave the cache). An instruction takes 6
//! to 7 ns of 4.7, 8.5 with 512 channels, waiting for tiles of weights and inputs from the second cache.
//!
//! Errors in two parts are about 5·10⁻⁶ of the largest output and do not grow with the length of a sum. That is why this is not
//! for everybody: after several layers 1.2·10⁻⁵ was seen in an output and 10⁻⁴ in weights after 20 steps, where the other
//! kernels stay below 10⁻⁵. With 7 channels and 5 filters, and so few outputs that the largest is small, one layer had
//! 1.1·10⁻⁵; fewer than 16 channels leave most of a step empty anyway.
//!
//! Tried: pixels with all their channels (rows of a tile far apart: an instruction 9.2 ns with 512 channels, 7.6 instead of
//! 7.2 with 256); the fourth product, low · low, which makes errors 3.5·10⁻⁶ and takes a third longer, what Winograd takes;
//! the backward pass in the same manner, by a window over the output's gradient and, for the weights, turned inputs: 491 and
//! 547 GFLOP/s for 64 and 128 channels where Winograd has 484 and 504 and the smaller error, 473 against 510 at 8×8.
//!
//! [`Precision`]: crate::engine::Precision

mod forward;
mod sliding;

use super::block::Block;
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::kernels::activate::activate;
use crate::engine::cpu::simd::Level;
use crate::engine::cpu::simd::amx::Amx;
use crate::layers::Activation;
use forward::Outputs;
use sliding::{Inputs, Sliding};

/// The kernel.
pub(super) struct Tiled {
    amx: Amx,
    /// Of each factor.
    parts: usize,
    block: Block,
    border: usize,
    activation: Activation,
    behind: Box<dyn Kernel>,
}

impl Tiled {
    /// The kernel for a block whose input includes `border` rows and columns of zeros that are not in memory. `behind`,
    /// which takes and keeps the same, runs the backward pass; its forward pass is not used. Only relu goes with pooling.
    pub fn new(
        (amx, parts): (Amx, usize),
        block: Block,
        border: usize,
        activation: Activation,
        behind: Box<dyn Kernel>,
    ) -> Self {
        Tiled { amx, parts, block, border, activation, behind }
    }

    /// Whether it pays.
    pub fn covers(block: &Block) -> bool {
        block.channels >= 16 && block.filters >= 8
    }

    fn sliding(&self) -> Sliding {
        let Block { height, width, channels, filters, pooled, .. } = self.block;
        let (rows, columns) = self.block.convolved();
        let [height, width] = [height, width].map(|len| len - 2 * self.border);
        Sliding {
            height,
            width,
            channels,
            border: self.border,
            rows,
            columns,
            filters,
            twos: pooled,
            parts: self.parts,
        }
    }

    /// Parameters of the kernel, which come before the bias.
    fn kernel_len(&self) -> usize {
        9 * self.block.channels * self.block.filters
    }
}

impl Kernel for Tiled {
    fn scratch(&self, images: usize) -> usize {
        self.sliding().scratch(images).max(self.behind.scratch(images))
    }

    fn kept(&self) -> usize {
        self.block.kept()
    }

    fn derived(&self) -> usize {
        self.sliding().panels().len() + self.behind.derived()
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        assert_eq!((weights.len(), derived.len()), (self.block.weights_len(), Kernel::derived(self)));
        let (forward, backward) = derived.split_at_mut(self.sliding().panels().len());
        self.prepare_part(0, weights, forward);
        self.behind.prepare(weights, backward);
    }

    fn derived_parts(&self) -> Vec<usize> {
        [self.sliding().panels().len()].into_iter().chain(self.behind.derived_parts()).collect()
    }

    fn prepare_part(&self, part: usize, weights: &[f32], derived: &mut [f32]) {
        match part {
            0 => self.sliding().fill_weights(self.amx, &weights[..self.kernel_len()], derived),
            part => self.behind.prepare_part(part - 1, weights, derived),
        }
    }

    fn adds_sums(&self) -> bool {
        self.behind.adds_sums()
    }

    fn forward(&self, pass: Forward<'_>) {
        let sliding = self.sliding();
        self.block.check_forward_of(&pass, sliding.height * sliding.width * sliding.channels);
        let inputs = Inputs { images: pass.images, maps: pass.input, weights: &pass.derived[..sliding.panels().len()] };
        let mut outputs = Outputs {
            block: &self.block,
            relu: self.activation == Activation::Relu,
            bias: self.block.bias.then(|| &pass.weights[self.kernel_len()..]),
            output: &mut *pass.output,
            kept: if pass.training && self.block.pooled { pass.kept } else { &mut [] },
        };
        sliding.run(self.amx, &inputs, &mut outputs, pass.scratch);
        if self.activation != Activation::Relu {
            activate(Level::Avx512, self.activation, pass.output, self.block.filters);
        }
    }

    fn backward(&self, pass: Backward<'_>) {
        let derived = &pass.derived[self.sliding().panels().len()..];
        self.behind.backward(Backward { derived, ..pass });
    }
}
