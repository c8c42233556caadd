//! Layers that do something else in training: batch normalisation, dropout, and both of them frozen.
#![cfg(feature = "dfdx")]

mod naive;
mod nets;

use convnet_core::dfdx::dfdx;
use convnet_core::dfdx::prelude::*;
use convnet_core::layers::activation::{Linear, Sigmoid};
use convnet_core::layers::batch_normalization::BatchNormalization;
use convnet_core::layers::composition::Add;
use convnet_core::layers::conv2d::Conv2D;
use convnet_core::layers::dense::Dense;
use convnet_core::layers::dropout::Dropout;
use convnet_core::layers::flatten::Flatten;
use convnet_core::layers::{Frozen, Merge, Op};
use convnet_core::shape::size::{Map, Num};
use convnet_core::shape::walk::Same;
use convnet_core::{Network, Result, Sequential};
use dfdx::optim::{Adam, AdamConfig};
use dfdx::tensor_ops::SumTo;
use naive::{assert_close, numbers, slopes};
use nets::*;
use typenum::{U1, U3};

type On<const H: usize, const W: usize, const C: usize, Tree> =
    Sequential<Map<H, W, C>, (Num<H>, Num<W>, Num<C>), Tree>;
type Same3<F> = Conv2D<F, Square<U3, U1, Same>, Linear, true>;
type Normal = BatchNormalization<{ 0.9f64.to_bits() }, { 0.001f64.to_bits() }, true, true>;
type Half = Dropout<{ 0.5f64.to_bits() }>;

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// The mean and the variance of each of two channels.
fn statistics(x: &[f64]) -> [[f64; 2]; 2] {
    let count = x.len() as f64 / 2.0;
    let sum =
        |f: &dyn Fn(usize, f64) -> f64| [0, 1].map(|c| x.iter().skip(c).step_by(2).map(|&x| f(c, x)).sum::<f64>());
    let means = sum(&|_, x| x).map(|sum| sum / count);
    [means, sum(&|c, x| (x - means[c]).powi(2)).map(|sum| sum / count)]
}

#[test]
fn batch_normalisation_in_training() -> Result<()> {
    type Net = On<3, 2, 2, Normal>;
    const BATCH: usize = 3;
    let dev = Cpu::default();
    let mut model = dev.build_module::<Net, f32>();
    let weights = [0.5, -1.5, 0.25, 2.0, 0.1, -0.2, 0.7, 1.3];
    model.from_flat(&weights)?;
    let pixels = numbers(17, BATCH * 12);
    let factors = numbers(18, BATCH * 12);
    let spec = match Net::PLAN.layers[0].op {
        Op::BatchNormalization(spec) => spec,
        op => panic!("this is a {}", op.kind()),
    };
    let normalized = |x: &[f64], gamma: &[f64], beta: &[f64]| {
        let [means, variances] = statistics(x);
        naive::normalized(&spec, x, &means, &variances, Some(gamma), Some(beta))
    };
    let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| -> f64 {
        normalized(x, gamma, beta).iter().zip(&factors).map(|(y, &factor)| y * f64::from(factor)).sum()
    };

    let batch = dev.inputs::<Net, _>(BATCH, pixels.clone())?;
    let outputs = model.forward_mut(batch.leaky_trace());
    let (x, weights) = (wide(&pixels), wide(&weights));
    let (gamma, beta) = (&weights[..2], &weights[2..4]);
    assert_close("output", &outputs.as_vec(), &normalized(&x, gamma, beta), 1e-5);
    let mut gradients = (outputs * dev.outputs::<Net, _>(BATCH, factors.clone())?).sum().backward();
    let found = gradients.get(&batch).as_vec();
    assert_close("input gradient", &found, &slopes(&x, |x| loss(x, gamma, beta)), 1e-4);
    let mut expected = slopes(gamma, |gamma| loss(&x, gamma, beta));
    expected.extend(slopes(beta, |beta| loss(&x, gamma, beta)));
    expected.extend([0.0; 4]);
    assert_close("weight gradient", &model.flat_gradients(&mut gradients).expect("memory"), &expected, 1e-4);

    let mut moved = weights.clone();
    for (moving, batch) in moved[4..].iter_mut().zip(statistics(&x).as_flattened()) {
        *moving = 0.9 * *moving + 0.1 * batch;
    }
    assert_close("moving statistics", &model.to_flat(), &moved, 1e-6);

    // Neither without a tape nor in `forward` do they move, and both use them.
    let before = model.to_flat();
    let inference = naive::normalized(&spec, &x, &moved[4..6], &moved[6..], Some(gamma), Some(beta));
    assert_close("inference", &model.forward_mut(batch.clone()).as_vec(), &inference, 1e-5);
    assert_close("inference on a tape", &model.forward(batch.leaky_trace()).as_vec(), &inference, 1e-5);
    assert_eq!(model.to_flat(), before);
    Ok(())
}

