//! Every optimizer against a plain version in f64, against Keras, and against itself cut to pieces.

use super::*;
use crate::Error;
use crate::train::random::{Purpose, Stream};

/// Settings that reach every rule.
fn all() -> Vec<Optimizer> {
    let rms = RmsProp { learning_rate: 0.01, ..RmsProp::default() };
    vec![
        Sgd::default().into(),
        Sgd { learning_rate: 0.1, momentum: 0.9, nesterov: false }.into(),
        Sgd { learning_rate: 0.1, momentum: 0.9, nesterov: true }.into(),
        rms.into(),
        RmsProp { momentum: 0.5, ..rms }.into(),
        RmsProp { centered: true, rho: 0.95, epsilon: 1e-3, ..rms }.into(),
        RmsProp { centered: true, momentum: 0.5, epsilon: 1e-3, ..rms }.into(),
        Adam { learning_rate: 0.01, ..Adam::default() }.into(),
        AdamW { learning_rate: 0.01, weight_decay: 0.1, ..AdamW::default() }.into(),
    ]
}

/// The gradients that the Keras numbers below were computed with: parameter `i`, step `t` from 1.
fn gradient(i: usize, t: u64) -> f32 {
    (3.0 * (i as f64 + 1.0) * (t as f64) + 0.5 * i as f64).sin() as f32 * [1.0, 0.01, 10.0][i % 3]
}

/// One parameter under an optimizer, as the formulas say it, in f64.
#[derive(Default)]
struct Naive {
    w: f64,
    m: f64,
    v: f64,
    a: f64,
}

/// The decimal number that a setting was written as.
fn written(x: f32) -> f64 {
    x.to_string().parse().unwrap()
}

impl Naive {
    fn step(&mut self, optimizer: &Optimizer, t: i32, g: f64) {
        match *optimizer {
            Optimizer::Sgd(sgd) => {
                let (lr, momentum) = (written(sgd.learning_rate), written(sgd.momentum));
                self.m = momentum * self.m - lr * g;
                self.w += if sgd.nesterov { momentum * self.m - lr * g } else { self.m };
            }
            Optimizer::RmsProp(rms) => {
                let rho = written(rms.rho);
                self.v = rho * self.v + (1.0 - rho) * g * g;
                self.a = rho * self.a + (1.0 - rho) * g;
                let variance = if rms.centered { self.v - self.a * self.a } else { self.v };
                let change = written(rms.learning_rate) * g / (variance + written(rms.epsilon)).sqrt();
                self.m = written(rms.momentum) * self.m + change;
                self.w -= self.m;
            }
            Optimizer::Adam(adam) => self.adam(&adam, t, g),
            Optimizer::AdamW(adam_w) => {
                self.w -= written(adam_w.learning_rate) * written(adam_w.weight_decay) * self.w;
                self.adam(&adam_w.adam(), t, g);
            }
        }
    }

    /// As the paper's algorithm 1 has it, with Keras's place for ε.
    fn adam(&mut self, adam: &Adam, t: i32, g: f64) {
        let (beta_1, beta_2) = (written(adam.beta_1), written(adam.beta_2));
        self.m = beta_1 * self.m + (1.0 - beta_1) * g;
        self.v = beta_2 * self.v + (1.0 - beta_2) * g * g;
        // The powers are those of the rounded β, and rounded themselves: Keras computes them in f32.
        let missing = |beta: f32| 1.0 - f64::from(f64::from(beta).powi(t) as f32);
        let corrected = missing(adam.beta_2).sqrt() / missing(adam.beta_1);
        self.w -= written(adam.learning_rate) * corrected * self.m / (self.v.sqrt() + written(adam.epsilon));
    }
}

/// An optimizer at work on some parameters, in pieces of `piece`.
struct Run {
    weights: Vec<f32>,
    slots: [Vec<f32>; MAX_SLOTS],
}

