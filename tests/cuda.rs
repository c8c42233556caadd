//! The CUDA engine computes what the CPU engine and Keras compute.
//!
//! Everything runs twice: on a GPU, where there is one, and on the CPU, which executes the same kernels thread by thread
//! (feature `cuda-host`). What a machine lacks is said and skipped.

#![cfg(feature = "cuda")]

#[path = "support/keras.rs"]
#[expect(dead_code, reason = "parameters are counted in tests/parity.rs")]
mod keras;

#[path = "cuda/corners.rs"]
mod corners;

use convnet::engine::PullBack;
use convnet::engine::cuda::Listing;
use convnet::prelude::*;
use keras::{Fixture, RANDOM_NETS, values, weights};

include!("fixtures/random_nets.rs");
include!("fixtures/layer_nets.rs");

convnet! {
    /// Everything that goes on from step to step: moving statistics, noise, a penalty, something frozen.
    type Busy = [
        Input(28, 28, 1),
        Rescaling(2.0, offset = -1.0),
        AveragePooling2D(2),
        Conv2D(8, 3, padding = "same", use_bias = false),
        BatchNormalization(momentum = 0.9),
        Activation("relu"),
        Add([], [Conv2D(8, 1, trainable = false), LeakyReLU(0.1)]),
        MaxPooling2D(2),
        SeparableConv2D(12, 3, activation = "tanh"),
        Dropout(0.25),
        Flatten(),
        Dense(16, activation = "sigmoid", kernel_regularizer = L2(1e-3)),
        Dense(10, activation = "softmax"),
    ];

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

    /// No kinks.
    type Smooth = [
        Input(20, 18, 3),
        Conv2D(32, 3, activation = "tanh"),
        Conv2D(16, 5, strides = 2, padding = "same", groups = 2),
        AveragePooling2D(2),
        Conv2D(24, 3, dilation_rate = 1, padding = "same", activation = "sigmoid"),
        Flatten(),
        Dense(40, activation = "tanh"),
        Dense(10),
    ];

    /// Four channels, whose weights begin at floats 22 and 62 of all: nowhere that four can be read at once.
    type Odd = [
        Input(6, 6, 1),
        Conv2D(3, 1),
        Conv2D(4, 1),
        DepthwiseConv2D(3),
        BatchNormalization(),
        Flatten(),
        Dense(2),
    ];

    /// No kinks, either.
    type Even = [
        Input(28, 28, 1),
        Conv2D(32, 3, activation = "tanh"),
        AveragePooling2D(2),
        Conv2D(64, 3, activation = "sigmoid"),
        AveragePooling2D(2),
        Flatten(),
        Dense(10, activation = "softmax"),
    ];

    type Plain = [
        Input(28, 28, 1),
        Conv2D(8, 3, strides = 2, activation = "relu"),
        MaxPooling2D(2),
        Flatten(),
        Dense(10, activation = "softmax"),
    ];
}

/// Images in a batch of the random networks.
const IMAGES: usize = 3;

/// A GPU and its emulation, as far as they are there.
fn devices() -> Vec<Cuda> {
    let mut devices = Vec::new();
    match Cuda::device(0) {
        Ok(device) => devices.push(device),
        Err(error) => eprintln!("no GPU, skipped there: {error}"),
    }
    #[cfg(feature = "cuda-host")]
    match Cuda::host(false) {
        Ok(host) => devices.push(host),
        Err(error) => eprintln!("no emulation, skipped there: {error}"),
    }
    devices
}

/// How far `found` is off, over the largest expected value.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
    let off = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
    // Not `f32::max`, which hides NaN.
    off.fold(0.0, |most: f32, off| if off <= most { most } else { off }) / largest
}

/// A model with the weights of the formula, from this stream on.
fn fixed<N: Network>(stream: u64) -> Model<N> {
    let mut model = Model::<N>::compile(Sgd::default(), MeanSquaredError::default());
    model.set_weights(&weights(&N::PLAN, stream)).unwrap();
    model
}

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

