//! A network computed in `f64` from its plan alone, by the definitions of its layers: what the modules are held
//! against. Nothing here is shared with them.
#![allow(dead_code, reason = "not every test uses all of it")]

use convnet_core::layers::up_sampling2d::Interpolation;
use convnet_core::layers::{Activation, Op, batch_normalization};
use convnet_core::plan::{LayerPlan, Plan};
use convnet_core::shape::{Axis, Padding, Shape};

/// The outputs for one input, in inference; weights in the plan's flat order.
pub fn forward(plan: &Plan, weights: &[f64], input: &[f64]) -> Vec<f64> {
    let mut tensors = vec![input.to_vec()];
    for layer in plan.layers {
        let inputs: Vec<&[f64]> = layer.inputs().iter().map(|&tensor| tensors[tensor].as_slice()).collect();
        let shapes: Vec<Shape> = layer.inputs().iter().map(|&tensor| plan.tensor(tensor)).collect();
        tensors.push(layer_forward(layer, weights, &inputs, &shapes));
    }
    tensors.pop().unwrap_or_default()
}

/// The outputs for a batch of inputs in a training step, but for dropout: normalisations that learn take the statistics
/// of the batch.
pub fn forward_in_training(plan: &Plan, weights: &[f64], inputs: &[&[f64]]) -> Vec<Vec<f64>> {
    let mut tensors = vec![inputs.iter().map(|input| input.to_vec()).collect::<Vec<_>>()];
    for layer in plan.layers {
        let shapes: Vec<Shape> = layer.inputs().iter().map(|&tensor| plan.tensor(tensor)).collect();
        let of_image = |image: usize| -> Vec<&[f64]> {
            layer.inputs().iter().map(|&tensor| tensors[tensor][image].as_slice()).collect()
        };
        tensors.push(match layer.op {
            Op::BatchNormalization(spec) if layer.trainable => {
                normalized_together(&spec, layer, weights, &tensors[layer.inputs()[0]])
            }
            _ => (0..inputs.len()).map(|image| layer_forward(layer, weights, &of_image(image), &shapes)).collect(),
        });
    }
    tensors.pop().unwrap_or_default()
}

/// Batch normalisation with the statistics of these inputs.
fn normalized_together(
    spec: &batch_normalization::Spec,
    layer: &LayerPlan,
    weights: &[f64],
    inputs: &[Vec<f64>],
) -> Vec<Vec<f64>> {
    let weight = |name: &str| {
        let weight = layer.weights().iter().find(|weight| weight.name == name);
        weight.map(|weight| &weights[weight.range()])
    };
    let channels = layer.input.channels();
    let mean = |c: usize, f: &dyn Fn(f64) -> f64| {
        let values = inputs.iter().flat_map(|x| x.iter().skip(c).step_by(channels));
        values.map(|&x| f(x)).sum::<f64>() / (inputs.len() * layer.input.len() / channels) as f64
    };
    let means: Vec<f64> = (0..channels).map(|c| mean(c, &|x| x)).collect();
    let variances: Vec<f64> = (0..channels).map(|c| mean(c, &|x| (x - means[c]).powi(2))).collect();
    inputs.iter().map(|x| normalized(spec, x, &means, &variances, weight("gamma"), weight("beta"))).collect()
}

