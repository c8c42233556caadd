//! Kernels in ONNX's order: `(outputs, inputs, height, width)` instead of Keras's `(height, width, inputs, outputs)`.

use super::graph::Graph;
use crate::plan::Weight;

/// Appends a convolution's kernel, `(kh, kw, inputs, filters)`, as `(filters, inputs, kh, kw)`; returns its name.
pub(super) fn convolution(graph: &mut Graph<'_>, name: &str, weight: &Weight) -> String {
    let [height, width, inputs, filters] = four(weight);
    let (taps, values) = (height * width, graph.values_of(weight));
    let mut reordered = Vec::with_capacity(values.len());
    for filter in 0..filters {
        for input in 0..inputs {
            reordered.extend((0..taps).map(|tap| values[(tap * inputs + input) * filters + filter]));
        }
    }
    graph.floats(&format!("{name}/{}", weight.name), &[filters, inputs, height, width], &reordered)
}

/// Appends a depthwise kernel, `(kh, kw, channels, multiplier)`, as that of a convolution in as many groups as there
/// are channels, `(channels · multiplier, 1, kh, kw)`; returns its name.
pub(super) fn depthwise(graph: &mut Graph<'_>, name: &str, weight: &Weight) -> String {
    let [height, width, channels, multiplier] = four(weight);
    let (taps, outputs, values) = (height * width, channels * multiplier, graph.values_of(weight));
    let mut reordered = Vec::with_capacity(values.len());
    for output in 0..outputs {
        reordered.extend((0..taps).map(|tap| values[tap * outputs + output]));
    }
    graph.floats(&format!("{name}/{}", weight.name), &[outputs, 1, height, width], &reordered)
}

/// Appends a weight as it is; returns its name.
pub(super) fn unchanged(graph: &mut Graph<'_>, name: &str, weight: &Weight) -> String {
    let values = graph.values_of(weight);
    graph.floats(&format!("{name}/{}", weight.name), weight.sizes(), values)
}

/// The sizes of a kernel; it has four.
fn four(weight: &Weight) -> [usize; 4] {
    std::array::from_fn(|i| weight.sizes().get(i).copied().unwrap_or(1))
}
