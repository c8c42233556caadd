//! Depthwise windows of 3×3, down the map one vector of channels at a time, so that what a row of the source has is read
//! once: outputs and, without strides, gradients of inputs with the sums of [`super::depthwise_slide`] to the bit.
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
//!
//! With strides of 2 two rows of outputs see each second row of the source: 30 and 9 loads for 63 multiply-adds instead of
//! 45 and 9, and each position once. Forward 14×14×512 148 and 97 µs, 28×28×256 152 and 129, 56×56×128 340 and 290, 112×112×64
//! 62 and 57: here size does not matter. The kernel's gradient is for the same maps as without strides: 14×14×512
//! backward 275 and 250, but 28×28×256 450 and 790, 56×56×128 1900 and 2800.

use super::depthwise_slide::{Band, Slide};
use crate::engine::cpu::simd::{Simd, Vectorized};
use std::ops::Range;

/// Columns of a tile.
const COLUMNS: usize = 7;
/// Columns of the source that it sees, and with strides of 2.
const SEEN: usize = COLUMNS + 2;
const SEEN_BY_TWO: usize = 2 * COLUMNS + 1;

impl Band<'_> {
    /// Overwrites the band with its sums. `before` and `height` are rows that the first row of the target would see before
    /// the source begins, and rows of the source.
    #[inline(always)]
    pub(super) fn go_down<S: Simd>(&self, s: S, [before, height]: [usize; 2]) {
        for first in self.slide.tiles(COLUMNS) {
            match (self.slide.stride, self.slide.outside(first, COLUMNS)) {
                (1, [0, 0]) => s.call(Roll::<1, SEEN, 0, 0> { band: self, first, before, height }),
                (1, [1, 0]) => s.call(Roll::<1, SEEN, 1, 0> { band: self, first, before, height }),
                (1, [0, 1]) => s.call(Roll::<1, SEEN, 0, 1> { band: self, first, before, height }),
                (1, [1, 1]) => s.call(Roll::<1, SEEN, 1, 1> { band: self, first, before, height }),
                (2, [0, 0]) => s.call(Roll::<2, SEEN_BY_TWO, 0, 0> { band: self, first, before, height }),
                (2, [1, 0]) => s.call(Roll::<2, SEEN_BY_TWO, 1, 0> { band: self, first, before, height }),
                (2, [0, 1]) => s.call(Roll::<2, SEEN_BY_TWO, 0, 1> { band: self, first, before, height }),
                (2, [1, 1]) => s.call(Roll::<2, SEEN_BY_TWO, 1, 1> { band: self, first, before, height }),
                _ => unreachable!("Slide::columns has looked at all tiles"),
            }
        }
    }
}

/// The tiles of a band that begin in one column; of the `SEEN` columns of the source that they see, the first `LEFT` and
/// the last `RIGHT` are outside.
struct Roll<'a, const STRIDE: usize, const SEEN: usize, const LEFT: usize, const RIGHT: usize> {
    band: &'a Band<'a>,
    /// The first column.
    first: usize,
    /// Rows of the source that the first row of the target would see before the source begins.
    before: usize,
    /// Rows of the source.
    height: usize,
}

impl<const STRIDE: usize, const SEEN: usize, const LEFT: usize, const RIGHT: usize> Vectorized
    for Roll<'_, STRIDE, SEEN, LEFT, RIGHT>
{
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for channel in (0..self.band.some / S::LANES * S::LANES).step_by(S::LANES) {
            // SAFETY: whoever called `Band::sum` vouches for these channels.
            unsafe { if STRIDE == 1 { self.column(s, channel) } else { self.column_by_two(s, channel) } }
        }
    }
}

