//! What the operations launch on the way back.

use super::forward::{
    LANES, Way, activation_constants, activation_threads, channel_groups, depthwise, dropout, joined, map,
    normalization, positions, rectifier, rescaling, resizing,
};
use super::product::{Parts, Product, sliding};
use super::{Builder, Draft, Place, int, number};
use crate::engine::cuda::backend::Argument;
use crate::engine::cuda::source::{Constant, Constants, Element};
use crate::engine::graph::Operation;
use crate::layers::{Activation, Op, batch_normalization};
use crate::shape::Shape;

/// Where a gradient of an input is written, and how.
pub(super) struct Target {
    pub place: Argument<Place>,
    /// Whether something is there already.
    add: bool,
    /// The activation through which the finished gradient goes.
    ending: Activation,
}

impl Target {
    pub fn constants(&self) -> [(&'static str, Constant); 2] {
        [("ADD", Constant::Bool(self.add)), ("INPUT_ACTIVATION", number(self.ending))]
    }
}

/// A network's way back.
pub(super) struct Back {
    /// For each tensor how many gradients are still to be added to its own.
    awaited: Vec<usize>,
    asked: Vec<bool>,
}

impl Back {
    pub fn new(builder: &Builder<'_>, asked: Vec<bool>) -> Back {
        let graph = builder.setting.graph;
        let mut awaited = vec![0; graph.tensors.len()];
        for operation in graph.operations.iter().filter(|operation| asked[operation.result]) {
            operation.inputs.iter().for_each(|&tensor| awaited[tensor] += 1);
        }
        Back { awaited, asked }
    }
}

impl Builder<'_> {
    /// The gradients of all tensors and weights that are asked for, from that of the network's output. The parts of the
    /// weights' gradients, by operation.
    pub(super) fn backward(
        &mut self,
        back: Back,
        way: Way,
        learns: impl Fn(&Operation) -> bool,
        wanted: impl Fn(&Operation) -> bool,
    ) -> Vec<Option<Parts>> {
        let graph = self.setting.graph;
        let mut parts = vec![None; graph.operations.len()];
        self.back = Some(back);
        self.turn_output();
        for (place, operation) in graph.operations.iter().enumerate().rev() {
            let asked = self.back.as_ref().is_some_and(|back| back.asked[operation.result]);
            if asked {
                parts[place] = self.turn(place, operation, way, learns(operation), wanted(operation));
            }
        }
        parts
    }

    /// Takes the gradient of the network's output through the activation in which it ends. The graph takes that of the
    /// last layer away, but a last layer that moves nothing (`Flatten`) leaves the output to a layer above.
    fn turn_output(&mut self) {
        let tensor = self.setting.graph.output;
        let (ending, Some(d_output)) = (self.endings[tensor], self.gradients[tensor]) else { return };
        if ending == Activation::Linear {
            return;
        }
        let (output, shape) = (self.value(tensor), Shape::vector(self.setting.graph.tensors[tensor]));
        self.activation_backward(ending, shape, output, d_output, Argument::Update(d_output));
    }

    /// Takes the gradient `d_output` of an activation's output to `to`.
    pub(super) fn activation_backward(
        &mut self,
        activation: Activation,
        shape: Shape,
        output: Place,
        d_output: Place,
        to: Argument<Place>,
    ) {
        let mut constants = activation_constants(activation, shape);
        constants.extend([("ADD", Constant::Bool(false)), ("INPUT_ACTIVATION", number(Activation::Linear))]);
        let output = Argument::Read(output);
        // The input is looked at only where an activation ends in it.
        let arguments = vec![output, Argument::Read(d_output), output, to, self.images()];
        self.each(
            "activation_backward",
            constants,
            self.setting.images * activation_threads(activation, shape),
            arguments,
        );
    }

    /// Where to put the next gradient of a tensor; `None` where nobody asks for it.
    pub(super) fn target(&mut self, tensor: usize) -> Option<Target> {
        let back = self.back.as_mut()?;
        if !back.asked[tensor] {
            return None;
        }
        back.awaited[tensor] -= 1;
        let ending = if back.awaited[tensor] == 0 { self.endings[tensor] } else { Activation::Linear };
        let place = match self.gradients[tensor] {
            Some(place) => return Some(Target { place: Argument::Update(place), add: true, ending }),
            None => self.buffer(Element::F32, self.setting.images * self.setting.graph.tensors[tensor]),
        };
        self.gradients[tensor] = Some(place);
        Some(Target { place: Argument::Write(place), add: false, ending })
    }

