//! The shapes that the trait solver computes are those of the plan, and dfdx's tensors have them.
#![cfg(feature = "dfdx")]

mod nets;

use convnet_core::dfdx::prelude::*;
use convnet_core::dfdx::{Batched, Buildable, dfdx};
use convnet_core::layers::activation::{Alone, Linear, Relu, SoftmaxLayer, Tanh};
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
use convnet_core::layers::max_pooling2d::MaxPooling2D;
use convnet_core::layers::reshape::Reshape;
use convnet_core::layers::separable_conv2d::SeparableConv2D;
use convnet_core::layers::up_sampling2d::{Bilinear, Nearest, UpSampling2D};
use convnet_core::layers::zero_padding2d::ZeroPadding2D;
use convnet_core::layers::{Frozen, Merge, Repeat, Window};
use convnet_core::shape::size::{Hex, Map, Num, Vector};
use convnet_core::shape::walk::{self, Same, Valid, Walk};
use convnet_core::{Definition, Network, Result, Sequential};
use dfdx::shapes::Shape;
use dfdx::tensor::{OnesTensor, OwnedTape, ZerosTensor};
use nets::*;
use typenum::{U0, U1, U2, U3, U4, U5, U6, U7, U8, U9, U10, U24, U32, U64, U96, U512};

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

type On<const H: usize, const W: usize, const C: usize, Tree> =
    Sequential<Map<H, W, C>, (Num<H>, Num<W>, Num<C>), Tree>;
type OnVector<const N: usize, Tree> = Sequential<Vector<N>, (Num<N>,), Tree>;
type Normal = BatchNormalization<{ 0.9f64.to_bits() }, { 0.001f64.to_bits() }, true, false>;
type HexThree = Hex<0, 0, 0, 0, 0, 0, 0, 3>;

/// Windows of every size, stride, dilation and padding on maps of every size around them.
#[test]
fn types_and_plans_agree_on_windows() {
    macro_rules! on_maps {
        ($($layer:ty),*) => {$(
            agrees_with_plan::<On<5, 7, 3, $layer>>();
            agrees_with_plan::<On<6, 5, 1, $layer>>();
            agrees_with_plan::<On<9, 8, 2, $layer>>();
            agrees_with_plan::<On<150, 31, 64, $layer>>();
        )*};
    }
    type Odd = Window<U3, U2, U2, U3, U1, U1, Valid>;
    type Wide = Window<U2, HexThree, U1, U1, U3, U2, Valid>;
    type Padded = Window<U5, Num<4>, U2, U1, U1, U2, Same>;
    on_maps! {
        DepthwiseConv2D<U1, Odd, Linear, true>, DepthwiseConv2D<HexThree, Wide, Linear, true>,
        DepthwiseConv2D<Num<2>, Padded, Linear, false>, SeparableConv2D<U7, U2, Odd, Linear, true>,
        SeparableConv2D<HexThree, Num<1>, Wide, Linear, true>, SeparableConv2D<U1, U3, Padded, Linear, false>,
        GroupedConv2D<U6, Odd, Linear, U1, true>, AveragePooling2D<Odd>, AveragePooling2D<Square<U2, U2, Same>>,
        MaxPooling2D<Square<U5, U1>>
    }
    agrees_with_plan::<On<6, 6, 12, GroupedConv2D<U8, Odd, Linear, U4, true>>>();
    agrees_with_plan::<On<6, 6, 12, GroupedConv2D<HexThree, Padded, Linear, HexThree, true>>>();
}

#[test]
fn types_and_plans_agree_on_other_layers() {
    macro_rules! on_maps {
        ($($layer:ty),*) => {$(
            agrees_with_plan::<On<1, 1, 1, $layer>>();
            agrees_with_plan::<On<6, 5, 3, $layer>>();
            agrees_with_plan::<On<17, 32, 8, $layer>>();
        )*};
    }
    type Both = (ZeroPadding2D<U1, U0, U2, U1>, UpSampling2D<U2, U2, Nearest>);
    type Three =
        Merge<Concatenate, ((), Normal, (Dropout<{ 0.5f64.to_bits() }>, Conv2D<U5, Square<U1, U1>, Relu, true>))>;
    on_maps! {
        GlobalAveragePooling2D<false>, GlobalAveragePooling2D<true>, GlobalMaxPooling2D<false>,
        GlobalMaxPooling2D<true>, ZeroPadding2D<U0, U0, U0, U0>, ZeroPadding2D<U1, HexThree, Num<5>, U2>,
        UpSampling2D<U1, U1, Bilinear>, UpSampling2D<HexThree, Num<2>, Bilinear>, Both, Repeat<U3, Both>,
        Alone<Tanh>, SoftmaxLayer, Normal, Three, Repeat<HexThree, Three>, Merge<Add, (Normal, (), Frozen<Normal>)>,
        (Three, Merge<Concatenate, (Both, Both, Both)>)
    }
    agrees_with_plan::<On<2, 3, 4, Reshape<(U24,)>>>();
    agrees_with_plan::<On<2, 3, 4, Reshape<(Num<4>, HexThree, U2)>>>();
    agrees_with_plan::<OnVector<9, Reshape<(U3, U1, HexThree)>>>();
    agrees_with_plan::<OnVector<9, Merge<Concatenate, ((), Dense<U5, Relu, true>, Normal)>>>();
}

/// What no plan allows has some shape in types nevertheless: nothing but the plan is to complain of it.
#[test]
fn shapes_of_faulty_networks_are_total() {
    type Zero = Window<U0, U9, U0, U1, U0, U1, Valid>;
    type Behind<In, L> = <L as Walk<In>>::Out;
    type In = (U4, U4, U3);
    same::<Behind<In, DepthwiseConv2D<U0, Zero, Linear, true>>, (U4, U1, U0)>();
    same::<Behind<In, SeparableConv2D<U0, U0, Zero, Linear, true>>, (U4, U1, U0)>();
    same::<Behind<In, AveragePooling2D<Zero>>, (U4, U1, U3)>();
    same::<Behind<In, GroupedConv2D<U2, Square<U3, U1>, Linear, U0, true>>, (U2, U2, U2)>();
    same::<Behind<In, UpSampling2D<U0, U2, Nearest>>, (U0, U8, U3)>();
    same::<Behind<In, Merge<Add, ((), Flatten)>>, In>();
    same::<Behind<In, Merge<Concatenate, (Flatten, (), Flatten)>>, (U96,)>();
    same::<Behind<In, Merge<Concatenate, ((), Flatten, ())>>, (U4, U4, U6)>();
    same::<Behind<In, Merge<Concatenate, ((), UpSampling2D<U2, U2, Nearest>)>>, (U4, U4, U6)>();
    same::<Behind<In, Repeat<U0, Flatten>>, In>();
    same::<Behind<In, Reshape<(U7,)>>, (U7,)>();
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
