//! The matrix products between the transforms: one a point of the tile.
//!
//! Why it is as it is. A tile of 12 rows × two vectors of columns takes 24 accumulators; a step of k loads two vectors
//! and broadcasts 12 floats for 24 multiply-adds, within the two loads a cycle that the machines at hand have. The left
//! side is stored with `LANES` steps of k of a row together and the rows behind one another, as the transforms produce
//! it, so that all addresses of these steps are constant distances from one pointer. Rows are cut evenly (26 = 14 + 12,
//! never 24 + 2: two rows wait for their own sums), in pairs: half as many functions to compile. A step also asks for
//! a line of the left side's next block, where the addresses jump, and for one of the next panel of the right side, which
//! may come from beyond the second cache: 512 to 512 channels gain 5 to 10 %, 128 at best 3 %. (Asked for into the first cache,
//! which has no room for it, the next panel gains nothing.)
//!
//! Where there is a tile unit, [`super::digits`] makes the products of many channels.

use super::digits::Digits;
use crate::engine::cpu::simd::{Simd, Vectorized, prefetch};
use std::ops::Range;

/// Vectors in a panel of columns; the last panel of an odd number of vectors has one.
pub(super) const PANEL: usize = 2;

/// Steps of k that stand behind one another in the code.
const UNROLLED: usize = 4;

/// Floats from one point to the next of `len` floats a point: one cache line more, for else the points of a tile, a
/// multiple of some large power of two apart, would all fall into the same few sets of the first cache.
pub(super) const fn apart(len: usize) -> usize {
    len + 16
}

/// Both factors of the products of all points.
///
/// The left one lies as (points, blocks of `LANES` columns, rows, columns of the block), points [`apart`]; where `depth`
/// is no multiple of the lanes, the last block has room for more. The right one lies as (panels, points, depth, columns
/// of the panel), points `apart`, panels of [`PANEL`] vectors.
#[derive(Clone, Copy)]
pub(super) struct Factors<'a> {
    pub points: usize,
    pub left: &'a [f32],
    /// Rows of the left factor, an even number.
    pub rows: usize,
    /// Columns of the left factor, rows of the right one.
    pub depth: usize,
    pub right: &'a [f32],
    /// Vectors of columns of the right factor.
    pub vectors: usize,
    /// The left factor for the tile unit, for which the right one then is, too.
    pub digits: Option<Digits<'a>>,
}

/// A few neighbouring vectors of columns of the products: as (points, panels, rows, columns of the panel), points
/// [`apart`].
pub(super) struct Slice {
    /// The first one; a panel begins here.
    pub first: usize,
    /// How many; whole panels, but for the last of all.
    pub count: usize,
}

impl Slice {
    /// Floats from one point of the products to the next.
    #[inline(always)]
    pub fn apart<S: Simd>(&self, rows: usize) -> usize {
        apart(rows * self.count * S::LANES)
    }

    /// Where a vector's column of values of a point starts, and how far apart two rows are.
    #[inline(always)]
    pub fn place<S: Simd>(&self, rows: usize, vector: usize) -> (usize, usize) {
        let panel = vector / PANEL * PANEL;
        let width = PANEL.min(self.count - panel);
        (panel * rows * S::LANES + vector % PANEL * S::LANES, width * S::LANES)
    }
}

impl Factors<'_> {
    /// Writes a slice of the products: of each point those rows, an even number, that `wanted` says.
    #[inline(always)]
    pub fn multiply<S: Simd>(&self, s: S, slice: &Slice, wanted: impl Fn(usize) -> Range<usize>, to: &mut [f32]) {
        let Factors { points, left, rows, depth, right, vectors, digits } = *self;
        if let Some(digits) = digits {
            return digits.multiply(right, vectors, slice, wanted, to);
        }
        let (left_apart, to_apart) = (apart(rows * depth.next_multiple_of(S::LANES)), slice.apart::<S>(rows));
        let whole = points * apart(depth * PANEL * S::LANES);
        assert!(rows.is_multiple_of(2) && slice.first.is_multiple_of(PANEL) && slice.first + slice.count <= vectors);
        assert!(left.len() >= points * left_apart && to.len() >= points * to_apart);
        let last = vectors % PANEL * S::LANES;
        let odd = if last == 0 { 0 } else { points * apart(depth * last) };
        assert!(right.len() >= vectors / PANEL * whole + odd);
        // The panel at a vector of columns for one point; wherever a panel would follow, behind the last.
        let panel = |point: usize, vector: usize| {
            let width = PANEL.min(vectors.saturating_sub(vector)).max(1);
            right.as_ptr().wrapping_add(vector / PANEL * whole + point * apart(depth * width * S::LANES))
        };
        for point in 0..points {
            let Range { start, end } = wanted(point);
            assert!(start <= end && end <= rows && (end - start).is_multiple_of(2));
            for vector in (slice.first..slice.first + slice.count).step_by(PANEL) {
                let next = match (vector + PANEL < slice.first + slice.count, point + 1 < points) {
                    (true, _) => panel(point, vector + PANEL),
                    (false, true) => panel(point + 1, slice.first),
                    (false, false) => panel(0, slice.first + slice.count),
                };
                let width = PANEL.min(vectors - vector);
                let at = point * to_apart + ((vector - slice.first) * rows + start * width) * S::LANES;
                let part = Part {
                    left: left.as_ptr().wrapping_add(point * left_apart + start * S::LANES),
                    rows,
                    wanted: end - start,
                    right: panel(point, vector),
                    depth,
                    to: to.as_mut_ptr().wrapping_add(at),
                    next,
                };
                // SAFETY: the lengths were checked; a panel of the right factor is `depth` rows of its vectors.
                unsafe {
                    if width == PANEL {
                        part.product::<S, 2>(s);
                    } else {
                        part.product::<S, 1>(s);
                    }
                }
            }
        }
    }
}

