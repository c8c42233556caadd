//! Every layer's module against its definition: outputs and gradients, computed naively in `f64`.
#![cfg(feature = "dfdx")]

mod naive;
mod nets;

use convnet_core::dfdx::prelude::*;
use convnet_core::dfdx::{Buildable, dfdx};
use convnet_core::layers::activation::{Alone, Linear, Relu, Sigmoid, Softmax, SoftmaxLayer, Tanh};
use convnet_core::layers::average_pooling2d::AveragePooling2D;
use convnet_core::layers::batch_normalization::BatchNormalization;
use convnet_core::layers::composition::{Add, Concatenate};
use convnet_core::layers::conv2d::{Conv2D, GroupedConv2D};
use convnet_core::layers::dense::Dense;
use convnet_core::layers::depthwise_conv2d::DepthwiseConv2D;
use convnet_core::layers::dropout::Dropout;
use convnet_core::layers::flatten::Flatten;
use convnet_core::layers::global_average_pooling2d::GlobalAveragePooling2D;
use convnet_core::layers::global_max_pooling2d::GlobalMaxPooling2D;
use convnet_core::layers::leaky_relu::LeakyReLU;
use convnet_core::layers::max_pooling2d::MaxPooling2D;
use convnet_core::layers::relu::ReLU;
use convnet_core::layers::rescaling::Rescaling;
use convnet_core::layers::reshape::Reshape;
use convnet_core::layers::separable_conv2d::SeparableConv2D;
use convnet_core::layers::settings::HeNormal;
use convnet_core::layers::up_sampling2d::{Bilinear, Nearest, UpSampling2D};
use convnet_core::layers::zero_padding2d::ZeroPadding2D;
use convnet_core::layers::{Frozen, Initialized, Merge, Named, Nested, Regularized, Repeat, Window};
use convnet_core::plan::Plan;
use convnet_core::shape::size::{Hex, Letters, Map, Num, Vector};
use convnet_core::shape::walk::{Same, Valid};
use convnet_core::{Result, Sequential};
use dfdx::nn::BuildOnDevice;
use dfdx::shapes::Axes4;
use dfdx::tensor::OwnedTape;
use dfdx::tensor_ops::{PermuteTo, SumTo};
use naive::{assert_close, numbers, slopes};
use nets::*;
use typenum::{U0, U1, U2, U3, U4, U5, U6, U7, U12, U24};

type Taped = OwnedTape<f32, Cpu>;

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Random weights; variances are positive.
fn weights(plan: &Plan, seed: u64) -> Vec<f32> {
    let mut weights = numbers(seed, plan.params);
    for (_, variance) in plan.weights().filter(|(_, weight)| weight.name == "moving_variance") {
        weights[variance.range()].iter_mut().for_each(|value| *value = value.abs() + 0.1);
    }
    weights
}