/// Weights, loss and outputs after two epochs of 75 images, whose last batch is smaller, on `device`.
fn trained<N: Network<Input = convnet::shape::size::Map<28, 28, 1>>>(
    device: impl Into<Device>,
    optimizer: impl Into<Optimizer>,
) -> (Vec<f32>, Vec<f32>, Score) {
    let set = datasets::drawn_digits(75, 7).unwrap();
    let mut model =
        Model::<N>::compile(optimizer.into(), CategoricalCrossentropy::default()).seed(3).on(device).exact(true);
    let held_out = datasets::drawn_digits(20, 8).unwrap();
    let validation: Option<&dyn DataFor<_>> = Some(&held_out);
    let options = Fit { epochs: 2, batch_size: 32, validation, verbose: Verbose::Silent, ..Fit::default() };
    let history = model.fit(&set, options).unwrap();
    let losses = [history.loss(), history.val_loss(), history.accuracy()].concat();
    (model.weights().to_vec(), losses, model.evaluate(&set).unwrap())
}

/// Training on a device and on the CPU: both with exact sums, so that they differ by their order only.
fn check_training<N: Network<Input = convnet::shape::size::Map<28, 28, 1>>>(
    device: &Cuda,
    optimizer: impl Into<Optimizer>,
    tolerance: f32,
) {
    let optimizer = optimizer.into();
    let (weights, losses, score) = trained::<N>(Device::Cpu, optimizer);
    let found = trained::<N>(device.clone(), optimizer);
    let weights_off = difference(&found.0, &weights);
    assert!(weights_off < tolerance, "{} with {optimizer:?} on {device:?}: weights off by {weights_off:e}", N::NAME);
    assert!(difference(&found.1, &losses) < 1e-4, "{}: {:?} instead of {losses:?}", N::NAME, found.1);
    assert!((found.2.loss - score.loss).abs() < 1e-4 * score.loss, "{} instead of {score}", found.2);
}

#[test]
fn every_optimizer_trains_as_on_the_cpu() {
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    for device in devices() {
        check_training::<Plain>(&device, Sgd::default(), 1e-5);
        check_training::<Plain>(&device, momentum, 1e-5);
        check_training::<Plain>(&device, Sgd { nesterov: true, ..momentum }, 1e-5);
        check_training::<Plain>(&device, RmsProp::default(), 1e-4);
        check_training::<Plain>(&device, RmsProp { centered: true, momentum: 0.5, ..RmsProp::default() }, 1e-3);
        check_training::<Plain>(&device, Adam::default(), 1e-4);
        check_training::<Plain>(&device, AdamW::default(), 1e-4);
    }
}

/// The losses and weights of twenty steps on `device` and on the CPU.
fn check_twenty_steps<N: Network<Input = convnet::shape::size::Map<28, 28, 1>>>(
    device: &Cuda,
    precision: Precision,
    [loss_tolerance, tolerance]: [f32; 2],
) {
    let set = datasets::drawn_digits(20 * 4, 7).unwrap();
    let run = |device: Device, precision| {
        let optimizer = Sgd { momentum: 0.9, ..Sgd::default() };
        let model = Model::<N>::compile(optimizer, CategoricalCrossentropy::default());
        let mut model = model.on(device).precision(precision);
        let history = model.fit(&set, Fit { batch_size: 4, verbose: Verbose::Silent, ..Fit::default() }).unwrap();
        (history.loss().to_vec(), model.weights().to_vec())
    };
    let (loss, weights) = run(Device::Cpu, Precision::F32);
    let found = run(device.clone().into(), precision);
    let off = [difference(&found.0, &loss), difference(&found.1, &weights)];
    println!("{}, {precision:?}, {}: losses off by {:e}, weights by {:e}", N::NAME, device.name(), off[0], off[1]);
    assert!(off[0] < loss_tolerance && off[1] < tolerance, "{}, {precision:?}, {device:?}: {off:?}", N::NAME);
}

/// Where a relu or a largest value is a close call, TF32 may decide otherwise, and then a gradient is another one: how far
/// its weights may be off is asked of a network without such calls.
#[test]
fn twenty_steps_are_those_of_the_cpu() {
    for device in devices() {
        check_twenty_steps::<Digits>(&device, Precision::F32, [1e-5; 2]);
        check_twenty_steps::<Even>(&device, Precision::Tf32, [2e-3; 2]);
    }
}

