//! Convolutions: patches of the map (im2col) times the kernel, plus the bias.

use super::op::{add_bias, apply, operation, values};
use super::window::Sliding;
use super::{Rows, Shapes, Weights, own};
use crate::layers::{conv2d, depthwise_conv2d, separable_conv2d};
use crate::shape::{Axis, Shape};
use ::dfdx::shapes::HasShape;
use ::dfdx::tensor::{Cpu, CpuError, SplitTape, Tape};
use ::dfdx::tensor_ops::{ReshapeTo, TryMatMul};

/// `Conv2D`, in groups or not.
pub(super) fn conv2d<T: Tape<f32, Cpu>>(
    spec: &conv2d::Spec,
    weights: &Weights,
    input: Rows<T>,
    shapes: Shapes,
) -> Result<Rows<T>, CpuError> {
    let patches = patches([spec.vertical, spec.horizontal], input, shapes)?;
    let sums = match spec.groups {
        1 => patches.try_matmul(own(weights, 0))?,
        groups => grouped(patches, own(weights, 0), shapes.input.channels(), groups)?,
    };
    add_bias(sums, weights[1].as_ref())
}

/// `DepthwiseConv2D`.
pub(super) fn depthwise_conv2d<T: Tape<f32, Cpu>>(
    spec: &depthwise_conv2d::Spec,
    weights: &Weights,
    input: Rows<T>,
    shapes: Shapes,
) -> Result<Rows<T>, CpuError> {
    let channels = shapes.input.channels();
    let patches = patches([spec.vertical, spec.horizontal], input, shapes)?;
    // A kernel (taps, channels, multiplier) is, number for number, that of as many groups as channels:
    // (taps, 1, channels · multiplier).
    let kernel = own(weights, 0);
    let (rows, multiplier) = *kernel.shape();
    let kernel = kernel.try_reshape_like(&(rows / channels, channels * multiplier))?;
    add_bias(grouped(patches, kernel, channels, channels)?, weights[1].as_ref())
}

/// `SeparableConv2D`.
pub(super) fn separable_conv2d<T: Tape<f32, Cpu>>(
    spec: &separable_conv2d::Spec,
    weights: &Weights,
    input: Rows<T>,
    shapes: Shapes,
) -> Result<Rows<T>, CpuError> {
    let between = shapes.input.channels() * spec.depth_multiplier;
    let middle = Shape::map(shapes.output.height(), shapes.output.width(), between);
    let depthwise = [weights[0].clone(), None, None, None];
    let input = depthwise_conv2d(&spec.depthwise(), &depthwise, input, Shapes { output: middle, ..shapes })?;
    let pointwise = [weights[1].clone(), weights[2].clone(), None, None];
    conv2d(&spec.pointwise(), &pointwise, input, Shapes { input: middle, ..shapes })
}

/// What lies under the window at each of its places: a row of `taps · channels`.
fn patches<T: Tape<f32, Cpu>>(axes: [Axis; 2], input: Rows<T>, shapes: Shapes) -> Result<Rows<T>, CpuError> {
    let sliding = Sliding::new(axes, shapes.input, shapes.output);
    let (images, channels) = (shapes.images, shapes.input.channels());
    apply(input, (images * sliding.places(), sliding.taps() * channels), |maps| {
        let back = move |maps: &mut [f32], patches: &[f32]| sliding.add_patches(maps, patches, images, channels);
        (sliding.patches(maps, images, channels), back)
    })
}

/// Patches `(places, taps · channels)` times a kernel `(taps · channels / groups, filters)`: the filters of a group see
/// the channels of that group only.
fn grouped<T: Tape<f32, Cpu>>(
    patches: Rows<T>,
    kernel: Rows,
    channels: usize,
    groups: usize,
) -> Result<Rows<T>, CpuError> {
    let (patches, tape) = patches.split_tape();
    let ((places, columns), (rows, filters)) = (*patches.shape(), *kernel.shape());
    let (inputs, outputs) = (channels / groups, filters / groups);
    // Calls `visit` with the number of each product's factors (in the patches, in the kernel) and that of its sum.
    let products = move |visit: &mut dyn FnMut(usize, usize, usize)| {
        for place in 0..places {
            for row in 0..rows {
                let (tap, input) = (row / inputs, row % inputs);
                for filter in 0..filters {
                    let column = tap * channels + filter / outputs * inputs + input;
                    visit(place * columns + column, row * filters + filter, place * filters + filter);
                }
            }
        }
    };
    let (left, right) = (values(&patches), values(&kernel));
    let mut sums = vec![0.0; places * filters];
    products(&mut |patch, weight, sum| sums[sum] += left[patch] * right[weight]);
    operation(tape, &[&patches, &kernel], (places, filters), sums, move |i, gradient, above| {
        if i == 0 {
            products(&mut |patch, weight, sum| gradient[patch] += above[sum] * right[weight]);
        } else {
            products(&mut |patch, weight, sum| gradient[weight] += above[sum] * left[patch]);
        }
    })
}
