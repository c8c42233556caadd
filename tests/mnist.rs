//! The promise of section 5.1: 99 % on MNIST. Runs on the real images where `CONVNET_DATA` names them.

#[path = "support/data.rs"]
mod data;
#[path = "support/digits.rs"]
mod digits;

use convnet::prelude::*;
use digits::Digits;

convnet! {
    type DenseNet = [
        Input(28, 28, 1),
        Flatten(),
        Dense(512, activation = "relu"),
        Dense(10, activation = "softmax"),
    ];
}

type Images = ImageSet<28, 28, 1>;

/// Test accuracy after five epochs with Keras's defaults.
fn accuracy<N: Network<Input = convnet::shape::size::Map<28, 28, 1>>>(
    train: &Images,
    test: &Images,
    batch_size: usize,
    seed: u64,
) -> f32 {
    let mut model = Model::<N>::compile(RmsProp::default(), CategoricalCrossentropy::default()).seed(seed);
    model.fit(train, Fit { epochs: 5, batch_size, verbose: Verbose::Silent, ..Fit::default() }).unwrap();
    model.evaluate(test).unwrap().accuracy
}

#[test]
fn five_epochs_reach_99_percent() {
    let Some(data) = data::data() else { return };
    let (train, test) = datasets::mnist_from(data.join("mnist")).unwrap();
    let reached = accuracy::<Digits>(&train, &test, 64, 1);
    assert!(reached >= 0.990, "test accuracy {reached}");
}

#[test]
fn the_drawn_digits_tell_a_convnet_from_a_dense_net() {
    let train = datasets::drawn_digits(30_000, 1).unwrap();
    let test = datasets::drawn_digits(5_000, 2).unwrap();
    let convnet = accuracy::<Digits>(&train, &test, 64, 1);
    let dense = accuracy::<DenseNet>(&train, &test, 128, 1);
    assert!(convnet > 0.99, "the convnet reaches {convnet}");
    assert!(dense < 0.99, "the dense net reaches {dense}");
    assert!(dense > 0.9, "the dense net reaches {dense}: the digits cannot be read");
}
