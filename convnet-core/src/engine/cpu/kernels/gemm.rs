//! The matrix product under convolutions and dense layers: C = start + A·B, single precision, one thread.
//!
//! The element of A at row m and index k lies at `rows(m) + runs(k)`, a sum of two tables of [`Offsets`]: whatever can
//! be written so is a matrix without being copied into one. A convolution's forward pass has positions as rows and
//! taps as k; the gradient of its weights has taps as rows and positions as k, over the same memory. B is either
//! plain rows of whole vectors or, for other widths, [`Panels`](super::gemm_pack::Panels).
//!
//! Every element of C is one chain of fused multiply-adds in the order of k that begins with what C starts from. How
//! rows, columns and k are cut into blocks changes no bit of it; nor does cutting k into several calls that add to C.
//!
//! Blocks: some k by one panel's width of B, [`BLOCK`] floats, stay in the first-level cache while the tiles of up to
//! [`ROWS`] rows pass over them; A's and C's blocks live in the second level. All columns of a block of k come before the next,
//! so that a large B that lies in plain rows is read in order. See [`super::gemm_tile`] for the tile itself.
//! B and C that start at multiples of 64 bytes gain 5 to 10 %.

use super::gemm_copy::{COPIED, Copy, Room};
use super::gemm_tile::{self, First, MAX_ROWS, Tile};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use std::ops::Range;

/// Floats of B in a block: two thirds of a first-level cache of 48 KiB.
pub(super) const BLOCK: usize = 8192;
/// The most runs of k in a block.
const RUNS: usize = 128;
/// Rows in a block: a multiple of 6, 9 and 12.
const ROWS: usize = 252;
/// Floats from one row of B to the next that are far.
const FAR: usize = 1024;
/// The longest k that is short.
const SHORT: usize = 64;
/// The shortest rows of C that are long: a block of them does not stay in the second level.
const LONG: usize = 1024;
/// The most floats of a B that stays in the second level.
const SHORT_B: usize = 1 << 18;

/// A table of offsets that repeats: entry `i` is `table[i % len] + (i / len) · period`.
#[derive(Clone, Debug)]
pub struct Offsets {
    table: Box<[usize]>,
    largest: usize,
    period: usize,
}

impl Offsets {
    /// From the entries of the first period. An empty table stands for one entry of zero.
    pub fn new(table: impl IntoIterator<Item = usize>, period: usize) -> Self {
        let mut table: Box<[usize]> = table.into_iter().collect();
        if table.is_empty() {
            table = Box::new([0]);
        }
        let largest = table.iter().copied().max().unwrap_or(0);
        Offsets { table, largest, period }
    }

    /// The multiples of `stride`.
    pub fn every(stride: usize) -> Self {
        Offsets::new([0], stride)
    }

    /// Entry `index`.
    pub fn at(&self, index: usize) -> usize {
        self.table[index % self.table.len()] + index / self.table.len() * self.period
    }

    /// The largest of the first `count` entries, or more.
    fn bound(&self, count: usize) -> usize {
        if count < self.table.len() {
            return self.table[..count].iter().copied().max().unwrap_or(0);
        }
        let periods = count.saturating_sub(1) / self.table.len();
        self.largest.saturating_add(periods.saturating_mul(self.period))
    }

    /// The entries from `first` on.
    #[inline(always)]
    fn from(&self, first: usize) -> impl Iterator<Item = usize> + '_ {
        let (mut base, mut index) = (first / self.table.len() * self.period, first % self.table.len());
        std::iter::from_fn(move || {
            let offset = base + self.table[index];
            index += 1;
            if index == self.table.len() {
                index = 0;
                base += self.period;
            }
            Some(offset)
        })
    }
}

/// The left factor: `rows` rows, each of `runs` runs of `len` values at distance `step`.
#[derive(Clone, Copy)]
pub struct A<'a> {
    /// What the offsets point into.
    pub data: &'a [f32],
    /// Where each row starts.
    pub row_offsets: &'a Offsets,
    /// Number of rows.
    pub rows: usize,
    /// Where each run starts, from the row's start.
    pub run_offsets: &'a Offsets,
    /// Number of runs.
    pub runs: usize,
    /// Length of a run.
    pub len: usize,
    /// Distance of a run's values.
    pub step: usize,
}

/// The right factor.
#[derive(Clone, Copy)]
pub enum B<'a> {
    /// Row-major. Each row must be readable up to whole vectors.
    Rows {
        /// The elements.
        data: &'a [f32],
        /// From one row to the next.
        stride: usize,
    },
    /// In the layout of [`Panels`](super::gemm_pack::Panels).
    Panels(&'a [f32]),
    /// In as many runs of as many rows as A has. Each row must be readable up to whole vectors.
    Runs {
        /// What the offsets point into.
        data: &'a [f32],
        /// Where the first row of each run starts.
        offsets: &'a Offsets,
        /// From one row of a run to the next.
        stride: usize,
    },
}

/// What C starts from.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// Zero.
    Zero,
    /// One value a column.
    Bias(&'a [f32]),
    /// Itself: the product is added.
    C,
}

