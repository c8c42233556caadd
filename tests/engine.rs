//! A batch gives the sum of what its images give.
//!
//! Training runs images in lanes and groups, with kernels chosen for a first layer that hands no gradient on, and lets
//! gradients collect over the groups; `Executor::pull_back` takes one image at a time, with the gradient handed on to
//! the input. Both must tell the same gradient, and the loss that is shown must be that of the outputs. So must dense
//! layers that take all images at once. Where a batch is normalised, and no image stands for itself, it must give what
//! copies of it give.

#[path = "support/digits.rs"]
mod digits;
#[path = "support/keras.rs"]
#[expect(dead_code, reason = "the numbers that Keras computed are for tests/parity.rs")]
mod keras;

use convnet::data::Samples;
use convnet::engine::cpu::executor::{Executor, Settings};
use convnet::engine::cpu::simd::Level;
use convnet::layers::Op;
use convnet::plan::{LayerPlan, Plan};
use convnet::prelude::*;
use digits::Digits;
use keras::{RANDOM_NETS, values, weights};

include!("fixtures/random_nets.rs");
include!("fixtures/layer_nets.rs");

convnet! {
    /// One output, which takes the label as a number.
    type Single = [
        Input(6, 7, 2),
        Conv2D(3, (3, 3), activation = "tanh"),
        Flatten(),
        Dense(1, activation = "sigmoid"),
    ];

    /// Normalisations with and without an activation behind, and outputs of them that are taken in one place and in several.
    type Normalized = [
        Input(20, 20, 2),
        Conv2D(16, (3, 3), padding = "same"),
        BatchNormalization(),
        Activation("tanh"),
        Add([Conv2D(16, (3, 3), padding = "same"), BatchNormalization(), Activation("sigmoid"), Conv2D(16, 1)], []),
        BatchNormalization(),
        Add([BatchNormalization()], []),
        GlobalAveragePooling2D(),
        Dense(3),
    ];
}

convnet! {
    /// So many channels that the tile unit makes the products, where there is one. Without kinks, which rounding could tip.
    type Broad = [
        Input(12, 12, 3),
        Conv2D(64, (3, 3), padding = "same", activation = "tanh"),
        Conv2D(128, (3, 3), activation = "tanh"),
        Conv2D(64, (3, 3), padding = "same"),
        AveragePooling2D((2, 2)),
        Flatten(),
        Dense(3),
    ];

    /// As many, for a kernel near the identity.
    type Near = [
        Input(12, 12, 128),
        Conv2D(128, (3, 3), padding = "same"),
    ];
}

/// Images in a batch, the most first: what a large batch leaves in the lanes must not reach a smaller one. 1 and 7 leave
/// lanes empty, 9 and 21 make them unequal, 530 makes several groups a lane even where 64 images are a group.
const BATCHES: [usize; 5] = [530, 21, 9, 7, 1];
/// The share of a tensor's largest value that a gradient may be off by.
const TOLERANCE: f64 = 1e-5;

/// What an image is to give at output `o`.
fn target(plan: &Plan, image: usize, o: usize) -> f64 {
    match plan.output.len() {
        1 => (image % 2) as f64,
        outputs => f64::from(u8::from(image % outputs == o)),
    }
}

/// Loss and gradient of the mean over the images before the one asked for, from one image at a time.
struct Expected {
    images: usize,
    loss: f64,
    gradient: Vec<f64>,
}

/// The means over the first n images, for each n of `BATCHES`.
fn image_by_image(plan: &Plan, inputs: &[f32], weights: &[f32], settings: Settings) -> Vec<Expected> {
    let mut executor = Executor::new(plan, Settings { input_gradient: true, threads: 1, ..settings });
    executor.prepare(weights);
    let outputs = plan.output.len();
    let (mut loss, mut gradient) = (0.0, vec![0.0; plan.params]);
    let mut expected = Vec::new();
    for (image, input) in inputs.chunks(plan.input.len()).enumerate() {
        let mut predicted = vec![0.0; outputs];
        executor.predict(input, &mut predicted, weights);
        let error = |(o, &y): (usize, &f32)| f64::from(y) - target(plan, image, o);
        let seed: Vec<f32> =
            predicted.iter().enumerate().map(|row| (2.0 * error(row) / outputs as f64) as f32).collect();
        let pulled = executor.pull_back(input, &seed, weights);
        loss += pulled.outputs.iter().enumerate().map(|row| error(row).powi(2)).sum::<f64>() / outputs as f64;
        for (sum, d) in gradient.iter_mut().zip(&pulled.d_weights) {
            *sum += f64::from(*d);
        }
        let images = image + 1;
        if BATCHES.contains(&images) {
            let mean = gradient.iter().map(|sum| sum / images as f64).collect();
            expected.push(Expected { images, loss: loss / images as f64, gradient: mean });
        }
    }
    expected
}

