//! Depthwise windows of 3×3 without strides, down the map one vector of channels at a time, so that what a row of the
//! source has is read once: outputs and gradients of inputs with the sums of [`super::depthwise_slide`] to the bit.
//!
//! Tiles of seven columns in one row see 27 positions, of which the next row wants 18 again. With 512 or 1024 channels, as in
//! the last blocks of a MobileNet, positions lie multiples of 2 KiB apart, in one or two places of the first-level cache
//! that hold 8 or 12 lines each, so nothing is there any more. Here the sums of three rows of outputs are in registers,
//! 21 of them, and the nine columns of the source that they see: 9 loads and 9 of the kernel for 63 multiply-adds.
//!
//! Only with 32 registers, for rows enough that the first and the last do not count, and on maps that the second-level
//! cache holds: going down, larger ones are read in an order that no processor foresees (56×56×128 takes twice as long).
//! Found on a Zen 4 core (AVX-512, 8 images, µs, before and now, by turns): 14×14×64 18 and 15, 28×28×32 38 and 32,
//! 28×28×256 410 and 320, 14×14×512 250 and 210, 7×7×1024 173 and 135 (1008 channels take 75 either way). Tried without
//! gain: a copy of the source whose positions lie a line further apart; asking for the next vector of channels ahead.
//!
//! The kernel's gradient turns that round: its nine sums and three rows of the output's gradient are in registers, 30 of
//! them, and one of the source's positions at a time: 9 + 7 loads for 63 multiply-adds where rows one by one have 28. It is
//! for whole maps of which three rows fill the first level and that the second holds with their gradients: 14×14×512
//! backward 780 and 600 µs, 7×7×1024 500 and 285, but 28×28×256 1420 and 2180, 28×28×32 98 and 104.

use super::depthwise_slide::{Band, Slide};
use crate::engine::cpu::simd::{Simd, Vectorized};
use std::ops::Range;

/// Columns of a tile.
const COLUMNS: usize = 7;
const SEEN: usize = COLUMNS + 2;

impl Band<'_> {
    /// Overwrites the band with its sums. `before` and `height` are rows that the first row of the target would see before
    /// the source begins, and rows of the source.
    #[inline(always)]
    pub(super) fn go_down<S: Simd>(&self, s: S, [before, height]: [usize; 2]) {
        for first in self.slide.tiles(COLUMNS) {
            match self.slide.outside(first, COLUMNS) {
                [0, 0] => s.call(Roll::<0, 0> { band: self, first, before, height }),
                [1, 0] => s.call(Roll::<1, 0> { band: self, first, before, height }),
                [0, 1] => s.call(Roll::<0, 1> { band: self, first, before, height }),
                [1, 1] => s.call(Roll::<1, 1> { band: self, first, before, height }),
                _ => unreachable!("Slide::columns has looked at all tiles"),
            }
        }
    }
}

/// The tiles of a band that begin in one column; of the nine columns of the source that they see, the first `LEFT` and the
/// last `RIGHT` are outside.
struct Roll<'a, const LEFT: usize, const RIGHT: usize> {
    band: &'a Band<'a>,
    /// The first column.
    first: usize,
    /// Rows of the source that the first row of the target would see before the source begins.
    before: usize,
    /// Rows of the source.
    height: usize,
}

impl<const LEFT: usize, const RIGHT: usize> Vectorized for Roll<'_, LEFT, RIGHT> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for channel in (0..self.band.some / S::LANES * S::LANES).step_by(S::LANES) {
            // SAFETY: whoever called `Band::sum` vouches for these channels.
            unsafe { self.column(s, channel) }
        }
    }
}

