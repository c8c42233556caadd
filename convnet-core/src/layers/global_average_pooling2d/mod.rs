//! `GlobalAveragePooling2D(keepdims)`: the mean of each channel over the whole map.

pub mod reference;

use super::{Layer, LayerSpec, Op};
use crate::shape::walk::Walk;
use typenum::U1;

/// The settings of a global pooling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// Whether the output is a map of 1×1 and not a vector.
    pub keepdims: bool,
}

/// The type of a global average pooling.
pub struct GlobalAveragePooling2D<const KEEPDIMS: bool>;

impl<const KEEPDIMS: bool> Layer for GlobalAveragePooling2D<KEEPDIMS> {
    const SPEC: LayerSpec = LayerSpec::of(Op::GlobalAveragePooling2D(Spec { keepdims: KEEPDIMS }));
}

impl<H, W, C> Walk<(H, W, C)> for GlobalAveragePooling2D<false> {
    type Out = (C,);
}

impl<H, W, C> Walk<(H, W, C)> for GlobalAveragePooling2D<true> {
    type Out = (U1, U1, C);
}
