//! Batch normalisation in f64, as it is written down: what every fast implementation is held against.
//!
//! Values are rows of one value a channel: the positions of all images. Weights are gamma if there is `scale`, beta if
//! there is `center`, the moving mean, the moving variance.

use super::Spec;

/// Mean and variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The means.
    pub mean: Vec<f64>,
    /// The variances, of the values themselves (divided by their number).
    pub variance: Vec<f64>,
}

/// The gradients of one call.
pub struct Gradients {
    /// Of the input.
    pub d_input: Vec<f64>,
    /// Of all weights; zero for the moving statistics.
    pub d_weights: Vec<f64>,
}

/// Gamma and beta of a channel.
fn gamma_beta(spec: &Spec, weights: &[f64], channels: usize, channel: usize) -> (f64, f64) {
    let gamma = if spec.scale { weights[channel] } else { 1.0 };
    let beta = if spec.center { weights[if spec.scale { channels } else { 0 } + channel] } else { 0.0 };
    (gamma, beta)
}

/// The statistics of a batch.
pub fn batch_statistics(channels: usize, x: &[f64]) -> Statistics {
    let rows = (x.len() / channels) as f64;
    let column = |c: usize| x.iter().copied().skip(c).step_by(channels);
    let mean: Vec<f64> = (0..channels).map(|c| column(c).sum::<f64>() / rows).collect();
    let variance =
        mean.iter().enumerate().map(|(c, mean)| column(c).map(|x| (x - mean).powi(2)).sum::<f64>() / rows).collect();
    Statistics { mean, variance }
}

/// The statistics among the weights.
pub fn moving_statistics(channels: usize, weights: &[f64]) -> Statistics {
    let (mean, variance) = weights[weights.len() - 2 * channels..].split_at(channels);
    Statistics { mean: mean.to_vec(), variance: variance.to_vec() }
}

/// The weights after a training step on a batch of these statistics, before any optimizer touches them.
pub fn follow(spec: &Spec, weights: &[f64], batch: &Statistics) -> Vec<f64> {
    let fixed = weights.len() - 2 * batch.mean.len();
    let moving = weights[fixed..].iter().zip(batch.mean.iter().chain(&batch.variance));
    let moved = moving.map(|(moving, batch)| moving * spec.momentum + batch * (1.0 - spec.momentum));
    weights[..fixed].iter().copied().chain(moved).collect()
}

/// The outputs with given statistics.
pub fn forward(spec: &Spec, weights: &[f64], statistics: &Statistics, x: &[f64]) -> Vec<f64> {
    let channels = statistics.mean.len();
    let normalized = normalized(spec, statistics, x);
    let scaled = normalized.iter().enumerate().map(|(i, x)| {
        let (gamma, beta) = gamma_beta(spec, weights, channels, i % channels);
        x * gamma + beta
    });
    scaled.collect()
}

/// The inputs with mean 0 and variance 1.
fn normalized(spec: &Spec, Statistics { mean, variance }: &Statistics, x: &[f64]) -> Vec<f64> {
    let channel = |i: usize| i % mean.len();
    let one = |(i, x): (usize, &f64)| (x - mean[channel(i)]) / (variance[channel(i)] + spec.epsilon).sqrt();
    x.iter().enumerate().map(one).collect()
}

/// The gradients where the statistics do not depend on the input.
pub fn backward_moving(spec: &Spec, weights: &[f64], statistics: &Statistics, x: &[f64], d_y: &[f64]) -> Gradients {
    let channels = statistics.mean.len();
    let d_input = d_y.iter().enumerate().map(|(i, d)| {
        let (gamma, _) = gamma_beta(spec, weights, channels, i % channels);
        d * gamma / (statistics.variance[i % channels] + spec.epsilon).sqrt()
    });
    let mut d_weights = vec![0.0; weights.len()];
    for (i, (d, x)) in d_y.iter().zip(normalized(spec, statistics, x)).enumerate() {
        if spec.scale {
            d_weights[i % channels] += d * x;
        }
        if spec.center {
            d_weights[if spec.scale { channels } else { 0 } + i % channels] += d;
        }
    }
    Gradients { d_input: d_input.collect(), d_weights }
}

