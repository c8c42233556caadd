//! Settings that any layer can have, as wrappers around its type: a name, an initialiser, a penalty, frozen weights.
//!
//! Weights are counted by their role, in the order in which the layer has them when all of them are there: kernel and
//! bias; depthwise kernel, pointwise kernel and bias; gamma, beta, moving mean and moving variance.

use super::{Layer, LayerSpec, Layers, Node};
use crate::plan::InitializerKind;
use crate::shape::size::{Phantom, Text};
use crate::shape::walk::Walk;

/// A layer with a `name` of its own.
pub struct Named<L, Name>(Phantom<(L, Name)>);

impl<L: Layer, Name: Text> Layer for Named<L, Name> {
    const SPEC: LayerSpec = LayerSpec { name: Some(Name::TEXT), ..L::SPEC };
}

/// A layer whose weight of role `ROLE` starts as the initialiser `I` says: `kernel_initializer = "he_normal"`.
pub struct Initialized<L, const ROLE: usize, I>(Phantom<(L, I)>);

impl<L: Layer, const ROLE: usize, I: Initializes> Layer for Initialized<L, ROLE, I> {
    const SPEC: LayerSpec = {
        let mut spec = L::SPEC;
        spec.initializers[ROLE] = Some(I::KIND);
        spec
    };
}

/// A layer whose weight of role `ROLE` adds `L2 · Σ w²` to the loss: `kernel_regularizer = L2(0.001)`. The factor is
/// given by the bits of an `f64`.
pub struct Regularized<L, const ROLE: usize, const L2: u64>(Phantom<L>);

impl<L: Layer, const ROLE: usize, const L2: u64> Layer for Regularized<L, ROLE, L2> {
    const SPEC: LayerSpec = {
        let mut spec = L::SPEC;
        spec.l2[ROLE] = f64::from_bits(L2);
        spec
    };
}

/// A layer, a network, or a tree of them, whose weights training leaves alone: `trainable = false`.
pub struct Frozen<T>(Phantom<T>);

impl<T: Layers> Layers for Frozen<T> {
    const NODE: &'static Node = &Node::Frozen(T::NODE);
}

macro_rules! same_way {
    ($([$($generics:tt)*] $wrapper:ty;)*) => {$(
        impl<In, L: Walk<In>, $($generics)*> Walk<In> for $wrapper {
            type Out = L::Out;
        }
    )*};
}

same_way! {
    [Name] Named<L, Name>;
    [const ROLE: usize, I] Initialized<L, ROLE, I>;
    [const ROLE: usize, const L2: u64] Regularized<L, ROLE, L2>;
    [] Frozen<L>;
}

/// The initialiser types.
pub trait Initializes: 'static {
    /// The same as a value.
    const KIND: InitializerKind;
}

macro_rules! initializers {
    ($($(#[$doc:meta])* $kind:ident)*) => {$(
        $(#[$doc])*
        pub struct $kind;

        impl Initializes for $kind {
            const KIND: InitializerKind = InitializerKind::$kind;
        }
    )*};
}

initializers! {
    /// `"zeros"` in a layer's type.
    Zeros
    /// `"ones"` in a layer's type.
    Ones
    /// `"glorot_uniform"` in a layer's type.
    GlorotUniform
    /// `"glorot_normal"` in a layer's type.
    GlorotNormal
    /// `"he_uniform"` in a layer's type.
    HeUniform
    /// `"he_normal"` in a layer's type.
    HeNormal
    /// `"lecun_uniform"` in a layer's type.
    LecunUniform
    /// `"lecun_normal"` in a layer's type.
    LecunNormal
}
