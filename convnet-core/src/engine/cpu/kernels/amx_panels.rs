//! Weights as the tile unit wants them: in their parts, rows by turns in pairs, tiles in the order of their use.

use super::amx_product::{Factor, TILE};
use crate::engine::cpu::simd::amx::{Amx, DEPTH, SIDE};

/// Columns that are multiplied together: two tiles. The last block may be one.
pub const BLOCK: usize = 2 * SIDE;

/// A matrix whose rows come in runs, of which each meets a stretch of memory in the left factor. A run is filled up with
/// rows of zeros, and the columns with columns of zeros.
#[derive(Clone, Copy, Debug)]
pub struct Panels {
    pub runs: usize,
    /// Rows of a run.
    pub rows: usize,
    pub columns: usize,
    /// Parts of an element: 1 or 2.
    pub parts: usize,
}

/// The floats of one tile: 32 rows of 16 columns.
pub type Square = [[f32; SIDE]; DEPTH];

impl Panels {
    /// Steps of a run.
    pub fn steps(&self) -> usize {
        self.rows.div_ceil(DEPTH)
    }

    /// Rows with those that fill up.
    fn depth(&self) -> usize {
        self.runs * self.steps() * DEPTH
    }

    /// Floats of memory, of which each holds two parts.
    pub fn len(&self) -> usize {
        self.depth() * self.columns.next_multiple_of(SIDE) * self.parts / 2
    }

    /// Tiles of the block that starts at a column: 1 or 2.
    pub fn tiles(&self, column: usize) -> usize {
        (self.columns - column).min(BLOCK).div_ceil(SIDE)
    }

    /// A run of the block that starts at a column, in memory that [`Panels::fill`] filled.
    #[inline(always)]
    pub fn factor(&self, memory: &[f32], column: usize, run: usize) -> Factor {
        assert!(memory.len() >= self.len() && column < self.columns && run < self.runs);
        let part = self.tiles(column) * TILE;
        let (step, first) = (self.parts * part, self.parts * column * self.depth());
        let high = memory.as_ptr().cast::<u16>().wrapping_add(first + run * self.steps() * step);
        Factor { high, low: high.wrapping_add(part), stride: 2 * DEPTH, second: TILE, step }
    }

    /// Fills memory from what `square` writes for a run, its first row and its first column; places that it leaves out stay
    /// zero.
    pub fn fill(&self, amx: Amx, memory: &mut [f32], mut square: impl FnMut(usize, usize, usize, &mut Square)) {
        assert_eq!(memory.len(), self.len());
        let mut floats = [[0.0; SIDE]; DEPTH];
        // SAFETY: two numbers of 16 bits lie in each float, of which any bits are one.
        let memory = unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast::<u16>(), 2 * memory.len()) };
        let mut blocks = memory;
        for first in (0..self.columns).step_by(BLOCK) {
            let tiles = self.tiles(first);
            for (run, step) in (0..self.runs).flat_map(|run| (0..self.steps()).map(move |step| (run, step))) {
                let (block, rest) = blocks.split_at_mut(self.parts * tiles * TILE);
                blocks = rest;
                let (high, low) = block.split_at_mut(tiles * TILE);
                let mut low = low.chunks_exact_mut(TILE);
                for (tile, high) in high.chunks_exact_mut(TILE).enumerate() {
                    floats.as_flattened_mut().fill(0.0);
                    square(run, step * DEPTH, first + tile * SIDE, &mut floats);
                    let mut low = low.next().unwrap_or_default().as_chunks_mut().0.iter_mut();
                    for (rows, high) in floats.as_chunks().0.iter().zip(high.as_chunks_mut().0) {
                        amx.split_pairs(rows, high, low.next());
                    }
                }
            }
        }
    }
}