/// The whole product.
pub struct Gemm<'a> {
    /// The left factor.
    pub a: A<'a>,
    /// The right factor.
    pub b: B<'a>,
    /// The result, row-major.
    pub c: &'a mut [f32],
    /// From one row of C to the next, at least `columns`.
    pub c_stride: usize,
    /// Columns of B and C.
    pub columns: usize,
    /// What C starts from.
    pub start: Start<'a>,
    /// Whether `max(0, x)` is applied to the result. NaN stays NaN.
    pub relu: bool,
}

/// Widths that depend on the level.
#[derive(Clone, Copy, Debug)]
pub struct Widths {
    /// The level itself.
    pub level: Level,
    /// Floats in a vector.
    pub lanes: usize,
    /// Columns of a panel of B.
    pub panel: usize,
}

impl Widths {
    /// Those of a level.
    pub fn of(level: Level) -> Self {
        struct Ask(Level);
        impl Vectorized for Ask {
            type Output = Widths;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> Widths {
                Widths { level: self.0, lanes: S::LANES, panel: S::LANES * gemm_tile::widest::<S>() }
            }
        }
        vectorize(level, Ask(level))
    }
}

/// Runs the product at a level.
///
/// # Panics
/// If a factor is too short for its sizes.
pub fn gemm(level: Level, product: Gemm<'_>) {
    vectorize(level, product);
}

impl Gemm<'_> {
    /// What the unsafe code below relies on. Sums saturate: what overflows is refused.
    fn check(&self, lanes: usize) {
        let Gemm { a, b, c, .. } = self;
        if a.rows == 0 || self.columns == 0 {
            return;
        }
        /// The last element of `rows` rows of `width` at distance `stride`, and one.
        fn end(rows: usize, stride: usize, width: usize) -> usize {
            (rows - 1).saturating_mul(stride).saturating_add(width)
        }
        assert!(end(a.rows, self.c_stride, self.columns) <= c.len() && self.c_stride >= self.columns, "C too short");
        if let Start::Bias(bias) = self.start {
            assert!(bias.len() >= self.columns, "bias too short");
        }
        let depth = a.runs.saturating_mul(a.len);
        if depth == 0 {
            return;
        }
        let (row, run) = (a.row_offsets.bound(a.rows), a.run_offsets.bound(a.runs));
        assert!(row.saturating_add(run).saturating_add(end(a.len, a.step, 1)) <= a.data.len(), "A too short");
        let width = self.columns.next_multiple_of(lanes);
        match b {
            B::Rows { data, stride } => assert!(end(depth, *stride, width) <= data.len(), "B too short"),
            B::Panels(data) => assert!(depth.saturating_mul(width) <= data.len(), "B too short"),
            B::Runs { data, offsets, stride } => {
                let end = offsets.bound(a.runs).saturating_add(end(a.len, *stride, width));
                assert!(end <= data.len(), "B too short");
            }
        }
    }
}

/// A block of k: some whole runs, or a piece of one.
struct Depth {
    /// Index of the first run, and number of runs.
    runs: (usize, usize),
    /// The piece of each run.
    piece: Range<usize>,
}

/// Calls `each` with the blocks of k, in order, none longer than `steps`; with one empty block if there is no k.
#[inline(always)]
fn blocks(a: &A<'_>, steps: usize, mut each: impl FnMut(Depth)) {
    if a.runs == 0 || a.len == 0 {
        each(Depth { runs: (0, 0), piece: 0..0 });
    } else if a.len > steps {
        let len = a.len.div_ceil(a.len.div_ceil(steps));
        for run in 0..a.runs {
            for first in (0..a.len).step_by(len) {
                each(Depth { runs: (run, 1), piece: first..a.len.min(first + len) });
            }
        }
    } else {
        let most = (steps / a.len).min(RUNS);
        let count = a.runs.div_ceil(a.runs.div_ceil(most));
        for run in (0..a.runs).step_by(count) {
            each(Depth { runs: (run, count.min(a.runs - run)), piece: 0..a.len });
        }
    }
}

impl Vectorized for Gemm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.check(S::LANES);
        let (depth, columns) = (self.a.runs * self.a.len, self.columns.next_multiple_of(S::LANES));
        let panel = S::LANES * self.vectors::<S>();
        let steps = match self.b {
            // Nothing that a first-level cache would keep for another tile.
            B::Runs { .. } if self.a.rows <= gemm_tile::tallest::<S>(self.vectors::<S>()) => usize::MAX,
            _ if self.copies::<S>() => BLOCK / COPIED,
            _ => BLOCK / panel.min(columns),
        };
        // A short k makes C the largest of the three: if its rows are long, they are written one after the other.
        let along = depth <= SHORT && columns >= LONG && depth * columns <= SHORT_B;
        let height = if along { gemm_tile::tallest::<S>(gemm_tile::widest::<S>()) } else { ROWS };
        for first_row in (0..self.a.rows).step_by(height) {
            let rows = first_row..self.a.rows.min(first_row + height);
            let a = self.a;
            blocks(&a, steps, |block| self.block(simd, rows.clone(), block));
        }
    }
}

