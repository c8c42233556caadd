//! Outputs and gradients against Keras's numbers and the CPU engine's.

use super::keras::{Fixture, RANDOM_NETS, values};
use super::*;
use convnet::engine::PullBack;

/// Images in a batch of the random networks.
const IMAGES: usize = 3;

/// Outputs and gradients against the float64 numbers of Keras.
fn check_net<N: Network>(name: &str, fixture: &Fixture, device: &Cuda) {
    let plan = N::PLAN;
    let (inputs, seeds) = (values(1, IMAGES * plan.input.len()), values(2, IMAGES * plan.output.len()));
    let mut model = fixed::<N>(RANDOM_NETS).on(device.clone()).precision(Precision::F32);
    let check = |key: String, found: &[f32]| {
        let difference = fixture.difference(&key, found);
        assert!(difference < 1e-5, "{key} ({device:?}): {difference:e} of the largest");
    };
    check(format!("{name}/output/{}", plan.layers.len() - 1), &model.predict(&inputs).unwrap());
    let PullBack { d_weights, d_input, outputs } = model.pull_back(&inputs, &seeds).unwrap();
    check(format!("{name}/output/{}", plan.layers.len() - 1), &outputs);
    check(format!("{name}/grad_input"), &d_input);
    // Keras's numbers are samples; the CPU engine has all.
    let cpu = fixed::<N>(RANDOM_NETS).pull_back(&inputs, &seeds).unwrap();
    for (found, expected) in [(&outputs, &cpu.outputs), (&d_input, &cpu.d_input), (&d_weights, &cpu.d_weights)] {
        let difference = difference(found, expected);
        assert!(difference < 2e-5, "{name} ({device:?}): {difference:e} from the CPU engine");
    }
    for (t, (_, weight)) in plan.weights().enumerate().filter(|(_, (_, weight))| !weight.name.starts_with("moving")) {
        check(format!("{name}/grad/{t}"), &d_weights[weight.range()]);
    }
}

#[test]
fn eighty_networks_agree_with_keras() {
    let (layers, random) = (Fixture::read("layer_nets.safetensors"), Fixture::read("random_nets.safetensors"));
    for device in devices() {
        macro_rules! check_layers {
            ($net:ty, $name:literal) => {
                check_net::<$net>($name, &layers, &device)
            };
        }
        for_each_layer_net!(check_layers);
        macro_rules! check_random {
            ($net:ty, $name:literal) => {
                check_net::<$net>($name, &random, &device)
            };
        }
        for_each_net!(check_random);
    }
}

/// Outputs of random networks. Their gradients have kinks, at which a little makes much of a difference: those of
/// [`Smooth`] do not.
#[test]
fn lower_precision_is_as_near_as_it_promises() {
    let fixture = Fixture::read("random_nets.safetensors");
    for device in devices() {
        for (precision, tolerance) in [(Precision::Tf32, 2e-3), (Precision::Bf16, 2e-2)] {
            macro_rules! check {
                ($net:ty, $name:literal) => {
                    let mut model = fixed::<$net>(RANDOM_NETS).on(device.clone()).precision(precision);
                    let plan = <$net>::PLAN;
                    let outputs = model.predict(&values(1, IMAGES * plan.input.len())).unwrap();
                    let key = format!("{}/output/{}", $name, plan.layers.len() - 1);
                    let difference = fixture.difference(&key, &outputs);
                    assert!(difference < tolerance, "{key} ({precision:?}, {device:?}): {difference:e} of the largest");
                };
            }
            for_each_net!(check);
            let (inputs, seeds) = (values(1, 4 * 20 * 18 * 3), values(2, 4 * 10));
            let expected = fixed::<Smooth>(7).pull_back(&inputs, &seeds).unwrap();
            let found = fixed::<Smooth>(7).on(device.clone()).precision(precision).pull_back(&inputs, &seeds).unwrap();
            let pairs = [
                (found.outputs, expected.outputs),
                (found.d_input, expected.d_input),
                (found.d_weights, expected.d_weights),
            ];
            for (found, expected) in pairs {
                let off = difference(&found, &expected);
                assert!(off < tolerance, "{precision:?}, {device:?}: {off:e}");
                assert!(off > 1e-6, "{precision:?} is not used on {device:?}");
            }
        }
    }
}

#[test]
fn weights_may_begin_at_any_float() {
    let (inputs, seeds) = (values(1, IMAGES * 36), values(2, IMAGES * 2));
    let mut expected = fixed::<Odd>(RANDOM_NETS);
    let outputs = expected.predict(&inputs).unwrap();
    let gradients = expected.pull_back(&inputs, &seeds).unwrap();
    for device in devices() {
        let mut model = fixed::<Odd>(RANDOM_NETS).on(device.clone()).precision(Precision::F32);
        assert!(difference(&model.predict(&inputs).unwrap(), &outputs) < 1e-5, "{device:?}");
        let found = model.pull_back(&inputs, &seeds).unwrap();
        for (found, expected) in [(found.d_weights, &gradients.d_weights), (found.d_input, &gradients.d_input)] {
            assert!(difference(&found, expected) < 1e-5, "{device:?}");
        }
    }
}
