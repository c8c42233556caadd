//! Every general kernel at every level against the references, on random shapes.
//!
//! [`Case::check`] runs a kernel as the executor would, on memory full of NaN: what a kernel reads without having
//! written it, or forgets to write, shows.

mod activate;
mod batch_normalization;
mod conv2d;
mod dense;
mod depthwise_conv2d;
mod dropout;
mod gemm;
mod grouped_conv2d;
mod max_pooling2d;
mod merge;
pub mod parts;
mod pointwise;
mod poolings;
mod resizing;
mod single_channel;

use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::kernels::select;
use crate::engine::cpu::simd::Level;
use crate::layers::{Activation, Op};
use crate::shape::{Axis, Padding, Shape};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Reproducible randomness.
fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Values in (−1, 1).
fn values(random: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// Weights as an initialiser would make them for sums over `fan_in` inputs: outputs of the size of the inputs.
fn weights(random: &mut StdRng, fan_in: usize, count: usize) -> Vec<f32> {
    let limit = (3.0 / fan_in as f32).sqrt();
    values(random, count).into_iter().map(|value| value * limit).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Asserts that no value is off by more than 1e-5 of the largest.
fn assert_near(name: &str, found: &[f32], expected: &[f64]) {
    assert_near_scaled(name, found, expected, expected);
}

/// Asserts that no value is off by more than 1e-5 of the largest of `scale`.
fn assert_near_scaled(name: &str, found: &[f32], expected: &[f64], scale: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}: length");
    let largest = scale.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(off <= 1e-5 * largest, "{name}[{i}]: expected {expected}, found {found}");
    }
}

fn assert_same_bits(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{name}: length");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.to_bits(), expected.to_bits(), "{name}[{i}]: expected {expected}, found {found}");
    }
}

/// A kernel and what it works on.
struct Case<'a> {
    name: String,
    kernel: &'a dyn Kernel,
    images: usize,
    weights: &'a [f32],
    input: &'a [f32],
    d_output: &'a [f32],
}

/// What a kernel computes.
struct Results {
    output: Vec<f32>,
    d_input: Vec<f32>,
    d_weights: Vec<f32>,
}

