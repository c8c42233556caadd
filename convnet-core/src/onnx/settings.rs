//! Settings of layers as attributes of ONNX's nodes.

use super::proto::{AttributeProto, AttributeType};
use crate::shape::Axis;

/// A list of whole numbers.
pub(super) fn ints(name: &str, values: impl Into<Vec<i64>>) -> AttributeProto {
    AttributeProto { ints: values.into(), ..attribute(name, AttributeType::Ints) }
}

/// A whole number.
pub(super) fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto { i: Some(value as i64), ..attribute(name, AttributeType::Int) }
}

/// A number; ONNX keeps single precision.
pub(super) fn float(name: &str, value: f64) -> AttributeProto {
    AttributeProto { f: Some(value as f32), ..attribute(name, AttributeType::Float) }
}

/// A word.
pub(super) fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, AttributeType::String) }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.to_owned(), kind: kind as i32, ..AttributeProto::default() }
}

/// How a window slides over a map of `input` to one of `output` (height and width each). ONNX's own `SAME_UPPER` puts
/// the odd padding where Keras does, but is deprecated: the numbers are written out.
pub(super) fn window(axes: [&Axis; 2], input: [usize; 2], output: [usize; 2]) -> Vec<AttributeProto> {
    let each = |value: fn(&Axis) -> usize| axes.map(|axis| value(axis) as i64);
    let before = [0, 1].map(|i| axes[i].pad_before(input[i]));
    let after = [0, 1].map(|i| pad_after(axes[i], before[i], input[i], output[i]));
    let pads = [before, after].concat().into_iter().map(|pad| pad as i64).collect::<Vec<_>>();
    let mut attributes = vec![
        ints("kernel_shape", each(|axis| axis.window)),
        ints("strides", each(|axis| axis.stride)),
        ints("pads", pads),
    ];
    if axes.iter().any(|axis| axis.dilation != 1) {
        attributes.push(ints("dilations", each(|axis| axis.dilation)));
    }
    attributes
}

/// Positions behind the map that the last window covers.
fn pad_after(axis: &Axis, before: usize, input: usize, output: usize) -> usize {
    let covered = (output.max(1) - 1) * axis.stride + axis.reach();
    covered.saturating_sub(before + input)
}
