//! Bad input gets an error that names what was expected and what was found, and nothing is lost.
//!
//! The readers' own tests (`data::idx`, `weights::file`) go through the ways in which a file can be broken; these are
//! the promises that a user of [`Model`] relies on.

use convnet::prelude::*;
use convnet::shape::size::Map;
use std::fs;

convnet! {
    type Net = [
        Input(8, 8, 1),
        Conv2D(4, (3, 3), activation = "relu"),
        Flatten(),
        Dense(3, activation = "softmax"),
    ];

    type Other = [
        Input(8, 8, 1),
        Conv2D(5, (3, 3), activation = "relu"),
        Flatten(),
        Dense(3, activation = "softmax"),
    ];

    /// What a step changes besides weights with gradients, and what it must not change.
    type Normalized = [
        Input(8, 8, 1),
        BatchNormalization(),
        Conv2D(4, (3, 3), trainable = false),
        Add([BatchNormalization(scale = false), Activation("relu"), Conv2D(4, 1)], []),
        BatchNormalization(trainable = false),
        Flatten(),
        Dense(3, activation = "softmax"),
    ];

    type Deeper = [
        Input(8, 8, 1),
        Conv2D(4, (3, 3), activation = "relu"),
        Flatten(),
        Dense(7, activation = "relu"),
        Dense(3, activation = "softmax"),
    ];
}

fn set(labels: Vec<u8>) -> ImageSet<8, 8, 1> {
    let pixels: Vec<u8> = (0..labels.len() * 64).map(|i| (i * 37 % 251) as u8).collect();
    ImageSet::new(pixels, labels).unwrap()
}

fn model() -> Model<Net> {
    Model::compile(RmsProp::default(), CategoricalCrossentropy::default())
}

fn quiet<'a, I>() -> Fit<'a, I> {
    Fit { verbose: Verbose::Silent, ..Fit::default() }
}

/// The message of an error, which must contain all of `parts`.
fn assert_says<T>(result: convnet::Result<T>, parts: &[&str]) {
    let Err(error) = result else { panic!("no error; expected one with {parts:?}") };
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "`{message}` lacks `{part}`");
    }
}

#[test]
fn settings_that_make_no_sense() {
    let set = set(vec![0, 1, 2, 0]);
    assert_says(model().fit(&set, Fit { batch_size: 0, ..quiet() }), &["batch_size", "at least 1", "found 0"]);
    assert_says(model().fit(&set, Fit { validation_split: 1.0, ..quiet() }), &["validation_split", "found 1"]);
    assert_says(model().fit(&set, Fit { validation_split: f64::NAN, ..quiet() }), &["validation_split", "NaN"]);
    let both = Fit { validation_split: 0.5, validation: Some(&set), ..quiet() };
    assert_says(model().fit(&set, both), &["validation_split", "validation"]);
    let mut slow = Model::<Net>::compile(
        RmsProp { learning_rate: -1.0, ..RmsProp::default() },
        CategoricalCrossentropy::default(),
    );
    assert_says(slow.fit(&set, quiet()), &["learning_rate", "-1"]);
}

#[test]
fn data_that_do_not_fit() {
    assert_says(ImageSet::<8, 8, 1>::new(vec![0u8; 64], vec![0u8; 2]), &["128", "64"]);
    assert_says(ImageSet::<8, 8, 1>::new(Vec::<u8>::new(), Vec::<u8>::new()), &["found"]);
    assert_says(model().fit(&set(vec![0, 1, 3, 0]), quiet()), &["3", "2"]);
    assert_says(model().evaluate(&set(vec![0, 1, 2, 9])), &["9", "2"]);
    let validation = set(vec![0, 7]);
    assert_says(model().fit(&set(vec![0, 1]), Fit { validation: Some(&validation), ..quiet() }), &["7"]);
    assert_says(model().predict(&[0.0; 65]), &["64", "65"]);
    assert_says(model().set_weights(&[0.0; 3]), &["3"]);
}

#[test]
fn weights_of_another_network() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("net.safetensors");
    let mut trained = model();
    trained.fit(&set(vec![0, 1, 2, 1, 0]), quiet()).unwrap();
    trained.save(&file).unwrap();

    assert_says(Model::<Other>::load(&file), &["conv2d_1/kernel", "(3, 3, 1, 5)", "(3, 3, 1, 4)"]);
    assert_says(Model::<Deeper>::load(&file), &["dense_1/kernel", "(144, 7)", "(144, 3)"]);
    let mut other = Model::<Other>::compile(Sgd::default(), CategoricalCrossentropy::default());
    let before = other.weights().to_vec();
    assert!(other.load_weights(&file).is_err());
    assert_eq!(other.weights(), before, "a failed load changes nothing");

    let again = Model::<Net>::load(&file).unwrap();
    assert_eq!(again.weights(), trained.weights());
}

#[test]
fn broken_files_and_folders() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("net.safetensors");
    assert_says(Model::<Net>::load(&file), &["net.safetensors"]);
    model().save(&file).unwrap();
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert_says(Model::<Net>::load(&file), &["net.safetensors"]);
    fs::write(&file, b"not a file of weights at all").unwrap();
    assert_says(Model::<Net>::load(&file), &["net.safetensors"]);
    assert_says(Model::<Net>::load(folder.path()), &[]);
    assert_says(model().save(folder.path().join("no/such/folder/net.safetensors")), &["no/such/folder"]);
    assert_says(datasets::mnist_from(folder.path()), &["train-images"]);
}

