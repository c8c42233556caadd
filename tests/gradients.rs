//! The engine's gradients are the slopes of the loss, whatever a graph looks like.
//!
//! Small networks with what is easily got wrong: tensors that several layers take, or one takes twice; layers that move
//! nothing at the ends of branches; frozen weights in front of, between and beside others; normalisations that lanes
//! meet at in all of these places. The slopes are finite differences of the networks as they are written down, in f64.

#[path = "support/keras.rs"]
#[expect(dead_code, reason = "the numbers that Keras computed are for tests/parity.rs")]
mod keras;
#[path = "../convnet-core/tests/naive/mod.rs"]
mod naive;

use convnet::data::Samples;
use convnet::engine::PullBack;
use convnet::engine::cpu::executor::{Executor, Settings};
use convnet::engine::cpu::simd::Level;
use convnet::plan::Plan;
use convnet::prelude::*;
use keras::{values, weights};

convnet! {
    /// A reshape between layers that a kernel could cover together.
    type ReshapedForPooling = [
        Input(4, 4, 16),
        Conv2D(16, (3, 3), padding = "same", activation = "relu"),
        Reshape((8, 2, 16)),
        MaxPooling2D((2, 2)),
        Flatten(),
        Dense(3),
    ];

    /// The same behind an activation of its own, to a map with other channels.
    type ReshapedDeeper = [
        Input(6, 6, 1),
        Conv2D(32, (3, 3), padding = "same"),
        Activation("relu"),
        Flatten(),
        Reshape((12, 6, 16)),
        MaxPooling2D((2, 2)),
        GlobalAveragePooling2D(),
        Dense(2),
    ];

    /// The input twice, a tensor twice as the last layer.
    type Twice = [
        Input(5),
        Add([], []),
        Dense(4, activation = "tanh"),
        Concatenate([], [], []),
        Dense(3),
        Add([], [], []),
    ];

    /// Branches that begin and end with what moves nothing.
    type Aliases = [
        Input(4, 3, 2),
        Conv2D(3, (2, 2), activation = "tanh"),
        Concatenate([Flatten()], [Reshape((2, 3, 3)), Reshape((18,)), Dense(4)], [Flatten(), Dense(2), Activation("linear")]),
        Reshape((2, 3, 4)),
        Add([Activation("linear")], [Conv2D(4, 1), Reshape((2, 3, 4))]),
        Flatten(),
    ];

    /// Activations where a tensor forks: they join no layer that others look at.
    type Activations = [
        Input(3, 4, 2),
        Conv2D(4, (2, 2)),
        Add([Activation("tanh")], [Activation("sigmoid"), Conv2D(4, 1), Activation("tanh")], []),
        Activation("sigmoid"),
        Flatten(),
        Concatenate([Dense(3), Activation("tanh")], [Activation("relu"), Dense(2)]),
        Activation("tanh"),
        Activation("softmax"),
    ];

    /// Frozen layers in front, between and beside those that learn.
    type PartlyFrozen = [
        Input(5, 4, 2),
        BatchNormalization(trainable = false),
        Conv2D(3, (2, 2), activation = "tanh", trainable = false),
        Concatenate([Conv2D(2, 1, trainable = false)], [Conv2D(2, (2, 2), padding = "same")], []),
        DepthwiseConv2D((2, 2), activation = "tanh", trainable = false),
        BatchNormalization(trainable = false),
        SeparableConv2D(3, (2, 2), padding = "same"),
        GlobalAveragePooling2D(),
        Dense(2, trainable = false),
    ];

    /// Nothing learns.
    type AllFrozen = [
        Input(4, 4, 1),
        Conv2D(2, (3, 3), trainable = false, activation = "relu"),
        Flatten(),
        Dense(3, trainable = false),
    ];

    /// Normalisations as the first and the last layer, after a frozen layer, behind each other, on vectors.
    type Normalized = [
        Input(4, 3, 2),
        BatchNormalization(),
        Conv2D(3, (2, 2), trainable = false),
        BatchNormalization(center = false, scale = false),
        Activation("tanh"),
        Conv2D(4, (2, 2), use_bias = false),
        BatchNormalization(scale = false),
        BatchNormalization(center = false),
        Flatten(),
        BatchNormalization(),
        Dense(3),
        BatchNormalization(epsilon = 0.1),
    ];

    /// Normalisations in several branches, of tensors that other layers take, too.
    type NormalizedBranches = [
        Input(4, 4, 2),
        Conv2D(4, (2, 2), padding = "same"),
        Add([BatchNormalization(), ReLU(), Conv2D(4, (3, 3), padding = "same"), BatchNormalization()], [BatchNormalization()], []),
        Add([ReLU(), Conv2D(4, 1)], [BatchNormalization()], [Conv2D(4, (3, 3), padding = "same", activation = "tanh")], []),
        Concatenate([MaxPooling2D()], [Conv2D(2, (2, 2), strides = 2), BatchNormalization()], [AveragePooling2D()]),
        GlobalAveragePooling2D(),
        Concatenate([BatchNormalization(trainable = false)], [BatchNormalization()]),
        Dense(1, activation = "sigmoid"),
    ];

    /// A normalisation whose only weights are its statistics; nothing learns by its gradient.
    type OnlyStatistics = [
        Input(6),
        BatchNormalization(center = false, scale = false),
        Dense(3, trainable = false),
    ];

    /// Its loss is a square function of its weights, whatever is dropped.
    type Dropped = [
        Input(7),
        Dropout(0.25),
        Dense(6),
        Add([Dropout(0.5), Dense(6, trainable = false)], []),
        Dense(3, trainable = false),
        Dropout(0.25),
    ];
}

