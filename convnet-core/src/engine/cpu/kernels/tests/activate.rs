//! Activations on rows.

use super::{assert_near, assert_near_scaled, assert_same_bits, random, values, wide};
use crate::engine::cpu::kernels::activate::{activate, activate_backward, add_rows};
use crate::engine::cpu::simd::Level;
use crate::layers::Activation::{self, *};
use crate::layers::activation::reference;
use rand::RngExt;

const ALL: [Activation; 5] = [Linear, Relu, Sigmoid, Tanh, Softmax];

#[test]
fn random_rows() {
    let random = &mut random(1);
    for case in 0..100 {
        let (rows, width) = (random.random_range(1..=20), random.random_range(1..=150));
        let scale = [1.0, 10.0, 100.0][case % 3];
        let x: Vec<f32> = values(random, rows * width).into_iter().map(|x| x * scale).collect();
        let d = values(random, rows * width);
        for (level, activation) in Level::available().into_iter().flat_map(|level| ALL.map(|a| (level, a))) {
            let name = format!("{level:?}: {activation:?} of {rows} × {width}");
            let mut y = x.clone();
            activate(level, activation, &mut y, width);
            assert_near(&name, &y, &reference::forward(activation, &wide(&x), width));
            let mut gradient = d.clone();
            activate_backward(level, activation, &y, &mut gradient, width);
            // Where an output is saturated, its gradient is a small difference of numbers of the size of `d`.
            let d = wide(&d);
            assert_near_scaled(&name, &gradient, &reference::backward(activation, &wide(&y), &d, width), &d);
        }
    }
}

#[test]
fn sums_of_rows_add_to_what_is_there_in_order() {
    let random = &mut random(2);
    for _ in 0..60 {
        let (rows, width) = (random.random_range(1..=20), random.random_range(1..=70));
        let (x, before) = (values(random, rows * width), values(random, width));
        let mut expected = before.clone();
        for row in x.chunks(width) {
            expected.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        for level in Level::available() {
            let mut sums = before.clone();
            add_rows(level, &x, &mut sums);
            assert_same_bits(&format!("{level:?}: {rows} × {width}"), &sums, &expected);
        }
    }
}

#[test]
fn nan_stays_nan() {
    for (level, activation) in Level::available().into_iter().flat_map(|level| ALL.map(|a| (level, a))) {
        for place in [0, 5, 17, 20] {
            let mut y = [0.5; 21];
            y[place] = f32::NAN;
            activate(level, activation, &mut y, 21);
            assert!(y[place].is_nan(), "{level:?}: {activation:?}");
            assert!(activation != Softmax || y.iter().all(|y| y.is_nan()), "{level:?}: the whole row");
        }
    }
}

#[test]
fn softmax_of_huge_values() {
    for level in Level::available() {
        let mut y = [3e38, 3e38, -3e38, f32::NEG_INFINITY];
        activate(level, Softmax, &mut y, 4);
        assert_eq!(y, [0.5, 0.5, 0.0, 0.0], "{level:?}");
    }
}