/// Holds outputs, weight gradients and input gradients of `N` on a batch of two against the definition. The loss is a
/// random combination of the outputs, so that every output's gradient counts.
fn check<N>(seed: u64) -> Result<()>
where
    N: Buildable + BuildOnDevice<Cpu, f32, Built = BuiltOf<N>>,
    BuiltOf<N>: Module<InputOf<N>, Output = OutputOf<N>>,
    BuiltOf<N>: Module<InputOf<N, usize, Taped>, Output = OutputOf<N, usize, Taped>>,
{
    const BATCH: usize = 2;
    let dev = Cpu::seed_from_u64(seed);
    let mut model = dev.build_module::<N, f32>();
    let weights = weights(&N::PLAN, seed);
    model.from_flat(&weights)?;
    let pixels = numbers(seed + 1, BATCH * N::PLAN.input.len());
    let factors = numbers(seed + 2, BATCH * N::PLAN.output.len());

    let batch = dev.inputs::<N, _>(BATCH, pixels.clone())?;
    let outputs = model.forward(batch.clone());
    let taped = model.forward(batch.leaky_trace());
    assert_eq!(outputs.as_vec(), taped.as_vec(), "a tape changes nothing");
    let mut gradients = (taped * dev.outputs::<N, _>(BATCH, factors.clone())?).sum().backward();

    let (weights, pixels, factors) = (wide(&weights), wide(&pixels), wide(&factors));
    let predict = |weights: &[f64], pixels: &[f64]| -> Vec<f64> {
        pixels.chunks(N::PLAN.input.len()).flat_map(|image| naive::forward(&N::PLAN, weights, image)).collect()
    };
    let loss = |weights: &[f64], pixels: &[f64]| -> f64 {
        predict(weights, pixels).iter().zip(&factors).map(|(output, factor)| output * factor).sum()
    };
    assert_close("output", &outputs.as_vec(), &predict(&weights, &pixels), 1e-5);
    let found = model.flat_gradients(&mut gradients).expect("memory");
    let mut expected = slopes(&weights, |weights| loss(weights, &pixels));
    for (_, moving) in N::PLAN.weights().filter(|(_, weight)| weight.name.starts_with("moving")) {
        expected[moving.range()].fill(0.0);
    }
    assert_close("weight gradient", &found, &expected, 1e-4);
    let found = gradients.get(&batch).as_vec();
    assert_close("input gradient", &found, &slopes(&pixels, |pixels| loss(&weights, pixels)), 1e-4);
    Ok(())
}

type On<const H: usize, const W: usize, const C: usize, Tree> =
    Sequential<Map<H, W, C>, (Num<H>, Num<W>, Num<C>), Tree>;
type OnVector<const N: usize, Tree> = Sequential<Vector<N>, (Num<N>,), Tree>;

#[test]
fn convolutions() -> Result<()> {
    check::<On<5, 6, 2, Conv2D<U3, Window<U3, U2, U1, U1, U1, U1, Valid>, Linear, true>>>(1)?;
    check::<On<7, 9, 1, Conv2D<U2, Window<U2, U3, U2, U3, U1, U1, Valid>, Linear, false>>>(2)?;
    check::<On<9, 8, 3, Conv2D<U4, Window<U3, U3, U1, U1, U2, U3, Valid>, Linear, true>>>(3)?;
    check::<On<8, 8, 2, Conv2D<U2, Window<U1, U2, U3, U4, U1, U1, Valid>, Linear, true>>>(4)?;
    check::<On<3, 4, 5, Conv2D<U2, Window<U3, U4, U1, U1, U1, U1, Valid>, Linear, true>>>(5)?;
    check::<On<1, 1, 4, Conv2D<U6, Window<U1, U1, U1, U1, U1, U1, Valid>, Linear, true>>>(6)
}

#[test]
fn padded_convolutions() -> Result<()> {
    check::<On<6, 5, 2, Conv2D<U3, Window<U4, U2, U2, U1, U1, U1, Same>, Linear, true>>>(11)?;
    check::<On<5, 7, 2, Conv2D<U2, Window<U3, U5, U1, U2, U3, U1, Same>, Linear, false>>>(12)?;
    check::<On<4, 4, 1, Conv2D<U3, Window<U3, U3, U3, U2, U1, U2, Same>, Linear, true>>>(13)?;
    check::<On<2, 3, 2, Conv2D<U2, Window<U5, U7, U1, U1, U1, U1, Same>, Linear, true>>>(14)
}

#[test]
fn poolings() -> Result<()> {
    check::<On<6, 8, 3, MaxPooling2D<Window<U2, U2, U2, U2, U1, U1, Valid>>>>(21)?;
    check::<On<7, 7, 2, MaxPooling2D<Window<U3, U2, U2, U3, U1, U1, Valid>>>>(22)?;
    check::<On<7, 6, 2, MaxPooling2D<Window<U3, U3, U1, U1, U1, U1, Valid>>>>(23)?;
    check::<On<5, 7, 1, MaxPooling2D<Window<U2, U3, U2, U2, U1, U1, Same>>>>(24)
}

#[test]
fn dense_layers() -> Result<()> {
    check::<OnVector<7, Dense<U4, Linear, true>>>(31)?;
    check::<OnVector<1, Dense<U3, Linear, false>>>(32)
}