/// Runs `$run!(type)` for every network.
macro_rules! for_each {
    ($run:ident) => {
        $run!(ReshapedForPooling);
        $run!(ReshapedDeeper);
        $run!(Twice);
        $run!(Aliases);
        $run!(Activations);
        $run!(PartlyFrozen);
        $run!(AllFrozen);
        $run!(Normalized);
        $run!(NormalizedBranches);
        $run!(OnlyStatistics);
    };
}

/// Images in a batch; the largest is not the first, and lanes are of one image, of several, and none.
const BATCHES: [usize; 4] = [9, 21, 3, 10];
const MOST: usize = 21;
/// The share of a tensor's largest value that a gradient may be off by.
const TOLERANCE: f64 = 2e-5;
/// The stream of the first weight tensor.
const WEIGHTS: u64 = 500;

fn exact(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Some places of a tensor, the first and others up to its end.
fn places(range: std::ops::Range<usize>) -> Vec<usize> {
    const SOME: usize = 7;
    let len = range.len();
    range.step_by(len.div_ceil(SOME).max(1)).collect()
}

/// The slope of `f` in the argument at `place`.
fn slope(arguments: &[f64], place: usize, f: impl Fn(&[f64]) -> f64) -> f64 {
    const STEP: f64 = 1e-6;
    let shifted = |by: f64| {
        let mut arguments = arguments.to_vec();
        arguments[place] += by;
        f(&arguments)
    };
    (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP)
}

/// Asserts that the gradients, one for each level, have these slopes at some places of a range.
fn assert_slopes(what: &str, gradients: &[Vec<f32>], range: std::ops::Range<usize>, slope: impl Fn(usize) -> f64) {
    let slopes: Vec<(usize, f64)> = places(range.clone()).into_iter().map(|place| (place, slope(place))).collect();
    for (gradient, level) in gradients.iter().zip(Level::available()) {
        // A gradient that is nothing but rounding is held against one of ordinary size.
        let largest = gradient[range.clone()].iter().fold(1e-2, |most, d| f64::from(d.abs()).max(most));
        for (place, slope) in &slopes {
            let (found, at) = (f64::from(gradient[*place]), format!("{what}, {level:?}, {place}"));
            // Not `>`: a difference that is no number is no agreement.
            assert!((found - slope).abs() <= TOLERANCE * largest, "{at}: {found} instead of {slope}");
        }
    }
}

/// What an image is to give at output `o`.
fn target(plan: &Plan, image: usize, o: usize) -> f64 {
    match plan.output.len() {
        1 => (image % 2) as f64,
        outputs => f64::from(u8::from(image % outputs == o)),
    }
}

/// The mean squared error of a batch.
fn mean_loss(plan: &Plan, weights: &[f64], inputs: &[&[f64]]) -> f64 {
    let outputs = naive::forward_in_training(plan, weights, inputs);
    let error = |(image, y): (usize, &Vec<f64>)| {
        let errors = y.iter().enumerate().map(|(o, y)| (y - target(plan, image, o)).powi(2));
        errors.sum::<f64>() / y.len() as f64
    };
    outputs.iter().enumerate().map(error).sum::<f64>() / inputs.len() as f64
}

/// Loss and gradient of a training step, with the moving statistics where they are.
fn check_training<N: Network>() {
    let plan = N::PLAN;
    let (inputs, flat) = (values(1, MOST * plan.input.len()), weights(&plan, WEIGHTS));
    let labels: Vec<usize> = (0..MOST).map(|image| image % plan.output.len().max(2)).collect();
    let samples = Samples::new(plan.input, inputs.clone(), labels).unwrap();
    let executor = |level| Executor::new(&plan, Settings { threads: 2, level, ..Settings::default() });
    let mut executors: Vec<Executor> = Level::available().into_iter().map(executor).collect();
    executors.iter_mut().for_each(|executor| executor.prepare(&flat));
    let loss = MeanSquaredError::default().into();
    let (exact_inputs, exact_flat) = (exact(&inputs), exact(&flat));
    for images in BATCHES {
        let case = format!("{}, {images} images", plan.network);
        let batch: Vec<&[f64]> = exact_inputs.chunks(plan.input.len()).take(images).collect();
        let expected = mean_loss(&plan, &exact_flat, &batch);
        let indices: Vec<u32> = (0..images as u32).collect();
        let gradient = |executor: &mut Executor| {
            executor.reserve_training(images);
            let found = executor.differentiate(&samples, &indices, &flat, &loss, [0, 0]).loss / images as f64;
            assert!((found - expected).abs() <= TOLERANCE * expected, "{case}: loss {found} instead of {expected}");
            executor.gradient(images)
        };
        let gradients: Vec<Vec<f32>> = executors.iter_mut().map(gradient).collect();
        for (layer, weight) in plan.weights().filter(|(_, weight)| weight.trainable) {
            assert_slopes(&format!("{case}, {}/{}", layer.name, weight.name), &gradients, weight.range(), |place| {
                slope(&exact_flat, place, |flat| mean_loss(&plan, flat, &batch))
            });
        }
    }
}

/// Outputs of all layers and gradients outside of training, one image at a time, those of frozen weights and of the
/// input among them.
fn check_pull_back<N: Network>() {
    const IMAGES: usize = 2;
    let plan = N::PLAN;
    let (inputs, flat) = (values(1, IMAGES * plan.input.len()), weights(&plan, WEIGHTS));
    let seeds = values(2, IMAGES * plan.output.len());
    let (exact_inputs, exact_flat, exact_seeds) = (exact(&inputs), exact(&flat), exact(&seeds));
    let outputs_of = |layers: usize| -> Vec<f64> {
        let forward = |input| naive::forward(&plan.prefix(layers), &exact_flat, input);
        exact_inputs.chunks(plan.input.len()).flat_map(forward).collect()
    };
    let expected: Vec<Vec<f64>> = (1..=plan.layers.len()).map(outputs_of).collect();
    let pull_back = |level: Level| {
        let mut model = Model::<N>::compile(Sgd::default(), MeanSquaredError::default()).level(level);
        model.set_weights(&flat).unwrap();
        let found = model.layer_outputs(&inputs).unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            let what = format!("{}, {}, {level:?}", plan.network, found.name);
            naive::assert_close(&what, &found.values, expected, TOLERANCE);
        }
        let last = expected.last().expect("every network has a layer");
        naive::assert_close(plan.network, &model.predict(&inputs).unwrap(), last, TOLERANCE);
        model.pull_back(&inputs, &seeds).unwrap()
    };
    let found: Vec<PullBack> = Level::available().into_iter().map(pull_back).collect();

    let along = |flat: &[f64], inputs: &[f64]| -> f64 {
        let outputs = inputs.chunks(plan.input.len()).flat_map(|input| naive::forward(&plan, flat, input));
        outputs.zip(&exact_seeds).map(|(y, d)| y * d).sum()
    };
    let d_inputs: Vec<Vec<f32>> = found.iter().map(|found| found.d_input.clone()).collect();
    assert_slopes(&format!("{}, input", plan.network), &d_inputs, 0..inputs.len(), |place| {
        slope(&exact_inputs, place, |inputs| along(&exact_flat, inputs))
    });
    let d_weights: Vec<Vec<f32>> = found.into_iter().map(|found| found.d_weights).collect();
    for (layer, weight) in plan.weights().filter(|(_, weight)| !weight.name.starts_with("moving")) {
        let what = format!("{}, {}/{}", plan.network, layer.name, weight.name);
        assert_slopes(&what, &d_weights, weight.range(), |place| {
            slope(&exact_flat, place, |flat| along(flat, &exact_inputs))
        });
    }
}

