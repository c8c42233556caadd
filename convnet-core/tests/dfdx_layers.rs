//! Every layer's module against its definition: outputs and gradients, computed naively in `f64`.
#![cfg(feature = "dfdx")]

mod naive;
mod nets;

use convnet_core::dfdx::prelude::*;
use convnet_core::dfdx::{Buildable, dfdx};
use convnet_core::layers::Window;
use convnet_core::layers::activation::{Linear, Relu, Sigmoid, Softmax, Tanh};
use convnet_core::layers::conv2d::Conv2D;
use convnet_core::layers::dense::Dense;
use convnet_core::layers::max_pooling2d::MaxPooling2D;
use convnet_core::shape::size::{Map, Num, Vector};
use convnet_core::shape::walk::{Same, Valid};
use convnet_core::{Result, Sequential};
use dfdx::nn::BuildOnDevice;
use dfdx::shapes::Axes4;
use dfdx::tensor::OwnedTape;
use dfdx::tensor_ops::{PermuteTo, SumTo};
use naive::{assert_close, numbers, slopes};
use nets::*;
use typenum::{U1, U2, U3, U4, U5, U6, U7};

type Taped = OwnedTape<f32, Cpu>;

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
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
    let weights = numbers(seed, N::PARAMS);
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
    assert_close("weight gradient", &found, &slopes(&weights, |weights| loss(weights, &pixels)), 1e-4);
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
    let permuted: InputOf<Net> = dev.inputs::<Net, _>(1, transposed)?.permute::<_, Axes4<0, 2, 1, 3>>();
    assert_eq!(permuted.as_vec(), values);
    let expected = model.forward(dev.inputs::<Net, _>(1, values)?);
    assert_eq!(model.forward(permuted).as_vec(), expected.as_vec());
    Ok(())
}
