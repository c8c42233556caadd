//! Convolutions in groups.

use super::depthwise_conv2d::{ACTIVATIONS, axes, behind};
use super::{Case, random, values, weights, wide};
use crate::engine::cpu::kernel::Kernel;
use crate::engine::cpu::kernels::grouped_conv2d::GroupedConv2D;
use crate::engine::cpu::kernels::{Arithmetic, choose, select};
use crate::engine::cpu::simd::Level;
use crate::layers::conv2d::{Spec, reference};
use crate::layers::{Activation, Op};
use crate::shape::{Axis, Padding, Shape};
use rand::RngExt;
use rand::rngs::StdRng;

/// Checks the kernel of the family, the one that is selected, and the one that models take.
fn check(random: &mut StdRng, spec: Spec, input: Shape, images: usize) {
    let output = behind([spec.vertical, spec.horizontal], input, spec.filters);
    let window = spec.vertical.window * spec.horizontal.window * input.channels() / spec.groups;
    let weights = weights(random, window, window * spec.filters + if spec.use_bias { spec.filters } else { 0 });
    let (x, d) = (values(random, images * input.len()), values(random, images * output.len()));
    let [w, x64, d64] = [wide(&weights), wide(&x), wide(&d)];
    let y = reference::forward(&spec, input, output, &w, &x64);
    for level in Level::available() {
        let own = GroupedConv2D::new(spec, input, output, spec.activation, level);
        let selected = select(&Op::Conv2D(spec), input, output, spec.activation, level).expect("a kernel");
        let arithmetic = Arithmetic { level, ..Arithmetic::default() };
        let (chosen, _) = choose(&[(Op::Conv2D(spec), input, output)], false, arithmetic).expect("a kernel");
        for (what, kernel) in [("own", &own as &dyn Kernel), ("selected", &*selected), ("chosen", &*chosen)] {
            let name = format!("{level:?}, {what}: {spec:?} on {images} × {input}");
            let case = Case { name, kernel, images, weights: &weights, input: &x, d_output: &d };
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
        let ([mut vertical, mut horizontal], [height, width]) = axes(random);
        if case % 3 == 0 {
            // Often enough without strides, whose input gradient is computed in another way.
            (vertical.stride, horizontal.stride) = (1, 1);
        }
        let groups = random.random_range(1..=6);
        let channels = if case % 4 == 0 { groups } else { groups * random.random_range(1..=7) };
        let filters = groups * random.random_range(1..=20);
        let activation = ACTIVATIONS[case % ACTIVATIONS.len()];
        let spec = Spec { filters, vertical, horizontal, groups, activation, use_bias: random.random() };
        let images = random.random_range(1..=5);
        check(random, spec, Shape::map(height, width, channels), images);
    }
}

/// Groups of several panels of filters, of whole vectors, and of a few values; several runs of images.
#[test]
fn large_convolutions() {
    let random = &mut random(2);
    for (input, filters, groups, stride, images) in [
        (Shape::map(6, 5, 96), 144, 2, 1, 2),
        (Shape::map(5, 5, 64), 64, 4, 1, 25),
        (Shape::map(9, 9, 64), 64, 16, 2, 3),
        // More than the caches near by hold.
        (Shape::map(47, 45, 64), 64, 16, 1, 1),
        // More channels than go down a map together.
        (Shape::map(4, 9, 264), 264, 33, 1, 2),
        (Shape::map(5, 4, 264), 264, 66, 2, 1),
    ] {
        let axis = Axis { window: 3, stride, dilation: 1, padding: Padding::Same };
        let (vertical, horizontal, activation) = (axis, axis, Activation::Relu);
        check(random, Spec { filters, vertical, horizontal, groups, activation, use_bias: true }, input, images);
    }
}

/// Groups that are shuffles of a vector: every width at which tiles begin, end, overlap or do not fit, and windows that
/// do not slide. Channels end within a vector or with it.
#[test]
fn groups_of_few_channels() {
    let random = &mut random(4);
    for case in 0..90 {
        let group = [2, 4, 8][case % 3];
        let groups = random.random_range(1..=40 / group).max(2);
        let ([mut vertical, mut horizontal], [mut height, mut width]) = axes(random);
        if case % 2 == 0 {
            let stride = 1 + case / 2 % 2;
            vertical = Axis { window: 3, stride, dilation: 1, ..vertical };
            horizontal = vertical;
            [height, width] = [random.random_range(5..=8), 5 + case / 4];
        }
        let (channels, activation) = (group * groups, ACTIVATIONS[case % ACTIVATIONS.len()]);
        let spec = Spec { filters: channels, vertical, horizontal, groups, activation, use_bias: random.random() };
        let images = random.random_range(1..=3);
        check(random, spec, Shape::map(height, width, channels), images);
    }
}

/// The fused kernels know nothing of groups.
#[test]
fn a_plan_gets_the_kernel_of_its_groups() {
    let axis = Axis { window: 3, stride: 1, dilation: 1, padding: Padding::Valid };
    let (vertical, horizontal, activation) = (axis, axis, Activation::Relu);
    let spec = Spec { filters: 32, vertical, horizontal, groups: 2, activation, use_bias: true };
    let (input, output) = (Shape::map(8, 8, 32), Shape::map(6, 6, 32));
    let random = &mut random(3);
    let weights = weights(random, 9 * 16, 9 * 16 * 32 + 32);
    let (x, d) = (values(random, input.len()), values(random, output.len()));
    let (kernel, covered) =
        choose(&[(Op::Conv2D(spec), input, output)], false, Arithmetic::default()).expect("a kernel");
    assert_eq!(covered, 1);
    let case = Case { name: "chosen".into(), kernel: &*kernel, images: 1, weights: &weights, input: &x, d_output: &d };
    let w = wide(&weights);
    case.check(&reference::forward(&spec, input, output, &w, &wide(&x)), |y| {
        let gradients = reference::backward(&spec, [input, output], &w, [&wide(&x), y, &wide(&d)]);
        [gradients.d_input, gradients.d_weights]
    });
}
