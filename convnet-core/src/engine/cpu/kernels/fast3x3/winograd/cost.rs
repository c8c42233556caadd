//! Which tiles run fastest.

use super::super::block::Block;
use super::edges::points;

/// Channels and filters from which on the transforms pay: with fewer, each point's product is done before its transform
/// is (3 to 64 channels, share of the peak: 0.55, the general path 0.74).
const LEAST: usize = 8;

/// Whether the tile unit makes the products faster than vectors: where its tiles are full enough. (70 to 130 channels take
/// 1.2 times as long with it, 32 to 32 one and a half times.) A tile has room for 16 rows, and is faster from a third of
/// them on; a call has several images, as a rule. Sums of 32 bits hold the products of 43,000 channels.
pub(super) fn tiles(block: &Block, m: usize) -> bool {
    let Block { channels, filters, .. } = *block;
    let (rows, columns) = block.convolved();
    let full = |len: usize| 8 * len >= 7 * len.next_multiple_of(64);
    let fits = channels.max(filters) <= 32 * 1024;
    fits && full(channels) && full(filters) && rows.div_ceil(m) * columns.div_ceil(m) >= 4
}

/// The tile size for a block; `None` where none pays.
///
/// The one with the fewest multiplications, forward and for both gradients: the larger the tile, the fewer operations go into the transforms, too, each
/// output counted. (16 to 16 channels at 56×56, GFLOP/s with M = 2, 3, 4: 154, 206, 231; 64 to 64 at 12×12: 321, 429, 493.)
///
/// In front of a pooling M must be even. (13×13×32 to 64, pooled: 400 multiplications a channel and filter with M = 2, 324 with
/// M = 4 and whole tiles only; prediction of 1000 images is 11 % faster for it, a training step 3 %.) From M = 3 on an output whose exact value is
/// zero, though its inputs are not, may come out as 10⁻⁸, through which relu lets a gradient pass.
pub(super) fn best(block: &Block) -> Option<usize> {
    if block.channels < LEAST || block.filters < LEAST {
        return None;
    }
    let (rows, columns) = block.convolved();
    let cost = |m: usize| {
        let gradient = (m + 2) * (m + 2) * rows.div_ceil(m) * columns.div_ceil(m);
        points(m, rows) * points(m, columns) + 2 * gradient
    };
    let larger: &[usize] = if block.pooled { &[4] } else { &[3, 4] };
    let best = larger.iter().fold(2, |best, &m| if cost(m) < cost(best) { m } else { best });
    (cost(best) < 3 * 9 * rows * columns).then_some(best)
}
