//! Depthwise and separable convolutions.

use super::{Case, assert_near, random, values, weights, wide};
use crate::engine::cpu::kernel::{Forward, Kernel};
use crate::engine::cpu::kernels::conv2d::Conv2D;
use crate::engine::cpu::kernels::depthwise_conv2d::DepthwiseConv2D;
use crate::engine::cpu::kernels::select;
use crate::engine::cpu::simd::Level;
use crate::layers::depthwise_conv2d::{Spec, reference};
use crate::layers::{Activation, Op, separable_conv2d};
use crate::shape::{Axis, Padding, Shape};
use rand::RngExt;
use rand::rngs::StdRng;

pub(super) const ACTIVATIONS: [Activation; 5] =
    [Activation::Linear, Activation::Relu, Activation::Sigmoid, Activation::Tanh, Activation::Softmax];

/// Two axes, and a map's height and width that they fit.
pub(super) fn axes(random: &mut StdRng) -> ([Axis; 2], [usize; 2]) {
    let padding = if random.random() { Padding::Same } else { Padding::Valid };
    let mut axis = || {
        let (window, stride) = (random.random_range(1..=5), random.random_range(1..=3));
        let axis = Axis { window, stride, dilation: random.random_range(1..=2), padding };
        let size = match padding {
            Padding::Valid => axis.reach() + random.random_range(0..=12),
            Padding::Same => random.random_range(1..=15),
        };
        (axis, size)
    };
    let (vertical, horizontal) = (axis(), axis());
    ([vertical.0, horizontal.0], [vertical.1, horizontal.1])
}

/// The map behind two axes.
pub(super) fn behind([vertical, horizontal]: [Axis; 2], input: Shape, channels: usize) -> Shape {
    match (vertical.output(input.height()), horizontal.output(input.width())) {
        (Some(height), Some(width)) => Shape::map(height, width, channels),
        _ => panic!("{vertical:?}, {horizontal:?} do not fit {input}"),
    }
}

fn check(random: &mut StdRng, spec: Spec, input: Shape, images: usize) {
    let channels = input.channels() * spec.depth_multiplier;
    let output = behind([spec.vertical, spec.horizontal], input, channels);
    let taps = spec.vertical.window * spec.horizontal.window;
    let weights = weights(random, taps, taps * channels + if spec.use_bias { channels } else { 0 });
    let (x, d) = (values(random, images * input.len()), values(random, images * output.len()));
    let [w, x64, d64] = [wide(&weights), wide(&x), wide(&d)];
    let y = reference::forward(&spec, input, output, &w, &x64);
    for level in Level::available() {
        let kernel = DepthwiseConv2D::new(spec, input, output, spec.activation, level);
        let name = format!("{level:?}: {spec:?} on {images} × {input}");
        let case = Case { name, kernel: &kernel, images, weights: &weights, input: &x, d_output: &d };
        case.check(&y, |y| {
            let gradients = reference::backward(&spec, [input, output], &w, [&x64, y, &d64]);
            [gradients.d_input, gradients.d_weights]
        });
    }
}

#[test]
fn random_convolutions() {
    let random = &mut random(1);
    for case in 0..150 {
        let ([vertical, horizontal], [height, width]) = axes(random);
        let depth_multiplier = if case % 3 == 0 { random.random_range(2..=4) } else { 1 };
        let activation = ACTIVATIONS[case % ACTIVATIONS.len()];
        let spec = Spec { depth_multiplier, vertical, horizontal, activation, use_bias: random.random() };
        let input = Shape::map(height, width, random.random_range(1..=40));
        let images = random.random_range(1..=5);
        check(random, spec, input, images);
    }
}

