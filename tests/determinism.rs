//! Same seed, same bits, whatever the number of threads.

use convnet::prelude::*;

convnet! {
    type Net = [
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

/// Weights and test loss after an epoch over digits that the crate draws.
fn trained(threads: usize, seed: u64) -> (Vec<u32>, u32, Vec<u32>) {
    // 1003 images: the last batch of 64 has 43, and its lanes differ in length.
    let set = datasets::drawn_digits(1003, 7).unwrap();
    let mut model =
        Model::<Net>::compile(RmsProp::default(), CategoricalCrossentropy::default()).seed(seed).threads(threads);
    model.fit(&set, Fit { batch_size: 64, verbose: Verbose::Silent, ..Fit::default() }).unwrap();
    let score = model.evaluate(&set).unwrap();
    let image = set.image(0).unwrap();
    let outputs = model.predict(&image.repeat(5)).unwrap();
    let bits = |floats: &[f32]| floats.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    (bits(model.weights()), score.loss.to_bits(), bits(&outputs))
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    let one = trained(1, 3);
    assert!(one == trained(2, 3), "2 threads differ from 1");
    assert!(one == trained(3, 3), "3 threads differ from 1");
}

#[test]
fn seeds_differ_and_repeat() {
    assert!(trained(2, 3) == trained(2, 3));
    assert!(trained(2, 3).0 != trained(2, 4).0);
}

#[test]
fn the_order_of_the_images_matters_only_if_shuffled() {
    let set = datasets::drawn_digits(256, 7).unwrap();
    let weights = |seed: u64, shuffle: bool| {
        let mut model = Model::<Net>::compile(RmsProp::default(), CategoricalCrossentropy::default()).seed(seed);
        model
            .set_weights(&Model::<Net>::compile(Sgd::default(), MeanSquaredError::default()).weights().to_vec())
            .unwrap();
        model.fit(&set, Fit { shuffle, verbose: Verbose::Silent, ..Fit::default() }).unwrap();
        model.weights().to_vec()
    };
    assert!(weights(1, false) == weights(2, false));
    assert!(weights(1, true) != weights(2, true));
}
