//! Every loss on every activation against Keras, against plain f64 formulas, against finite differences.

use super::*;
use crate::train::random::{Purpose, Stream};

const ACTIVATIONS: [Activation; 5] =
    [Activation::Linear, Activation::Relu, Activation::Sigmoid, Activation::Tanh, Activation::Softmax];

fn categorical(from_logits: bool, label_smoothing: f32) -> Loss {
    CategoricalCrossentropy { from_logits, label_smoothing }.into()
}

fn sparse(from_logits: bool) -> Loss {
    SparseCategoricalCrossentropy { from_logits }.into()
}

fn binary(from_logits: bool, label_smoothing: f32) -> Loss {
    BinaryCrossentropy { from_logits, label_smoothing }.into()
}

fn squared() -> Loss {
    MeanSquaredError {}.into()
}

type Row = &'static [f32];

const Z: Row = &[0.3, -1.2, 2.0, 0.7];

/// Loss, gradient and accuracy of one row by Keras 3.15.1 on PyTorch. Each line is
///
/// ```python
/// x = torch.tensor([z], requires_grad=True)
/// y = keras.activations.get(activation)(x)
/// t = np.array([label] if len(z) == 1 else np.eye(len(z))[label], "float32")[None]
/// l = loss(t, y)  # the sparse one: loss([[label]], y)
/// l.backward()
/// m = BinaryAccuracy() if len(z) == 1 else CategoricalAccuracy()  # what "accuracy" stands for
/// print(float(l), x.grad[0].tolist(), bool(m(t, y.detach())))
/// ```
#[rustfmt::skip]
fn keras() -> Vec<(Loss, Activation, Row, u32, f64, Row, bool)> {
    vec![
        (categorical(false, 0.0), Activation::Softmax, Z, 2, 0.4027798, &[0.1221165, 0.02724787, -0.3315408, 0.1821764], true),
        (categorical(false, 0.1), Activation::Softmax, Z, 0, 2.08778, &[-0.8028835, 0.002247868, 0.6434593, 0.1571764], false),
        (categorical(true, 0.0), Activation::Linear, Z, 1, 3.60278, &[0.1221165, -0.9727522, 0.6684593, 0.1821764], false),
        (categorical(true, 0.0), Activation::Tanh, Z, 1, 2.662224, &[0.1967271, -0.2837317, 0.02976128, 0.1866086], false),
        (categorical(false, 0.0), Activation::Sigmoid, Z, 3, 1.259685, &[0.1038083, 0.07554217, 0.04458512, -0.2376628], false),
        (categorical(false, 0.0), Activation::Relu, Z, 1, 16.1181, &[0.0, 0.0, 0.0, 0.0], false),
        (sparse(false), Activation::Softmax, Z, 3, 1.70278, &[0.1221165, 0.02724787, 0.6684592, -0.8178236], false),
        (sparse(true), Activation::Relu, Z, 3, 1.76408, &[0.1148555, 0.0, 0.6287131, -0.8286557], false),
        (binary(false, 0.0), Activation::Sigmoid, &[0.4], 1, 0.5130153, &[-0.4013123], true),
        (binary(false, 0.0), Activation::Sigmoid, &[-0.4], 1, 0.9130152, &[-0.5986876], false),
        (binary(false, 0.2), Activation::Sigmoid, &[0.4], 0, 0.8730152, &[0.4986877], false),
        (binary(true, 0.0), Activation::Linear, &[0.4], 1, 0.5130153, &[-0.4013124], false),
        (binary(false, 0.0), Activation::Sigmoid, Z, 2, 0.5869379, &[0.1436106, 0.0578688, -0.02980074, 0.1670469], true),
        (binary(false, 0.2), Activation::Softmax, Z, 0, 0.9189563, &[-0.2476004, -0.02451629, 0.2859001, -0.01378336], false),
        (binary(false, 0.0), Activation::Relu, Z, 2, 0.390162, &[0.3571429, 0.0, 0.0, 0.8333333], true),
        (squared(), Activation::Linear, Z, 2, 0.7550001, &[0.15, -0.6, 0.5, 0.35], true),
        (squared(), Activation::Softmax, Z, 0, 0.312862, &[-0.07641122, -0.004718195, 0.09856259, -0.0174332], false),
        (squared(), Activation::Tanh, &[0.9], 1, 0.0804869, &[-0.276279], true),
        (squared(), Activation::Linear, &[2.5], 3, 0.25, &[-1.0], false),
    ]
}