fn check_batches<N: Network>(name: &str, settings: Settings) {
    let plan = N::PLAN;
    // In a training step a normalisation looks at all images, and a dropout is random (tests/gradients.rs).
    let random = |layer: &LayerPlan| match layer.op {
        Op::BatchNormalization(_) => layer.trainable,
        Op::Dropout(_) => true,
        _ => false,
    };
    let dense = plan.layers.iter().any(|layer| matches!(layer.op, Op::Dense(_)));
    if settings.wide == 1 && !dense {
        return;
    }
    if plan.output.is_map() || plan.layers.iter().any(random) {
        return;
    }
    let inputs = values(1, BATCHES[0] * plan.input.len());
    let classes = plan.output.len().max(2);
    let labels: Vec<usize> = (0..BATCHES[0]).map(|image| image % classes).collect();
    let weights = weights(&plan, RANDOM_NETS);
    let expected = image_by_image(&plan, &inputs, &weights, settings);
    assert_eq!(expected.len(), BATCHES.len());

    let samples = Samples::new(plan.input, inputs, labels).unwrap();
    let mut executor = Executor::new(&plan, settings);
    executor.prepare(&weights);
    executor.reserve_training(BATCHES[0]);
    let loss = MeanSquaredError::default().into();
    for Expected { images, loss: mean, gradient } in expected.iter().rev() {
        let case = format!("{name}, {images} images, {settings:?}");
        // Backwards, so that a sample's place in the batch is not its place in the set.
        let indices: Vec<u32> = (0..*images as u32).rev().collect();
        let outcome = executor.differentiate(&samples, &indices, &weights, &loss, [0, 0]);
        assert_eq!(outcome.images, *images, "{case}");
        let found = outcome.loss / *images as f64;
        assert!((found - mean).abs() <= TOLERANCE * mean.abs(), "{case}: loss {found}, expected {mean}");

        let found = executor.gradient(*images);
        // The way back ends at the first weight that learns.
        for (layer, weight) in plan.weights().filter(|(_, weight)| weight.trainable) {
            let (found, expected) = (&found[weight.range()], &gradient[weight.range()]);
            let largest = expected.iter().fold(f64::from(f32::MIN_POSITIVE), |most, d| most.max(d.abs()));
            for (found, expected) in found.iter().zip(expected) {
                let difference = (f64::from(*found) - expected).abs() / largest;
                let at = format!("{}/{}", layer.name, weight.name);
                // Not `>`: a difference that is no number is no agreement.
                assert!(difference <= TOLERANCE, "{case}, {at}: {difference:e} of the largest");
            }
        }
    }
}

#[test]
fn a_batch_gives_the_sum_of_its_images() {
    for level in Level::available() {
        let usual = Settings { threads: 2, level, ..Settings::default() };
        for settings in [Settings { exact: true, ..usual }, usual, Settings { wide: 1, ..usual }] {
            macro_rules! check {
                ($net:ty, $name:literal) => {
                    check_batches::<$net>($name, settings)
                };
            }
            for_each_net!(check);
            for_each_layer_net!(check);
            check!(Single, "single");
            check!(Digits, "digits");
        }
    }
}