impl<const LEFT: usize, const RIGHT: usize> Roll<'_, LEFT, RIGHT> {
    /// # Safety
    /// As for [`Band::sum`], with a vector of channels from `channel` on.
    #[inline(always)]
    unsafe fn column<S: Simd>(&self, s: S, channel: usize) {
        let Roll { band, first, before, height } = self;
        let (slide, channels) = (&band.slide, band.channels);
        let mut bias = s.splat(0.0);
        if let Some(from) = band.bias {
            // SAFETY: the caller vouches for the channels.
            bias = unsafe { s.load(from.wrapping_add(channel)) };
        }
        // What the three rows that a row of the source is seen by have so far, the first of them first.
        let [mut last, mut middle, mut next] = [[bias; COLUMNS]; 3];
        let rows = &band.rows;
        let begin = rows.start.saturating_sub(*before);
        let end = height.min(&(rows.end + 2 - before)).to_owned();
        let left = first.wrapping_sub(slide.before);
        for row in begin..end {
            let from = band.source.wrapping_add((row * slide.widths[0]).wrapping_add(left).wrapping_mul(channels));
            let from = from.wrapping_add(channel);
            let mut seen = [s.splat(0.0); SEEN];
            for (i, seen) in seen.iter_mut().enumerate().take(SEEN - RIGHT).skip(LEFT) {
                // SAFETY: inside the source, since LEFT and RIGHT are what is not.
                *seen = unsafe { s.load(from.wrapping_add(i * channels)) };
            }
            // The row of the target that sees this one last.
            let y = (row + before).wrapping_sub(2);
            // SAFETY: the caller vouches for all taps.
            unsafe {
                self.add(s, &mut last, &seen, 2, channel);
                self.add(s, &mut middle, &seen, 1, channel);
                self.add(s, &mut next, &seen, 0, channel);
                if rows.contains(&y) {
                    self.write(s, y, channel, last);
                }
            }
            (last, middle, next) = (middle, next, [bias; COLUMNS]);
        }
        // Rows that look beyond the source's end.
        for (y, sums) in (end + before - 2..rows.end).zip([last, middle]) {
            // SAFETY: the caller vouches for all columns.
            unsafe { self.write(s, y, channel, sums) }
        }
    }

    /// # Safety
    /// As for [`Roll::column`].
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, s: S, sums: &mut [S::V; COLUMNS], seen: &[S::V; SEEN], u: usize, channel: usize) {
        for v in 0..3 {
            let tap = if self.band.slide.reversed { (2 - u) * 3 + 2 - v } else { u * 3 + v };
            // SAFETY: the caller vouches for all taps.
            let tap = unsafe { s.load(self.band.kernel.row::<S>(tap, channel)) };
            for (column, sum) in sums.iter_mut().enumerate() {
                let at = column + v;
                if at >= LEFT && at < SEEN - RIGHT {
                    *sum = s.mul_add(seen[at], tap, *sum);
                }
            }
        }
    }

    /// # Safety
    /// As for [`Roll::column`]; `y` is one of the band's rows.
    #[inline(always)]
    unsafe fn write<S: Simd>(&self, s: S, y: usize, channel: usize, sums: [S::V; COLUMNS]) {
        let Band { slide, channels, target, relu, .. } = self.band;
        let target = target.wrapping_add((y * slide.widths[1] + self.first) * channels + channel);
        for (column, sum) in sums.into_iter().enumerate() {
            // Zero first: `max` gives its second argument where either is NaN, and a NaN shall stay one.
            let sum = if *relu { s.max(s.splat(0.0), sum) } else { sum };
            // SAFETY: the caller vouches for all columns.
            unsafe { s.store(target.wrapping_add(column * channels), sum) }
        }
    }
}

/// A map's gradient, whose products with what its positions saw are added to the gradient of the kernel. Pointers are at
/// the first channel.
#[derive(Clone, Copy)]
pub(super) struct RollGradient {
    pub slide: Slide,
    /// As in [`Roll`].
    pub before: usize,
    /// Rows of the source and of the target.
    pub heights: [usize; 2],
    pub source: *const f32,
    pub gradient: *const f32,
    pub d_kernel: *mut f32,
    /// A multiple of a vector's.
    pub channels: usize,
}

impl RollGradient {
    /// Columns of the tile that begins in column `first`, if there are any for such widths: as even as can be, since no
    /// column may come twice.
    fn tile(width: usize, first: usize) -> usize {
        let tiles = width.div_ceil(COLUMNS);
        let size = width / tiles;
        let longer = width % tiles;
        if first < longer * (size + 1) { size + 1 } else { size }
    }

    /// Whether there is code for all tiles.
    pub fn knows(slide: &Slide) -> bool {
        let width = slide.widths[1];
        width >= 4 && slide.outside(0, width).iter().all(|outside| *outside <= 1)
    }

    /// Adds the products.
    ///
    /// # Safety
    /// `channels` floats are readable at all positions of the widths and heights, and readable and writable at all nine
    /// taps of the kernel's gradient.
    #[inline(always)]
    pub unsafe fn add<S: Simd>(self, s: S) {
        let (width, mut first) = (self.slide.widths[1], 0);
        while first < width {
            let columns = RollGradient::tile(width, first);
            macro_rules! known {
                ($($columns:literal)*) => {
                    match (columns, self.slide.outside(first, columns)) {
                        $(
                            ($columns, [0, 0]) => s.call(Products::<$columns, 0, 0> { of: self, first }),
                            ($columns, [1, 0]) => s.call(Products::<$columns, 1, 0> { of: self, first }),
                            ($columns, [0, 1]) => s.call(Products::<$columns, 0, 1> { of: self, first }),
                            ($columns, [1, 1]) => s.call(Products::<$columns, 1, 1> { of: self, first }),
                        )*
                        _ => unreachable!("RollGradient::knows has looked at the width"),
                    }
                };
            }
            known!(4 5 6 7);
            first += columns;
        }
    }
}

