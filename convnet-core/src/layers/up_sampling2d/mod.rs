//! `UpSampling2D(size, interpolation)`: a map with more rows and columns.
//!
//! `"nearest"` repeats each value; `"bilinear"` interpolates between the centres of the pixels, as TensorFlow's
//! `resize` does.

pub mod reference;

use super::{Layer, LayerSpec, Op};
use crate::shape::size::{Phantom, Size, TypeSize};
use crate::shape::walk::Walk;
use std::ops::Mul;
use typenum::Prod;

/// Where the values in between come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The value of the nearest pixel.
    Nearest,
    /// Linear in both directions between the centres of the pixels; beyond the outermost centres their values.
    Bilinear,
}

/// The settings of an enlargement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// Rows for each row.
    pub rows: usize,
    /// Columns for each column.
    pub columns: usize,
    /// Where the values in between come from.
    pub interpolation: Interpolation,
}

/// The type of an enlargement by `R` rows and `C` columns for each.
pub struct UpSampling2D<R, C, I>(Phantom<(R, C, I)>);

/// The interpolation types.
pub trait InterpolationKind: 'static {
    /// The same as a value.
    const INTERPOLATION: Interpolation;
}

/// `interpolation = "nearest"` in a layer's type.
pub struct Nearest;

/// `interpolation = "bilinear"` in a layer's type.
pub struct Bilinear;

impl InterpolationKind for Nearest {
    const INTERPOLATION: Interpolation = Interpolation::Nearest;
}

impl InterpolationKind for Bilinear {
    const INTERPOLATION: Interpolation = Interpolation::Bilinear;
}

impl<R: Size, C: Size, I: InterpolationKind> Layer for UpSampling2D<R, C, I> {
    const SPEC: LayerSpec =
        LayerSpec::of(Op::UpSampling2D(Spec { rows: R::SIZE, columns: C::SIZE, interpolation: I::INTERPOLATION }));
}

impl<H, W, Channels, R: TypeSize, C: TypeSize, I> Walk<(H, W, Channels)> for UpSampling2D<R, C, I>
where
    H: Mul<R::Digits>,
    W: Mul<C::Digits>,
{
    type Out = (Prod<H, R::Digits>, Prod<W, C::Digits>, Channels);
}
