//! Which weights the module of a layer has, in the order of the plan.

use super::identity::Identity;
use super::leaves::Leaves;
use super::px::Px;
use super::slot::{
    Beta, Bias, DepthwiseKernel, Gamma, Kernel, MovingMean, MovingVariance, PointwiseKernel, SeparableBias, Slot, Slots,
};
use crate::layers::activation::{ActivationKind, Alone, SoftmaxLayer};
use crate::layers::average_pooling2d::AveragePooling2D;
use crate::layers::batch_normalization::BatchNormalization;
use crate::layers::conv2d::{Conv2D, GroupedConv2D};
use crate::layers::dense::Dense;
use crate::layers::depthwise_conv2d::DepthwiseConv2D;
use crate::layers::dropout::Dropout;
use crate::layers::flatten::Flatten;
use crate::layers::global_average_pooling2d::GlobalAveragePooling2D;
use crate::layers::global_max_pooling2d::GlobalMaxPooling2D;
use crate::layers::leaky_relu::LeakyReLU;
use crate::layers::max_pooling2d::MaxPooling2D;
use crate::layers::relu::ReLU;
use crate::layers::rescaling::Rescaling;
use crate::layers::reshape::Reshape;
use crate::layers::separable_conv2d::SeparableConv2D;
use crate::layers::settings::Initializes;
use crate::layers::up_sampling2d::{InterpolationKind, UpSampling2D};
use crate::layers::zero_padding2d::ZeroPadding2D;
use crate::layers::{Initialized, Layer, Named, Regularized, Slides, Window, WindowKind};
use crate::shape::size::{Size, Text, TypeSize};
use crate::shape::walk::{AtLeastOne, Walk};
use ::dfdx::nn::BuildModule;
use ::dfdx::tensor::Cpu;
use std::ops::{Div, Mul};
use typenum::{Max, Prod, Quot, U1, Unsigned};

/// The weights of a layer that takes the shape `In`, a tuple of typenum numbers.
#[diagnostic::on_unimplemented(
    message = "this layer has no dfdx module for the shape that the layer above has",
    note = "shapes are tuples of typenum numbers, channels last"
)]
pub trait Weighed<In>: Layer + Walk<In> {
    /// Pairs of [`Slot`]s; [`Identity`] for none.
    type Weights: BuildModule<Cpu, f32> + Leaves<f32, Cpu> + Slots;
}

/// The height and width of a [`Window`] as typenum numbers: the first two sizes of a kernel.
pub trait KernelSize: WindowKind {
    /// The window's height.
    type KernelHeight: Unsigned;
    /// The window's width.
    type KernelWidth: Unsigned;
}

impl<KH, KW, SH, SW, DH, DW, P> KernelSize for Window<KH, KW, SH, SW, DH, DW, P>
where
    Self: WindowKind,
    KH: TypeSize,
    KW: TypeSize,
{
    type KernelHeight = KH::Digits;
    type KernelWidth = KW::Digits;
}

/// The shape of a kernel: `(kernel height, kernel width, input channels, filters)`.
pub type KernelShape<Win, Inputs, Outputs> =
    (Px<<Win as KernelSize>::KernelHeight>, Px<<Win as KernelSize>::KernelWidth>, Px<Inputs>, Px<Outputs>);

/// The shape of a weight with one value for each channel.
type Each<N> = (Px<N>,);

impl<H, W, C, F, Win, A, const USE_BIAS: bool> Weighed<(H, W, C)> for Conv2D<F, Win, A, USE_BIAS>
where
    C: Unsigned,
    F: TypeSize,
    Win: KernelSize + Slides<H, W>,
    A: ActivationKind,
{
    type Weights = (Slot<Kernel, KernelShape<Win, C, F::Digits>>, Slot<Bias, Each<F::Digits>, USE_BIAS>);
}

impl<H, W, C, F, Win, A, G, const USE_BIAS: bool> Weighed<(H, W, C)> for GroupedConv2D<F, Win, A, G, USE_BIAS>
where
    F: TypeSize,
    Win: KernelSize + Slides<H, W>,
    A: ActivationKind,
    G: TypeSize,
    G::Digits: Max<U1>,
    C: Div<AtLeastOne<G::Digits>>,
    Quot<C, AtLeastOne<G::Digits>>: Unsigned,
{
    type Weights = (
        Slot<Kernel, KernelShape<Win, Quot<C, AtLeastOne<G::Digits>>, F::Digits>>,
        Slot<Bias, Each<F::Digits>, USE_BIAS>,
    );
}

