//! Few input channels (one to four): the first layer of a network. `forward` and `backward`, each with its reasons.
//!
//! A window whose pixels are all zero (most of a digit's image) is answered by the bias alone where there is one channel.
//! That is exact for finite weights; infinite or NaN weights do not show in such windows, but do in every other.
//!
//! µs an image, AVX-512 (AVX2), one core of 240 (131) GFLOP/s, before strips and pairs of rows → with them:
//!
//! | | forward | gradient |
//! |---|---|---|
//! | 150×150×3 → 32, pooled | 222 → 201 (422 → 407) | 161 → 149 (483 → 239) |
//! | 32×32×3 → 32 | 9.1 → 9.0 (22 → 17) | 11.7 → 9.7 (19.6 → 19) |
//! | 33×35×4 → 48, pooled | 20.5 → 16.6 (36 → 34) | 13.7 → 12.2 (43 → 19) |
//! | 224×224×3 → 64 | 1190 → 1120 (2550 → 2080) | 2050 → 2030 (3560 → 3380) |
//! | 28×28×1 → 32, pooled, a digit | 1.6 (3.5) | 0.9 → 1.0 (3.1 → 1.9) |
//!
//! The large map is bound by memory: 25 MB of outputs and gradients.

mod backward;
mod forward;

use super::block::Block;
use crate::engine::cpu::aligned::carved;
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::{Level, vectorize};

/// The kernel: the gradient of the input is not computed.
pub(super) struct Thin {
    pub block: Block,
    pub level: Level,
}

impl Thin {
    /// Whether this family covers the block: the map must hold one 2×2 window.
    pub fn covers(block: &Block) -> bool {
        let (rows, columns) = block.convolved();
        (1..=4).contains(&block.channels) && block.filters.is_multiple_of(16) && rows >= 2 && columns >= 2
    }
}

impl Kernel for Thin {
    fn scratch(&self, images: usize) -> usize {
        carved(&[backward::pairs_len(&self.block, images)])
    }

    fn kept(&self) -> usize {
        self.block.kept()
    }

    fn forward(&self, pass: Forward<'_>) {
        self.block.check_forward(&pass);
        vectorize(self.level, forward::Run { block: self.block, pass });
    }

    fn backward(&self, pass: Backward<'_>) {
        self.block.check_backward(&pass);
        assert!(pass.d_input.is_none(), "a first layer has no gradient of the input");
        vectorize(self.level, backward::Run { block: self.block, pass });
    }
}

/// The bits of 4×2 pixels, or'ed: zero if all are zero.
///
/// # Safety
/// Two floats are readable at `x` and in the three rows below.
#[inline(always)]
unsafe fn two_columns(x: *const f32, width: usize) -> u64 {
    // SAFETY: the caller vouches for the floats.
    unsafe {
        let row = |i: usize| x.add(i * width).cast::<u64>().read_unaligned();
        row(0) | row(1) | row(2) | row(3)
    }
}
