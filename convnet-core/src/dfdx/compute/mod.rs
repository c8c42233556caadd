//! What the layers compute, on dfdx's tape: one function a layer, the same for every size.
//!
//! Sizes are types outside of this module and numbers inside of it: a tensor comes in as [`Rows`], a matrix with one
//! row for each position of each image and one column for each channel (a vector is one position), and goes out as
//! one. So the compiler translates all this once for tensors with a tape and once for those without, however large a
//! network is. [`infer`] is what a layer does everywhere but in training, [`train`] what it does there; both stop in
//! front of the layer's activation, which [`activate`] applies. Clarity counts here, speed does not: this is the
//! reference.

mod activation;
mod convolution;
mod elementwise;
mod normalization;
mod op;
mod pooling;
mod positions;
mod window;

pub(super) use activation::activate;
pub(super) use op::{add, operation, values};

use crate::layers::{MAX_WEIGHTS, Op};
use crate::shape::{Axis, Shape};
use ::dfdx::tensor::{Cpu, CpuError, NoneTape, Tape, Tensor};
use ::dfdx::tensor_ops::TryMatMul;
use pooling::{average_pooling2d, max_pooling2d};

/// A batch of maps or vectors: `(images · positions, channels)`, contiguous.
pub(super) type Rows<T = NoneTape> = Tensor<(usize, usize), f32, Cpu, T>;

/// A layer's weights by their roles (see [`crate::layers::settings`]), those that it has. All sizes but the last make
/// the rows.
pub(super) type Weights = [Option<Rows>; MAX_WEIGHTS];

/// What changes in the weights of a layer by running it in training: those of some roles have new values.
pub(super) type Updates = Vec<(usize, Vec<f32>)>;

/// The shapes in front of a layer and behind it, and how many images there are.
#[derive(Clone, Copy)]
pub(super) struct Shapes {
    pub images: usize,
    pub input: Shape,
    pub output: Shape,
}

impl Shapes {
    /// The sizes of the output's [`Rows`].
    pub fn output_rows(&self) -> (usize, usize) {
        (self.images * positions(&self.output), self.output.channels())
    }
}

/// How many positions a map has; a vector has one.
pub(super) const fn positions(shape: &Shape) -> usize {
    if shape.is_map() { shape.height() * shape.width() } else { 1 }
}

/// The layer in inference, without its activation.
pub(super) fn infer<T: Tape<f32, Cpu>>(
    op: &Op,
    weights: &Weights,
    input: Rows<T>,
    shapes: Shapes,
) -> Result<Rows<T>, CpuError> {
    match op {
        Op::Conv2D(spec) => convolution::conv2d(spec, weights, input, shapes),
        Op::DepthwiseConv2D(spec) => convolution::depthwise_conv2d(spec, weights, input, shapes),
        Op::SeparableConv2D(spec) => convolution::separable_conv2d(spec, weights, input, shapes),
        Op::Dense(_) => op::add_bias(input.try_matmul(own(weights, 0))?, weights[1].as_ref()),
        Op::MaxPooling2D(spec) => max_pooling2d([spec.vertical, spec.horizontal], input, shapes),
        Op::GlobalMaxPooling2D(_) => max_pooling2d(whole(shapes.input), input, shapes),
        Op::AveragePooling2D(spec) => average_pooling2d([spec.vertical, spec.horizontal], input, shapes),
        Op::GlobalAveragePooling2D(_) => average_pooling2d(whole(shapes.input), input, shapes),
        Op::ZeroPadding2D(spec) => positions::padded(spec, shapes).apply(input, shapes),
        Op::UpSampling2D(spec) => positions::enlarged(spec, shapes).apply(input, shapes),
        Op::ReLU(spec) => elementwise::relu(*spec, input),
        Op::LeakyReLU(spec) => elementwise::leaky_relu(*spec, input),
        Op::Rescaling(spec) => elementwise::rescaling(*spec, input),
        Op::BatchNormalization(spec) => normalization::by_moving_statistics(spec, weights, input),
        // The same values: in another shape, with an activation that follows, dropped in training only, merged already.
        Op::Flatten | Op::Reshape(_) | Op::Activation(_) | Op::Softmax => Ok(input),
        Op::Dropout(_) | Op::Add | Op::Concatenate => Ok(input),
    }
}

/// The layer in training, without its activation. `trainable` is whether its weights are to change.
pub(super) fn train<T: Tape<f32, Cpu>>(
    op: &Op,
    weights: &Weights,
    input: Rows<T>,
    shapes: Shapes,
    trainable: bool,
) -> Result<(Rows<T>, Updates), CpuError> {
    match op {
        Op::BatchNormalization(spec) if trainable => normalization::by_batch_statistics(spec, weights, input),
        Op::Dropout(spec) => Ok((input.try_dropout(spec.rate)?, Updates::new())),
        _ => Ok((infer(op, weights, input, shapes)?, Updates::new())),
    }
}

/// The weight of a role that the layer always has.
fn own(weights: &Weights, role: usize) -> Rows {
    weights[role].clone().expect("a layer is made together with the weights that it always has")
}

/// The window that covers a whole map.
fn whole(map: Shape) -> [Axis; 2] {
    let axis = |window| Axis { window, stride: 1, dilation: 1, padding: crate::shape::Padding::Valid };
    [axis(map.height()), axis(map.width())]
}