#[test]
fn activations_of_vectors_and_maps() -> Result<()> {
    check::<OnVector<5, Dense<U4, Relu, true>>>(41)?;
    check::<OnVector<5, Dense<U4, Sigmoid, true>>>(42)?;
    check::<OnVector<5, Dense<U4, Tanh, true>>>(43)?;
    check::<OnVector<5, Dense<U4, Softmax, true>>>(44)?;
    check::<On<4, 5, 2, Conv2D<U3, Square<U2, U1>, Relu, true>>>(45)?;
    check::<On<4, 5, 2, Conv2D<U3, Square<U2, U1>, Sigmoid, true>>>(46)?;
    check::<On<4, 5, 2, Conv2D<U3, Square<U2, U1>, Tanh, true>>>(47)?;
    check::<On<4, 5, 2, Conv2D<U3, Square<U2, U1>, Softmax, true>>>(48)
}

#[test]
fn grouped_convolutions() -> Result<()> {
    check::<On<5, 6, 4, GroupedConv2D<U6, Window<U3, U2, U2, U1, U1, U1, Same>, Tanh, U2, true>>>(61)?;
    check::<On<4, 5, 6, GroupedConv2D<U3, Window<U2, U3, U1, U1, U2, U1, Valid>, Linear, U3, false>>>(62)?;
    check::<On<3, 3, 2, GroupedConv2D<U4, Square<U2, U1>, Relu, Num<1>, true>>>(63)
}

#[test]
fn depthwise_convolutions() -> Result<()> {
    check::<On<5, 6, 3, DepthwiseConv2D<U1, Window<U3, U2, U1, U2, U1, U1, Same>, Relu, true>>>(71)?;
    check::<On<6, 5, 2, DepthwiseConv2D<U3, Window<U2, U3, U1, U1, U3, U1, Valid>, Linear, false>>>(72)?;
    check::<On<4, 4, 1, DepthwiseConv2D<Hex<0, 0, 0, 0, 0, 0, 0, 2>, Square<U2, U2>, Sigmoid, true>>>(73)
}

#[test]
fn separable_convolutions() -> Result<()> {
    check::<On<5, 6, 3, SeparableConv2D<U4, U1, Window<U3, U3, U2, U2, U1, U1, Same>, Tanh, true>>>(81)?;
    check::<On<6, 6, 2, SeparableConv2D<U3, U2, Window<U2, U3, U1, U1, U2, U2, Valid>, Linear, false>>>(82)
}

#[test]
fn average_poolings() -> Result<()> {
    check::<On<6, 8, 3, AveragePooling2D<Square<U2, U2>>>>(91)?;
    check::<On<7, 7, 2, AveragePooling2D<Window<U3, U2, U2, U3, U1, U1, Valid>>>>(92)?;
    check::<On<5, 7, 1, AveragePooling2D<Window<U2, U3, U2, U2, U1, U1, Same>>>>(93)
}

#[test]
fn global_poolings() -> Result<()> {
    check::<On<3, 4, 5, GlobalAveragePooling2D<false>>>(101)?;
    check::<On<4, 3, 2, GlobalAveragePooling2D<true>>>(102)?;
    check::<On<3, 4, 5, GlobalMaxPooling2D<false>>>(103)?;
    check::<On<4, 3, 2, (GlobalMaxPooling2D<true>, Flatten)>>(104)
}

#[test]
fn paddings_and_enlargements() -> Result<()> {
    check::<On<3, 4, 2, ZeroPadding2D<U1, U2, U3, U0>>>(111)?;
    check::<On<3, 2, 2, UpSampling2D<U2, U3, Nearest>>>(112)?;
    check::<On<3, 4, 2, UpSampling2D<U2, U3, Bilinear>>>(113)?;
    check::<On<1, 2, 1, UpSampling2D<U4, U1, Bilinear>>>(114)
}

