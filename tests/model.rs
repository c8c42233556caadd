//! The promises of `Model`: what goes on from call to call, what validation means, what odd networks do, what is learnt.

use convnet::prelude::*;
use std::cell::RefCell;
use std::ops::ControlFlow;

convnet! {
    type Digits = [
        Input(28, 28, 1),
        MaxPooling2D((2, 2)),
        Conv2D(8, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Flatten(),
        Dense(10, activation = "softmax"),
    ];

    /// Its normalisations are folded into what stands above them when it predicts; one has no layer to fold into.
    type Normalized = [
        Input(28, 28, 1),
        BatchNormalization(),
        Conv2D(16, (3, 3), use_bias = false),
        BatchNormalization(momentum = 0.9),
        ReLU(),
        MaxPooling2D((2, 2)),
        SeparableConv2D(16, (3, 3), activation = "linear"),
        BatchNormalization(momentum = 0.9, scale = false),
        Activation("tanh"),
        Flatten(),
        Dense(10),
        BatchNormalization(center = false),
        Softmax(),
    ];

    type Flat = [Input(2, 3, 1), Flatten()];

    type Pooled = [Input(4, 6, 2), MaxPooling2D((2, 3))];

    type Mapped = [Input(4, 4, 1), Conv2D(2, (3, 3), activation = "tanh"), Conv2D(3, 1)];

    type TwoAnswers = [Input(2), Dense(8, activation = "tanh"), Dense(2, activation = "sigmoid")];

    type Quadrants = [Input(2), Dense(16, activation = "tanh"), Dense(2, activation = "softmax")];
}

fn digits() -> Model<Digits> {
    Model::compile(RmsProp::default(), CategoricalCrossentropy::default()).seed(5)
}

fn quiet<'a, I>() -> Fit<'a, I> {
    Fit { verbose: Verbose::Silent, ..Fit::default() }
}

/// Points of a square; class 1 where the signs of the coordinates differ, which no single layer can tell.
fn quadrants(count: usize) -> VectorSet<2> {
    // The golden ratio's multiples spread evenly, whatever their number.
    let coordinate = |i: usize, step: f64| ((i as f64 * step).fract() * 2.0 - 1.0) as f32;
    let points: Vec<[f32; 2]> =
        (1..=count).map(|i| [coordinate(i, 0.754_877_666), coordinate(i, 0.569_840_291)]).collect();
    let labels: Vec<u8> = points.iter().map(|[x, y]| u8::from((*x < 0.0) != (*y < 0.0))).collect();
    VectorSet::new(points.concat(), labels).unwrap()
}

#[test]
fn a_model_has_the_summary_of_its_network() {
    assert_eq!(digits().summary().to_string(), Digits::summary().to_string());
}

#[test]
fn no_epochs_change_nothing() {
    let set = datasets::drawn_digits(40, 1).unwrap();
    let mut model = digits();
    let history = model.fit(&set, Fit { epochs: 0, ..quiet() }).unwrap();
    assert!(history.is_empty());
    assert!(model.weights() == digits().weights(), "nothing has changed");

    // Nothing was trained: another seed draws other weights.
    let mut model = model.seed(6);
    assert!(model.weights() != digits().weights(), "another seed, other weights");
    assert!(model.weights() == digits().seed(6).weights(), "as if `fit` had not been called");
    model.fit(&set, quiet()).unwrap();
    let trained = model.weights().to_vec();
    assert!(model.seed(7).weights() == trained, "a seed does not undo training");
}

#[test]
fn a_seed_after_a_prediction_is_as_good_as_before() {
    let set = datasets::drawn_digits(40, 1).unwrap();
    let image = set.image(0).unwrap();
    let mut late = digits();
    let other = late.predict(&image).unwrap();
    let mut late = late.seed(6);
    let mut early = digits().seed(6);
    assert!(early.predict(&image).unwrap() != other, "another seed, other weights");
    assert!(late.predict(&image).unwrap() == early.predict(&image).unwrap());
    assert_eq!(late.fit(&set, quiet()).unwrap().loss(), early.fit(&set, quiet()).unwrap().loss());
}

#[test]
fn predictions_follow_the_weights() {
    let set = datasets::drawn_digits(96, 1).unwrap();
    let images: Vec<f32> = set.iter().flat_map(|(image, _)| image).collect();
    let model = || Model::<Normalized>::compile(Adam::default(), CategoricalCrossentropy::default());
    let (mut trained, mut fresh, mut exact) = (model(), model(), model().exact(true));
    let before = trained.predict(&images).unwrap();
    trained.fit(&set, quiet()).unwrap();
    let after = trained.predict(&images).unwrap();
    assert!(before != after);
    fresh.set_weights(trained.weights()).unwrap();
    assert!(fresh.predict(&images).unwrap() == after, "what was made of the weights before is still in use");
    exact.set_weights(trained.weights()).unwrap();
    let difference = |(a, b): (&f32, &f32)| (a - b).abs();
    let largest = exact.predict(&images).unwrap().iter().zip(&after).map(difference).fold(0.0, f32::max);
    assert!(largest < 1e-5, "{largest} between one pass and several");
}

#[test]
fn a_second_fit_goes_on_where_the_first_stopped() {
    let set = datasets::drawn_digits(150, 1).unwrap();
    let optimizers: [Optimizer; 3] =
        [Adam::default().into(), RmsProp::default().into(), Sgd { momentum: 0.9, ..Sgd::default() }.into()];
    for optimizer in optimizers {
        let model = || Model::<Digits>::compile(optimizer, CategoricalCrossentropy::default());
        let (mut once, mut twice) = (model(), model());
        let history = once.fit(&set, Fit { epochs: 2, ..quiet() }).unwrap();
        let first = twice.fit(&set, quiet()).unwrap();
        let second = twice.fit(&set, quiet()).unwrap();
        assert!(once.weights() == twice.weights(), "{optimizer:?}");
        assert_eq!(history.loss(), [first.loss(), second.loss()].concat());
    }
}

#[test]
fn callbacks_see_every_epoch_and_may_stop() {
    let set = datasets::drawn_digits(64, 1).unwrap();
    let (seen, witness) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let watch = |epoch: &Epoch| {
        seen.borrow_mut().push(*epoch);
        if epoch.number == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let second = |epoch: &Epoch| {
        witness.borrow_mut().push(epoch.number);
        ControlFlow::Continue(())
    };
    let options = Fit { epochs: 5, callbacks: vec![Box::new(watch), Box::new(second)], ..quiet() };
    let history = digits().fit(&set, options).unwrap();
    assert_eq!(*seen.borrow(), history.epochs().collect::<Vec<_>>());
    assert_eq!(seen.borrow().iter().map(|epoch| epoch.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(*witness.borrow(), [1, 2, 3], "the others hear of the epoch that was the last");
}

#[test]
fn validation_is_an_evaluation() {
    let (set, other) = (datasets::drawn_digits(100, 1).unwrap(), datasets::drawn_digits(77, 2).unwrap());
    let mut model = digits();
    let history = model.fit(&set, Fit { epochs: 2, validation: Some(&other), ..quiet() }).unwrap();
    let score = model.evaluate(&other).unwrap();
    assert_eq!(history.val_loss().len(), 2);
    assert_eq!(history.val_loss()[1], score.loss);
    assert_eq!(history.val_accuracy()[1], score.accuracy);

    let mut without = digits();
    let history = without.fit(&set, Fit { epochs: 2, ..quiet() }).unwrap();
    assert!(history.val_loss().is_empty());
    assert!(model.weights() == without.weights(), "validation has no part in training");
}

#[test]
fn a_split_trains_on_the_beginning_and_validates_on_the_rest() {
    // Keras: `int(images * (1 - split))` images are trained on.
    for (images, split, trained_on) in [(5, 0.1, 4), (10, 0.3, 7), (10, 0.7, 3), (1001, 0.25, 750)] {
        let set = datasets::drawn_digits(images, 1).unwrap();
        let (train, rest) = set.split_at(trained_on).unwrap();
        let (mut split_off, mut expected) = (digits(), digits());
        let history = split_off.fit(&set, Fit { validation_split: split, batch_size: 4, ..quiet() }).unwrap();
        expected.fit(&train, Fit { batch_size: 4, ..quiet() }).unwrap();
        assert!(split_off.weights() == expected.weights(), "{images} images, split {split}");
        let score = expected.evaluate(&rest).unwrap();
        assert_eq!(history.val_loss(), [score.loss], "{images} images, split {split}");
        assert_eq!(history.val_accuracy(), [score.accuracy], "{images} images, split {split}");
    }
}

#[test]
fn nothing_predicted_is_nothing() {
    let mut model = digits();
    assert!(model.predict(&[]).unwrap().is_empty());
    let layers = model.layer_outputs(&[]).unwrap();
    assert_eq!(layers.len(), 5);
    assert!(layers.iter().all(|layer| layer.values.is_empty()));
}

fn untrained<N: Network>() -> Model<N> {
    Model::compile(Sgd::default(), MeanSquaredError::default())
}

#[test]
fn a_network_that_only_flattens() {
    let values: Vec<f32> = (0..12).map(|i| i as f32 / 4.0).collect();
    let mut model = untrained::<Flat>();
    assert_eq!(model.predict(&values).unwrap(), values);
    let layers = model.layer_outputs(&values).unwrap();
    assert_eq!((layers.len(), &layers[0].values), (1, &values));

    let set = ImageSet::<2, 3, 1>::new(values.clone(), [0, 5]).unwrap();
    let error = |i: usize| values[i] - f32::from(i == 0 || i == 11);
    let expected = (0..12).map(|i| error(i).powi(2)).sum::<f32>() / 12.0;
    assert!((model.evaluate(&set).unwrap().loss - expected).abs() < 1e-6);
    let history = model.fit(&set, quiet()).unwrap();
    assert!((history.loss()[0] - expected).abs() < 1e-6, "without weights there is nothing to train, but a loss");
}

#[test]
fn a_network_that_only_pools() {
    // Rising values: the maximum of a window is its last value.
    let values: Vec<f32> = (0..2 * 4 * 6 * 2).map(|i| i as f32).collect();
    let place = |image: usize, y: usize, x: usize, c: usize| (((image * 4 + y) * 6 + x) * 2 + c) as f32;
    let mut expected = Vec::new();
    for window in 0..2 * 2 * 2 {
        let (image, y, x) = (window / 4, window / 2 % 2, window % 2);
        expected.extend([0, 1].map(|c| place(image, 2 * y + 1, 3 * x + 2, c)));
    }
    let mut model = untrained::<Pooled>();
    assert_eq!(model.predict(&values).unwrap(), expected);
    let layers = model.layer_outputs(&values).unwrap();
    assert_eq!((layers.len(), &layers[0].values), (1, &expected));
    assert_eq!(layers[0].shape, Pooled::PLAN.output);
}

#[test]
fn a_network_that_ends_in_a_map() {
    let values: Vec<f32> = (0..3 * 16).map(|i| (i as f32).sin()).collect();
    let mut model = untrained::<Mapped>();
    let outputs = model.predict(&values).unwrap();
    let layers = model.layer_outputs(&values).unwrap();
    assert_eq!(outputs.len(), 3 * 2 * 2 * 3);
    assert_eq!(layers[1].values, outputs);

    // The second layer, from what the first gave: a sum over two channels at each place.
    let kernel = &model.weights()[Mapped::PLAN.weights().nth(2).unwrap().1.range()];
    for (place, channels) in layers[0].values.chunks(2).enumerate() {
        for filter in 0..3 {
            let expected = channels[0] * kernel[filter] + channels[1] * kernel[3 + filter];
            assert!((outputs[place * 3 + filter] - expected).abs() < 1e-6);
        }
    }
    let set = ImageSet::<4, 4, 1>::new(values, [0, 1, 2]).unwrap();
    assert!(matches!(model.fit(&set, quiet()), Err(convnet::Error::Argument { .. })));
}

#[test]
fn two_answers_of_yes_and_no() {
    let set = quadrants(400);
    let mut model =
        Model::<TwoAnswers>::compile(Adam { learning_rate: 0.02, ..Adam::default() }, BinaryCrossentropy::default());
    let inputs: Vec<f32> = set.iter().flat_map(|(point, _)| point).collect();
    let outputs = model.predict(&inputs).unwrap();
    let terms = outputs.chunks(2).zip(set.labels()).flat_map(|(row, &label)| {
        [0, 1].map(|o| if o == label { row[o as usize] } else { 1.0 - row[o as usize] }.ln())
    });
    let expected = -terms.sum::<f32>() / outputs.len() as f32;
    let before = model.evaluate(&set).unwrap();
    assert!((before.loss - expected).abs() < 1e-5, "{} and {expected}", before.loss);

    model.fit(&set, Fit { epochs: 60, ..quiet() }).unwrap();
    let after = model.evaluate(&set).unwrap();
    assert!(after.loss < 0.25, "{after}");
}

#[test]
fn a_dense_network_learns_what_one_layer_cannot() {
    let (train, test) = quadrants(900).split_at(600).unwrap();
    let optimizer = Adam { learning_rate: 0.02, ..Adam::default() };
    let mut model = Model::<Quadrants>::compile(optimizer, CategoricalCrossentropy::default());
    model.fit(&train, Fit { epochs: 60, ..quiet() }).unwrap();
    let score = model.evaluate(&test).unwrap();
    assert!(score.accuracy > 0.95, "{score}");
}

#[test]
fn saved_and_loaded_is_the_same_network() {
    let (set, folder) = (datasets::drawn_digits(200, 1).unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("digits.safetensors");
    let mut model = digits();
    model.fit(&set, quiet()).unwrap();
    model.save(&file).unwrap();
    let mut loaded = Model::<Digits>::load(&file).unwrap();
    let (expected, found) = (model.evaluate(&set).unwrap(), loaded.evaluate(&set).unwrap());
    assert_eq!((found.loss.to_bits(), found.accuracy), (expected.loss.to_bits(), expected.accuracy));
    assert!(loaded.weights() == model.weights());
}

#[test]
fn every_optimizer_learns_digits() {
    let set = datasets::drawn_digits(600, 1).unwrap();
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    let optimizers: [Optimizer; 7] = [
        Sgd { learning_rate: 0.1, ..Sgd::default() }.into(),
        momentum.into(),
        Sgd { nesterov: true, ..momentum }.into(),
        RmsProp { learning_rate: 3e-3, ..RmsProp::default() }.into(),
        RmsProp { learning_rate: 3e-4, momentum: 0.9, centered: true, ..RmsProp::default() }.into(),
        Adam { learning_rate: 3e-3, ..Adam::default() }.into(),
        AdamW { learning_rate: 3e-3, ..AdamW::default() }.into(),
    ];
    for optimizer in optimizers {
        let mut model = Model::<Digits>::compile(optimizer, CategoricalCrossentropy::default());
        let before = model.evaluate(&set).unwrap();
        assert!(before.loss > 1.8, "{optimizer:?}: {before} before training");
        model.fit(&set, Fit { epochs: 20, ..quiet() }).unwrap();
        let after = model.evaluate(&set).unwrap();
        assert!(after.loss < 0.5 * before.loss, "{optimizer:?}: {after} after training");
    }
}

convnet! {
    /// Convolutions with 16 channels and more, which is where a lower precision may be used.
    type Wide = [
        Input(28, 28, 1),
        Conv2D(16, 3, activation = "relu"),
        MaxPooling2D(2),
        Conv2D(40, 3, activation = "relu", padding = "same"),
        MaxPooling2D(2),
        Conv2D(24, 3, activation = "tanh"),
        Flatten(),
        Dense(10, activation = "softmax"),
    ];
}

#[test]
fn a_lower_precision_is_as_precise_as_it_says_and_learns() {
    let (train, test) = datasets::drawn_digits(1200, 1).unwrap().split_at(1000).unwrap();
    let images: Vec<f32> = test.iter().flat_map(|(image, _)| image).collect();
    let model = |precision| {
        let optimizer = Adam { learning_rate: 0.003, ..Adam::default() };
        Model::<Wide>::compile(optimizer, CategoricalCrossentropy::default()).seed(2).precision(precision)
    };
    let mut usual = model(Precision::F32);
    usual.fit(&train, Fit { epochs: 8, ..quiet() }).unwrap();
    let expected = usual.predict(&images).unwrap();
    for (precision, allowed) in [(Precision::Tf32, 1e-4), (Precision::Bf16, 5e-2)] {
        let mut other = model(precision);
        other.set_weights(usual.weights()).unwrap();
        let found = other.predict(&images).unwrap();
        let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < allowed, "{precision:?}: {largest}");
        let mut exact = other.exact(true);
        let mut usual = model(Precision::F32).exact(true);
        usual.set_weights(exact.weights()).unwrap();
        assert!(exact.predict(&images).unwrap() == usual.predict(&images).unwrap(), "exact is exact");

        let mut learner = model(precision);
        learner.fit(&train, Fit { epochs: 8, ..quiet() }).unwrap();
        let accuracy = learner.evaluate(&test).unwrap().accuracy;
        eprintln!("{precision:?} {largest} {accuracy}");
        assert!(accuracy > 0.9, "{precision:?}: {accuracy}");
    }
}

#[test]
fn a_wide_layer_learns_in_floats_whatever_it_predicts_in() {
    convnet! {
        /// The first dense layer takes a batch as a whole; the others are too small for the tile unit.
        type Learner = [
            Input(28, 28, 1),
            Flatten(),
            Dense(70, activation = "tanh"),
            Dense(7, activation = "tanh"),
            Dense(10, activation = "softmax"),
        ];
    }
    let set = datasets::drawn_digits(100, 5).unwrap();
    let images: Vec<f32> = set.iter().flat_map(|(image, _)| image).collect();
    let learned = |precision: Precision| {
        let mut model =
            Model::<Learner>::compile(Adam::default(), CategoricalCrossentropy::default()).precision(precision);
        model.fit(&set, Fit { epochs: 3, batch_size: 32, ..quiet() }).unwrap();
        (model.weights().to_vec(), model.predict(&images).unwrap())
    };
    let (weights, outputs) = learned(Precision::F32);
    let (other_weights, other_outputs) = learned(Precision::Bf16);
    assert!(weights == other_weights);
    let largest = outputs.iter().zip(&other_outputs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest < 2e-2, "{largest}");
}
