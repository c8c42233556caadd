//! The CUDA engine computes what the CPU engine and Keras compute.
//!
//! Everything runs twice: on a GPU, where there is one, and on the CPU, which executes the same kernels thread by thread
//! (feature `cuda-host`). What a machine lacks is said and skipped.

#![cfg(feature = "cuda")]

#[path = "../support/digits.rs"]
mod digits;
#[path = "../support/keras.rs"]
#[expect(dead_code, reason = "parameters are counted in tests/parity.rs")]
mod keras;

use convnet::prelude::*;
use digits::Digits;
use keras::weights;

include!("../fixtures/random_nets.rs");
include!("../fixtures/layer_nets.rs");

mod agreement;
mod corners;
mod listing;
mod training;

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

    /// Statistics for more channels than a block has threads.
    type Broad = [
        Input(28, 28, 1),
        Conv2D(150, 3, strides = 3, use_bias = false),
        BatchNormalization(momentum = 0.8),
        Activation("relu"),
        Conv2D(6, 1),
        BatchNormalization(momentum = 0.5),
        GlobalAveragePooling2D(),
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
    off.fold(0.0, |most: f32, off| if most.is_nan() || off <= most { most } else { off }) / largest
}

/// A model with the weights of the formula, from this stream on.
fn fixed<N: Network>(stream: u64) -> Model<N> {
    let mut model = Model::<N>::compile(Sgd::default(), MeanSquaredError::default());
    model.set_weights(&weights(&N::PLAN, stream)).unwrap();
    model
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let error = Cuda::device(99).unwrap_err().to_string();
    assert!(error.starts_with("CUDA: "), "{error}");
    eprintln!("{error}");
}
