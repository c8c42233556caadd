//! The block in plain loops over f64, and data to run it on.

use super::super::block::Block;
use crate::layers::Activation;

/// Numbers that repeat with the seed (a linear congruential generator, high bits).
pub struct Random(pub u64);

impl Random {
    /// From −1 to 1.
    pub fn value(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn values(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| self.value() * scale).collect()
    }

    /// As they leave a relu: about half zeros.
    pub fn positives(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.value().max(0.0)).collect()
    }
}

/// How close to a kink (the zero of relu, a tie of maxima) rounding may fall on its other side.
const CLOSE: f64 = 1e-4;

/// What a block's passes compute.
pub struct Expected {
    pub output: Vec<f64>,
    /// Outputs so close to a kink, but not on it, that either gradient is right. They are counted as if none came in there.
    pub unsure: Vec<usize>,
    pub d_input: Vec<f64>,
    pub d_weights: Vec<f64>,
}

/// An activation's value, and its derivative by that.
fn activate(activation: Activation, x: f64) -> (f64, f64) {
    match activation {
        Activation::Relu => (x.max(0.0), if x > 0.0 { 1.0 } else { 0.0 }),
        Activation::Tanh => (x.tanh(), 1.0 - x.tanh().powi(2)),
        _ => (x, 1.0),
    }
}

/// Everything, for images without border (`border`: one zero around each).
pub fn run(
    block: &Block,
    border: bool,
    activation: Activation,
    input: &[f32],
    weights: &[f32],
    d_output: &[f32],
) -> Expected {
    let Block { height, width, channels, filters, bias, pooled } = *block;
    let edge = usize::from(border);
    let (rows, columns) = (height - 2, width - 2);
    let image = (height - 2 * edge) * (width - 2 * edge) * channels;
    let images = input.len() / image;
    // Where an element of the bordered map lies in the input.
    let place = |n: usize, y: usize, x: usize, c: usize| {
        let inside = y >= edge && x >= edge && y < height - edge && x < width - edge;
        inside.then(|| n * image + ((y - edge) * (width - 2 * edge) + x - edge) * channels + c)
    };
    let mut expected = Expected {
        output: Vec::new(),
        unsure: Vec::new(),
        d_input: vec![0.0; input.len()],
        d_weights: vec![0.0; weights.len()],
    };
    let taps = || (0..9 * channels).map(|i| (i / channels / 3, i / channels % 3, i % channels));
    for n in 0..images {
        let value = |y: usize, x: usize, f: usize| {
            let mut sum = if bias { f64::from(weights[9 * channels * filters + f]) } else { 0.0 };
            for (i, (u, v, c)) in taps().enumerate() {
                let x = place(n, y + u, x + v, c).map_or(0.0, |at| input[at]);
                sum += f64::from(x) * f64::from(weights[i * filters + f]);
            }
            sum
        };
        let step = if pooled { 2 } else { 1 };
        for y in 0..rows / step {
            for x in 0..columns / step {
                for f in 0..filters {
                    let window: &[_] = if pooled { &[(0, 0), (0, 1), (1, 0), (1, 1)] } else { &[(0, 0)] };
                    let places = window.iter().map(|(i, j)| (y * step + i, x * step + j));
                    let sums: Vec<_> = places.map(|(i, j)| (value(i, j, f), (i, j))).collect();
                    let (mut largest, mut at) = sums[0];
                    for &(sum, place) in &sums {
                        if sum > largest {
                            (largest, at) = (sum, place);
                        }
                    }
                    let (output, slope) = activate(activation, largest);
                    let close = |difference: f64| difference != 0.0 && difference.abs() < CLOSE;
                    let kink = activation == Activation::Relu && close(largest);
                    let tie = largest > 0.0 && sums.iter().any(|(sum, _)| close(largest - sum));
                    let d = if kink || tie {
                        expected.unsure.push(expected.output.len());
                        0.0
                    } else {
                        slope * f64::from(d_output[expected.output.len()])
                    };
                    expected.output.push(output);
                    if d == 0.0 {
                        continue;
                    }
                    for (i, (u, v, c)) in taps().enumerate() {
                        if let Some(from) = place(n, at.0 + u, at.1 + v, c) {
                            expected.d_input[from] += d * f64::from(weights[i * filters + f]);
                            expected.d_weights[i * filters + f] += d * f64::from(input[from]);
                        }
                    }
                    if bias {
                        expected.d_weights[9 * channels * filters + f] += d;
                    }
                }
            }
        }
    }
    expected
}

/// Asserts that no element differs by more than 10⁻⁵ of the largest.
pub fn assert_close(what: &str, found: &[f32], expected: &[f64]) {
    assert_within(1e-5, what, found, expected);
}

/// Asserts that no element differs by more than this share of the largest.
pub fn assert_within(share: f64, what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3, |a: f64, b| a.max(b.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= share * largest, "{what} [{i}]: {found} for {expected}, largest {largest}");
    }
}
