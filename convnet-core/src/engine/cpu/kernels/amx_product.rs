//! Matrix products on the tile unit: a block of up to 2×2 tiles of sums at a time.
//!
//! Sums stay in four tiles while products are added; the other four hold factors. A step multiplies 32 columns of two left
//! tiles with 32 rows of two right ones. With two parts that is twelve instructions of 16 cycles for eight loads of 8, which
//! hide behind them while they come from the first or second cache: 5.7 and 6.1 ns an instruction, of the 4.7 that the unit
//! needs (12 where rows straddle cache lines on both sides). With one part it is four instructions for four loads, 6 to 8 ns.

use crate::engine::cpu::simd::amx::{DEPTH, SIDE, Tiles};
use std::arch::asm;
use std::marker::PhantomData;

/// A factor's tiles in memory. A left factor's row has 32 columns; a right factor's has two rows of 16 columns, their
/// elements by turns.
#[derive(Clone, Copy)]
pub struct Factor {
    /// The high parts of the first row of the first tile.
    pub high: *const u16,
    /// The low parts, if there are any.
    pub low: *const u16,
    /// Bytes from row to row.
    pub stride: usize,
    /// Elements from the first tile to the second.
    pub second: usize,
    /// Elements from a step to the next.
    pub step: usize,
}

/// Elements of a right factor's tile, one part.
pub const TILE: usize = SIDE * DEPTH;

/// Writes the sums of products over pairs of factors, of `[parts, rows, columns]`, each 1 or 2: those of the factors, tiles of
/// the left factors and of the right ones. Each pair has so many steps; rows of the sums go `stride` floats apart.
///
/// # Safety
/// All rows of all tiles are readable in the factors, and 16 · `rows` rows of 16 · `columns` floats are writable.
#[inline(always)]
pub unsafe fn multiply(
    tiles: &mut Tiles,
    shape: [usize; 3],
    factors: impl Iterator<Item = (Factor, Factor)>,
    steps: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller vouches for the memory.
    unsafe {
        match shape {
            [2, 2, 2] => Sums::<2, 2>::of::<2>(tiles, factors, steps, to, stride),
            [2, 2, _] => Sums::<2, 1>::of::<2>(tiles, factors, steps, to, stride),
            [2, _, 2] => Sums::<1, 2>::of::<2>(tiles, factors, steps, to, stride),
            [2, ..] => Sums::<1, 1>::of::<2>(tiles, factors, steps, to, stride),
            [_, 2, 2] => Sums::<2, 2>::of::<1>(tiles, factors, steps, to, stride),
            [_, 2, _] => Sums::<2, 1>::of::<1>(tiles, factors, steps, to, stride),
            [_, _, 2] => Sums::<1, 2>::of::<1>(tiles, factors, steps, to, stride),
            _ => Sums::<1, 1>::of::<1>(tiles, factors, steps, to, stride),
        }
    }
}

/// Sums of `ROWS` × `COLUMNS` tiles, 1 or 2 each, in the thread's tiles.
struct Sums<'t, const ROWS: usize, const COLUMNS: usize>(PhantomData<&'t mut Tiles>);

/// One step's instructions. The pointers, as far as they are used: `a0`, `a1` to the high parts of the left tiles, `b0`,
/// `b1` to the low ones, `c0`, `c1` and `d0`, `d1` to those of the right tiles; `s` and `t` are the strides.
macro_rules! step {
    ($left:ident, $right:ident, [$($pointer:ident)*], $($instruction:literal)*) => {
        asm!(
            $($instruction,)*
            $($pointer = in(reg) $pointer,)*
            s = in(reg) $left.stride, t = in(reg) $right.stride,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly)
        )
    };
}

impl<'t, const ROWS: usize, const COLUMNS: usize> Sums<'t, ROWS, COLUMNS> {
    /// See [`multiply`].
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn of<const PARTS: usize>(
        tiles: &'t mut Tiles,
        factors: impl Iterator<Item = (Factor, Factor)>,
        steps: usize,
        to: *mut f32,
        stride: usize,
    ) {
        let mut sums = Self::zero(tiles);
        for (left, right) in factors {
            // SAFETY: the caller vouches for it.
            unsafe { sums.add::<PARTS>(left, right, steps) };
        }
        // SAFETY: as above.
        unsafe { sums.store(to, stride) };
    }

