//! From a network's type to the type of its dfdx module.
//!
//! [`Build`] gives each layer type its module for the input shape at hand, and a tree of layers the same tree of
//! modules, as pairs, which dfdx knows. [`Buildable`] sums that up for a network; with it `dev.build_module::<N, f32>()`
//! works for every [`Sequential`], and for every type that the macro names (by [`crate::__dfdx_module`], since only
//! the crate that has the type may say so).

use super::built::Built;
use super::identity::Identity;
use super::leaves::Leaves;
use super::px::Batched;
use crate::layers::{Layers, Named, Nested};
use crate::network::{Definition, Network, Sequential};
use crate::shape::size::InputPattern;
use crate::shape::walk::{Digits, Walk};
use ::dfdx::nn::{BuildModule, BuildOnDevice};
use ::dfdx::tensor::Cpu;
use ::dfdx::tensor_ops::Device;

/// The dfdx module of a layer (or of a tree of layers) that takes the shape `In`, a tuple of typenum numbers.
#[diagnostic::on_unimplemented(
    message = "this layer has no dfdx module for the shape that the layer above has",
    note = "shapes are tuples of typenum numbers, channels last"
)]
pub trait Build<In>: Walk<In> {
    /// Its type.
    type Module: BuildModule<Cpu, f32> + Leaves<f32, Cpu>;
}

impl<In> Build<In> for () {
    type Module = Identity;
}

impl<In, A, B> Build<In> for (A, B)
where
    A: Build<In>,
    B: Build<A::Out>,
{
    type Module = (A::Module, B::Module);
}

impl<In, L: Build<In>, Name> Build<In> for Named<L, Name> {
    type Module = L::Module;
}

impl<In, N: Definition> Build<In> for Nested<N>
where
    N::Layers: Build<In>,
{
    type Module = <N::Layers as Build<In>>::Module;
}

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
    type Modules: BuildModule<Cpu, f32> + Leaves<f32, Cpu>;
}

type DigitsOf<N> = <<N as Definition>::Sizes as Digits>::Digits;

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
pub type BuiltOf<N> = Built<N, <N as Buildable>::Modules>;

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

impl<D, Input: InputPattern, Sizes: 'static, Tree: Layers> BuildOnDevice<D, f32> for Sequential<Input, Sizes, Tree>
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
