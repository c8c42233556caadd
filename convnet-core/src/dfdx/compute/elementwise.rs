//! Layers that work on each value by itself.

use super::Rows;
use super::op::apply;
use crate::layers::{leaky_relu, relu, rescaling};
use ::dfdx::shapes::HasShape;
use ::dfdx::tensor::{Cpu, CpuError, Tape};

/// `ReLU`. At the threshold itself the slope is that below it, at the ceiling it is 0, as in TensorFlow.
pub(super) fn relu<T: Tape<f32, Cpu>>(spec: relu::Spec, input: Rows<T>) -> Result<Rows<T>, CpuError> {
    let (ceiling, slope, threshold) = (spec.max_value as f32, spec.negative_slope as f32, spec.threshold as f32);
    each(
        input,
        move |x| match x {
            x if x >= ceiling => ceiling,
            x if x >= threshold => x,
            x => slope * (x - threshold),
        },
        move |x| match x {
            x if x >= ceiling => 0.0,
            x if x > threshold => 1.0,
            _ => slope,
        },
    )
}

/// `LeakyReLU`. At 0 the slope is that below it, as in TensorFlow.
pub(super) fn leaky_relu<T: Tape<f32, Cpu>>(spec: leaky_relu::Spec, input: Rows<T>) -> Result<Rows<T>, CpuError> {
    let slope = spec.negative_slope as f32;
    each(input, move |x| if x > 0.0 { x } else { slope * x }, move |x| if x > 0.0 { 1.0 } else { slope })
}

/// `Rescaling`.
pub(super) fn rescaling<T: Tape<f32, Cpu>>(spec: rescaling::Spec, input: Rows<T>) -> Result<Rows<T>, CpuError> {
    let (scale, offset) = (spec.scale as f32, spec.offset as f32);
    each(input, move |x| x * scale + offset, move |_| scale)
}

/// A function of each value, and its slope.
fn each<T: Tape<f32, Cpu>>(
    input: Rows<T>,
    value: impl Fn(f32) -> f32,
    slope: impl Fn(f32) -> f32 + 'static,
) -> Result<Rows<T>, CpuError> {
    let shape = *input.shape();
    apply(input, shape, |before| {
        let after = before.iter().map(|&x| value(x)).collect();
        let slopes: Vec<f32> = before.iter().map(|&x| slope(x)).collect();
        let back = move |before: &mut [f32], after: &[f32]| {
            before.iter_mut().zip(after).zip(&slopes).for_each(|((sum, above), slope)| *sum += above * slope);
        };
        (after, back)
    })
}
