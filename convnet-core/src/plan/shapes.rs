//! The shape behind a layer, in const code: the rules of Keras, and what a layer cannot take.

use super::fault::FaultKind;
use crate::layers::{Op, conv2d};
use crate::shape::{Axis, Shape};

/// The shape behind a layer with one input.
pub(crate) const fn output_shape(op: &Op, input: Shape) -> Result<Shape, FaultKind> {
    match op {
        Op::Conv2D(spec) => convolved(spec, input),
        Op::DepthwiseConv2D(spec) if spec.depth_multiplier == 0 => Err(FaultKind::ZeroSize("depth_multiplier")),
        Op::DepthwiseConv2D(spec) => {
            let channels = input.channels().saturating_mul(spec.depth_multiplier);
            slide([spec.vertical, spec.horizontal], "kernel_size", input, channels)
        }
        Op::SeparableConv2D(spec) if spec.filters == 0 => Err(FaultKind::ZeroSize("filters")),
        Op::SeparableConv2D(spec) if spec.depth_multiplier == 0 => Err(FaultKind::ZeroSize("depth_multiplier")),
        Op::SeparableConv2D(spec) => slide([spec.vertical, spec.horizontal], "kernel_size", input, spec.filters),
        Op::MaxPooling2D(spec) | Op::AveragePooling2D(spec) => {
            slide([spec.vertical, spec.horizontal], "pool_size", input, input.channels())
        }
        Op::GlobalAveragePooling2D(spec) | Op::GlobalMaxPooling2D(spec) => match (input.is_map(), spec.keepdims) {
            (false, _) => Err(FaultKind::NeedsMap),
            (true, true) => Ok(Shape::map(1, 1, input.channels())),
            (true, false) => Ok(Shape::vector(input.channels())),
        },
        Op::ZeroPadding2D(_) | Op::UpSampling2D(_) if !input.is_map() => Err(FaultKind::NeedsMap),
        Op::ZeroPadding2D(spec) => Ok(Shape::map(
            input.height().saturating_add(spec.top).saturating_add(spec.bottom),
            input.width().saturating_add(spec.left).saturating_add(spec.right),
            input.channels(),
        )),
        Op::UpSampling2D(spec) if spec.rows == 0 || spec.columns == 0 => Err(FaultKind::ZeroSize("size")),
        Op::UpSampling2D(spec) => Ok(Shape::map(
            input.height().saturating_mul(spec.rows),
            input.width().saturating_mul(spec.columns),
            input.channels(),
        )),
        Op::Flatten if !input.is_map() => Err(FaultKind::AlreadyFlat),
        Op::Flatten => Ok(Shape::vector(input.len())),
        Op::Reshape(target) if target.is_empty() => Err(FaultKind::ZeroSize("target_shape")),
        Op::Reshape(target) if target.len() != input.len() => Err(FaultKind::ReshapeLength(*target)),
        Op::Reshape(target) => Ok(*target),
        Op::Dense(spec) if spec.units == 0 => Err(FaultKind::ZeroSize("units")),
        Op::Dense(_) if input.is_map() => Err(FaultKind::NeedsVector),
        Op::Dense(spec) => Ok(Shape::vector(spec.units)),
        Op::Activation(_) | Op::Softmax | Op::Add | Op::Concatenate => Ok(input),
        Op::ReLU(_) | Op::LeakyReLU(_) | Op::Rescaling(_) | Op::Dropout(_) | Op::BatchNormalization(_) => {
            match out_of_range(op) {
                Some((argument, expected)) => Err(FaultKind::OutOfRange { argument, expected }),
                None => Ok(input),
            }
        }
    }
}

