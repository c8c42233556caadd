//! dfdx's autodiff over the modules and the engine compute the same: outputs, and the gradients of weights and inputs,
//! for the eighty networks that Keras has answered for.
#![cfg(feature = "dfdx")]

#[path = "support/keras.rs"]
#[expect(dead_code, reason = "parameters are counted in tests/parity.rs")]
mod keras;

use convnet::dfdx::dfdx::tensor_ops::SumTo;
use convnet::dfdx::prelude::*;
use convnet::prelude::{Model, Network, Sgd, convnet};
use convnet::train::MeanSquaredError;
use keras::{Fixture, RANDOM_NETS, values, weights};

include!("fixtures/random_nets.rs");
include!("fixtures/layer_nets.rs");

/// The share of a tensor's largest value that a network's numbers may be off by.
const TOLERANCE: f32 = 1e-5;
const IMAGES: usize = 3;

/// The largest difference, as a share of the largest value.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, x| if x.is_nan() { f32::INFINITY } else { most.max(x) }) / largest
}

macro_rules! check_net {
    ($file:literal, $net:ty, $name:literal) => {{
        let plan = <$net>::PLAN;
        let (inputs, seeds) = (values(1, IMAGES * plan.input.len()), values(2, IMAGES * plan.output.len()));
        let weights = weights(&plan, RANDOM_NETS);
        let dev = Cpu::default();
        let mut module = dev.build_module::<$net, f32>();
        module.from_flat(&weights).unwrap();

        let images = dev.inputs::<$net, _>(IMAGES, inputs.clone()).unwrap();
        let seed = dev.outputs::<$net, _>(IMAGES, seeds.clone()).unwrap();
        let outputs = module.forward(images.clone()).as_vec();
        let keras = Fixture::read($file);
        let off = keras.difference(&format!("{}/output/{}", $name, plan.layers.len() - 1), &outputs);
        assert!(off < TOLERANCE, "{} outputs: {off:e} of the largest off Keras", $name);
        let traced = module.forward(images.leaky_trace());
        assert_eq!(traced.as_vec(), outputs, "{}: with and without a tape", $name);
        let mut gradients = (traced * seed).sum().backward();
        let d_weights = module.flat_gradients(&mut gradients).unwrap();
        let d_input = gradients.get(&images).as_vec();

        let mut engine = Model::<$net>::compile(Sgd::default(), MeanSquaredError::default());
        engine.set_weights(&module.to_flat()).unwrap();
        assert_eq!(engine.weights(), weights, "{}: the weights go both ways without loss", $name);
        let expected = engine.pull_back(&inputs, &seeds).unwrap();
        let check = |what: &str, found: &[f32], expected: &[f32]| {
            let difference = difference(found, expected);
            assert!(difference < TOLERANCE, "{} {what}: {difference:e} of the largest", $name);
        };
        check("outputs", &outputs, &expected.outputs);
        check("gradient of the input", &d_input, &expected.d_input);
        // Moving statistics are constants to dfdx, and so are frozen weights.
        for (layer, weight) in plan.weights().filter(|(_, weight)| weight.trainable) {
            let what = format!("gradient of {}/{}", layer.name, weight.name);
            check(&what, &d_weights[weight.range()], &expected.d_weights[weight.range()]);
        }
    }};
}

macro_rules! check_random_net {
    ($net:ty, $name:literal) => {
        check_net!("random_nets.safetensors", $net, $name)
    };
}

macro_rules! check_layer_net {
    ($net:ty, $name:literal) => {
        check_net!("layer_nets.safetensors", $net, $name)
    };
}

#[test]
fn forty_networks_agree_between_dfdx_and_the_engine() {
    for_each_net!(check_random_net);
}

#[test]
fn forty_networks_of_all_layers_agree_between_dfdx_and_the_engine() {
    for_each_layer_net!(check_layer_net);
}
