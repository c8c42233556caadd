//! `Flatten()`: a map of `(h, w, c)` as a vector of `h·w·c`, in memory order; nothing is moved.

use super::{Layer, LayerSpec, Op};
use crate::shape::walk::Walk;
use std::ops::Mul;
use typenum::Prod;

/// The type of a flattening.
pub struct Flatten;

impl Layer for Flatten {
    const SPEC: LayerSpec = LayerSpec::of(Op::Flatten);
}

impl<H, W, C> Walk<(H, W, C)> for Flatten
where
    H: Mul<W>,
    Prod<H, W>: Mul<C>,
{
    type Out = (Prod<Prod<H, W>, C>,);
}

/// A vector stays what it is. (The plan reports such a `Flatten`; the types survive it.)
impl<N> Walk<(N,)> for Flatten {
    type Out = (N,);
}
