//! Depthwise windows of 3 or 5 neighbouring taps in a row, as nearly all are: faster than [`super::depthwise_gather`],
//! which finds each tap of each column in memory, with the same sums to the bit.
//!
//! Why the tiles are as they are. A tile is one vector of channels at seven columns (the maps of image nets are multiples
//! of 7; four columns with 16 registers). For each row of taps the source's columns that the tile sees are loaded once,
//! 9 for 3 taps, and serve all taps from registers: 9 loads and 3 of the kernel for 21 multiply-adds, where gathering
//! has 24. The last tile overlaps the one before; what it writes twice is the same. At the ends of a row the columns
//! outside the map are left out by code made for it, not by branches: maps of 14 columns consist of ends.
//!
//! The kernel's gradient holds the sums of all taps in registers along a row, ends included, and with 32 registers what
//! the next column sees again: 3 loads and that of the gradient for 9 multiply-adds.

use super::gemm_tile::opaque;
use crate::engine::cpu::simd::{Simd, Vectorized};
use crate::shape::Axis;
use std::ops::Range;

/// A tap of an axis: its number, and where it lies on the source.
pub(super) type Tap = (usize, usize);

/// How the columns of a target see those of its source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slide {
    /// Taps in a row.
    window: usize,
    /// Columns of the source from one of the target to the next.
    stride: usize,
    /// Columns that the first column of the target would see before the source begins.
    before: usize,
    /// Columns of source and target.
    widths: [usize; 2],
    /// Whether the first tap of the source is the last of the kernel.
    reversed: bool,
}

impl Slide {
    /// How outputs see inputs, if the window is one of those that are known here.
    pub fn outputs(axis: &Axis, input: usize, output: usize) -> Option<Slide> {
        let before = axis.pad_before(input);
        Slide { window: axis.window, stride: axis.stride, before, widths: [input, output], reversed: false }.known(axis)
    }

    /// The same of inputs' gradients and those of outputs.
    pub fn inputs(axis: &Axis, input: usize, output: usize) -> Option<Slide> {
        let before = (axis.window - 1).checked_sub(axis.pad_before(input))?;
        let slide = Slide { window: axis.window, stride: 1, before, widths: [output, input], reversed: true };
        if axis.stride == 1 { slide.known(axis) } else { None }
    }

    fn known(self, axis: &Axis) -> Option<Slide> {
        let known = matches!((self.window, self.stride), (3, 1 | 2) | (5, 1)) && axis.dilation == 1;
        (known && self.widths[1] >= 2).then_some(self)
    }

    /// Columns outside the source that `count` columns from `first` on would see, before and behind it.
    fn outside(&self, first: usize, count: usize) -> [usize; 2] {
        let end = (first + count - 1) * self.stride + self.window;
        [self.before.saturating_sub(first * self.stride), end.saturating_sub(self.before + self.widths[0])]
    }

    /// The first columns of tiles of `columns` columns.
    fn tiles(self, columns: usize) -> impl Iterator<Item = usize> {
        let width = self.widths[1];
        (0..width.div_ceil(columns)).map(move |tile| (tile * columns).min(width - columns))
    }

    /// Columns of a tile, if there is code for all tiles.
    #[inline(always)]
    pub fn columns<S: Simd>(&self) -> Option<usize> {
        let columns = if S::REGISTERS >= 32 { WIDE } else { NARROW };
        let half = self.window / 2;
        let known = |first| self.outside(first, columns).iter().all(|outside| [0, half].contains(outside));
        let fits = S::REGISTERS >= 16 && self.widths[1] >= columns && self.tiles(columns).all(known);
        fits.then_some(columns)
    }

    /// Whether there is code for the kernel's gradient.
    #[inline(always)]
    pub fn has_gradient<S: Simd>(&self) -> bool {
        S::REGISTERS >= 16 && self.window == 3 && self.outside(0, self.widths[1]).iter().all(|outside| *outside <= 1)
    }
}

/// Columns of a tile with 32 registers, and with 16.
const WIDE: usize = 7;
const NARROW: usize = 4;

