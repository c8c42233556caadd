//! Max pooling.

use super::{Case, random, values, wide};
use crate::engine::cpu::kernels::max_pooling2d::MaxPooling2D;
use crate::engine::cpu::simd::Level;
use crate::layers::max_pooling2d::{Spec, reference};
use crate::shape::{Axis, Padding, Shape};
use rand::RngExt;
use rand::rngs::StdRng;

fn check(random: &mut StdRng, spec: Spec, input: Shape, images: usize, ties: bool) {
    let (Some(height), Some(width)) = (spec.vertical.output(input.height()), spec.horizontal.output(input.width()))
    else {
        panic!("{spec:?} does not fit {input}");
    };
    let output = Shape::map(height, width, input.channels());
    let mut x = values(random, images * input.len());
    if ties {
        x.iter_mut().for_each(|x| *x = (*x * 2.0).round());
    }
    let d = values(random, images * output.len());
    let [x64, d64] = [wide(&x), wide(&d)];
    let y = reference::forward(&spec, input, output, &x64);
    for level in Level::available() {
        let kernel = MaxPooling2D::new(spec, input, output, level);
        let name = format!("{level:?}: {spec:?} on {images} × {input}");
        let case = Case { name, kernel: &kernel, images, weights: &[], input: &x, d_output: &d };
        case.check(&y, |_| [reference::backward(&spec, input, output, &x64, &d64), vec![]]);
    }
}

#[test]
fn random_poolings() {
    let random = &mut random(1);
    for case in 0..100 {
        let padding = if random.random() { Padding::Same } else { Padding::Valid };
        let axis = |random: &mut StdRng| Axis {
            window: random.random_range(1..=5),
            stride: random.random_range(1..=3),
            dilation: random.random_range(1..=2),
            padding,
        };
        let spec = Spec { vertical: axis(random), horizontal: axis(random) };
        let size = |random: &mut StdRng, axis: &Axis| match padding {
            Padding::Valid => axis.reach() + random.random_range(0..=8),
            Padding::Same => random.random_range(1..=13),
        };
        let [height, width] = [size(random, &spec.vertical), size(random, &spec.horizontal)];
        let input = Shape::map(height, width, random.random_range(1..=40));
        let images = random.random_range(1..=5);
        check(random, spec, input, images, case % 2 == 0);
    }
}

/// A window of more taps than one byte can number, and one of more than two bytes can.
#[test]
fn large_windows() {
    let random = &mut random(2);
    for (size, window) in [(19, 17), (20, 16), (260, 260)] {
        let axis = Axis { window, stride: 2, dilation: 1, padding: Padding::Valid };
        let spec = Spec { vertical: axis, horizontal: axis };
        check(random, spec, Shape::map(size, size, 3), 2, false);
    }
}

#[test]
fn a_nan_reaches_the_output_wherever_it_stands() {
    use crate::engine::cpu::kernel::{Forward, Kernel};
    let axis = Axis { window: 2, stride: 2, dilation: 1, padding: Padding::Valid };
    let spec = Spec { vertical: axis, horizontal: axis };
    for level in Level::available() {
        let kernel = MaxPooling2D::new(spec, Shape::map(2, 2, 1), Shape::map(1, 1, 1), level);
        for place in 0..4 {
            for other in [-1.0, 1.0, f32::INFINITY, f32::NEG_INFINITY] {
                let mut input = [other; 4];
                input[place] = f32::NAN;
                let mut output = [0.0];
                kernel.forward(Forward {
                    images: 1,
                    training: false,
                    noise: None,
                    weights: &[],
                    derived: &[],
                    input: &input,
                    output: &mut output,
                    kept: &mut [],
                    scratch: &mut [],
                });
                assert!(output[0].is_nan(), "{level:?}: NaN at {place} among {other}");
            }
        }
    }
}