impl Gemm<'_> {
    /// Vectors in a panel.
    #[inline(always)]
    fn vectors<S: Simd>(&self) -> usize {
        if let B::Panels(_) = self.b { gemm_tile::widest::<S>() } else { gemm_tile::broadest::<S>(self.a.rows) }
    }

    /// Whether B is copied, block by block: rows that lie far apart compete for the same places of a cache, which hurts
    /// where more than one tile reads them.
    #[inline(always)]
    fn copies<S: Simd>(&self) -> bool {
        let again = self.a.rows > gemm_tile::tallest::<S>(gemm_tile::widest::<S>());
        again && matches!(self.b, B::Rows { stride, .. } if stride >= FAR && self.columns > COPIED)
    }

    /// Some rows, one block of k, all columns.
    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, rows: Range<usize>, block: Depth) {
        let a = &self.a;
        let (run, count) = block.runs;
        let depth = a.runs * a.len;
        let first = run * a.len + block.piece.start;
        let last = (run + count.max(1) - 1) * a.len + block.piece.end;
        let c = self.c.as_mut_ptr();
        let broadest = self.vectors::<S>();
        let mut room = Room([std::mem::MaybeUninit::uninit(); BLOCK]);
        let (copies, mut copied) = (self.copies::<S>(), 0..0);
        let mut column = 0;
        let mut table = [[0; 2]; RUNS];
        for (entry, from) in table.iter_mut().zip(a.run_offsets.from(run)).take(count) {
            entry[0] = from + block.piece.start * a.step;
        }
        let mut table_stride = usize::MAX;
        while column < self.columns {
            let left = (self.columns - column).div_ceil(S::LANES);
            let vectors = if left >= broadest { broadest } else { gemm_tile::widest::<S>().min(left) };
            let columns = (vectors * S::LANES).min(self.columns - column);
            let width = vectors * S::LANES;
            let (mut b, mut b_stride) = match self.b {
                B::Rows { data, stride } => (data.as_ptr().wrapping_add(column + first * stride), stride),
                B::Panels(data) => (data.as_ptr().wrapping_add(column * depth + first * width), width),
                B::Runs { data, stride, .. } => {
                    (data.as_ptr().wrapping_add(column + block.piece.start * stride), stride)
                }
            };
            if copies {
                if !copied.contains(&column) {
                    let count = COPIED.min(left * S::LANES);
                    copied = column..column + count;
                    let (rows, vectors) = (last - first, count / S::LANES);
                    simd.call(Copy { from: b, stride: b_stride, rows, vectors, to: room.0.as_mut_ptr().cast() });
                }
                b_stride = copied.len();
                b = room.0.as_ptr().cast::<f32>().wrapping_add(column - copied.start);
            }
            if table_stride != b_stride {
                table_stride = b_stride;
                match self.b {
                    B::Runs { offsets, .. } => {
                        for (entry, from) in table.iter_mut().zip(offsets.from(run)).take(count) {
                            entry[1] = from;
                        }
                    }
                    _ => {
                        let step = block.piece.len() * b_stride;
                        table.iter_mut().take(count).enumerate().for_each(|(r, entry)| entry[1] = r * step);
                    }
                }
            }
            let tile = Tile {
                rows: [std::ptr::null(); MAX_ROWS],
                runs: &table[..count],
                len: block.piece.len(),
                step: a.step,
                b,
                b_stride,
                c: c.wrapping_add(column),
                c_stride: self.c_stride,
                columns,
                first: match self.start {
                    Start::Zero if first == 0 => First::Zero,
                    Start::Bias(bias) if first == 0 => First::Bias(bias.as_ptr().wrapping_add(column)),
                    _ => First::C,
                },
                relu: self.relu && last == depth,
            };
            row_tiles(simd, a, rows.clone(), tile);
            column += columns;
        }
    }
}

/// The tiles of a block, as even in height as they can be.
#[inline(always)]
fn row_tiles<S: Simd>(simd: S, a: &A<'_>, rows: Range<usize>, mut tile: Tile<'_>) {
    let tallest = gemm_tile::tallest::<S>(tile.columns.div_ceil(S::LANES));
    let tiles = rows.len().div_ceil(tallest);
    let mut offsets = a.row_offsets.from(rows.start);
    let c = tile.c;
    let mut row = rows.start;
    for index in 0..tiles {
        let count = rows.len() / tiles + usize::from(index < rows.len() % tiles);
        for (pointer, offset) in tile.rows.iter_mut().zip(&mut offsets).take(count) {
            *pointer = a.data.as_ptr().wrapping_add(offset);
        }
        tile.c = c.wrapping_add(row * tile.c_stride);
        // SAFETY: `check` has seen that the largest offsets of A, B, C and the bias lie within their slices; C
        // is borrowed mutably by the product.
        unsafe { gemm_tile::run(simd, count, &tile) }
        row += count;
    }
}