/// Some channels of some rows of a target. Pointers are at the first of those channels.
#[derive(Clone)]
pub(super) struct Band<'a> {
    pub slide: Slide,
    /// The vertical taps of each row of the target.
    pub taps: &'a [Vec<Tap>],
    /// Which rows are to be computed.
    pub rows: Range<usize>,
    pub source: *const f32,
    pub kernel: *const f32,
    pub bias: Option<*const f32>,
    pub relu: bool,
    pub target: *mut f32,
    /// Floats from one position to the next.
    pub channels: usize,
    /// How many of them the band has.
    pub some: usize,
}

impl Band<'_> {
    /// Overwrites the band with its sums, in tiles of as many columns as [`Slide::columns`] says.
    ///
    /// # Safety
    /// `some` floats are readable and writable at all positions of the slide's widths, in the rows and at the vertical
    /// taps of the table, and at all taps of the kernel.
    #[inline(always)]
    pub unsafe fn sum<S: Simd>(&self, s: S, columns: usize) {
        macro_rules! tiles {
            ($first:ident: $($columns:ident $window:literal $stride:literal $seen:expr, $half:literal;)*) => {
                match (columns, self.slide.window, self.slide.stride, self.slide.outside($first, columns)) {
                    $(
                        ($columns, $window, $stride, [0, 0]) =>
                            s.call(Tiles::<$window, $stride, $columns, { $seen }, 0, 0>(self, $first)),
                        ($columns, $window, $stride, [$half, 0]) =>
                            s.call(Tiles::<$window, $stride, $columns, { $seen }, $half, 0>(self, $first)),
                        ($columns, $window, $stride, [0, $half]) =>
                            s.call(Tiles::<$window, $stride, $columns, { $seen }, 0, $half>(self, $first)),
                        ($columns, $window, $stride, [$half, $half]) =>
                            s.call(Tiles::<$window, $stride, $columns, { $seen }, $half, $half>(self, $first)),
                    )*
                    _ => unreachable!("Slide::columns has looked at all tiles"),
                }
            };
        }
        for first in self.slide.tiles(columns) {
            if S::REGISTERS >= 32 {
                tiles!(first: WIDE 3 1 WIDE + 2, 1; WIDE 3 2 2 * WIDE + 1, 1; WIDE 5 1 WIDE + 4, 2;);
            } else if S::REGISTERS >= 16 {
                tiles!(first: NARROW 3 1 NARROW + 2, 1; NARROW 3 2 2 * NARROW + 1, 1; NARROW 5 1 NARROW + 4, 2;);
            }
        }
    }
}

/// The tiles of a band that begin in one column: `COLUMNS` columns that see `SEEN` columns of the source, of which the
/// first `LEFT` and the last `RIGHT` are outside.
struct Tiles<
    'a,
    const WINDOW: usize,
    const STRIDE: usize,
    const COLUMNS: usize,
    const SEEN: usize,
    const LEFT: usize,
    const RIGHT: usize,
>(&'a Band<'a>, usize);

impl<
    const WINDOW: usize,
    const STRIDE: usize,
    const COLUMNS: usize,
    const SEEN: usize,
    const LEFT: usize,
    const RIGHT: usize,
> Vectorized for Tiles<'_, WINDOW, STRIDE, COLUMNS, SEEN, LEFT, RIGHT>
{
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let some = self.0.some;
        for y in self.0.rows.clone() {
            let mut channel = 0;
            // SAFETY: whoever called `Band::sum` vouches for `some` channels of these rows.
            unsafe {
                while some - channel >= S::LANES {
                    self.tile::<S, true>(s, y, channel, S::LANES);
                    channel += S::LANES;
                }
                if channel < some {
                    self.tile::<S, false>(s, y, channel, some - channel);
                }
            }
        }
    }
}

impl<
    const WINDOW: usize,
    const STRIDE: usize,
    const COLUMNS: usize,
    const SEEN: usize,
    const LEFT: usize,
    const RIGHT: usize,