#[test]
fn losses_gradients_and_accuracy_are_those_of_keras() {
    for (loss, activation, z, label, expected, gradient, correct) in keras() {
        let mut d = vec![f32::NAN; z.len()];
        let outcome = loss.evaluate(activation, z, label, Some(&mut d), 1.0);
        let what = format!("{loss:?} {activation:?} {label}: {outcome:?} {d:?}");
        assert!((outcome.loss - expected).abs() < 1e-6 * (1.0 + expected), "{what}");
        assert!(d.iter().zip(gradient).all(|(d, expected)| (d - expected).abs() < 1e-6), "{what}");
        assert_eq!(outcome.correct, correct, "{what}");
        assert_eq!(loss.evaluate(activation, z, label, None, 1.0), outcome, "{what}");
    }
}

/// The same from the definitions, in f64, on the outputs; `None` where Keras's clipping would show.
fn naive(loss: &Loss, activation: Activation, z: &[f64], label: u32) -> Option<f64> {
    let softmax = |z: &[f64]| {
        let sum: f64 = z.iter().map(|z| z.exp()).sum();
        z.iter().map(|z| z.exp() / sum).collect::<Vec<_>>()
    };
    let sigmoid = |z: &f64| 1.0 / (1.0 + (-z).exp());
    let y: Vec<f64> = match activation {
        Activation::Linear => z.to_vec(),
        Activation::Relu => z.iter().map(|z| z.max(0.0)).collect(),
        Activation::Sigmoid => z.iter().map(sigmoid).collect(),
        Activation::Tanh => z.iter().map(|z| z.tanh()).collect(),
        Activation::Softmax => softmax(z),
    };
    let n = y.len();
    let sharp = |i: usize| if n == 1 { f64::from(label) } else { f64::from(u8::from(i == label as usize)) };
    let inside = |p: &f64| (1e-3..1.0 - 1e-3).contains(p);
    match *loss {
        Loss::MeanSquaredError(_) => Some((0..n).map(|i| (sharp(i) - y[i]).powi(2)).sum::<f64>() / n as f64),
        Loss::BinaryCrossentropy(BinaryCrossentropy { from_logits, label_smoothing }) => {
            let s = f64::from(label_smoothing);
            let p: Vec<f64> = if from_logits { y.iter().map(sigmoid).collect() } else { y };
            let t = |i: usize| sharp(i) * (1.0 - s) + s / 2.0;
            let sum: f64 = (0..n).map(|i| -t(i) * p[i].ln() - (1.0 - t(i)) * (1.0 - p[i]).ln()).sum();
            p.iter().all(inside).then_some(sum / n as f64)
        }
        _ => {
            let s = f64::from(loss.label_smoothing());
            let sum: f64 = y.iter().sum();
            let p = if loss.takes_logits() { softmax(&y) } else { y.iter().map(|y| y / sum).collect() };
            let t = |i: usize| sharp(i) * (1.0 - s) + s / n as f64;
            p.iter().all(inside).then(|| (0..n).map(|i| -t(i) * p[i].ln()).sum())
        }
    }
}

