//! The matrix products between the transforms: one small product a point of the tile.
//!
//! Why it is as it is. A tile of 12 rows × two vectors of columns takes 24 accumulators; a step of k loads two vectors
//! and broadcasts 12 floats for 24 multiply-adds, within the two loads a cycle that the machines at hand have. The left
//! side is stored with `LANES` steps of k of a row together and the rows behind one another, as the transforms produce
//! it, so that all addresses of 16 steps are constant distances from one pointer.

use crate::engine::cpu::simd::Simd;

/// A matrix in blocks of `LANES` columns: block by block, row by row.
#[derive(Clone, Copy)]
pub(super) struct Blocked {
    pub at: *const f32,
    /// Rows of each block.
    pub rows: usize,
}

/// `to[r][..] = Σₖ a[r][k] · b[k][..]` for the first `rows` rows of `a`; a row of `b` and of `to` is `N` vectors.
///
/// # Safety
/// `a` has `blocks · LANES` columns and at least `rows` rows; `b` as many rows; `to` has `rows`.
#[inline(always)]
pub(super) unsafe fn product<S: Simd, const N: usize>(
    s: S,
    a: Blocked,
    b: *const f32,
    blocks: usize,
    to: *mut f32,
    rows: usize,
) {
    let mut row = 0;
    while row < rows {
        // SAFETY: rows `row` to `row + taken` are there.
        unsafe {
            let (a, to) = (Blocked { at: a.at.add(row * S::LANES), ..a }, to.add(row * N * S::LANES));
            row += match rows - row {
                12.. if S::REGISTERS >= 32 => tile::<S, 12, N>(s, a, b, blocks, to),
                8.. if S::REGISTERS >= 32 => tile::<S, 8, N>(s, a, b, blocks, to),
                6.. if S::REGISTERS < 32 => tile::<S, 6, N>(s, a, b, blocks, to),
                4.. => tile::<S, 4, N>(s, a, b, blocks, to),
                2.. => tile::<S, 2, N>(s, a, b, blocks, to),
                _ => tile::<S, 1, N>(s, a, b, blocks, to),
            };
        }
    }
}

/// `R` rows; gives `R`.
///
/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const N: usize>(
    s: S,
    a: Blocked,
    b: *const f32,
    blocks: usize,
    to: *mut f32,
) -> usize {
    let mut sums = [[s.splat(0.0); N]; R];
    let (mut left, mut right) = (a.at, b);
    for _ in 0..blocks {
        for k in 0..S::LANES {
            // SAFETY: step k of this block; the caller vouches for its rows.
            unsafe {
                let mut columns = [s.splat(0.0); N];
                for v in 0..N {
                    columns[v] = s.load(right.add((k * N + v) * S::LANES));
                }
                for r in 0..R {
                    let value = s.splat(*left.add(r * S::LANES + k));
                    for v in 0..N {
                        sums[r][v] = s.mul_add(value, columns[v], sums[r][v]);
                    }
                }
            }
        }
        left = left.wrapping_add(a.rows * S::LANES);
        right = right.wrapping_add(N * S::LANES * S::LANES);
    }
    for r in 0..R {
        for v in 0..N {
            // SAFETY: the caller vouches for the rows of `to`.
            unsafe { s.store(to.add((r * N + v) * S::LANES), sums[r][v]) };
        }
    }
    R
}

/// `to[i][..] (+)= Σₜ a[t][i] · b[t][..]` for `R` columns of `a`, from one of its blocks on, and `N` blocks of `b`;
/// overwrites where `fresh`.
///
/// # Safety
/// `a` points to column `i` of a block with `count` rows, `R` columns are left of it; `b` to a block of as many rows,
/// the next one `b_next` floats further; `to` holds `R` rows of `N` vectors.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // Two matrices with their sizes, and where to.
pub(super) unsafe fn outer<S: Simd, const R: usize, const N: usize>(
    s: S,
    a: *const f32,
    b: *const f32,
    b_next: usize,
    count: usize,
    to: *mut f32,
    fresh: bool,
) {
    let mut sums = [[s.splat(0.0); N]; R];
    if !fresh {
        for r in 0..R {
            for v in 0..N {
                // SAFETY: the caller vouches for `to`.
                sums[r][v] = unsafe { s.load(to.add((r * N + v) * S::LANES)) };
            }
        }
    }
    for t in 0..count {
        // SAFETY: row t of both; the caller vouches for them.
        unsafe {
            let mut columns = [s.splat(0.0); N];
            for v in 0..N {
                columns[v] = s.load(b.add(t * S::LANES + v * b_next));
            }
            for r in 0..R {
                let value = s.splat(*a.add(t * S::LANES + r));
                for v in 0..N {
                    sums[r][v] = s.mul_add(value, columns[v], sums[r][v]);
                }
            }
        }
    }
    for r in 0..R {
        for v in 0..N {
            // SAFETY: the caller vouches for `to`.
            unsafe { s.store(to.add((r * N + v) * S::LANES), sums[r][v]) };
        }
    }
}
