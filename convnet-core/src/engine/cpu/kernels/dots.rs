//! The product of a matrix with the transpose of another, as scalar products of their rows: C = A·Bᵀ.
//!
//! For the input's gradient of a large dense layer: its weights are read once as they lie, where the packed product would
//! want them transposed, a copy of the whole layer after each change of the weights. Each scalar product costs a sum
//! over lanes in the end, so the rows must be long ([`worth_it`]).

use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};

/// Rows of B in a tile.
const TILE: usize = 4;

/// Whether rows of `depth` values are long enough.
pub(super) fn worth_it(depth: usize) -> bool {
    depth >= 256
}

/// C = A·Bᵀ of row-major matrices without gaps.
pub(super) struct Dots<'a> {
    pub a: &'a [f32],
    pub b: &'a [f32],
    pub c: &'a mut [f32],
    /// Length of the rows of A and B.
    pub depth: usize,
}

impl Dots<'_> {
    /// Runs the product at a level.
    pub fn run(self, level: Level) {
        vectorize(level, self);
    }
}

impl Vectorized for Dots<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // As many sums as the registers hold next to the rows.
        if S::REGISTERS >= 32 { self.tiles::<S, 4>(s) } else { self.tiles::<S, 2>(s) }
    }
}

impl Dots<'_> {
    /// All products, in tiles of `ROWS` rows of A.
    #[inline(always)]
    fn tiles<S: Simd, const ROWS: usize>(self, s: S) {
        let Dots { a, b, c, depth } = self;
        let (rows, columns) = (a.len() / depth, b.len() / depth);
        let at = |matrix: &'_ [f32], i: usize| matrix[i * depth..][..depth].as_ptr();
        for column in (0..columns).step_by(TILE) {
            for row in (0..rows).step_by(ROWS) {
                if row + ROWS <= rows && column + TILE <= columns {
                    let (a, b) = (std::array::from_fn(|r| at(a, row + r)), std::array::from_fn(|q| at(b, column + q)));
                    // SAFETY: all pointers are to rows of `depth` values.
                    let sums = unsafe { tile::<S, ROWS, TILE>(s, a, b, depth) };
                    for (r, sums) in sums.iter().enumerate() {
                        c[(row + r) * columns + column..][..TILE].copy_from_slice(sums);
                    }
                } else {
                    for r in row..rows.min(row + ROWS) {
                        for q in column..columns.min(column + TILE) {
                            // SAFETY: both pointers are to rows of `depth` values.
                            let [[sum]] = unsafe { tile::<S, 1, 1>(s, [at(a, r)], [at(b, q)], depth) };
                            c[r * columns + q] = sum;
                        }
                    }
                }
            }
        }
    }
}

/// The scalar products of `M` rows with `N` rows.
///
/// # Safety
/// `depth` values are readable at each pointer.
#[inline(always)]
unsafe fn tile<S: Simd, const M: usize, const N: usize>(
    s: S,
    a: [*const f32; M],
    b: [*const f32; N],
    depth: usize,
) -> [[f32; N]; M] {
    let mut sums = [[s.splat(0.0); N]; M];
    for k in (0..depth).step_by(S::LANES) {
        let count = S::LANES.min(depth - k);
        let mut right = [s.splat(0.0); N];
        for (vector, from) in right.iter_mut().zip(b) {
            // SAFETY: k + count ≤ depth.
            *vector = unsafe { read(s, from.add(k), count) };
        }
        for (sums, from) in sums.iter_mut().zip(a) {
            // SAFETY: k + count ≤ depth.
            let left = unsafe { read(s, from.add(k), count) };
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = s.mul_add(left, right, *sum);
            }
        }
    }
    let mut totals = [[0.0; N]; M];
    for (totals, sums) in totals.iter_mut().zip(sums) {
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = s.sum(sum);
        }
    }
    totals
}

/// # Safety
/// `count` ≤ [`Simd::LANES`] values are readable.
#[inline(always)]
unsafe fn read<S: Simd>(s: S, from: *const f32, count: usize) -> S::V {
    // SAFETY: as the caller says.
    unsafe { if count == S::LANES { s.load(from) } else { s.load_first(from, count) } }
}
