//! The forward pass: bias, relu and pooling of the sums, while they are in the first cache.

use super::super::block::{Block, load, maximum, store, store_maxima};
use super::sliding::Strip;
use crate::engine::cpu::kernels::amx_panels::BLOCK;
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};

/// The output, and what becomes of the sums on the way there.
pub(super) struct Outputs<'a> {
    pub block: &'a Block,
    pub relu: bool,
    pub bias: Option<&'a [f32]>,
    pub output: &'a mut [f32],
    /// Places of maxima, or empty.
    pub kept: &'a mut [u8],
}

impl Outputs<'_> {
    /// Takes the sums of a strip.
    pub fn take(&mut self, strip: &Strip, sums: &[f32]) {
        vectorize(Level::Avx512, Finish { outputs: self, strip, sums });
    }
}

struct Finish<'r, 'a> {
    outputs: &'r mut Outputs<'a>,
    strip: &'r Strip,
    sums: &'r [f32],
}

impl Vectorized for Finish<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Finish { outputs, strip, sums } = self;
        let filters = strip.filters.clone();
        for filter in filters.clone().step_by(S::LANES) {
            let sums = &sums[filter - filters.start..];
            match (S::LANES.min(filters.end - filter), outputs.block.pooled) {
                (count, false) if count == S::LANES => outputs.finish::<S, true>(s, strip, filter, sums),
                (_, false) => outputs.finish::<S, false>(s, strip, filter, sums),
                (count, true) if count == S::LANES => outputs.pool::<S, true>(s, strip, filter, sums),
                (_, true) => outputs.pool::<S, false>(s, strip, filter, sums),
            }
        }
    }
}

impl Outputs<'_> {
    /// A vector of biases, of which as many are there as of filters.
    #[inline(always)]
    fn bias<S: Simd, const FULL: bool>(&self, s: S, filter: usize) -> S::V {
        match self.bias {
            None => s.splat(0.0),
            // SAFETY: one bias a filter, as many as lanes or all that are left.
            Some(bias) => unsafe { load::<S, FULL>(s, bias[filter..].as_ptr(), bias.len() - filter) },
        }
    }

    /// Sums to outputs, for a vector of filters.
    #[inline(always)]
    fn finish<S: Simd, const FULL: bool>(&mut self, s: S, strip: &Strip, filter: usize, sums: &[f32]) {
        let Block { filters, .. } = *self.block;
        let (rows, columns) = self.block.output();
        let bias = self.bias::<S, FULL>(s, filter);
        for (i, row) in strip.rows.clone().enumerate() {
            let from = &sums[i * strip.pitch * BLOCK..][..(columns - 1) * BLOCK + S::LANES];
            let to = &mut self.output[((strip.image * rows + row) * columns) * filters..][..columns * filters];
            for column in 0..columns {
                // SAFETY: both rows have so many columns.
                unsafe {
                    let value = s.add(s.load(from.as_ptr().add(column * BLOCK)), bias);
                    let value = if self.relu { s.max(s.splat(0.0), value) } else { value };
                    let to = to.as_mut_ptr().add(column * filters + filter);
                    store::<S, FULL>(s, to, value, filters - filter);
                }
            }
        }
    }

    /// The same through a pooling.
    #[inline(always)]
    fn pool<S: Simd, const FULL: bool>(&mut self, s: S, strip: &Strip, filter: usize, sums: &[f32]) {
        let Block { filters, .. } = *self.block;
        let (rows, columns) = self.block.output();
        let bias = self.bias::<S, FULL>(s, filter);
        let count = S::LANES.min(filters - filter);
        for i in (0..strip.rows.len()).step_by(2) {
            let row = (strip.rows.start + i) / 2;
            let start = ((strip.image * rows + row) * columns) * filters + filter;
            let to = &mut self.output[start..][..(columns - 1) * filters + count];
            let corners = [0, BLOCK, strip.pitch * BLOCK, (strip.pitch + 1) * BLOCK];
            let from = &sums[i * strip.pitch * BLOCK..][..corners[3] + (columns - 1) * 2 * BLOCK + S::LANES];
            for column in 0..columns {
                // SAFETY: both rows of sums have twice so many columns, and the output so many; `kept` is as long as the
                // output, if it is not empty.
                unsafe {
                    let from = from.as_ptr().add(column * 2 * BLOCK);
                    let window = corners.map(|corner| s.add(s.load(from.add(corner)), bias));
                    let (best, corner) = maximum(s, window, [0.0, 1.0, 2.0, 3.0]);
                    let kept = (!self.kept.is_empty()).then(|| self.kept.as_mut_ptr().add(start + column * filters));
                    let to = to.as_mut_ptr().add(column * filters);
                    store_maxima::<S, FULL>(s, [best, corner], to, kept, count);
                }
            }
        }
    }
}
