//! The matrix products between the transforms: one small product a point of the tile.
//!
//! Why it is as it is. A tile of 12 rows × two vectors of columns takes 24 accumulators; a step of k loads two vectors
//! and broadcasts 12 floats for 24 multiply-adds, within the two loads a cycle that the machines at hand have. The left
//! side is stored with `LANES` steps of k of a row together and the rows behind one another, as the transforms produce
//! it, so that all addresses of 16 steps are constant distances from one pointer.

use crate::engine::cpu::simd::{Simd, Vectorized};

/// A matrix in blocks of `LANES` columns: block by block, row by row.
#[derive(Clone, Copy)]
pub(super) struct Blocked {
    pub at: *const f32,
    /// Rows of each block.
    pub rows: usize,
}

/// `to[r][..] = Σₖ a[r][k] · b[k][..]` for the first `rows` rows of `a`; a row of `b` and of `to` is one or two vectors.
///
/// # Safety
/// `a` has `blocks · LANES` columns and at least `rows` rows; `b` as many rows; `to` has `rows`.
#[inline(always)]
pub(super) unsafe fn product<S: Simd>(
    s: S,
    vectors: usize,
    a: Blocked,
    b: *const f32,
    blocks: usize,
    to: *mut f32,
    rows: usize,
) {
    let mut row = 0;
    while row < rows {
        let product = Product {
            a: Blocked { at: a.at.wrapping_add(row * S::LANES), ..a },
            b,
            blocks,
            to: to.wrapping_add(row * vectors * S::LANES),
        };
        row += match (rows - row, vectors) {
            (12.., 2) if S::REGISTERS >= 32 => s.call(Rows::<12, 2>(product)),
            (8.., 2) if S::REGISTERS >= 32 => s.call(Rows::<8, 2>(product)),
            (6.., 2) if S::REGISTERS < 32 => s.call(Rows::<6, 2>(product)),
            (4.., 2) => s.call(Rows::<4, 2>(product)),
            (_, 2) => s.call(Rows::<1, 2>(product)),
            (8.., _) => s.call(Rows::<8, 1>(product)),
            (4.., _) => s.call(Rows::<4, 1>(product)),
            _ => s.call(Rows::<1, 1>(product)),
        };
    }
}

/// What [`product`] was called with.
#[derive(Clone, Copy)]
struct Product {
    a: Blocked,
    b: *const f32,
    blocks: usize,
    to: *mut f32,
}

/// `R` rows of a product, as a function of its own; only [`product`] makes one, of rows that are there.
struct Rows<const R: usize, const N: usize>(Product);

impl<const R: usize, const N: usize> Vectorized for Rows<R, N> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let Product { a, b, blocks, to } = self.0;
        // SAFETY: the caller of `product` vouches for the rows.
        unsafe { tile::<S, R, N>(s, a, b, blocks, to) }
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

/// `to[i][..] (+)= Σₜ a[t][i] · b[t][..]` for some columns of `a` and one or two blocks of `b`.
#[derive(Clone, Copy)]
pub(super) struct Outer {
    /// A column of the first row of a block.
    pub a: *const f32,
    /// The first row of a block of as many rows.
    pub b: *const f32,
    /// Floats from one block of `b` to the next.
    pub next: usize,
    /// Rows of both.
    pub count: usize,
    /// One row a column of `a`, of one or two vectors.
    pub to: *mut f32,
    /// Whether to overwrite.
    pub fresh: bool,
}

impl Outer {
    /// Does it for `R` columns, a multiple of 4.
    ///
    /// # Safety
    /// What the fields say is readable and writable there, for `R` columns and `vectors` blocks.
    #[inline(always)]
    pub unsafe fn sum<S: Simd, const R: usize>(self, s: S, vectors: usize) {
        if S::REGISTERS >= 32 {
            match vectors {
                2 => s.call(Columns::<R, 2>(self)),
                _ => s.call(Columns::<R, 1>(self)),
            }
        } else {
            for column in (0..R).step_by(4) {
                let to = self.to.wrapping_add(column * vectors * S::LANES);
                let part = Outer { a: self.a.wrapping_add(column), to, ..self };
                match vectors {
                    2 => s.call(Columns::<4, 2>(part)),
                    _ => s.call(Columns::<4, 1>(part)),
                }
            }
        }
    }
}

/// `R` columns and `N` blocks; only [`Outer::sum`] makes one.
struct Columns<const R: usize, const N: usize>(Outer);

impl<const R: usize, const N: usize> Vectorized for Columns<R, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Outer { a, b, next, count, to, fresh } = self.0;
        let mut sums = [[s.splat(0.0); N]; R];
        if !fresh {
            for r in 0..R {
                for v in 0..N {
                    // SAFETY: the caller of `sum` vouches for `to`.
                    sums[r][v] = unsafe { s.load(to.add((r * N + v) * S::LANES)) };
                }
            }
        }
        for t in 0..count {
            // SAFETY: row t of both; the caller of `sum` vouches for them.
            unsafe {
                let mut columns = [s.splat(0.0); N];
                for v in 0..N {
                    columns[v] = s.load(b.add(t * S::LANES + v * next));
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
                // SAFETY: the caller of `sum` vouches for `to`.
                unsafe { s.store(to.add((r * N + v) * S::LANES), sums[r][v]) };
            }
        }
    }
}