> Tiles<'_, WINDOW, STRIDE, COLUMNS, SEEN, LEFT, RIGHT>
{
    /// # Safety
    /// As for [`Band::sum`]; `count` channels from `channel` on are some of the band's, a vector if `WHOLE`.
    #[inline(always)]
    unsafe fn tile<S: Simd, const WHOLE: bool>(&self, s: S, y: usize, channel: usize, count: usize) {
        let Tiles(Band { slide, channels, .. }, first) = self;
        let channels = *channels;
        let mut sums = [s.splat(0.0); COLUMNS];
        if let Some(bias) = self.0.bias {
            // SAFETY: the caller vouches for the channels.
            sums = [unsafe { read::<S, WHOLE>(s, bias.wrapping_add(channel), count) }; COLUMNS];
        }
        let start = (first * STRIDE).wrapping_sub(slide.before).wrapping_mul(channels).wrapping_add(channel);
        for &(u, row) in &self.0.taps[y] {
            let kernel = self.0.kernel.wrapping_add(u * WINDOW * channels + channel);
            let from = self.0.source.wrapping_add((row * slide.widths[0] * channels).wrapping_add(start));
            let mut seen = [s.splat(0.0); SEEN];
            for (i, seen) in seen.iter_mut().enumerate().take(SEEN - RIGHT).skip(LEFT) {
                // SAFETY: inside the source, since LEFT and RIGHT are what is not.
                *seen = unsafe { read::<S, WHOLE>(s, from.wrapping_add(i * channels), count) };
            }
            for v in 0..WINDOW {
                let tap = if slide.reversed { WINDOW - 1 - v } else { v };
                // SAFETY: the caller vouches for all taps.
                let tap = unsafe { read::<S, WHOLE>(s, kernel.wrapping_add(tap * channels), count) };
                for (column, sum) in sums.iter_mut().enumerate() {
                    let at = column * STRIDE + v;
                    if at >= LEFT && at < SEEN - RIGHT {
                        *sum = s.mul_add(seen[at], tap, *sum);
                    }
                }
            }
        }
        let target = self.0.target.wrapping_add((y * slide.widths[1] + first) * channels + channel);
        for (column, sum) in sums.into_iter().enumerate() {
            // Zero first: `max` gives its second argument where either is NaN, and a NaN shall stay one.
            let sum = if self.0.relu { s.max(s.splat(0.0), sum) } else { sum };
            // SAFETY: the caller vouches for all columns.
            unsafe { write::<S, WHOLE>(s, target.wrapping_add(column * channels), sum, count) }
        }
    }
}

/// # Safety
/// `count` floats are readable, a vector if `WHOLE`.
#[inline(always)]
pub(super) unsafe fn read<S: Simd, const WHOLE: bool>(s: S, from: *const f32, count: usize) -> S::V {
    // SAFETY: as the caller says.
    unsafe { if WHOLE { s.load(from) } else { s.load_first(from, count) } }
}

/// # Safety
/// `count` floats are writable, a vector if `WHOLE`.
#[inline(always)]
pub(super) unsafe fn write<S: Simd, const WHOLE: bool>(s: S, to: *mut f32, value: S::V, count: usize) {
    // SAFETY: as the caller says.
    unsafe { if WHOLE { s.store(to, value) } else { s.store_first(to, value, count) } }
}

/// A row of a target's gradient, whose products with what it saw are added to the gradient of the kernel. Pointers are
/// at the first channel.
#[derive(Clone, Copy)]
pub(super) struct GradientRow<'a> {
    pub slide: Slide,
    /// The row's vertical taps, two or three.
    pub taps: &'a [Tap],
    pub source: *const f32,
    /// Of the row.
    pub gradient: *const f32,
    pub d_kernel: *mut f32,
    pub channels: usize,
}

impl GradientRow<'_> {
    /// Adds the products.
    ///
    /// # Safety
    /// `channels` floats are readable at all positions of the slide's widths, in the row of the gradient and the rows of
    /// the source that the taps name, and readable and writable at all taps of the kernel's gradient.
    #[inline(always)]
    pub unsafe fn add<S: Simd>(self, s: S) {
        match (self.taps.len(), self.slide.stride) {
            (2, 1) => s.call(Products::<2, 1>(self)),
            (3, 1) => s.call(Products::<3, 1>(self)),
            (2, 2) => s.call(Products::<2, 2>(self)),
            (3, 2) => s.call(Products::<3, 2>(self)),
            _ => unreachable!("rows of two or three taps, strides of 1 or 2"),
        }
    }
}

/// The same with `ROWS` vertical taps.
struct Products<'a, const ROWS: usize, const STRIDE: usize>(GradientRow<'a>);

