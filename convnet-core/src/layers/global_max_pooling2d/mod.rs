//! `GlobalMaxPooling2D(keepdims)`: the largest value of each channel over the whole map. Among equals the first in
//! reading order takes the gradient, as in [`super::max_pooling2d`]; TensorFlow shares it out here.

pub mod reference;

use super::{Layer, LayerSpec, Op};
use crate::shape::walk::Walk;
use typenum::U1;

pub use super::global_average_pooling2d::Spec;

/// The type of a global max pooling.
pub struct GlobalMaxPooling2D<const KEEPDIMS: bool>;

impl<const KEEPDIMS: bool> Layer for GlobalMaxPooling2D<KEEPDIMS> {
    const SPEC: LayerSpec = LayerSpec::of(Op::GlobalMaxPooling2D(Spec { keepdims: KEEPDIMS }));
}

impl<H, W, C> Walk<(H, W, C)> for GlobalMaxPooling2D<false> {
    type Out = (C,);
}

impl<H, W, C> Walk<(H, W, C)> for GlobalMaxPooling2D<true> {
    type Out = (U1, U1, C);
}