/// The usual case on maps with long runs of inner columns, with as many channels as make several vectors, and on one that
/// no cache near by holds.
#[test]
fn usual_convolutions() {
    let random = &mut random(2);
    for (input, window, stride, padding) in [
        (Shape::map(9, 30, 48), 3, 1, Padding::Same),
        (Shape::map(9, 31, 35), 3, 2, Padding::Same),
        (Shape::map(7, 7, 80), 5, 1, Padding::Same),
        (Shape::map(12, 21, 64), 3, 1, Padding::Valid),
        (Shape::map(70, 50, 40), 3, 1, Padding::Same),
    ] {
        let axis = Axis { window, stride, dilation: 1, padding };
        let (vertical, horizontal, activation) = (axis, axis, Activation::Relu);
        check(random, Spec { depth_multiplier: 1, vertical, horizontal, activation, use_bias: true }, input, 2);
    }
}

/// Windows with strides along one axis only, or larger along one: no code for squares or for going down fits them.
#[test]
fn strides_along_one_axis() {
    let random = &mut random(6);
    let of = |window, stride, dilation| Axis { window, stride, dilation, padding: Padding::Same };
    for axes in [
        [of(3, 2, 1), of(3, 1, 1)],
        [of(3, 1, 1), of(3, 2, 1)],
        [of(3, 3, 1), of(3, 2, 1)],
        [of(2, 2, 1), of(3, 2, 1)],
        [of(3, 2, 2), of(3, 2, 1)],
        // Of these the middle tap alone meets the map.
        [of(3, 1, 13), of(3, 1, 1)],
        [of(3, 2, 13), of(3, 2, 1)],
    ] {
        for height in 8..=13 {
            let input = Shape::map(height, random.random_range(7..=18), 32);
            let ([vertical, horizontal], activation) = (axes, Activation::Linear);
            check(random, Spec { depth_multiplier: 1, vertical, horizontal, activation, use_bias: true }, input, 2);
        }
    }
}

/// Windows of which only the middle tap meets a map, whose rows a kernel's gradient would roll down.
#[test]
fn windows_dilated_beyond_the_map() {
    let random = &mut random(7);
    let of = |stride, dilation| Axis { window: 3, stride, dilation, padding: Padding::Same };
    for (stride, height, dilation) in [(1, 2, 2), (1, 8, 8), (2, 2, 2), (2, 14, 14)] {
        let (vertical, horizontal) = (of(stride, dilation), of(stride, 1));
        let spec = Spec { depth_multiplier: 1, vertical, horizontal, activation: Activation::Linear, use_bias: true };
        check(random, spec, Shape::map(height, 14, 256), 1);
    }
}

/// Maps whose way back goes in several bands of rows, which cut squares of a gradient of strides 2.
#[test]
fn bands_of_rows() {
    let random = &mut random(8);
    for padding in [Padding::Same, Padding::Valid] {
        for (stride, height, channels) in [(2, 40, 48), (2, 41, 50), (1, 30, 48)] {
            let axis = Axis { window: 3, stride, dilation: 1, padding };
            let (vertical, horizontal, activation) = (axis, axis, Activation::Relu);
            let spec = Spec { depth_multiplier: 1, vertical, horizontal, activation, use_bias: true };
            check(random, spec, Shape::map(height, 41, channels), 1);
        }
    }
}

/// Windows that slide: every width at which tiles begin, end, overlap or do not fit, with and without borders, few rows
/// and many.
#[test]
fn windows_that_slide() {
    let random = &mut random(4);
    for (window, stride) in [(3, 1), (3, 2), (5, 1)] {
        for padding in [Padding::Same, Padding::Valid] {
            for width in 5..=24 {
                let axis = Axis { window, stride, dilation: 1, padding };
                // Whole vectors of channels at any level go down the map, where there are rows enough.
                let channels = if random.random() { 32 } else { random.random_range(1..=40) };
                let input = Shape::map(random.random_range(5..=15), width, channels);
                let activation = ACTIVATIONS[width % 2];
                let (vertical, horizontal) = (axis, axis);
                let use_bias = width % 3 == 0;
                check(random, Spec { depth_multiplier: 1, vertical, horizontal, activation, use_bias }, input, 2);
            }
        }
    }
}

