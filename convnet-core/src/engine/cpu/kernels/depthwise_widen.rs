//! The gradient of the input of depthwise windows of 3×3 with strides of 2: what [`super::depthwise_gather`] finds column
//! by column of four kinds, each with taps of its own, with the same sums to the bit.
//!
//! Why it is as it is. A position of the output's gradient and its three neighbours above and to the left are all that a
//! square of two by two positions of the input sees, by nine taps in all: the square's first position sees all four, the
//! two beside it two each, the last one. So a tile is four neighbouring squares: the gradient's five positions in two
//! rows and nine taps are 19 loads for 36 multiply-adds, where gathering has two loads for three of them. A tile is
//! made for all channels before the next one, which reads and writes whole lines in the order in which they lie.
//!
//! Backward as a whole, Zen 4, 8 images, µs, before and with it, by turns: 112×112×64 225 and 162, 28×28×256 590 and 450,
//! 14×14×512 323 and 276, 56×56×24 210 and 154; 56×56×128, whose maps come from memory, 1700 either way. Asking for the
//! places of the next row's results gained nothing.

use super::depthwise_slide::{KernelRows, read, write};
use crate::engine::cpu::simd::{Simd, Vectorized};
use crate::shape::Axis;
use std::ops::Range;

/// Squares of a tile.
const SQUARES: usize = 4;

/// How the positions of an input lie to those of the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widen {
    /// Rows and columns that the first of the output would see before the input begins: none or one.
    before: [usize; 2],
    /// Rows and columns of the output.
    from: [usize; 2],
    /// Rows and columns of the input.
    to: [usize; 2],
}

impl Widen {
    /// For windows of three with strides of two along both axes.
    pub fn new(axes: [&Axis; 2], input: [usize; 2], output: [usize; 2]) -> Option<Widen> {
        let known = |axis: &Axis| (axis.window, axis.stride, axis.dilation) == (3, 2, 1);
        let before = [0, 1].map(|a| axes[a].pad_before(input[a]));
        (axes.into_iter().all(known) && before.iter().all(|before| *before <= 1)).then_some(Widen {
            before,
            from: output,
            to: input,
        })
    }

    /// Where the squares of an axis begin, from the first on: the i-th has the positions `2i - before` and the next one,
    /// and sees i - 1 and i of the output.
    fn squares(&self, axis: usize, of: &Range<usize>) -> Range<usize> {
        let before = self.before[axis];
        (of.start + before) / 2..(of.end + before).div_ceil(2)
    }
}

/// Overwrites rows of a map with their sums. Pointers are at the first of `some` channels.
pub(super) struct Squares {
    pub widen: Widen,
    /// The gradient of the output.
    pub source: *const f32,
    pub kernel: KernelRows,
    /// That of the input.
    pub target: *mut f32,
    pub rows: Range<usize>,
    /// Floats from one position to the next.
    pub channels: usize,
    pub some: usize,
}

/// Which of two neighbours are in a map.
type Both = [bool; 2];

impl Squares {
    /// Overwrites the rows.
    ///
    /// # Safety
    /// `some` floats are readable at all positions of the output and at the kernel's nine taps, and writable at all
    /// positions of these rows of the input.
    #[inline(always)]
    pub unsafe fn sum<S: Simd>(self, s: S) {
        s.call(All(self));
    }
}

/// See [`Squares::sum`], whose caller vouches for everything.
struct All(Squares);

impl Vectorized for All {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let All(squares) = self;
        for row in squares.widen.squares(0, &squares.rows) {
            let (written, seen) = squares.inside(0, row, &squares.rows);
            // SAFETY: whoever called `Squares::sum` vouches for all positions, and `seen` says which of the output's are
            // there.
            unsafe {
                match seen {
                    [true, true] => squares.row::<S, true, true>(s, row, written),
                    [true, false] => squares.row::<S, true, false>(s, row, written),
                    [false, true] => squares.row::<S, false, true>(s, row, written),
                    [false, false] => {}
                }
            }
        }
    }
}

