//! What each layer becomes.
//!
//! The value that holds a layer's output is named after the layer, `conv2d_1`; what lies between two nodes of one
//! layer has a suffix, `conv2d_1/linear`.

use super::graph::{Graph, Order};
use super::kernels;
use super::settings::{float, int, string, window};
use crate::layers::up_sampling2d::{self, Interpolation};
use crate::layers::{
    Activation, Op, batch_normalization, conv2d, dense, depthwise_conv2d, max_pooling2d, relu, rescaling,
    separable_conv2d,
};
use crate::plan::{LayerPlan, Weight};
use crate::shape::{Axis, Shape};
use crate::{Error, Result};

/// Appends a layer's nodes to a graph that holds the layers before it.
pub(super) fn append(graph: &mut Graph<'_>, layer: &LayerPlan) -> Result<()> {
    let name = layer.name.to_string();
    let mut order = Order::ChannelsFirst;
    let value = match &layer.op {
        Op::Conv2D(spec) => convolution(graph, layer, spec),
        Op::DepthwiseConv2D(spec) => depthwise_convolution(graph, layer, spec),
        Op::SeparableConv2D(spec) => separable_convolution(graph, layer, spec),
        Op::MaxPooling2D(spec) => pooling(graph, layer, spec, "MaxPool"),
        Op::AveragePooling2D(spec) => {
            if spec.vertical.dilation != 1 || spec.horizontal.dilation != 1 {
                return Err(unsupported(layer, "dilation_rate", "(1, 1), ONNX's averages have no other"));
            }
            pooling(graph, layer, spec, "AveragePool")
        }
        Op::GlobalAveragePooling2D(spec) => global_pooling(graph, layer, spec.keepdims, "GlobalAveragePool"),
        Op::GlobalMaxPooling2D(spec) => global_pooling(graph, layer, spec.keepdims, "GlobalMaxPool"),
        Op::ZeroPadding2D(spec) => {
            let sides = [0, 0, spec.top, spec.left, 0, 0, spec.bottom, spec.right].map(|side| side as i64);
            let (input, pads) = (graph.input_of(layer), graph.integers(&format!("{name}/padding"), &sides));
            graph.node("Pad", &name, &[&input, &pads], [])
        }
        Op::UpSampling2D(spec) => up_sampling(graph, layer, spec),
        Op::Flatten => {
            let input = graph.channels_last(layer.inputs()[0]);
            graph.node("Flatten", &name, &[&input], [int("axis", 1)])
        }
        Op::Reshape(target) => {
            order = Order::ChannelsLast;
            reshape(graph, layer, target)
        }
        Op::Dense(spec) => fully_connected(graph, layer, spec),
        Op::Activation(activation) => {
            let input = graph.input_of(layer);
            activate(graph, &name, &input, *activation)
        }
        Op::Softmax => {
            let input = graph.input_of(layer);
            activate(graph, &name, &input, Activation::Softmax)
        }
        Op::ReLU(spec) => rectifier(graph, layer, spec),
        Op::LeakyReLU(spec) => {
            let input = graph.input_of(layer);
            graph.node("LeakyRelu", &name, &[&input], [float("alpha", spec.negative_slope)])
        }
        Op::Rescaling(spec) => rescale(graph, layer, spec),
        Op::Dropout(_) => {
            let input = graph.input_of(layer);
            graph.node("Identity", &name, &[&input], [])
        }
        Op::BatchNormalization(spec) => normalization(graph, layer, spec),
        Op::Add => merge(graph, layer, "Sum"),
        Op::Concatenate => merge(graph, layer, "Concat"),
    };
    graph.carry(layer.output, value, order);
    Ok(())
}

fn unsupported(layer: &LayerPlan, field: &str, expected: &str) -> Error {
    let what = format!("{} ({}), {field}", layer.name, layer.op.kind());
    Error::Data { what, expected: expected.to_owned(), found: "another".to_owned() }
}

/// The name for what a layer computes before its activation.
fn linear_name(layer: &LayerPlan, activation: Activation) -> String {
    match activation {
        Activation::Linear => layer.name.to_string(),
        _ => format!("{}/linear", layer.name),
    }
}

/// Appends an activation under the layer's name, for a value computed under [`linear_name`].
fn activated(graph: &mut Graph<'_>, layer: &LayerPlan, linear: String, activation: Activation) -> String {
    match activation {
        Activation::Linear => linear,
        _ => activate(graph, &layer.name.to_string(), &linear, activation),
    }
}

fn activate(graph: &mut Graph<'_>, name: &str, input: &str, activation: Activation) -> String {
    match activation {
        Activation::Linear => graph.node("Identity", name, &[input], []),
        Activation::Relu => graph.node("Relu", name, &[input], []),
        Activation::Sigmoid => graph.node("Sigmoid", name, &[input], []),
        Activation::Tanh => graph.node("Tanh", name, &[input], []),
        // Over the channels, which come second in maps and vectors alike.
        Activation::Softmax => graph.node("Softmax", name, &[input], [int("axis", 1)]),
    }
}

