//! `SeparableConv2D(filters, kernel_size, strides, padding, dilation_rate, depth_multiplier, activation, use_bias)`.
//!
//! A depthwise convolution without bias and activation, then a convolution of 1×1 over its channels with both. The
//! kernels are `depthwise_kernel`, `(kernel height, kernel width, channels, depth_multiplier)`, and
//! `pointwise_kernel`, `(1, 1, channels · depth_multiplier, filters)`, as in Keras.

pub mod reference;

use super::activation::{Activation, ActivationKind};
use super::{Layer, LayerSpec, Op, Slides, WindowKind};
use crate::layers::{conv2d, depthwise_conv2d};
use crate::shape::size::{Phantom, Size, TypeSize};
use crate::shape::walk::Walk;
use crate::shape::{Axis, Padding};

/// The settings of a separable convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// Channels of the output.
    pub filters: usize,
    /// Channels between the two convolutions for each channel of the input.
    pub depth_multiplier: usize,
    /// How the depthwise kernel slides vertically.
    pub vertical: Axis,
    /// How the depthwise kernel slides horizontally.
    pub horizontal: Axis,
    /// Applied to the output.
    pub activation: Activation,
    /// Whether a bias is added for each filter.
    pub use_bias: bool,
}

impl Spec {
    /// The first of the two convolutions that this layer is.
    pub const fn depthwise(&self) -> depthwise_conv2d::Spec {
        depthwise_conv2d::Spec {
            depth_multiplier: self.depth_multiplier,
            vertical: self.vertical,
            horizontal: self.horizontal,
            activation: Activation::Linear,
            use_bias: false,
        }
    }

    /// The second of the two convolutions that this layer is.
    pub const fn pointwise(&self) -> conv2d::Spec {
        const ONE: Axis = Axis { window: 1, stride: 1, dilation: 1, padding: Padding::Valid };
        conv2d::Spec {
            filters: self.filters,
            vertical: ONE,
            horizontal: ONE,
            groups: 1,
            activation: self.activation,
            use_bias: self.use_bias,
        }
    }
}

/// The type of a separable convolution: `F` filters, `M` channels in between for each channel, a [`super::Window`], an
/// activation.
pub struct SeparableConv2D<F, M, Win, A, const USE_BIAS: bool>(Phantom<(F, M, Win, A)>);

impl<F: Size, M: Size, Win: WindowKind, A: ActivationKind, const USE_BIAS: bool> Layer
    for SeparableConv2D<F, M, Win, A, USE_BIAS>
{
    const SPEC: LayerSpec = LayerSpec::of(Op::SeparableConv2D(Spec {
        filters: F::SIZE,
        depth_multiplier: M::SIZE,
        vertical: Win::VERTICAL,
        horizontal: Win::HORIZONTAL,
        activation: A::ACTIVATION,
        use_bias: USE_BIAS,
    }));
}

impl<H, W, C, F: TypeSize, M, Win: Slides<H, W>, A, const USE_BIAS: bool> Walk<(H, W, C)>
    for SeparableConv2D<F, M, Win, A, USE_BIAS>
{
    type Out = (Win::Height, Win::Width, F::Digits);
}
