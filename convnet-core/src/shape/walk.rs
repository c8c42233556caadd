//! Shapes computed by the trait solver.
//!
//! `Layer: Walk<In>` says that a layer takes a tensor of shape `In` and has the shape `Out` behind it. Shapes are
//! tuples of typenum numbers, `(height, width, channels)` or `(features,)`. The arithmetic is total (a window too
//! large gives one output, a size of zero counts as one), so that a faulty network is reported once and readably, by
//! the macro or by the plan, and never as a wall of typenum bounds.

use super::size::{Phantom, TypeSize};
use std::ops::{Add, Div, Mul, Sub};
use typenum::{Add1, B1, Diff, Max, Maximum, Prod, Quot, Sub1, Sum, U1, Unsigned};

/// The way of a shape through a layer or a tree of layers.
#[diagnostic::on_unimplemented(
    message = "this layer cannot take the shape that the layer above has",
    note = "shapes are tuples of typenum numbers, channels last"
)]
pub trait Walk<In> {
    /// The shape behind it.
    type Out;
}

impl<In> Walk<In> for () {
    type Out = In;
}

impl<In, A, B> Walk<In> for (A, B)
where
    A: Walk<In>,
    B: Walk<A::Out>,
{
    type Out = B::Out;
}

/// The typenum form of a tuple of sizes.
pub trait Digits {
    /// The tuple with every size in typenum's digits.
    type Digits;
}

impl<N: TypeSize> Digits for (N,) {
    type Digits = (N::Digits,);
}

impl<H: TypeSize, W: TypeSize, C: TypeSize> Digits for (H, W, C) {
    type Digits = (H::Digits, W::Digits, C::Digits);
}

/// `padding = "valid"` in a layer's type.
pub struct Valid;

/// `padding = "same"` in a layer's type.
pub struct Same;

/// A window of length `K`, stride `S` and dilation `D` (all typenum numbers), sliding along one axis.
pub struct Sliding<K, S, D, P>(Phantom<(K, S, D, P)>);

/// How many places a window has on an axis of `N` positions.
pub trait Slide<N> {
    /// That number; one where the window does not fit.
    type Out: Unsigned;
}

/// `N`, or one in place of zero.
pub(crate) type AtLeastOne<N> = Maximum<N, U1>;
type Reach<K, D> = Add1<Prod<D, Sub1<AtLeastOne<K>>>>;
type Room<N, R> = Diff<Maximum<N, R>, R>;

impl<N, K, S, D> Slide<N> for Sliding<K, S, D, Valid>
where
    K: Max<U1>,
    AtLeastOne<K>: Sub<B1>,
    D: Mul<Sub1<AtLeastOne<K>>>,
    Prod<D, Sub1<AtLeastOne<K>>>: Add<B1>,
    N: Max<Reach<K, D>>,
    Maximum<N, Reach<K, D>>: Sub<Reach<K, D>>,
    S: Max<U1>,
    Room<N, Reach<K, D>>: Div<AtLeastOne<S>>,
    Quot<Room<N, Reach<K, D>>, AtLeastOne<S>>: Add<B1>,
    Add1<Quot<Room<N, Reach<K, D>>, AtLeastOne<S>>>: Unsigned,
{
    type Out = Add1<Quot<Room<N, Reach<K, D>>, AtLeastOne<S>>>;
}

impl<N, K, S, D> Slide<N> for Sliding<K, S, D, Same>
where
    N: Max<U1>,
    AtLeastOne<N>: Sub<B1>,
    S: Max<U1>,
    Sub1<AtLeastOne<N>>: Div<AtLeastOne<S>>,
    Quot<Sub1<AtLeastOne<N>>, AtLeastOne<S>>: Add<B1>,
    Add1<Quot<Sub1<AtLeastOne<N>>, AtLeastOne<S>>>: Unsigned,
{
    type Out = Add1<Quot<Sub1<AtLeastOne<N>>, AtLeastOne<S>>>;
}

/// A list of shapes `(First, (Second, (…, ())))` joined along the last axis. Where the ranks differ, the first shape
/// stays.
pub trait Joined {
    /// The whole.
    type Out;
}

/// A shape with another joined to it along the last axis.
pub trait Join<Other> {
    /// The whole.
    type Out;
}

impl<First> Joined for (First, ()) {
    type Out = First;
}

impl<First, Second, Rest> Joined for (First, (Second, Rest))
where
    First: Join<Second>,
    (First::Out, Rest): Joined,
{
    type Out = <(First::Out, Rest) as Joined>::Out;
}

impl<N: Add<M>, M> Join<(M,)> for (N,) {
    type Out = (Sum<N, M>,);
}

impl<H, W, C: Add<D>, V, X, D> Join<(V, X, D)> for (H, W, C) {
    type Out = (H, W, Sum<C, D>);
}

impl<N, H, W, C> Join<(H, W, C)> for (N,) {
    type Out = (N,);
}

impl<N, H, W, C> Join<(N,)> for (H, W, C) {
    type Out = (H, W, C);
}