#[test]
fn reshapings() -> Result<()> {
    check::<On<2, 3, 4, (Reshape<(U4, U3, U2)>, (Conv2D<U2, Square<U2, U1>, Tanh, true>, Flatten))>>(121)?;
    check::<On<2, 3, 4, (Reshape<(U24,)>, (Dense<U12, Relu, true>, Reshape<(U2, U3, U2)>))>>(122)
}

#[test]
fn activations_as_layers() -> Result<()> {
    check::<On<2, 3, 4, Alone<Relu>>>(131)?;
    check::<On<2, 3, 4, (Alone<Linear>, (Alone<Tanh>, Alone<Softmax>))>>(132)?;
    check::<OnVector<5, (Alone<Sigmoid>, SoftmaxLayer)>>(133)?;
    check::<On<3, 3, 2, LeakyReLU<{ bits(0.3) }>>>(134)?;
    check::<OnVector<20, ReLU<{ bits(f64::INFINITY) }, { bits(0.0) }, { bits(0.0) }>>>(135)?;
    check::<OnVector<40, ReLU<{ bits(0.5) }, { bits(0.1) }, { bits(0.25) }>>>(136)?;
    check::<On<3, 3, 2, Rescaling<{ bits(2.0) }, { bits(-1.0) }>>>(137)
}

const fn bits(number: f64) -> u64 {
    number.to_bits()
}

type Normalized<const CENTER: bool, const SCALE: bool> =
    BatchNormalization<{ bits(0.9) }, { bits(0.001) }, CENTER, SCALE>;

#[test]
fn layers_that_differ_in_training() -> Result<()> {
    check::<On<3, 2, 3, Normalized<true, true>>>(141)?;
    check::<On<3, 2, 3, Normalized<false, true>>>(142)?;
    check::<OnVector<4, Normalized<true, false>>>(143)?;
    check::<OnVector<4, (Normalized<false, false>, Dropout<{ bits(0.5) }>)>>(144)
}

#[test]
fn branches() -> Result<()> {
    type Same3<F> = Conv2D<F, Square<U3, U1, Same>, Tanh, true>;
    check::<On<4, 3, 2, Merge<Add, (Same3<U2>, ())>>>(151)?;
    check::<On<4, 3, 2, Merge<Add, ((), (), ())>>>(152)?;
    check::<On<4, 3, 2, Merge<Concatenate, (Same3<U3>, (), (Alone<Tanh>, Same3<U1>))>>>(153)?;
    check::<OnVector<5, Merge<Concatenate, (Dense<U2, Relu, true>, (), Dense<U3, Tanh, false>)>>>(154)?;
    // Branches in branches, and all that can be merged.
    type Inner = (Same3<U2>, (Merge<Add, ((), Same3<U2>)>, LeakyReLU<{ bits(0.1) }>));
    check::<On<4, 3, 2, Merge<Concatenate, (Inner, (Inner, Inner))>>>(155)?;
    type Eight<L> = (L, (), L, (), L, (), L, L);
    check::<On<2, 2, 2, Merge<Concatenate, Eight<Conv2D<U1, Square<U1, U1>, Linear, true>>>>>(156)?;
    check::<OnVector<3, Merge<Add, Eight<Dense<U3, Tanh, true>>>>>(157)
}

#[test]
fn repeated_nested_and_wrapped_layers() -> Result<()> {
    const OUT: u128 = u128::from_be_bytes(*b"out\0\0\0\0\0\0\0\0\0\0\0\0\0");
    type Step = Conv2D<U2, Square<U2, U1>, Tanh, true>;
    check::<On<6, 7, 2, (Repeat<U3, Step>, Flatten)>>(161)?;
    check::<On<5, 5, 2, Repeat<Num<2>, (Step, Normalized<true, true>)>>>(162)?;
    check::<On<9, 9, 2, (Frozen<Nested<Base>>, (Flatten, Dense<U1, Sigmoid, true>))>>(163)?;
    type Wrapped = Regularized<Initialized<Named<Dense<U3, Tanh, true>, Letters<3, OUT, 0, 0, 0>>, 0, HeNormal>, 0, 0>;
    check::<OnVector<4, (Frozen<Wrapped>, Dense<U2, Linear, true>)>>(164)?;
    assert_eq!(<OnVector<4, Wrapped> as convnet_core::Network>::PLAN.layers[0].name.to_string(), "out");
    Ok(())
}