#[test]
fn every_combination_agrees_with_the_definitions_and_finite_differences() {
    let losses = [
        categorical(false, 0.0),
        categorical(false, 0.2),
        categorical(true, 0.0),
        categorical(true, 0.3),
        sparse(false),
        sparse(true),
        binary(false, 0.0),
        binary(false, 0.2),
        binary(true, 0.0),
        binary(true, 0.3),
        squared(),
    ];
    let mut random = Stream::new(4, Purpose::Weights, 0);
    let mut compared = std::collections::HashSet::new();
    for loss in losses {
        for (activation, n) in ACTIVATIONS.into_iter().flat_map(|activation| [1, 2, 5, 17].map(|n| (activation, n))) {
            if loss.is_categorical() && n == 1 {
                continue;
            }
            for trial in 0..20 {
                // Half of the rows are probabilities already, which a linear output has to be for some losses.
                let (from, to) = if trial % 2 == 0 { (0.02, 0.98) } else { (-1.5, 1.5) };
                let z: Vec<f32> = (0..n).map(|_| from + (to - from) * random.uniform()).collect();
                let label = random.below(n.max(2));
                let precise: Vec<f64> = z.iter().map(|z| f64::from(*z)).collect();
                let Some(expected) = naive(&loss, activation, &precise, label) else { continue };
                let mut d = vec![f32::NAN; z.len()];
                let found = loss.evaluate(activation, &z, label, Some(&mut d), 0.25).loss;
                let what = format!("{loss:?} {activation:?} {z:?} {label}");
                assert!((found - expected).abs() < 2e-6 * (1.0 + expected), "{what}: {found}, {expected}");
                for (i, d) in d.iter().enumerate() {
                    let moved = |by: f64| {
                        let mut moved = precise.clone();
                        moved[i] += by;
                        naive(&loss, activation, &moved, label)
                    };
                    if let (Some(up), Some(down)) = (moved(1e-5), moved(-1e-5)) {
                        let slope = 0.25 * (up - down) / 2e-5;
                        let near = (f64::from(*d) - slope).abs() < 2e-6 + 1e-5 * slope.abs();
                        assert!(near, "{what} {i}: {d}, {slope}");
                        compared.insert((loss.name(), loss.takes_logits(), activation, n));
                    }
                }
            }
        }
    }
    // 2 crossentropies · with and without logits · 3 lengths, binary's and the squared error's 4, on 5 activations;
    // a single softmax output is always 1, which only the squared error takes, or the logits.
    assert_eq!(compared.len(), 5 * (2 * 2 * 3 + 2 * 4 + 4) - 1);
}

#[test]
fn extreme_logits_stay_finite_and_exact() {
    let z = [1000.0, 0.0, -1000.0];
    for (label, expected) in [(0, 0.0), (1, 1000.0), (2, 2000.0)] {
        let mut d = [f32::NAN; 3];
        let outcome = categorical(false, 0.0).evaluate(Activation::Softmax, &z, label, Some(&mut d), 1.0);
        assert_eq!(outcome.loss, expected);
        assert_eq!(outcome.correct, label == 0);
        assert!(d.iter().all(|d| d.is_finite()));
    }
    for (z, label, expected) in [(1000.0, 1, 0.0), (1000.0, 0, 1000.0), (-1000.0, 1, 1000.0), (-1000.0, 0, 0.0)] {
        let mut d = [f32::NAN];
        let outcome = binary(false, 0.0).evaluate(Activation::Sigmoid, &[z], label, Some(&mut d), 1.0);
        assert_eq!(outcome.loss, expected);
        assert_eq!(d[0].abs(), f32::from(u8::from(expected > 0.0)));
    }
    let tiny = categorical(false, 0.0).evaluate(Activation::Softmax, &[20.0, 0.0], 0, None, 1.0).loss;
    assert!((tiny / (-20.0f64).exp() - 1.0).abs() < 1e-6, "{tiny}");
    let impossible = [0.0, f32::NEG_INFINITY];
    assert_eq!(categorical(false, 0.0).evaluate(Activation::Softmax, &impossible, 0, None, 1.0).loss, 0.0);
}

