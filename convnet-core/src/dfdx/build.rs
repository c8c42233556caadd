//! From a network's type to the type of its dfdx module.
//!
//! [`Build`] gives each layer type its module for the input shape at hand, and a tree of layers the same tree of
//! modules, as pairs, which dfdx knows; [`Repeat`] becomes the tree that it stands for, and what is [`Frozen`] the same
//! modules with weights that training leaves alone. [`Buildable`] sums that up for a network; with it `dev.build_module::<N, f32>()`
//! works for every [`Sequential`], and for every type that the macro names (by [`crate::__dfdx_module`], since only
//! the crate that has the type may say so).

use super::built::Built;
use super::identity::Identity;
use super::leaves::Leaves;
use super::merged::{Branches, Merged};
use super::px::Batched;
use super::run::Run;
use super::unit::Unit;
use super::weights::Weighed;
use crate::layers::composition::{MergeKind, Times, Unrolled, WalkAll};
use crate::layers::{Frozen, Merge, Nested, Repeat};
use crate::network::{Definition, Network, Sequential};
use crate::shape::size::TypeSize;
use crate::shape::walk::{Digits, Walk};
use ::dfdx::nn::{BuildModule, BuildOnDevice};
use ::dfdx::tensor::Cpu;
use ::dfdx::tensor_ops::Device;

/// The dfdx module of a layer (or of a tree of layers) that takes the shape `In`, a tuple of typenum numbers; of layers
/// whose weights training changes, or does not.
#[diagnostic::on_unimplemented(
    message = "this layer has no dfdx module for the shape that the layer above has",
    note = "shapes are tuples of typenum numbers, channels last"
)]
pub trait Build<In, const TRAINABLE: bool = true>: Walk<In> {
    /// Its type.
    type Module: BuildModule<Cpu, f32> + Leaves<f32, Cpu> + Run;
}

impl<In, const TRAINABLE: bool> Build<In, TRAINABLE> for () {
    type Module = Identity;
}

impl<In, A, B, const TRAINABLE: bool> Build<In, TRAINABLE> for (A, B)
where
    A: Build<In, TRAINABLE>,
    B: Build<A::Out, TRAINABLE>,
{
    type Module = (A::Module, B::Module);
}

impl<In, L: Weighed<In>, const TRAINABLE: bool> Build<In, TRAINABLE> for L {
    type Module = Unit<L, L::Weights, TRAINABLE>;
}

impl<In, T: Build<In, false>, const TRAINABLE: bool> Build<In, TRAINABLE> for Frozen<T> {
    type Module = T::Module;
}

impl<In, N: Definition, const TRAINABLE: bool> Build<In, TRAINABLE> for Nested<N>
where
    N::Layers: Build<In, TRAINABLE>,
{
    type Module = <N::Layers as Build<In, TRAINABLE>>::Module;
}

impl<In, N, T, const TRAINABLE: bool> Build<In, TRAINABLE> for Repeat<N, T>
where
    N: TypeSize,
    N::Digits: Times<T>,
    Unrolled<N, T>: Build<In, TRAINABLE>,
{
    type Module = <Unrolled<N, T> as Build<In, TRAINABLE>>::Module;
}

impl<In, K, P, Name, const TRAINABLE: bool> Build<In, TRAINABLE> for Merge<K, P, Name>
where
    Self: Walk<In>,
    K: MergeKind,
    P: BuildAll<In, TRAINABLE>,
{
    type Module = Merged<K, P::Modules>;
}

/// A tuple of branches that all have modules.
pub trait BuildAll<In, const TRAINABLE: bool>: WalkAll<In> {
    /// The modules, as pairs: `(first, (second, (…, Identity)))`.
    type Modules: BuildModule<Cpu, f32> + Leaves<f32, Cpu> + Branches;
}

macro_rules! build_all {
    ($($path:ident)*) => {
        impl<In, const TRAINABLE: bool, $($path: Build<In, TRAINABLE>),*> BuildAll<In, TRAINABLE> for ($($path,)*) {
            type Modules = modules!($($path)*);
        }
    };
}

macro_rules! modules {
    () => { Identity };
    ($first:ident $($rest:ident)*) => { ($first::Module, modules!($($rest)*)) };
}

build_all!(A B);
build_all!(A B C);
build_all!(A B C D);
build_all!(A B C D E);
build_all!(A B C D E F);
build_all!(A B C D E F G);
build_all!(A B C D E F G H);

/// A network whose dfdx modules are known: every network whose sizes typenum can compute with.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be built as dfdx modules",
    note = "every network made by `convnet!` can, unless it has sizes from const generics beyond typenum's table"
)]
pub trait Buildable: Network {
    /// The input's sizes as typenum numbers.
    type InputDigits: Batched;
    /// The output's sizes as typenum numbers.
    type OutputDigits: Batched;
    /// The modules of the layers, a tree of pairs.
    type Modules: BuildModule<Cpu, f32> + Leaves<f32, Cpu> + Run;
}

type DigitsOf<N> = <<N as Definition>::Sizes as Digits>::Digits;

#[diagnostic::do_not_recommend]
impl<N: Network> Buildable for N
where
    N::Sizes: Digits<Digits: Batched>,
    N::Layers: Build<DigitsOf<N>>,
    <N::Layers as Walk<DigitsOf<N>>>::Out: Batched,
{
    type InputDigits = DigitsOf<N>;
    type OutputDigits = <N::Layers as Walk<DigitsOf<N>>>::Out;
    type Modules = <N::Layers as Build<DigitsOf<N>>>::Module;
}

/// What `dev.build_module::<N, f32>()` gives.
pub type BuiltOf<N> = Built<N>;

/// A device of dfdx on which the network `N` can be built.
///
/// It stands between a network's type and [`Buildable`] so that the compiler asks for the modules where a program
/// builds them, and not where it writes the listing: a faulty listing is then reported once, by the macro or the plan,
/// and a program that does without dfdx does not pay for its types.
#[diagnostic::on_unimplemented(
    message = "`{N}` cannot be built as dfdx modules on `{Self}`",
    note = "every network made by `convnet!` can be built on dfdx's `Cpu`, unless it is faulty or has sizes from const \
            generics above 1024"
)]
pub trait Builds<N>: Device<f32> {
    /// What it is built as.
    type Built: BuildModule<Self, f32>;
}

impl<N: Buildable> Builds<N> for Cpu {
    type Built = BuiltOf<N>;
}

impl<D, Input: 'static, Sizes: 'static, Tree: 'static> BuildOnDevice<D, f32> for Sequential<Input, Sizes, Tree>
where
    D: Builds<Self>,
{
    type Built = D::Built;
}

/// Lets dfdx build a network's type: `[const CLASSES: usize] Classifier [CLASSES]`, the generics, the name and the
/// generic arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! __dfdx_module {
    ([$($generics:tt)*] $name:ident [$($arguments:tt)*]) => {
        impl<Device: $crate::dfdx::Builds<$name<$($arguments)*>>, $($generics)*>
            $crate::dfdx::dfdx::nn::BuildOnDevice<Device, f32> for $name<$($arguments)*>
        {
            type Built = Device::Built;
        }
    };
}