#[test]
fn whole_networks() -> Result<()> {
    check::<Base>(51)?;
    check::<OnBase>(52)?;
    check::<Odd>(53)?;
    check::<Classifier<4>>(54)
}

/// `(softmax, the same without)` and the like: equal up to the activation, equal weights.
#[test]
fn logits_leave_out_the_last_activation_only() -> Result<()> {
    type Softmaxed = OnVector<6, (Dense<U5, Tanh, true>, Dense<U3, Softmax, true>)>;
    type Bare = OnVector<6, (Dense<U5, Tanh, true>, Dense<U3, Linear, true>)>;
    let dev = Cpu::default();
    let (softmaxed, mut bare) = (dev.build_module::<Softmaxed, f32>(), dev.build_module::<Bare, f32>());
    bare.from_flat(&softmaxed.to_flat())?;
    let values = numbers(61, 4 * 6);
    let logits = softmaxed.logits(dev.inputs::<Softmaxed, _>(4, values.clone())?);
    assert_eq!(logits.as_vec(), bare.forward(dev.inputs::<Bare, _>(4, values)?).as_vec());
    Ok(())
}

#[test]
fn the_first_of_several_maxima_takes_the_gradient() -> Result<()> {
    type Pool = On<4, 4, 1, MaxPooling2D<Square<U2, U2>>>;
    let dev = Cpu::default();
    #[rustfmt::skip]
    let input = dev.inputs::<Pool, _>(1, vec![
        1.0, 1.0,  0.0, 2.0,
        1.0, 1.0,  2.0, 2.0,
        3.0, 4.0,  0.0, 0.0,
        4.0, 4.0,  0.0, 0.0,
    ])?;
    let output = dev.build_module::<Pool, f32>().forward(input.leaky_trace());
    assert_eq!(output.as_vec(), [1.0, 2.0, 4.0, 0.0]);
    #[rustfmt::skip]
    assert_eq!(output.sum().backward().get(&input).as_vec(), [
        1.0, 0.0,  0.0, 1.0,
        0.0, 0.0,  0.0, 0.0,
        0.0, 1.0,  1.0, 0.0,
        0.0, 0.0,  0.0, 0.0,
    ]);
    Ok(())
}

/// A tensor may look at its values in another order than they lie in memory.
#[test]
fn permuted_tensors_are_read_in_their_own_order() -> Result<()> {
    type Net = On<3, 3, 2, Conv2D<U2, Square<U2, U1>, Linear, true>>;
    let dev = Cpu::default();
    let model = dev.build_module::<Net, f32>();
    let values = numbers(71, 18);
    let transposed: Vec<f32> = (0..3)
        .flat_map(|j| (0..3).flat_map(move |i| (0..2).map(move |c| (i * 3 + j) * 2 + c)))
        .map(|index| values[index])
        .collect();
    let transposed = dev.inputs::<Net, _>(1, transposed)?;
    let permuted: InputOf<Net> = transposed.clone().permute::<_, Axes4<0, 2, 1, 3>>();
    assert_eq!(permuted.as_vec(), values);
    let straight = dev.inputs::<Net, _>(1, values)?;
    let expected = model.forward(straight.leaky_trace());
    assert_eq!(model.forward(permuted).as_vec(), expected.as_vec());

    let permuted: InputOf<Net, usize, Taped> = transposed.leaky_trace().permute::<_, Axes4<0, 2, 1, 3>>();
    let found = model.forward(permuted).square().sum().backward().get(&transposed);
    let found: InputOf<Net> = found.permute::<_, Axes4<0, 2, 1, 3>>();
    let expected = expected.square().sum().backward().get(&straight);
    assert_eq!(found.as_vec(), expected.as_vec(), "and their gradients are written in it");
    Ok(())
}
