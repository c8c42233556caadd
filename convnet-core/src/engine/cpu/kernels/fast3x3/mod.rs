//! Fused kernels for 3×3 convolution + relu (+ 2×2 max pooling): the blocks that convnets are made of.
//!
//! - `thin`: one to four input channels, a network's first layer;
//! - `winograd`, `direct`: 16 channels and more, forward, and backward where there is no pooling;
//! - `sparse`: backward through pooling, which lets one gradient in eight through;
//! - `wide` chooses among these three, `same` adds the border of `padding = "same"` to any of them.
//!
//! [`select`] says whether the head of a plan is such a block. Each file's first lines say why its kernel is as it is.
//!
//! What all of them promise: in forward pass and input gradient, an image's results do not depend, to the bit, on the
//! images beside it; of equal maxima the first in reading order takes the gradient (Winograd rounds the four
//! differently, so exact ties may break differently there, and an exact zero may come out a little above); a maximum
//! of zero or less gives no gradient to anything. NaN: relu keeps it; in a pooling window it wins in the first place
//! and loses in the others; where the output is NaN no gradient passes. Kernels run fastest where input, output,
//! weights, derived weights and scratch start at multiples of 64 bytes.

// Small fixed matrices of registers: indices say which row and column meet, iterators would hide it.
#![allow(clippy::needless_range_loop)]

mod block;
mod direct;
mod same;
mod sparse;
#[cfg(test)]
mod tests;
mod thin;
mod wide;
mod winograd;

use crate::engine::cpu::kernel::Kernel;
use crate::engine::cpu::simd::Level;
use crate::layers::{Activation, Op};
use crate::shape::{Axis, Padding, Shape};
use block::Block;

/// A fused kernel for the head of `ops`, the layers of a plan from some layer on with their input and output shapes,
/// and how many of them it covers; `None` where none fits. `first`: no gradient of the input will be asked for.
/// `exact`: only kernels that sum products as they stand (no Winograd).
pub fn select(ops: &[(Op, Shape, Shape)], first: bool, exact: bool, level: Level) -> Option<(Box<dyn Kernel>, usize)> {
    let (Op::Conv2D(spec), input, _) = ops.first()? else { return None };
    let slides = |axis: Axis| axis.window == 3 && axis.stride == 1 && axis.dilation == 1;
    if spec.groups != 1 || !(slides(spec.vertical) && slides(spec.horizontal) && spec.activation == Activation::Relu) {
        return None;
    }
    if !input.is_map() || spec.vertical.padding != spec.horizontal.padding {
        return None;
    }
    let border = if spec.vertical.padding == Padding::Same { 2 } else { 0 };
    if input.height() + border < 3 || input.width() + border < 3 {
        return None;
    }
    let block = Block {
        height: input.height() + border,
        width: input.width() + border,
        channels: input.channels(),
        filters: spec.filters,
        bias: spec.use_bias,
        pooled: false,
    };
    let pooled = Block { pooled: true, ..block };
    let pools = ops.get(1).is_some_and(|(op, input, _)| halves(op, input));
    let candidates = [(pooled, 2), (block, 1)];
    let (block, covered) = candidates.into_iter().skip(usize::from(!pools)).find(|(block, _)| {
        let thin = first && thin::Thin::covers(block);
        thin || wide::Wide::covers(block)
    })?;
    let kernel: Box<dyn Kernel> = if wide::Wide::covers(&block) {
        Box::new(wide::Wide::new(block, exact, level))
    } else {
        Box::new(thin::Thin { block, level })
    };
    Some((if border == 0 { kernel } else { Box::new(same::Same { block, inner: kernel }) }, covered))
}

/// Whether a layer is a 2×2 pooling with stride 2 that looks at whole windows only.
fn halves(op: &Op, input: &Shape) -> bool {
    let Op::MaxPooling2D(spec) = op else { return false };
    let even = |axis: Axis, len: usize| {
        let whole = axis.padding == Padding::Valid || len.is_multiple_of(2);
        axis.window == 2 && axis.stride == 2 && axis.dilation == 1 && whole
    };
    even(spec.vertical, input.height()) && even(spec.horizontal, input.width())
}