/// One point and panel.
#[derive(Clone, Copy)]
struct Part {
    left: *const f32,
    /// Rows of each block of the left factor.
    rows: usize,
    /// How many of them there are products of.
    wanted: usize,
    right: *const f32,
    depth: usize,
    to: *mut f32,
    /// What will be the right factor next.
    next: *const f32,
}

impl Part {
    /// All wanted rows, of `N` vectors of columns.
    ///
    /// # Safety
    /// The factors are readable, the product is writable.
    #[inline(always)]
    unsafe fn product<S: Simd, const N: usize>(self, s: S) {
        // Accumulators, the columns and a broadcast share the registers.
        let most = match S::REGISTERS {
            32.. => 14,
            16.. => 12 / N,
            _ => 4,
        };
        let (pairs, groups) = (self.wanted / 2, self.wanted.div_ceil(most));
        for group in 0..groups {
            let (row, end) = (group * pairs / groups * 2, (group + 1) * pairs / groups * 2);
            let part = Part {
                left: self.left.wrapping_add(row * S::LANES),
                to: self.to.wrapping_add(row * N * S::LANES),
                // The first two groups ask for every other line of what comes next.
                next: self.next.wrapping_add(group % 2 * 16),
                ..self
            };
            part.some_rows::<S, N>(s, end - row);
        }
    }

    /// The first `rows` rows, an even number that the level has registers for.
    #[inline(always)]
    fn some_rows<S: Simd, const N: usize>(self, s: S, rows: usize) {
        if S::REGISTERS >= 32 && rows == 14 {
            return s.call(Rows::<14, N>(self));
        }
        if S::REGISTERS >= 32 || S::REGISTERS >= 16 && N == 1 {
            match rows {
                12 => return s.call(Rows::<12, N>(self)),
                10 => return s.call(Rows::<10, N>(self)),
                8 => return s.call(Rows::<8, N>(self)),
                _ => {}
            }
        }
        if S::REGISTERS >= 16 && rows == 6 {
            return s.call(Rows::<6, N>(self));
        }
        match rows {
            4 => s.call(Rows::<4, N>(self)),
            _ => s.call(Rows::<2, N>(self)),
        }
    }
}

/// The first `R` rows of a part, as a function of its own; only [`Part::product`] makes one, of rows that are there.
struct Rows<const R: usize, const N: usize>(Part);

impl<const R: usize, const N: usize> Vectorized for Rows<R, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Part { left, rows, right, depth, to, next, .. } = self.0;
        let mut sums = [[s.splat(0.0); N]; R];
        let (mut left, mut right, mut next) = (left, right, next);
        for _ in 0..depth / S::LANES {
            let ahead = left.wrapping_add(rows * S::LANES);
            for k in (0..S::LANES).step_by(UNROLLED) {
                for i in 0..UNROLLED {
                    // Lines of rows that are not there do no harm.
                    prefetch::<true>(ahead.wrapping_add((k + i) * S::LANES));
                    prefetch::<false>(next.wrapping_add(i * N * S::LANES));
                    // SAFETY: a step of this block; the caller of `product` vouches for its rows.
                    unsafe { step::<S, R, N>(s, left.add(k + i), right.add(i * N * S::LANES), &mut sums) };
                }
                right = right.wrapping_add(UNROLLED * N * S::LANES);
                next = next.wrapping_add(UNROLLED * N * S::LANES);
            }
            left = ahead;
        }
        for k in 0..depth % S::LANES {
            // SAFETY: as above, of the last block.
            unsafe { step::<S, R, N>(s, left.add(k), right.add(k * N * S::LANES), &mut sums) };
        }
        for r in 0..R {
            for v in 0..N {
                // SAFETY: the caller of `product` vouches for the rows of `to`.
                unsafe { s.store(to.add((r * N + v) * S::LANES), sums[r][v]) };
            }
        }
    }
}

/// One step of k: a column of the left block, a row of the right one.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn step<S: Simd, const R: usize, const N: usize>(
    s: S,
    left: *const f32,
    right: *const f32,
    sums: &mut [[S::V; N]; R],
) {
    let mut columns = [s.splat(0.0); N];
    for v in 0..N {
        // SAFETY: the caller vouches for the row.
        columns[v] = unsafe { s.load(right.add(v * S::LANES)) };
    }
    for r in 0..R {
        // SAFETY: the caller vouches for the column.
        let value = s.splat(unsafe { *left.add(r * S::LANES) });
        for v in 0..N {
            sums[r][v] = s.mul_add(value, columns[v], sums[r][v]);
        }
    }
}
