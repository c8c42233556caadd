//! A network computed in `f64` from its plan alone, by the definitions of its layers: what the modules are held
//! against. Nothing here is shared with them.
#![allow(dead_code, reason = "not every test uses all of it")]

use convnet_core::layers::{Activation, Op};
use convnet_core::plan::{LayerPlan, Plan};
use convnet_core::shape::{Axis, Padding, Shape};

/// The outputs for one input; weights in the plan's flat order.
pub fn forward(plan: &Plan, weights: &[f64], input: &[f64]) -> Vec<f64> {
    plan.layers.iter().fold(input.to_vec(), |values, layer| layer_forward(layer, weights, &values))
}

fn layer_forward(layer: &LayerPlan, weights: &[f64], x: &[f64]) -> Vec<f64> {
    let weight = |index: usize| layer.weights().get(index).map(|weight| &weights[weight.range()]);
    let mut y = match layer.op {
        Op::Conv2D(spec) => conv2d(layer, [spec.vertical, spec.horizontal], weight(0).unwrap_or(&[]), x),
        Op::MaxPooling2D(spec) => return max_pooling2d(layer, [spec.vertical, spec.horizontal], x),
        Op::Flatten => return x.to_vec(),
        Op::Dense(spec) => {
            let kernel = weight(0).unwrap_or(&[]);
            (0..spec.units).map(|u| (0..x.len()).map(|n| x[n] * kernel[n * spec.units + u]).sum()).collect()
        }
        op => panic!("no network of these tests has a {}", op.kind()),
    };
    if let Some(bias) = weight(1) {
        for (i, y) in y.iter_mut().enumerate() {
            *y += bias[i % bias.len()];
        }
    }
    y.chunks(layer.output.channels()).flat_map(|row| activate(layer.op.activation(), row)).collect()
}

fn activate(activation: Activation, row: &[f64]) -> Vec<f64> {
    let each = |f: fn(f64) -> f64| row.iter().map(|&x| f(x)).collect();
    match activation {
        Activation::Linear => row.to_vec(),
        Activation::Relu => each(|x| x.max(0.0)),
        Activation::Sigmoid => each(|x| 1.0 / (1.0 + (-x).exp())),
        Activation::Tanh => each(f64::tanh),
        Activation::Softmax => {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            row.iter().map(|x| x.exp() / sum).collect()
        }
    }
}

/// The position on an axis of `size` under a tap, or `None` in the padding: Keras's rule for `same`.
fn under(axis: Axis, size: usize, outputs: usize, place: usize, tap: usize) -> Option<usize> {
    let reach = (axis.dilation * (axis.window - 1) + 1) as isize;
    let missing = ((outputs as isize - 1) * axis.stride as isize + reach - size as isize).max(0);
    let before = if axis.padding == Padding::Same { missing / 2 } else { 0 };
    let position = (place * axis.stride + tap * axis.dilation) as isize - before;
    (0..size as isize).contains(&position).then_some(position as usize)
}

/// Calls `visit` with every place and every tap on the map: `(i, j, u, v, row, column)`.
fn windows(input: Shape, output: Shape, axes: [Axis; 2], mut visit: impl FnMut([usize; 6])) {
    for i in 0..output.height() {
        for j in 0..output.width() {
            for u in 0..axes[0].window {
                for v in 0..axes[1].window {
                    let row = under(axes[0], input.height(), output.height(), i, u);
                    let column = under(axes[1], input.width(), output.width(), j, v);
                    if let (Some(row), Some(column)) = (row, column) {
                        visit([i, j, u, v, row, column]);
                    }
                }
            }
        }
    }
}

fn conv2d(layer: &LayerPlan, axes: [Axis; 2], kernel: &[f64], x: &[f64]) -> Vec<f64> {
    let (input, output) = (layer.input, layer.output);
    let mut y = vec![0.0; output.len()];
    windows(input, output, axes, |[i, j, u, v, row, column]| {
        for c in 0..input.channels() {
            for f in 0..output.channels() {
                let tap = (u * axes[1].window + v) * input.channels() + c;
                y[(i * output.width() + j) * output.channels() + f] +=
                    x[(row * input.width() + column) * input.channels() + c] * kernel[tap * output.channels() + f];
            }
        }
    });
    y
}

fn max_pooling2d(layer: &LayerPlan, axes: [Axis; 2], x: &[f64]) -> Vec<f64> {
    let (input, output) = (layer.input, layer.output);
    let mut y = vec![f64::NEG_INFINITY; output.len()];
    windows(input, output, axes, |[i, j, _, _, row, column]| {
        for c in 0..input.channels() {
            let y = &mut y[(i * output.width() + j) * output.channels() + c];
            *y = y.max(x[(row * input.width() + column) * input.channels() + c]);
        }
    });
    y
}

/// The slope of `f` in each of its arguments, by central differences.
pub fn slopes(at: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut at = at.to_vec();
    (0..at.len())
        .map(|i| {
            let value = at[i];
            at[i] = value + STEP;
            let above = f(&at);
            at[i] = value - STEP;
            let below = f(&at);
            at[i] = value;
            (above - below) / (2.0 * STEP)
        })
        .collect()
}

/// Numbers between -1 and 1, the same for the same seed (Knuth's MMIX generator).
pub fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Asserts that two lists agree to `tolerance`, relative for values beyond 1.
pub fn assert_close(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs() / expected.abs().max(1.0);
        assert!(error <= tolerance, "{what}[{i}]: {found}, but {expected} by definition");
    }
}
