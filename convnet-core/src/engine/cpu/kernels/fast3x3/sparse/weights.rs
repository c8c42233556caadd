//! The gradient of the weights: filter by filter, all active windows of a [`Tile`], whose nine sums of two vectors (one,
//! where there are 16 registers) stay in registers.

use super::{Image, add};
use crate::engine::cpu::kernels::fast3x3::block::Block;
use crate::engine::cpu::simd::Simd;
use std::mem::offset_of;
use std::ops::Range;

/// Windows whose activity in a filter is one mask.
pub(super) const WINDOWS: usize = 64;
/// Floats of the input that stay in the first cache: three quarters of 48 KB, or all of 32 KB.
const FLOATS: usize = 9728;

/// How many images, rows and columns of windows a filter's sums collect before they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub images: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Tile {
    /// The largest whose part of the input, in slices of so many channels, stays in the first cache: some whole images
    /// (where they need not be packed), else some whole rows, else a part of a row.
    pub fn of(block: &Block, slice: usize) -> Tile {
        let (rows, columns) = block.output();
        let floats = |rows: usize, columns: usize| (2 * rows + 2) * (2 * columns + 2) * slice;
        let parts = columns.div_ceil(WINDOWS).max(floats(1, columns).div_ceil(FLOATS));
        if parts > 1 {
            return Tile { images: 1, rows: 1, columns: columns.div_ceil(parts) };
        }
        let fits = |&rows: &usize| rows * columns <= WINDOWS && floats(rows, columns) <= FLOATS;
        let fit = (1..=rows).rev().find(fits).unwrap_or(1);
        let images = (WINDOWS / (rows * columns)).min(FLOATS / floats(rows, columns)).max(1);
        Tile { images: if fit == rows && block.channels == slice { images } else { 1 }, rows: fit, columns }
    }

    /// Windows, at most [`WINDOWS`].
    pub fn windows(&self) -> usize {
        self.images * self.rows * self.columns
    }

    /// For each window, from the first: where its patches start, that of the first corner first.
    pub fn list(&self, block: &Block, slice: usize, places: &mut [u32]) {
        for (i, place) in places.iter_mut().enumerate() {
            let (image, row, column) = (i / self.columns / self.rows, i / self.columns % self.rows, i % self.columns);
            *place = (image * block.input_len() + (2 * row * block.width + 2 * column) * slice) as u32;
        }
    }
}

/// What a filter has in each window of a [`Tile`].
#[derive(Clone, Copy)]
pub(super) struct Filter {
    /// The gradient of its output.
    d: [f32; WINDOWS],
    /// Where the patch of its maximum starts.
    patch: [u32; WINDOWS],
}