/// More batches than one recording has, and a smaller one.
#[test]
fn many_small_batches_train_as_on_the_cpu() {
    let set = datasets::drawn_digits(59, 7).unwrap();
    let run = |device: Device| {
        let model = Model::<Plain>::compile(Adam::default(), CategoricalCrossentropy::default());
        let mut model = model.on(device).exact(true);
        let history = model.fit(&set, Fit { batch_size: 3, verbose: Verbose::Silent, ..Fit::default() }).unwrap();
        (history.loss().to_vec(), model.weights().to_vec())
    };
    let expected = run(Device::Cpu);
    for device in devices() {
        let found = run(device.clone().into());
        assert!(difference(&found.0, &expected.0) < 1e-5, "{device:?}");
        assert!(difference(&found.1, &expected.1) < 1e-4, "{device:?}");
    }
}

/// Dropout draws the same numbers, moving statistics follow alike, penalties count, and what is frozen stays.
#[test]
fn what_goes_on_from_step_to_step_does_so_on_a_device() {
    for device in devices() {
        check_training::<Busy>(&device, Sgd { learning_rate: 0.05, ..Sgd::default() }, 1e-4);
    }
}

#[test]
fn a_model_moves_between_devices_while_it_learns() {
    let set = datasets::drawn_digits(40, 7).unwrap();
    let epoch = |model: &mut Model<Busy>| {
        model.fit(&set, Fit { batch_size: 16, verbose: Verbose::Silent, ..Fit::default() }).unwrap();
    };
    let fresh = || Model::<Busy>::compile(Adam::default(), CategoricalCrossentropy::default()).seed(5).exact(true);
    let mut stayed = fresh();
    (0..3).for_each(|_| epoch(&mut stayed));
    for device in devices() {
        let mut model = fresh();
        epoch(&mut model);
        model = model.on(device.clone());
        epoch(&mut model);
        model = model.on(Device::Cpu);
        epoch(&mut model);
        let off = difference(model.weights(), stayed.weights());
        assert!(off < 1e-3, "{device:?}: {off:e}");
        let images = set.image(0).unwrap();
        let there = model.on(device.clone()).predict(&images).unwrap();
        assert!(difference(&there, &stayed.predict(&images).unwrap()) < 1e-3);
    }
}

