//! The windows of pooling: for each output the taps that lie inside the map.

use crate::layers::max_pooling2d::Spec;
use crate::shape::{Axis, Shape};
use std::ops::Range;

/// Calls `each` for each output in some rows of an image, with its first element, counted from that of the first of these
/// rows on, and the taps of its window.
#[inline(always)]
pub(super) fn each_output(
    spec: &Spec,
    input: Shape,
    output: Shape,
    some: Range<usize>,
    mut each: impl FnMut(usize, Window),
) {
    for i in some.clone() {
        let rows = Span::new(&spec.vertical, i, input.height());
        for j in 0..output.width() {
            let window = Window {
                rows,
                columns: Span::new(&spec.horizontal, j, input.width()),
                taps: spec.horizontal.window,
                width: input.width(),
                channels: input.channels(),
            };
            each(((i - some.start) * output.width() + j) * output.channels(), window);
        }
    }
}

/// The taps of an axis that lie inside the map.
#[derive(Clone, Copy)]
struct Span {
    /// Number of the first.
    first: usize,
    /// How many.
    count: usize,
    /// Where the first lies.
    at: usize,
    /// From one to the next.
    step: usize,
}

impl Span {
    #[inline(always)]
    fn new(axis: &Axis, output: usize, size: usize) -> Span {
        let (start, pad) = (output * axis.stride, axis.pad_before(size));
        let first = pad.saturating_sub(start).div_ceil(axis.dilation);
        let at = (start + first * axis.dilation).saturating_sub(pad);
        let inside = if at < size { (size - at).div_ceil(axis.dilation) } else { 0 };
        Span { first, count: inside.min(axis.window.saturating_sub(first)), at, step: axis.dilation }
    }
}

/// An output's window.
#[derive(Clone, Copy)]
pub(super) struct Window {
    rows: Span,
    columns: Span,
    /// Taps in a row of the whole window.
    taps: usize,
    /// Positions in a row of the map.
    width: usize,
    channels: usize,
}

impl Window {
    /// Calls `each` with the number of each tap inside the map and its first element in the image.
    #[inline(always)]
    pub fn each_tap(&self, mut each: impl FnMut(usize, usize)) {
        for u in 0..self.rows.count {
            let tap = (self.rows.first + u) * self.taps + self.columns.first;
            let row = (self.rows.at + u * self.rows.step) * self.width;
            for v in 0..self.columns.count {
                each(tap + v, (row + self.columns.at + v * self.columns.step) * self.channels);
            }
        }
    }

    /// Calls `each` with each row of the taps inside the map.
    #[inline(always)]
    pub fn each_row(&self, mut each: impl FnMut(Row)) {
        for u in 0..self.rows.count {
            let at = (self.rows.at + u * self.rows.step) * self.width + self.columns.at;
            each(Row { at: at * self.channels, count: self.columns.count, step: self.columns.step * self.channels });
        }
    }

    /// How many taps lie inside the map.
    #[inline(always)]
    pub fn inside(&self) -> usize {
        self.rows.count * self.columns.count
    }
}

/// A row of a window's taps that lie inside the map.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// The first element of the first tap in the image.
    at: usize,
    /// How many taps.
    count: usize,
    /// From one to the next.
    step: usize,
}

impl Row {
    /// The first element of each tap in the image.
    #[inline(always)]
    pub fn taps(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |v| self.at + v * self.step)
    }
}
