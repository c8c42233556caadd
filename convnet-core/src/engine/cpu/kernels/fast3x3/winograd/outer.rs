//! Sums over tiles, for the gradient of the weights: one outer product a tile, a point after the other.

use crate::engine::cpu::simd::{Simd, Vectorized};

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