#[test]
fn nan_is_not_hidden() {
    for loss in [categorical(false, 0.0), categorical(true, 0.1), binary(false, 0.0), binary(true, 0.1), squared()] {
        for (activation, label) in ACTIVATIONS.into_iter().flat_map(|activation| [(activation, 0), (activation, 1)]) {
            let outcome = loss.evaluate(activation, &[0.5, f32::NAN, 0.2], label, None, 1.0);
            assert!(outcome.loss.is_nan() || activation == Activation::Relu, "{loss:?} {activation:?} {outcome:?}");
        }
    }
}

#[test]
fn of_equal_outputs_the_first_is_the_answer() {
    let right = |label| squared().evaluate(Activation::Relu, &[-1.0, 3.0, 3.0], label, None, 1.0).correct;
    assert_eq!([right(0), right(1), right(2)], [false, true, false]);
    let half = |label| binary(false, 0.0).evaluate(Activation::Sigmoid, &[0.0], label, None, 1.0).correct;
    assert_eq!([half(0), half(1)], [true, false]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let vector = Shape::vector;
    let refused = |loss: Loss, shape: Shape, activation| loss.check(&shape, activation).unwrap_err().to_string();
    assert_eq!(
        refused(categorical(false, 0.0), vector(1), Activation::Softmax),
        "CategoricalCrossentropy: expected at least two outputs (BinaryCrossentropy takes one output for two classes), \
         found one output"
    );
    assert_eq!(
        refused(categorical(true, 0.0), vector(10), Activation::Softmax),
        "CategoricalCrossentropy: expected a last layer without activation, as from_logits = true says, found \
         activation = \"softmax\""
    );
    assert_eq!(
        refused(binary(false, 0.0), vector(1), Activation::Linear),
        "BinaryCrossentropy: expected probabilities: activation = \"sigmoid\" in the last layer, or from_logits = \
         true, found activation = \"linear\""
    );
    // All zero, a relu's outputs have no sum to be divided by.
    for loss in [categorical(false, 0.0), sparse(false), binary(false, 0.0)] {
        for activation in [Activation::Linear, Activation::Relu, Activation::Tanh] {
            let found = format!("found activation = \"{}\"", activation.name());
            assert!(refused(loss, vector(3), activation).ends_with(&found), "{loss:?} {activation:?}");
        }
    }
    assert_eq!(
        refused(squared(), Shape::map(2, 2, 3), Activation::Relu),
        "MeanSquaredError: expected a network that ends in a vector (Flatten, Dense), found the output (2, 2, 3)"
    );
    assert!(refused(categorical(false, 1.5), vector(3), Activation::Softmax).contains("label_smoothing in [0, 1]"));
    assert!(refused(binary(false, f32::NAN), vector(1), Activation::Sigmoid).contains("found NaN"));
    for (loss, outputs, activation) in [
        (categorical(false, 0.1), 10, Activation::Softmax),
        (sparse(true), 10, Activation::Linear),
        (binary(false, 0.0), 1, Activation::Sigmoid),
        (binary(true, 0.0), 1, Activation::Linear),
        (squared(), 1, Activation::Linear),
        (squared(), 3, Activation::Relu),
        (sparse(true), 3, Activation::Relu),
    ] {
        loss.check(&vector(outputs), activation).unwrap();
    }
}

#[test]
fn labels_that_the_network_has_no_output_for_are_refused() {
    let check = |loss: Loss, outputs, labels: &[u32]| loss.check_labels(outputs, labels.iter().copied());
    check(categorical(false, 0.0), 10, &[0, 9, 5]).unwrap();
    check(binary(false, 0.0), 1, &[0, 1]).unwrap();
    check(squared(), 1, &[77]).unwrap();
    let error = check(sparse(false), 10, &[0, 9, 11, 12]).unwrap_err();
    assert_eq!(error.to_string(), "labels: expected 0 to 9, found 11 (image 2)");
    let error = check(binary(false, 0.0), 1, &[0, 2]).unwrap_err();
    assert_eq!(error.to_string(), "labels: expected 0 to 1, found 2 (image 1)");
    assert!(check(squared(), 3, &[3]).is_err());
}