impl Run {
    fn new(optimizer: &Optimizer, weights: Vec<f32>) -> Self {
        let len = weights.len();
        Run { weights, slots: std::array::from_fn(|i| vec![0.0; if i < optimizer.slots() { len } else { 0 }]) }
    }

    fn step(&mut self, optimizer: &Optimizer, t: u64, gradient: &[f32], piece: usize, level: Level) {
        for at in (0..gradient.len()).step_by(piece) {
            let range = at..(at + piece).min(gradient.len());
            let slots = self.slots.each_mut().map(|slot| slot.get_mut(range.clone()).unwrap_or_default());
            optimizer.update(t, &mut self.weights[range.clone()], &gradient[range.clone()], slots, level);
        }
    }
}

#[test]
fn fifty_random_steps_agree_with_the_formulas_at_every_level() {
    const LEN: usize = 37;
    for (optimizer, level) in
        all().iter().flat_map(|optimizer| Level::available().into_iter().map(move |l| (optimizer, l)))
    {
        let mut random = Stream::new(8, Purpose::Weights, 0);
        let start: Vec<f32> = (0..LEN).map(|_| random.uniform() - 0.5).collect();
        let mut naive: Vec<Naive> = start.iter().map(|w| Naive { w: f64::from(*w), ..Naive::default() }).collect();
        // Rounding is relative to the largest value that a weight had on its way.
        let mut reach = [0.1f64; LEN];
        let mut run = Run::new(optimizer, start);
        for t in 1..=50 {
            let gradient: Vec<f32> = (0..LEN).map(|i| (random.uniform() - 0.4) * [1.0, 1e-3, 30.0][i % 3]).collect();
            run.step(optimizer, t, &gradient, LEN, level);
            for (i, parameter) in naive.iter_mut().enumerate() {
                parameter.step(optimizer, t as i32, f64::from(gradient[i]));
                let (found, expected) = (f64::from(run.weights[i]), parameter.w);
                reach[i] = reach[i].max(expected.abs());
                assert!(
                    (found - expected).abs() < 2e-6 * reach[i],
                    "{optimizer:?} {level:?} step {t} {i}: {found}, {expected}"
                );
            }
        }
    }
}

#[test]
fn pieces_give_the_same_bits() {
    const LEN: usize = 101;
    for (optimizer, level) in
        all().iter().flat_map(|optimizer| Level::available().into_iter().map(move |l| (optimizer, l)))
    {
        let gradients: Vec<Vec<f32>> = (1..=5).map(|t| (0..LEN).map(|i| gradient(i, t)).collect()).collect();
        let runs = [LEN, 1, 7, 16, 33].map(|piece| {
            let mut run = Run::new(optimizer, (0..LEN).map(|i| gradient(i, 99)).collect());
            for (t, gradient) in (1..).zip(&gradients) {
                run.step(optimizer, t, gradient, piece, level);
            }
            run.weights.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        });
        assert!(runs.iter().all(|run| *run == runs[0]), "{optimizer:?} {level:?}");
    }
}

#[test]
fn a_constant_large_gradient_does_not_make_a_centered_variance_negative() {
    let optimizer = RmsProp { centered: true, epsilon: 1e-7, ..RmsProp::default() }.into();
    for level in Level::available() {
        let mut run = Run::new(&optimizer, vec![1.0; 20]);
        for t in 1..=500 {
            run.step(&optimizer, t, &[123.456; 20], 20, level);
        }
        assert!(run.weights.iter().all(|weight| weight.is_finite()), "{level:?} {:?}", run.weights);
    }
}

/// The optimizers of [`all`] with averages that are gone after some thousand steps.
fn quick() -> impl Iterator<Item = Optimizer> {
    all().into_iter().map(|optimizer| match optimizer {
        Optimizer::Adam(adam) => Adam { beta_2: 0.95, ..adam }.into(),
        Optimizer::AdamW(adam_w) => AdamW { beta_2: 0.95, ..adam_w }.into(),
        other => other,
    })
}