/// Maps with three rows that no first-level cache holds, where the kernel's gradient goes down, too.
#[test]
fn rows_of_many_channels() {
    let random = &mut random(5);
    for (padding, stride) in [(Padding::Same, 1), (Padding::Valid, 1), (Padding::Same, 2), (Padding::Valid, 2)] {
        for width in 5..=16 {
            let axis = Axis { window: 3, stride, dilation: 1, padding };
            let channels = 3000usize.div_ceil(width).next_multiple_of(32);
            // Six rows of outputs and more go down, fewer go tile by tile.
            let height = if stride == 1 { random.random_range(5..=9) } else { random.random_range(9..=14) };
            let input = Shape::map(height, width, channels);
            let (vertical, horizontal, activation) = (axis, axis, Activation::Relu);
            check(random, Spec { depth_multiplier: 1, vertical, horizontal, activation, use_bias: true }, input, 2);
        }
    }
}

/// The output of a kernel that is given these weights.
fn forward(kernel: &dyn Kernel, images: usize, weights: &[f32], input: &[f32], output: usize) -> Vec<f32> {
    let mut derived = vec![f32::NAN; kernel.derived()];
    kernel.prepare(weights, &mut derived);
    let mut output = vec![f32::NAN; images * output];
    kernel.forward(Forward {
        images,
        training: false,
        noise: None,
        weights,
        derived: &derived,
        input,
        output: &mut output,
        kept: &mut [],
        scratch: &mut vec![f32::NAN; kernel.scratch(images)],
    });
    output
}

#[test]
fn the_two_kernels_of_a_separable_convolution() {
    let random = &mut random(3);
    for case in 0..20 {
        let ([vertical, horizontal], [height, width]) = axes(random);
        let spec = separable_conv2d::Spec {
            filters: random.random_range(1..=30),
            depth_multiplier: random.random_range(1..=2),
            vertical,
            horizontal,
            activation: ACTIVATIONS[case % ACTIVATIONS.len()],
            use_bias: random.random(),
        };
        let input = Shape::map(height, width, random.random_range(1..=20));
        let output = behind([vertical, horizontal], input, spec.filters);
        let between = Shape::map(output.height(), output.width(), input.channels() * spec.depth_multiplier);
        let taps = vertical.window * horizontal.window;
        let depthwise = weights(random, taps, taps * between.channels());
        let bias = if spec.use_bias { spec.filters } else { 0 };
        let pointwise = weights(random, between.channels(), between.channels() * spec.filters + bias);
        let x = values(random, 2 * input.len());
        let all = wide(&[&depthwise[..], &pointwise].concat());
        let expected = separable_conv2d::reference::forward(&spec, input, output, &all, &wide(&x));
        for level in Level::available() {
            let first = DepthwiseConv2D::new(spec.depthwise(), input, between, Activation::Linear, level);
            let last = Conv2D::new(spec.pointwise(), between, output, spec.activation, level);
            let z = forward(&first, 2, &depthwise, &x, between.len());
            let y = forward(&last, 2, &pointwise, &z, output.len());
            assert_near(&format!("{level:?}: {spec:?} on {input}"), &y, &expected);
        }
    }
}

/// A NaN reaches the outputs that look at it, and no others; relu keeps it. One in the kernel stays in its channel.
#[test]
fn a_nan_reaches_what_looks_at_it() {
    let axis = Axis { window: 3, stride: 1, dilation: 1, padding: Padding::Same };
    let activation = Activation::Relu;
    let spec = Spec { depth_multiplier: 1, vertical: axis, horizontal: axis, activation, use_bias: false };
    let map = Shape::map(5, 5, 20);
    for level in Level::available() {
        let kernel = select(&Op::DepthwiseConv2D(spec), map, map, activation, level).expect("a kernel");
        let (mut weights, mut x) = (vec![1.0; 9 * 20], vec![1.0; map.len()]);
        x[17] = f32::NAN;
        weights[4 * 20 + 2] = f32::NAN;
        for (i, y) in forward(&*kernel, 1, &weights, &x, map.len()).into_iter().enumerate() {
            let (row, column, channel) = (i / 100, i / 20 % 5, i % 20);
            let nan = channel == 2 || channel == 17 && row < 2 && column < 2;
            assert_eq!(y.is_nan(), nan, "{level:?}: {row}, {column}, {channel}: {y}");
        }
    }
}