    /// An operation's way back. `wanted`: the gradient of its weights.
    fn turn(&mut self, place: usize, operation: &Operation, way: Way, learns: bool, wanted: bool) -> Option<Parts> {
        let d_output = self.gradients[operation.result]?;
        if let Some(product) = Product::of(operation) {
            let parts = wanted.then(|| self.product_backward_weights(operation, &product)).flatten();
            self.product_backward_input(operation, &product);
            return parts;
        }
        if let Op::BatchNormalization(spec) = operation.op {
            return self.normalization_backward(place, operation, spec, way, learns, wanted);
        }
        if let Op::DepthwiseConv2D(spec) = operation.op {
            let taps = spec.vertical.window * spec.horizontal.window;
            return self.depthwise_backward(operation, taps, wanted);
        }
        match operation.op {
            Op::Add => self.spread(operation, d_output, |_, size| (size, 0, size, 1)),
            Op::Concatenate => {
                let rows = positions(operation.output);
                let total = operation.output.channels();
                self.spread(operation, d_output, |offset, size| (size / rows, offset / rows, total, rows));
            }
            _ => self.turn_values(place, operation, way, d_output),
        }
        None
    }

    /// The way back of an operation without weights on one tensor.
    fn turn_values(&mut self, place: usize, operation: &Operation, way: Way, d_output: Place) {
        let tensor = operation.inputs[0];
        let Some(target) = self.target(tensor) else { return };
        let (input, images) = (Argument::Read(self.value(tensor)), self.images());
        let floats = self.setting.images * operation.input.len();
        let d_output = Argument::Read(d_output);
        let kept = |builder: &Self| builder.kept[place].map(Argument::Read);
        let plain = vec![d_output, input, target.place, images];
        let chosen = |places| vec![d_output, places, input, target.place, images];
        let (template, mut constants, arguments): (&'static str, Constants, _) = match operation.op {
            Op::MaxPooling2D(spec) => {
                let constants = sliding(&spec.vertical, &spec.horizontal, operation.input, operation.output);
                let Some(places) = kept(self) else { return };
                ("max_pooling2d_backward", constants, chosen(places))
            }
            Op::GlobalMaxPooling2D(_) => {
                let Some(places) = kept(self) else { return };
                ("global_max_pooling2d_backward", map(operation.input), chosen(places))
            }
            Op::AveragePooling2D(spec) => {
                let constants = sliding(&spec.vertical, &spec.horizontal, operation.input, operation.output);
                ("average_pooling2d_backward", constants, plain)
            }
            Op::GlobalAveragePooling2D(_) => ("global_average_pooling2d_backward", map(operation.input), plain),
            Op::ZeroPadding2D(_) | Op::UpSampling2D(_) => {
                let (names, constants) = resizing(operation);
                (names.backward, constants, plain)
            }
            Op::Activation(activation) => {
                let output = Argument::Read(self.value(operation.result));
                let arguments = vec![output, d_output, input, target.place, images];
                ("activation_backward", activation_constants(activation, operation.output), arguments)
            }
            Op::ReLU(_) | Op::LeakyReLU(_) => {
                let arguments = vec![input, d_output, target.place, images];
                ("rectifier_backward", rectifier(operation), arguments)
            }
            Op::Rescaling(_) => ("rescaling_backward", rescaling(operation), plain),
            Op::Dropout(_) if way.training.is_some() => {
                let Some(stays) = kept(self) else { return };
                ("dropout_backward", dropout(operation), chosen(stays))
            }
            _ => ("split", joined(operation.input, operation.input.channels(), 0), plain),
        };
        constants.extend(target.constants());
        self.each(template, constants, floats, arguments);
    }

