//! Batch normalisation, with the moving statistics or with those of the batch.

use super::op::{add_bias, apply, scale, values};
use super::{Rows, Updates, Weights, own};
use crate::layers::batch_normalization::Spec;
use ::dfdx::shapes::HasShape;
use ::dfdx::tensor::{Cpu, CpuError, PutTape, SplitTape, Tape};

const GAMMA: usize = 0;
const BETA: usize = 1;
const MOVING_MEAN: usize = 2;
const MOVING_VARIANCE: usize = 3;

/// The layer in inference, and in training where it is frozen.
pub(super) fn by_moving_statistics<T: Tape<f32, Cpu>>(
    spec: &Spec,
    weights: &Weights,
    input: Rows<T>,
) -> Result<Rows<T>, CpuError> {
    let (means, scales) =
        (values(&own(weights, MOVING_MEAN)), inverse_deviations(&values(&own(weights, MOVING_VARIANCE)), spec.epsilon));
    let (shape, channels) = (*input.shape(), means.len());
    let normal = apply(input, shape, |before| {
        let after = before.iter().enumerate().map(|(i, x)| (x - means[i % channels]) * scales[i % channels]).collect();
        let back = move |before: &mut [f32], after: &[f32]| {
            before.iter_mut().zip(after).enumerate().for_each(|(i, (sum, above))| *sum += above * scales[i % channels]);
        };
        (after, back)
    })?;
    add_bias(scale(normal, weights[GAMMA].as_ref())?, weights[BETA].as_ref())
}

/// The layer in training; the moving statistics follow those of the batch.
pub(super) fn by_batch_statistics<T: Tape<f32, Cpu>>(
    spec: &Spec,
    weights: &Weights,
    input: Rows<T>,
) -> Result<(Rows<T>, Updates), CpuError> {
    let shape = *input.shape();
    let (input, tape) = input.split_tape();
    let (means, variances) = statistics(&values(&input), shape.1);
    let updates = [(MOVING_MEAN, &means), (MOVING_VARIANCE, &variances)].map(|(role, batch)| {
        let moved = |(moving, &batch): (f32, &f32)| {
            (f64::from(moving) * spec.momentum + f64::from(batch) * (1.0 - spec.momentum)) as f32
        };
        (role, values(&own(weights, role)).into_iter().zip(batch).map(moved).collect())
    });
    let scales = inverse_deviations(&variances, spec.epsilon);
    let normal = apply(input.put_tape(tape), shape, |before| normalized(before, &means, scales))?;
    let output = add_bias(scale(normal, weights[GAMMA].as_ref())?, weights[BETA].as_ref())?;
    Ok((output, updates.into()))
}

/// The values shifted by their own means and scaled by their own deviations, and the way back, on which means and
/// deviations depend on the values, too: `(above − mean(above) − normal · mean(above · normal)) · scale`.
fn normalized(before: &[f32], means: &[f32], scales: Vec<f32>) -> (Vec<f32>, impl Fn(&mut [f32], &[f32]) + use<>) {
    let channels = means.len();
    let after: Vec<f32> =
        before.iter().enumerate().map(|(i, x)| (x - means[i % channels]) * scales[i % channels]).collect();
    let normal = after.clone();
    let back = move |before: &mut [f32], above: &[f32]| {
        let products: Vec<f32> = above.iter().zip(&normal).map(|(above, normal)| above * normal).collect();
        let (shift, slope) = (channel_means(above, channels), channel_means(&products, channels));
        for (i, sum) in before.iter_mut().enumerate() {
            let channel = i % channels;
            let centred = f64::from(above[i]) - shift[channel] - f64::from(normal[i]) * slope[channel];
            *sum += centred as f32 * scales[channel];
        }
    };
    (after, back)
}

/// The mean and the variance of each channel; the variance is that of the values themselves, not an estimate for more.
fn statistics(values: &[f32], channels: usize) -> (Vec<f32>, Vec<f32>) {
    let means = channel_means(values, channels);
    let mut squares = vec![0.0; channels];
    for row in values.chunks_exact(channels) {
        for (channel, &x) in row.iter().enumerate() {
            squares[channel] += (f64::from(x) - means[channel]).powi(2);
        }
    }
    let count = (values.len() / channels) as f64;
    let variances = squares.iter().map(|square| (square / count) as f32).collect();
    (means.iter().map(|&mean| mean as f32).collect(), variances)
}

/// The mean of each column.
fn channel_means(values: &[f32], channels: usize) -> Vec<f64> {
    let mut means = vec![0.0; channels];
    for row in values.chunks_exact(channels) {
        means.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let count = (values.len() / channels) as f64;
    means.iter_mut().for_each(|sum| *sum /= count);
    means
}

/// `1 / √(variance + epsilon)`.
fn inverse_deviations(variances: &[f32], epsilon: f64) -> Vec<f32> {
    variances.iter().map(|&variance| (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32).collect()
}
