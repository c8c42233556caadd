//! What was written is decoded and held against the plan. That ONNX Runtime computes the same numbers from it is for
//! `scripts/onnx_check.py` to see.

use super::proto::{AttributeProto, Dimension, FLOAT, GraphProto, INT64, ModelProto, NodeProto, ValueInfoProto};
use super::to_bytes;
use crate::Error;
use crate::layers::up_sampling2d::{self, Interpolation};
use crate::layers::{
    Activation, LayerSpec, Node, Op, batch_normalization, conv2d, dense, depthwise_conv2d, dropout,
    global_average_pooling2d, leaky_relu, max_pooling2d, relu, rescaling, separable_conv2d, zero_padding2d,
};
use crate::plan::{Plan, build};
use crate::shape::{Axis, Padding, Shape};
use prost::Message;
use std::collections::HashSet;

fn leaked(node: Node) -> &'static Node {
    Box::leak(Box::new(node))
}

fn chain(ops: &[Op]) -> &'static Node {
    ops.iter().fold(leaked(Node::Empty), |tree, op| leaked(Node::Pair(tree, leaked(Node::Layer(LayerSpec::of(*op))))))
}

fn plan_of(input: Shape, tree: &'static Node) -> Plan {
    let table = Box::leak(Box::new(build::<16>(input, tree)));
    assert!(table.fault.is_none(), "{:?}", table.fault);
    Plan {
        network: "Net",
        input,
        output: table.output,
        layers: &table.layers[..table.len],
        params: table.params,
        trainable_params: table.trainable_params,
    }
}

fn merge(op: Op, paths: &[&[Op]]) -> &'static Node {
    let paths: Vec<&'static Node> = paths.iter().map(|ops| chain(ops)).collect();
    leaked(Node::Branches { merge: LayerSpec::of(op), paths: Box::leak(paths.into_boxed_slice()) })
}

fn axis(window: usize, stride: usize, dilation: usize, padding: Padding) -> Axis {
    Axis { window, stride, dilation, padding }
}

const VALID: Padding = Padding::Valid;
const SAME: Padding = Padding::Same;

fn conv2d(filters: usize, groups: usize, activation: Activation) -> Op {
    let (vertical, horizontal) = (axis(3, 2, 1, SAME), axis(2, 1, 1, SAME));
    Op::Conv2D(conv2d::Spec { filters, vertical, horizontal, groups, activation, use_bias: true })
}

fn pooling(vertical: Axis, horizontal: Axis) -> max_pooling2d::Spec {
    max_pooling2d::Spec { vertical, horizontal }
}

