//! Which tiles run fastest.

use super::super::block::Block;

/// The tile size for a block; `None` where none pays.
///
/// A larger tile must save a quarter of the multiplications: its transforms cost more, it rounds worse, and from M = 3
/// on an output whose exact value is zero may come out as 10⁻⁸, through which relu lets a gradient pass. (13×13×32 to
/// 64, pooled: 400 multiplications a channel and filter with M = 2, 324 with M = 4, and the same time.)
pub(super) fn best(block: &Block) -> Option<usize> {
    if block.channels < 8 || block.filters < 8 {
        return None;
    }
    let (rows, columns) = block.convolved();
    let cost = |m: usize| (m + 2) * (m + 2) * rows.div_ceil(m) * columns.div_ceil(m);
    let larger: &[usize] = if block.pooled { &[4] } else { &[3, 4] };
    let best = larger.iter().fold(2, |best, &m| if 4 * cost(m) <= 3 * cost(best) { m } else { best });
    (cost(best) < 9 * rows * columns).then_some(best)
}