/// The gradients where the statistics are those of the batch `x`: each input moves the mean and the variance, too.
pub fn backward_batch(spec: &Spec, channels: usize, weights: &[f64], x: &[f64], d_y: &[f64]) -> Gradients {
    let statistics = batch_statistics(channels, x);
    let Gradients { mut d_input, d_weights } = backward_moving(spec, weights, &statistics, x, d_y);
    let rows = (x.len() / channels) as f64;
    for c in 0..channels {
        let column = || (c..x.len()).step_by(channels);
        let (mean, spread) = (statistics.mean[c], statistics.variance[c] + spec.epsilon);
        // By the chain rule: d_input holds the derivative at fixed statistics.
        let d_mean = -column().map(|i| d_input[i]).sum::<f64>();
        let d_variance = -column().map(|i| d_input[i] * (x[i] - mean)).sum::<f64>() / (2.0 * spread);
        for i in column() {
            d_input[i] += d_mean / rows + d_variance * 2.0 * (x[i] - mean) / rows;
        }
    }
    Gradients { d_input, d_weights }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::differences::{assert_gradient, values};

    fn specs() -> impl Iterator<Item = Spec> {
        let settings = [(true, true), (true, false), (false, true), (false, false)];
        settings.map(|(center, scale)| Spec { momentum: 0.9, epsilon: 1e-3, center, scale }).into_iter()
    }

    /// Weights of three channels, with variances above zero.
    fn weights(spec: &Spec) -> Vec<f64> {
        let trained = 3 * (usize::from(spec.scale) + usize::from(spec.center));
        let mut weights = values(1, trained + 6);
        weights[trained + 3..].iter_mut().for_each(|variance| *variance = variance.abs() + 0.1);
        weights
    }

    #[test]
    fn gradients_with_moving_statistics_are_finite_differences() {
        for spec in specs() {
            let (weights, x, d) = (weights(&spec), values(2, 15), values(3, 15));
            let statistics = moving_statistics(3, &weights);
            let gradients = backward_moving(&spec, &weights, &statistics, &x, &d);
            assert_gradient(&x, &gradients.d_input, &d, |x| forward(&spec, &weights, &statistics, x));
            // The statistics stay as they are: only gamma and beta have a gradient.
            assert_gradient(&weights, &gradients.d_weights, &d, |w| forward(&spec, w, &statistics, &x));
        }
    }

    #[test]
    fn gradients_with_batch_statistics_are_finite_differences() {
        for spec in specs() {
            let (weights, x, d) = (weights(&spec), values(2, 15), values(3, 15));
            let run = |weights: &[f64], x: &[f64]| forward(&spec, weights, &batch_statistics(3, x), x);
            let gradients = backward_batch(&spec, 3, &weights, &x, &d);
            assert_gradient(&x, &gradients.d_input, &d, |x| run(&weights, x));
            assert_gradient(&weights, &gradients.d_weights, &d, |w| run(w, &x));
        }
    }

    /// Two rows, 1 and 3: mean 2, variance 1, not 2 as with one degree of freedom less.
    #[test]
    fn the_variance_is_that_of_the_batch_itself() {
        let statistics = batch_statistics(1, &[1.0, 3.0]);
        assert_eq!(statistics, Statistics { mean: vec![2.0], variance: vec![1.0] });
        let spec = Spec { momentum: 0.75, epsilon: 0.0, center: true, scale: true };
        let weights = [10.0, 5.0, 4.0, 3.0];
        assert_eq!(forward(&spec, &weights, &statistics, &[1.0, 3.0]), [-5.0, 15.0]);
        assert_eq!(follow(&spec, &weights, &statistics), [10.0, 5.0, 3.5, 2.5]);
    }
}
