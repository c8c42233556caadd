//! The register tile of the matrix product: up to 12 rows of A by up to four vectors of columns of B, all sums in
//! registers while k runs.
//!
//! Why it is as it is. A step of k loads the vectors of B once and broadcasts one value of each row of A, so a tile of
//! r rows and v vectors makes r·v multiply-adds of r + v loads. Two loads and two multiply-adds a cycle with a latency
//! of four want r·v ≥ 8 and r + v ≤ r·v; beyond that larger tiles only spare bandwidth of the first-level cache. The 32 registers of
//! AVX-512 hold 6×4, 8×3 and 12×2 sums next to B and the broadcast; the 16 of AVX2 hold 6×2. Rows of A are pointers,
//! not a stride: that is what lets a convolution run as a product without im2col, and 12 of them still fit the general
//! registers. Each number of rows is a function of its own, so that the rows of a block can be spread evenly over its
//! tiles (26 rows are 9 + 9 + 8 and not 12 + 12 + 2).

use crate::engine::cpu::simd::{Simd, Vectorized};

/// The most rows of any tile.
pub(super) const MAX_ROWS: usize = 12;

/// What the sums start from.
#[derive(Clone, Copy)]
pub(super) enum First {
    /// Zero.
    Zero,
    /// One value a column.
    Bias(*const f32),
    /// What C holds.
    C,
}

/// One tile's work. Rows beyond the tile's own are unused.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    /// First element of each row of A.
    pub rows: [*const f32; MAX_ROWS],
    /// Where each run of k starts: in floats from the row's first element, and from `b`.
    pub runs: &'a [[usize; 2]],
    /// Steps of k in a run.
    pub len: usize,
    /// Floats from one k to the next in A.
    pub step: usize,
    /// Where B's runs start from; all vectors of a row are readable to their full width.
    pub b: *const f32,
    /// Floats from one k of a run to the next in B.
    pub b_stride: usize,
    /// First element of C.
    pub c: *mut f32,
    /// Floats from one row of C to the next.
    pub c_stride: usize,
    /// Columns, of which the last vector may hold fewer than its lanes.
    pub columns: usize,
    /// What the sums start from.
    pub first: First,
    /// Whether `max(0, x)` is applied in the end.
    pub relu: bool,
}

/// The widest tile of a level, in vectors.
#[inline(always)]
pub(super) const fn widest<S: Simd>() -> usize {
    match S::REGISTERS {
        32.. => 4,
        16.. => 2,
        _ => 1,
    }
}

/// The widest tile of so many rows, in vectors: few rows leave room for more than [`widest`], and need it, since a
/// multiply-add takes four cycles and two begin in each. Tiles of widths between the two do not exist.
#[inline(always)]
pub(super) const fn broadest<S: Simd>(rows: usize) -> usize {
    match (S::REGISTERS, rows) {
        (32.., ..=3) => 8,
        (16..32, 1) => 8,
        (16..32, 2) => 4,
        (16..32, 3 | 4) => 3,
        _ => widest::<S>(),
    }
}

/// The most rows that a tile of so many vectors has.
#[inline(always)]
pub(super) const fn tallest<S: Simd>(vectors: usize) -> usize {
    match (S::REGISTERS, vectors) {
        (32.., 8) => 3,
        (16..32, 8) => 1,
        (16..32, 4) => 2,
        (16..32, 3) => 4,
        (32.., 4) => 6,
        (32.., 3) => 8,
        (32.., 2) => 12,
        (32.., _) => 12,
        (16.., 2) => 6,
        (16.., _) => 12,
        _ => 4,
    }
}

/// A tile of fixed size.
struct Sized<'a, const ROWS: usize, const VECTORS: usize>(&'a Tile<'a>);

impl<const ROWS: usize, const VECTORS: usize> Vectorized for Sized<'_, ROWS, VECTORS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: whoever made the tile (see `run`) vouched for its pointers.
        unsafe { multiply::<S, ROWS, VECTORS>(simd, self.0) }
    }
}