/// The argument of a layer that is no sensible number, and what it should be.
const fn out_of_range(op: &Op) -> Option<(&'static str, &'static str)> {
    const NOT_NEGATIVE: &str = "a number from 0 on";
    match op {
        Op::ReLU(spec) if spec.max_value.is_nan() || spec.max_value < 0.0 => Some(("max_value", NOT_NEGATIVE)),
        Op::ReLU(spec) if !not_negative(spec.negative_slope) => Some(("negative_slope", NOT_NEGATIVE)),
        Op::ReLU(spec) if !not_negative(spec.threshold) => Some(("threshold", NOT_NEGATIVE)),
        Op::LeakyReLU(spec) if !not_negative(spec.negative_slope) => Some(("negative_slope", NOT_NEGATIVE)),
        Op::Rescaling(spec) if !spec.scale.is_finite() => Some(("scale", "a finite number")),
        Op::Rescaling(spec) if !spec.offset.is_finite() => Some(("offset", "a finite number")),
        Op::Dropout(spec) if !matches!(spec.rate, 0.0..1.0) => {
            Some(("rate", "a share from 0 up to, but not including, 1"))
        }
        Op::BatchNormalization(spec) if !matches!(spec.momentum, 0.0..=1.0) => {
            Some(("momentum", "a share from 0 to 1"))
        }
        Op::BatchNormalization(spec) if spec.epsilon == 0.0 || !not_negative(spec.epsilon) => {
            Some(("epsilon", "a number above 0"))
        }
        _ => None,
    }
}

const fn not_negative(number: f64) -> bool {
    number >= 0.0 && number.is_finite()
}

/// The shape behind a merge of tensors of these shapes, two at least.
pub(crate) const fn merged_shape(op: &Op, shapes: &[Shape]) -> Result<Shape, FaultKind> {
    let first = shapes[0];
    let mut channels = first.channels();
    let mut i = 1;
    while i < shapes.len() {
        let other = shapes[i];
        let joined = matches!(op, Op::Concatenate);
        let fits = if joined { first.same_but_channels(&other) } else { first.same(&other) };
        if !fits {
            return Err(FaultKind::Branches { first, other, number: i + 1, joined });
        }
        channels = channels.saturating_add(other.channels());
        i += 1;
    }
    match (op, first.is_map()) {
        (Op::Concatenate, true) => Ok(Shape::map(first.height(), first.width(), channels)),
        (Op::Concatenate, false) => Ok(Shape::vector(channels)),
        _ => Ok(first),
    }
}

const fn convolved(spec: &conv2d::Spec, input: Shape) -> Result<Shape, FaultKind> {
    let conv2d::Spec { filters, vertical, horizontal, groups, .. } = *spec;
    if filters == 0 {
        Err(FaultKind::ZeroSize("filters"))
    } else if groups == 0 {
        Err(FaultKind::ZeroSize("groups"))
    } else if input.is_map() && (!filters.is_multiple_of(groups) || !input.channels().is_multiple_of(groups)) {
        Err(FaultKind::Groups { groups, filters })
    } else {
        slide([vertical, horizontal], "kernel_size", input, filters)
    }
}

/// The map behind a window whose size is set by the argument `window`.
const fn slide(axes: [Axis; 2], window: &'static str, input: Shape, channels: usize) -> Result<Shape, FaultKind> {
    let [vertical, horizontal] = axes;
    if vertical.window == 0 || horizontal.window == 0 {
        Err(FaultKind::ZeroSize(window))
    } else if vertical.stride == 0 || horizontal.stride == 0 {
        Err(FaultKind::ZeroSize("strides"))
    } else if vertical.dilation == 0 || horizontal.dilation == 0 {
        Err(FaultKind::ZeroSize("dilation_rate"))
    } else if !input.is_map() {
        Err(FaultKind::NeedsMap)
    } else {
        match (vertical.output(input.height()), horizontal.output(input.width())) {
            (Some(height), Some(width)) => Ok(Shape::map(height, width, channels)),
            _ => Err(FaultKind::WindowTooLarge { reach: [vertical.reach(), horizontal.reach()] }),
        }
    }
}
