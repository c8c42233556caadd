//! The gradient of a depthwise kernel with five neighbouring taps in a row, without strides: what
//! [`super::depthwise_slide`] has for three.
//!
//! Why it is as it is. 25 sums and what the next columns see again are more than 32 registers hold: two rows of taps go
//! along a row together, ten sums and four columns each that the next position sees, too: two loads and that of the
//! gradient for ten multiply-adds. With 16 registers it is one row of taps, whose columns are loaded again. The ends of
//! a row, where taps look outside of the map, are code of their own: in a loop, their sums would not stay in registers.
//! (One code for three and five taps, which has such loops, cost three taps 10 to 15 %.) The sums are those of
//! [`super::depthwise_gather`] to the bit. On a Zen 4 core the way back of 8 images of 28×28×128 takes 1.1 to 1.3 instead of 2.1 ms.

use super::depthwise_slide::{GradientRow, read, write};
use super::gemm_tile::opaque;
use crate::engine::cpu::simd::{Simd, Vectorized};

/// Taps in a row.
const WINDOW: usize = 5;

impl GradientRow<'_> {
    /// As [`GradientRow::add`], for windows of five and any number of vertical taps.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn add_five<S: Simd>(self, s: S) {
        let mut taps = self.taps;
        while !taps.is_empty() {
            let together = if S::REGISTERS >= 32 { taps.len().min(2) } else { 1 };
            let (now, later) = taps.split_at(together);
            let row = GradientRow { taps: now, ..self };
            if together == 2 {
                s.call(Products::<2>(row))
            } else {
                s.call(Products::<1>(row))
            }
            taps = later;
        }
    }
}

/// The products of `ROWS` vertical taps.
struct Products<'a, const ROWS: usize>(GradientRow<'a>);

impl<const ROWS: usize> Vectorized for Products<'_, ROWS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (channels, mut channel) = (self.0.channels, 0);
        // SAFETY: whoever called `GradientRow::add_five` vouches for all channels.
        unsafe {
            while channels - channel >= S::LANES {
                self.add::<S, true>(s, channel, S::LANES);
                channel += S::LANES;
            }
            if channel < channels {
                self.add::<S, false>(s, channel, channels - channel);
            }
        }
    }
}

impl<const ROWS: usize> Products<'_, ROWS> {
    /// # Safety
    /// As for [`GradientRow::add_five`]; there are `count` channels from `channel` on, a vector if `WHOLE`.
    #[inline(always)]
    unsafe fn add<S: Simd, const WHOLE: bool>(&self, s: S, channel: usize, count: usize) {
        let GradientRow { slide, channels, .. } = self.0;
        let [left, right] = slide.outside(0, slide.widths[1]);
        let gradient = self.0.gradient.wrapping_add(channel);
        let to: [*mut f32; ROWS] =
            std::array::from_fn(|r| self.0.d_kernel.wrapping_add(self.0.taps[r].0 * WINDOW * channels + channel));
        // Where the first column sees, or would see, its first tap.
        let from: [*const f32; ROWS] = std::array::from_fn(|r| {
            let row = self.0.source.wrapping_add(self.0.taps[r].1 * slide.widths[0] * channels + channel);
            row.wrapping_sub(slide.before * channels)
        });
        // SAFETY: the caller vouches for all taps inside the source, and those outside are left out.
        unsafe {
            let mut sums: [[S::V; WINDOW]; ROWS] = std::array::from_fn(|r| {
                std::array::from_fn(|v| read::<S, WHOLE>(s, to[r].wrapping_add(v * channels), count))
            });
            // A column where only some taps are inside.
            macro_rules! end {
                ($column:expr; $($tap:literal)*) => {{
                    let i = $column * channels;
                    let d = read::<S, WHOLE>(s, gradient.wrapping_add(i), count);
                    for r in 0..ROWS {
                        $(
                            let x = read::<S, WHOLE>(s, from[r].wrapping_add(i + $tap * channels), count);
                            sums[r][$tap] = s.mul_add(x, d, sums[r][$tap]);
                        )*
                    }
                }};
            }
            if left == 2 {
                end!(0; 2 3 4);
            }
            if left > 0 {
                end!(left - 1; 1 2 3 4);
            }
            let mut i = left * channels;
            let inner = slide.widths[1] - left - right;
            let mut kept = [[s.splat(0.0); WINDOW - 1]; ROWS];
            let keeps = S::REGISTERS >= 32;
            if keeps && inner > 0 {
                for (r, kept) in kept.iter_mut().enumerate() {
                    *kept = std::array::from_fn(|v| read::<S, WHOLE>(s, from[r].wrapping_add(i + v * channels), count));
                }
            }
            for _ in 0..inner {
                let d = read::<S, WHOLE>(s, gradient.wrapping_add(i), count);
                for (r, (sums, kept)) in sums.iter_mut().zip(&mut kept).enumerate() {
                    let seen = |v: usize| read::<S, WHOLE>(s, from[r].wrapping_add(i + v * channels), count);
                    let [a, b, c, e] = if keeps { *kept } else { [seen(0), seen(1), seen(2), seen(3)] };
                    let f = seen(4);
                    sums[0] = s.mul_add(a, d, sums[0]);
                    sums[1] = s.mul_add(b, d, sums[1]);
                    sums[2] = s.mul_add(c, d, sums[2]);
                    sums[3] = s.mul_add(e, d, sums[3]);
                    sums[4] = s.mul_add(f, d, sums[4]);
                    *kept = [b, c, e, f];
                }
                i = opaque(i + channels);
            }
            if right > 0 {
                end!(slide.widths[1] - right; 0 1 2 3);
            }
            if right == 2 {
                end!(slide.widths[1] - 1; 0 1 2);
            }
            for (to, sums) in to.iter().zip(sums) {
                for (v, sum) in sums.into_iter().enumerate() {
                    write::<S, WHOLE>(s, to.wrapping_add(v * channels), sum, count);
                }
            }
        }
    }
}
