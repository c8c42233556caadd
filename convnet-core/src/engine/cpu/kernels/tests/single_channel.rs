//! Convolutions of a single channel with few filters.

use super::depthwise_conv2d::{ACTIVATIONS, axes, behind};
use super::{Case, random, values, weights, wide};
use crate::engine::cpu::kernels::single_channel::SingleChannel;
use crate::engine::cpu::kernels::{Arithmetic, choose};
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
    let mut checked = 0;
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
        checked += check(random, spec, Shape::map(height, width, 1), images);
    }
    // Half of the cases at one level are the least that a machine with vectors checks.
    assert!(Level::available().len() == 1 || checked > 75, "{checked}");
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
        (21, 5, 4, Padding::Valid),
    ] {
        let axis = Axis { window, stride: 1, dilation: 1, padding };
        let (vertical, horizontal, activation) = (axis, axis, Activation::Relu);
        let spec = Spec { filters, vertical, horizontal, groups: 1, activation, use_bias: true };
        let levels = Level::available().len();
        assert!(levels == 1 || check(random, spec, Shape::map(size, size, 1), 3) > 0, "{spec:?}");
    }
}

/// `exact` keeps the order of all sums, which the lanes of this kernel's gradient do not.
#[test]
fn exact_models_have_the_general_kernel() {
    let axis = Axis { window: 5, stride: 1, dilation: 1, padding: Padding::Valid };
    let (vertical, horizontal, activation) = (axis, axis, Activation::Relu);
    let spec = Spec { filters: 6, vertical, horizontal, groups: 1, activation, use_bias: true };
    let (input, output) = (Shape::map(32, 32, 1), Shape::map(28, 28, 6));
    let level = *Level::available().last().unwrap();
    let derived = |exact: bool| {
        let arithmetic = Arithmetic { exact, level, ..Arithmetic::default() };
        choose(&[(Op::Conv2D(spec), input, output)], true, arithmetic).map(|(kernel, _)| kernel.derived())
    };
    // The general kernel of few filters derives nothing, this one its pattern.
    assert_eq!(derived(true), Some(0));
    assert!(level == Level::Portable || derived(false) > Some(0));
}
