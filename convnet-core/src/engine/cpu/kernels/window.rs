//! How a window lies in memory: zero-bordered copies of maps, and the offsets of taps and positions in them.

use super::gemm::Offsets;
use crate::layers::conv2d::Spec;
use crate::shape::Shape;

/// A channels-last map set into a larger one whose border is zero, so that a window never leaves it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Border {
    /// Height and width of the map.
    pub inner: [usize; 2],
    /// Height and width of what the windows cover. Where that is less than the map, the rest is left out.
    pub outer: [usize; 2],
    /// Rows and columns of zeros before the map.
    pub before: [usize; 2],
    /// Floats at a position.
    pub channels: usize,
}

impl Border {
    /// That of a convolution's input.
    pub fn of_input(spec: &Spec, input: Shape, output: Shape) -> Border {
        let (vertical, horizontal) = (spec.vertical, spec.horizontal);
        Border {
            inner: [input.height(), input.width()],
            outer: [
                (output.height() - 1) * vertical.stride + vertical.reach(),
                (output.width() - 1) * horizontal.stride + horizontal.reach(),
            ],
            before: [vertical.pad_before(input.height()), horizontal.pad_before(input.width())],
            channels: input.channels(),
        }
    }

    /// That of the output's gradient, over which a convolution without strides slides back to its input.
    pub fn of_gradient(spec: &Spec, input: Shape, output: Shape) -> Border {
        let (vertical, horizontal) = (spec.vertical, spec.horizontal);
        Border {
            inner: [output.height(), output.width()],
            outer: [input.height() + vertical.reach() - 1, input.width() + horizontal.reach() - 1],
            before: [
                vertical.reach() - 1 - vertical.pad_before(input.height()),
                horizontal.reach() - 1 - horizontal.pad_before(input.width()),
            ],
            channels: spec.filters,
        }
    }

    /// Whether a copy is needed: not if the windows stay inside the map.
    pub fn copies(&self) -> bool {
        self.before != [0, 0] || self.outer[0] > self.inner[0] || self.outer[1] > self.inner[1]
    }

    /// Floats in a row, of the copy or, if there is none, of the map.
    pub fn row(&self) -> usize {
        self.channels * if self.copies() { self.outer[1] } else { self.inner[1] }
    }

    /// Floats in an image, of the copy or, if there is none, of the map.
    pub fn len(&self) -> usize {
        self.row() * if self.copies() { self.outer[0] } else { self.inner[0] }
    }

    /// Floats that the copies of some images take.
    pub fn scratch(&self, images: usize) -> usize {
        if self.copies() { images * self.len() } else { 0 }
    }

    /// Copies some images, if need be; gives the maps to slide over and what is left of the scratch.
    pub fn bordered<'a>(&self, images: &'a [f32], scratch: &'a mut [f32]) -> (&'a [f32], &'a mut [f32]) {
        if !self.copies() {
            return (images, scratch);
        }
        let (row, [top, left]) = (self.row(), self.before);
        let copied = self.inner[1].min(self.outer[1] - left) * self.channels;
        let image_len = self.inner[0] * self.inner[1] * self.channels;
        let (copies, rest) = scratch.split_at_mut(images.len() / image_len * self.len());
        for (image, copy) in images.chunks_exact(image_len).zip(copies.chunks_exact_mut(self.len())) {
            let rows = image.chunks_exact(self.inner[1] * self.channels).take(self.outer[0] - top);
            let end = top + rows.len();
            copy[..top * row].fill(0.0);
            for (from, to) in rows.zip(copy[top * row..].chunks_exact_mut(row)) {
                to[..left * self.channels].fill(0.0);
                to[left * self.channels..][..copied].copy_from_slice(&from[..copied]);
                to[left * self.channels + copied..].fill(0.0);
            }
            copy[end * row..].fill(0.0);
        }
        (copies, rest)
    }
}

/// Where the taps of a window lie, from its first: runs of equal length without gaps.
#[derive(Clone, Debug)]
pub(super) struct Taps {
    /// The start of each run, in the order of the kernel's rows.
    pub offsets: Offsets,
    /// Number of runs.
    pub runs: usize,
    /// Floats in a run.
    pub len: usize,
}

impl Taps {
    /// The taps of a convolution's window over rows of `row` floats with `channels` floats a position.
    pub fn new(spec: &Spec, row: usize, channels: usize) -> Self {
        let (vertical, horizontal) = (spec.vertical, spec.horizontal);
        if horizontal.dilation == 1 || horizontal.window == 1 {
            let offsets = (0..vertical.window).map(|u| u * vertical.dilation * row);
            Taps { offsets: Offsets::new(offsets, 0), runs: vertical.window, len: horizontal.window * channels }
        } else {
            let offsets = tap_offsets(spec, row, channels);
            Taps { offsets: Offsets::new(offsets, 0), runs: vertical.window * horizontal.window, len: channels }
        }
    }
}

/// Where each single tap of a window lies, row by row.
pub(super) fn tap_offsets(spec: &Spec, row: usize, channels: usize) -> impl Iterator<Item = usize> {
    let (vertical, horizontal) = (spec.vertical, spec.horizontal);
    (0..vertical.window).flat_map(move |u| {
        (0..horizontal.window).map(move |v| u * vertical.dilation * row + v * horizontal.dilation * channels)
    })
}

/// Where the windows of a map of `height` × `width` positions start, in steps of `down` and `right` floats.
pub(super) fn positions(height: usize, width: usize, down: usize, right: usize) -> impl Iterator<Item = usize> {
    (0..height).flat_map(move |i| (0..width).map(move |j| i * down + j * right))
}
