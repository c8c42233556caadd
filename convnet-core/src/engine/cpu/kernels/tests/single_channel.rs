//! Convolutions of a single channel with few filters.

use super::depthwise_conv2d::{ACTIVATIONS, axes, behind};
use super::{Case, random, values, weights, wide};
use crate::engine::cpu::kernels::single_channel::SingleChannel;
use crate::engine::cpu::kernels::{Arithmetic, choose, select};
use crate::engine::cpu::simd::Level;
use crate::layers::conv2d::{Spec, reference};
use crate::layers::{Activation, Op};
use crate::shape::{Axis, Padding, Shape};
use rand::RngExt;
use rand::rngs::StdRng;

/// Checks the kernel at the levels that have it, and says how many those are.
fn check(random: &mut StdRng, spec: Spec, input: Shape, images: usize) -> usize {
    let output = behind([spec.vertical, spec.horizontal], input, spec.filters);
    let taps = spec.vertical.window * spec.horizontal.window;
    let weights = weights(random, taps, taps * spec.filters + if spec.use_bias { spec.filters } else { 0 });
    let (x, d) = (values(random, images * input.len()), values(random, images * output.len()));
    let [w, x64, d64] = [wide(&weights), wide(&x), wide(&d)];
    let y = reference::forward(&spec, input, output, &w, &x64);
    let kernels = Level::available().into_iter().filter_map(|level| {
        let kernel = SingleChannel::new(&spec, input, output, spec.activation, level)?;
        let name = format!("{level:?}: {spec:?} on {images} × {input}");
        let case = Case { name, kernel: &kernel, images, weights: &weights, input: &x, d_output: &d };
        case.check(&y, |y| {
            let gradients = reference::backward(&spec, [input, output], &w, [&x64, y, &d64]);
            [gradients.d_input, gradients.d_weights]
        });
        Some(())
    });
    kernels.count()
}

#[test]
fn random_convolutions() {
    let random = &mut random(1);
    for case in 0..150 {
        let ([vertical, mut horizontal], [height, width]) = axes(random);
        if case % 2 == 0 {
            // Often enough without strides, which only some numbers of filters allow.
            horizontal.stride = 1;
        }
        let activation = ACTIVATIONS[case % ACTIVATIONS.len()];
        let filters = 1 + case % 17;
        let spec = Spec { filters, vertical, horizontal, groups: 1, activation, use_bias: random.random() };
        let images = random.random_range(1..=4);
        let input = Shape::map(height, width, 1);
        let checked = check(random, spec, input, images);
        let row = behind([vertical, horizontal], input, filters).width() * filters;
        if horizontal.stride == 1 && (1..=7).contains(&filters) && row >= 16 {
            assert_eq!(checked, Level::available().len() - 1, "all levels with vectors: {spec:?} on {input}");
        }
    }
}

/// First layers as they are: rows of several tiles, a last vector with and without a gap, windows of more taps than one
/// look at the map serves.
#[test]
fn usual_first_layers() {
    let random = &mut random(2);
    for (size, filters, window, padding) in [
        (32, 6, 5, Padding::Valid),
        (28, 6, 5, Padding::Same),
        (28, 8, 3, Padding::Same),
        (27, 10, 3, Padding::Valid),
        (40, 12, 11, Padding::Same),
        (33, 1, 3, Padding::Same),
        (21, 3, 4, Padding::Valid),
        (30, 5, 3, Padding::Valid),
        (28, 15, 3, Padding::Same),
        (26, 11, 7, Padding::Valid),
    ] {
        let axis = Axis { window, stride: 1, dilation: 1, padding };
        let (vertical, horizontal, activation) = (axis, axis, Activation::Relu);
        let spec = Spec { filters, vertical, horizontal, groups: 1, activation, use_bias: true };
        let checked = check(random, spec, Shape::map(size, size, 1), 3);
        // Eight lanes have a vector of filters for the others.
        let all = filters < 8;
        let levels = Level::available();
        let least = if all || levels.contains(&Level::Avx512) { 1 } else { 0 };
        assert!(checked >= least.min(levels.len() - 1), "{spec:?}");
    }
}

/// `exact` keeps the order of all sums, which the lanes of this kernel's gradient do not.
#[test]
fn exact_models_have_the_general_kernel() {
    let axis = Axis { window: 5, stride: 1, dilation: 1, padding: Padding::Valid };
    let (vertical, horizontal, activation) = (axis, axis, Activation::Relu);
    // One channel; one filter; another kernel for the input's gradient.
    for (channels, filters) in [(1, 6), (32, 1), (2, 32)] {
        let spec = Spec { filters, vertical, horizontal, groups: 1, activation, use_bias: true };
        let (input, output) = (Shape::map(32, 32, channels), Shape::map(28, 28, filters));
        let level = *Level::available().last().unwrap();
        let op = Op::Conv2D(spec);
        let derived = |exact: bool| {
            let arithmetic = Arithmetic { exact, level, ..Arithmetic::default() };
            choose(&[(op, input, output)], false, arithmetic).map(|(kernel, _)| kernel.derived())
        };
        let general = select(&op, input, output, activation, level).map(|kernel| kernel.derived());
        assert_eq!(derived(true), general);
        assert_eq!(derived(false) == general, level == Level::Portable, "{channels} to {filters}");
    }
}
