//! From the layers of a plan to the operations that every engine chooses its kernels for.
//!
//! What moves nothing disappears (`Flatten`, `Reshape`, a linear `Activation`): its output is its input's memory. A
//! separable convolution becomes the two that it is. An activation that stands alone behind a layer that can apply it
//! joins that layer. And the activation of the last layer is left to whoever reads the output: the loss works on what
//! comes before it, the logits.

use crate::layers::{Activation, Op};
use crate::plan::{LayerPlan, Plan};
use crate::shape::Shape;
use std::ops::Range;

/// One operation on tensors, which are numbered anew: 0 is the network's input.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub op: Op,
    pub input: Shape,
    pub output: Shape,
    /// The tensors that it takes, and the one that it makes.
    pub inputs: Vec<usize>,
    pub result: usize,
    /// Its part of the flat parameter buffer.
    pub weights: Range<usize>,
    /// Number of its layer in the plan.
    pub layer: usize,
    /// An activation behind it that its kernels apply although it is none of its settings: see [`Graph::joining`].
    #[cfg(feature = "cuda")]
    pub behind: Activation,
}

/// The operations of a network.
pub(super) struct Graph {
    pub operations: Vec<Operation>,
    /// Values an image of each tensor.
    pub tensors: Vec<usize>,
    /// The tensor that is the network's output.
    pub output: usize,
}

impl Graph {
    /// The operations of a plan.
    pub fn new(plan: &Plan) -> Graph {
        let mut graph = Graph { operations: Vec::new(), tensors: vec![plan.input.len()], output: 0 };
        // Where each tensor of the plan lies among ours.
        let mut places = vec![0];
        for (number, layer) in plan.layers.iter().enumerate() {
            let last = number + 1 == plan.layers.len();
            let op = if last { layer.op.with_activation(Activation::Linear) } else { layer.op };
            let inputs: Vec<usize> = layer.inputs().iter().map(|&input| places[input]).collect();
            places.push(graph.layer(number, layer, plain(op), inputs));
        }
        graph.output = places.last().copied().unwrap_or(0);
        graph.join_activations();
        graph
    }

    /// Adds a layer's operations; gives the tensor with its output.
    fn layer(&mut self, number: usize, layer: &LayerPlan, op: Op, inputs: Vec<usize>) -> usize {
        let alias = inputs[0];
        let weights = span(layer.weights().iter().map(|weight| weight.range()));
        let (input, output) = (layer.input, layer.output);
        let lowered = Operation {
            op,
            input,
            output,
            inputs,
            result: 0,
            weights,
            layer: number,
            #[cfg(feature = "cuda")]
            behind: Activation::Linear,
        };
        match op {
            Op::Flatten | Op::Reshape(_) | Op::Activation(Activation::Linear) => alias,
            Op::SeparableConv2D(spec) => {
                let shape = Shape::map(
                    layer.output.height(),
                    layer.output.width(),
                    layer.input.channels() * spec.depth_multiplier,
                );
                let cut = layer.weights()[0].range().end;
                let whole = lowered;
                let depthwise = Operation {
                    op: Op::DepthwiseConv2D(spec.depthwise()),
                    output: shape,
                    weights: whole.weights.start..cut,
                    ..whole.clone()
                };
                let between = self.add(depthwise);
                let op = Op::Conv2D(spec.pointwise());
                self.add(Operation {
                    op,
                    input: shape,
                    inputs: vec![between],
                    weights: cut..whole.weights.end,
                    ..whole
                })
            }
            _ => self.add(lowered),
        }
    }

    fn add(&mut self, operation: Operation) -> usize {
        let result = self.tensors.len();
        self.tensors.push(operation.output.len());
        self.operations.push(Operation { result, ..operation });
        result
    }

    /// How many operations take each tensor (the network's output is taken once more).
    pub fn consumers(&self) -> Vec<usize> {
        let mut consumers = vec![0; self.tensors.len()];
        self.operations.iter().flat_map(|operation| &operation.inputs).for_each(|&tensor| consumers[tensor] += 1);
        consumers[self.output] += 1;
        consumers
    }

    /// For each tensor whether its gradient is asked for: where weights that training changes lie on the way to it, and
    /// everywhere if `input_gradient` asks for that of the network's input.
    pub fn asked_for(&self, plan: &Plan, input_gradient: bool) -> Vec<bool> {
        let mut asked = vec![false; self.tensors.len()];
        asked[0] = input_gradient;
        for operation in &self.operations {
            let learns = plan.layers[operation.layer].trainable_params() > 0;
            asked[operation.result] = learns || operation.inputs.iter().any(|&input| asked[input]);
        }
        asked
    }

    /// Lets activations join the layers that they stand behind, where nothing else sees what lies between.
    fn join_activations(&mut self) {
        self.join(|above, _| applies(&above.op), |above, activation| above.op = above.op.with_activation(activation));
    }

    /// The same graph, whose activations join other operations, too, where an engine's kernels apply them.
    #[cfg(feature = "cuda")]
    pub fn joining(mut self, applies: impl Fn(&Operation, Activation) -> bool) -> Graph {
        let free =
            |above: &Operation| above.behind == Activation::Linear && above.op.activation() == Activation::Linear;
        self.join(
            |above, activation| free(above) && applies(above, activation),
            |above, activation| above.behind = activation,
        );
        self
    }

    /// Takes activations out that stand alone behind an operation which they can join.
    fn join(&mut self, can: impl Fn(&Operation, Activation) -> bool, join: impl Fn(&mut Operation, Activation)) {
        let consumers = self.consumers();
        let operations = std::mem::take(&mut self.operations);
        for operation in operations {
            match (operation.op, self.operations.last_mut()) {
                (Op::Activation(activation), Some(above))
                    if operation.inputs == [above.result] && consumers[above.result] == 1 && can(above, activation) =>
                {
                    join(above, activation);
                    above.result = operation.result;
                }
                _ => self.operations.push(operation),
            }
        }
    }
}

/// Whether an activation can join this operation.
fn applies(op: &Op) -> bool {
    let can = matches!(op, Op::Conv2D(_) | Op::DepthwiseConv2D(_) | Op::Dense(_));
    can && op.activation() == Activation::Linear
}

/// The same operation by its plainest name.
fn plain(op: Op) -> Op {
    match op {
        Op::ReLU(spec) if spec.max_value == f64::INFINITY && spec.negative_slope == 0.0 && spec.threshold == 0.0 => {
            Op::Activation(Activation::Relu)
        }
        Op::Softmax => Op::Activation(Activation::Softmax),
        other => other,
    }
}

/// The range from the first start to the last end; empty for none.
fn span(ranges: impl Iterator<Item = Range<usize>>) -> Range<usize> {
    ranges.reduce(|all, range| all.start..range.end).unwrap_or(0..0)
}
