//! 16 channels and more on both sides: which of direct, Winograd and sparse runs when.
//!
//! Forward: Winograd where it saves multiplications, direct where not, or where `exact` forbids it. Backward: behind a
//! pooling sparse; without one as forward.

use super::block::Block;
use super::{direct, sparse, winograd};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};

/// The kernel.
pub(super) struct Wide {
    block: Block,
    level: Level,
    /// The tile size of Winograd, if that is what runs.
    winograd: Option<usize>,
}

impl Wide {
    /// Whether this family covers the block.
    pub fn covers(block: &Block) -> bool {
        block.channels.is_multiple_of(16) && block.filters.is_multiple_of(16) && block.output_len() > 0
    }

    /// The kernel for a block that it covers. `exact`: no Winograd.
    pub fn new(block: Block, exact: bool, level: Level) -> Self {
        let winograd = if exact { None } else { winograd::best(&block) };
        Wide { block, level, winograd }
    }

    /// With a given tile size, or direct.
    #[cfg(test)]
    pub fn with_tile(block: Block, winograd: Option<usize>, level: Level) -> Self {
        Wide { block, level, winograd }
    }

    /// Where the derived weights of the backward pass begin: those of the forward pass come first.
    fn split(&self) -> usize {
        self.winograd.map_or(0, |m| winograd::derived(&self.block, m))
    }
}

impl Kernel for Wide {
    fn scratch(&self, images: usize) -> usize {
        let forward = self.winograd.map_or(0, |m| winograd::scratch(&self.block, m, images));
        let backward = match (self.block.pooled, self.winograd) {
            (true, _) => sparse::scratch(&self.block),
            (false, Some(m)) => winograd::backward_scratch(&self.block, m, images),
            (false, None) => direct::scratch(&self.block),
        };
        forward.max(backward)
    }

    fn kept(&self) -> usize {
        self.block.kept()
    }

    fn derived(&self) -> usize {
        let backward = match (self.block.pooled, self.winograd) {
            (true, _) => sparse::derived(&self.block),
            (false, Some(m)) => winograd::derived(&self.block, m),
            (false, None) => direct::derived(&self.block),
        };
        self.split() + backward
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        assert_eq!((weights.len(), derived.len()), (self.block.weights_len(), Kernel::derived(self)));
        vectorize(self.level, Prepare { kernel: self, weights, derived });
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
        let (forward, backward) = self.derived.split_at_mut(self.kernel.split());
        if let Some(m) = self.kernel.winograd {
            winograd::prepare(s, block, m, self.weights, forward);
        }
        match (block.pooled, self.kernel.winograd) {
            (true, _) => sparse::prepare(s, block, self.weights, backward),
            (false, Some(m)) => winograd::prepare_back(s, block, m, self.weights, backward),
            (false, None) => direct::prepare(s, block, self.weights, backward),
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
        let block = &self.kernel.block;
        match self.kernel.winograd {
            Some(m) => winograd::forward(s, block, m, &self.pass.derived[..self.kernel.split()], &mut self.pass),
            None => direct::forward(s, block, &mut self.pass),
        }
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
        let derived = &self.pass.derived[self.kernel.split()..];
        match (block.pooled, self.kernel.winograd) {
            (true, _) => sparse::backward(s, block, derived, &mut self.pass),
            (false, Some(m)) => winograd::backward(s, block, m, derived, &mut self.pass),
            (false, None) => direct::backward(s, block, derived, &mut self.pass),
        }
    }
}
