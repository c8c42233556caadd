//! Batch normalisation in prediction: folded into the layer above it.
//!
//! With the moving statistics a normalisation is a factor and a shift for each channel, and so can be part of the weights of a
//! convolution or dense layer that has no activation in between. An activation behind it joins them, and a pooling behind that
//! if there is a fused kernel for the three: what was four passes over a map is one. Training steps know nothing of it; the
//! folded weights are made anew before the first prediction after a change. It re-associates products, so exact engines do
//! without.

use super::executor::Settings;
use super::kernel::Kernel;
use super::kernels;
use crate::engine::graph::Operation;
use crate::layers::batch_normalization;
use crate::layers::{Activation, Op};
use crate::shape::Shape;
use std::ops::Range;

/// Several operations as one kernel with weights of its own.
pub(super) struct Fold {
    pub kernel: Box<dyn Kernel>,
    /// The tensors that it takes and makes.
    pub input: usize,
    pub output: usize,
    /// The weights of the layer above, and of the normalisation.
    layer: Range<usize>,
    normalization: Range<usize>,
    spec: batch_normalization::Spec,
    channels: usize,
    bias: bool,
}

impl Fold {
    /// Folds the head of these operations, which are linked (see [`linked`]), if it is a layer with a normalisation behind it;
    /// gives how many operations that are.
    pub fn new(operations: &[Operation], settings: &Settings) -> Option<(Fold, usize)> {
        let [head, below, rest @ ..] = operations else { return None };
        let Op::BatchNormalization(spec) = below.op else { return None };
        let (op, bias) = biased(head.op)?;
        if settings.exact || op.activation() != Activation::Linear {
            return None;
        }
        let (op, rest) = match rest {
            [Operation { op: Op::Activation(activation), .. }, rest @ ..] => (op.with_activation(*activation), rest),
            _ => (op, rest),
        };
        let inside = operations.len() - rest.len();
        let chain: Vec<(Op, Shape, Shape)> = [(op, head.input, head.output)]
            .into_iter()
            .chain(rest.iter().map(|one| (one.op, one.input, one.output)))
            .collect();
        let (kernel, covered) = kernels::choose(&chain, true, settings.arithmetic())?;
        let count = inside + covered - 1;
        let fold = Fold {
            kernel,
            input: head.inputs[0],
            output: operations[count - 1].result,
            layer: head.weights.clone(),
            normalization: below.weights.clone(),
            spec,
            channels: head.output.channels(),
            bias,
        };
        Some((fold, count))
    }

    /// Floats of its weights, which end in a bias.
    pub fn weights(&self) -> usize {
        self.layer.len() + if self.bias { 0 } else { self.channels }
    }

    /// Fills weights and what the kernel derives from them, given all of the network's.
    pub fn prepare(&self, weights: &[f32], folded: &mut [f32], derived: &mut [f32]) {
        let (layer, channels) = (&weights[self.layer.clone()], self.channels);
        let mut rows = weights[self.normalization.clone()].chunks_exact(channels);
        let gamma = if self.spec.scale { rows.next() } else { None };
        let beta = if self.spec.center { rows.next() } else { None };
        let [mean, variance] = [rows.next().unwrap_or(&[]), rows.next().unwrap_or(&[])];
        let (kernel, bias) = layer.split_at(self.weights() - channels);
        let (to_kernel, to_bias) = folded.split_at_mut(kernel.len());
        let at = |row: Option<&[f32]>, c: usize, other: f32| f64::from(row.map_or(other, |row| row[c]));
        // The factors take the bias's place until the kernel is done.
        for (c, factor) in to_bias.iter_mut().enumerate() {
            *factor = (at(gamma, c, 1.0) / (f64::from(variance[c]) + self.spec.epsilon).sqrt()) as f32;
        }
        for (to, from) in to_kernel.chunks_exact_mut(channels).zip(kernel.chunks_exact(channels)) {
            for ((to, from), factor) in to.iter_mut().zip(from).zip(&*to_bias) {
                *to = from * factor;
            }
        }
        for (c, to) in to_bias.iter_mut().enumerate() {
            let start = bias.get(c).map_or(0.0, |&bias| f64::from(bias));
            *to = ((start - f64::from(mean[c])) * f64::from(*to) + at(beta, c, 0.0)) as f32;
        }
        self.kernel.prepare(folded, derived);
    }
}

/// The operation with a bias, and whether it has one already; `None` for those that have no weights to fold into.
fn biased(op: Op) -> Option<(Op, bool)> {
    match op {
        Op::Conv2D(spec) => Some((Op::Conv2D(crate::layers::conv2d::Spec { use_bias: true, ..spec }), spec.use_bias)),
        Op::DepthwiseConv2D(spec) => {
            let with_bias = crate::layers::depthwise_conv2d::Spec { use_bias: true, ..spec };
            Some((Op::DepthwiseConv2D(with_bias), spec.use_bias))
        }
        Op::Dense(spec) => Some((Op::Dense(crate::layers::dense::Spec { use_bias: true, ..spec }), spec.use_bias)),
        _ => None,
    }
}

/// How many of these operations a kernel may cover: as long as nothing else sees the tensors in between, and each operation
/// takes them in the shape in which the one before makes them (a `Reshape` is no operation).
pub(super) fn linked(operations: &[Operation], consumers: &[usize]) -> usize {
    let links = operations.windows(2).take_while(|pair| {
        let [above, below] = pair else { return false };
        consumers[above.result] == 1 && below.inputs == [above.result] && below.input.same(&above.output)
    });
    1 + links.count()
}
