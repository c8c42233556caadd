//! The kernels, one family a file.
//!
//! The general path: one kernel for each layer, at every level, for every setting that a listing can express; [`select`]
//! makes it.
//!
//! - Convolution ([`conv2d`], [`grouped_conv2d`]) and dense layers are the matrix product of [`gemm`] over offset tables.
//!   Few filters, and small groups, have positions instead of filters as its columns ([`planar`]); where sums need not keep
//!   the kernel's order, few filters and few channels are scalar products ([`window_dots`]).
//! - [`depthwise_conv2d`] has no product to share: its positions gather from the map (`depthwise_gather`, for its kernel
//!   `depthwise_gradient`), vectors of channels at a time; windows of three taps in a row slide (`depthwise_slide`), as do
//!   those of five for their kernel's gradient (`depthwise_five`); those of 3×3 go down maps that the caches hold
//!   (`depthwise_roll`), and with strides of 2 their input's gradient goes by squares (`depthwise_widen`).
//! - [`max_pooling2d`], [`average_pooling2d`], [`global_pooling2d`], [`zero_padding2d`] and [`up_sampling2d`] move, choose
//!   and mix the values of a map.
//! - [`activation`] (on [`activate`], which other kernels share), [`rectifiers`], [`rescaling`] and [`dropout`] are passes
//!   over values, whatever their shape.
//! - [`batch_normalization`] is a kernel with the moving statistics, and a set of passes with those of a batch.
//! - [`wide_dense`] has the products of a dense layer that takes a whole batch at once.
//! - [`merge`] is for `Add` and `Concatenate`, which are no kernels, since those have one input.
//!
//! [`fast3x3`] has fused kernels for the blocks that most convnets are made of, [`single_channel`] one for first layers
//! of few filters; [`depthwise_conv2d`] has one for groups of few channels, and `tiled_dense` is for dense layers where
//! bfloat16 is allowed. [`choose`] takes them where they fit. Those for the tile unit multiply by `amx_product`, with
//! weights as `amx_panels` lays them.

pub mod activate;
pub mod activation;
#[cfg(target_arch = "x86_64")]
mod amx_panels;
#[cfg(target_arch = "x86_64")]
mod amx_product;
pub mod average_pooling2d;
mod batch_maps;
pub mod batch_normalization;
mod batch_sums;
pub mod conv2d;
mod conv2d_input;
pub mod dense;
pub mod depthwise_conv2d;
mod depthwise_five;
mod depthwise_gather;
mod depthwise_gradient;
mod depthwise_roll;
mod depthwise_slide;
mod depthwise_widen;
mod dots;
pub mod dropout;
mod exp;
pub mod fast3x3;
pub mod gemm;
mod gemm_copy;
pub mod gemm_pack;
mod gemm_tile;
pub mod global_pooling2d;
pub mod grouped_conv2d;
pub mod max_pooling2d;
pub mod merge;
mod planar;
mod pooling_window;
pub mod rectifiers;
pub mod rescaling;
pub mod single_channel;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tiled_dense;
mod turn;
pub mod up_sampling2d;
pub mod wide_dense;
mod window;
mod window_dots;
pub mod zero_padding2d;

use super::kernel::Kernel;
use super::simd::Level;
#[cfg(target_arch = "x86_64")]
use super::simd::amx::Amx;
use crate::engine::Precision;
use crate::layers::{self, Activation, Op};
use crate::shape::Shape;