fn layer_forward(layer: &LayerPlan, weights: &[f64], inputs: &[&[f64]], shapes: &[Shape]) -> Vec<f64> {
    let (x, input, output) = (inputs[0], layer.input, layer.output);
    let weight = |name: &str| {
        let weight = layer.weights().iter().find(|weight| weight.name == name);
        weight.map(|weight| &weights[weight.range()])
    };
    let own = |name: &str| weight(name).unwrap_or_else(|| panic!("{} has no {name}", layer.name));
    let mut y = match layer.op {
        Op::Conv2D(spec) => conv2d(input, output, [spec.vertical, spec.horizontal], spec.groups, own("kernel"), x),
        Op::DepthwiseConv2D(spec) => depthwise(input, output, [spec.vertical, spec.horizontal], own("kernel"), x),
        Op::SeparableConv2D(spec) => {
            let between = Shape::map(output.height(), output.width(), input.channels() * spec.depth_multiplier);
            let axes = [spec.vertical, spec.horizontal];
            let middle = depthwise(input, between, axes, own("depthwise_kernel"), x);
            let point = Axis { window: 1, stride: 1, dilation: 1, padding: Padding::Valid };
            conv2d(between, output, [point, point], 1, own("pointwise_kernel"), &middle)
        }
        Op::MaxPooling2D(spec) => max_pooling2d(input, output, [spec.vertical, spec.horizontal], x),
        Op::AveragePooling2D(spec) => average_pooling2d(input, output, [spec.vertical, spec.horizontal], x),
        Op::GlobalMaxPooling2D(_) => by_channel(input, x, |values| values.fold(f64::NEG_INFINITY, f64::max)),
        Op::GlobalAveragePooling2D(_) => {
            by_channel(input, x, |values| values.sum::<f64>() / (input.height() * input.width()) as f64)
        }
        Op::ZeroPadding2D(spec) => at_each(output, |[i, j, c]| {
            let (row, column) = (i.wrapping_sub(spec.top), j.wrapping_sub(spec.left));
            if row < input.height() && column < input.width() { x[at(input, row, column, c)] } else { 0.0 }
        }),
        Op::UpSampling2D(spec) => at_each(output, |[i, j, c]| match spec.interpolation {
            Interpolation::Nearest => x[at(input, i / spec.rows, j / spec.columns, c)],
            Interpolation::Bilinear => bilinear(input, x, centre(i, spec.rows), centre(j, spec.columns), c),
        }),
        Op::Flatten | Op::Reshape(_) | Op::Activation(_) | Op::Softmax | Op::Dropout(_) => x.to_vec(),
        Op::Dense(spec) => {
            let kernel = own("kernel");
            (0..spec.units).map(|u| (0..x.len()).map(|n| x[n] * kernel[n * spec.units + u]).sum()).collect()
        }
        Op::ReLU(spec) => x
            .iter()
            .map(|&x| {
                let below = if x < spec.threshold { spec.negative_slope * (x - spec.threshold) } else { x };
                if x >= spec.max_value { spec.max_value } else { below }
            })
            .collect(),
        Op::LeakyReLU(spec) => x.iter().map(|&x| if x > 0.0 { x } else { spec.negative_slope * x }).collect(),
        Op::Rescaling(spec) => x.iter().map(|&x| x * spec.scale + spec.offset).collect(),
        Op::BatchNormalization(spec) => {
            normalized(&spec, x, own("moving_mean"), own("moving_variance"), weight("gamma"), weight("beta"))
        }
        Op::Add => (0..x.len()).map(|i| inputs.iter().map(|x| x[i]).sum()).collect(),
        Op::Concatenate => concatenated(inputs, shapes),
    };
    if let Some(bias) = weight("bias") {
        for (i, y) in y.iter_mut().enumerate() {
            *y += bias[i % bias.len()];
        }
    }
    y.chunks(output.channels()).flat_map(|row| activate(layer.op.activation(), row)).collect()
}

/// Batch normalisation with the given statistics.
pub fn normalized(
    spec: &batch_normalization::Spec,
    x: &[f64],
    means: &[f64],
    variances: &[f64],
    gamma: Option<&[f64]>,
    beta: Option<&[f64]>,
) -> Vec<f64> {
    let channel = |i: usize| {
        let c = i % means.len();
        let normal = (x[i] - means[c]) / (variances[c] + spec.epsilon).sqrt();
        normal * gamma.map_or(1.0, |gamma| gamma[c]) + beta.map_or(0.0, |beta| beta[c])
    };
    (0..x.len()).map(channel).collect()
}

fn at(shape: Shape, row: usize, column: usize, channel: usize) -> usize {
    (row * shape.width() + column) * shape.channels() + channel
}

