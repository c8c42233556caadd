//! The passes of batch normalisation that work value by value, vectors of channels at a time.
//!
//! What a channel needs stays in registers while the rows of a chunk (see [`super::batch_sums`]) pass by. `gamma`,
//! `inverse` and the like are one value a channel; where there is no gamma it is 1, where there is no beta it is 0.

use super::batch_sums::chunks;
use crate::engine::cpu::simd::{Simd, Vectorized, prefetch};

/// The most floats in a vector of any level.
const MAX_LANES: usize = 16;

/// Overwrites `y` with the outputs.
pub(super) struct Normalize<'a> {
    pub channels: usize,
    pub x: &'a [f32],
    pub mean: &'a [f32],
    pub rest: &'a [f32],
    pub inverse: &'a [f32],
    pub gamma: Option<&'a [f32]>,
    pub beta: Option<&'a [f32]>,
    /// Whether `max(0, x)` is applied in the end. NaN stays NaN.
    pub relu: bool,
    pub y: &'a mut [f32],
}

/// Overwrites the gradient of the inputs, which move the statistics of their batch.
pub(super) struct Gradient<'a> {
    pub channels: usize,
    pub x: &'a [f32],
    pub mean: &'a [f32],
    pub rest: &'a [f32],
    pub inverse: &'a [f32],
    pub gamma: Option<&'a [f32]>,
    /// Over the whole batch: gradients, then gradients times normalised inputs.
    pub sums: &'a [f64],
    /// One over the rows of the batch.
    pub per_row: f64,
    /// Of the outputs.
    pub d_y: &'a [f32],
    pub d_x: &'a mut [f32],
}

/// Overwrites the gradient of the inputs, with statistics that stay as they are.
pub(super) struct Scale<'a> {
    pub channels: usize,
    pub gradient: &'a [f32],
    pub inverse: &'a [f32],
    pub gamma: Option<&'a [f32]>,
    pub d_input: &'a mut [f32],
}

/// Adds to the gradients of gamma and beta, row after row; to those that are not empty.
pub(super) struct WeightGradient<'a> {
    pub channels: usize,
    pub x: &'a [f32],
    pub gradient: &'a [f32],
    pub mean: &'a [f32],
    pub rest: &'a [f32],
    pub inverse: &'a [f32],
    pub d_gamma: &'a mut [f32],
    pub d_beta: &'a mut [f32],
}

/// `(x − mean − rest) · inverse`
#[derive(Clone, Copy)]
struct Normalized<V> {
    mean: V,
    rest: V,
    inverse: V,
}

impl<V: Copy> Normalized<V> {
    #[inline(always)]
    fn read<S: Simd<V = V>>(s: S, [mean, rest, inverse]: [&[f32]; 3], channel: usize) -> Self {
        let read = |values| read(s, values, channel);
        Normalized { mean: read(mean), rest: read(rest), inverse: read(inverse) }
    }

    #[inline(always)]
    fn of<S: Simd<V = V>>(self, s: S, x: V) -> V {
        s.mul(s.sub(s.sub(x, self.mean), self.rest), self.inverse)
    }
}

/// A function of one value of each of two maps. A trait and not a closure: see [`super::activate`].
trait Function<S: Simd>: Copy {
    fn of(self, s: S, x: S::V, d: S::V) -> S::V;
}

/// `normalized(x) · gamma + beta`, and where `RELU` the larger of that and zero.
#[derive(Clone, Copy)]
struct Output<V, const RELU: bool> {
    normalized: Normalized<V>,
    gamma: V,
    beta: V,
}

impl<S: Simd, const RELU: bool> Function<S> for Output<S::V, RELU> {
    #[inline(always)]
    fn of(self, s: S, x: S::V, _: S::V) -> S::V {
        let y = s.mul_add(self.normalized.of(s, x), self.gamma, self.beta);
        // Zero first: `max` gives its second argument where either is NaN.
        if RELU { s.max(s.splat(0.0), y) } else { y }
    }
}