/// The general kernel of a layer, with `activation` in place of the layer's own (a loss may want to see what comes
/// before it). `None` for what the program lowers to something else:
/// `Flatten` and `Reshape` move nothing, a separable convolution is two, merges have several inputs.
pub fn select(op: &Op, input: Shape, output: Shape, activation: Activation, level: Level) -> Option<Box<dyn Kernel>> {
    match *op {
        Op::Conv2D(spec) if spec.groups > 1 => Some(grouped_conv2d::select(spec, input, output, activation, level)),
        Op::Conv2D(spec) => Some(Box::new(conv2d::Conv2D::new(spec, input, output, activation, level))),
        Op::DepthwiseConv2D(spec) => {
            Some(Box::new(depthwise_conv2d::DepthwiseConv2D::new(spec, input, output, activation, level)))
        }
        Op::BatchNormalization(spec) => {
            Some(Box::new(batch_normalization::BatchNormalization::new(spec, input.channels(), level)))
        }
        Op::MaxPooling2D(spec) => Some(Box::new(max_pooling2d::MaxPooling2D::new(spec, input, output, level))),
        Op::AveragePooling2D(spec) => {
            Some(Box::new(average_pooling2d::AveragePooling2D::new(spec, input, output, level)))
        }
        Op::GlobalAveragePooling2D(_) => Some(Box::new(global_pooling2d::global_average_pooling2d(input, level))),
        Op::GlobalMaxPooling2D(_) => Some(Box::new(global_pooling2d::GlobalMaxPooling2D::new(input, level))),
        Op::ZeroPadding2D(spec) => Some(Box::new(zero_padding2d::ZeroPadding2D::new(spec, input, output))),
        Op::UpSampling2D(spec) => Some(Box::new(up_sampling2d::UpSampling2D::new(spec, input, output, level))),
        Op::Activation(_) | Op::Softmax => {
            Some(Box::new(activation::Activation::new(activation, output.channels(), level)))
        }
        Op::ReLU(spec) => Some(Box::new(rectifiers::Rectifier::relu(spec, level))),
        Op::LeakyReLU(spec) => Some(Box::new(rectifiers::Rectifier::leaky_relu(spec, level))),
        Op::Rescaling(spec) => Some(Box::new(rescaling::Rescaling::new(spec, level))),
        Op::Dropout(spec) => Some(Box::new(dropout::Dropout::new(spec, input.len(), level))),
        Op::Dense(spec) => Some(Box::new(dense::Dense::new(spec, input.len(), activation, level))),
        Op::Flatten | Op::Reshape(_) | Op::SeparableConv2D(_) | Op::Add | Op::Concatenate => None,
    }
}

/// The kernel for the head of `layers` (each with its input and output shape), and how many of them it covers; `None`
/// where the first moves nothing. `first`: nobody asks for the gradient of the input.
pub fn choose(layers: &[(Op, Shape, Shape)], first: bool, arithmetic: Arithmetic) -> Option<(Box<dyn Kernel>, usize)> {
    let (op, input, output) = layers[0];
    if let Op::Dense(spec) = op {
        return Some((dense(spec, input.len(), first, arithmetic), 1));
    }
    let general = || Some((select(&op, input, output, op.activation(), arithmetic.level)?, 1));
    fast3x3::select(layers, first, arithmetic).or_else(|| of_few_channels(layers[0], arithmetic)).or_else(general)
}

/// The kernel of a convolution of few channels or few filters, or of groups of few channels. They sum in another order
/// than the kernel's.
fn of_few_channels(
    (op, input, output): (Op, Shape, Shape),
    Arithmetic { exact, level, .. }: Arithmetic,
) -> Option<(Box<dyn Kernel>, usize)> {
    let Op::Conv2D(spec) = op else { return None };
    if exact {
        return None;
    }
    let kernel: Box<dyn Kernel> = if spec.groups > 1 {
        Box::new(depthwise_conv2d::DepthwiseConv2D::in_groups(&spec, input, output, spec.activation, level)?)
    } else if let Some(kernel) = single_channel::SingleChannel::new(&spec, input, output, spec.activation, level) {
        Box::new(kernel)
    } else {
        Box::new(conv2d::Conv2D::in_any_order(spec, input, output, spec.activation, level)?)
    };
    Some((kernel, 1))
}

/// The kernel of a dense layer on vectors of `features` values. `first`: nobody asks for the gradient of the input.
pub fn dense(spec: layers::dense::Spec, features: usize, first: bool, arithmetic: Arithmetic) -> Box<dyn Kernel> {
    let general = dense::Dense::new(spec, features, spec.activation, arithmetic.level);
    let general = if first { general.without_input_gradient() } else { general };
    #[cfg(target_arch = "x86_64")]
    if let Some((amx, 1)) = arithmetic.tiles()
        && tiled_dense::TiledDense::covers(spec, features)
    {
        return Box::new(tiled_dense::TiledDense::new(amx, spec, features, general));
    }
    Box::new(general)
}

/// How kernels compute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arithmetic {
    /// No sum is re-associated, and no factor rounded.
    pub exact: bool,
    /// What factors may be rounded to.
    pub precision: Precision,
    /// What the kernels are compiled for.
    pub level: Level,
}

impl Arithmetic {
    /// The tile unit, and in how many parts factors go through it, where that is allowed and there is one.
    #[cfg(target_arch = "x86_64")]
    fn tiles(self) -> Option<(Amx, usize)> {
        let Arithmetic { exact, precision, level } = self;
        let parts = match precision {
            Precision::F32 => return None,
            Precision::Tf32 => 2,
            Precision::Bf16 => 1,
        };
        let amx = if exact || level < Level::Amx { None } else { Amx::detect() };
        amx.map(|amx| (amx, parts))
    }
}

impl Default for Arithmetic {
    fn default() -> Self {
        Arithmetic { exact: false, precision: Precision::default(), level: Level::detect() }
    }
}
