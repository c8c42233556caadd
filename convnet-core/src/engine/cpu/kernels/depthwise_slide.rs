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
use crate::engine::cpu::simd::{Simd, Vectorized, prefetch};
use crate::shape::Axis;
use std::ops::Range;

/// A tap of an axis: its number, and where it lies on the source.
pub(super) type Tap = (usize, usize);

/// How the columns of a target see those of its source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slide {
    /// Taps in a row.
    pub window: usize,
    /// Columns of the source from one of the target to the next.
    pub stride: usize,
    /// Columns that the first column of the target would see before the source begins.
    pub before: usize,
    /// Columns of source and target.
    pub widths: [usize; 2],
    /// Whether the first tap of the source is the last of the kernel.
    pub reversed: bool,
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
    pub fn outside(&self, first: usize, count: usize) -> [usize; 2] {
        let end = (first + count - 1) * self.stride + self.window;
        [self.before.saturating_sub(first * self.stride), end.saturating_sub(self.before + self.widths[0])]
    }

    /// The first columns of tiles of `columns` columns.
    pub fn tiles(self, columns: usize) -> impl Iterator<Item = usize> {
        let width = self.widths[1];
        (0..width.div_ceil(columns)).map(move |tile| (tile * columns).min(width - columns))
    }

    /// Columns of a tile, if there is code for all tiles, with groups of so many channels.
    #[inline(always)]
    pub fn columns<S: Simd>(&self, group: usize) -> Option<usize> {
        let columns = if S::REGISTERS >= 32 { WIDE } else { NARROW };
        let half = self.window / 2;
        let known = |first| self.outside(first, columns).iter().all(|outside| [0, half].contains(outside));
        let window = group == 1 || self.window == 3;
        let fits = window && S::REGISTERS >= 16 && self.widths[1] >= columns && self.tiles(columns).all(known);
        fits.then_some(columns)
    }

    /// Whether there is code for the kernel's gradient, with groups of so many channels.
    #[inline(always)]
    pub fn has_gradient<S: Simd>(&self, group: usize) -> bool {
        let outside = self.outside(0, self.widths[1]);
        S::REGISTERS >= 16
            && outside.iter().all(|outside| *outside <= self.window / 2)
            && outside[0] + outside[1] <= self.widths[1]
            && (self.window == 3 || group == 1)
    }
}

/// Where the rows of a kernel lie.
#[derive(Clone, Copy)]
pub(super) struct KernelRows {
    /// The first, at the band's first channel.
    pub first: *const f32,
    /// Floats from a row to the next, and from a vector of channels to the next.
    pub steps: [usize; 2],
}

impl KernelRows {
    /// A row at the band's `channel`, the first of a vector.
    #[inline(always)]
    pub fn row<S: Simd>(&self, row: usize, channel: usize) -> *const f32 {
        self.first.wrapping_add(row * self.steps[0] + channel / S::LANES * self.steps[1])
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
    pub kernel: KernelRows,
    pub bias: Option<*const f32>,
    pub relu: bool,
    pub target: *mut f32,
    /// Floats from one position to the next.
    pub channels: usize,
    /// Channels of a group.
    pub group: usize,
    /// How many of the channels the band has.
    pub some: usize,
    /// Whether the maps are so large that no cache near by holds them.
    pub far: bool,
    /// If [`super::depthwise_roll`] is to compute it: rows that the first row of the target would see before the source
    /// begins, and rows of the source.
    pub roll: Option<[usize; 2]>,
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
            ($grouped:literal $first:ident: $($columns:ident $window:literal $stride:literal $seen:expr, $half:literal;)*) => {
                match (columns, self.slide.window, self.slide.stride, self.slide.outside($first, columns)) {
                    $(
                        ($columns, $window, $stride, [0, 0]) =>
                            s.call(Tiles::<$grouped, $window, $stride, $columns, { $seen }, 0, 0>(self, $first)),
                        ($columns, $window, $stride, [$half, 0]) =>
                            s.call(Tiles::<$grouped, $window, $stride, $columns, { $seen }, $half, 0>(self, $first)),
                        ($columns, $window, $stride, [0, $half]) =>
                            s.call(Tiles::<$grouped, $window, $stride, $columns, { $seen }, 0, $half>(self, $first)),
                        ($columns, $window, $stride, [$half, $half]) =>
                            s.call(Tiles::<$grouped, $window, $stride, $columns, { $seen }, $half, $half>(self, $first)),
                    )*
                    _ => unreachable!("Slide::columns has looked at all tiles"),
                }
            };
        }
        if let Some(roll) = self.roll {
            return self.go_down(s, roll);
        }
        for first in self.slide.tiles(columns) {
            if S::REGISTERS >= 32 && self.group > 1 {
                tiles!(true first: WIDE 3 1 WIDE + 2, 1; WIDE 3 2 2 * WIDE + 1, 1;);
            } else if S::REGISTERS >= 32 {
                tiles!(false first: WIDE 3 1 WIDE + 2, 1; WIDE 3 2 2 * WIDE + 1, 1; WIDE 5 1 WIDE + 4, 2;);
            } else if S::REGISTERS >= 16 && self.group > 1 {
                tiles!(true first: NARROW 3 1 NARROW + 2, 1; NARROW 3 2 2 * NARROW + 1, 1;);
            } else if S::REGISTERS >= 16 {
                tiles!(false first: NARROW 3 1 NARROW + 2, 1; NARROW 3 2 2 * NARROW + 1, 1; NARROW 5 1 NARROW + 4, 2;);
            }
        }
    }
}