/// A map of values, each computed from its place `[row, column, channel]`.
fn at_each(shape: Shape, value: impl Fn([usize; 3]) -> f64) -> Vec<f64> {
    let place =
        |i: usize| [i / shape.channels() / shape.width(), i / shape.channels() % shape.width(), i % shape.channels()];
    (0..shape.len()).map(|i| value(place(i))).collect()
}

fn by_channel(map: Shape, x: &[f64], f: impl Fn(&mut dyn Iterator<Item = f64>) -> f64) -> Vec<f64> {
    (0..map.channels()).map(|c| f(&mut x.iter().skip(c).step_by(map.channels()).copied())).collect()
}

/// Where the centre of a place of an axis enlarged `times` times lies on the axis itself, whose own centres are at
/// whole numbers.
fn centre(place: usize, times: usize) -> f64 {
    (place as f64 + 0.5) / times as f64 - 0.5
}

/// The map at a point between the centres of its pixels: each pixel counts by how near it is, those beyond the border
/// are those at the border.
fn bilinear(map: Shape, x: &[f64], row: f64, column: f64, channel: usize) -> f64 {
    let mut sum = 0.0;
    for i in -1..=map.height() as isize {
        for j in -1..=map.width() as isize {
            let near = (1.0 - (row - i as f64).abs()).max(0.0) * (1.0 - (column - j as f64).abs()).max(0.0);
            let inside = |at: isize, size: usize| at.clamp(0, size as isize - 1) as usize;
            sum += near * x[at(map, inside(i, map.height()), inside(j, map.width()), channel)];
        }
    }
    sum
}

fn concatenated(inputs: &[&[f64]], shapes: &[Shape]) -> Vec<f64> {
    let positions = inputs[0].len() / shapes[0].channels();
    let row = |position: usize| {
        inputs.iter().zip(shapes).flat_map(move |(x, shape)| {
            x[position * shape.channels()..(position + 1) * shape.channels()].iter().copied()
        })
    };
    (0..positions).flat_map(row).collect()
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

fn conv2d(input: Shape, output: Shape, axes: [Axis; 2], groups: usize, kernel: &[f64], x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; output.len()];
    let (inputs, outputs) = (input.channels() / groups, output.channels() / groups);
    windows(input, output, axes, |[i, j, u, v, row, column]| {
        for f in 0..output.channels() {
            for c in 0..inputs {
                let weight = ((u * axes[1].window + v) * inputs + c) * output.channels() + f;
                y[at(output, i, j, f)] += x[at(input, row, column, f / outputs * inputs + c)] * kernel[weight];
            }
        }
    });
    y
}

fn depthwise(input: Shape, output: Shape, axes: [Axis; 2], kernel: &[f64], x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; output.len()];
    let multiplier = output.channels() / input.channels();
    windows(input, output, axes, |[i, j, u, v, row, column]| {
        for c in 0..input.channels() {
            for m in 0..multiplier {
                let weight = ((u * axes[1].window + v) * input.channels() + c) * multiplier + m;
                y[at(output, i, j, c * multiplier + m)] += x[at(input, row, column, c)] * kernel[weight];
            }
        }
    });
    y
}

fn max_pooling2d(input: Shape, output: Shape, axes: [Axis; 2], x: &[f64]) -> Vec<f64> {
    let mut y = vec![f64::NEG_INFINITY; output.len()];
    windows(input, output, axes, |[i, j, _, _, row, column]| {
        for c in 0..input.channels() {
            let y = &mut y[at(output, i, j, c)];
            *y = y.max(x[at(input, row, column, c)]);
        }
    });
    y
}

fn average_pooling2d(input: Shape, output: Shape, axes: [Axis; 2], x: &[f64]) -> Vec<f64> {
    let (mut sums, mut counts) = (vec![0.0; output.len()], vec![0.0; output.len()]);
    windows(input, output, axes, |[i, j, _, _, row, column]| {
        for c in 0..input.channels() {
            sums[at(output, i, j, c)] += x[at(input, row, column, c)];
            counts[at(output, i, j, c)] += 1.0;
        }
    });
    sums.iter().zip(&counts).map(|(sum, count)| sum / count).collect()
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