#[test]
fn averages_of_a_gradient_that_stays_zero_or_tiny_end_in_zero() {
    // A vector and a rest of one; both signs, and gradients whose squares and products would be denormal.
    let start: Vec<f32> = (0..17).map(|i| [0.1, -3.0, 1e-9][i % 3]).collect();
    let rest: Vec<f32> = (0..17).map(|i| [0.0, -0.0, 1e-35, -1e-42][i % 4]).collect();
    for (optimizer, level) in quick().flat_map(|optimizer| Level::available().into_iter().map(move |l| (optimizer, l)))
    {
        let mut run = Run::new(&optimizer, vec![1.0; 17]);
        run.step(&optimizer, 1, &start, 17, level);
        assert!(run.slots[..optimizer.slots()].iter().flatten().all(|x| *x != 0.0), "{optimizer:?} {level:?}");
        for t in 2..=4000 {
            run.step(&optimizer, t, &rest, 17, level);
        }
        assert!(run.slots.iter().flatten().all(|x| *x == 0.0), "{optimizer:?} {level:?}: {:?}", run.slots);
    }
}

#[test]
fn nan_and_infinities_stay() {
    for (optimizer, level) in quick().flat_map(|optimizer| Level::available().into_iter().map(move |l| (optimizer, l)))
    {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut run = Run::new(&optimizer, vec![1.0; 17]);
            run.step(&optimizer, 1, &[bad; 17], 17, level);
            for t in 2..=10 {
                run.step(&optimizer, t, &[0.0; 17], 17, level);
            }
            let averages = run.slots[..optimizer.slots()].iter().flatten();
            assert!(run.weights.iter().chain(averages).all(|x| !x.is_finite()), "{optimizer:?} {level:?} {bad}");
        }
    }
}