/// Computes a tile of `rows` ≤ [`tallest`] rows.
///
/// # Safety
/// For the `rows` rows and all k of all runs, A's elements are readable; so are `columns` of B rounded up to whole
/// vectors for each k, and the bias; C's `columns` are readable and writable in each row.
#[inline(always)]
pub(super) unsafe fn run<S: Simd>(simd: S, rows: usize, tile: &Tile<'_>) {
    // One arm a size; those that the level never asks for are cut by the constant condition.
    macro_rules! sizes {
        ($vectors:literal: $($rows:literal)*) => {
            match rows {
                $($rows if $rows <= tallest::<S>($vectors) => simd.call(Sized::<$rows, $vectors>(tile)),)*
                _ => {}
            }
        };
    }
    match tile.columns.div_ceil(S::LANES) {
        1 => sizes!(1: 1 2 3 4 5 6 7 8 9 10 11 12),
        2 if widest::<S>() >= 2 => sizes!(2: 1 2 3 4 5 6 7 8 9 10 11 12),
        3 if S::REGISTERS >= 16 => sizes!(3: 1 2 3 4 5 6 7 8),
        4 if S::REGISTERS >= 16 => sizes!(4: 1 2 3 4 5 6),
        8 if S::REGISTERS >= 16 => sizes!(8: 1 2 3),
        _ => {}
    }
}

/// The same number, of which the compiler knows nothing: else it turns `row + i` into one running pointer for each
/// row, and a dozen additions a step of k cost a quarter of the speed.
#[inline(always)]
pub(super) fn opaque(number: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let mut number = number;
        // SAFETY: no instruction at all.
        unsafe { std::arch::asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
        number
    }
    #[cfg(not(target_arch = "x86_64"))]
    number
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(simd: S, tile: &Tile<'_>) {
    let tail = tile.columns - (VECTORS - 1) * S::LANES;
    let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
    match tile.first {
        First::Zero => {}
        // SAFETY: `columns` values of the bias are readable, says the caller.
        First::Bias(bias) => sums = [unsafe { load_row(simd, bias, tail) }; ROWS],
        First::C => {
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `columns` values of each row of C are readable, says the caller.
                *sums = unsafe { load_row(simd, tile.c.add(r * tile.c_stride), tail) };
            }
        }
    }
    for &[run, b_run] in tile.runs {
        let (mut i, mut b) = (run, tile.b.wrapping_add(b_run));
        for _ in 0..tile.len {
            let mut row = [simd.splat(0.0); VECTORS];
            for (v, vector) in row.iter_mut().enumerate() {
                // SAFETY: B's rows are readable in whole vectors, says the caller.
                *vector = unsafe { simd.load(b.add(v * S::LANES)) };
            }
            for (sums, from) in sums.iter_mut().zip(tile.rows) {
                // SAFETY: the row has an element at this k, says the caller.
                let a = simd.splat(unsafe { *from.add(i) });
                for (sum, vector) in sums.iter_mut().zip(row) {
                    *sum = simd.mul_add(a, vector, *sum);
                }
            }
            i = opaque(i + tile.step);
            b = b.wrapping_add(tile.b_stride);
        }
    }
    if tile.relu {
        // Zero first: `max` gives its second argument where either is NaN, and a NaN shall stay one.
        for row in &mut sums {
            for sum in row {
                *sum = simd.max(simd.splat(0.0), *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        // SAFETY: `columns` values of each row of C are writable, says the caller.
        unsafe { store_row(simd, tile.c.add(r * tile.c_stride), sums, tail) }
    }
}

/// # Safety
/// The vectors, the last of `tail` values, are readable.
#[inline(always)]
unsafe fn load_row<S: Simd, const VECTORS: usize>(simd: S, from: *const f32, tail: usize) -> [S::V; VECTORS] {
    let mut row = [simd.splat(0.0); VECTORS];
    for (v, vector) in row.iter_mut().enumerate() {
        // SAFETY: only the last vector may be short, by what the caller says.
        *vector = unsafe {
            let from = from.add(v * S::LANES);
            if v + 1 < VECTORS || tail == S::LANES { simd.load(from) } else { simd.load_first(from, tail) }
        };
    }
    row
}

/// # Safety
/// The vectors, the last of `tail` values, are writable.
#[inline(always)]
unsafe fn store_row<S: Simd, const VECTORS: usize>(simd: S, to: *mut f32, row: &[S::V; VECTORS], tail: usize) {
    for (v, vector) in row.iter().enumerate() {
        // SAFETY: only the last vector may be short, by what the caller says.
        unsafe {
            let to = to.add(v * S::LANES);
            if v + 1 < VECTORS || tail == S::LANES {
                simd.store(to, *vector);
            } else {
                simd.store_first(to, *vector, tail);
            }
        }
    }
}