impl<const STRIDE: usize, const SEEN: usize, const LEFT: usize, const RIGHT: usize>
    Roll<'_, STRIDE, SEEN, LEFT, RIGHT>
{
    /// What the sums start from.
    ///
    /// # Safety
    /// As for [`Band::sum`], with a vector of channels from `channel` on.
    #[inline(always)]
    unsafe fn start<S: Simd>(&self, s: S, channel: usize) -> [S::V; COLUMNS] {
        // SAFETY: the caller vouches for the channels.
        let bias = self.band.bias.map(|from| unsafe { s.load(from.wrapping_add(channel)) });
        [bias.unwrap_or(s.splat(0.0)); COLUMNS]
    }

    /// The columns of a row of the source, those outside of it zero.
    ///
    /// # Safety
    /// As for [`Roll::start`]; `row` is in the source.
    #[inline(always)]
    unsafe fn seen<S: Simd>(&self, s: S, row: usize, channel: usize) -> [S::V; SEEN] {
        let (slide, channels) = (&self.band.slide, self.band.channels);
        let left = (self.first * STRIDE).wrapping_sub(slide.before);
        let from = self.band.source.wrapping_add((row * slide.widths[0]).wrapping_add(left).wrapping_mul(channels));
        let from = from.wrapping_add(channel);
        let mut seen = [s.splat(0.0); SEEN];
        for (i, seen) in seen.iter_mut().enumerate().take(SEEN - RIGHT).skip(LEFT) {
            // SAFETY: inside the source, since LEFT and RIGHT are what is not.
            *seen = unsafe { s.load(from.wrapping_add(i * channels)) };
        }
        seen
    }

    /// # Safety
    /// As for [`Roll::start`].
    #[inline(always)]
    unsafe fn column<S: Simd>(&self, s: S, channel: usize) {
        let Roll { band, before, height, .. } = self;
        // SAFETY: the caller vouches for the channels.
        let start = unsafe { self.start(s, channel) };
        // What the three rows that a row of the source is seen by have so far, the first of them first.
        let [mut last, mut middle, mut next] = [start; 3];
        let rows = &band.rows;
        let begin = rows.start.saturating_sub(*before);
        let end = height.min(&(rows.end + 2 - before)).to_owned();
        for row in begin..end {
            // The row of the target that sees this one last.
            let y = (row + before).wrapping_sub(2);
            // SAFETY: the row is in the source; the caller vouches for all taps.
            unsafe {
                let seen = self.seen(s, row, channel);
                self.add(s, &mut last, &seen, 2, channel);
                self.add(s, &mut middle, &seen, 1, channel);
                self.add(s, &mut next, &seen, 0, channel);
                if rows.contains(&y) {
                    self.write(s, y, channel, last);
                }
            }
            (last, middle, next) = (middle, next, start);
        }
        // Rows that look beyond the source's end.
        for (y, sums) in (end + before - 2..rows.end).zip([last, middle]) {
            // SAFETY: the caller vouches for all columns.
            unsafe { self.write(s, y, channel, sums) }
        }
    }

    /// The same with strides of 2: two rows of the target see the same row of the source, the last of one and the first
    /// of the next.
    ///
    /// # Safety
    /// As for [`Roll::start`].
    #[inline(always)]
    unsafe fn column_by_two<S: Simd>(&self, s: S, channel: usize) {
        let rows = self.band.rows.clone();
        let row = |y: usize, u: usize| (2 * y + u).checked_sub(self.before).filter(|row| *row < self.height);
        // SAFETY: the rows are in the source; the caller vouches for the channels, taps and columns.
        unsafe {
            let start = self.start(s, channel);
            let mut sums = start;
            if let Some(row) = row(rows.start, 0) {
                self.add(s, &mut sums, &self.seen(s, row, channel), 0, channel);
            }
            for y in rows {
                let mut next = start;
                if let Some(row) = row(y, 1) {
                    self.add(s, &mut sums, &self.seen(s, row, channel), 1, channel);
                }
                if let Some(row) = row(y, 2) {
                    let seen = self.seen(s, row, channel);
                    self.add(s, &mut sums, &seen, 2, channel);
                    self.add(s, &mut next, &seen, 0, channel);
                }
                self.write(s, y, channel, sums);
                sums = next;
            }
        }
    }

    /// # Safety
    /// As for [`Roll::start`].
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, s: S, sums: &mut [S::V; COLUMNS], seen: &[S::V; SEEN], u: usize, channel: usize) {
        for v in 0..3 {
            let tap = if self.band.slide.reversed { (2 - u) * 3 + 2 - v } else { u * 3 + v };
            // SAFETY: the caller vouches for all taps.
            let tap = unsafe { s.load(self.band.kernel.row::<S>(tap, channel)) };
            for (column, sum) in sums.iter_mut().enumerate() {
                let at = column * STRIDE + v;
                if at >= LEFT && at < SEEN - RIGHT {
                    *sum = s.mul_add(seen[at], tap, *sum);
                }
            }
        }
    }

    /// # Safety
    /// As for [`Roll::start`]; `y` is one of the band's rows.
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
                ($($stride:literal $columns:literal;)*) => {
                    match (self.slide.stride, columns, self.slide.outside(first, columns)) {
                        $(
                            ($stride, $columns, [0, 0]) => s.call(Products::<$stride, $columns, 0, 0> { of: self, first }),
                            ($stride, $columns, [1, 0]) => s.call(Products::<$stride, $columns, 1, 0> { of: self, first }),
                            ($stride, $columns, [0, 1]) => s.call(Products::<$stride, $columns, 0, 1> { of: self, first }),
                            ($stride, $columns, [1, 1]) => s.call(Products::<$stride, $columns, 1, 1> { of: self, first }),
                        )*
                        _ => unreachable!("RollGradient::knows has looked at the width"),
                    }
                };
            }
            known!(1 4; 1 5; 1 6; 1 7; 2 4; 2 5; 2 6; 2 7;);
            first += columns;
        }
    }
}

/// The products of `C` columns from the first on; of the columns of the source that they see, the first `LEFT` and the last
/// `RIGHT` are outside.
struct Products<const STRIDE: usize, const C: usize, const LEFT: usize, const RIGHT: usize> {
    of: RollGradient,
    first: usize,
}

