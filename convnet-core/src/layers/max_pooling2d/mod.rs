//! `MaxPooling2D(pool_size, strides, padding)`: the largest value of each window, channel by channel.
//!
//! `strides` left out means `pool_size`. Where several values of a window are largest, the first in reading order
//! takes the gradient, as in TensorFlow and PyTorch. Padding never wins: a padded window looks at what is inside the
//! map only.

pub mod reference;

use super::{Layer, LayerSpec, Op, Slides, WindowKind};
use crate::shape::Axis;
use crate::shape::size::Phantom;
use crate::shape::walk::Walk;

/// The settings of a max pooling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// How the window slides vertically.
    pub vertical: Axis,
    /// How the window slides horizontally.
    pub horizontal: Axis,
}

/// The type of a max pooling over a [`super::Window`].
pub struct MaxPooling2D<Win>(Phantom<Win>);

impl<Win: WindowKind> Layer for MaxPooling2D<Win> {
    const SPEC: LayerSpec =
        LayerSpec::of(Op::MaxPooling2D(Spec { vertical: Win::VERTICAL, horizontal: Win::HORIZONTAL }));
}

impl<H, W, C, Win: Slides<H, W>> Walk<(H, W, C)> for MaxPooling2D<Win> {
    type Out = (Win::Height, Win::Width, C);
}
