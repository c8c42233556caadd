//! Convolutions.

use super::depthwise_conv2d::behind;
use super::{Case, random, values, weights, wide};
use crate::engine::cpu::kernels::conv2d::Conv2D;
use crate::engine::cpu::simd::Level;
use crate::layers::Activation;
use crate::layers::conv2d::{Spec, reference};
use crate::shape::{Axis, Padding, Shape};
use rand::RngExt;
use rand::rngs::StdRng;

const ACTIVATIONS: [Activation; 5] =
    [Activation::Linear, Activation::Relu, Activation::Sigmoid, Activation::Tanh, Activation::Softmax];

fn axis(random: &mut StdRng, padding: Padding) -> Axis {
    let (window, stride) = (random.random_range(1..=5), random.random_range(1..=3));
    Axis { window, stride, dilation: random.random_range(1..=2), padding }
}

fn check(random: &mut StdRng, spec: Spec, input: Shape, images: usize) {
    let output = behind([spec.vertical, spec.horizontal], input, spec.filters);
    let taps = spec.vertical.window * spec.horizontal.window;
    let count = taps * input.channels() * spec.filters + if spec.use_bias { spec.filters } else { 0 };
    let weights = weights(random, taps * input.channels(), count);
    let (x, d) = (values(random, images * input.len()), values(random, images * output.len()));
    let [w, x64, d64] = [wide(&weights), wide(&x), wide(&d)];
    let y = reference::forward(&spec, input, output, &w, &x64);
    for level in Level::available() {
        let kernel = Conv2D::new(spec, input, output, spec.activation, level);
        let reordered = Conv2D::in_any_order(spec, input, output, spec.activation, level);
        for (order, kernel) in [("", Some(kernel)), ("reordered, ", reordered)] {
            let Some(kernel) = kernel else { continue };
            let name = format!("{order}{level:?}: {spec:?} on {images} × {input}");
            let case = Case { name, kernel: &kernel, images, weights: &weights, input: &x, d_output: &d };
            case.check(&y, |y| {
                let gradients = reference::backward(&spec, [input, output], &w, [&x64, y, &d64]);
                [gradients.d_input, gradients.d_weights]
            });
        }
    }
}

#[test]
fn random_convolutions() {
    let random = &mut random(1);
    for case in 0..100 {
        let padding = if random.random() { Padding::Same } else { Padding::Valid };
        let (mut vertical, mut horizontal) = (axis(random, padding), axis(random, padding));
        if case % 3 == 0 {
            // Often enough without strides, whose input gradient is computed in another way.
            (vertical.stride, horizontal.stride) = (1, 1);
        }
        let size = |random: &mut StdRng, axis: &Axis| match padding {
            Padding::Valid => axis.reach() + random.random_range(0..=7),
            Padding::Same => random.random_range(1..=13),
        };
        let input = Shape::map(size(random, &vertical), size(random, &horizontal), random.random_range(1..=40));
        let filters = random.random_range(1..=40);
        let activation = ACTIVATIONS[case % ACTIVATIONS.len()];
        let spec = Spec { filters, vertical, horizontal, groups: 1, activation, use_bias: random.random() };
        let images = random.random_range(1..=5);
        check(random, spec, input, images);
    }
}