impl<const ROWS: usize, const STRIDE: usize> Vectorized for Products<'_, ROWS, STRIDE> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (channels, mut channel) = (self.0.channels, 0);
        // SAFETY: whoever called `GradientRow::add` vouches for all channels.
        unsafe {
            while channels - channel >= S::LANES {
                self.add::<S, true>(s, channel, S::LANES);
                channel += S::LANES;
            }
            if channel < channels {
                self.add::<S, false>(s, channel, channels - channel);
            }
        }
    }
}

impl<const ROWS: usize, const STRIDE: usize> Products<'_, ROWS, STRIDE> {
    /// # Safety
    /// As for [`GradientRow::add`]; there are `count` channels from `channel` on, a vector if `WHOLE`.
    #[inline(always)]
    unsafe fn add<S: Simd, const WHOLE: bool>(&self, s: S, channel: usize, count: usize) {
        let GradientRow { slide, channels, .. } = self.0;
        let [left, right] = slide.outside(0, slide.widths[1]);
        let gradient = self.0.gradient.wrapping_add(channel);
        let to: [*mut f32; ROWS] =
            std::array::from_fn(|r| self.0.d_kernel.wrapping_add(self.0.taps[r].0 * 3 * channels + channel));
        // Where the first column sees, or would see, its first tap.
        let from: [*const f32; ROWS] = std::array::from_fn(|r| {
            let row = self.0.source.wrapping_add(self.0.taps[r].1 * slide.widths[0] * channels + channel);
            row.wrapping_sub(slide.before * channels)
        });
        let at = |r: usize, i: usize| from[r].wrapping_add(i);
        // SAFETY: the caller vouches for all taps inside the source, and those outside are left out.
        unsafe {
            let mut sums: [[S::V; 3]; ROWS] = std::array::from_fn(|r| {
                std::array::from_fn(|v| read::<S, WHOLE>(s, to[r].wrapping_add(v * channels), count))
            });
            if left > 0 {
                let d = read::<S, WHOLE>(s, gradient, count);
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate().skip(1) {
                        *sum = s.mul_add(read::<S, WHOLE>(s, at(r, v * channels), count), d, *sum);
                    }
                }
            }
            let (mut i, mut j) = (left * STRIDE * channels, left * channels);
            let inner = slide.widths[1] - left - right;
            let mut kept = [[s.splat(0.0); 2]; ROWS];
            if S::REGISTERS >= 32 && inner > 0 {
                for (r, kept) in kept.iter_mut().enumerate() {
                    kept[0] = read::<S, WHOLE>(s, at(r, i), count);
                    if STRIDE == 1 {
                        kept[1] = read::<S, WHOLE>(s, at(r, i + channels), count);
                    }
                }
            }
            for _ in 0..inner {
                let d = read::<S, WHOLE>(s, gradient.wrapping_add(j), count);
                for (r, (sums, kept)) in sums.iter_mut().zip(&mut kept).enumerate() {
                    let keeps = S::REGISTERS >= 32;
                    let first = if keeps { kept[0] } else { read::<S, WHOLE>(s, at(r, i), count) };
                    let second =
                        if keeps && STRIDE == 1 { kept[1] } else { read::<S, WHOLE>(s, at(r, i + channels), count) };
                    let third = read::<S, WHOLE>(s, at(r, i + 2 * channels), count);
                    for (sum, x) in sums.iter_mut().zip([first, second, third]) {
                        *sum = s.mul_add(x, d, *sum);
                    }
                    *kept = if STRIDE == 1 { [second, third] } else { [third; 2] };
                }
                i = opaque(i + STRIDE * channels);
                j += channels;
            }
            if right > 0 {
                let d = read::<S, WHOLE>(s, gradient.wrapping_add(j), count);
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate().take(2) {
                        *sum = s.mul_add(read::<S, WHOLE>(s, at(r, i + v * channels), count), d, *sum);
                    }
                }
            }
            for (to, sums) in to.iter().zip(sums) {
                for (v, sum) in sums.into_iter().enumerate() {
                    write::<S, WHOLE>(s, to.wrapping_add(v * channels), sum, count);
                }
            }
        }
    }
}
