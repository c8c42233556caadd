//! Networks made of networks: a network or block as a layer, branches that are merged, repetitions.

use super::{LayerSpec, Layers, Node, Op};
use crate::network::Definition;
use crate::shape::size::{InputPattern, Phantom, Size, Text, TypeSize};
use crate::shape::walk::{Joined, Walk};
use typenum::{B0, B1, UInt, UTerm};

/// Another network, or a block, as a layer.
pub struct Nested<N>(Phantom<N>);

impl<N: Definition<Input: InputPattern, Layers: Layers>> Layers for Nested<N> {
    const NODE: &'static Node =
        &Node::Network { name: N::NAME, input: <N::Input as InputPattern>::PATTERN, layers: N::Layers::NODE };
}

impl<In, N> Walk<In> for Nested<N>
where
    N: Definition<Layers: Walk<In>>,
{
    type Out = <N::Layers as Walk<In>>::Out;
}

/// Branches that begin from the same tensor and are merged: `Add([…], […])`. `K` is [`Add`] or [`Concatenate`],
/// `P` a tuple of two to eight trees of layers, `Name` a [`Text`] or `()`.
pub struct Merge<K, P, Name = ()>(Phantom<(K, P, Name)>);

/// Branches summed element by element.
pub struct Add;

/// Branches joined along the last axis, the channels.
pub struct Concatenate;

/// The kinds of merges.
pub trait MergeKind: 'static {
    /// The same as data.
    const OP: Op;
}

impl MergeKind for Add {
    const OP: Op = Op::Add;
}

impl MergeKind for Concatenate {
    const OP: Op = Op::Concatenate;
}

/// The shape behind a merge of branches that have the shapes `(First, (Second, (…, ())))`.
pub trait Merges<Shapes> {
    /// That shape.
    type Out;
}

impl<First, Others> Merges<(First, Others)> for Add {
    type Out = First;
}

impl<Shapes: Joined> Merges<Shapes> for Concatenate {
    type Out = Shapes::Out;
}

/// A name, or none: `()`.
pub trait MaybeText: 'static {
    /// The name, if there is one.
    const TEXT: Option<&'static str>;
}

impl MaybeText for () {
    const TEXT: Option<&'static str> = None;
}

impl<T: Text> MaybeText for T {
    const TEXT: Option<&'static str> = Some(T::TEXT);
}

/// A tuple of branches.
pub trait Paths: 'static {
    /// The branches as data.
    const NODES: &'static [&'static Node];
}

/// A tuple of branches that a shape can take.
pub trait WalkAll<In> {
    /// The shapes behind them, as a list `(First, (Second, (…, ())))`.
    type Outs;
}

macro_rules! paths {
    ($($path:ident)*) => {
        impl<$($path: Layers),*> Paths for ($($path,)*) {
            const NODES: &'static [&'static Node] = &[$($path::NODE),*];
        }

        impl<In, $($path: Walk<In>),*> WalkAll<In> for ($($path,)*) {
            type Outs = list!($($path)*);
        }
    };
}

macro_rules! list {
    () => { () };
    ($first:ident $($rest:ident)*) => { ($first::Out, list!($($rest)*)) };
}

paths!(A B);
paths!(A B C);
paths!(A B C D);
paths!(A B C D E);
paths!(A B C D E F);
paths!(A B C D E F G);
paths!(A B C D E F G H);

impl<K: MergeKind, P: Paths, Name: MaybeText> Layers for Merge<K, P, Name> {
    const NODE: &'static Node =
        &Node::Branches { merge: LayerSpec { name: Name::TEXT, ..LayerSpec::of(K::OP) }, paths: P::NODES };
}

impl<In, K, P, Name> Walk<In> for Merge<K, P, Name>
where
    P: WalkAll<In>,
    K: Merges<P::Outs>,
{
    type Out = K::Out;
}

/// The layers `T`, `N` times, one after the other: `Repeat(3, […])`. `N` is a [`Size`].
pub struct Repeat<N, T>(Phantom<(N, T)>);

impl<N: Size, T: Layers> Layers for Repeat<N, T> {
    const NODE: &'static Node = &Node::Repeat { times: N::SIZE, layers: T::NODE };
}

/// `T`, so many times, as a balanced tree of pairs: as the binary digits of the number say.
pub trait Times<T> {
    /// The tree.
    type Tree;
}

impl<T> Times<T> for UTerm {
    type Tree = ();
}

impl<T, U: Times<T>> Times<T> for UInt<U, B0> {
    type Tree = (U::Tree, U::Tree);
}

impl<T, U: Times<T>> Times<T> for UInt<U, B1> {
    type Tree = ((U::Tree, U::Tree), T);
}

/// The tree of pairs that a [`Repeat`] stands for.
pub type Unrolled<N, T> = <<N as TypeSize>::Digits as Times<T>>::Tree;

impl<In, N: TypeSize, T> Walk<In> for Repeat<N, T>
where
    N::Digits: Times<T>,
    Unrolled<N, T>: Walk<In>,
{
    type Out = <Unrolled<N, T> as Walk<In>>::Out;
}