impl<const STRIDE: usize, const C: usize, const LEFT: usize, const RIGHT: usize> Vectorized
    for Products<STRIDE, C, LEFT, RIGHT>
{
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for channel in (0..self.of.channels).step_by(S::LANES) {
            let to = self.of.d_kernel.wrapping_add(channel);
            let to = |u: usize, v: usize| to.wrapping_add((u * 3 + v) * self.of.channels);
            // SAFETY: whoever called `RollGradient::add` vouches for these channels.
            unsafe {
                let mut sums: [[S::V; 3]; 3] = std::array::from_fn(|u| std::array::from_fn(|v| s.load(to(u, v))));
                if STRIDE == 1 {
                    self.column(s, &mut sums, channel);
                } else {
                    self.column_by_two(s, &mut sums, channel);
                }
                for (u, sums) in sums.into_iter().enumerate() {
                    for (v, sum) in sums.into_iter().enumerate() {
                        s.store(to(u, v), sum);
                    }
                }
            }
        }
    }
}

impl<const STRIDE: usize, const C: usize, const LEFT: usize, const RIGHT: usize> Products<STRIDE, C, LEFT, RIGHT> {
    /// # Safety
    /// As for [`RollGradient::add`], with a vector of channels from `channel` on.
    #[inline(always)]
    unsafe fn column<S: Simd>(&self, s: S, sums: &mut [[S::V; 3]; 3], channel: usize) {
        let RollGradient { before, heights, .. } = self.of;
        // SAFETY: the caller vouches for all positions inside the maps.
        unsafe {
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
                if seeing.len() == 3 {
                    self.row(s, sums, &rows, row, channel, 0..3);
                } else {
                    self.row(s, sums, &rows, row, channel, seeing);
                }
            }
        }
    }

    /// The same with strides of 2: a row of the gradient sees three of the source, the last of which the next one sees
    /// first.
    ///
    /// # Safety
    /// As for [`Products::column`].
    #[inline(always)]
    unsafe fn column_by_two<S: Simd>(&self, s: S, sums: &mut [[S::V; 3]; 3], channel: usize) {
        let RollGradient { before, heights, .. } = self.of;
        let row = |y: usize, u: usize| (2 * y + u).checked_sub(before).filter(|row| *row < heights[0]);
        // SAFETY: the rows are in the maps; the caller vouches for their positions.
        unsafe {
            let mut own = self.gradients(s, 0, channel);
            if let Some(row) = row(0, 0) {
                self.row(s, sums, &[own; 3], row, channel, 0..1);
            }
            for y in 0..heights[1] {
                if let Some(row) = row(y, 1) {
                    self.row(s, sums, &[own; 3], row, channel, 1..2);
                }
                if y + 1 == heights[1] {
                    if let Some(row) = row(y, 2) {
                        self.row(s, sums, &[own; 3], row, channel, 2..3);
                    }
                    return;
                }
                let next = self.gradients(s, y + 1, channel);
                if let Some(row) = row(y, 2) {
                    let from = self.source(row, channel);
                    for i in LEFT..2 * C + 1 - RIGHT {
                        // SAFETY: inside the source, since LEFT and RIGHT are what is not.
                        let x = s.load(from.wrapping_add(i * self.of.channels));
                        self.products(s, &mut sums[0], &next, x, i);
                        self.products(s, &mut sums[2], &own, x, i);
                    }
                }
                own = next;
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

    /// Where the tile's first column sees, or would see, its first tap in a row of the source.
    #[inline(always)]
    fn source(&self, row: usize, channel: usize) -> *const f32 {
        let RollGradient { slide, channels, .. } = self.of;
        let left = (self.first * STRIDE).wrapping_sub(slide.before);
        let from = (row * slide.widths[0]).wrapping_add(left).wrapping_mul(channels);
        self.of.source.wrapping_add(from).wrapping_add(channel)
    }

    /// Adds the products with a row of the source, of the vertical taps that are `seeing` it.
    ///
    /// # Safety
    /// As for [`Products::column`]; the row is in the source.
    #[inline(always)]
    unsafe fn row<S: Simd>(
        &self,
        s: S,
        sums: &mut [[S::V; 3]; 3],
        rows: &[[S::V; C]; 3],
        row: usize,
        channel: usize,
        seeing: Range<usize>,
    ) {
        let from = self.source(row, channel);
        for i in LEFT..(C - 1) * STRIDE + 3 - RIGHT {
            // SAFETY: inside the source, since LEFT and RIGHT are what is not.
            let x = unsafe { s.load(from.wrapping_add(i * self.of.channels)) };
            for (u, (sums, row)) in sums.iter_mut().zip(rows).enumerate() {
                if seeing.contains(&u) {
                    self.products(s, sums, row, x, i);
                }
            }
        }
    }

    /// Adds the products of the `i`-th column of the source with the gradients that see it.
    #[inline(always)]
    fn products<S: Simd>(&self, s: S, sums: &mut [S::V; 3], row: &[S::V; C], x: S::V, i: usize) {
        for (v, sum) in sums.iter_mut().enumerate() {
            if i >= v && (i - v).is_multiple_of(STRIDE) && (i - v) / STRIDE < C {
                *sum = s.mul_add(x, row[(i - v) / STRIDE], *sum);
            }
        }
    }
}