/// Wide enough for several panels of filters, deep enough for several blocks of taps, and several groups of images.
#[test]
fn large_convolutions() {
    let random = &mut random(2);
    let axis = |window, stride, padding| Axis { window, stride, dilation: 1, padding };
    for (input, filters, axis, images) in [
        (Shape::map(6, 5, 96), 144, axis(3, 1, Padding::Same), 2),
        (Shape::map(5, 5, 64), 64, axis(3, 1, Padding::Valid), 40),
        (Shape::map(18, 17, 3), 32, axis(3, 1, Padding::Valid), 3),
        (Shape::map(11, 11, 70), 64, axis(5, 2, Padding::Same), 2),
        (Shape::map(7, 7, 300), 33, axis(1, 1, Padding::Valid), 2),
        (Shape::map(9, 9, 20), 50, axis(1, 2, Padding::Valid), 3),
        // Positions as columns, in several bands: outputs, inputs' gradients, outputs through strides.
        (Shape::map(96, 90, 32), 2, axis(3, 1, Padding::Same), 1),
        (Shape::map(75, 70, 2), 40, axis(3, 1, Padding::Same), 1),
        (Shape::map(90, 90, 16), 3, axis(3, 2, Padding::Same), 1),
    ] {
        let spec =
            Spec { filters, vertical: axis, horizontal: axis, groups: 1, activation: Activation::Relu, use_bias: true };
        check(random, spec, input, images);
    }
}

/// Few filters or few channels: outputs, or inputs' gradients, as scalar products at every level with vectors.
#[test]
fn few_filters_or_channels() {
    let random = &mut random(4);
    for case in 0..80 {
        let padding = if random.random() { Padding::Same } else { Padding::Valid };
        let mut axis = || Axis {
            window: random.random_range(1..=5),
            stride: if case % 3 == 0 { 2 } else { 1 },
            dilation: random.random_range(1..=2),
            padding,
        };
        let (vertical, horizontal) = (axis(), axis());
        let [height, width] = [vertical, horizontal].map(|axis| axis.reach() + random.random_range(0..=20));
        let (few, many) = (1 + case % 4, random.random_range(8..=70));
        let (channels, filters) = if case % 2 == 0 { (many, few) } else { (few, many) };
        let activation = ACTIVATIONS[case % ACTIVATIONS.len()];
        let spec = Spec { filters, vertical, horizontal, groups: 1, activation, use_bias: random.random() };
        check(random, spec, Shape::map(height, width, channels), 1 + case % 3);
    }
    for (window, stride, channels, filters) in
        [(3, 1, 32, 1), (3, 1, 32, 4), (1, 1, 64, 1), (3, 2, 40, 2), (3, 1, 2, 32), (1, 1, 3, 32)]
    {
        let axis = Axis { window, stride, dilation: 1, padding: Padding::Same };
        let (vertical, horizontal, activation) = (axis, axis, Activation::Relu);
        let spec = Spec { filters, vertical, horizontal, groups: 1, activation, use_bias: true };
        let input = Shape::map(14, 14, channels);
        let output = behind([vertical, horizontal], input, filters);
        for level in Level::available() {
            let reordered = Conv2D::in_any_order(spec, input, output, activation, level);
            assert_eq!(reordered.is_some(), level > Level::Portable, "{level:?}: {spec:?} on {input}");
        }
        check(random, spec, input, 3);
    }
}

/// The last layer of a network computes its logits.
#[test]
fn another_activation_than_its_own() {
    let random = &mut random(3);
    let axis = Axis { window: 3, stride: 1, dilation: 1, padding: Padding::Valid };
    let activation = Activation::Softmax;
    let spec = Spec { filters: 4, vertical: axis, horizontal: axis, groups: 1, activation, use_bias: true };
    let linear = Spec { activation: Activation::Linear, ..spec };
    let (input, output) = (Shape::map(4, 5, 2), Shape::map(2, 3, 4));
    let (weights, x, d) = (values(random, 9 * 8 + 4), values(random, input.len()), values(random, output.len()));
    let y = reference::forward(&linear, input, output, &wide(&weights), &wide(&x));
    let kernel = Conv2D::new(spec, input, output, Activation::Linear, Level::detect());
    let case = Case { name: "logits".into(), kernel: &kernel, images: 1, weights: &weights, input: &x, d_output: &d };
    case.check(&y, |y| {
        let sources = [&wide(&x)[..], y, &wide(&d)];
        let gradients = reference::backward(&linear, [input, output], &wide(&weights), sources);
        [gradients.d_input, gradients.d_weights]
    });
}