impl<H, W, C, M, Win, A, const USE_BIAS: bool> Weighed<(H, W, C)> for DepthwiseConv2D<M, Win, A, USE_BIAS>
where
    C: Unsigned + Mul<M::Digits>,
    Prod<C, M::Digits>: Unsigned,
    M: TypeSize,
    Win: KernelSize + Slides<H, W>,
    A: ActivationKind,
{
    type Weights = (Slot<Kernel, KernelShape<Win, C, M::Digits>>, Slot<Bias, Each<Prod<C, M::Digits>>, USE_BIAS>);
}

impl<H, W, C, F, M, Win, A, const USE_BIAS: bool> Weighed<(H, W, C)> for SeparableConv2D<F, M, Win, A, USE_BIAS>
where
    C: Unsigned + Mul<M::Digits>,
    Prod<C, M::Digits>: Unsigned,
    F: TypeSize,
    M: TypeSize,
    Win: KernelSize + Slides<H, W>,
    A: ActivationKind,
{
    type Weights = (
        Slot<DepthwiseKernel, KernelShape<Win, C, M::Digits>>,
        (
            Slot<PointwiseKernel, (Px<U1>, Px<U1>, Px<Prod<C, M::Digits>>, Px<F::Digits>)>,
            Slot<SeparableBias, Each<F::Digits>, USE_BIAS>,
        ),
    );
}

impl<N: Unsigned, U: TypeSize, A: ActivationKind, const USE_BIAS: bool> Weighed<(N,)> for Dense<U, A, USE_BIAS> {
    type Weights = (Slot<Kernel, (Px<N>, Px<U::Digits>)>, Slot<Bias, Each<U::Digits>, USE_BIAS>);
}

/// Gamma and beta, then the two moving statistics.
type Normalizing<N, const CENTER: bool, const SCALE: bool> = (
    (Slot<Gamma, Each<N>, SCALE>, Slot<Beta, Each<N>, CENTER>),
    (Slot<MovingMean, Each<N>>, Slot<MovingVariance, Each<N>>),
);

impl<H, W, C: Unsigned, const MOMENTUM: u64, const EPSILON: u64, const CENTER: bool, const SCALE: bool>
    Weighed<(H, W, C)> for BatchNormalization<MOMENTUM, EPSILON, CENTER, SCALE>
{
    type Weights = Normalizing<C, CENTER, SCALE>;
}

impl<N: Unsigned, const MOMENTUM: u64, const EPSILON: u64, const CENTER: bool, const SCALE: bool> Weighed<(N,)>
    for BatchNormalization<MOMENTUM, EPSILON, CENTER, SCALE>
{
    type Weights = Normalizing<N, CENTER, SCALE>;
}

macro_rules! without_weights {
    ($([$($generics:tt)*] $layer:ty;)*) => {$(
        impl<In, $($generics)*> Weighed<In> for $layer
        where
            Self: Layer + Walk<In>,
        {
            type Weights = Identity;
        }
    )*};
}

without_weights! {
    [Win: WindowKind] MaxPooling2D<Win>;
    [Win: WindowKind] AveragePooling2D<Win>;
    [const KEEPDIMS: bool] GlobalAveragePooling2D<KEEPDIMS>;
    [const KEEPDIMS: bool] GlobalMaxPooling2D<KEEPDIMS>;
    [T: Size, B: Size, L: Size, R: Size] ZeroPadding2D<T, B, L, R>;
    [R: Size, C: Size, I: InterpolationKind] UpSampling2D<R, C, I>;
    [] Flatten;
    [Sizes] Reshape<Sizes>;
    [A: ActivationKind] Alone<A>;
    [] SoftmaxLayer;
    [const MAX_VALUE: u64, const NEGATIVE_SLOPE: u64, const THRESHOLD: u64] ReLU<MAX_VALUE, NEGATIVE_SLOPE, THRESHOLD>;
    [const NEGATIVE_SLOPE: u64] LeakyReLU<NEGATIVE_SLOPE>;
    [const SCALE: u64, const OFFSET: u64] Rescaling<SCALE, OFFSET>;
    [const RATE: u64] Dropout<RATE>;
}

macro_rules! as_inside {
    ($([$($generics:tt)*] $wrapper:ty;)*) => {$(
        impl<In, L: Weighed<In>, $($generics)*> Weighed<In> for $wrapper {
            type Weights = L::Weights;
        }
    )*};
}

as_inside! {
    [Name: Text] Named<L, Name>;
    [const ROLE: usize, I: Initializes] Initialized<L, ROLE, I>;
    [const ROLE: usize, const L2: u64] Regularized<L, ROLE, L2>;
}
