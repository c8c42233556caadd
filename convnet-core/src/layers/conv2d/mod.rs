//! `Conv2D(filters, kernel_size, strides, padding, dilation_rate, activation, use_bias)`.
//!
//! `y[i, j, f] = act(Σ x[i·s + u·d − pad, j·s + v·d − pad, c] · kernel[u, v, c, f] + bias[f])`, channels last, the
//! kernel in Keras's layout `(kernel height, kernel width, input channels, filters)`.

pub mod reference;

use super::activation::{Activation, ActivationKind};
use super::{Layer, LayerSpec, Op, Slides, WindowKind};
use crate::shape::Axis;
use crate::shape::size::{Phantom, Size, TypeSize};
use crate::shape::walk::Walk;

/// The settings of a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// Channels of the output.
    pub filters: usize,
    /// How the kernel slides vertically.
    pub vertical: Axis,
    /// How the kernel slides horizontally.
    pub horizontal: Axis,
    /// Channels and filters are cut into so many groups, each convolved by itself.
    pub groups: usize,
    /// Applied to the output.
    pub activation: Activation,
    /// Whether a bias is added for each filter.
    pub use_bias: bool,
}

/// The type of a convolution: `F` filters, a [`super::Window`], an activation.
pub struct Conv2D<F, Win, A, const USE_BIAS: bool>(Phantom<(F, Win, A)>);

impl<F: Size, Win: WindowKind, A: ActivationKind, const USE_BIAS: bool> Layer for Conv2D<F, Win, A, USE_BIAS> {
    const SPEC: LayerSpec = LayerSpec::of(Op::Conv2D(Spec {
        filters: F::SIZE,
        groups: 1,
        vertical: Win::VERTICAL,
        horizontal: Win::HORIZONTAL,
        activation: A::ACTIVATION,
        use_bias: USE_BIAS,
    }));
}

impl<H, W, C, F: TypeSize, Win: Slides<H, W>, A, const USE_BIAS: bool> Walk<(H, W, C)> for Conv2D<F, Win, A, USE_BIAS> {
    type Out = (Win::Height, Win::Width, F::Digits);
}

/// The type of a convolution in `G` groups of channels: group `g` of the filters sees group `g` of the channels only.
pub struct GroupedConv2D<F, Win, A, G, const USE_BIAS: bool>(Phantom<(F, Win, A, G)>);

impl<F: Size, Win: WindowKind, A: ActivationKind, G: Size, const USE_BIAS: bool> Layer
    for GroupedConv2D<F, Win, A, G, USE_BIAS>
{
    const SPEC: LayerSpec = LayerSpec::of(Op::Conv2D(Spec {
        filters: F::SIZE,
        vertical: Win::VERTICAL,
        horizontal: Win::HORIZONTAL,
        groups: G::SIZE,
        activation: A::ACTIVATION,
        use_bias: USE_BIAS,
    }));
}

impl<H, W, C, F: TypeSize, Win: Slides<H, W>, A, G, const USE_BIAS: bool> Walk<(H, W, C)>
    for GroupedConv2D<F, Win, A, G, USE_BIAS>
{
    type Out = (Win::Height, Win::Width, F::Digits);
}