/// A training that leaves the numbers says so in the same step, and leaves the same weights.
#[test]
fn a_training_that_fails_is_taken_back() {
    let set = datasets::drawn_digits(40, 7).unwrap();
    let bad = ImageSet::<28, 28, 1>::new(vec![f32::NAN; 784 * 40], vec![1u8; 40]).unwrap();
    let run = |device: Device, rate: f32, set: &ImageSet<28, 28, 1>| {
        let optimizer = Sgd { learning_rate: rate, ..Sgd::default() };
        let mut model = Model::<Plain>::compile(optimizer, CategoricalCrossentropy::default()).on(device).exact(true);
        let options = || Fit { batch_size: 8, epochs: 2, verbose: Verbose::Silent, ..Fit::default() };
        let error = model.fit(set, options()).unwrap_err().to_string();
        // The model is still good for something.
        model.set_learning_rate(1e-3).unwrap();
        let again = model.fit(&datasets::drawn_digits(16, 2).unwrap(), options()).is_ok();
        (error, model.weights().to_vec(), again)
    };
    for device in devices() {
        for (rate, set) in [(1e36, &set), (1e20, &set), (0.1, &bad)] {
            let (error, weights, again) = run(Device::Cpu, rate, set);
            let found = run(device.clone().into(), rate, set);
            assert_eq!((found.0, found.2), (error, again), "{device:?}, learning rate {rate}");
            assert!(difference(&found.1, &weights) < 1e-4, "{device:?}, learning rate {rate}");
        }
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

/// NVRTC takes the kernels of the networks, for GPUs of four generations in turn, and the launches of all go together. Of
/// the random networks, which have few kinds of layers, it is one in four: each takes some seconds.
#[test]
fn all_kernels_compile_for_all_generations() {
    const GENERATIONS: [(i32, i32); 4] = [(7, 5), (8, 0), (9, 0), (10, 0)];
    let loss = CategoricalCrossentropy::default().into();
    let listing = |plan: &convnet::plan::Plan, optimizer: Optimizer, precision| {
        let listing = Listing::new(plan, &optimizer, &loss, 32, precision);
        listing.check().unwrap();
        listing
    };
    let mut skipped = None;
    let mut compile = |name: &str, listing: &Listing, capability| match listing.compile(capability) {
        Ok(bytes) => assert!(bytes > 0),
        Err(error) if error.to_string().contains("scripts/install-nvrtc") => skipped = Some(error),
        Err(error) => panic!("{name} for {capability:?}: {error}"),
    };
    let mut turn = GENERATIONS.into_iter().cycle();
    macro_rules! check {
        ($net:ty, $name:literal) => {
            let capability = turn.next().unwrap();
            let precision = if capability.0 < 8 { Precision::F32 } else { Precision::Tf32 };
            compile($name, &listing(&<$net>::PLAN, Adam::default().into(), precision), capability);
        };
    }
    for_each_layer_net!(check);
    let mut number = 0;
    macro_rules! check_some {
        ($net:ty, $name:literal) => {
            number += 1;
            if number % 4 == 0 {
                check!($net, $name);
            } else {
                listing(&<$net>::PLAN, Adam::default().into(), Precision::Tf32);
            }
        };
    }
    for_each_net!(check_some);
    for capability in GENERATIONS {
        for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
            if precision == Precision::F32 || capability.0 >= 8 {
                compile("Digits", &listing(&Digits::PLAN, RmsProp::default().into(), precision), capability);
            }
        }
        compile("Busy", &listing(&Busy::PLAN, Sgd::default().into(), Precision::F32), capability);
    }
    if let Some(error) = skipped {
        eprintln!("skipped: {error}");
    }
}

/// What a step of the book's first convnet launches: as few kernels as its layers allow.
#[test]
fn a_step_is_a_short_list() {
    let (optimizer, loss) = (RmsProp::default().into(), CategoricalCrossentropy::default().into());
    let listing = Listing::new(&Digits::PLAN, &optimizer, &loss, 64, Precision::Tf32);
    listing.check().unwrap();
    let step = listing.training_step();
    let names: Vec<&str> = step.iter().filter_map(|line| line.split(' ').next()).collect();
    let count = |name: &str| names.iter().filter(|found| **found == name).count();
    assert_eq!((names[0], names[names.len() - 1]), ("gather", "update"));
    // Five layers with weights, of which the first has no gradient of its input.
    let products = ["convolve_forward", "convolve_backward_input", "convolve_backward_weights"];
    assert_eq!(products.map(count), [5, 4, 5], "{step:#?}");
    assert_eq!(
        ["max_pooling2d_forward", "max_pooling2d_backward", "loss", "tally", "update"].map(count),
        [2, 2, 1, 1, 1]
    );
    assert!(names.len() <= 26, "{step:#?}");
    // Values, gradients and parts of them, in places that they share.
    assert!(listing.work() < 48 << 20, "{} bytes", listing.work());
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

#[test]
fn part_of_a_set_is_kept_out() {
    let set = datasets::drawn_digits(50, 7).unwrap();
    let run = |device: Device| {
        let mut model =
            Model::<Plain>::compile(Sgd::default(), CategoricalCrossentropy::default()).on(device).exact(true);
        let options = Fit { batch_size: 16, validation_split: 0.3, verbose: Verbose::Silent, ..Fit::default() };
        let history = model.fit(&set, options).unwrap();
        [history.loss(), history.val_loss(), history.val_accuracy()].concat()
    };
    let expected = run(Device::Cpu);
    for device in devices() {
        assert!(difference(&run(device.clone().into()), &expected) < 1e-5, "{device:?}");
    }
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let error = Cuda::device(99).unwrap_err().to_string();
    assert!(error.starts_with("CUDA: "), "{error}");
    eprintln!("{error}");
}
