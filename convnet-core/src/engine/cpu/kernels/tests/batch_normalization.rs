//! Batch normalisation with moving and with batch statistics.

use super::{Case, assert_near, assert_near_scaled, random, values, wide};
use crate::engine::cpu::kernels::batch_normalization::{Batch, BatchNormalization, BatchStatistics};
use crate::engine::cpu::simd::Level;
use crate::layers::Activation;
use crate::layers::activation;
use crate::layers::batch_normalization::reference::{self, Statistics};
use crate::layers::batch_normalization::{Spec, reference::Gradients};
use rand::RngExt;
use rand::rngs::StdRng;

fn spec(random: &mut StdRng) -> Spec {
    let epsilon = [1e-3, 1e-5][random.random_range(0..2)];
    Spec { momentum: random.random_range(0.5..1.0), epsilon, center: random.random(), scale: random.random() }
}

/// Means and deviations of some channels: usual ones, or means of up to ten thousand deviations.
fn distribution(random: &mut StdRng, channels: usize, far: bool) -> Vec<(f32, f32)> {
    let one = |random: &mut StdRng| {
        let deviation = 10f32.powf(random.random_range(-1.0..1.0));
        (deviation * if far { random.random_range(-1e4..1e4) } else { random.random_range(-3.0..3.0) }, deviation)
    };
    (0..channels).map(|_| one(random)).collect()
}

/// Rows of a distribution.
fn rows(random: &mut StdRng, count: usize, distribution: &[(f32, f32)]) -> Vec<f32> {
    let values = values(random, count * distribution.len());
    values.iter().zip(distribution.iter().cycle()).map(|(x, (mean, deviation))| mean + x * deviation).collect()
}

/// Weights whose moving statistics are about those of a distribution.
fn weights(random: &mut StdRng, spec: &Spec, distribution: &[(f32, f32)]) -> Vec<f32> {
    let channels = distribution.len();
    let trained = values(random, channels * (usize::from(spec.scale) + usize::from(spec.center)));
    let means = distribution.iter().map(|(mean, deviation)| mean + 0.1 * deviation);
    let variances = distribution.iter().map(|(_, deviation)| 0.4 * deviation * deviation);
    trained.into_iter().chain(means).chain(variances).collect()
}

/// What may stand behind a normalisation in its passes.
const ACTIVATIONS: [Activation; 4] = [Activation::Linear, Activation::Relu, Activation::Sigmoid, Activation::Tanh];

/// Values before an activation, and the gradient of what comes behind it: values behind it, and the gradient before it.
fn activated(activation: Activation, y: &[f64], d: &[f64], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let y = activation::reference::forward(activation, y, channels);
    let d = activation::reference::backward(activation, &y, d, channels);
    (y, d)
}

#[test]
fn moving_statistics() {
    let random = &mut random(1);
    for case in 0..100 {
        let (spec, channels, images) = (spec(random), random.random_range(1..=40), random.random_range(1..=5));
        let positions = random.random_range(1..=[1, 30, 200][case % 3]);
        let distribution = distribution(random, channels, case % 2 == 1);
        let weights = weights(random, &spec, &distribution);
        let x = rows(random, images * positions, &distribution);
        let d = values(random, x.len());
        let [w, x64, d64] = [wide(&weights), wide(&x), wide(&d)];
        let statistics = reference::moving_statistics(channels, &w);
        let activation = ACTIVATIONS[case % 4];
        let y = reference::forward(&spec, &w, &statistics, &x64);
        let (y, d64) = activated(activation, &y, &d64, channels);
        for level in Level::available() {
            let passes = BatchStatistics::new(spec, channels, level).with_activation(activation);
            let kernel = BatchNormalization::of(passes);
            let name = format!("{level:?}: {spec:?}, {activation:?} on {images} × {positions} × {channels}");
            let case = Case { name, kernel: &kernel, images, weights: &weights, input: &x, d_output: &d };
            case.check(&y, |_| {
                let gradients = reference::backward_moving(&spec, &w, &statistics, &x64, &d64);
                [gradients.d_input, gradients.d_weights]
            });
        }
    }
}

/// What a training step computes, as the executor runs it: sums by two lanes, each in two calls.
struct Step {
    statistics: Vec<f32>,
    output: Vec<f32>,
    d_input: Vec<f32>,
    d_weights: Vec<f32>,
    weights: Vec<f32>,
}