#[test]
fn tiny_gradients_move_weights_as_the_formulas_say_whatever_epsilon_is() {
    const SIZES: [f32; 9] = [1e-3, 1e-6, 1e-9, 1e-12, 1e-14, 1e-15, 1e-16, 1e-17, 1e-18];
    for (optimizer, level) in
        all().iter().flat_map(|optimizer| Level::available().into_iter().map(move |l| (optimizer, l)))
    {
        for e in [1e-3, 1e-7, 1e-10, 1e-13, 1e-16, 1e-20, 1e-30] {
            let mut optimizer = *optimizer;
            match &mut optimizer {
                Optimizer::RmsProp(RmsProp { centered: true, .. }) | Optimizer::Sgd(_) => {}
                Optimizer::RmsProp(RmsProp { epsilon, .. })
                | Optimizer::Adam(Adam { epsilon, .. })
                | Optimizer::AdamW(AdamW { epsilon, .. }) => *epsilon = e,
            }
            // From zero, so that the smallest change can be seen.
            let mut run = Run::new(&optimizer, vec![0.0; SIZES.len()]);
            let mut naive: [Naive; SIZES.len()] = std::array::from_fn(|_| Naive::default());
            for t in 1..=30 {
                let gradient = SIZES.map(|size| if t % 5 == 0 { 0.5 * size } else { size });
                run.step(&optimizer, t, &gradient, SIZES.len(), level);
                for (i, parameter) in naive.iter_mut().enumerate() {
                    parameter.step(&optimizer, t as i32, f64::from(gradient[i]));
                    let (found, expected) = (f64::from(run.weights[i]), parameter.w);
                    assert!(
                        (found - expected).abs() <= 1e-5 * expected.abs(),
                        "{optimizer:?} {level:?} {:e} step {t}: {found:e}, {expected:e}",
                        SIZES[i]
                    );
                }
            }
        }
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let bad: [(Optimizer, &str); 11] = [
        (Sgd { learning_rate: -0.1, ..Sgd::default() }.into(), "learning_rate"),
        (Sgd { learning_rate: f32::NAN, ..Sgd::default() }.into(), "learning_rate"),
        (Sgd { momentum: 1.5, ..Sgd::default() }.into(), "momentum"),
        (RmsProp { learning_rate: f32::INFINITY, ..RmsProp::default() }.into(), "learning_rate"),
        (RmsProp { rho: 1.0, ..RmsProp::default() }.into(), "rho"),
        (RmsProp { momentum: -0.1, ..RmsProp::default() }.into(), "momentum"),
        (RmsProp { epsilon: 0.0, ..RmsProp::default() }.into(), "epsilon"),
        (Adam { beta_1: 1.0, ..Adam::default() }.into(), "beta_1"),
        (Adam { beta_2: f32::NAN, ..Adam::default() }.into(), "beta_2"),
        (AdamW { epsilon: -1e-7, ..AdamW::default() }.into(), "epsilon"),
        (AdamW { weight_decay: -1.0, ..AdamW::default() }.into(), "weight_decay"),
    ];
    for (optimizer, name) in bad {
        let Err(Error::Argument { argument, .. }) = optimizer.check() else { panic!("{optimizer:?} passed") };
        assert_eq!(argument, name);
    }
    for optimizer in all() {
        optimizer.check().unwrap();
    }
    let error = Optimizer::from(RmsProp { rho: 1.5, ..RmsProp::default() }).check().unwrap_err();
    assert_eq!(error.to_string(), "rho: expected a number in [0, 1), found 1.5");
}

#[test]
fn the_learning_rate_changes_or_stays() {
    for mut optimizer in all() {
        optimizer.set_learning_rate(0.5).unwrap();
        assert_eq!(optimizer.learning_rate(), 0.5);
        assert!(optimizer.set_learning_rate(f32::NAN).is_err());
        assert_eq!(optimizer.learning_rate(), 0.5);
    }
}

#[test]
fn ten_steps_agree_with_keras() {
    for (optimizer, expected) in all().iter().zip(KERAS) {
        for level in Level::available() {
            let mut run = Run::new(optimizer, vec![0.5, -0.25, 2.0]);
            for t in 1..=10 {
                let gradient = [0, 1, 2].map(|i| gradient(i, t));
                run.step(optimizer, t, &gradient, 3, level);
            }
            for (found, expected) in run.weights.iter().zip(expected) {
                assert!((found - expected).abs() < 2e-6, "{optimizer:?} {level:?}: {:?}, {expected:?}", run.weights);
            }
        }
    }
}

/// Weights after ten steps of the optimizers in [`all`], from 0.5, −0.25 and 2, by Keras 3.15.1:
///
/// ```python
/// import numpy as np, keras
/// from keras.optimizers import SGD, RMSprop, Adam, AdamW
/// for o in [SGD(), SGD(0.1, 0.9), SGD(0.1, 0.9, True), RMSprop(0.01), RMSprop(0.01, momentum=0.5),
///           RMSprop(0.01, 0.95, centered=True, epsilon=1e-3), RMSprop(0.01, momentum=0.5, centered=True, epsilon=1e-3),
///           Adam(0.01), AdamW(0.01, 0.1)]:
///     w = keras.Variable(np.array([0.5, -0.25, 2.0], "float32"))
///     o.build([w])
///     for t in range(1, 11):
///         g = np.array([np.sin(3.0 * (i + 1) * t + 0.5 * i) * [1, 0.01, 10][i] for i in range(3)], "float32")
///         o.apply([keras.ops.convert_to_tensor(g)], [w])
///     print(keras.ops.convert_to_numpy(w).tolist())
/// ```
const KERAS: [[f32; 3]; 9] = [
    [0.5046403, -0.2493901, 2.020227],
    [0.5020826, -0.2299318, 4.277318],
    [0.5482772, -0.2258395, 4.25186],
    [0.4911171, -0.1090542, 2.016464],
    [0.4718817, 0.003810305, 2.036158],
    [0.496684, -0.2308123, 2.026126],
    [0.4796085, -0.2168198, 2.041172],
    [0.491576, -0.2007337, 2.02087],
    [0.4866768, -0.1983122, 2.000803],
];
