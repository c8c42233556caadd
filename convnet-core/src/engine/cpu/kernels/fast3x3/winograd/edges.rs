//! Short tiles, at the lower and right edge of a map whose size is no multiple of 4.
//!
//! Where at most two of a tile's four rows (columns) of outputs are there, F(2, 3) does in that direction, with four points
//! instead of six. Its points are four of F(4, 3)'s, the first ones: so their transformed weights are the same (what a
//! point's weights are scaled with differs, the input transform makes up for it), nothing more is derived or read, and a
//! short tile is a row of some points' matrices instead of all. 10×10 outputs take (6 + 6 + 4)² = 256 multiplications a
//! channel and filter, with whole tiles 324. In the forward pass only; the backward pass has whole tiles.
//!
//! Tiles of a kind are neighbouring rows, and the order of kinds is such that each point's product is one range of rows.
//!
//! 13×13×32 to 64, pooled, µs with whole tiles and with short ones: 8 images 65.2 and 51.8, one image 9.3 and 7.4; with AVX2
//! 143 and 113, 18.9 and 15.2. Maps without short tiles take 1 % longer, 8 images a call (one: up to 4 %, 0.15 µs).

use super::{Tile, Winograd, even};
use std::ops::Range;

/// Points of a short side.
pub(super) const SHORT: usize = 4;

/// Points of all tiles in one direction of a map that has `len` outputs in it.
pub(super) fn points(m: usize, len: usize) -> usize {
    let whole = len.div_ceil(m) * (m + 2);
    if m == 4 && matches!(len % 4, 1 | 2) { whole - (m + 2 - SHORT) } else { whole }
}

/// Which sides of a tile are short; in the order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Few columns.
    Narrow,
    /// None.
    Whole,
    /// Few rows.
    Low,
    /// Both.
    Corner,
}

impl Winograd {
    /// The kind of a tile in the forward pass.
    #[inline(always)]
    fn kind(&self, tile: Tile) -> Kind {
        let (rows, columns) = self.block.convolved();
        let short = |at: usize, len: usize| self.m == 4 && len - at <= 2;
        match (short(tile.row, rows), short(tile.column, columns)) {
            (false, false) => Kind::Whole,
            (false, true) => Kind::Narrow,
            (true, false) => Kind::Low,
            (true, true) => Kind::Corner,
        }
    }
}

/// A chunk's tiles, and which rows they are of the points' matrices.
pub(super) struct Rows<'a> {
    winograd: &'a Winograd,
    chunk: Range<usize>,
    /// The first row of each kind, and where the last ends.
    starts: [usize; 5],
}

impl<'a> Rows<'a> {
    pub fn new(winograd: &'a Winograd, chunk: Range<usize>) -> Self {
        let mut starts = [0; 5];
        for tile in winograd.tiles_from(chunk.start).take(chunk.len()) {
            starts[winograd.kind(tile) as usize + 1] += 1;
        }
        for kind in 1..starts.len() {
            starts[kind] += starts[kind - 1];
        }
        Rows { winograd, chunk, starts }
    }

    /// Rows of the matrices.
    pub fn count(&self) -> usize {
        even(self.chunk.len())
    }

    /// Those of the tiles that have a point, of N×N, in pairs: at either end there may be one of a tile that does not.
    #[inline(always)]
    pub fn of<const N: usize>(&self, point: usize) -> Range<usize> {
        let (low, narrow) = (point / N < SHORT, point % N < SHORT);
        let first = if narrow { Kind::Narrow } else { Kind::Whole };
        let last = match (low, narrow) {
            (true, true) => Kind::Corner,
            (true, false) => Kind::Low,
            (false, _) => Kind::Whole,
        };
        self.starts[first as usize] & !1..even(self.starts[last as usize + 1])
    }

    /// The tiles as they come, with their rows.
    #[inline(always)]
    pub fn tiles(&self) -> impl Iterator<Item = (usize, Kind, Tile)> {
        let mut next = self.starts;
        self.winograd.tiles_from(self.chunk.start).take(self.chunk.len()).map(move |tile| {
            let kind = self.winograd.kind(tile);
            let row = next[kind as usize];
            next[kind as usize] += 1;
            (row, kind, tile)
        })
    }
}