impl Squares {
    /// Which of the two rows (columns) of a square are to be written, and which gradients it sees: those before it, its
    /// own.
    #[inline(always)]
    fn inside(&self, axis: usize, square: usize, of: &Range<usize>) -> (Both, Both) {
        let at = |i: usize| (2 * square + i).checked_sub(self.widen.before[axis]);
        let written = [0, 1].map(|i| at(i).is_some_and(|at| of.contains(&at)));
        (written, [square > 0, square < self.widen.from[axis]])
    }

    /// A row of squares, which see gradients `ABOVE`, in the row of the output before, and `HERE`, in their own.
    ///
    /// # Safety
    /// As for [`Squares::sum`].
    #[inline(always)]
    unsafe fn row<S: Simd, const ABOVE: bool, const HERE: bool>(&self, s: S, row: usize, written: Both) {
        let Widen { before, from, to } = self.widen;
        let columns = self.widen.squares(1, &(0..to[1]));
        // Those whose gradients are all there, and all of whose positions.
        let inner = 1..from[1].min((to[1] + before[1]) / 2);
        let mut column = columns.start;
        while column < columns.end {
            // SAFETY: as the caller says.
            unsafe {
                if inner.contains(&column) && column + SQUARES <= inner.end {
                    let place = Place { row, column, written, columns: [true; 2], across: [true; 2] };
                    self.tile::<S, ABOVE, HERE, SQUARES, { SQUARES + 1 }>(s, place);
                    column += SQUARES;
                } else {
                    let (columns, across) = self.inside(1, column, &(0..to[1]));
                    let place = Place { row, column, written, columns, across };
                    self.tile::<S, ABOVE, HERE, 1, 2>(s, place);
                    column += 1;
                }
            }
        }
    }

    /// `N` squares, which see gradients in `SEEN` columns.
    ///
    /// # Safety
    /// As for [`Squares::row`]; the place says what is inside the maps.
    #[inline(always)]
    unsafe fn tile<S: Simd, const ABOVE: bool, const HERE: bool, const N: usize, const SEEN: usize>(
        &self,
        s: S,
        place: Place,
    ) {
        let mut channel = 0;
        // SAFETY: the caller vouches for `some` channels.
        unsafe {
            while self.some - channel >= S::LANES {
                self.vector::<S, ABOVE, HERE, N, SEEN, true>(s, &place, channel, S::LANES);
                channel += S::LANES;
            }
            if channel < self.some {
                self.vector::<S, ABOVE, HERE, N, SEEN, false>(s, &place, channel, self.some - channel);
            }
        }
    }

    /// # Safety
    /// As for [`Squares::tile`]; `count` channels from `channel` on are some of these, a vector if `WHOLE`.
    #[inline(always)]
    unsafe fn vector<S, const ABOVE: bool, const HERE: bool, const N: usize, const SEEN: usize, const WHOLE: bool>(
        &self,
        s: S,
        place: &Place,
        channel: usize,
        count: usize,
    ) where
        S: Simd,
    {
        let (channels, [above, here]) = (Channels { first: channel, count }, [place.row.wrapping_sub(1), place.row]);
        // SAFETY: the caller vouches for the rows that are seen and written, and for the taps.
        unsafe {
            let above =
                if ABOVE { self.seen::<S, SEEN, WHOLE>(s, place, above, channels) } else { [s.splat(0.0); SEEN] };
            let here = if HERE { self.seen::<S, SEEN, WHOLE>(s, place, here, channels) } else { [s.splat(0.0); SEEN] };
            if place.written[0] {
                let mut sums = [[s.splat(0.0); N]; 2];
                if ABOVE {
                    self.add::<S, N, SEEN, WHOLE>(s, place, &mut sums, &above, 2, channels);
                }
                if HERE {
                    self.add::<S, N, SEEN, WHOLE>(s, place, &mut sums, &here, 0, channels);
                }
                self.write::<S, N, WHOLE>(s, place, 0, sums, channels);
            }
            if place.written[1] {
                let mut sums = [[s.splat(0.0); N]; 2];
                if HERE {
                    self.add::<S, N, SEEN, WHOLE>(s, place, &mut sums, &here, 1, channels);
                }
                self.write::<S, N, WHOLE>(s, place, 1, sums, channels);
            }
        }
    }

