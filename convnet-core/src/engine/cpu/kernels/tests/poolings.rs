//! Average pooling, and both poolings over the whole map.

use super::{Case, random, values, wide};
use crate::engine::cpu::kernel::{Forward, Kernel};
use crate::engine::cpu::kernels::average_pooling2d::AveragePooling2D;
use crate::engine::cpu::kernels::global_pooling2d::{GlobalMaxPooling2D, global_average_pooling2d};
use crate::engine::cpu::simd::Level;
use crate::layers::average_pooling2d::{Spec, reference};
use crate::layers::{global_average_pooling2d, global_max_pooling2d};
use crate::shape::{Axis, Padding, Shape};
use rand::RngExt;
use rand::rngs::StdRng;

fn check_average(random: &mut StdRng, spec: Spec, input: Shape, images: usize) {
    let (Some(height), Some(width)) = (spec.vertical.output(input.height()), spec.horizontal.output(input.width()))
    else {
        panic!("{spec:?} does not fit {input}");
    };
    let output = Shape::map(height, width, input.channels());
    let (x, d) = (values(random, images * input.len()), values(random, images * output.len()));
    let y = reference::forward(&spec, input, output, &wide(&x));
    for level in Level::available() {
        let kernel = AveragePooling2D::new(spec, input, output, level);
        let name = format!("{level:?}: {spec:?} on {images} × {input}");
        let case = Case { name, kernel: &kernel, images, weights: &[], input: &x, d_output: &d };
        case.check(&y, |_| [reference::backward(&spec, input, output, &wide(&d)), vec![]]);
    }
}

#[test]
fn random_averages() {
    let random = &mut random(1);
    for _ in 0..100 {
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
        let input = Shape::map(height, width, random.random_range(1..=100));
        let images = random.random_range(1..=3);
        check_average(random, spec, input, images);
    }
}

/// Shapes of maps for poolings of the whole: small ones with any number of channels, and larger ones.
fn whole_maps(random: &mut StdRng) -> Vec<Shape> {
    let mut size = |most| random.random_range(1..=most);
    let small = (0..40).map(|_| Shape::map(size(9), size(9), size(140))).collect::<Vec<Shape>>();
    [small, vec![Shape::map(20, 21, 5), Shape::map(260, 260, 2)]].concat()
}

#[test]
fn averages_of_whole_maps() {
    use global_average_pooling2d::reference;
    let random = &mut random(2);
    for input in whole_maps(random) {
        let (images, channels) = (random.random_range(1..=3), input.channels());
        let (mut x, d) = (values(random, images * input.len()), values(random, images * channels));
        // Positive, as behind a relu: a sum of many such is where rounding shows.
        x.iter_mut().for_each(|x| *x = x.abs());
        let y = reference::forward(input, &wide(&x));
        for level in Level::available() {
            let kernel = global_average_pooling2d(input, level);
            let name = format!("{level:?}: the average of {images} × {input}");
            let case = Case { name, kernel: &kernel, images, weights: &[], input: &x, d_output: &d };
            case.check(&y, |_| [reference::backward(input, &wide(&d)), vec![]]);
        }
    }
}

#[test]
fn maxima_of_whole_maps() {
    use global_max_pooling2d::reference;
    let random = &mut random(3);
    for (i, input) in whole_maps(random).into_iter().enumerate() {
        let (images, channels) = (random.random_range(1..=3), input.channels());
        let (mut x, d) = (values(random, images * input.len()), values(random, images * channels));
        if i % 2 == 0 {
            x.iter_mut().for_each(|x| *x = (*x * 2.0).round());
        }
        let y = reference::forward(input, &wide(&x));
        for level in Level::available() {
            let kernel = GlobalMaxPooling2D::new(input, level);
            let name = format!("{level:?}: the maximum of {images} × {input}");
            let case = Case { name, kernel: &kernel, images, weights: &[], input: &x, d_output: &d };
            case.check(&y, |_| [reference::backward(input, &wide(&x), &wide(&d)), vec![]]);
        }
    }
}

#[test]
fn a_nan_reaches_the_output_wherever_it_stands() {
    let input = Shape::map(2, 3, 1);
    for level in Level::available() {
        let kernels: [&dyn Kernel; 2] =
            [&global_average_pooling2d(input, level), &GlobalMaxPooling2D::new(input, level)];
        for (kernel, place) in kernels.into_iter().flat_map(|kernel| (0..6).map(move |place| (kernel, place))) {
            for other in [-1.0, 1.0, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = [other; 6];
                x[place] = f32::NAN;
                let mut output = [0.0];
                kernel.forward(Forward {
                    images: 1,
                    training: false,
                    noise: None,
                    weights: &[],
                    derived: &[],
                    input: &x,
                    output: &mut output,
                    kept: &mut [],
                    scratch: &mut [],
                });
                assert!(output[0].is_nan(), "{level:?}: NaN at {place} among {other}");
            }
        }
    }
}