/// Means over a batch, and over ten copies of it, which take several groups a lane: a normalisation sees the same
/// statistics in both.
fn check_copies<N: Network>(name: &str, settings: Settings) -> bool {
    const IMAGES: usize = 53;
    let plan = N::PLAN;
    let normalizes = |layer: &LayerPlan| matches!(layer.op, Op::BatchNormalization(_)) && layer.trainable;
    let drops = |layer: &LayerPlan| matches!(layer.op, Op::Dropout(_));
    if !plan.layers.iter().any(normalizes) || plan.layers.iter().any(drops) || plan.output.is_map() {
        return false;
    }
    let labels: Vec<usize> = (0..IMAGES).map(|image| image % plan.output.len().max(2)).collect();
    let samples = Samples::new(plan.input, values(1, IMAGES * plan.input.len()), labels).unwrap();
    let weights = weights(&plan, RANDOM_NETS);
    let mut executor = Executor::new(&plan, settings);
    executor.prepare(&weights);
    executor.reserve_training(10 * IMAGES);
    let mut means = |copies: usize| {
        let indices: Vec<u32> = (0..(copies * IMAGES) as u32).map(|image| image % IMAGES as u32).collect();
        let loss = MeanSquaredError::default().into();
        let outcome = executor.differentiate(&samples, &indices, &weights, &loss, [0, 0]);
        (outcome.loss / indices.len() as f64, executor.gradient(indices.len()))
    };
    let (expected, found) = (means(1), means(10));
    let case = format!("{name}, {settings:?}");
    assert!(
        (found.0 - expected.0).abs() <= TOLERANCE * expected.0,
        "{case}: loss {}, {} of copies",
        expected.0,
        found.0
    );
    for layer in plan.layers {
        // A bias above a normalisation has no gradient but what rounding leaves, which is beside that of the kernel.
        let weights = || layer.weights().iter().filter(|weight| weight.trainable).flat_map(|weight| weight.range());
        let largest = weights().fold(f32::MIN_POSITIVE, |most, at| most.max(expected.1[at].abs()));
        for at in weights() {
            let off = f64::from((found.1[at] - expected.1[at]).abs() / largest);
            // Sums of ten times as many products round more.
            assert!(off <= 10.0 * TOLERANCE, "{case}, {}: {off:e} of the largest", layer.name);
        }
    }
    true
}

#[test]
fn a_batch_normalised_is_as_its_copies() {
    let mut checked = 0;
    for level in Level::available() {
        let usual = Settings { threads: 2, level, ..Settings::default() };
        for settings in [Settings { exact: true, ..usual }, usual, Settings { wide: 1, input_gradient: true, ..usual }]
        {
            macro_rules! check {
                ($net:ty, $name:literal) => {
                    checked += usize::from(check_copies::<$net>($name, settings))
                };
            }
            for_each_net!(check);
            for_each_layer_net!(check);
            check!(Normalized, "normalized");
        }
    }
    assert!(checked > 3 * Level::available().len(), "networks with a normalisation: {checked}");
}

/// Every value within 10⁻⁵ of the largest.
fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let off = f64::from((found - expected).abs() / largest);
        // Not `>`, as above.
        assert!(off <= TOLERANCE, "{what}: {off:e} of the largest");
    }
}

/// Outputs and all gradients at every level beside those of sums in their order.
fn check_levels<N: Network>(weights: &[f32]) {
    const IMAGES: usize = 3;
    let plan = N::PLAN;
    let (inputs, seeds) = (values(1, IMAGES * plan.input.len()), values(2, IMAGES * plan.output.len()));
    let run = |exact: bool, level: Level| {
        let mut executor = Executor::new(&plan, Settings { exact, level, input_gradient: true, ..Settings::default() });
        executor.prepare(weights);
        executor.pull_back(&inputs, &seeds, weights)
    };
    let expected = run(true, Level::detect());
    for level in Level::available() {
        let found = run(false, level);
        assert_close(&format!("{level:?}: outputs"), &found.outputs, &expected.outputs);
        assert_close(&format!("{level:?}: gradient of the input"), &found.d_input, &expected.d_input);
        for (layer, weight) in plan.weights() {
            let what = format!("{level:?}: {}/{}", layer.name, weight.name);
            assert_close(&what, &found.d_weights[weight.range()], &expected.d_weights[weight.range()]);
        }
    }
}

#[test]
fn broad_layers_are_as_good_in_every_way_as_sums_in_their_order() {
    check_levels::<Broad>(&weights(&Broad::PLAN, RANDOM_NETS));
}

#[test]
fn so_is_a_kernel_near_the_identity() {
    // One large weight in each row and column: what is told of them by others would be wrong.
    let plan = Near::PLAN;
    let mut weights: Vec<f32> = weights(&plan, RANDOM_NETS).iter().map(|weight| weight * 1e-3).collect();
    for (_, kernel) in plan.weights().filter(|(_, weight)| weight.name == "kernel") {
        let center = &mut weights[kernel.range()][4 * 128 * 128..5 * 128 * 128];
        (0..128).for_each(|channel| center[channel * 128 + channel] = 1.0);
    }
    check_levels::<Near>(&weights);
}
