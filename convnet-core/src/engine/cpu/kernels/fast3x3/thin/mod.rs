//! Few input channels (one to four): the first layer of a network.
//!
//! Why it is as it is. With one input channel a filter has nine weights: those of two vectors of filters stay in 18
//! registers, and every window of the pooling reads 16 pixels for 72 multiply-adds. Bias, relu, pooling and the
//! position of the maximum are computed in registers. The gradient of the weights needs, for each filter, the 3×3
//! pixels around its maximum: a lane permute picks them out of the window's 4×4, so that it costs nine multiply-adds a
//! window instead of 36. Several channels go through the same code one after the other.
//!
//! Backward, large maps go in bands of rows: all filters and channels of a band while its outputs and their gradients
//! are in the second cache. (224 × 224 × 64 outputs and gradients, 26 MB, otherwise come from memory once for each
//! channel and block of filters: six times, with vectors of eight floats 24 times.) Forward, bands make no clear
//! difference.
//!
//! A window whose pixels are all zero (most of a digit's image) is answered by the bias alone. That is exact for
//! finite weights; infinite or NaN weights do not show in such windows, but do in every other.
//!
//! Tried: Winograd would save a fifth of the multiply-adds of a window, and adds as many shuffles of registers. Strips
//! of three or four windows and one vector of filters, for more independent sums than the eight of a window (which just
//! cover the latency of the multiply-adds): the compiler keeps 16 sums in memory, 1.5 times slower.

mod backward;
mod forward;

use super::block::{Block, carved};
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
    fn scratch(&self, _images: usize) -> usize {
        carved(&[self.block.input_len()])
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
