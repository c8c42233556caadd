//! How much goes through the transformed space at a time.
//!
//! What a core reads at 30 GB/s and more is in its second cache (2 MB on the machines at hand); what lies further away
//! comes at 11 GB/s, while a product of T tiles takes a float of the weights in every 2 T operations: at 240 GFLOP/s and
//! T = 24 that is 20 GB/s. Hence:
//!
//! - transformed weights that fit the second cache: small chunks, panel by panel of filters, so that all else stays there,
//!   too;
//! - larger ones, but an input that would fit with 48 tiles and more: as many tiles, panel by panel; the weights stream;
//! - still larger ones (256 channels and more): point by point, so that the weights stream once through a large chunk,
//!   best all tiles of a call. A point's inputs stay in the second cache, the products of all filters go to memory.
//!
//! Tried, without difference beyond the noise: small chunks of 12, 24, 36 and 96 tiles; large ones of 4, 8, 16 and 36 MB.

use super::super::block::Block;
use super::backward::GROUP;
use super::product::apart;
use super::{Winograd, even, padded};
use std::ops::Range;

/// Floats of transformed weights that stay in the second cache, next to a chunk's values.
const WEIGHTS: usize = 256 << 10;
/// Floats of a chunk's inputs and products, next to such weights.
const BESIDE: usize = 192 << 10;
/// Floats of a chunk's inputs, next to weights that stream.
const INPUTS: usize = 256 << 10;
/// Floats of a chunk's inputs and products that go to memory.
const AWAY: usize = 4 << 20;
/// Floats of a chunk's inputs and gradients that are in the second cache.
const NEAR: usize = 384 << 10;
/// Filters whose products are made together, where those stay in the second cache.
pub(super) const FILTERS: usize = 32;

/// The pieces that a call is cut into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocking {
    /// Tiles of all images.
    total: usize,
    /// The most tiles in a chunk.
    most: usize,
    /// Columns of the products that are made together, a multiple of 32 (or all).
    pub columns: usize,
}

impl Blocking {
    /// For products with `columns` columns (filters; or channels, on the way back) from inputs of `depth`.
    fn new(winograd: &Winograd, images: usize, depth: usize, columns: usize) -> Self {
        let (points, depth, columns) = (winograd.points(), padded(depth), padded(columns));
        let total = images * winograd.image_tiles();
        if points * depth * columns <= WEIGHTS {
            let most = (BESIDE / (points * (depth + FILTERS))).clamp(12, 48);
            return Blocking { total, most, columns: FILTERS };
        }
        let most = INPUTS / (points * depth);
        if most >= total.min(48) {
            return Blocking { total, most, columns: FILTERS };
        }
        Blocking { total, most: (AWAY / (points * (depth + columns))).max(24), columns }
    }

    /// Of the forward pass.
    pub fn forward(winograd: &Winograd, images: usize) -> Self {
        Blocking::new(winograd, images, winograd.block.channels, winograd.block.filters)
    }

    /// Of the backward pass, whose products are those with the transposed weights.
    pub fn backward(winograd: &Winograd, images: usize) -> Self {
        Blocking::new(winograd, images, winograd.block.filters, winograd.block.channels)
    }

    /// Chunks of tiles.
    fn count(&self) -> usize {
        self.total.div_ceil(self.most)
    }

    /// Rows of the largest chunk's matrices.
    pub fn rows(&self) -> usize {
        even(self.total.div_ceil(self.count().max(1)))
    }

    /// Whether one chunk is all.
    pub fn single(&self) -> bool {
        self.count() <= 1
    }

    /// The chunks, all as large as the others, or by one smaller.
    #[inline(always)]
    pub fn chunks(self) -> impl Iterator<Item = Range<usize>> {
        self.chunks_of(0..self.total)
    }

    /// The same of some of the tiles, none larger than if it were of all.
    #[inline(always)]
    pub fn chunks_of(self, tiles: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let (first, len) = (tiles.start, tiles.len());
        let count = len.div_ceil(self.total.div_ceil(self.count().max(1)).max(1));
        (0..count).map(move |i| first + i * len / count..first + (i + 1) * len / count)
    }
}

/// Which sums of the weights' gradient are made together: so many channels by so many filters, of all points.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    pub channels: usize,
    pub filters: usize,
}

impl Sums {
    /// Floats of scratch: of one block where they are used up at once, else of all.
    pub fn floats(&self, winograd: &Winograd, single: bool) -> usize {
        let (channels, filters) = (padded(winograd.block.channels), padded(winograd.block.filters));
        let block = apart(self.channels.min(channels) * self.filters.min(filters));
        let blocks = channels.div_ceil(self.channels) * filters.div_ceil(self.filters);
        // A line more a point of each block.
        let all = channels * filters + 16 * blocks;
        winograd.points() * if single { block } else { all }
    }
}

impl Blocking {
    /// A group of channels and a panel of filters at a time, whose sums stay in the first cache, where inputs and
    /// gradients, gone through again and again, are in the second; else more.
    pub fn sums(&self, winograd: &Winograd) -> Sums {
        let Block { channels, filters, .. } = winograd.block;
        let values = winograd.points() * self.rows() * (padded(channels) + padded(filters));
        if values <= NEAR { Sums { channels: GROUP, filters: FILTERS } } else { Sums { channels: 64, filters: 128 } }
    }
}
