//! Fully connected layers.

use super::{Case, assert_near, random, values, weights, wide};
use crate::engine::Precision;
use crate::engine::cpu::kernels::dense::Dense;
use crate::engine::cpu::kernels::wide_dense::WideDense;
use crate::engine::cpu::kernels::{Arithmetic, dense};
use crate::engine::cpu::simd::Level;
use crate::layers::Activation;
use crate::layers::dense::{Spec, reference};
use rand::RngExt;

#[test]
fn random_layers() {
    use Activation::*;
    let random = &mut random(1);
    for case in 0..80 {
        let units = if case % 4 == 0 { 16 * random.random_range(1..=12) } else { random.random_range(1..=150) };
        // Wide layers compute their input's gradient in another way.
        let units = if case % 5 == 3 { units + 256 } else { units };
        let features = random.random_range(1..=500);
        let images = [1, 2, 3, 5, 8, 13, 33, 64][case % 8];
        let activation = [Linear, Relu, Sigmoid, Tanh, Softmax][case % 5];
        let spec = Spec { units, activation, use_bias: random.random() };
        let weights = weights(random, features, (features + usize::from(spec.use_bias)) * units);
        let (x, d) = (values(random, images * features), values(random, images * units));
        let [w, x64, d64] = [wide(&weights), wide(&x), wide(&d)];
        let y = reference::forward(&spec, features, &w, &x64);
        for level in Level::available() {
            let kernel = Dense::new(spec, features, activation, level);
            let name = format!("{level:?}: {spec:?} on {images} × {features}");
            let case = Case { name, kernel: &kernel, images, weights: &weights, input: &x, d_output: &d };
            case.check(&y, |y| {
                let gradients = reference::backward(&spec, features, &w, [&x64, y, &d64]);
                [gradients.d_input, gradients.d_weights]
            });
        }
    }
}

#[test]
fn bfloat16_goes_through_the_tile_unit() {
    use Activation::*;
    let random = &mut random(3);
    // What is bfloat16 already has the products that floats have.
    let rounded = |values: Vec<f32>| -> Vec<f32> {
        values.into_iter().map(|value| f32::from_bits(value.to_bits() >> 16 << 16)).collect()
    };
    for case in 0..40 {
        let units = random.random_range(8..=150);
        let features = if case % 4 == 0 { 32 * random.random_range(1..=12) } else { random.random_range(32..=400) };
        let images = [1, 2, 5, 16, 17, 33, 64, 70][case % 8];
        let activation = [Linear, Relu, Sigmoid, Tanh, Softmax][case % 5];
        let spec = Spec { units, activation, use_bias: random.random() };
        let weights = rounded(weights(random, features, (features + usize::from(spec.use_bias)) * units));
        let (x, d) = (rounded(values(random, images * features)), values(random, images * units));
        let [w, x64, d64] = [wide(&weights), wide(&x), wide(&d)];
        let y = reference::forward(&spec, features, &w, &x64);
        let kernel = dense(spec, features, false, Arithmetic { precision: Precision::Bf16, ..Arithmetic::default() });
        let name = format!("{spec:?} on {images} × {features}");
        let case = Case { name, kernel: &*kernel, images, weights: &weights, input: &x, d_output: &d };
        case.check(&y, |y| {
            let gradients = reference::backward(&spec, features, &w, [&x64, y, &d64]);
            [gradients.d_input, gradients.d_weights]
        });
    }
}

#[test]
fn slices_of_the_features_add_up() {
    let random = &mut random(2);
    let slices_of = |units, features, level| {
        let spec = Spec { units, activation: Activation::Linear, use_bias: true };
        WideDense::new(spec, features, level).slices(8)
    };
    for level in Level::available() {
        assert_eq!(slices_of(50, 20_000, level), 0, "rows of the weights that are no whole vectors");
        assert_eq!(slices_of(64, 1000, level), 0, "few weights");
        assert_eq!(slices_of(8192, 128, level), 0, "as many outputs of slices as weights");
    }
    for (units, features, images) in [(64, 9001, 5), (512, 1100, 33), (16, 40_000, 1)] {
        for (activation, use_bias) in
            [(Activation::Linear, false), (Activation::Relu, true), (Activation::Softmax, true)]
        {
            let spec = Spec { units, activation, use_bias };
            let weights = weights(random, features, (features + usize::from(use_bias)) * units);
            let x = values(random, images * features);
            let expected = reference::forward(&spec, features, &wide(&weights), &wide(&x));
            for level in Level::available() {
                let dense = WideDense::new(spec, features, level);
                assert!(
                    dense.slices(images) > 1 && dense.slice_floats(images) == dense.slices(images) * images * units
                );
                let mut slices = vec![vec![f32::NAN; images * units]; dense.slices(images)];
                slices.iter_mut().enumerate().for_each(|(i, to)| dense.forward_slice(i, &x, &weights, to));
                let mut outputs = slices[0].clone();
                dense.complete(&mut outputs, slices[1..].iter().map(|slice| &slice[..]), &weights);
                assert_near(&format!("{level:?}: {spec:?} on {images} × {features}"), &outputs, &expected);
            }
        }
    }
}