#[test]
fn dropout_in_training() -> Result<()> {
    type Net = On<20, 20, 5, Dropout<{ 0.2f64.to_bits() }>>;
    let dev = Cpu::seed_from_u64(3);
    let mut model = dev.build_module::<Net, f32>();
    let batch = dev.inputs::<Net, _>(2, vec![2.0; 4000])?;
    assert_eq!(model.forward(batch.leaky_trace()).as_vec(), [2.0; 4000]);
    assert_eq!(model.forward_mut(batch.clone()).as_vec(), [2.0; 4000]);
    let first = model.forward_mut(batch.leaky_trace());
    let second = model.forward_mut(batch.leaky_trace());
    assert_ne!(first.as_vec(), second.as_vec(), "each pass draws anew");
    let values = first.as_vec();
    assert!(values.iter().all(|&value| value == 0.0 || (value - 2.5).abs() < 1e-6));
    let dropped = values.iter().filter(|&&value| value == 0.0).count();
    // Five standard deviations of the binomial distribution around 800.
    assert!((800 - 127..800 + 127).contains(&dropped), "{dropped}");
    let gradient = first.sum().backward().get(&batch).as_vec();
    let expected: Vec<f64> = values.iter().map(|&value| f64::from(value) / 2.0).collect();
    assert_close("gradient", &gradient, &expected, 1e-6);
    Ok(())
}

/// A base with a normalisation and a dropout, frozen; a head that learns.
type Head = (Flatten, Dense<U1, Sigmoid, true>);
type OnFrozen = On<4, 4, 2, (Frozen<(Same3<U3>, (Normal, Merge<Add, (Half, Same3<U3>)>))>, Head)>;

#[test]
fn frozen_layers_stay_as_they_are() -> Result<()> {
    let dev = Cpu::default();
    let mut model = dev.build_module::<OnFrozen, f32>();
    assert_eq!(model.num_trainable_params(), OnFrozen::TRAINABLE_PARAMS);
    const { assert!(OnFrozen::TRAINABLE_PARAMS < OnFrozen::PARAMS) };
    let before = model.to_flat();
    let mut optimizer = Adam::new(&model, AdamConfig { lr: 0.01, ..Default::default() });
    let images = dev.inputs::<OnFrozen, _>(4, numbers(21, 4 * 32))?;
    let targets = dev.outputs::<OnFrozen, _>(4, vec![1.0, 0.0, 0.0, 1.0])?;
    let mut passes = Vec::new();
    for _ in 0..2 {
        let logits = model.logits_mut(images.clone().traced(model.alloc_grads()));
        passes.push(logits.as_vec());
        let loss = binary_cross_entropy_with_logits_loss(logits, targets.clone());
        optimizer.update(&mut model, &loss.backward()).expect("no gradient is asked of what is frozen");
    }
    for ((layer, weight), changes) in OnFrozen::PLAN.weights().map(|weight| (weight, weight.1.trainable)) {
        let [before, after] = [&before, &model.to_flat()].map(|flat| flat[weight.range()].to_vec());
        assert_eq!(before != after, changes, "{}/{}", layer.name, weight.name);
    }
    // The modules by themselves know it, too.
    let mut gradients = model.layers.alloc_grads();
    model.layers.zero_grads(&mut gradients);
    assert_eq!(model.layers.num_trainable_params(), OnFrozen::TRAINABLE_PARAMS);

    // Dropout draws in a frozen base, too: a weight that changes nothing cannot be the cause of another output.
    model.from_flat(&before)?;
    let again = model.logits_mut(images.leaky_trace()).as_vec();
    assert_ne!(again, passes[0]);
    assert_eq!(model.to_flat(), before);
    Ok(())
}

#[test]
fn without_dropout_and_normalisation_training_computes_the_same() -> Result<()> {
    let dev = Cpu::default();
    let mut model = dev.build_module::<Odd, f32>();
    let images = dev.inputs::<Odd, _>(2, numbers(41, 2 * 11 * 13 * 3))?;
    let trained = model.forward_mut(images.leaky_trace()).as_vec();
    assert_eq!(trained, model.forward(images.clone()).as_vec());
    assert_eq!(model.logits_mut(images.leaky_trace()).as_vec(), model.logits(images).as_vec());
    Ok(())
}
