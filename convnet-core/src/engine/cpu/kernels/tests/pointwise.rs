//! Layers that look at each value by itself (and softmax): activations, rectifiers and rescaling as layers.

use super::{Case, assert_near_scaled, random, values, wide};
use crate::engine::cpu::kernel::Kernel;
use crate::engine::cpu::kernels::activation;
use crate::engine::cpu::kernels::rectifiers::Rectifier;
use crate::engine::cpu::kernels::rescaling::Rescaling;
use crate::engine::cpu::simd::Level;
use crate::layers::{Activation, leaky_relu, relu, rescaling};
use rand::RngExt;
use rand::rngs::StdRng;

/// Inputs for some images of some values each, up to ±8, half of them multiples of ½, where the kinks are; and gradients.
fn samples(random: &mut StdRng) -> (usize, Vec<f32>, Vec<f32>) {
    let (images, len) = (random.random_range(1..=4), random.random_range(1..=90));
    let place = |x: f32| if random.random() { 8.0 * x } else { (16.0 * x).round() / 2.0 };
    let x = values(&mut super::random(len as u64), images * len).into_iter().map(place).collect();
    (images, x, values(random, images * len))
}

#[test]
fn activations_as_layers() {
    let random = &mut random(1);
    for _ in 0..20 {
        let (rows, images, width) =
            (random.random_range(1..=5), random.random_range(1..=3), random.random_range(1..=40));
        let [x, d] = [8.0, 1.0].map(|most| values(random, images * rows * width).iter().map(|x| x * most).collect());
        let [x, d]: [Vec<f32>; 2] = [x, d];
        use Activation::*;
        for (level, function) in
            Level::available().into_iter().flat_map(|level| [Linear, Relu, Sigmoid, Tanh, Softmax].map(|f| (level, f)))
        {
            use crate::layers::activation::reference;
            let kernel = activation::Activation::new(function, width, level);
            let name = format!("{level:?}: {function:?} of {images} × {rows} × {width}");
            let case = Case { name, kernel: &kernel, images, weights: &[], input: &x, d_output: &d };
            let found = case.run(0..images, None);
            let (y, d) = (wide(&found.output), wide(&d));
            super::assert_near(&case.name, &found.output, &reference::forward(function, &wide(&x), width));
            // Where an output is saturated, its gradient is a small difference of numbers of the size of `d`.
            assert_near_scaled(&case.name, &found.d_input, &reference::backward(function, &y, &d, width), &d);
            case.check_images_apart(&found);
            case.check_without_training(&found);
        }
    }
}

#[test]
fn random_rectifiers() {
    let random = &mut random(2);
    let check = |kernel: &dyn Kernel, name: String, images, x: &[f32], d: &[f32], y: &[f64], d_input: &[f64]| {
        let case = Case { name, kernel, images, weights: &[], input: x, d_output: d };
        case.check(y, |_| [d_input.to_vec(), vec![]]);
    };
    for i in 0..100 {
        let (images, x, d) = samples(random);
        let (x64, d64) = (wide(&x), wide(&d));
        let max_value = [f64::INFINITY, 6.0, 2.0, 0.0][i % 4];
        let negative_slope = [0.0, 0.25, 1.5][i % 3];
        let threshold = [0.0, 1.0, 3.0][random.random_range(0..3)];
        let spec = relu::Spec { max_value, negative_slope, threshold };
        let leaky = leaky_relu::Spec { negative_slope };
        for level in Level::available() {
            let (y, d_input) = (relu::reference::forward(&spec, &x64), relu::reference::backward(&spec, &x64, &d64));
            check(&Rectifier::relu(spec, level), format!("{level:?}: {spec:?}"), images, &x, &d, &y, &d_input);
            use leaky_relu::reference;
            let (y, d_input) = (reference::forward(&leaky, &x64), reference::backward(&leaky, &x64, &d64));
            let name = format!("{level:?}: leaky {leaky:?}");
            check(&Rectifier::leaky_relu(leaky, level), name, images, &x, &d, &y, &d_input);
        }
    }
}

#[test]
fn random_rescalings() {
    use rescaling::{Spec, reference};
    let random = &mut random(3);
    for _ in 0..40 {
        let (images, x, d) = samples(random);
        let spec = Spec { scale: random.random_range(-2.0..2.0), offset: random.random_range(-3.0..3.0) };
        let y = reference::forward(&spec, &wide(&x));
        for level in Level::available() {
            let kernel = Rescaling::new(spec, level);
            let name = format!("{level:?}: {spec:?}");
            let case = Case { name, kernel: &kernel, images, weights: &[], input: &x, d_output: &d };
            case.check(&y, |_| [reference::backward(&spec, &wide(&d)), vec![]]);
        }
    }
}

/// NaN stays NaN, −∞ is flattened, and a gradient that does not get through does not show.
#[test]
fn numbers_that_are_none() {
    let x: Vec<f32> = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -1.0].repeat(9);
    let d: Vec<f32> = [1.0, f32::NAN, 1.0, f32::INFINITY].repeat(9);
    let plain = relu::Spec { max_value: f64::INFINITY, negative_slope: 0.0, threshold: 0.0 };
    let leaky = leaky_relu::Spec { negative_slope: 0.5 };
    for level in Level::available() {
        let run = |kernel: &dyn Kernel| {
            let case = Case { name: String::new(), kernel, images: 1, weights: &[], input: &x, d_output: &d };
            let found = case.run(0..1, None);
            (found.output, found.d_input)
        };
        let (y, d_input) = run(&Rectifier::relu(plain, level));
        for (y, d) in y.chunks(4).zip(d_input.chunks(4)) {
            assert!(y[0].is_nan() && y[1..] == [0.0, f32::INFINITY, 0.0], "{level:?}: {y:?}");
            assert_eq!(d, [0.0, 0.0, 1.0, 0.0], "{level:?}");
        }
        let (y, d_input) = run(&Rectifier::leaky_relu(leaky, level));
        for (y, d) in y.chunks(4).zip(d_input.chunks(4)) {
            assert!(y[0].is_nan() && y[1..] == [f32::NEG_INFINITY, f32::INFINITY, -0.5], "{level:?}: {y:?}");
            assert!(d[0] == 0.5 && d[1].is_nan() && d[2..] == [1.0, f32::INFINITY], "{level:?}: {d:?}");
        }
        let (y, _) = run(&Rescaling::new(rescaling::Spec { scale: 2.0, offset: 1.0 }, level));
        assert!(y.iter().zip(&x).all(|(y, x)| y.is_nan() == x.is_nan()), "{level:?}");
    }
}