/// A network for each operator, with what is special about it.
fn plans() -> Vec<(&'static str, Plan)> {
    let (map, vector) = (Shape::map(5, 6, 4), Shape::vector(7));
    let global = |keepdims| global_average_pooling2d::Spec { keepdims };
    let relu = |max_value, negative_slope, threshold| Op::ReLU(relu::Spec { max_value, negative_slope, threshold });
    let dense = |units, activation, use_bias| Op::Dense(dense::Spec { units, activation, use_bias });
    let normalization = |center, scale| {
        Op::BatchNormalization(batch_normalization::Spec { momentum: 0.99, epsilon: 0.001, center, scale })
    };
    let enlarged = |interpolation| Op::UpSampling2D(up_sampling2d::Spec { rows: 3, columns: 2, interpolation });
    let depthwise = depthwise_conv2d::Spec {
        depth_multiplier: 3,
        vertical: axis(3, 2, 1, SAME),
        horizontal: axis(2, 2, 1, SAME),
        activation: Activation::Tanh,
        use_bias: true,
    };
    let separable = separable_conv2d::Spec {
        filters: 5,
        depth_multiplier: 2,
        vertical: axis(2, 1, 2, VALID),
        horizontal: axis(3, 1, 1, VALID),
        activation: Activation::Relu,
        use_bias: true,
    };
    let wide = conv2d::Spec {
        filters: 2,
        vertical: axis(3, 1, 1, VALID),
        horizontal: axis(3, 1, 1, VALID),
        groups: 1,
        activation: Activation::Linear,
        use_bias: false,
    };
    let padding = zero_padding2d::Spec { top: 1, bottom: 2, left: 0, right: 3 };
    let of = |ops: &[Op]| plan_of(map, chain(ops));
    vec![
        ("nothing", of(&[])),
        ("conv2d", of(&[conv2d(3, 1, Activation::Sigmoid)])),
        (
            "dilated",
            of(&[Op::Conv2D(conv2d::Spec { vertical: axis(2, 1, 2, SAME), horizontal: axis(3, 1, 2, SAME), ..wide })]),
        ),
        ("groups", of(&[conv2d(6, 2, Activation::Linear)])),
        ("depthwise", of(&[Op::DepthwiseConv2D(depthwise)])),
        ("separable", of(&[Op::SeparableConv2D(separable)])),
        ("max_pooling", of(&[Op::MaxPooling2D(pooling(axis(3, 2, 1, SAME), axis(2, 3, 1, SAME)))])),
        ("average_pooling", of(&[Op::AveragePooling2D(pooling(axis(3, 2, 1, SAME), axis(2, 1, 1, SAME)))])),
        ("global_average", of(&[Op::GlobalAveragePooling2D(global(false))])),
        ("global_max", of(&[Op::GlobalMaxPooling2D(global(true))])),
        ("padding", of(&[Op::ZeroPadding2D(padding)])),
        ("nearest", of(&[enlarged(Interpolation::Nearest)])),
        ("bilinear", of(&[enlarged(Interpolation::Bilinear)])),
        ("flatten", of(&[conv2d(3, 1, Activation::Relu), Op::Flatten, dense(2, Activation::Softmax, true)])),
        (
            "reshape",
            of(&[conv2d(4, 1, Activation::Relu), Op::Reshape(Shape::map(4, 6, 3)), enlarged(Interpolation::Nearest)]),
        ),
        ("dense", plan_of(vector, chain(&[dense(3, Activation::Relu, false), dense(3, Activation::Linear, true)]))),
        ("to_map", plan_of(Shape::vector(12), chain(&[Op::Reshape(Shape::map(2, 3, 2))]))),
        ("activation", of(&[Op::Activation(Activation::Linear), Op::Activation(Activation::Tanh)])),
        ("softmax", of(&[Op::Softmax])),
        ("relu", of(&[relu(f64::INFINITY, 0.0, 0.0)])),
        ("relu6", of(&[relu(0.5, 0.25, 0.0)])),
        ("relu_threshold", of(&[relu(0.75, 0.25, 0.125)])),
        ("leaky", of(&[Op::LeakyReLU(leaky_relu::Spec { negative_slope: 0.3 })])),
        ("rescaling", of(&[Op::Rescaling(rescaling::Spec { scale: 1.5, offset: -0.5 })])),
        ("dropout", of(&[Op::Dropout(dropout::Spec { rate: 0.5 })])),
        ("normalization", of(&[normalization(true, true)])),
        ("normalization_bare", plan_of(vector, chain(&[normalization(false, false)]))),
        (
            "add",
            plan_of(
                map,
                merge(
                    Op::Add,
                    &[
                        &[normalization(true, false), relu(1.0, 0.0, 0.0)],
                        &[],
                        &[Op::Dropout(dropout::Spec { rate: 0.1 })],
                    ],
                ),
            ),
        ),
        (
            "concatenate",
            plan_of(
                map,
                merge(
                    Op::Concatenate,
                    &[
                        &[Op::DepthwiseConv2D(depthwise_conv2d::Spec {
                            vertical: axis(1, 1, 1, VALID),
                            horizontal: axis(1, 1, 1, VALID),
                            ..depthwise
                        })],
                        &[],
                    ],
                ),
            ),
        ),
        ("concatenate_vectors", plan_of(vector, merge(Op::Concatenate, &[&[dense(3, Activation::Relu, true)], &[]]))),
    ]
}

fn weights(plan: &Plan) -> Vec<f32> {
    (0..plan.params).map(|i| ((i * 7919) % 1009) as f32 / 1009.0 + 0.25).collect()
}

fn exported(plan: &Plan) -> GraphProto {
    let bytes = to_bytes(plan, &weights(plan)).unwrap();
    ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap()
}

