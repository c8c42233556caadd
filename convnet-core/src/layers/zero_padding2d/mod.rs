//! `ZeroPadding2D(padding)`: rows and columns of zeros around a map.

pub mod reference;

use super::{Layer, LayerSpec, Op};
use crate::shape::size::{Phantom, Size, TypeSize};
use crate::shape::walk::Walk;
use std::ops::Add;
use typenum::Sum;

/// How many rows and columns of zeros there are on each side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// Rows above the map.
    pub top: usize,
    /// Rows below it.
    pub bottom: usize,
    /// Columns to the left of it.
    pub left: usize,
    /// Columns to the right of it.
    pub right: usize,
}

/// The type of a padding with `T`, `B`, `L` and `R` rows and columns on top, at the bottom, left and right.
pub struct ZeroPadding2D<T, B, L, R>(Phantom<(T, B, L, R)>);

impl<T: Size, B: Size, L: Size, R: Size> Layer for ZeroPadding2D<T, B, L, R> {
    const SPEC: LayerSpec =
        LayerSpec::of(Op::ZeroPadding2D(Spec { top: T::SIZE, bottom: B::SIZE, left: L::SIZE, right: R::SIZE }));
}

impl<H, W, C, T: TypeSize, B: TypeSize, L: TypeSize, R: TypeSize> Walk<(H, W, C)> for ZeroPadding2D<T, B, L, R>
where
    H: Add<T::Digits>,
    Sum<H, T::Digits>: Add<B::Digits>,
    W: Add<L::Digits>,
    Sum<W, L::Digits>: Add<R::Digits>,
{
    type Out = (Sum<Sum<H, T::Digits>, B::Digits>, Sum<Sum<W, L::Digits>, R::Digits>, C);
}