/// The tiles of a band that begin in one column: `COLUMNS` columns that see `SEEN` columns of the source, of which the
/// first `LEFT` and the last `RIGHT` are outside.
struct Tiles<
    'a,
    const GROUPED: bool,
    const WINDOW: usize,
    const STRIDE: usize,
    const COLUMNS: usize,
    const SEEN: usize,
    const LEFT: usize,
    const RIGHT: usize,
>(&'a Band<'a>, usize);

impl<
    const GROUPED: bool,
    const WINDOW: usize,
    const STRIDE: usize,
    const COLUMNS: usize,
    const SEEN: usize,
    const LEFT: usize,
    const RIGHT: usize,
> Vectorized for Tiles<'_, GROUPED, WINDOW, STRIDE, COLUMNS, SEEN, LEFT, RIGHT>
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
    const GROUPED: bool,
    const WINDOW: usize,
    const STRIDE: usize,
    const COLUMNS: usize,
    const SEEN: usize,
    const LEFT: usize,
    const RIGHT: usize,
> Tiles<'_, GROUPED, WINDOW, STRIDE, COLUMNS, SEEN, LEFT, RIGHT>
{
    /// Asks for what the tile of a row will be the first to look at, and for where it will write.
    #[inline(always)]
    fn ask_ahead(&self, y: usize, channel: usize) {
        let Tiles(Band { slide, channels, .. }, first) = self;
        let Some((_, row)) = self.0.taps[y].last() else { return };
        let column = (first * STRIDE + LEFT).wrapping_sub(slide.before);
        let from = self.0.source.wrapping_add((row * slide.widths[0]).wrapping_add(column).wrapping_mul(*channels));
        for i in 0..SEEN - LEFT - RIGHT {
            prefetch::<false>(from.wrapping_add(i * channels + channel));
        }
        let target = self.0.target.wrapping_add((y * slide.widths[1] + first) * channels + channel);
        for column in 0..COLUMNS {
            prefetch::<false>(target.wrapping_add(column * channels));
        }
    }

    /// # Safety
    /// As for [`Band::sum`]; `count` channels from `channel` on are some of the band's, a vector if `WHOLE`.
    #[inline(always)]
    unsafe fn tile<S: Simd, const WHOLE: bool>(&self, s: S, y: usize, channel: usize, count: usize) {
        let Tiles(Band { slide, channels, .. }, first) = self;
        let (channels, group) = (*channels, if GROUPED { self.0.group } else { 1 });
        let mut sums = [s.splat(0.0); COLUMNS];
        if let Some(bias) = self.0.bias {
            // SAFETY: the caller vouches for the channels.
            sums = [unsafe { read::<S, WHOLE>(s, bias.wrapping_add(channel), count) }; COLUMNS];
        }
        if STRIDE == 1 && self.0.far && y + 1 < self.0.rows.end {
            self.ask_ahead(y + 1, channel);
        }
        let start = (first * STRIDE).wrapping_sub(slide.before).wrapping_mul(channels).wrapping_add(channel);
        for &(u, row) in &self.0.taps[y] {
            let from = self.0.source.wrapping_add((row * slide.widths[0] * channels).wrapping_add(start));
            let mut seen = [s.splat(0.0); SEEN];
            for (i, seen) in seen.iter_mut().enumerate().take(SEEN - RIGHT).skip(LEFT) {
                // SAFETY: inside the source, since LEFT and RIGHT are what is not.
                *seen = unsafe { read::<S, WHOLE>(s, from.wrapping_add(i * channels), count) };
            }
            for lane in 0..group {
                let mut spread = seen;
                if GROUPED {
                    for spread in &mut spread {
                        *spread = s.spread(*spread, group, lane);
                    }
                }
                for v in 0..WINDOW {
                    let tap = u * WINDOW + if slide.reversed { WINDOW - 1 - v } else { v };
                    let tap = self.0.kernel.row::<S>(tap * group + lane, channel);
                    // SAFETY: the caller vouches for all taps.
                    let tap = unsafe { read::<S, WHOLE>(s, tap, count) };
                    for (column, sum) in sums.iter_mut().enumerate() {
                        let at = column * STRIDE + v;
                        if at >= LEFT && at < SEEN - RIGHT {
                            *sum = s.mul_add(spread[at], tap, *sum);
                        }
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

/// The same, if `GROUPED` with the value of one channel of each group in all of the group: see [`Simd::spread`].
///
/// # Safety
/// `count` floats are readable, a vector if `WHOLE`.
#[inline(always)]
pub(super) unsafe fn read_of<S: Simd, const GROUPED: bool, const WHOLE: bool>(
    s: S,
    from: *const f32,
    [group, lane]: [usize; 2],
    count: usize,
) -> S::V {
    // SAFETY: as the caller says.
    let values = unsafe { read::<S, WHOLE>(s, from, count) };
    if GROUPED { s.spread(values, group, lane) } else { values }
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
    /// The row's vertical taps: two or three of a window of three.
    pub taps: &'a [Tap],
    pub source: *const f32,
    /// Of the row.
    pub gradient: *const f32,
    pub d_kernel: *mut f32,
    pub channels: usize,
    /// As in [`Band`].
    pub group: usize,
    /// As in [`Band`].
    pub far: bool,
}

impl GradientRow<'_> {
    /// Adds the products.
    ///
    /// # Safety
    /// `channels` floats are readable at all positions of the slide's widths, in the row of the gradient and the rows of
    /// the source that the taps name, and readable and writable at all taps of the kernel's gradient.
    #[inline(always)]
    pub unsafe fn add<S: Simd>(self, s: S) {
        match (self.group > 1, self.taps.len(), self.slide.stride) {
            (false, 2, 1) => s.call(Products::<false, 2, 1>(self)),
            (false, 3, 1) => s.call(Products::<false, 3, 1>(self)),
            (false, 2, 2) => s.call(Products::<false, 2, 2>(self)),
            (false, 3, 2) => s.call(Products::<false, 3, 2>(self)),
            (true, 2, 1) => s.call(Products::<true, 2, 1>(self)),
            (true, 3, 1) => s.call(Products::<true, 3, 1>(self)),
            (true, 2, 2) => s.call(Products::<true, 2, 2>(self)),
            (true, 3, 2) => s.call(Products::<true, 3, 2>(self)),
            _ => unreachable!("rows of two or three taps, strides of 1 or 2"),
        }
    }
}

/// The same with `ROWS` vertical taps.
struct Products<'a, const GROUPED: bool, const ROWS: usize, const STRIDE: usize>(GradientRow<'a>);

impl<const GROUPED: bool, const ROWS: usize, const STRIDE: usize> Vectorized for Products<'_, GROUPED, ROWS, STRIDE> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (channels, mut channel) = (self.0.channels, 0);
        // SAFETY: whoever called `GradientRow::add` vouches for all channels.
        unsafe {
            while channels - channel >= S::LANES {
                for lane in 0..self.group() {
                    self.add::<S, true>(s, lane, channel, S::LANES);
                }
                channel += S::LANES;
            }
            if channel < channels {
                for lane in 0..self.group() {
                    self.add::<S, false>(s, lane, channel, channels - channel);
                }
            }
        }
    }
}

impl<const GROUPED: bool, const ROWS: usize, const STRIDE: usize> Products<'_, GROUPED, ROWS, STRIDE> {
    #[inline(always)]
    fn group(&self) -> usize {
        if GROUPED { self.0.group } else { 1 }
    }

    /// # Safety
    /// As for [`GradientRow::add`]; there are `count` channels from `channel` on, a vector if `WHOLE`.
    #[inline(always)]
    unsafe fn add<S: Simd, const WHOLE: bool>(&self, s: S, lane: usize, channel: usize, count: usize) {
        let GradientRow { slide, channels, .. } = self.0;
        let group = self.group();
        let [left, right] = slide.outside(0, slide.widths[1]);
        let gradient = self.0.gradient.wrapping_add(channel);
        let to: [*mut f32; ROWS] = std::array::from_fn(|r| {
            self.0.d_kernel.wrapping_add((self.0.taps[r].0 * 3 * group + lane) * channels + channel)
        });
        // Where the first column sees, or would see, its first tap.
        let from: [*const f32; ROWS] = std::array::from_fn(|r| {
            let row = self.0.source.wrapping_add(self.0.taps[r].1 * slide.widths[0] * channels + channel);
            row.wrapping_sub(slide.before * channels)
        });
        let at = |r: usize, i: usize| from[r].wrapping_add(i);
        // SAFETY: the caller vouches for all taps inside the source, and those outside are left out.
        unsafe {
            let mut sums: [[S::V; 3]; ROWS] = std::array::from_fn(|r| {
                std::array::from_fn(|v| read::<S, WHOLE>(s, to[r].wrapping_add(v * group * channels), count))
            });
            if left > 0 {
                let d = read::<S, WHOLE>(s, gradient, count);
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate().skip(1) {
                        *sum = s.mul_add(
                            read_of::<S, GROUPED, WHOLE>(s, at(r, v * channels), [group, lane], count),
                            d,
                            *sum,
                        );
                    }
                }
            }
            let (mut i, mut j) = (left * STRIDE * channels, left * channels);
            let inner = slide.widths[1] - left - right;
            let mut kept = [[s.splat(0.0); 2]; ROWS];
            if S::REGISTERS >= 32 && inner > 0 {
                for (r, kept) in kept.iter_mut().enumerate() {
                    kept[0] = read_of::<S, GROUPED, WHOLE>(s, at(r, i), [group, lane], count);
                    if STRIDE == 1 {
                        kept[1] = read_of::<S, GROUPED, WHOLE>(s, at(r, i + channels), [group, lane], count);
                    }
                }
            }
            // What the next row will be the first to look at.
            let ahead: [*const f32; STRIDE] = std::array::from_fn(|r| {
                from[ROWS - 1].wrapping_add((r + 1) * slide.widths[0] * channels + (3 - STRIDE) * channels)
            });
            for _ in 0..inner {
                if lane == 0 && self.0.far {
                    for (row, column) in ahead.iter().flat_map(|row| (0..STRIDE).map(move |column| (row, column))) {
                        prefetch::<false>(row.wrapping_add(i + column * channels));
                    }
                }
                let d = read::<S, WHOLE>(s, gradient.wrapping_add(j), count);
                for (r, (sums, kept)) in sums.iter_mut().zip(&mut kept).enumerate() {
                    let keeps = S::REGISTERS >= 32;
                    let first =
                        if keeps { kept[0] } else { read_of::<S, GROUPED, WHOLE>(s, at(r, i), [group, lane], count) };
                    let second = if keeps && STRIDE == 1 {
                        kept[1]
                    } else {
                        read_of::<S, GROUPED, WHOLE>(s, at(r, i + channels), [group, lane], count)
                    };
                    let third = read_of::<S, GROUPED, WHOLE>(s, at(r, i + 2 * channels), [group, lane], count);
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
                        *sum = s.mul_add(
                            read_of::<S, GROUPED, WHOLE>(s, at(r, i + v * channels), [group, lane], count),
                            d,
                            *sum,
                        );
                    }
                }
            }
            for (to, sums) in to.iter().zip(sums) {
                for (v, sum) in sums.into_iter().enumerate() {
                    write::<S, WHOLE>(s, to.wrapping_add(v * group * channels), sum, count);
                }
            }
        }
    }
}