/// `["N", "5", …]`
fn sizes(value: &ValueInfoProto) -> Vec<String> {
    let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    assert_eq!(tensor.elem_type, FLOAT);
    let sizes = tensor.shape.as_ref().unwrap().dim.iter().map(|dim| match dim.value.as_ref().unwrap() {
        Dimension::Value(size) => size.to_string(),
        Dimension::Param(name) => name.clone(),
    });
    sizes.collect()
}

fn batch_of(shape: &Shape) -> Vec<String> {
    std::iter::once("N".to_owned()).chain(shape.sizes().iter().map(usize::to_string)).collect()
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> &'a AttributeProto {
    node.attribute.iter().find(|attribute| attribute.name == name).unwrap()
}

fn node<'a>(graph: &'a GraphProto, op_type: &str) -> &'a NodeProto {
    graph.node.iter().find(|node| node.op_type == op_type).unwrap()
}

fn floats(graph: &GraphProto, name: &str) -> Vec<f32> {
    let tensor = graph.initializer.iter().find(|tensor| tensor.name == name).unwrap();
    tensor.raw_data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn every_value_is_defined_once_and_before_it_is_used() {
    for (name, plan) in plans() {
        let graph = exported(&plan);
        let mut defined: HashSet<&str> = HashSet::from(["input"]);
        for tensor in &graph.initializer {
            assert!(defined.insert(&tensor.name), "{name}: {} twice", tensor.name);
        }
        for node in &graph.node {
            for input in node.input.iter().filter(|input| !input.is_empty()) {
                assert!(defined.contains(input.as_str()), "{name}: {} takes {input}", node.name);
            }
            for output in &node.output {
                assert!(defined.insert(output), "{name}: {output} twice");
            }
        }
        assert!(defined.contains("output"), "{name}");
        for value in &graph.value_info {
            assert!(defined.contains(value.name.as_str()), "{name}: no {}", value.name);
        }
    }
}

#[test]
fn input_and_output_are_those_of_predict() {
    for (name, plan) in plans() {
        let graph = exported(&plan);
        assert_eq!(sizes(&graph.input[0]), batch_of(&plan.input), "{name}");
        assert_eq!(sizes(&graph.output[0]), batch_of(&plan.output), "{name}");
    }
}

#[test]
fn initializers_are_as_long_as_their_sizes_say_and_hold_all_weights() {
    for (name, plan) in plans() {
        let graph = exported(&plan);
        for tensor in &graph.initializer {
            let size = match tensor.data_type {
                FLOAT => 4,
                INT64 => 8,
                other => panic!("{name}: {} of type {other}", tensor.name),
            };
            let len: i64 = tensor.dims.iter().product();
            assert_eq!(tensor.raw_data.len(), len as usize * size, "{name}: {}", tensor.name);
        }
        let all = weights(&plan);
        for (layer, weight) in plan.weights() {
            let mut stored = floats(&graph, &format!("{}/{}", layer.name, weight.name));
            let mut own = all[weight.range()].to_vec();
            stored.sort_by(f32::total_cmp);
            own.sort_by(f32::total_cmp);
            assert_eq!(stored, own, "{name}: {}/{}", layer.name, weight.name);
        }
    }
}

#[test]
fn every_layer_has_a_node_of_its_name() {
    for (name, plan) in plans() {
        let graph = exported(&plan);
        for layer in plan.layers {
            let own = layer.name.to_string();
            assert!(graph.node.iter().any(|node| node.name == own), "{name}: no {own}");
        }
    }
}

/// A kernel of (3, 2, 4/2, 6): filter 5's tap (2, 1) on its group's channel 1.
#[test]
fn kernels_are_transposed() {
    let (_, plan) = plans().into_iter().find(|(name, _)| *name == "groups").unwrap();
    let (graph, all) = (exported(&plan), weights(&plan));
    let tensor = graph.initializer.iter().find(|tensor| tensor.name == "conv2d_1/kernel").unwrap();
    assert_eq!(tensor.dims, [6, 2, 3, 2]);
    let kernel = floats(&graph, "conv2d_1/kernel");
    for (filter, channel, row, column) in [(5, 1, 2, 1), (0, 1, 0, 1), (3, 0, 1, 0)] {
        let ours = ((row * 2 + column) * 2 + channel) * 6 + filter;
        let theirs = ((filter * 2 + channel) * 3 + row) * 2 + column;
        assert_eq!(kernel[theirs], all[ours]);
    }
    assert_eq!(attribute(node(&graph, "Conv"), "group").i, Some(2));
}

#[test]
fn depthwise_kernels_are_groups() {
    let (_, plan) = plans().into_iter().find(|(name, _)| *name == "depthwise").unwrap();
    let (graph, all) = (exported(&plan), weights(&plan));
    let tensor = graph.initializer.iter().find(|tensor| tensor.name == "depthwise_conv2d_1/kernel").unwrap();
    assert_eq!(tensor.dims, [12, 1, 3, 2]);
    let kernel = floats(&graph, "depthwise_conv2d_1/kernel");
    // Channel 2's third window, tap (1, 1): of (3, 2, 4, 3).
    assert_eq!(kernel[8 * 6 + 3], all[((2 + 1) * 4 + 2) * 3 + 2]);
    assert_eq!(attribute(node(&graph, "Conv"), "group").i, Some(4));
}

/// Over 5 rows, windows of 3 in steps of 2 need one row before and one behind; over 6 columns, windows of 2 in steps
/// of 1 need one behind, and windows of 3 with gaps two on each side.
#[test]
fn same_padding_is_written_out() {
    let graph_of = |wanted: &str| exported(&plans().into_iter().find(|(name, _)| *name == wanted).unwrap().1);
    let graph = graph_of("conv2d");
    let conv = node(&graph, "Conv");
    assert_eq!(attribute(conv, "pads").ints, [1, 0, 1, 1]);
    assert_eq!(attribute(conv, "strides").ints, [2, 1]);
    let graph = graph_of("dilated");
    let conv = node(&graph, "Conv");
    assert_eq!(attribute(conv, "pads").ints, [1, 2, 1, 2]);
    assert_eq!(attribute(conv, "dilations").ints, [2, 2]);

    let even = conv2d::Spec {
        filters: 1,
        vertical: axis(4, 1, 1, SAME),
        horizontal: axis(2, 4, 1, SAME),
        groups: 1,
        activation: Activation::Linear,
        use_bias: false,
    };
    let graph = exported(&plan_of(Shape::map(5, 6, 1), chain(&[Op::Conv2D(even)])));
    // Three rows, the odd one at the end; the second window of four columns further on still fits.
    assert_eq!(attribute(node(&graph, "Conv"), "pads").ints, [1, 0, 2, 0]);
}

#[test]
fn a_tensor_that_several_take_is_transposed_once() {
    let (_, plan) = plans().into_iter().find(|(name, _)| *name == "add").unwrap();
    let transposes = exported(&plan).node.iter().filter(|node| node.op_type == "Transpose").count();
    assert_eq!(transposes, 2);
}

#[test]
fn a_layer_named_as_the_input_is_told_apart() {
    let flat = LayerSpec { name: Some("input"), ..LayerSpec::of(Op::Flatten) };
    let last = LayerSpec { name: Some("output"), ..LayerSpec::of(Op::Softmax) };
    let tree = leaked(Node::Pair(leaked(Node::Layer(flat)), leaked(Node::Layer(last))));
    let graph = exported(&plan_of(Shape::map(2, 2, 1), tree));
    let ends: Vec<_> = graph.node.iter().map(|node| (node.input[0].as_str(), node.output[0].as_str())).collect();
    assert_eq!(ends, [("input", "input_2"), ("input_2", "output")]);
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let (_, plan) = plans().into_iter().find(|(name, _)| *name == "conv2d").unwrap();
    assert!(matches!(to_bytes(&plan, &[0.0; 3]), Err(Error::Data { .. })));

    let dilated = Op::AveragePooling2D(pooling(axis(2, 1, 2, VALID), axis(2, 1, 1, VALID)));
    let plan = plan_of(Shape::map(5, 5, 1), chain(&[dilated]));
    let error = to_bytes(&plan, &[]).unwrap_err().to_string();
    assert!(error.starts_with("average_pooling2d_1 (AveragePooling2D), dilation_rate: expected (1, 1)"), "{error}");
}
