//! Panels: the right factor of a product in the order in which the product reads it.
//!
//! Columns are cut into panels of the level's width, the last one as narrow as whole vectors allow; within a panel
//! lies one row of B after the other. Columns that B does not have hold zeros.

use super::gemm::{B, Widths};
use super::turn::turn;
use crate::engine::cpu::simd::{Simd, Vectorized, vectorize};

/// The layout of a right factor of `depth` rows and `columns` columns.
#[derive(Clone, Copy, Debug)]
pub struct Panels {
    widths: Widths,
    depth: usize,
    columns: usize,
}

impl Panels {
    /// For a product at the level of `widths`.
    pub fn new(widths: Widths, depth: usize, columns: usize) -> Self {
        Panels { widths, depth, columns }
    }

    /// Floats that it takes.
    pub fn size(&self) -> usize {
        self.depth * self.columns.next_multiple_of(self.widths.lanes)
    }

    /// First element of row `k` in the panel of `column`, which starts a panel, and the panel's width.
    fn row(&self, k: usize, column: usize) -> (usize, usize) {
        let width = self.widths.panel.min((self.columns - column).next_multiple_of(self.widths.lanes));
        (column * self.depth + k * width, width)
    }

    /// Copies the row-major matrix `from`.
    pub fn pack(&self, from: &[f32], to: &mut [f32]) {
        for column in (0..self.columns).step_by(self.widths.panel) {
            for (k, row) in from.chunks_exact(self.columns).take(self.depth).enumerate() {
                let (at, width) = self.row(k, column);
                let count = width.min(self.columns - column);
                to[at..at + count].copy_from_slice(&row[column..column + count]);
                to[at + count..at + width].fill(0.0);
            }
        }
    }

    /// Rows `first..first + count` of B are the columns of the row-major matrix `from`, `columns` × `count`.
    pub fn pack_transposed(&self, from: &[f32], first: usize, count: usize, to: &mut [f32]) {
        vectorize(self.widths.level, PackTransposed { panels: self, from, first, count, to });
    }
}

struct PackTransposed<'a> {
    panels: &'a Panels,
    from: &'a [f32],
    first: usize,
    count: usize,
    to: &'a mut [f32],
}

impl Vectorized for PackTransposed<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let PackTransposed { panels, from, first, count, to } = self;
        for column in (0..panels.columns).step_by(panels.widths.panel) {
            let (at, width) = panels.row(first, column);
            let panel = &mut to[at..at + count * width];
            let filled = width.min(panels.columns - column);
            turn(s, &from[column * count..], count, [filled, count], panel, width);
            if filled < width {
                for row in panel.chunks_exact_mut(width) {
                    row[filled..].fill(0.0);
                }
            }
        }
    }
}

/// How a right factor that is made anew for each product, such as a gradient, is read: its rows as they lie, if a row is
/// whole vectors and fits a panel, and else a copy in panels.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    widths: Widths,
    columns: usize,
}

impl Rows {
    /// For rows of `columns` values.
    pub fn new(widths: Widths, columns: usize) -> Self {
        Rows { widths, columns }
    }

    /// Whether the rows need no copy.
    fn plain(&self) -> bool {
        self.columns.is_multiple_of(self.widths.lanes) && self.columns <= self.widths.panel
    }

    /// Floats of scratch for `count` rows.
    pub fn scratch(&self, count: usize) -> usize {
        if self.plain() { 0 } else { Panels::new(self.widths, count, self.columns).size() }
    }

    /// The factor that consists of all rows of `values`.
    pub fn factor<'a>(&self, values: &'a [f32], scratch: &'a mut [f32]) -> B<'a> {
        if self.plain() {
            return B::Rows { data: values, stride: self.columns };
        }
        let panels = Panels::new(self.widths, values.len() / self.columns, self.columns);
        panels.pack(values, scratch);
        B::Panels(scratch)
    }
}
