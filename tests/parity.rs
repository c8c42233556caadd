//! The engine computes what Keras computes.
//!
//! `random_nets.safetensors` has the exact (float64) outputs and gradients of forty networks; `training.safetensors`
//! the losses and weights of twenty training steps on MNIST. tests/fixtures/README.md says how they are made.

#[path = "support/data.rs"]
mod data;
#[path = "support/keras.rs"]
mod keras;

use convnet::engine::cpu::simd::Level;
use convnet::prelude::*;
use data::data;
use keras::{Fixture, RANDOM_NETS, values, weights};

include!("fixtures/random_nets.rs");

convnet! {
    /// Listings 5.1 and 5.2.
    type Digits = [
        Input(28, 28, 1),
        Conv2D(32, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation = "relu"),
        Flatten(),
        Dense(64, activation = "relu"),
        Dense(10, activation = "softmax"),
    ];
}

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
        check(format!("{name}/grad/{t}"), &gradients.d_weights[weight.range()]);
    }
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

/// Where the streams of an optimizer's first weights begin: the table `BASES` of scripts/fixtures.py, which says how they
/// were found.
const BASES: [(&str, u64); 6] = [
    ("sgd_momentum", 27000),
    ("sgd_nesterov", 19000),
    ("rmsprop", 3000),
    ("rmsprop_centered_momentum", 31000),
    ("adam", 15000),
    ("adamw", 4000),
];

/// The losses of twenty steps of 64 images in file order, and the weights behind the last.
fn train(train: &ImageSet<28, 28, 1>, optimizer: Optimizer, base: u64, exact: bool) -> (Vec<f32>, Vec<f32>) {
    let mut losses = Vec::new();
    let mut model = Model::<Digits>::compile(optimizer, CategoricalCrossentropy::default()).exact(exact);
    model.set_weights(&weights(&Digits::PLAN, base)).unwrap();
    for step in 0..20 {
        let batch = train.select(&(step * 64..(step + 1) * 64).collect::<Vec<_>>()).unwrap();
        let options = Fit { batch_size: 64, shuffle: false, verbose: Verbose::Silent, ..Fit::default() };
        losses.extend_from_slice(model.fit(&batch, options).unwrap().loss());
    }
    (losses, model.weights().to_vec())
}

/// Trains as the fixture `name` was and compares all losses, and the weights in the end.
fn check_training(name: &str, optimizer: impl Into<Optimizer>, tolerance: f32) {
    let Some(data) = data() else { return };
    let (set, _) = datasets::mnist_from(data.join("mnist")).expect("MNIST");
    let (_, base) = BASES.into_iter().find(|(known, _)| *known == name).expect("a base");
    let fixture = Fixture::read("training.safetensors");
    let optimizer = optimizer.into();
    for exact in [true, false] {
        let (losses, weights) = train(&set, optimizer, base, exact);
        for (step, (found, expected)) in losses.iter().zip(fixture.floats(&format!("{name}/loss"))).enumerate() {
            let difference = (found - expected).abs() / expected;
            assert!(difference < 1e-4, "{name} (exact: {exact}), step {}: {found}, Keras {expected}", step + 1);
        }
        for (layer, weight) in Digits::PLAN.weights() {
            let key = format!("{name}/{}/{}", layer.name, weight.name);
            let difference = fixture.difference(&key, &weights[weight.range()]);
            assert!(difference < tolerance, "{key} (exact: {exact}): {difference:e} of the largest");
        }
    }
}

#[test]
fn sgd_trains_as_keras_does() {
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    check_training("sgd_momentum", momentum, 1e-5);
    check_training("sgd_nesterov", Sgd { nesterov: true, ..momentum }, 1e-5);
}

#[test]
fn rmsprop_trains_as_keras_does() {
    check_training("rmsprop", RmsProp::default(), 1e-3);
    let centered = RmsProp { learning_rate: 1e-4, momentum: 0.9, centered: true, ..RmsProp::default() };
    check_training("rmsprop_centered_momentum", centered, 1e-3);
}

#[test]
fn adam_trains_as_keras_does() {
    check_training("adam", Adam::default(), 1e-3);
    check_training("adamw", AdamW::default(), 1e-3);
}