/// A layer's weight of that name, if it has one.
fn weight<'a>(layer: &'a LayerPlan, name: &str) -> Option<&'a Weight> {
    layer.weights().iter().find(|weight| weight.name == name)
}

/// Appends a `Conv` over `input` with that kernel and the layer's bias (if it is to have one).
fn conv_node(
    graph: &mut Graph<'_>,
    layer: &LayerPlan,
    name: &str,
    (input, kernel, bias): (&str, &str, Option<&Weight>),
    (axes, groups): ([&Axis; 2], usize),
    (from, to): (Shape, Shape),
) -> String {
    let mut attributes = window(axes, [from.height(), from.width()], [to.height(), to.width()]);
    attributes.push(int("group", groups));
    let bias = bias.map(|bias| kernels::unchanged(graph, &layer.name.to_string(), bias));
    let inputs: Vec<&str> = [input, kernel].into_iter().chain(bias.as_deref()).collect();
    graph.node("Conv", name, &inputs, attributes)
}

fn convolution(graph: &mut Graph<'_>, layer: &LayerPlan, spec: &conv2d::Spec) -> String {
    let input = graph.input_of(layer);
    let kernel = kernels::convolution(graph, &layer.name.to_string(), &layer.weights()[0]);
    let linear = conv_node(
        graph,
        layer,
        &linear_name(layer, spec.activation),
        (&input, &kernel, weight(layer, "bias")),
        ([&spec.vertical, &spec.horizontal], spec.groups),
        (layer.input, layer.output),
    );
    activated(graph, layer, linear, spec.activation)
}

fn depthwise_convolution(graph: &mut Graph<'_>, layer: &LayerPlan, spec: &depthwise_conv2d::Spec) -> String {
    let input = graph.input_of(layer);
    let kernel = kernels::depthwise(graph, &layer.name.to_string(), &layer.weights()[0]);
    let linear = conv_node(
        graph,
        layer,
        &linear_name(layer, spec.activation),
        (&input, &kernel, weight(layer, "bias")),
        ([&spec.vertical, &spec.horizontal], layer.input.channels()),
        (layer.input, layer.output),
    );
    activated(graph, layer, linear, spec.activation)
}

fn separable_convolution(graph: &mut Graph<'_>, layer: &LayerPlan, spec: &separable_conv2d::Spec) -> String {
    let (name, input) = (layer.name.to_string(), graph.input_of(layer));
    let kernel = kernels::depthwise(graph, &name, &layer.weights()[0]);
    let depthwise = conv_node(
        graph,
        layer,
        &format!("{name}/depthwise"),
        (&input, &kernel, None),
        ([&spec.vertical, &spec.horizontal], layer.input.channels()),
        (layer.input, layer.output),
    );
    let (kernel, pointwise) = (kernels::convolution(graph, &name, &layer.weights()[1]), spec.pointwise());
    let linear = conv_node(
        graph,
        layer,
        &linear_name(layer, spec.activation),
        (&depthwise, &kernel, weight(layer, "bias")),
        ([&pointwise.vertical, &pointwise.horizontal], 1),
        (layer.output, layer.output),
    );
    activated(graph, layer, linear, spec.activation)
}

fn pooling(graph: &mut Graph<'_>, layer: &LayerPlan, spec: &max_pooling2d::Spec, op_type: &str) -> String {
    let (from, to) = (layer.input, layer.output);
    let axes = [&spec.vertical, &spec.horizontal];
    // What lies outside of the map never wins in ONNX, and does not count for the mean unless asked.
    let attributes = window(axes, [from.height(), from.width()], [to.height(), to.width()]);
    let input = graph.input_of(layer);
    graph.node(op_type, &layer.name.to_string(), &[&input], attributes)
}

fn global_pooling(graph: &mut Graph<'_>, layer: &LayerPlan, keepdims: bool, op_type: &str) -> String {
    let (name, input) = (layer.name.to_string(), graph.input_of(layer));
    if keepdims {
        return graph.node(op_type, &name, &[&input], []);
    }
    let map = graph.node(op_type, &format!("{name}/map"), &[&input], []);
    graph.node("Flatten", &name, &[&map], [int("axis", 1)])
}

fn up_sampling(graph: &mut Graph<'_>, layer: &LayerPlan, spec: &up_sampling2d::Spec) -> String {
    let (name, input) = (layer.name.to_string(), graph.input_of(layer));
    let scales = graph.floats(&format!("{name}/size"), &[4], &[1.0, 1.0, spec.rows as f32, spec.columns as f32]);
    let attributes = match spec.interpolation {
        Interpolation::Nearest => vec![
            string("mode", "nearest"),
            string("coordinate_transformation_mode", "asymmetric"),
            string("nearest_mode", "floor"),
        ],
        Interpolation::Bilinear => {
            vec![string("mode", "linear"), string("coordinate_transformation_mode", "half_pixel")]
        }
    };
    // The second input would be a region of interest.
    graph.node("Resize", &name, &[&input, "", &scales], attributes)
}

