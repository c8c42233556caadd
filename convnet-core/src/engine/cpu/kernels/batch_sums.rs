//! Sums over the rows of a batch for batch normalisation, in f64.
//!
//! They run row after row from what is there, so the images of a batch may come in as many calls as one likes: the sums
//! are the same to the bit. Products of two floats are exact in f64, and so a variance may be taken as E\[x²\] − E\[x\]²
//! without losing more than (mean / deviation)² · 2⁻⁵³ of it for each doubling of the rows.
//!
//! Vectors have floats only, so these are plain loops over arrays, which the compiler turns into vectors of the level.
//! Some channels keep their sums in registers while the rows of a [`chunk`](CHUNK) pass by; the chunk stays in the
//! first-level cache while the channels take their turns.

use crate::engine::cpu::simd::{Simd, Vectorized};
use std::ops::Range;

/// Floats of the rows that pass by together.
pub(super) const CHUNK: usize = 2048;

/// The rows of each chunk, in order.
pub(super) fn chunks(rows: usize, channels: usize) -> impl Iterator<Item = Range<usize>> {
    let some = (CHUNK / channels).max(1);
    (0..rows).step_by(some).map(move |first| first..rows.min(first + some))
}

/// Something to do for `N` neighbouring channels of some rows.
trait Columns {
    fn columns<const N: usize>(&mut self, rows: Range<usize>, channel: usize);
}

/// Does it for all of them.
#[inline(always)]
fn each_columns(rows: usize, channels: usize, work: &mut impl Columns) {
    for rows in chunks(rows, channels) {
        let mut channel = 0;
        while channels - channel >= 16 {
            work.columns::<16>(rows.clone(), channel);
            channel += 16;
        }
        while channels - channel >= 4 {
            work.columns::<4>(rows.clone(), channel);
            channel += 4;
        }
        while channel < channels {
            work.columns::<1>(rows.clone(), channel);
            channel += 1;
        }
    }
}

/// The values from `first` on. Zeros if there are fewer, which no caller asks for.
#[inline(always)]
fn array<T: Copy + Default, const N: usize>(values: &[T], first: usize) -> [T; N] {
    values.get(first..).and_then(<[T]>::first_chunk::<N>).copied().unwrap_or([T::default(); N])
}

/// Adds the values and their squares to the two halves of `sums`.
pub(super) struct Moments<'a> {
    pub channels: usize,
    pub x: &'a [f32],
    pub sums: &'a mut [f64],
}

impl Columns for Moments<'_> {
    #[inline(always)]
    fn columns<const N: usize>(&mut self, rows: Range<usize>, channel: usize) {
        let (sums, squares) = self.sums.split_at_mut(self.channels);
        let (mut sum, mut square) = (array::<_, N>(sums, channel), array::<_, N>(squares, channel));
        for row in rows {
            let x = array::<_, N>(self.x, row * self.channels + channel).map(f64::from);
            for i in 0..N {
                sum[i] += x[i];
                square[i] += x[i] * x[i];
            }
        }
        sums[channel..channel + N].copy_from_slice(&sum);
        squares[channel..channel + N].copy_from_slice(&square);
    }
}

impl Vectorized for Moments<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        each_columns(self.x.len() / self.channels, self.channels, &mut self);
    }
}

/// Adds the gradients, and the gradients times the normalised values, to the two halves of `sums`.
pub(super) struct Products<'a> {
    pub channels: usize,
    pub x: &'a [f32],
    pub gradient: &'a [f32],
    /// Mean, its rest, and the inverse of the deviation.
    pub mean: &'a [f32],
    pub rest: &'a [f32],
    pub inverse: &'a [f32],
    pub sums: &'a mut [f64],
}

impl Columns for Products<'_> {
    #[inline(always)]
    fn columns<const N: usize>(&mut self, rows: Range<usize>, channel: usize) {
        let [mean, rest, inverse] = [self.mean, self.rest, self.inverse].map(|values| array::<_, N>(values, channel));
        let (sums, products) = self.sums.split_at_mut(self.channels);
        let (mut sum, mut product) = (array::<_, N>(sums, channel), array::<_, N>(products, channel));
        for row in rows {
            let at = row * self.channels + channel;
            let (x, d) = (array::<_, N>(self.x, at), array::<_, N>(self.gradient, at));
            for i in 0..N {
                let normalized = ((x[i] - mean[i]) - rest[i]) * inverse[i];
                sum[i] += f64::from(d[i]);
                product[i] += f64::from(d[i]) * f64::from(normalized);
            }
        }
        sums[channel..channel + N].copy_from_slice(&sum);
        products[channel..channel + N].copy_from_slice(&product);
    }
}

impl Vectorized for Products<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        each_columns(self.x.len() / self.channels, self.channels, &mut self);
    }
}