impl Case<'_> {
    /// Forward and backward over the images `images`, adding to `d_weights` if it holds something.
    fn run(&self, images: std::ops::Range<usize>, d_weights: Option<Vec<f32>>) -> Results {
        let nan = |count| vec![f32::NAN; count];
        let part = |all: &'_ [f32]| {
            let len = all.len() / self.images;
            all[images.start * len..images.end * len].to_vec()
        };
        let mut derived = nan(self.kernel.derived());
        self.kernel.prepare(self.weights, &mut derived);
        let (input, mut d_output) = (part(self.input), part(self.d_output));
        let mut output = nan(d_output.len());
        let mut kept = vec![0xAA; self.kernel.kept() * images.len()];
        self.kernel.forward(Forward {
            images: images.len(),
            training: true,
            noise: None,
            weights: self.weights,
            derived: &derived,
            input: &input,
            output: &mut output,
            kept: &mut kept,
            scratch: &mut nan(self.kernel.scratch(images.len())),
        });
        let mut d_input = nan(input.len());
        let accumulate = d_weights.is_some();
        let mut d_weights = d_weights.unwrap_or(nan(self.weights.len()));
        self.kernel.backward(Backward {
            noise: None,
            images: images.len(),
            weights: self.weights,
            derived: &derived,
            input: &input,
            output: &output,
            kept: &kept,
            d_output: &mut d_output,
            d_input: Some(&mut d_input),
            d_weights: &mut d_weights,
            accumulate,
            scratch: &mut nan(self.kernel.scratch(images.len())),
        });
        Results { output, d_input, d_weights }
    }

    /// Runs everything; `reference` gives output, and, from a computed output, the two gradients.
    fn check(&self, output: &[f64], gradients: impl Fn(&[f64]) -> [Vec<f64>; 2]) {
        let name = |what| format!("{}: {what}", self.name);
        let found = self.run(0..self.images, None);
        assert_near(&name("output"), &found.output, output);
        let [d_input, d_weights] = gradients(&wide(&found.output));
        assert_near(&name("d_input"), &found.d_input, &d_input);
        assert_near(&name("d_weights"), &found.d_weights, &d_weights);

        let before = values(&mut random(99), self.weights.len());
        let sums: Vec<f64> = d_weights.iter().zip(&before).map(|(d, before)| d + f64::from(*before)).collect();
        let onto = before.iter().zip(&found.d_weights).map(|(before, d)| before + d).collect::<Vec<f32>>();
        let added = self.run(0..self.images, Some(before));
        assert_near(&name("d_weights, added"), &added.d_weights, &sums);
        if self.kernel.adds_sums() {
            assert_same_bits(&name("d_weights, added"), &added.d_weights, &onto);
        }
        self.check_images_apart(&found);
        self.check_without_training(&found);
    }

    /// The images one by one give the same bits as in one call; but for weights' gradients that are sums of calls.
    fn check_images_apart(&self, together: &Results) {
        let name = |what| format!("{}: one image at a time: {what}", self.name);
        let mut apart = Results { output: vec![], d_input: vec![], d_weights: vec![] };
        for image in 0..self.images {
            let before = (image > 0).then(|| std::mem::take(&mut apart.d_weights));
            let one = self.run(image..image + 1, before);
            apart.output.extend(one.output);
            apart.d_input.extend(one.d_input);
            apart.d_weights = one.d_weights;
        }
        assert_same_bits(&name("output"), &apart.output, &together.output);
        assert_same_bits(&name("d_input"), &apart.d_input, &together.d_input);
        if !self.kernel.adds_sums() {
            assert_same_bits(&name("d_weights"), &apart.d_weights, &together.d_weights);
        }
    }

    /// Prediction, and the backward pass of a network's first layer, whose input's gradient nobody wants.
    fn check_without_training(&self, expected: &Results) {
        let mut derived = vec![f32::NAN; self.kernel.derived()];
        self.kernel.prepare(self.weights, &mut derived);
        let mut scratch = vec![f32::NAN; self.kernel.scratch(self.images)];
        let mut output = vec![f32::NAN; expected.output.len()];
        let mut forward = |training, kept: &mut [u8]| {
            output.fill(f32::NAN);
            self.kernel.forward(Forward {
                images: self.images,
                training,
                noise: None,
                weights: self.weights,
                derived: &derived,
                input: self.input,
                output: &mut output,
                kept,
                scratch: &mut scratch,
            });
            assert_same_bits(&format!("{}: training {training}", self.name), &output, &expected.output);
        };
        forward(false, &mut []);
        let mut kept = vec![0xAA; self.kernel.kept() * self.images];
        forward(true, &mut kept);
        let [first, image] = [self.input, &expected.output].map(|all| &all[..all.len() / self.images]);
        parts::check(&self.name, self.kernel, [self.weights, &derived, first], image);
        let mut d_weights = vec![f32::NAN; self.weights.len()];
        self.kernel.backward(Backward {
            noise: None,
            images: self.images,
            weights: self.weights,
            derived: &derived,
            input: self.input,
            output: &output,
            kept: &kept,
            d_output: &mut self.d_output.to_vec(),
            d_input: None,
            d_weights: &mut d_weights,
            accumulate: false,
            scratch: &mut scratch,
        });
        assert_same_bits(&format!("{}: d_weights alone", self.name), &d_weights, &expected.d_weights);
    }
}

/// An operation, the shapes around it, how many weights it has, and its reference's output for weights and inputs.
type Row = (Op, Shape, Shape, usize, Box<dyn Fn(&[f64], &[f64]) -> Vec<f64>>);