/// The products of `C` columns from the first on; of the columns of the source that they see, the first `LEFT` and the last
/// `RIGHT` are outside.
struct Products<const C: usize, const LEFT: usize, const RIGHT: usize> {
    of: RollGradient,
    first: usize,
}

impl<const C: usize, const LEFT: usize, const RIGHT: usize> Vectorized for Products<C, LEFT, RIGHT> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for channel in (0..self.of.channels).step_by(S::LANES) {
            // SAFETY: whoever called `RollGradient::add` vouches for these channels.
            unsafe { self.column(s, channel) }
        }
    }
}

impl<const C: usize, const LEFT: usize, const RIGHT: usize> Products<C, LEFT, RIGHT> {
    /// # Safety
    /// As for [`RollGradient::add`], with a vector of channels from `channel` on.
    #[inline(always)]
    unsafe fn column<S: Simd>(&self, s: S, channel: usize) {
        let RollGradient { slide, before, heights, channels, .. } = self.of;
        let to = self.of.d_kernel.wrapping_add(channel);
        let left = self.first.wrapping_sub(slide.before);
        // SAFETY: the caller vouches for all positions inside the maps and for the taps.
        unsafe {
            let mut sums: [[S::V; 3]; 3] =
                std::array::from_fn(|u| std::array::from_fn(|v| s.load(to.wrapping_add((u * 3 + v) * channels))));
            // The rows of the gradient that see a row of the source with the first tap, the second and the third.
            let mut rows = [[s.splat(0.0); C]; 3];
            for y in 0..before.min(heights[1]) {
                rows = [self.gradients(s, y, channel), rows[0], rows[1]];
            }
            for row in 0..heights[0] {
                let y = row + before;
                if y < heights[1] {
                    rows = [self.gradients(s, y, channel), rows[0], rows[1]];
                } else {
                    rows = [rows[0], rows[0], rows[1]];
                }
                let seeing = (y + 1).saturating_sub(heights[1])..(y + 1).min(3);
                let from =
                    self.of.source.wrapping_add((row * slide.widths[0]).wrapping_add(left).wrapping_mul(channels));
                let from = from.wrapping_add(channel);
                if seeing.len() == 3 {
                    self.row::<S, true>(s, &mut sums, &rows, from, seeing);
                } else {
                    self.row::<S, false>(s, &mut sums, &rows, from, seeing);
                }
            }
            for (u, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    s.store(to.wrapping_add((u * 3 + v) * channels), sum);
                }
            }
        }
    }

    /// The gradients of a row.
    ///
    /// # Safety
    /// As for [`Products::column`]; `y` is a row of the target.
    #[inline(always)]
    unsafe fn gradients<S: Simd>(&self, s: S, y: usize, channel: usize) -> [S::V; C] {
        let RollGradient { slide, channels, .. } = self.of;
        let from = self.of.gradient.wrapping_add((y * slide.widths[1] + self.first) * channels + channel);
        // SAFETY: the caller vouches for all columns.
        std::array::from_fn(|column| unsafe { s.load(from.wrapping_add(column * channels)) })
    }

    /// Adds the products with a row of the source, of the vertical taps that are `seeing` it: all if `ALL`.
    ///
    /// # Safety
    /// As for [`Products::column`]; `from` is where the tile's first column would see its first tap.
    #[inline(always)]
    unsafe fn row<S: Simd, const ALL: bool>(
        &self,
        s: S,
        sums: &mut [[S::V; 3]; 3],
        rows: &[[S::V; C]; 3],
        from: *const f32,
        seeing: Range<usize>,
    ) {
        for i in LEFT..C + 2 - RIGHT {
            // SAFETY: inside the source, since LEFT and RIGHT are what is not.
            let x = unsafe { s.load(from.wrapping_add(i * self.of.channels)) };
            for (u, (sums, row)) in sums.iter_mut().zip(rows).enumerate() {
                if ALL || seeing.contains(&u) {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        if i >= v && i - v < C {
                            *sum = s.mul_add(x, row[i - v], *sum);
                        }
                    }
                }
            }
        }
    }
}
