//! Winograd convolution, F(M×M, 3×3) with M from 2 to 4: forward and backward, with or without a border of zeros, for
//! any number of channels and filters.
//!
//! A chunk of tiles goes through input transform ([`forward`]), one matrix product a point of the tile ([`product`]), and
//! output transform, where bias, relu, pooling and the position of the maximum happen: with M even a tile covers whole
//! pooling windows. Where little is left of a map, its last tiles are smaller ([`edges`]; forward only). How large a
//! chunk, and how much lies between the steps, is [`blocking`]'s. [`weights`] are transformed once after each change of
//! them; [`cost`] says which M, and whether Winograd pays at all.
//!
//! The backward pass ([`backward`]) is the transposed algorithm (see [`transform`]) on the same tiles: the gradient of the
//! input is one product a point with the transposed transformed weights, that of the weights one product a point summed
//! over tiles. It is exact calculus on another order of summation, as good as the forward pass.
//!
//! Where the processor has a tile unit, products of many channels are made on it, in whole numbers and no less precise
//! ([`digits`]).
//!
//! Vectors hold channels (filters). Where their number is no multiple of the lanes, the last vector is loaded and stored
//! in part; between the transforms its other lanes hold zeros.

mod backward;
mod blocking;
mod cost;
mod digits;
mod edges;
mod forward;
mod kernel;
mod outer;
mod product;
mod transform;
mod weights;

use super::block::Block;
use crate::engine::cpu::simd::Simd;
use crate::engine::cpu::simd::amx::Amx;

pub(super) use kernel::Transformed;

/// A block in tiles of a fixed size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Winograd {
    /// Its input includes the border.
    pub block: Block,
    /// Rows and columns of zeros around each image (0 or 1) that are not in memory.
    pub border: usize,
    /// Whether relu follows.
    pub relu: bool,
    /// Rows and columns of a tile's outputs.
    pub m: usize,
    /// The tile unit, where it makes the products.
    pub amx: Option<Amx>,
}

impl Winograd {
    /// Points of a tile.
    fn points(&self) -> usize {
        (self.m + 2) * (self.m + 2)
    }

    /// Tiles of one image: rows and columns.
    fn tiles(&self) -> (usize, usize) {
        let (rows, columns) = self.block.convolved();
        (rows.div_ceil(self.m), columns.div_ceil(self.m))
    }

    /// Tiles of one image.
    fn image_tiles(&self) -> usize {
        let (down, across) = self.tiles();
        down * across
    }

    /// The tiles of a call, of one image after the other, from a number on.
    #[inline(always)]
    fn tiles_from(&self, number: usize) -> Tiles {
        let (down, across) = self.tiles();
        let (image, at) = (number / (down * across), number % (down * across));
        let next = Tile { image, row: at / across * self.m, column: at % across * self.m };
        Tiles { next, rows: down * self.m, columns: across * self.m, m: self.m }
    }

    /// Rows and columns of an image in memory.
    fn map(&self) -> (usize, usize) {
        (self.block.height - 2 * self.border, self.block.width - 2 * self.border)
    }

    /// Floats of one input image.
    pub fn input_len(&self) -> usize {
        let (height, width) = self.map();
        height * width * self.block.channels
    }

    /// Those rows and columns of the A×B values under a tile that are in memory, as ranges, and where in the image the
    /// first of all would be.
    #[inline(always)]
    fn patch<const A: usize, const B: usize>(&self, tile: Tile) -> Patch {
        let (height, width) = self.map();
        let range = |at: usize, of: usize, len: usize| (self.border.saturating_sub(at), of.min(len + self.border - at));
        let place = tile.row as isize * width as isize + tile.column as isize;
        Patch {
            rows: range(tile.row, A, height),
            columns: range(tile.column, B, width),
            origin: place - (self.border * (width + 1)) as isize,
            width,
        }
    }
}

/// A tile's image, and where its top left output is.
#[derive(Clone, Copy)]
struct Tile {
    image: usize,
    row: usize,
    column: usize,
}

/// See [`Winograd::tiles_from`].
struct Tiles {
    next: Tile,
    rows: usize,
    columns: usize,
    m: usize,
}

impl Iterator for Tiles {
    type Item = Tile;

    #[inline(always)]
    fn next(&mut self) -> Option<Tile> {
        let tile = self.next;
        self.next.column += self.m;
        if self.next.column == self.columns {
            self.next = Tile { column: 0, row: tile.row + self.m, ..tile };
            if self.next.row == self.rows {
                self.next = Tile { image: tile.image + 1, row: 0, column: 0 };
            }
        }
        Some(tile)
    }
}

/// See [`Winograd::patch`].
struct Patch {
    rows: (usize, usize),
    columns: (usize, usize),
    origin: isize,
    width: usize,
}

impl Patch {
    /// Whether all of A×B is in memory.
    #[inline(always)]
    fn whole<const A: usize, const B: usize>(&self) -> bool {
        self.rows == (0, A) && self.columns == (0, B)
    }

    /// Which position of the image a value that is in memory has.
    #[inline(always)]
    fn position(&self, i: usize, j: usize) -> usize {
        (self.origin + (i * self.width + j) as isize) as usize
    }
}

/// Vectors of channels (filters).
#[inline(always)]
fn vectors<S: Simd>(channels: usize) -> usize {
    channels.div_ceil(S::LANES)
}

/// Floats that hold a position's channels at any level.
fn padded(channels: usize) -> usize {
    channels.next_multiple_of(16)
}

/// Rows that a chunk's matrices have: an even number, the last one perhaps with anything in it.
fn even(rows: usize) -> usize {
    rows.next_multiple_of(2)
}