    /// Zeros.
    #[inline(always)]
    fn zero(_: &'t mut Tiles) -> Self {
        const { assert!(ROWS >= 1 && ROWS <= 2 && COLUMNS >= 1 && COLUMNS <= 2) };
        // SAFETY: the tiles are configured, and nobody else uses them while the sums borrow them.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, options(nostack, nomem)
            );
        }
        Sums(PhantomData)
    }

    /// Adds the products of `steps` times 32 columns and rows, of one part or of two.
    ///
    /// # Safety
    /// All rows of all tiles are readable in both factors.
    #[inline(always)]
    unsafe fn add<const PARTS: usize>(&mut self, left: Factor, right: Factor, steps: usize) {
        for step in 0..steps {
            let [a0, b0] = [left.high, left.low].map(|part| part.wrapping_add(step * left.step));
            let [a1, b1] = [a0, b0].map(|part| part.wrapping_add(left.second));
            let [c0, d0] = [right.high, right.low].map(|part| part.wrapping_add(step * right.step));
            let [c1, d1] = [c0, d0].map(|part| part.wrapping_add(right.second));
            // SAFETY: the caller vouches for the memory; the tiles are configured. Small products come first.
            unsafe {
                match (PARTS, ROWS, COLUMNS) {
                    (2, 2, 2) => step!(left, right, [a0 a1 b0 b1 c0 c1 d0 d1],
                        "tileloadd tmm4, [{b0} + {s}]" "tileloadd tmm6, [{c0} + {t}]" "tdpbf16ps tmm0, tmm4, tmm6"
                        "tileloadd tmm7, [{c1} + {t}]" "tdpbf16ps tmm1, tmm4, tmm7"
                        "tileloadd tmm5, [{b1} + {s}]" "tdpbf16ps tmm2, tmm5, tmm6" "tdpbf16ps tmm3, tmm5, tmm7"
                        "tileloadd tmm4, [{a0} + {s}]" "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"
                        "tileloadd tmm5, [{a1} + {s}]" "tdpbf16ps tmm2, tmm5, tmm6" "tdpbf16ps tmm3, tmm5, tmm7"
                        "tileloadd tmm6, [{d0} + {t}]" "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm2, tmm5, tmm6"
                        "tileloadd tmm7, [{d1} + {t}]" "tdpbf16ps tmm1, tmm4, tmm7" "tdpbf16ps tmm3, tmm5, tmm7"),
                    (2, 1, 2) => step!(left, right, [a0 b0 c0 c1 d0 d1],
                        "tileloadd tmm4, [{b0} + {s}]" "tileloadd tmm6, [{c0} + {t}]" "tdpbf16ps tmm0, tmm4, tmm6"
                        "tileloadd tmm7, [{c1} + {t}]" "tdpbf16ps tmm1, tmm4, tmm7"
                        "tileloadd tmm5, [{a0} + {s}]" "tdpbf16ps tmm0, tmm5, tmm6" "tdpbf16ps tmm1, tmm5, tmm7"
                        "tileloadd tmm6, [{d0} + {t}]" "tdpbf16ps tmm0, tmm5, tmm6"
                        "tileloadd tmm7, [{d1} + {t}]" "tdpbf16ps tmm1, tmm5, tmm7"),
                    (2, 2, 1) => step!(left, right, [a0 a1 b0 b1 c0 d0],
                        "tileloadd tmm4, [{b0} + {s}]" "tileloadd tmm6, [{c0} + {t}]" "tdpbf16ps tmm0, tmm4, tmm6"
                        "tileloadd tmm5, [{b1} + {s}]" "tdpbf16ps tmm2, tmm5, tmm6"
                        "tileloadd tmm4, [{a0} + {s}]" "tdpbf16ps tmm0, tmm4, tmm6"
                        "tileloadd tmm5, [{a1} + {s}]" "tdpbf16ps tmm2, tmm5, tmm6"
                        "tileloadd tmm7, [{d0} + {t}]" "tdpbf16ps tmm0, tmm4, tmm7" "tdpbf16ps tmm2, tmm5, tmm7"),
                    (2, _, _) => step!(left, right, [a0 b0 c0 d0],
                        "tileloadd tmm4, [{b0} + {s}]" "tileloadd tmm6, [{c0} + {t}]" "tdpbf16ps tmm0, tmm4, tmm6"
                        "tileloadd tmm5, [{a0} + {s}]" "tdpbf16ps tmm0, tmm5, tmm6"
                        "tileloadd tmm7, [{d0} + {t}]" "tdpbf16ps tmm0, tmm5, tmm7"),
                    (_, 2, 2) => step!(left, right, [a0 a1 c0 c1],
                        "tileloadd tmm4, [{a0} + {s}]" "tileloadd tmm6, [{c0} + {t}]" "tdpbf16ps tmm0, tmm4, tmm6"
                        "tileloadd tmm7, [{c1} + {t}]" "tdpbf16ps tmm1, tmm4, tmm7"
                        "tileloadd tmm5, [{a1} + {s}]" "tdpbf16ps tmm2, tmm5, tmm6" "tdpbf16ps tmm3, tmm5, tmm7"),
                    (_, 1, 2) => step!(left, right, [a0 c0 c1],
                        "tileloadd tmm4, [{a0} + {s}]" "tileloadd tmm6, [{c0} + {t}]" "tdpbf16ps tmm0, tmm4, tmm6"
                        "tileloadd tmm7, [{c1} + {t}]" "tdpbf16ps tmm1, tmm4, tmm7"),
                    (_, 2, 1) => step!(left, right, [a0 a1 c0],
                        "tileloadd tmm4, [{a0} + {s}]" "tileloadd tmm6, [{c0} + {t}]" "tdpbf16ps tmm0, tmm4, tmm6"
                        "tileloadd tmm5, [{a1} + {s}]" "tdpbf16ps tmm2, tmm5, tmm6"),
                    _ => step!(left, right, [a0 c0],
                        "tileloadd tmm4, [{a0} + {s}]" "tileloadd tmm6, [{c0} + {t}]" "tdpbf16ps tmm0, tmm4, tmm6"),
                }
            }
        }
    }

    /// Writes the sums: rows `stride` floats apart.
    ///
    /// # Safety
    /// 16 · `ROWS` rows of 16 · `COLUMNS` floats are writable.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, stride: usize) {
        let (s, below) = (4 * stride, to.wrapping_add(SIDE * stride));
        // SAFETY: the caller vouches for the memory; the tiles are configured.
        unsafe {
            asm!("tilestored [{to} + {s}], tmm0", to = in(reg) to, s = in(reg) s, options(nostack));
            if COLUMNS == 2 {
                asm!("tilestored [{to} + {s} + 64], tmm1", to = in(reg) to, s = in(reg) s, options(nostack));
            }
            if ROWS == 2 {
                asm!("tilestored [{to} + {s}], tmm2", to = in(reg) below, s = in(reg) s, options(nostack));
            }
            if (ROWS, COLUMNS) == (2, 2) {
                asm!("tilestored [{to} + {s} + 64], tmm3", to = in(reg) below, s = in(reg) s, options(nostack));
            }
        }
    }
}
