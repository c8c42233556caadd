//! The engine computes what Keras computes.
//!
//! `random_nets.safetensors` and `layer_nets.safetensors` have the exact (float64) outputs and gradients of forty networks
//! each, the latter over all layers; `training.safetensors` and `layer_training.safetensors` the losses and weights of
//! twenty training steps on MNIST. tests/fixtures/README.md says how they are made.

#[path = "support/data.rs"]
mod data;
#[path = "support/digits.rs"]
mod digits;
#[path = "support/keras.rs"]
mod keras;

use convnet::engine::cpu::simd::Level;
use convnet::prelude::*;
use convnet::shape::size::Map;
use data::data;
use digits::Digits;
use keras::{Fixture, RANDOM_NETS, values, weights};

include!("fixtures/random_nets.rs");
include!("fixtures/layer_nets.rs");
include!("fixtures/architectures.rs");

/// The share of a tensor's largest value that a network's numbers may be off by.
const TOLERANCE: f32 = 1e-5;
/// Images in a batch of the random networks.
const IMAGES: usize = 3;

fn model<N: Network>() -> Model<N> {
    Model::<N>::compile(Sgd::default(), MeanSquaredError::default())
}

fn check_net<N: Network>(name: &str, fixture: &Fixture, exact: bool, level: Level) {
    let plan = N::PLAN;
    let (inputs, seeds) = (values(1, IMAGES * plan.input.len()), values(2, IMAGES * plan.output.len()));
    let mut model = model::<N>().exact(exact).level(level);
    model.set_weights(&weights(&plan, RANDOM_NETS)).unwrap();

    let check = |key: String, found: &[f32]| {
        let difference = fixture.difference(&key, found);
        assert!(difference < TOLERANCE, "{key} (exact: {exact}, {level:?}): {difference:e} of the largest");
    };
    for (l, layer) in model.layer_outputs(&inputs).unwrap().iter().enumerate() {
        check(format!("{name}/output/{l}"), &layer.values);
    }
    check(format!("{name}/output/{}", plan.layers.len() - 1), &model.predict(&inputs).unwrap());

    let gradients = model.pull_back(&inputs, &seeds).unwrap();
    check(format!("{name}/grad_input"), &gradients.d_input);
    for (t, (_, weight)) in plan.weights().enumerate() {
        // Keras takes moving statistics for constants.
        if !weight.name.starts_with("moving") {
            check(format!("{name}/grad/{t}"), &gradients.d_weights[weight.range()]);
        }
    }
}

#[test]
fn forty_networks_of_all_layers_agree_with_keras() {
    let fixture = Fixture::read("layer_nets.safetensors");
    for level in Level::available() {
        for exact in [true, false] {
            macro_rules! check {
                ($net:ty, $name:literal) => {
                    check_net::<$net>($name, &fixture, exact, level)
                };
            }
            for_each_layer_net!(check);
        }
    }
}

#[test]
fn parameters_are_counted_as_keras_does() {
    let fixture = Fixture::read("layer_nets.safetensors");
    macro_rules! check {
        ($net:ty, $name:literal) => {
            let found = [<$net>::PARAMS, <$net>::TRAINABLE_PARAMS, <$net>::NON_TRAINABLE_PARAMS];
            assert_eq!(found.to_vec(), fixture.counts(concat!($name, "/params")), $name);
        };
    }
    for_each_layer_net!(check);
    fn counted<N: Network>() -> [usize; 4] {
        [N::PARAMS, N::TRAINABLE_PARAMS, N::NON_TRAINABLE_PARAMS, N::PLAN.layers.len()]
    }
    assert_eq!(counted::<ResNet18>(), RESNET18);
    assert_eq!(counted::<Inception>(), INCEPTION);
    assert_eq!(counted::<ResNet50>(), RESNET50);
}

#[test]
fn forty_random_networks_agree_with_keras() {
    let fixture = Fixture::read("random_nets.safetensors");
    for level in Level::available() {
        for exact in [true, false] {
            macro_rules! check {
                ($net:ty, $name:literal) => {
                    check_net::<$net>($name, &fixture, exact, level)
                };
            }
            for_each_net!(check);
        }
    }
}