    /// The gradients of a row of the output, from the column before the first square on.
    ///
    /// # Safety
    /// As for [`Squares::vector`]; the row is in the output.
    #[inline(always)]
    unsafe fn seen<S: Simd, const SEEN: usize, const WHOLE: bool>(
        &self,
        s: S,
        place: &Place,
        row: usize,
        channels: Channels,
    ) -> [S::V; SEEN] {
        let first = (row * self.widen.from[1] + place.column).wrapping_sub(1).wrapping_mul(self.channels);
        let first = self.source.wrapping_add(first).wrapping_add(channels.first);
        let mut seen = [s.splat(0.0); SEEN];
        for (x, seen) in seen.iter_mut().enumerate() {
            if SEEN > 2 || place.across[x] {
                // SAFETY: the place says that this column is in the output.
                *seen = unsafe { read::<S, WHOLE>(s, first.wrapping_add(x * self.channels), channels.count) };
            }
        }
        seen
    }

    /// Adds what the taps of the kernel's row `u` make of a row of gradients, to the sums of the squares' first columns and of
    /// their second ones: the last tap sees a square's first column from the gradient before it, the first from its own,
    /// the middle one its second column.
    ///
    /// # Safety
    /// As for [`Squares::vector`].
    #[inline(always)]
    unsafe fn add<S: Simd, const N: usize, const SEEN: usize, const WHOLE: bool>(
        &self,
        s: S,
        place: &Place,
        sums: &mut [[S::V; N]; 2],
        seen: &[S::V; SEEN],
        u: usize,
        channels: Channels,
    ) {
        for (v, x) in [(2, 0), (0, 1), (1, 1)] {
            if N == 1 && !place.across[x] {
                continue;
            }
            // SAFETY: the caller vouches for all taps.
            let tap = unsafe { read::<S, WHOLE>(s, self.kernel.row::<S>(u * 3 + v, channels.first), channels.count) };
            for (square, sum) in sums[v % 2].iter_mut().enumerate() {
                *sum = s.mul_add(seen[square + x], tap, *sum);
            }
        }
    }

    /// Writes the sums of the squares' row `i`.
    ///
    /// # Safety
    /// As for [`Squares::vector`]; the row is to be written.
    #[inline(always)]
    unsafe fn write<S: Simd, const N: usize, const WHOLE: bool>(
        &self,
        s: S,
        place: &Place,
        i: usize,
        sums: [[S::V; N]; 2],
        channels: Channels,
    ) {
        let Widen { before, to, .. } = self.widen;
        let row = (2 * place.row + i - before[0]) * to[1];
        let first = (row + 2 * place.column).wrapping_sub(before[1]).wrapping_mul(self.channels);
        let first = self.target.wrapping_add(first).wrapping_add(channels.first);
        for (j, sums) in sums.into_iter().enumerate() {
            if N == 1 && !place.columns[j] {
                continue;
            }
            for (square, sum) in sums.into_iter().enumerate() {
                let to = first.wrapping_add((2 * square + j) * self.channels);
                // SAFETY: the place says that this column is in the input.
                unsafe { write::<S, WHOLE>(s, to, sum, channels.count) }
            }
        }
    }
}

/// Where a tile's squares lie; for a single square also what of it and of what it sees is inside the maps.
struct Place {
    /// Of the squares.
    row: usize,
    /// That of the first.
    column: usize,
    /// Which of its rows are to be written.
    written: Both,
    /// Which of its columns are in the input.
    columns: Both,
    /// Which of the columns that it sees are in the output.
    across: Both,
}

/// The first of some channels, and how many.
#[derive(Clone, Copy)]
struct Channels {
    first: usize,
    count: usize,
}
