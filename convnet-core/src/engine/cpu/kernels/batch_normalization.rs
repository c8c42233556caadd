//! Batch normalisation: with the moving statistics as a [`Kernel`], with those of a batch as a set of passes.
//!
//! A map is rows of one value a channel, a row for each position of each image. [`BatchNormalization`] is the kernel
//! for prediction, evaluation, frozen layers and gradients outside of training. A training step needs sums over the
//! whole batch twice, so it cannot be a kernel; the executor calls [`BatchStatistics`] instead, on any runs of whole
//! rows, from any threads:
//!
//! 1. [`add_sums`](BatchStatistics::add_sums) on the inputs. Each lane has sums of its own, which are added up.
//! 2. [`statistics`](BatchStatistics::statistics), once.
//! 3. [`normalize`](BatchStatistics::normalize) on the inputs.
//! 4. Going back, [`through_activation`](BatchStatistics::through_activation) where there is one, then
//!    [`add_backward_sums`](BatchStatistics::add_backward_sums) on inputs and gradients, and again a sum over the
//!    threads.
//! 5. [`weight_gradients`](BatchStatistics::weight_gradients), once, and [`follow`](BatchStatistics::follow), once, at
//!    any time after 2 (the other passes do not look at the moving statistics).
//! 6. [`backward`](BatchStatistics::backward) on inputs and gradients.
//!
//! Statistics are `4·channels` floats, four rows: the mean; what is missing from it to the mean in f64; the variance;
//! `1/√(variance + epsilon)`. A value is normalised as `((x − mean) − rest) · inverse`: where the mean is far larger
//! than the deviation, the first difference is exact, and the mean is good to far below a float's last bit. So a mean
//! of ten thousand deviations costs no digits but those that the input itself does not have.
//!
//! A channel whose values are all the same has variance 0 and becomes beta (NaN if epsilon is 0, too). A NaN or an
//! infinity in a channel makes the whole batch NaN in this channel, and the moving statistics with it. With moving
//! statistics it stays where it is.

use super::activate::{activate, activate_backward};
use super::batch_maps::{Gradient, Normalize, Scale, WeightGradient};
use super::batch_sums::{Moments, Products};
use crate::engine::cpu::kernel::{Backward, Forward, ForwardPart, Kernel, Part};
use crate::engine::cpu::simd::{Level, vectorize};
use crate::layers::Activation;
use crate::layers::batch_normalization::Spec;

/// The passes of a training step over one layer.
#[derive(Clone, Copy, Debug)]
pub struct BatchStatistics {
    level: Level,
    spec: Spec,
    channels: usize,
    activation: Activation,
}

impl BatchStatistics {
    /// For maps or vectors of `channels` values a position.
    pub fn new(spec: Spec, channels: usize, level: Level) -> Self {
        BatchStatistics { level, spec, channels, activation: Activation::Linear }
    }

    /// With an activation behind, in the same passes.
    pub fn with_activation(self, activation: Activation) -> Self {
        BatchStatistics { activation, ..self }
    }

    /// Values a position.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Where the moving statistics lie, given where the layer's weights do.
    pub fn moving(&self, weights: std::ops::Range<usize>) -> std::ops::Range<usize> {
        weights.end - 2 * self.channels..weights.end
    }

    /// Sums of a batch, forward or backward, in f64: they start from zero.
    pub fn sums(&self) -> usize {
        2 * self.channels
    }

    /// Floats that the statistics take.
    pub fn statistics_len(&self) -> usize {
        4 * self.channels
    }

    /// Adds each channel's values and squares to `sums`, row after row.
    pub fn add_sums(&self, x: &[f32], sums: &mut [f64]) {
        vectorize(self.level, Moments { channels: self.channels, x, sums });
    }

    /// Makes the statistics out of the sums over all `rows` (positions × images) of the batch.
    pub fn statistics(&self, sums: &[f64], rows: usize, statistics: &mut [f32]) {
        let (sums, squares) = sums.split_at(self.channels);
        for (c, (sum, square)) in sums.iter().zip(squares).enumerate() {
            let mean = sum / rows as f64;
            let variance = square / rows as f64 - mean * mean;
            // Rounding may leave a little less than nothing; `f64::max` would hide a NaN.
            self.set(statistics, c, mean, if variance < 0.0 { 0.0 } else { variance });
        }
    }

    /// Writes the statistics of a channel.
    fn set(&self, statistics: &mut [f32], channel: usize, mean: f64, variance: f64) {
        let rounded = mean as f32;
        let rest = (mean - f64::from(rounded)) as f32;
        let inverse = 1.0 / (variance + self.spec.epsilon).sqrt();
        for (row, value) in [rounded, rest, variance as f32, inverse as f32].into_iter().enumerate() {
            statistics[row * self.channels + channel] = value;
        }
    }

    /// Overwrites `y` with the outputs. `weights` are all of the layer's.
    pub fn normalize(&self, x: &[f32], statistics: &[f32], weights: &[f32], y: &mut [f32]) {
        let ([mean, rest, _, inverse], [gamma, beta]) = (self.rows(statistics), self.gamma_beta(weights));
        let relu = self.activation == Activation::Relu;
        vectorize(
            self.level,
            Normalize { channels: self.channels, x, mean, rest, inverse, gamma, beta, relu, y: &mut *y },
        );
        if !relu {
            activate(self.level, self.activation, y, self.channels);
        }
    }

    /// Turns the gradient of the outputs into that before the activation, which the other passes want.
    pub fn through_activation(&self, y: &[f32], d_y: &mut [f32]) {
        activate_backward(self.level, self.activation, y, d_y, self.channels);
    }