/// A run of twenty steps that Keras made: its name, where the streams of its first weights begin (the tables `BASES` of
/// scripts/fixtures.py and scripts/layer_training.py, which say how they were found), and how far weights may be off.
struct Run {
    name: &'static str,
    base: u64,
    tolerance: f32,
}

/// The losses of twenty steps of 64 images in file order, and the weights behind the last.
fn train<N: Network<Input = Map<28, 28, 1>>>(
    train: &ImageSet<28, 28, 1>,
    optimizer: Optimizer,
    base: u64,
    exact: bool,
) -> (Vec<f32>, Vec<f32>) {
    let mut losses = Vec::new();
    let mut model = Model::<N>::compile(optimizer, CategoricalCrossentropy::default()).exact(exact);
    model.set_weights(&weights(&N::PLAN, base)).unwrap();
    for step in 0..20 {
        let batch = train.select(&(step * 64..(step + 1) * 64).collect::<Vec<_>>()).unwrap();
        let options = Fit { batch_size: 64, shuffle: false, verbose: Verbose::Silent, ..Fit::default() };
        losses.extend_from_slice(model.fit(&batch, options).unwrap().loss());
    }
    (losses, model.weights().to_vec())
}

/// Trains as the fixture's run was and compares all losses, and the weights in the end.
fn check_training<N: Network<Input = Map<28, 28, 1>>>(file: &str, run: Run, optimizer: impl Into<Optimizer>) {
    let Some(data) = data() else { return };
    let (set, _) = datasets::mnist_from(data.join("mnist")).expect("MNIST");
    let Run { name, base, tolerance } = run;
    let fixture = Fixture::read(file);
    let optimizer = optimizer.into();
    for exact in [true, false] {
        let (losses, weights) = train::<N>(&set, optimizer, base, exact);
        for (step, (found, expected)) in losses.iter().zip(fixture.floats(&format!("{name}/loss"))).enumerate() {
            let difference = (found - expected).abs() / expected;
            assert!(difference < 1e-4, "{name} (exact: {exact}), step {}: {found}, Keras {expected}", step + 1);
        }
        for (layer, weight) in N::PLAN.weights() {
            let key = format!("{name}/{}/{}", layer.name, weight.name);
            let difference = fixture.difference(&key, &weights[weight.range()]);
            assert!(difference < tolerance, "{key} (exact: {exact}): {difference:e} of the largest");
        }
    }
}

fn check_digits(name: &'static str, base: u64, tolerance: f32, optimizer: impl Into<Optimizer>) {
    check_training::<Digits>("training.safetensors", Run { name, base, tolerance }, optimizer);
}

#[test]
fn sgd_trains_as_keras_does() {
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    check_digits("sgd_momentum", 27000, 1e-5, momentum);
    check_digits("sgd_nesterov", 19000, 1e-5, Sgd { nesterov: true, ..momentum });
}

#[test]
fn rmsprop_trains_as_keras_does() {
    check_digits("rmsprop", 3000, 1e-3, RmsProp::default());
    let centered = RmsProp { learning_rate: 1e-4, momentum: 0.9, centered: true, ..RmsProp::default() };
    check_digits("rmsprop_centered_momentum", 31000, 1e-3, centered);
}

#[test]
fn adam_trains_as_keras_does() {
    check_digits("adam", 15000, 1e-3, Adam::default());
    check_digits("adamw", 4000, 1e-3, AdamW::default());
}

/// Normalisation over the batch, a shortcut, a frozen layer and a penalty; moving statistics among the weights.
#[test]
fn a_residual_network_trains_as_keras_does() {
    const FILE: &str = "layer_training.safetensors";
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    check_training::<Trained>(FILE, Run { name: "sgd_momentum", base: 3000, tolerance: 1e-4 }, momentum);
    check_training::<TrainedFrozenNorm>(FILE, Run { name: "sgd_frozen_norm", base: 6000, tolerance: 1e-4 }, momentum);
    // At the default rate Adam is chaotic here: it divides gradients near zero by their size.
    let adam = Adam { learning_rate: 1e-4, ..Adam::default() };
    check_training::<Trained>(FILE, Run { name: "adam", base: 8000, tolerance: 1e-4 }, adam);
}