    /// Hands a gradient on to several tensors; `cut` says for an offset and a size how many channels those are, from which
    /// on, of how many, and in how many rows.
    fn spread(
        &mut self,
        operation: &Operation,
        d_output: Place,
        cut: impl Fn(usize, usize) -> (usize, usize, usize, usize),
    ) {
        let mut offset = 0;
        for &tensor in &operation.inputs {
            let size = self.setting.graph.tensors[tensor];
            let (part, from, total, rows) = cut(offset, size);
            offset += size;
            let Some(target) = self.target(tensor) else { continue };
            let mut constants =
                vec![("PART", int(part)), ("OFFSET", int(from)), ("TOTAL", int(total)), ("ROWS", int(rows))];
            constants.extend(target.constants());
            let input = Argument::Read(self.value(tensor));
            let arguments = vec![Argument::Read(d_output), input, target.place, self.images()];
            self.each("split", constants, self.setting.images * size, arguments);
        }
    }

    fn depthwise_backward(&mut self, operation: &Operation, taps: usize, wanted: bool) -> Option<Parts> {
        let d_output = self.gradients[operation.result]?;
        let tensor = operation.inputs[0];
        let input = self.value(tensor);
        let constants = depthwise(operation);
        let parts = wanted.then(|| {
            let rows = self.setting.images * positions(operation.output);
            let splits = rows.div_ceil(DEPTHWISE_ROWS).min(2 * self.setting.properties.multiprocessors);
            let place = self.buffer(Element::F32, splits * operation.weights.len());
            let arguments =
                vec![Argument::Read(input), Argument::Read(d_output), Argument::Write(place), self.images()];
            let (template, constants) = ("depthwise_conv2d_backward_weights", constants.clone());
            let grid = [taps.div_ceil(TAPS) * channel_groups(operation.output), 1, splits];
            self.launch(Draft { template, constants, threads: super::THREADS, resident: 1, grid, arguments });
            Parts { place, splits }
        });
        if let Some(target) = self.target(tensor) {
            let mut constants = constants;
            constants.extend(target.constants());
            let arguments = vec![
                Argument::Read(d_output),
                self.weights(operation),
                Argument::Read(input),
                target.place,
                self.images(),
            ];
            let floats = self.setting.images * operation.input.len();
            self.each("depthwise_conv2d_backward_input", constants, floats, arguments);
        }
        parts
    }

    fn normalization_backward(
        &mut self,
        place: usize,
        operation: &Operation,
        spec: batch_normalization::Spec,
        way: Way,
        learns: bool,
        wanted: bool,
    ) -> Option<Parts> {
        let d_output = self.gradients[operation.result]?;
        let tensor = operation.inputs[0];
        let input = Argument::Read(self.value(tensor));
        let constants = normalization(spec, operation);
        let statistics = self.kept[place].filter(|_| learns && way.training.is_some()).map(Argument::Read);
        let weights = self.weights(operation);
        let mut finished = None;
        if wanted || statistics.is_some() {
            let (template, normal) = match statistics {
                Some(statistics) => ("normalization_backward_sums", statistics),
                None => ("normalization_moving_sums", weights),
            };
            let arguments = vec![input, Argument::Read(d_output), normal];
            let (partials, parts) = self.sums(template, operation, &constants, arguments);
            let channels = operation.input.channels();
            let sums = self.buffer(Element::F32, 2 * channels);
            let gradient = self.buffer(Element::F32, operation.weights.len());
            let arguments = vec![
                Argument::Read(partials),
                Argument::Write(sums),
                Argument::Write(gradient),
                Argument::Int(parts as i32),
            ];
            self.each("normalization_backward_finish", constants.clone(), channels * LANES, arguments);
            finished = Some((sums, Parts { place: gradient, splits: 1 }));
        }
        if let Some(target) = self.target(tensor) {
            let mut constants = constants;
            constants.extend(target.constants());
            let floats = self.setting.images * operation.input.len();
            let mut arguments = vec![input, Argument::Read(d_output)];
            let template = match (statistics, &finished) {
                (Some(statistics), Some((sums, _))) => {
                    arguments.extend([statistics, weights, Argument::Read(*sums)]);
                    "normalization_backward"
                }
                _ => {
                    arguments.push(weights);
                    "normalization_moving_backward"
                }
            };
            arguments.extend([target.place, self.images()]);
            self.each(template, constants, floats, arguments);
        }
        finished.map(|(_, parts)| parts)
    }
}

/// Taps of a window that a block of a depthwise convolution's gradient has.
const TAPS: usize = 9;

/// Output positions that are worth a part of a depthwise convolution's sums.
const DEPTHWISE_ROWS: usize = 256;