impl Image<'_> {
    /// For every filter: in which of at most 64 windows it is active. Adds its gradients to the bias's.
    #[inline(always)]
    pub(super) fn mark_windows<S: Simd>(
        &self,
        s: S,
        windows: Range<usize>,
        marks: &mut [[u32; 2]],
        d_bias: &mut [f32],
    ) {
        let filters = self.block.filters;
        for filter in (0..filters).step_by(S::LANES) {
            let (mut lanes, mut sum) = ([s.splat(0.0); 2], s.splat(0.0));
            for (half, lanes) in lanes.iter_mut().enumerate() {
                let from = (windows.start + 32 * half).min(windows.end);
                for window in from..windows.end.min(from + 32) {
                    let at = window * filters + filter;
                    // SAFETY: windows and filters are the block's, and `filters` is a multiple of the lanes.
                    unsafe {
                        let active = self.active(s, at);
                        *lanes = s.mark(active, *lanes, 1 << (window - from));
                        sum = s.add(sum, s.keep(active, s.load(self.d_output.as_ptr().add(at))));
                    }
                }
            }
            let mut halves = [[0u32; 16]; 2];
            // SAFETY: 16 floats are as long as 16 `u32`s, and a vector has at most 16; the bias's gradient has one
            // element a filter, if there is one.
            unsafe {
                s.store(halves[0].as_mut_ptr().cast(), lanes[0]);
                s.store(halves[1].as_mut_ptr().cast(), lanes[1]);
                if !d_bias.is_empty() {
                    add(s, d_bias.as_mut_ptr().add(filter), sum);
                }
            }
            for (i, mark) in marks[filter..filter + S::LANES].iter_mut().enumerate() {
                *mark = [halves[0][i], halves[1][i]];
            }
        }
    }

    /// Turns gradients and maxima of at most 64 windows, which lie window by window, to lie filter by filter.
    #[inline(always)]
    pub(super) fn turn_windows<S: Simd>(
        &self,
        s: S,
        windows: Range<usize>,
        slice: usize,
        places: &[u32],
        turned: &mut [Filter],
    ) {
        let (filters, down) = (self.block.filters, (self.block.width * slice) as u32);
        let (mut d, mut patches) = ([[0.0f32; 16]; 16], [[0u32; 16]; 16]);
        for (first, places) in windows.clone().step_by(S::LANES).zip(places.chunks(S::LANES)) {
            let count = S::LANES.min(windows.end - first);
            for (filter, turned) in turned[..filters].chunks_exact_mut(S::LANES).enumerate() {
                for (i, place) in places[..count].iter().enumerate() {
                    let here =
                        (first + i) * filters + filter * S::LANES..(first + i) * filters + (filter + 1) * S::LANES;
                    d[i][..S::LANES].copy_from_slice(&self.d_output[here.clone()]);
                    for (patch, kept) in patches[i].iter_mut().zip(&self.kept[here]) {
                        let corner = u32::from(*kept);
                        *patch = place + (corner & 1) * slice as u32 + (corner >> 1 & 1) * down;
                    }
                }
                let at = first - windows.start;
                let (to, stride) = (turned.as_mut_ptr().cast::<f32>(), size_of::<Filter>() / size_of::<f32>());
                // SAFETY: squares of vectors, on both sides; `u32`s are as large as floats.
                unsafe {
                    let [to_d, to_patch] = [offset_of!(Filter, d), offset_of!(Filter, patch)]
                        .map(|place| to.add(place / size_of::<f32>() + at));
                    s.transpose(d.as_ptr().cast(), 16, to_d, stride);
                    s.transpose(patches.as_ptr().cast(), 16, to_patch, stride);
                }
            }
        }
    }

    /// What the marked windows give to the weights of a slice of channels; `x` is where their patches start. `fresh`:
    /// the sums begin here.
    #[inline(always)]
    pub(super) fn weights_slice<S: Simd, const N: usize>(
        &self,
        s: S,
        fresh: bool,
        sums: &mut [f32],
        x: &[f32],
        turned: &[Filter],
        marks: &[[u32; 2]],
    ) {
        let (slice, row) = (N * S::LANES, self.block.width * N * S::LANES);
        let x = x.as_ptr();
        for (to, (filter, mark)) in sums.chunks_exact_mut(9 * slice).zip(turned.iter().zip(marks)) {
            let to = to.as_mut_ptr();
            // SAFETY: `to` has 9 · slice floats. Marked windows exist, and their patches are in the map.
            unsafe {
                let mut sums = [[s.splat(0.0); N]; 9];
                if !fresh {
                    for (i, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                        *sum = s.load(to.add(i * S::LANES));
                    }
                }
                let mut mask = u64::from(mark[0]) | u64::from(mark[1]) << 32;
                while mask != 0 {
                    let window = mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    let d = s.splat(*filter.d.as_ptr().add(window));
                    let x = x.add(*filter.patch.as_ptr().add(window) as usize);
                    for (i, sums) in sums.iter_mut().enumerate() {
                        for (v, sum) in sums.iter_mut().enumerate() {
                            let x = s.load(x.add(i / 3 * row + i % 3 * slice + v * S::LANES));
                            *sum = s.mul_add(d, x, *sum);
                        }
                    }
                }
                for (i, sum) in sums.as_flattened().iter().enumerate() {
                    s.store(to.add(i * S::LANES), *sum);
                }
            }
        }
    }
}
