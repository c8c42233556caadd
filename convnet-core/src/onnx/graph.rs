//! The graph of an ONNX file while it grows.
//!
//! Each tensor of the plan exists as a value of the graph channels first, channels last, or both: it is transposed
//! when somebody asks for an order that it does not have yet, and once only. Vectors have one order.

use super::proto::{
    AttributeProto, Dimension, DimensionProto, FLOAT, GraphProto, INT64, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::plan::{LayerPlan, Plan, Weight};
use crate::shape::Shape;
use std::collections::HashSet;

/// Names of the graph's input and output.
pub(super) const INPUT: &str = "input";
pub(super) const OUTPUT: &str = "output";

/// The memory order of a map's values.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// `(N, channels, height, width)`
    ChannelsFirst,
    /// `(N, height, width, channels)`
    ChannelsLast,
}

/// A tensor of the plan, and the values of the graph that hold it.
struct Carried {
    shape: Shape,
    first: Option<String>,
    last: Option<String>,
}

/// A graph that grows.
pub(super) struct Graph<'a> {
    weights: &'a [f32],
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    values: Vec<ValueInfoProto>,
    taken: HashSet<String>,
    /// Numbered as the plan's.
    tensors: Vec<Carried>,
}

impl<'a> Graph<'a> {
    /// The graph of a network before its first layer.
    pub(super) fn new(plan: &Plan, weights: &'a [f32]) -> Self {
        let mut graph = Graph {
            weights,
            nodes: Vec::new(),
            initializers: Vec::new(),
            values: Vec::new(),
            taken: [INPUT, OUTPUT].map(str::to_owned).into(),
            tensors: Vec::new(),
        };
        graph.carry(plan.input, INPUT.to_owned(), Order::ChannelsLast);
        graph
    }

    /// Values and layers share one room for their names, and a user may name a layer `input`.
    fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        name
    }

    /// Appends a node of one output; returns the output's name, which is the node's.
    pub(super) fn node(
        &mut self,
        op_type: &str,
        name: &str,
        inputs: &[&str],
        attributes: impl Into<Vec<AttributeProto>>,
    ) -> String {
        let name = self.fresh(name);
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op_type.to_owned(),
            attribute: attributes.into(),
        });
        name
    }

    /// Appends a constant of the given sizes (none for a single number); returns its name.
    pub(super) fn floats(&mut self, name: &str, sizes: &[usize], values: &[f32]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(name, FLOAT, sizes, raw_data)
    }

    /// Appends a list of integers; returns its name.
    pub(super) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(name, INT64, &[values.len()], raw_data)
    }

    fn initializer(&mut self, name: &str, data_type: i32, sizes: &[usize], raw_data: Vec<u8>) -> String {
        let name = self.fresh(name);
        let dims = sizes.iter().map(|&size| size as i64).collect();
        self.initializers.push(TensorProto { dims, data_type, name: name.clone(), raw_data });
        name
    }

    /// The numbers of a weight, in Keras's order.
    pub(super) fn values_of(&self, weight: &Weight) -> &'a [f32] {
        &self.weights[weight.range()]
    }

    /// Says that a value is the plan's next tensor.
    pub(super) fn carry(&mut self, shape: Shape, value: String, order: Order) {
        let sizes = shape.sizes();
        if self.tensors.is_empty() {
            // The input is declared by itself.
        } else if let (Order::ChannelsFirst, &[height, width, channels]) = (order, sizes) {
            self.values.push(value_info(&value, &[channels, height, width]));
        } else {
            self.values.push(value_info(&value, sizes));
        }
        let (first, last) = match order {
            Order::ChannelsFirst if shape.is_map() => (Some(value), None),
            _ => (None, Some(value)),
        };
        self.tensors.push(Carried { shape, first, last });
    }

    /// The value that holds a layer's only (or first) input, channels first.
    pub(super) fn input_of(&mut self, layer: &LayerPlan) -> String {
        self.channels_first(layer.inputs()[0])
    }

    /// The value that holds a tensor of the plan, a map's channels first.
    pub(super) fn channels_first(&mut self, tensor: usize) -> String {
        if !self.tensors[tensor].shape.is_map() {
            return self.channels_last(tensor);
        }
        self.ordered(tensor, Order::ChannelsFirst)
    }

    /// The value that holds a tensor of the plan, a map's channels last.
    pub(super) fn channels_last(&mut self, tensor: usize) -> String {
        self.ordered(tensor, Order::ChannelsLast)
    }

    fn ordered(&mut self, tensor: usize, order: Order) -> String {
        let Carried { first, last, .. } = &self.tensors[tensor];
        let (there, other, permutation, suffix) = match order {
            Order::ChannelsFirst => (first, last, [0, 3, 1, 2], "channels_first"),
            Order::ChannelsLast => (last, first, [0, 2, 3, 1], "channels_last"),
        };
        // One of the two is always there.
        let (None, Some(other)) = (there, other) else { return there.clone().unwrap_or_default() };
        let other = other.clone();
        let permutation = super::settings::ints("perm", permutation);
        let value = self.node("Transpose", &format!("{other}/{suffix}"), &[&other], [permutation]);
        let carried = &mut self.tensors[tensor];
        match order {
            Order::ChannelsFirst => carried.first = Some(value.clone()),
            Order::ChannelsLast => carried.last = Some(value.clone()),
        }
        value
    }

    /// The whole graph, the last tensor as its output.
    pub(super) fn finish(mut self, plan: &Plan) -> GraphProto {
        let mut last = self.channels_last(plan.layers.len());
        if self.nodes.last().is_none_or(|node| node.output[0] != last) {
            // The network's input is its output.
            last = self.node("Identity", OUTPUT, &[&last], []);
        }
        if let Some(node) = self.nodes.last_mut() {
            node.output[0] = OUTPUT.to_owned();
        }
        self.values.retain(|value| value.name != last);
        GraphProto {
            node: self.nodes,
            name: plan.network.to_owned(),
            initializer: self.initializers,
            input: vec![value_info(INPUT, plan.input.sizes())],
            output: vec![value_info(OUTPUT, plan.output.sizes())],
            value_info: self.values,
        }
    }
}

/// A tensor of floats for any number of images.
fn value_info(name: &str, sizes: &[usize]) -> ValueInfoProto {
    let batch = Dimension::Param("N".to_owned());
    let sizes = sizes.iter().map(|&size| Dimension::Value(size as i64));
    let dim = std::iter::once(batch).chain(sizes).map(|value| DimensionProto { value: Some(value) }).collect();
    let tensor_type = TensorTypeProto { elem_type: FLOAT, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
