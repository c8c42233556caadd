//! Training against the CPU engine's.

use super::*;
use convnet::shape::size::Map;

/// Weights, loss and outputs after two epochs of 75 images, whose last batch is smaller, on `device`.
fn trained<N: Network<Input = Map<28, 28, 1>>>(
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
fn check_training<N: Network<Input = Map<28, 28, 1>>>(device: &Cuda, optimizer: impl Into<Optimizer>, tolerance: f32) {
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

#[test]
fn statistics_of_all_normalisations_follow() {
    for device in devices() {
        check_training::<Broad>(&device, Sgd::default(), 1e-5);
    }
}

/// As on a GPU with many multiprocessors, where gradients of few weights come in a hundred parts.
#[cfg(feature = "cuda-host")]
#[test]
fn gradients_in_many_parts_train_as_on_the_cpu() {
    match Cuda::host_like(false, 132) {
        Ok(host) => {
            check_training::<Plain>(&host, Adam::default(), 1e-4);
            check_training::<Broad>(&host, Sgd::default(), 1e-5);
        }
        Err(error) => eprintln!("no emulation, skipped there: {error}"),
    }
}

/// The losses and weights of twenty steps on `device` and on the CPU.
fn check_twenty_steps<N: Network<Input = Map<28, 28, 1>>>(
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

/// Threads that do not wait for one another where they have to would notice in which order they go on.
#[cfg(feature = "cuda-host")]
#[test]
fn the_order_of_threads_makes_no_difference() {
    let set = datasets::drawn_digits(7, 7).unwrap();
    fn bits<N: Network<Input = Map<28, 28, 1>>>(
        backwards: bool,
        precision: Precision,
        set: &ImageSet<28, 28, 1>,
    ) -> Option<Vec<u32>> {
        let host = Cuda::host(backwards).inspect_err(|error| eprintln!("skipped: {error}")).ok()?;
        let model = Model::<N>::compile(Adam::default(), CategoricalCrossentropy::default());
        let mut model = model.on(host).precision(precision);
        model.fit(set, Fit { batch_size: 4, verbose: Verbose::Silent, ..Fit::default() }).unwrap();
        let outputs = model.predict(&set.image(0).unwrap()).unwrap();
        Some(model.weights().iter().chain(&outputs).map(|x| x.to_bits()).collect())
    }
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        assert_eq!(bits::<Digits>(false, precision, &set), bits::<Digits>(true, precision, &set), "{precision:?}");
    }
    assert_eq!(bits::<Busy>(false, Precision::F32, &set), bits::<Busy>(true, Precision::F32, &set));
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
