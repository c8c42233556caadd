//! The shapes that the trait solver computes are those of the plan, and dfdx's tensors have them.
#![cfg(feature = "dfdx")]

mod nets;

use convnet_core::dfdx::prelude::*;
use convnet_core::dfdx::{Batched, Buildable, dfdx};
use convnet_core::shape::walk::{self, Walk};
use convnet_core::{Definition, Network, Result};
use dfdx::shapes::Shape;
use dfdx::tensor::{OnesTensor, OwnedTape, ZerosTensor};
use nets::*;
use typenum::{U1, U2, U3, U4, U10, U32, U64, U512};

const _: () = assert!(Digits::PARAMS == 93_322);
const _: () = assert!(Vgg16::PARAMS == 14_714_688);

fn same<A: 'static, B: 'static>() {
    assert_eq!(std::any::TypeId::of::<A>(), std::any::TypeId::of::<B>());
}

type OutOf<N> = <<N as Definition>::Layers as Walk<<<N as Definition>::Sizes as walk::Digits>::Digits>>::Out;

#[test]
fn literals_constants_and_numbers_are_one_size() {
    same::<OutOf<Digits>, (U10,)>();
    same::<OutOf<Vgg16>, (U4, U4, U512)>();
}

fn agrees_with_plan<N: Buildable>() {
    let sizes = |shape: &[usize]| shape.iter().map(|size| size.to_string()).collect::<Vec<_>>();
    let of = |shape: Vec<usize>| sizes(&shape[1..]);
    assert_eq!(of(N::InputDigits::shape(1).concrete().into()), sizes(N::INPUT), "{} in", N::NAME);
    assert_eq!(of(N::OutputDigits::shape(1).concrete().into()), sizes(N::OUTPUT), "{} out", N::NAME);
}

#[test]
fn types_and_plans_agree() {
    agrees_with_plan::<Digits>();
    agrees_with_plan::<Base>();
    agrees_with_plan::<OnBase>();
    agrees_with_plan::<Classifier<7>>();
    agrees_with_plan::<Odd>();
    agrees_with_plan::<Vgg16>();
    agrees_with_plan::<Nothing>();
}

#[test]
fn forward_is_typed_with_and_without_a_tape() {
    let dev = Cpu::default();
    let model = dev.build_module::<Digits, f32>();
    let images: InputOf<Digits, Const<2>> = dev.zeros();
    let rows: Tensor<(Const<2>, Px<U10>), f32, Cpu> = model.forward(images.clone());
    let traced: Tensor<(Const<2>, Px<U10>), f32, Cpu, OwnedTape<f32, Cpu>> = model.forward(images.leaky_trace());
    assert_eq!(rows.as_vec(), traced.as_vec());
}

/// Never run: that this compiles, and within a second, is the point.
fn _vgg16_is_typed(dev: &Cpu, images: InputOf<Vgg16>) -> OutputOf<Vgg16> {
    let model = dev.build_module::<Vgg16, f32>();
    let loss = model.forward(images.clone().leaky_traced()).mean();
    let _gradients = loss.backward();
    model.forward(images)
}

type Maps<H, W, C> = Tensor<(usize, Px<H>, Px<W>, Px<C>), f32, Cpu>;

#[test]
fn a_base_works_on_maps_of_any_size() {
    let dev = Cpu::default();
    let model = dev.build_module::<Vgg16, f32>();
    let small: Maps<U32, U64, U3> = dev.ones_like(&(1, Px::new(), Px::new(), Px::new()));
    let features: Maps<U1, U2, U512> = model.layers.forward(small);
    let features = features.as_vec();
    assert_eq!(features.len(), 2 * 512);
    assert!(features.iter().any(|&feature| feature > 0.0));
}

#[test]
fn arrays_become_inputs() -> Result<()> {
    let dev = Cpu::default();
    let mut image = [[[0.0; 2]; 9]; 9];
    image[3][4][1] = 0.5;
    let from_array: InputOf<Base, Const<1>> = dev.tensor([image]).into_px();
    let mut values = vec![0.0; 9 * 9 * 2];
    values[(3 * 9 + 4) * 2 + 1] = 0.5;
    let from_values = dev.inputs::<Base, _>(Const::<1>, values)?;
    assert_eq!(from_array.as_vec(), from_values.as_vec());
    let vector: InputOf<Nothing, Const<1>> = dev.tensor([[1.0, 2.0, 3.0]]).into_px();
    assert_eq!(dev.build_module::<Nothing, f32>().forward(vector).as_vec(), [1.0, 2.0, 3.0]);
    Ok(())
}

#[test]
fn a_wrong_number_of_values_is_an_error() {
    let dev = Cpu::default();
    let error = dev.inputs::<Base, _>(2, vec![0.0; 300]).map(|_| ()).expect_err("324 values are needed");
    assert_eq!(error.to_string(), "values of a batch of inputs: expected 324 for shape [2, 9, 9, 2], found 300");
    let error = dev.one_hot::<Digits, _>(2, &[3]).map(|_| ()).expect_err("two classes are needed");
    assert_eq!(error.to_string(), "classes of a batch: expected 2, found 1");
    let error = dev.one_hot::<Digits, _>(1, &[10]).map(|_| ()).expect_err("there are ten classes");
    assert_eq!(error.to_string(), "class: expected less than 10, found 10");
}

#[test]
fn classes_become_one_hot_rows() -> Result<()> {
    let rows = Cpu::default().one_hot::<Classifier<3>, _>(2, &[2, 0])?;
    assert_eq!(rows.as_vec(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    Ok(())
}
