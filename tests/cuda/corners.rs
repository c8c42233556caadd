//! Networks at the edge of what a list of launches is made for, held against the CPU's engine.

use super::{devices, difference, keras};
use convnet::engine::PullBack;
use convnet::prelude::*;
use convnet::shape::size::Map;

convnet! {
    type Nothing = [Input(6, 6, 2), Flatten()];
    type OnlySoftmax = [Input(6, 6, 2), Flatten(), Activation("softmax")];
    type OnlyDropout = [Input(6, 6, 2), Dropout(0.5), Flatten()];
    type EndsFlat = [Input(6, 6, 2), Conv2D(3, 3, activation = "relu"), Flatten()];
    type EndsReshaped = [Input(6, 6, 2), Conv2D(3, 3, activation = "tanh"), Reshape((48,))];
    type EndsLinear = [Input(6, 6, 2), Flatten(), Dense(5, activation = "sigmoid"), Activation("linear")];
    type EndsSoft = [Input(6, 6, 2), Conv2D(3, 3, activation = "relu"), Flatten(), Softmax()];
    type EndsInDropout = [
        Input(6, 6, 2), Dropout(0.25), Conv2D(3, 3, activation = "relu"), Flatten(), Dropout(0.25),
    ];
    type EndsInMerge = [
        Input(6, 6, 2), Conv2D(2, 3, padding = "same", activation = "relu"),
        Add([], [Conv2D(2, 1, activation = "tanh")], []), Flatten(),
    ];
    type Twice = [
        Input(6, 6, 2), Conv2D(2, 3, activation = "relu"), Add([], []), Concatenate([], [], []), Add([], [Dropout(0.25)]),
        Flatten(), Dense(3),
    ];
    type NormalFirst = [
        Input(6, 6, 2), BatchNormalization(trainable = false), Conv2D(4, 3, trainable = false), BatchNormalization(),
        Activation("relu"), DepthwiseConv2D(3, trainable = false, activation = "relu"), Flatten(),
        Dense(3, kernel_regularizer = L2(0.01)),
    ];
    type NormalLast = [
        Input(6, 6, 2), Conv2D(4, 3, groups = 2, kernel_regularizer = L2(0.01), trainable = false),
        Conv2D(2, 3, groups = 2, activation = "relu"), BatchNormalization(scale = false, center = false), Flatten(),
    ];
    type AllFrozen = [
        Input(6, 6, 2), Conv2D(4, 3, trainable = false), BatchNormalization(trainable = false), Flatten(),
        Dense(3, activation = "softmax", trainable = false, kernel_regularizer = L2(0.01)),
    ];
    type OnlyStatistics = [
        Input(6, 6, 2), Conv2D(4, 3, trainable = false), BatchNormalization(scale = false, center = false), Flatten(),
        Dense(3, trainable = false),
    ];
    type Frozen = [Input(6, 6, 2), Conv2D(4, 3), Conv2D(4, 3, trainable = false), Flatten(), Dense(3)];
    type FrozenBetween = [
        Input(6, 6, 2), Conv2D(4, 3, activation = "relu"), Conv2D(4, 3, activation = "tanh", trainable = false),
        Flatten(), Dense(3, activation = "softmax"),
    ];
}

fn set(count: usize) -> ImageSet<6, 6, 2> {
    let labels: Vec<usize> = (0..count).map(|i| i % 3).collect();
    ImageSet::new(keras::values(11, count * 72), labels).unwrap()
}

/// Everything that a model can do, as numbers.
fn numbers<N: Network<Input = Map<6, 6, 2>>>(device: Device) -> Vec<(&'static str, Vec<f32>)> {
    let optimizer = Sgd { learning_rate: 0.02, momentum: 0.5, ..Sgd::default() };
    let mut model = Model::<N>::compile(optimizer, MeanSquaredError::default()).seed(3).exact(true).on(device);
    model.set_weights(&keras::weights(&N::PLAN, 31)).unwrap();
    let (images, seeds) = (keras::values(1, 5 * 72), keras::values(2, 5 * N::PLAN.output.len()));
    let mut found = vec![("outputs", model.predict(&images).unwrap())];
    let PullBack { outputs, d_weights, d_input } = model.pull_back(&images, &seeds).unwrap();
    found.extend([("pulled back", outputs), ("d_weights", d_weights), ("d_input", d_input)]);
    let set = set(7);
    let options =
        || Fit { epochs: 2, batch_size: 4, validation: Some(&set), verbose: Verbose::Silent, ..Fit::default() };
    let first = model.fit(&set, options()).unwrap();
    let second = model.fit(&set, options()).unwrap();
    for history in [first, second] {
        found.extend([("loss", history.loss().to_vec()), ("val_loss", history.val_loss().to_vec())]);
    }
    let score = model.evaluate(&set).unwrap();
    found.extend([("score", vec![score.loss]), ("weights", model.weights().to_vec())]);
    found.push(("no image", model.predict(&[]).unwrap()));
    found
}

#[test]
fn corners_agree_with_the_cpu() {
    let mut wrong = Vec::new();
    for device in devices() {
        macro_rules! check {
            ($($net:ident),*) => {$(
                let pairs = numbers::<$net>(device.clone().into()).into_iter().zip(numbers::<$net>(Device::Cpu));
                for ((name, found), (_, expected)) in pairs {
                    let off = difference(&found, &expected);
                    if off > 1e-4 {
                        wrong.push(format!("{} of {} on {}: {off:e}", name, stringify!($net), device.name()));
                    }
                }
            )*};
        }
        check!(Nothing, OnlySoftmax, OnlyDropout, EndsFlat, EndsReshaped, EndsLinear, EndsSoft, EndsInDropout);
        check!(EndsInMerge, Twice, NormalFirst, NormalLast, AllFrozen, OnlyStatistics);
        check!(FrozenBetween);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is taken back is the whole of the weights, those that no step writes included.
#[test]
fn frozen_weights_are_there_after_a_failure() {
    let run = |device: Device| {
        let optimizer = Sgd { learning_rate: 1e20, ..Sgd::default() };
        let mut model = Model::<Frozen>::compile(optimizer, MeanSquaredError::default()).exact(true).on(device);
        let options = || Fit { epochs: 3, batch_size: 4, verbose: Verbose::Silent, ..Fit::default() };
        let mut model_fails = |weights: u64| {
            model.set_weights(&keras::weights(&Frozen::PLAN, weights)).unwrap();
            let error = model.fit(&set(7), options()).unwrap_err().to_string();
            (error, model.weights().to_vec())
        };
        // The second time there is something left of the first.
        [model_fails(31), model_fails(61)]
    };
    let expected = run(Device::Cpu);
    for device in devices() {
        for ((error, weights), (expected_error, expected)) in run(device.clone().into()).iter().zip(&expected) {
            assert_eq!(error, expected_error);
            assert!(difference(weights, expected) < 1e-3, "{device:?}");
            let frozen = Frozen::PLAN.weights().filter(|(_, weight)| !weight.trainable);
            for (_, weight) in frozen {
                assert_eq!(weights[weight.range()], expected[weight.range()], "{device:?}");
            }
        }
    }
}

#[test]
fn models_go_to_other_threads() {
    fn check<T: Send + Sync>() {}
    check::<Model<Twice>>();
    check::<Device>();
}