#[test]
fn training_follows_the_slopes_of_the_loss() {
    macro_rules! check {
        ($net:ty) => {
            check_training::<$net>()
        };
    }
    for_each!(check);
}

#[test]
fn a_gradient_is_pulled_back_along_the_slopes_of_the_outputs() {
    macro_rules! check {
        ($net:ty) => {
            check_pull_back::<$net>()
        };
    }
    for_each!(check);
}

#[test]
fn what_is_dropped_has_no_part_in_the_gradient() {
    // More than 64 images a lane: several groups.
    const IMAGES: usize = 600;
    // Differences of a square function are exact over any distance.
    const STEP: f32 = 0.5;
    let plan = Dropped::PLAN;
    let mut flat = weights(&plan, WEIGHTS);
    let labels: Vec<usize> = (0..IMAGES).map(|image| image % plan.output.len()).collect();
    let samples = Samples::new(plan.input, values(1, IMAGES * plan.input.len()), labels).unwrap();
    let indices: Vec<u32> = (0..IMAGES as u32).collect();
    let loss = MeanSquaredError::default().into();
    for level in Level::available() {
        let mut executor = Executor::new(&plan, Settings { threads: 2, level, ..Settings::default() });
        executor.reserve_training(IMAGES);
        let mut mean_loss = |flat: &[f32]| {
            executor.prepare(flat);
            let outcome = executor.differentiate(&samples, &indices, flat, &loss, [7, 3]);
            (outcome.loss / IMAGES as f64, executor.gradient(IMAGES))
        };
        let (_, gradient) = mean_loss(&flat);
        for (layer, weight) in plan.weights().filter(|(_, weight)| weight.trainable) {
            for place in weight.range() {
                let value = flat[place];
                let [above, below] = [value + STEP, value - STEP].map(|moved| {
                    flat[place] = moved;
                    mean_loss(&flat).0
                });
                flat[place] = value;
                let (found, slope) = (f64::from(gradient[place]), (above - below) / f64::from(2.0 * STEP));
                let at = format!("{level:?}, {}/{}, {place}", layer.name, weight.name);
                assert!((found - slope).abs() < 1e-6, "{at}: {found} instead of {slope}");
            }
        }
    }
}