impl Step {
    fn new(layer: &BatchStatistics, channels: usize, weights: &[f32], x: &[f32], d: &[f32]) -> Step {
        let count = x.len() / channels;
        let cuts = [0, count / 4, count / 2, count * 2 / 3, count].map(|row| row * channels);
        let parts = || cuts.windows(2).map(|cut| cut[0]..cut[1]);
        let sums = |add: &dyn Fn(std::ops::Range<usize>, &mut [f64])| {
            let mut lanes = [vec![0.0; layer.sums()], vec![0.0; layer.sums()]];
            parts().enumerate().for_each(|(i, part)| add(part, &mut lanes[i / 2]));
            lanes[0].iter().zip(&lanes[1]).map(|(a, b)| a + b).collect::<Vec<f64>>()
        };
        let mut statistics = vec![f32::NAN; layer.statistics_len()];
        layer.statistics(&sums(&|part, sums| layer.add_sums(&x[part], sums)), count, &mut statistics);
        let mut output = vec![f32::NAN; x.len()];
        parts().for_each(|part| layer.normalize(&x[part.clone()], &statistics, weights, &mut output[part]));

        let mut d = d.to_vec();
        parts().for_each(|part| layer.through_activation(&output[part.clone()], &mut d[part]));
        let sums = sums(&|part, sums| layer.add_backward_sums(&x[part.clone()], &d[part], &statistics, sums));
        let mut d_weights = vec![f32::NAN; weights.len()];
        layer.weight_gradients(&sums, &mut d_weights);
        let batch = Batch { statistics: &statistics, sums: &sums, rows: count };
        let mut d_input = vec![f32::NAN; x.len()];
        for part in parts() {
            layer.backward(&x[part.clone()], &d[part.clone()], batch, weights, &mut d_input[part]);
        }
        let mut moved = weights.to_vec();
        layer.follow(&statistics, &mut moved);
        Step { statistics, output, d_input, d_weights, weights: moved }
    }
}

#[test]
fn batch_statistics() {
    let random = &mut random(2);
    for case in 0..150 {
        let (spec, channels) = (spec(random), random.random_range(1..=40));
        let count = random.random_range(4..=[20, 200, 1000][case % 3]);
        let distribution = distribution(random, channels, case % 2 == 1);
        let weights = weights(random, &spec, &distribution);
        let x = rows(random, count, &distribution);
        let d = values(random, x.len());
        let [w, x64, d64] = [wide(&weights), wide(&x), wide(&d)];
        let statistics = reference::batch_statistics(channels, &x64);
        let activation = ACTIVATIONS[case % 4];
        let y = reference::forward(&spec, &w, &statistics, &x64);
        let (y, d64) = activated(activation, &y, &d64, channels);
        let Gradients { d_input, d_weights } = reference::backward_batch(&spec, channels, &w, &x64, &d64);
        let moved = reference::follow(&spec, &w, &statistics);
        for level in Level::available() {
            let name = |what| format!("{level:?}: {spec:?}, {activation:?} on {count} × {channels}: {what}");
            let layer = BatchStatistics::new(spec, channels, level).with_activation(activation);
            let step = Step::new(&layer, channels, &weights, &x, &d);
            let Statistics { mean, variance } = &statistics;
            assert_near(&name("means"), &step.statistics[..channels], mean);
            assert_near(&name("variances"), &step.statistics[2 * channels..3 * channels], variance);
            assert_near(&name("output"), &step.output, &y);
            assert_near(&name("d_input"), &step.d_input, &d_input);
            assert_near(&name("d_weights"), &step.d_weights, &d_weights);
            for part in
                [0..w.len() - 2 * channels, w.len() - 2 * channels..w.len() - channels, w.len() - channels..w.len()]
            {
                assert_near(&name("weights"), &step.weights[part.clone()], &moved[part]);
            }
        }
    }
}