/// In the memory order of channels last, for any number of images: 0 stands for the size that is there.
fn reshape(graph: &mut Graph<'_>, layer: &LayerPlan, target: &Shape) -> String {
    let (name, input) = (layer.name.to_string(), graph.channels_last(layer.inputs()[0]));
    let sizes: Vec<i64> = std::iter::once(0).chain(target.sizes().iter().map(|&size| size as i64)).collect();
    let sizes = graph.integers(&format!("{name}/target_shape"), &sizes);
    graph.node("Reshape", &name, &[&input, &sizes], [])
}

fn fully_connected(graph: &mut Graph<'_>, layer: &LayerPlan, spec: &dense::Spec) -> String {
    let (name, input) = (layer.name.to_string(), graph.input_of(layer));
    let weights: Vec<String> = layer.weights().iter().map(|weight| kernels::unchanged(graph, &name, weight)).collect();
    let inputs: Vec<&str> = std::iter::once(input.as_str()).chain(weights.iter().map(String::as_str)).collect();
    let linear = graph.node("Gemm", &linear_name(layer, spec.activation), &inputs, []);
    activated(graph, layer, linear, spec.activation)
}

/// Above `threshold` the lesser of `x` and `max_value`, else `negative_slope · (x − threshold)`.
fn rectifier(graph: &mut Graph<'_>, layer: &LayerPlan, spec: &relu::Spec) -> String {
    let (name, input) = (layer.name.to_string(), graph.input_of(layer));
    let capped = spec.max_value.is_finite();
    let rectified = if capped { format!("{name}/rectified") } else { name.clone() };
    let mut value = if spec.threshold == 0.0 && spec.negative_slope == 0.0 {
        graph.node("Relu", &rectified, &[&input], [])
    } else if spec.threshold == 0.0 {
        graph.node("LeakyRelu", &rectified, &[&input], [float("alpha", spec.negative_slope)])
    } else {
        let threshold = graph.floats(&format!("{name}/threshold"), &[], &[spec.threshold as f32]);
        let slope = graph.floats(&format!("{name}/negative_slope"), &[], &[spec.negative_slope as f32]);
        let open = graph.node("Greater", &format!("{name}/open"), &[&input, &threshold], []);
        let below = graph.node("Sub", &format!("{name}/below"), &[&input, &threshold], []);
        let sloped = graph.node("Mul", &format!("{name}/sloped"), &[&below, &slope], []);
        graph.node("Where", &rectified, &[&open, &input, &sloped], [])
    };
    if capped {
        let max_value = graph.floats(&format!("{name}/max_value"), &[], &[spec.max_value as f32]);
        value = graph.node("Min", &name, &[&value, &max_value], []);
    }
    value
}

fn rescale(graph: &mut Graph<'_>, layer: &LayerPlan, spec: &rescaling::Spec) -> String {
    let (name, input) = (layer.name.to_string(), graph.input_of(layer));
    let scale = graph.floats(&format!("{name}/scale"), &[], &[spec.scale as f32]);
    let offset = graph.floats(&format!("{name}/offset"), &[], &[spec.offset as f32]);
    let scaled = graph.node("Mul", &format!("{name}/scaled"), &[&input, &scale], []);
    graph.node("Add", &name, &[&scaled, &offset], [])
}

/// With the moving statistics, as in prediction.
fn normalization(graph: &mut Graph<'_>, layer: &LayerPlan, spec: &batch_normalization::Spec) -> String {
    let (name, input) = (layer.name.to_string(), graph.input_of(layer));
    let mut inputs = vec![input];
    // ONNX has no way to leave out gamma or beta.
    for (weight_name, neutral) in [("gamma", 1.0), ("beta", 0.0), ("moving_mean", 0.0), ("moving_variance", 1.0)] {
        let value = match weight(layer, weight_name) {
            Some(weight) => kernels::unchanged(graph, &name, weight),
            None => {
                let channels = layer.input.channels();
                graph.floats(&format!("{name}/{weight_name}"), &[channels], &vec![neutral; channels])
            }
        };
        inputs.push(value);
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    graph.node("BatchNormalization", &name, &inputs, [float("epsilon", spec.epsilon)])
}

/// Along the channels, which come second in maps and vectors alike.
fn merge(graph: &mut Graph<'_>, layer: &LayerPlan, op_type: &str) -> String {
    let inputs: Vec<String> = layer.inputs().iter().map(|&tensor| graph.channels_first(tensor)).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let attributes = if op_type == "Concat" { vec![int("axis", 1)] } else { Vec::new() };
    graph.node(op_type, &layer.name.to_string(), &inputs, attributes)
}