/// A row for every operation that has a kernel.
fn table() -> Vec<Row> {
    use crate::layers::*;
    let axis = Axis { window: 2, stride: 2, dilation: 1, padding: Padding::Valid };
    let (vertical, horizontal, linear) = (axis, axis, Activation::Linear);
    let (map, small, vector) = (Shape::map(4, 4, 3), Shape::map(2, 2, 3), Shape::vector(3));
    let conv = conv2d::Spec { filters: 3, vertical, horizontal, groups: 1, activation: linear, use_bias: false };
    let dense = dense::Spec { units: 5, activation: linear, use_bias: false };
    let pool = max_pooling2d::Spec { vertical, horizontal };
    let whole = global_average_pooling2d::Spec { keepdims: false };
    let zeros = zero_padding2d::Spec { top: 1, bottom: 2, left: 0, right: 1 };
    let (padded, large) = (Shape::map(7, 5, 3), Shape::map(8, 4, 3));
    let twice = up_sampling2d::Spec { rows: 2, columns: 1, interpolation: up_sampling2d::Interpolation::Bilinear };
    let relu = relu::Spec { max_value: 0.5, negative_slope: 0.25, threshold: 0.125 };
    let leaky = leaky_relu::Spec { negative_slope: 0.25 };
    let rescaling = rescaling::Spec { scale: 2.0, offset: -1.0 };
    let function = |function, x: &[f64]| activation::reference::forward(function, x, 3);
    vec![
        (
            Op::Conv2D(conv),
            map,
            small,
            2 * 2 * 3 * 3,
            Box::new(move |w, x| conv2d::reference::forward(&conv, map, small, w, x)),
        ),
        (
            Op::Dense(dense),
            Shape::vector(48),
            Shape::vector(5),
            48 * 5,
            Box::new(move |w, x| dense::reference::forward(&dense, 48, w, x)),
        ),
        (
            Op::MaxPooling2D(pool),
            map,
            small,
            0,
            Box::new(move |_, x| max_pooling2d::reference::forward(&pool, map, small, x)),
        ),
        (
            Op::AveragePooling2D(pool),
            map,
            small,
            0,
            Box::new(move |_, x| average_pooling2d::reference::forward(&pool, map, small, x)),
        ),
        (
            Op::GlobalAveragePooling2D(whole),
            map,
            vector,
            0,
            Box::new(move |_, x| global_average_pooling2d::reference::forward(map, x)),
        ),
        (
            Op::GlobalMaxPooling2D(whole),
            map,
            vector,
            0,
            Box::new(move |_, x| global_max_pooling2d::reference::forward(map, x)),
        ),
        (
            Op::ZeroPadding2D(zeros),
            map,
            padded,
            0,
            Box::new(move |_, x| zero_padding2d::reference::forward(&zeros, map, padded, x)),
        ),
        (
            Op::UpSampling2D(twice),
            map,
            large,
            0,
            Box::new(move |_, x| up_sampling2d::reference::forward(&twice, map, large, x)),
        ),
        (Op::Activation(Activation::Tanh), map, map, 0, Box::new(move |_, x| function(Activation::Tanh, x))),
        (Op::Softmax, map, map, 0, Box::new(move |_, x| function(Activation::Softmax, x))),
        (Op::ReLU(relu), map, map, 0, Box::new(move |_, x| relu::reference::forward(&relu, x))),
        (Op::LeakyReLU(leaky), map, map, 0, Box::new(move |_, x| leaky_relu::reference::forward(&leaky, x))),
        (Op::Rescaling(rescaling), map, map, 0, Box::new(move |_, x| rescaling::reference::forward(&rescaling, x))),
        // Outside of training.
        (Op::Dropout(dropout::Spec { rate: 0.5 }), map, map, 0, Box::new(|_, x| x.to_vec())),
    ]
}

#[test]
fn every_layer_but_flatten_has_a_kernel() {
    for (op, input, output, weights, reference) in table() {
        let kernel = select(&op, input, output, op.activation(), Level::detect()).expect("a kernel");
        let random = &mut random(1);
        let [weights, x, d] = [weights, 2 * input.len(), 2 * output.len()].map(|count| values(random, count));
        let case =
            Case { name: format!("{op:?}"), kernel: &*kernel, images: 2, weights: &weights, input: &x, d_output: &d };
        assert_near(&case.name, &case.run(0..2, None).output, &reference(&wide(&weights), &wide(&x)));
    }
    let (map, vector) = (Shape::map(4, 4, 3), Shape::vector(48));
    for op in [Op::Flatten, Op::Reshape(vector)] {
        assert!(select(&op, map, vector, Activation::Linear, Level::detect()).is_none(), "{op:?}");
    }
}

/// The activation that a layer is compiled with, and not its own, is applied: a loss may want to see what comes before.
#[test]
fn the_activation_of_a_layer_can_be_left_out() {
    let (shape, x) = (Shape::vector(3), [1.0, -2.0, 3.0]);
    for op in [Op::Activation(Activation::Sigmoid), Op::Softmax] {
        let kernel = select(&op, shape, shape, Activation::Linear, Level::detect()).expect("a kernel");
        let name = format!("{op:?}");
        let case = Case { name, kernel: &*kernel, images: 1, weights: &[], input: &x, d_output: &x };
        assert_same_bits(&case.name, &case.run(0..1, None).output, &x);
    }
}
