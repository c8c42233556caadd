//! `AveragePooling2D(pool_size, strides, padding)`: the mean of each window, channel by channel.
//!
//! `strides` left out means `pool_size`. A padded window takes the mean of what is inside the map only, as in
//! TensorFlow.

pub mod reference;

use super::{Layer, LayerSpec, Op, Slides, WindowKind};
use crate::shape::size::Phantom;
use crate::shape::walk::Walk;

pub use super::max_pooling2d::Spec;

/// The type of an average pooling over a [`super::Window`].
pub struct AveragePooling2D<Win>(Phantom<Win>);

impl<Win: WindowKind> Layer for AveragePooling2D<Win> {
    const SPEC: LayerSpec =
        LayerSpec::of(Op::AveragePooling2D(Spec { vertical: Win::VERTICAL, horizontal: Win::HORIZONTAL }));
}

impl<H, W, C, Win: Slides<H, W>> Walk<(H, W, C)> for AveragePooling2D<Win> {
    type Out = (Win::Height, Win::Width, C);
}