    /// Adds each channel's gradients, and gradients times normalised inputs, to `sums`, row after row.
    pub fn add_backward_sums(&self, x: &[f32], d_y: &[f32], statistics: &[f32], sums: &mut [f64]) {
        let [mean, rest, _, inverse] = self.rows(statistics);
        vectorize(self.level, Products { channels: self.channels, x, gradient: d_y, mean, rest, inverse, sums });
    }

    /// Overwrites the gradient of the layer's weights, given the backward sums over the whole batch: zero for the moving
    /// statistics.
    pub fn weight_gradients(&self, sums: &[f64], d_weights: &mut [f32]) {
        let (d_beta, d_gamma) = sums.split_at(self.channels);
        let scale = d_gamma.iter().filter(|_| self.spec.scale);
        let center = d_beta.iter().filter(|_| self.spec.center);
        let all = scale.chain(center).map(|sum| *sum as f32).chain(std::iter::repeat(0.0));
        d_weights.iter_mut().zip(all).for_each(|(d, sum)| *d = sum);
    }

    /// Overwrites `d_x` with the gradient of the inputs, given the backward sums over all `rows` of the batch.
    pub fn backward(&self, x: &[f32], d_y: &[f32], batch: Batch<'_>, weights: &[f32], d_x: &mut [f32]) {
        let Batch { statistics, sums, rows } = batch;
        let ([mean, rest, _, inverse], [gamma, _]) = (self.rows(statistics), self.gamma_beta(weights));
        let (channels, per_row) = (self.channels, 1.0 / rows as f64);
        vectorize(self.level, Gradient { channels, x, mean, rest, inverse, gamma, sums, per_row, d_y, d_x });
    }

    /// Lets the moving statistics among the weights follow those of a batch.
    pub fn follow(&self, statistics: &[f32], weights: &mut [f32]) {
        let momentum = self.spec.momentum;
        let [mean, rest, variance, _] = self.rows(statistics);
        let mean = mean.iter().zip(rest).map(|(mean, rest)| f64::from(*mean) + f64::from(*rest));
        let batch = mean.chain(variance.iter().copied().map(f64::from));
        for (moving, batch) in weights[self.trained()..].iter_mut().zip(batch) {
            *moving = (f64::from(*moving) * momentum + batch * (1.0 - momentum)) as f32;
        }
    }

    /// The four rows of statistics.
    fn rows<'a>(&self, statistics: &'a [f32]) -> [&'a [f32]; 4] {
        std::array::from_fn(|row| &statistics[row * self.channels..(row + 1) * self.channels])
    }

    /// Where gamma and beta lie among the weights.
    fn gamma_beta<'a>(&self, weights: &'a [f32]) -> [Option<&'a [f32]>; 2] {
        let gamma = self.spec.scale.then(|| &weights[..self.channels]);
        let beta = self.spec.center.then(|| &weights[self.trained() - self.channels..self.trained()]);
        [gamma, beta]
    }

    /// How many values gamma and beta have.
    fn trained(&self) -> usize {
        self.channels * (usize::from(self.spec.scale) + usize::from(self.spec.center))
    }
}

/// What the gradient of an input must know of the whole batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Of the inputs.
    pub statistics: &'a [f32],
    /// The backward sums.
    pub sums: &'a [f64],
    /// Positions × images.
    pub rows: usize,
}

/// Batch normalisation with the moving statistics. The derived floats are those statistics, as [`BatchStatistics`] has
/// them.
pub struct BatchNormalization {
    passes: BatchStatistics,
}

impl BatchNormalization {
    /// For maps or vectors of `channels` values a position.
    pub fn new(spec: Spec, channels: usize, level: Level) -> Self {
        BatchNormalization::of(BatchStatistics::new(spec, channels, level))
    }

    /// With the arithmetic of these passes.
    pub fn of(passes: BatchStatistics) -> Self {
        BatchNormalization { passes }
    }
}

impl Kernel for BatchNormalization {
    fn scratch(&self, _: usize) -> usize {
        0
    }

    fn derived(&self) -> usize {
        self.passes.statistics_len()
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        let moving = &weights[self.passes.trained()..];
        let (mean, variance) = moving.split_at(self.passes.channels);
        for (c, (mean, variance)) in mean.iter().zip(variance).enumerate() {
            self.passes.set(derived, c, f64::from(*mean), f64::from(*variance));
        }
    }

    fn forward(&self, pass: Forward<'_>) {
        self.passes.normalize(pass.input, pass.derived, pass.weights, pass.output);
    }

    fn parts(&self, outputs: usize, most: usize) -> usize {
        Part::worth(4 * outputs, outputs / self.passes.channels, most)
    }

    unsafe fn forward_part(&self, pass: ForwardPart<'_>) {
        // SAFETY: the caller's promise.
        unsafe { pass.forward_rows(self, self.passes.channels) }
    }

    fn backward(&self, pass: Backward<'_>) {
        let BatchStatistics { level, channels, .. } = self.passes;
        let [mean, rest, _, inverse] = self.passes.rows(pass.derived);
        if !pass.accumulate {
            pass.d_weights.fill(0.0);
        }
        self.passes.through_activation(pass.output, pass.d_output);
        let gradient = &*pass.d_output;
        let (trained, _) = pass.d_weights.split_at_mut(self.passes.trained());
        let (d_gamma, d_beta) = trained.split_at_mut(if self.passes.spec.scale { channels } else { 0 });
        let x = pass.input;
        vectorize(level, WeightGradient { channels, x, gradient, mean, rest, inverse, d_gamma, d_beta });
        let Some(d_input) = pass.d_input else { return };
        let [gamma, _] = self.passes.gamma_beta(pass.weights);
        vectorize(level, Scale { channels, gradient, inverse, gamma, d_input });
    }
}