fn check_broken_image<N: Network<Input = Map<8, 8, 1>>>() {
    let mut pixels = vec![0.5f32; 6 * 64];
    // The fifth image is broken: in file order and batches of two it comes in the third step.
    pixels[4 * 64 + 10] = f32::NAN;
    let broken = ImageSet::<8, 8, 1>::new(pixels.clone(), vec![0u8, 1, 2, 0, 1, 2]).unwrap();
    let first_step = ImageSet::<8, 8, 1>::new(pixels[..2 * 64].to_vec(), vec![0u8, 1]).unwrap();
    let options = || Fit { batch_size: 2, shuffle: false, ..quiet() };

    let model = || Model::<N>::compile(RmsProp::default(), CategoricalCrossentropy::default());
    let mut stopped = model();
    assert_says(stopped.fit(&broken, options()), &["NaN", "epoch 1", "step 3"]);
    let mut expected = model();
    expected.fit(&first_step, options()).unwrap();
    assert_eq!(stopped.weights(), expected.weights(), "the weights are those of the last step whose loss was a number");
    // What the kernels derived from the weights is that of those, too.
    assert_eq!(stopped.evaluate(&first_step).unwrap(), expected.evaluate(&first_step).unwrap());
    // Training goes on from there, the optimizer anew.
    assert!(stopped.fit(&first_step, options()).unwrap().loss()[0].is_finite());

    // Weights that were set are never taken back to those before.
    let other: Vec<f32> = stopped.weights().iter().map(|weight| weight + 0.125).collect();
    stopped.set_weights(&other).unwrap();
    let broken_first = ImageSet::<8, 8, 1>::new(pixels[4 * 64..].to_vec(), vec![1u8, 2]).unwrap();
    assert_says(stopped.fit(&broken_first, options()), &["NaN", "epoch 1", "step 1"]);
    assert_eq!(stopped.weights(), other);
}

#[test]
fn a_loss_that_is_no_number_stops_training_and_keeps_the_weights() {
    check_broken_image::<Net>();
    check_broken_image::<Normalized>();
}

#[test]
fn moving_statistics_that_are_no_numbers_stop_training_too() {
    // The variance of the last batch is beyond single precision; all that is computed by it is not.
    let mut pixels: Vec<f32> = (0..6 * 64).map(|i| (i * 37 % 251) as f32).collect();
    pixels[4 * 64..].iter_mut().for_each(|pixel| *pixel *= 1e25);
    let labels = vec![0u8, 1, 2, 0, 1, 2];
    let set = ImageSet::<8, 8, 1>::new(pixels.clone(), labels.clone()).unwrap();
    let ordinary = ImageSet::<8, 8, 1>::new(pixels[..4 * 64].to_vec(), labels[..4].to_vec()).unwrap();
    let options = || Fit { batch_size: 2, shuffle: false, ..quiet() };
    let model = || Model::<Normalized>::compile(RmsProp::default(), CategoricalCrossentropy::default());
    let mut stopped = model();
    assert_says(stopped.fit(&set, options()), &["weight", "epoch 1", "step 3"]);
    let mut expected = model();
    expected.fit(&ordinary, options()).unwrap();
    assert_eq!(stopped.weights(), expected.weights(), "the weights are those before the step");
    assert_eq!(stopped.evaluate(&ordinary).unwrap(), expected.evaluate(&ordinary).unwrap());
}

#[test]
fn a_batch_may_be_larger_than_those_before() {
    let (few, many) = (set(vec![0, 1, 2]), set((0..21).map(|i| i % 3).collect()));
    let model = || Model::<Normalized>::compile(Sgd::default(), CategoricalCrossentropy::default());
    let options = || Fit { batch_size: 32, shuffle: false, ..quiet() };
    let mut model = [model(), model()];
    // The second starts from the weights of the first, but has never seen a smaller batch.
    model[0].fit(&few, options()).unwrap();
    let weights = model[0].weights().to_vec();
    model[1].set_weights(&weights).unwrap();
    for set in [&many, &few, &many] {
        let losses = [0, 1].map(|i| model[i].fit(set, options()).unwrap().loss()[0]);
        assert_eq!(losses[0], losses[1]);
        assert_eq!(model[0].weights(), model[1].weights());
        let scores = [0, 1].map(|i| model[i].evaluate(&many).unwrap());
        assert_eq!(scores[0], scores[1]);
    }
    for (layer, weight) in Normalized::PLAN.weights().filter(|(layer, _)| !layer.trainable) {
        assert_eq!(model[0].weights()[weight.range()], weights[weight.range()], "{}", layer.name);
    }
}

#[test]
fn a_learning_rate_far_too_large_is_noticed_and_does_no_harm() {
    let set = set(vec![0, 1, 2, 0, 1, 2, 1, 1]);
    // The weights of the first become infinite at once; those of the second only so large that the next loss is none.
    for (learning_rate, what) in [(1e39f64 as f32, "learning_rate"), (3e38, "epoch 1"), (1e30, "epoch 1")] {
        let mut model =
            Model::<Net>::compile(Sgd { learning_rate, ..Sgd::default() }, CategoricalCrossentropy::default());
        let before = model.evaluate(&set).unwrap();
        assert_says(model.fit(&set, Fit { epochs: 20, batch_size: 2, ..quiet() }), &[what]);
        assert!(model.weights().iter().all(|weight| weight.abs() < 1.0), "{learning_rate}");
        assert_eq!(model.evaluate(&set).unwrap(), before, "{learning_rate}");
    }
}

#[test]
fn a_validation_share_that_leaves_nothing_to_train_on() {
    let set = set(vec![0, 1]);
    assert_says(model().fit(&set, Fit { validation_split: 0.9, ..quiet() }), &["training set", "found 0"]);
}
