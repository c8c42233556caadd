//! Same seed, same bits, whatever the number of threads.

#[path = "support/digits.rs"]
mod digits;

use convnet::engine::cpu::simd::Level;
use convnet::prelude::*;
use convnet::shape::size::Map;
use digits::Digits as Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

convnet! {
    /// Lanes meet at its normalisations, its dropout is random, and gradients of several layers are added up.
    type Residual = [
        Input(28, 28, 1),
        Conv2D(8, (3, 3), strides = 2, padding = "same", use_bias = false),
        BatchNormalization(),
        ReLU(),
        Add([
            Conv2D(8, (3, 3), padding = "same"),
            BatchNormalization(),
            ReLU(),
            Dropout(0.3),
            Conv2D(8, (3, 3), padding = "same", kernel_regularizer = L2(0.001)),
        ], []),
        Concatenate([DepthwiseConv2D((3, 3))], [AveragePooling2D((3, 3), strides = 1)], [Conv2D(4, (3, 3), trainable = false)]),
        GlobalAveragePooling2D(),
        BatchNormalization(momentum = 0.9),
        Dropout(0.5),
        Dense(10, activation = "softmax"),
    ];

    /// Its first dense layer has so many weights that it takes a whole batch at once, and its input feeds another branch.
    type Wide = [
        Input(28, 28, 1),
        Conv2D(32, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Add(
            [Flatten(), Dense(70, activation = "tanh", kernel_regularizer = L2(0.001))],
            [AveragePooling2D((6, 6)), Flatten(), Dense(70)],
        ),
        Dense(10, activation = "softmax"),
    ];

    /// Its first layer has more weights than a cache of a core's own: in batches of few images the features are shared out.
    type Sliced = [
        Input(28, 28, 1),
        Flatten(),
        Dense(704, activation = "relu"),
        Dense(10, activation = "softmax"),
    ];

    /// Its layers are so long that threads share them out where there is a single image.
    type Large = [
        Input(64, 64, 3),
        Conv2D(32, (3, 3), padding = "same", use_bias = false),
        BatchNormalization(),
        ReLU(),
        DepthwiseConv2D((3, 3), padding = "same", activation = "tanh"),
        Conv2D(64, (1, 1), activation = "relu"),
        Add([Conv2D(64, (3, 3), padding = "same", activation = "sigmoid"), BatchNormalization()], []),
        ReLU(max_value = 6.0),
        AveragePooling2D((3, 3), strides = 1),
        Concatenate([MaxPooling2D((3, 3), strides = 2)], [Conv2D(48, (3, 3), strides = 2)]),
        Conv2D(256, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(256, (3, 3), padding = "same"),
        Flatten(),
        Dense(256, activation = "tanh"),
        Dense(10, activation = "softmax"),
    ];
}

/// How a network is trained.
#[derive(Clone, Copy, Debug)]
struct Setup {
    images: usize,
    batch_size: usize,
    seed: u64,
    exact: bool,
    precision: Precision,
    level: Level,
}

/// 1003 images: the last batch of 64 has 43, and its lanes differ in length.
fn setup() -> Setup {
    let (precision, level) = (Precision::F32, Level::detect());
    Setup { images: 1003, batch_size: 64, seed: 3, exact: false, precision, level }
}

fn model<N: Network>() -> Model<N> {
    Model::compile(RmsProp::default(), CategoricalCrossentropy::default())
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| x.to_bits()).collect()
}

/// Weights, test loss and some outputs after an epoch over digits that the crate draws.
fn trained<N: Network<Input = Map<28, 28, 1>>>(threads: usize, setup: Setup) -> (Vec<u32>, u32, Vec<u32>) {
    let Setup { images, batch_size, seed, exact, precision, level } = setup;
    let set = datasets::drawn_digits(images, 7).unwrap();
    let mut model = model::<N>().seed(seed).threads(threads).exact(exact).precision(precision).level(level);
    model.fit(&set, Fit { batch_size, verbose: Verbose::Silent, ..Fit::default() }).unwrap();
    let score = model.evaluate(&set).unwrap();
    let image = set.image(0).unwrap();
    let outputs = model.predict(&image.repeat(5)).unwrap();
    (bits(model.weights()), score.loss.to_bits(), bits(&outputs))
}

/// That all these numbers of threads give the same.
fn check_threads<N: Network<Input = Map<28, 28, 1>>>(threads: &[usize], setup: Setup) {
    let one = trained::<N>(1, setup);
    for &threads in threads {
        assert!(one == trained::<N>(threads, setup), "{threads} threads differ from 1: {setup:?}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    check_threads::<Net>(&[2, 3], setup());
    // As many threads as lanes, and one more; the last batch has 11 images.
    check_threads::<Net>(&[8, 9], Setup { images: 203, ..setup() });
}

#[test]
fn so_it_is_without_re_association_and_on_every_machine() {
    check_threads::<Net>(&[3], Setup { images: 203, exact: true, ..setup() });
    check_threads::<Net>(&[3], Setup { images: 203, level: Level::Portable, ..setup() });
    check_threads::<Net>(&[3], Setup { images: 203, exact: true, level: Level::Portable, ..setup() });
    for precision in [Precision::Tf32, Precision::Bf16] {
        check_threads::<Net>(&[3], Setup { images: 203, precision, ..setup() });
    }
}

#[test]
fn so_it_is_with_batches_smaller_than_the_lanes() {
    check_threads::<Net>(&[2, 9], Setup { images: 43, batch_size: 1, ..setup() });
    check_threads::<Net>(&[2, 9], Setup { images: 43, batch_size: 5, ..setup() });
}

#[test]
fn so_it_is_where_lanes_meet_and_with_dropout() {
    check_threads::<Residual>(&[2, 3, 9], Setup { images: 203, ..setup() });
    check_threads::<Residual>(&[2], Setup { images: 21, batch_size: 5, ..setup() });
    check_threads::<Residual>(&[2], Setup { images: 75, exact: true, level: Level::Portable, ..setup() });
}

#[test]
fn so_it_is_where_a_layer_is_shared_out() {
    check_threads::<Wide>(&[2, 3, 9], Setup { images: 203, ..setup() });
    check_threads::<Wide>(&[2], Setup { images: 21, batch_size: 5, ..setup() });
    check_threads::<Wide>(&[2], Setup { images: 75, level: Level::Portable, ..setup() });
    check_threads::<Sliced>(&[2, 9], Setup { images: 203, ..setup() });
    check_threads::<Sliced>(&[3], Setup { images: 21, batch_size: 5, ..setup() });
}

#[test]
fn no_image_sees_those_that_it_is_predicted_with() {
    const IMAGES: usize = 150;
    let set = datasets::drawn_digits(IMAGES, 7).unwrap();
    let images: Vec<f32> = set.iter().flat_map(|(image, _)| image).collect();
    for level in Level::available() {
        for exact in [false, true] {
            let mut model = model::<Net>().level(level).exact(exact).threads(2);
            let all = bits(&model.predict(&images).unwrap());
            assert!(all.chunks(10).any(|row| row != &all[..10]), "the outputs are not all alike");
            for count in [1, 3, 65] {
                let runs = images.chunks(count * 28 * 28);
                let found: Vec<u32> = runs.flat_map(|images| bits(&model.predict(images).unwrap())).collect();
                assert!(found == all, "{count} at a time, {level:?}, exact: {exact}");
            }
        }
    }
}

#[test]
fn so_it_is_where_threads_share_an_image() {
    const IMAGES: usize = 4;
    let mut noise = StdRng::seed_from_u64(5);
    let images: Vec<f32> = (0..IMAGES * 64 * 64 * 3).map(|_| noise.random()).collect();
    for (level, exact) in Level::available().into_iter().flat_map(|level| [(level, false), (level, true)]) {
        let predict = |threads: usize, images: &[f32]| {
            let mut model = Model::<Large>::compile(Sgd::default(), CategoricalCrossentropy::default())
                .seed(3)
                .level(level)
                .exact(exact)
                .threads(threads);
            bits(&model.predict(images).unwrap())
        };
        let expected = predict(1, &images);
        assert!(expected.chunks(10).any(|row| row != &expected[..10]), "the outputs are not all alike");
        for (threads, count) in [(2, 1), (3, 1), (8, 1), (8, 4)] {
            let found = predict(threads, &images[..count * 64 * 64 * 3]);
            assert!(found == expected[..count * 10], "{count} on {threads} threads, {level:?}, exact: {exact}");
        }
    }
}

#[test]
fn seeds_differ_and_repeat() {
    let small = Setup { images: 203, ..setup() };
    assert!(trained::<Net>(2, small) == trained::<Net>(2, small));
    assert!(trained::<Net>(2, small).0 != trained::<Net>(2, Setup { seed: 4, ..small }).0);
}

#[test]
fn the_order_of_the_images_matters_only_if_shuffled() {
    let set = datasets::drawn_digits(256, 7).unwrap();
    let weights = |seed: u64, shuffle: bool| {
        let mut model = model::<Net>().seed(seed);
        model.set_weights(self::model::<Net>().weights()).unwrap();
        model.fit(&set, Fit { shuffle, verbose: Verbose::Silent, ..Fit::default() }).unwrap();
        model.weights().to_vec()
    };
    assert!(weights(1, false) == weights(2, false));
    assert!(weights(1, true) != weights(2, true));
}
