//! Kernels for 3×3 convolution with stride 1, with relu and 2×2 max pooling fused: what convnets are made of.
//!
//! - `thin`: one to four input channels, a network's first layer;
//! - `amx`: 16 channels and more, forward, where the processor has a tile unit and a lower precision is allowed;
//! - `winograd`: 8 channels and more, whatever activation follows, forward, and backward where there is no pooling; with
//!   the tile unit, too, where there is one and the channels are many;
//! - `direct`: 16 channels and more, where `exact` forbids Winograd, or it saves nothing;
//! - `sparse`: backward through pooling, which lets one gradient in eight through;
//! - `wide` is the kernel of the latter two; `same` adds the border of `padding = "same"` to it and to `thin`.
//!
//! [`select`] says whether the head of a plan is such a block. Each file's first lines say why its kernel is as it is.
//!
//! What all of them promise: in forward pass and input gradient, an image's results do not depend, to the bit, on the
//! images beside it; of equal maxima the first in reading order takes the gradient (Winograd rounds the four
//! differently, so exact ties may break differently there, and an exact zero may come out a little above); a maximum
//! of zero or less gives no gradient to anything. NaN: relu keeps it; in a pooling window it wins in the first place
//! and loses in the others; where the output is NaN no gradient passes. An infinity may become NaN (Winograd and the tile
//! unit split values up). Kernels run fastest where input, output,
//! weights, derived weights and scratch start at multiples of 64 bytes.

// Small fixed matrices of registers: indices say which row and column meet, iterators would hide it.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod amx;
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
use crate::engine::cpu::kernels::Arithmetic;
use crate::layers::{Activation, Op};
use crate::shape::{Axis, Padding, Shape};
use block::Block;
use winograd::Transformed;

/// A fused kernel for the head of `ops`, the layers of a plan from some layer on with their input and output shapes,
/// and how many of them it covers; `None` where none fits. `first`: no gradient of the input will be asked for.
pub fn select(ops: &[(Op, Shape, Shape)], first: bool, arithmetic: Arithmetic) -> Option<(Box<dyn Kernel>, usize)> {
    let (Op::Conv2D(spec), input, _) = ops.first()? else { return None };
    let slides = |axis: Axis| axis.window == 3 && axis.stride == 1 && axis.dilation == 1;
    if spec.groups != 1 || !(slides(spec.vertical) && slides(spec.horizontal)) {
        return None;
    }
    if !input.is_map() || spec.vertical.padding != spec.horizontal.padding {
        return None;
    }
    let border = usize::from(spec.vertical.padding == Padding::Same);
    if input.height() + 2 * border < 3 || input.width() + 2 * border < 3 {
        return None;
    }
    let block = Block {
        height: input.height() + 2 * border,
        width: input.width() + 2 * border,
        channels: input.channels(),
        filters: spec.filters,
        bias: spec.use_bias,
        pooled: false,
    };
    let wanted = Wanted { border, activation: spec.activation, first, arithmetic };
    let pools = spec.activation == Activation::Relu && ops.get(1).is_some_and(|(op, input, _)| halves(op, input));
    let pooled = pools.then_some((Block { pooled: true, ..block }, 2));
    let mut candidates = pooled.into_iter().chain([(block, 1)]);
    candidates.find_map(|(block, covered)| Some((wanted.kernel(block)?, covered)))
}

/// What is asked of a kernel, besides its block.
struct Wanted {
    border: usize,
    activation: Activation,
    first: bool,
    arithmetic: Arithmetic,
}

impl Wanted {
    /// The kernel that runs a block fastest, if there is one.
    fn kernel(&self, block: Block) -> Option<Box<dyn Kernel>> {
        let Wanted { border, activation, first, arithmetic } = *self;
        let Arithmetic { exact, level, .. } = arithmetic;
        let relu = activation == Activation::Relu;
        let bordered = |inner: Box<dyn Kernel>| -> Box<dyn Kernel> {
            if border == 0 { inner } else { Box::new(same::Same { block, inner }) }
        };
        let as_it_stands = || {
            if relu && first && thin::Thin::covers(&block) {
                Some(bordered(Box::new(thin::Thin { block, level })))
            } else if relu && wide::Wide::covers(&block) {
                Some(bordered(Box::new(wide::Wide { block, level })))
            } else {
                None
            }
        };
        let thin = relu && first && thin::Thin::covers(&block);
        if exact || thin {
            return as_it_stands();
        }
        // Through a pooling the sparse backward pass is faster, whatever the share of active outputs (see `sparse`).
        let behind = if block.pooled { as_it_stands() } else { None };
        let transformed = Transformed::new(block, border, activation, level);
        #[cfg(target_arch = "x86_64")]
        if let Some(parts) = arithmetic.tiles()
            && amx::Tiled::covers(&block)
            // Two parts are slower than digits, and less precise.
            && !(parts.1 == 2 && transformed.as_ref().is_some_and(Transformed::in_digits))
        {
            let boxed = |kernel: Transformed| -> Box<dyn Kernel> { Box::new(kernel.only_backward()) };
            let behind = behind.or_else(|| transformed.map(boxed))?;
            return Some(Box::new(amx::Tiled::new(parts, block, border, activation, behind)));
        }
        let Some(kernel) = transformed else { return as_it_stands() };
        Some(Box::new(match behind {
            Some(behind) => kernel.behind(behind),
            None => kernel,
        }))
    }
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
