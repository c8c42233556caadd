//! 16 channels and more on both sides, sums as they stand: direct forward, and backward direct or, behind a pooling,
//! sparse. What runs where re-associated sums are not wanted (`exact`), and the backward pass of pooled blocks.

use super::block::Block;
use super::{direct, sparse};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};

/// The kernel.
pub(super) struct Wide {
    pub block: Block,
    pub level: Level,
}

impl Wide {
    /// Whether this family covers the block.
    pub fn covers(block: &Block) -> bool {
        block.channels.is_multiple_of(16) && block.filters.is_multiple_of(16) && block.output_len() > 0
    }
}

impl Kernel for Wide {
    fn scratch(&self, _images: usize) -> usize {
        if self.block.pooled { sparse::scratch(&self.block) } else { direct::scratch(&self.block) }
    }

    fn kept(&self) -> usize {
        self.block.kept()
    }

    fn derived(&self) -> usize {
        if self.block.pooled { sparse::derived(&self.block) } else { direct::derived(&self.block) }
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        assert_eq!((weights.len(), derived.len()), (self.block.weights_len(), Kernel::derived(self)));
        vectorize(self.level, Prepare { kernel: self, weights, derived });
    }

    fn adds_sums(&self) -> bool {
        self.block.pooled
    }

    fn forward(&self, pass: Forward<'_>) {
        self.block.check_forward(&pass);
        vectorize(self.level, RunForward { kernel: self, pass });
    }

    fn backward(&self, pass: Backward<'_>) {
        self.block.check_backward(&pass);
        vectorize(self.level, RunBackward { kernel: self, pass });
    }
}

struct Prepare<'a> {
    kernel: &'a Wide,
    weights: &'a [f32],
    derived: &'a mut [f32],
}

impl Vectorized for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let block = &self.kernel.block;
        if block.pooled {
            sparse::prepare(s, block, self.weights, self.derived);
        } else {
            direct::prepare(s, block, self.weights, self.derived);
        }
    }
}

struct RunForward<'a> {
    kernel: &'a Wide,
    pass: Forward<'a>,
}

impl Vectorized for RunForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        direct::forward(s, &self.kernel.block, &mut self.pass);
    }
}

struct RunBackward<'a> {
    kernel: &'a Wide,
    pass: Backward<'a>,
}

impl Vectorized for RunBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let block = &self.kernel.block;
        let derived = self.pass.derived;
        if block.pooled {
            sparse::backward(s, block, derived, &mut self.pass);
        } else {
            direct::backward(s, block, derived, &mut self.pass);
        }
    }
}