/// `scale · (d − mean of d − normalized(x) · mean of d · normalized(x))`
#[derive(Clone, Copy)]
struct Input<V> {
    normalized: Normalized<V>,
    scale: V,
    mean: V,
    /// Its negative.
    along: V,
}

impl<S: Simd> Function<S> for Input<S::V> {
    #[inline(always)]
    fn of(self, s: S, x: S::V, d: S::V) -> S::V {
        s.mul(s.mul_add(self.normalized.of(s, x), self.along, s.sub(d, self.mean)), self.scale)
    }
}

/// `d · factor`
#[derive(Clone, Copy)]
struct Times<V>(V);

impl<S: Simd> Function<S> for Times<S::V> {
    #[inline(always)]
    fn of(self, s: S, _: S::V, d: S::V) -> S::V {
        s.mul(d, self.0)
    }
}

impl Vectorized for Normalize<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.relu { self.normalize::<S, true>(s) } else { self.normalize::<S, false>(s) }
    }
}

impl Normalize<'_> {
    #[inline(always)]
    fn normalize<S: Simd, const RELU: bool>(self, s: S) {
        let Normalize { channels, x, mean, rest, inverse, gamma, beta, y, .. } = self;
        assert_eq!(x.len(), y.len(), "as many outputs as inputs");
        for place in Place::all(x.len(), channels, S::LANES) {
            let f = Output::<_, RELU> {
                normalized: Normalized::read(s, [mean, rest, inverse], place.channel),
                gamma: read_or(s, gamma, place.channel, 1.0),
                beta: read_or(s, beta, place.channel, 0.0),
            };
            // SAFETY: the places of a map of this length lie in both; they do not overlap.
            unsafe { map(s, place, x.as_ptr(), x.as_ptr(), y.as_mut_ptr(), f) }
        }
    }
}

impl Vectorized for Gradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradient { channels, x, mean, rest, inverse, gamma, sums, per_row, d_y, d_x } = self;
        assert_eq!([x.len(); 2], [d_y.len(), d_x.len()], "as many gradients as inputs");
        let (sums, products) = sums.split_at(channels);
        for place in Place::all(x.len(), channels, S::LANES) {
            let normalized = Normalized::read(s, [mean, rest, inverse], place.channel);
            let f = Input {
                normalized,
                scale: s.mul(normalized.inverse, read_or(s, gamma, place.channel, 1.0)),
                mean: read_times(s, sums, per_row, place.channel),
                along: read_times(s, products, -per_row, place.channel),
            };
            // SAFETY: the places of a map of this length lie in all three; they do not overlap.
            unsafe { map(s, place, x.as_ptr(), d_y.as_ptr(), d_x.as_mut_ptr(), f) }
        }
    }
}

impl Vectorized for Scale<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Scale { channels, gradient, inverse, gamma, d_input } = self;
        assert_eq!(gradient.len(), d_input.len(), "as many gradients as inputs");
        for place in Place::all(gradient.len(), channels, S::LANES) {
            let (inverse, gamma) = (read(s, inverse, place.channel), read_or(s, gamma, place.channel, 1.0));
            let f = Times(s.mul(inverse, gamma));
            // SAFETY: the places of a map of this length lie in both; they do not overlap.
            unsafe { map(s, place, gradient.as_ptr(), gradient.as_ptr(), d_input.as_mut_ptr(), f) }
        }
    }
}

impl Vectorized for WeightGradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let WeightGradient { channels, x, gradient, mean, rest, inverse, d_gamma, d_beta } = self;
        assert_eq!(x.len(), gradient.len(), "as many gradients as inputs");
        for place in Place::all(x.len(), channels, S::LANES) {
            let normalized = Normalized::read(s, [mean, rest, inverse], place.channel);
            let mut gamma = read(s, d_gamma, place.channel);
            let mut beta = read(s, d_beta, place.channel);
            for row in 0..place.rows {
                let at = place.first + row * channels;
                // SAFETY: the place's rows lie in both maps.
                let [x, d] = unsafe { [x, gradient].map(|from| s.load_first(from.as_ptr().add(at), place.count)) };
                gamma = s.mul_add(normalized.of(s, x), d, gamma);
                beta = s.add(beta, d);
            }
            write(s, d_gamma, place.channel, gamma);
            write(s, d_beta, place.channel, beta);
        }
    }
}

