//! `DepthwiseConv2D(kernel_size, strides, padding, depth_multiplier, dilation_rate, activation, use_bias)`.
//!
//! `y[i, j, c·m + k] = act(Σ x[i·s + u·d − pad, j·s + v·d − pad, c] · kernel[u, v, c, k] + bias[c·m + k])` for
//! `m = depth_multiplier`: each channel is convolved by itself, with `m` windows of its own. The kernel is
//! `(kernel height, kernel width, channels, depth_multiplier)`, as in Keras.

pub mod reference;

use super::activation::{Activation, ActivationKind};
use super::{Layer, LayerSpec, Op, Slides, WindowKind};
use crate::shape::Axis;
use crate::shape::size::{Phantom, Size, TypeSize};
use crate::shape::walk::Walk;
use std::ops::Mul;
use typenum::Prod;

/// The settings of a depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// Outputs for each channel.
    pub depth_multiplier: usize,
    /// How the kernel slides vertically.
    pub vertical: Axis,
    /// How the kernel slides horizontally.
    pub horizontal: Axis,
    /// Applied to the output.
    pub activation: Activation,
    /// Whether a bias is added for each output channel.
    pub use_bias: bool,
}

/// The type of a depthwise convolution: `M` outputs for each channel, a [`super::Window`], an activation.
pub struct DepthwiseConv2D<M, Win, A, const USE_BIAS: bool>(Phantom<(M, Win, A)>);

impl<M: Size, Win: WindowKind, A: ActivationKind, const USE_BIAS: bool> Layer for DepthwiseConv2D<M, Win, A, USE_BIAS> {
    const SPEC: LayerSpec = LayerSpec::of(Op::DepthwiseConv2D(Spec {
        depth_multiplier: M::SIZE,
        vertical: Win::VERTICAL,
        horizontal: Win::HORIZONTAL,
        activation: A::ACTIVATION,
        use_bias: USE_BIAS,
    }));
}

impl<H, W, C, M, Win: Slides<H, W>, A, const USE_BIAS: bool> Walk<(H, W, C)> for DepthwiseConv2D<M, Win, A, USE_BIAS>
where
    M: TypeSize,
    C: Mul<M::Digits>,
{
    type Out = (Win::Height, Win::Width, Prod<C, M::Digits>);
}
