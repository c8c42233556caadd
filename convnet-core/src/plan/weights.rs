//! The weights of a layer, in const code: names, sizes, first values, in Keras's order.

use super::{Initializer, InitializerKind, Weight};
use crate::layers::{
    LayerSpec, MAX_WEIGHTS, Op, batch_normalization, conv2d, dense, depthwise_conv2d, separable_conv2d,
};
use crate::shape::{Axis, Shape};

pub(super) const NO_WEIGHT: Weight =
    Weight { name: "", offset: 0, initializer: Initializer::Zeros, trainable: true, l2: 0.0, sizes: [0; 4], rank: 0 };

/// The weights of a layer on their way into a plan.
struct List<'a> {
    spec: &'a LayerSpec,
    trainable: bool,
    offset: usize,
    weights: [Weight; MAX_WEIGHTS],
    count: usize,
}

/// A layer's weights and how many there are, from `offset` on.
pub(super) const fn layer_weights(
    spec: &LayerSpec,
    input: Shape,
    offset: usize,
    trainable: bool,
) -> ([Weight; MAX_WEIGHTS], usize) {
    let mut list = List { spec, trainable, offset, weights: [NO_WEIGHT; MAX_WEIGHTS], count: 0 };
    let channels = input.channels();
    match &spec.op {
        Op::Conv2D(conv2d::Spec { filters, vertical, horizontal, groups, use_bias, .. }) => {
            let channels = match channels.checked_div(*groups) {
                Some(channels) => channels,
                None => 0,
            };
            list.kernel(0, "kernel", window(vertical, horizontal, channels, *filters));
            list.bias(1, *filters, *use_bias);
        }
        Op::DepthwiseConv2D(depthwise_conv2d::Spec { depth_multiplier, vertical, horizontal, use_bias, .. }) => {
            list.kernel(0, "kernel", window(vertical, horizontal, channels, *depth_multiplier));
            list.bias(1, channels.saturating_mul(*depth_multiplier), *use_bias);
        }
        Op::SeparableConv2D(separable_conv2d::Spec {
            filters,
            depth_multiplier,
            vertical,
            horizontal,
            use_bias,
            ..
        }) => {
            list.kernel(0, "depthwise_kernel", window(vertical, horizontal, channels, *depth_multiplier));
            let between = channels.saturating_mul(*depth_multiplier);
            list.kernel(1, "pointwise_kernel", ([1, 1, between, *filters], 4));
            list.bias(2, *filters, *use_bias);
        }
        Op::Dense(dense::Spec { units, use_bias, .. }) => {
            list.kernel(0, "kernel", ([input.len(), *units, 1, 1], 2));
            list.bias(1, *units, *use_bias);
        }
        Op::BatchNormalization(batch_normalization::Spec { center, scale, .. }) => {
            if *scale {
                list.vector(0, "gamma", channels, InitializerKind::Ones);
            }
            if *center {
                list.vector(1, "beta", channels, InitializerKind::Zeros);
            }
            list.trainable = false;
            list.vector(2, "moving_mean", channels, InitializerKind::Zeros);
            list.vector(3, "moving_variance", channels, InitializerKind::Ones);
        }
        _ => {}
    }
    (list.weights, list.count)
}

/// The sizes of a kernel and their number.
const fn window(vertical: &Axis, horizontal: &Axis, inputs: usize, outputs: usize) -> ([usize; 4], usize) {
    ([vertical.window, horizontal.window, inputs, outputs], 4)
}

impl List<'_> {
    const fn kernel(&mut self, role: usize, name: &'static str, sizes: ([usize; 4], usize)) {
        self.add(role, name, sizes, InitializerKind::GlorotUniform);
    }

    const fn bias(&mut self, role: usize, outputs: usize, use_bias: bool) {
        if use_bias {
            self.vector(role, "bias", outputs, InitializerKind::Zeros);
        }
    }

    const fn vector(&mut self, role: usize, name: &'static str, len: usize, usual: InitializerKind) {
        self.add(role, name, ([len, 1, 1, 1], 1), usual);
    }

    const fn add(
        &mut self,
        role: usize,
        name: &'static str,
        (sizes, rank): ([usize; 4], usize),
        usual: InitializerKind,
    ) {
        let kind = match self.spec.initializers[role] {
            Some(kind) => kind,
            None => usual,
        };
        let (fan_in, fan_out) = fans(&sizes, rank);
        let initializer = kind.for_fans(fan_in, fan_out);
        let (offset, trainable, l2) = (self.offset, self.trainable, self.spec.l2[role]);
        let weight = Weight { name, offset, initializer, trainable, l2, sizes, rank };
        self.offset = offset.saturating_add(weight.len());
        self.weights[self.count] = weight;
        self.count += 1;
    }
}

/// Keras's fans of a weight: the sizes in front of the last two multiply both; a vector's are its length.
const fn fans(sizes: &[usize; 4], rank: usize) -> (usize, usize) {
    match rank {
        4 => {
            let taps = sizes[0].saturating_mul(sizes[1]);
            (taps.saturating_mul(sizes[2]), taps.saturating_mul(sizes[3]))
        }
        2 => (sizes[0], sizes[1]),
        _ => (sizes[0], sizes[0]),
    }
}
