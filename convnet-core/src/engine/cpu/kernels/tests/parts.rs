//! An image's forward pass in parts, as threads share it out.

use super::{assert_same_bits, random, values};
use crate::engine::cpu::disjoint::Disjoint;
use crate::engine::cpu::kernel::{ForwardPart, Kernel, Part};
use crate::engine::cpu::kernels::{Arithmetic, choose};
use crate::layers::*;
use crate::shape::{Axis, Padding, Shape};

/// Asserts that the parts of one image, from the last to the first, make the outputs of the whole.
pub fn check(name: &str, kernel: &dyn Kernel, [weights, derived, input]: [&[f32]; 3], expected: &[f32]) {
    for most in [2, 3, 7, 64] {
        let of = kernel.parts(expected.len(), most);
        assert!((1..=most).contains(&of), "{name}: {of} parts of at most {most}");
        let mut output = vec![f32::NAN; expected.len()];
        let all = Disjoint::new(&mut output);
        for number in (0..of).rev() {
            let mut scratch = vec![f32::NAN; kernel.scratch(1)];
            let part = Part { number, of };
            // SAFETY: one after the other.
            unsafe {
                ForwardPart { part, weights, derived, input, output: all, scratch: &mut scratch }.compute(kernel);
            }
        }
        assert_same_bits(&format!("{name} in {of} parts"), &output, expected);
    }
}

#[test]
fn shares_are_all_and_meet_at_multiples() {
    for (len, step, of) in [(10, 1, 3), (100, 12, 4), (7, 16, 1), (33, 32, 2), (64, 64, 1)] {
        let mut end = 0;
        for number in 0..of {
            let share = Part { number, of }.share(len, step);
            assert_eq!(share.start, end);
            assert!(share.start.is_multiple_of(step) && !share.is_empty(), "{share:?} of {len}");
            end = share.end;
        }
        assert_eq!(end, len);
    }
}

/// What large networks consist of has parts: as many as expected of up to 4, by the rows, positions, units or filters.
#[test]
fn large_layers_have_parts() {
    let axis = |window, stride| Axis { window, stride, dilation: 1, padding: Padding::Same };
    let conv = |window, stride, filters, activation| {
        let (vertical, horizontal) = (axis(window, stride), axis(window, stride));
        Op::Conv2D(conv2d::Spec { filters, vertical, horizontal, groups: 1, activation, use_bias: true })
    };
    let (vertical, horizontal) = (axis(3, 1), axis(3, 1));
    let depthwise = |depth_multiplier| {
        let activation = Activation::Tanh;
        Op::DepthwiseConv2D(depthwise_conv2d::Spec {
            depth_multiplier,
            vertical,
            horizontal,
            activation,
            use_bias: true,
        })
    };
    let dense = |units, activation| Op::Dense(dense::Spec { units, activation, use_bias: true });
    let pool = max_pooling2d::Spec { vertical, horizontal };
    let normalization = batch_normalization::Spec { momentum: 0.9, epsilon: 1e-3, center: true, scale: true };
    let (map, of) = (Shape::map(9, 7, 20), |channels| Shape::map(9, 7, channels));
    use Activation::{Linear, Relu, Softmax, Tanh};
    for (op, input, output, weights, expected) in [
        (conv(1, 1, 40, Tanh), map, of(40), 21 * 40, 4),
        (conv(3, 2, 40, Softmax), map, Shape::map(5, 4, 40), 181 * 40, 4),
        (conv(5, 1, 40, Relu), map, of(40), 501 * 40, 4),
        // Three rows of tiles, for the activation passes over whole positions; then two filters of 32 each.
        (conv(3, 1, 200, Tanh), of(24), of(200), (9 * 24 + 1) * 200, 3),
        (conv(3, 1, 200, Linear), of(24), of(200), (9 * 24 + 1) * 200, 4),
        (conv(3, 1, 50, Relu), Shape::map(4, 4, 64), Shape::map(4, 4, 50), (9 * 64 + 1) * 50, 2),
        (depthwise(1), map, map, 200, 4),
        (depthwise(1), of(32), of(32), 320, 4),
        (depthwise(2), map, of(40), 400, 1),
        (dense(256, Tanh), Shape::vector(30), Shape::vector(256), 31 * 256, 4),
        (dense(64, Relu), Shape::vector(30), Shape::vector(64), 31 * 64, 1),
        (dense(256, Softmax), Shape::vector(30), Shape::vector(256), 31 * 256, 1),
        (Op::MaxPooling2D(pool), map, map, 0, 4),
        (Op::AveragePooling2D(pool), map, map, 0, 4),
        (Op::BatchNormalization(normalization), map, map, 80, 4),
        (Op::ReLU(relu::Spec { max_value: 6.0, negative_slope: 0.0, threshold: 0.0 }), map, map, 0, 4),
        (Op::Activation(Tanh), map, map, 0, 4),
        (Op::Softmax, map, map, 0, 4),
    ] {
        let (kernel, _) = choose(&[(op, input, output)], false, Arithmetic::default()).expect("a kernel");
        assert_eq!(kernel.parts(output.len(), 4), expected, "{op:?}");
        let random = &mut random(3);
        // Variances are positive.
        let weights: Vec<f32> = values(random, weights).into_iter().map(f32::abs).collect();
        let input = values(random, input.len());
        let mut derived = vec![f32::NAN; kernel.derived()];
        kernel.prepare(&weights, &mut derived);
        let mut whole = vec![f32::NAN; output.len()];
        kernel.forward(crate::engine::cpu::kernel::Forward {
            images: 1,
            training: false,
            noise: None,
            weights: &weights,
            derived: &derived,
            input: &input,
            output: &mut whole,
            kept: &mut [],
            scratch: &mut vec![f32::NAN; kernel.scratch(1)],
        });
        check(&format!("{op:?}"), &*kernel, [&weights, &derived, &input], &whole);
    }
}
