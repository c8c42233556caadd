//! Bad input gets an error that names what was expected and what was found, and nothing is lost.
//!
//! The readers' own tests (`data::idx`, `weights::file`) go through the ways in which a file can be broken; these are
//! the promises that a user of [`Model`] relies on.

use convnet::prelude::*;
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

#[test]
fn a_loss_that_is_no_number_stops_training_and_keeps_the_weights() {
    let mut pixels = vec![0.5f32; 6 * 64];
    // The fifth image is broken: in file order and batches of two it comes in the third step.
    pixels[4 * 64 + 10] = f32::NAN;
    let broken = ImageSet::<8, 8, 1>::new(pixels.clone(), vec![0u8, 1, 2, 0, 1, 2]).unwrap();
    let first_step = ImageSet::<8, 8, 1>::new(pixels[..2 * 64].to_vec(), vec![0u8, 1]).unwrap();
    let options = || Fit { batch_size: 2, shuffle: false, ..quiet() };

    let mut stopped = model();
    assert_says(stopped.fit(&broken, options()), &["NaN", "epoch 1", "step 3"]);
    let mut expected = model();
    expected.fit(&first_step, options()).unwrap();
    assert_eq!(stopped.weights(), expected.weights(), "the weights are those of the last step whose loss was a number");
    // Training goes on from there, the optimizer anew.
    assert!(stopped.fit(&first_step, options()).unwrap().loss()[0].is_finite());
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