/// Each channel by itself is as near to its own largest value, however different the channels are.
#[test]
fn no_channel_hides_behind_another() {
    let random = &mut random(3);
    let distribution: Vec<(f32, f32)> = [(0.0, 1e-3), (1e6, 1e3), (-30.0, 1e-2), (5.0, 5.0), (1.0, 1e-4)].repeat(4);
    let (channels, count) = (distribution.len(), 500);
    let spec = Spec { momentum: 0.9, epsilon: 1e-10, center: false, scale: false };
    let weights = weights(random, &spec, &distribution);
    let x = rows(random, count, &distribution);
    let d = values(random, x.len());
    let (w, x64) = (wide(&weights), wide(&x));
    let y = reference::forward(&spec, &w, &reference::batch_statistics(channels, &x64), &x64);
    let gradients = reference::backward_batch(&spec, channels, &w, &x64, &wide(&d));
    for level in Level::available() {
        let step = Step::new(&BatchStatistics::new(spec, channels, level), channels, &weights, &x, &d);
        for c in 0..channels {
            let single = |all: &[f32]| all.iter().copied().skip(c).step_by(channels).collect::<Vec<f32>>();
            let double = |all: &[f64]| all.iter().copied().skip(c).step_by(channels).collect::<Vec<f64>>();
            let name = format!("{level:?}: channel {c}");
            assert_near(&name, &single(&step.output), &double(&y));
            assert_near(&name, &single(&step.d_input), &double(&gradients.d_input));
        }
    }
}

/// Sums over runs of rows continue each other to the bit, wherever the runs end.
#[test]
fn sums_do_not_depend_on_the_calls() {
    let random = &mut random(4);
    for channels in [1, 3, 16, 37, 3000] {
        let distribution = distribution(random, channels, true);
        let (x, spec) = (rows(random, 40, &distribution), spec(random));
        for level in Level::available() {
            let layer = BatchStatistics::new(spec, channels, level);
            let (mut together, mut apart) = (vec![0.0; layer.sums()], vec![0.0; layer.sums()]);
            layer.add_sums(&x, &mut together);
            x.chunks(7 * channels).for_each(|x| layer.add_sums(x, &mut apart));
            assert_eq!(together, apart, "{level:?}: {channels} channels");
        }
    }
}

/// A row alone, and equal rows: nothing deviates, the output is beta, and the input has no influence on it.
#[test]
fn channels_without_deviation() {
    let random = &mut random(5);
    let spec = Spec { momentum: 0.9, epsilon: 1e-3, center: true, scale: true };
    for count in [1, 6] {
        let row: Vec<f32> = values(random, 19).iter().map(|x| x * 1000.0).collect();
        let (x, weights) = (row.repeat(count), weights(random, &spec, &[(0.0, 1.0); 19]));
        let (same, d) = (values(random, 19).repeat(count), values(random, 19 * count));
        for level in Level::available() {
            let layer = BatchStatistics::new(spec, 19, level);
            let step = Step::new(&layer, 19, &weights, &x, &d);
            let beta = weights[19..38].repeat(count);
            assert_near(&format!("{level:?}: {count} equal rows"), &step.output, &wide(&beta));
            let step = Step::new(&layer, 19, &weights, &x, &same);
            let scale: Vec<f64> = wide(&same).iter().map(|d| d / spec.epsilon.sqrt()).collect();
            let nothing = vec![0.0; x.len()];
            assert_near_scaled(&format!("{level:?}: {count} equal rows: d_input"), &step.d_input, &nothing, &scale);
        }
    }
}

/// A NaN takes its channel with it in a batch, and no other.
#[test]
fn a_nan_stays_in_its_channel() {
    let spec = Spec { momentum: 0.9, epsilon: 1e-3, center: true, scale: true };
    let random = &mut random(6);
    let weights = weights(random, &spec, &[(0.0, 1.0); 21]);
    for (place, bad) in [(0, f32::NAN), (20, f32::NAN), (17, f32::INFINITY)] {
        let mut x = values(random, 21 * 5);
        x[2 * 21 + place] = bad;
        for level in Level::available() {
            let step = Step::new(&BatchStatistics::new(spec, 21, level), 21, &weights, &x, &vec![1.0; x.len()]);
            for (i, y) in step.output.iter().enumerate() {
                assert_eq!(y.is_nan(), i % 21 == place, "{level:?}: {i}: {y}");
            }
            assert!(step.weights[2 * 21 + place].is_nan() || step.weights[3 * 21 + place].is_nan());
        }
    }
}