/// Rows of `count` neighbouring channels of a map.
#[derive(Clone, Copy)]
struct Place {
    /// The first row's first value.
    first: usize,
    rows: usize,
    /// Floats from one row to the next.
    channels: usize,
    /// The first channel.
    channel: usize,
    count: usize,
}

impl Place {
    /// All vectors of channels of all chunks of rows of a map of `len` values.
    #[inline(always)]
    fn all(len: usize, channels: usize, lanes: usize) -> impl Iterator<Item = Place> {
        chunks(len / channels, channels).flat_map(move |rows| {
            (0..channels).step_by(lanes).map(move |channel| Place {
                first: rows.start * channels + channel,
                rows: rows.len(),
                channels,
                channel,
                count: lanes.min(channels - channel),
            })
        })
    }
}

/// Writes a function of `x` and `d` to `to`.
///
/// # Safety
/// The place lies in memory that is readable at `x` and `d` and writable at `to`, which overlaps neither.
#[inline(always)]
unsafe fn map<S: Simd>(s: S, place: Place, x: *const f32, d: *const f32, to: *mut f32, f: impl Function<S>) {
    let Place { first, rows, channels, count, .. } = place;
    let [x, d, to] = [x.cast_mut(), d.cast_mut(), to].map(|map| map.wrapping_add(first));
    for row in (0..rows).map(|row| row * channels) {
        // The same place of the next chunk: vectors of some channels are no stream that a processor would foresee.
        prefetch::<true>(x.wrapping_add(row + rows * channels));
        if d != x {
            prefetch::<true>(d.wrapping_add(row + rows * channels));
        }
        // SAFETY: as the caller says; a vector is whole where there are as many channels.
        unsafe {
            if count == S::LANES {
                let value = f.of(s, s.load(x.add(row)), s.load(d.add(row)));
                s.store(to.add(row), value);
            } else {
                let value = f.of(s, s.load_first(x.add(row), count), s.load_first(d.add(row), count));
                s.store_first(to.add(row), value, count);
            }
        }
    }
}

/// The values of a vector of channels; zeros behind the last.
#[inline(always)]
fn read<S: Simd>(s: S, values: &[f32], channel: usize) -> S::V {
    let values = values.get(channel..).unwrap_or(&[]);
    // SAFETY: no more is read than the slice holds.
    unsafe { s.load_first(values.as_ptr(), values.len().min(S::LANES)) }
}

/// The values of a vector of channels; `missing` where there are none at all.
#[inline(always)]
fn read_or<S: Simd>(s: S, values: Option<&[f32]>, channel: usize, missing: f32) -> S::V {
    match values {
        Some(values) => read(s, values, channel),
        None => s.splat(missing),
    }
}

/// The values of a vector of channels, times a factor.
#[inline(always)]
fn read_times<S: Simd>(s: S, values: &[f64], factor: f64, channel: usize) -> S::V {
    let mut products = [0.0; MAX_LANES];
    for (product, value) in products.iter_mut().zip(&values[channel..]) {
        *product = (value * factor) as f32;
    }
    read(s, &products, 0)
}

/// Writes the values of a vector of channels, as many as there are.
#[inline(always)]
fn write<S: Simd>(s: S, values: &mut [f32], channel: usize, vector: S::V) {
    let values = values.get_mut(channel..).unwrap_or(&mut []);
    // SAFETY: no more is written than the slice holds.
    unsafe { s.store_first(values.as_mut_ptr(), vector, values.len().min(S::LANES)) }
}
