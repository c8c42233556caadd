//! What the operations launch on the way forward.

use super::product::{Product, sliding};
use super::{Builder, Draft, Place, ending, int, number};
use crate::engine::cuda::backend::Argument;
use crate::engine::cuda::source::{Constant, Constants, Element};
use crate::engine::graph::Operation;
use crate::layers::up_sampling2d::Interpolation;
use crate::layers::{Activation, Op, batch_normalization, leaky_relu, relu};
use crate::shape::Shape;

/// Whether a way back follows, and whether it is a training step's.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Way {
    /// Kernels keep what the way back needs.
    pub back: bool,
    /// Dropout drops, and normalisations that learn normalise by the batch: with this seed.
    pub training: Option<u64>,
}

impl Builder<'_> {
    /// The value of every tensor, from that of the first.
    pub(super) fn forward(&mut self, way: Way, learns: impl Fn(&Operation) -> bool) {
        let graph = self.setting.graph;
        for (place, operation) in graph.operations.iter().enumerate() {
            self.operation(place, operation, way, learns(operation));
        }
    }

    fn operation(&mut self, place: usize, operation: &Operation, way: Way, learns: bool) {
        if let Some(product) = Product::of(operation) {
            return self.product_forward(operation, &product, ending(operation));
        }
        let (input, floats) = (self.value(operation.inputs[0]), self.setting.images * operation.output.len());
        match operation.op {
            Op::Dropout(_) if way.training.is_none() => {
                self.values[operation.result] = Some(input);
                return;
            }
            Op::Add if operation.inputs.len() == 1 => {
                self.values[operation.result] = Some(input);
                return;
            }
            _ => {}
        }
        let output = self.value(operation.result);
        let plain = vec![Argument::Read(input), Argument::Write(output), self.images()];
        match operation.op {
            Op::MaxPooling2D(spec) => {
                let mut constants = sliding(&spec.vertical, &spec.horizontal, operation.input, operation.output);
                let small = spec.vertical.window * spec.horizontal.window <= 256;
                let element = if small { Element::U8 } else { Element::U32 };
                let places = self.places(element, place, way, output, &mut constants);
                let arguments = vec![Argument::Read(input), Argument::Write(output), places, self.images()];
                self.each("max_pooling2d_forward", constants, floats, arguments);
            }
            Op::GlobalMaxPooling2D(_) => {
                let (mut constants, count) = (map(operation.input), self.channel_blocks(operation.input));
                let places = self.places(Element::U32, place, way, output, &mut constants);
                let arguments = vec![Argument::Read(input), Argument::Write(output), places, self.images()];
                self.each("global_max_pooling2d_forward", constants, count, arguments);
            }
            Op::AveragePooling2D(spec) => {
                let constants = sliding(&spec.vertical, &spec.horizontal, operation.input, operation.output);
                self.each("average_pooling2d_forward", constants, floats, plain);
            }
            Op::GlobalAveragePooling2D(_) => {
                let count = self.channel_blocks(operation.input);
                self.each("global_average_pooling2d_forward", map(operation.input), count, plain);
            }
            Op::ZeroPadding2D(_) | Op::UpSampling2D(_) => {
                let (name, constants) = resizing(operation);
                self.each(name.forward, constants, floats, plain);
            }
            Op::DepthwiseConv2D(_) => {
                let arguments =
                    vec![Argument::Read(input), self.weights(operation), Argument::Write(output), self.images()];
                let mut constants = depthwise(operation);
                constants.push(("ACTIVATION", number(ending(operation))));
                self.each("depthwise_conv2d_forward", constants, floats, arguments);
            }
            Op::Activation(activation) => self.activate(activation, operation.output, input, output),
            Op::ReLU(_) | Op::LeakyReLU(_) => {
                self.each("rectifier_forward", rectifier(operation), floats, plain);
            }
            Op::Rescaling(_) => self.each("rescaling_forward", rescaling(operation), floats, plain),
            Op::Dropout(_) => {
                let stays = self.buffer(Element::U8, floats);
                self.kept[place] = Some(stays);
                let state = Argument::Read(super::recipe::state());
                let seed = Argument::Long(way.training.unwrap_or_default());
                let arguments = vec![
                    Argument::Read(input),
                    Argument::Write(output),
                    Argument::Write(stays),
                    state,
                    seed,
                    self.images(),
                ];
                self.each("dropout_forward", dropout(operation), floats.div_ceil(16), arguments);
            }
            Op::BatchNormalization(spec) if learns && way.training.is_some() => {
                self.normalize(place, operation, spec, [input, output]);
            }
            Op::BatchNormalization(spec) => {
                let arguments =
                    vec![Argument::Read(input), self.weights(operation), Argument::Write(output), self.images()];
                let mut constants = normalization(spec, operation);
                constants.push(("ACTIVATION", number(ending(operation))));
                self.each("normalization_moving", constants, floats, arguments);
            }
            Op::Add => {
                let mut sum = input;
                for (turn, &tensor) in operation.inputs.iter().enumerate().skip(1) {
                    let last = turn + 1 == operation.inputs.len();
                    let ending = if last { ending(operation) } else { Activation::Linear };
                    let constants = vec![("SIZE", int(operation.output.len())), ("ACTIVATION", number(ending))];
                    let next = self.value(tensor);
                    let to = if sum == output { Argument::Update(output) } else { Argument::Write(output) };
                    let arguments = vec![Argument::Read(sum), Argument::Read(next), to, self.images()];
                    self.each("add_forward", constants, floats, arguments);
                    sum = output;
                }
            }
            Op::Concatenate => {
                let mut offset = 0;
                for &tensor in &operation.inputs {
                    let part = self.setting.graph.tensors[tensor] / positions(operation.output);
                    let constants = joined(operation.output, part, offset);
                    let count = self.setting.images * self.setting.graph.tensors[tensor];
                    let arguments = vec![Argument::Read(self.value(tensor)), Argument::Update(output), self.images()];
                    self.each("join", constants, count, arguments);
                    offset += part;
                }
            }
            Op::Flatten | Op::Reshape(_) | Op::Softmax | Op::SeparableConv2D(_) | Op::Conv2D(_) | Op::Dense(_) => {
                unreachable!("the graph has none of these, or they are products")
            }
        }
    }

    /// An activation over rows of the last axis.
    pub(super) fn activate(&mut self, activation: Activation, shape: Shape, from: Place, to: Place) {
        let constants = activation_constants(activation, shape);
        let to = if from == to { Argument::Update(to) } else { Argument::Write(to) };
        let arguments = vec![Argument::Read(from), to, self.images()];
        self.each(
            "activation_forward",
            constants,
            self.setting.images * activation_threads(activation, shape),
            arguments,
        );
    }

    /// Where a pooling keeps which value of each window it took, if a way back follows.
    fn places(
        &mut self,
        element: Element,
        place: usize,
        way: Way,
        output: Place,
        constants: &mut Constants,
    ) -> Argument<Place> {
        constants.push(("KEEP", Constant::Bool(way.back)));
        // Nothing is written to it where nothing is kept.
        let places = self.buffer(element, if way.back { output.count() } else { 1 });
        self.kept[place] = Some(places);
        Argument::Update(places)
    }

    /// Threads for poolings of whole maps: a block for 32 channels, or 32 vectors of four, of an image.
    fn channel_blocks(&self, shape: Shape) -> usize {
        self.setting.images * channel_groups(shape) * super::THREADS as usize
    }

    /// A normalisation by the batch's own statistics, which are kept.
    fn normalize(
        &mut self,
        place: usize,
        operation: &Operation,
        spec: batch_normalization::Spec,
        [input, output]: [Place; 2],
    ) {
        let channels = operation.input.channels();
        let mut constants = normalization(spec, operation);
        let (partials, parts) = self.sums("normalization_moments", operation, &constants, vec![Argument::Read(input)]);
        let statistics = self.buffer(Element::F32, 4 * channels);
        self.kept[place] = Some(statistics);
        let arguments =
            vec![Argument::Read(partials), Argument::Write(statistics), self.images(), Argument::Int(parts as i32)];
        self.each("normalization_statistics", constants.clone(), channels * LANES, arguments);
        let arguments = vec![
            Argument::Read(input),
            Argument::Read(statistics),
            self.weights(operation),
            Argument::Write(output),
            self.images(),
        ];
        constants.push(("ACTIVATION", number(ending(operation))));
        self.each("normalization_normalize", constants, self.setting.images * operation.input.len(), arguments);
    }

    /// Two sums a channel over all rows, in parts of which each block makes one.
    pub(super) fn sums(
        &mut self,
        template: &'static str,
        operation: &Operation,
        constants: &Constants,
        mut arguments: Vec<Argument<Place>>,
    ) -> (Place, usize) {
        let rows = self.setting.images * positions(operation.input);
        let parts = rows.div_ceil(ROWS).min(2 * self.setting.properties.multiprocessors);
        let partials = self.buffer(Element::F64, parts * 2 * operation.input.channels());
        arguments.extend([Argument::Write(partials), self.images()]);
        let (constants, threads) = (constants.clone(), super::THREADS);
        let grid = [parts, channel_groups(operation.input), 1];
        self.launch(Draft { template, constants, threads, resident: 1, grid, arguments });
        (partials, parts)
    }
}

/// Rows that are worth a block when sums are made over them.
const ROWS: usize = 64;

/// Threads that add the parts of a channel's sums.
pub(super) const LANES: usize = 32;

/// Blocks for the channels of a map, taken four at a time where that is whole, 32 times.
pub(super) fn channel_groups(shape: Shape) -> usize {
    let channels = shape.channels();
    if channels.is_multiple_of(4) { (channels / 4).div_ceil(32) } else { channels.div_ceil(32) }
}

/// The names of an operation's kernels.
pub(super) struct Names {
    pub forward: &'static str,
    pub backward: &'static str,
}

/// Rows of the last axis.
pub(super) fn positions(shape: Shape) -> usize {
    shape.len() / shape.channels().max(1)
}

/// The constants of a pooling over a whole map.
pub(super) fn map(shape: Shape) -> Constants {
    vec![("HEIGHT", int(shape.height())), ("WIDTH", int(shape.width())), ("CHANNELS", int(shape.channels()))]
}

pub(super) fn resizing(operation: &Operation) -> (Names, Constants) {
    let mut constants = map(operation.input);
    constants.extend([("OUT_HEIGHT", int(operation.output.height())), ("OUT_WIDTH", int(operation.output.width()))]);
    match operation.op {
        Op::UpSampling2D(spec) => {
            let bilinear = spec.interpolation == Interpolation::Bilinear;
            constants.extend([
                ("ROWS", int(spec.rows)),
                ("COLUMNS", int(spec.columns)),
                ("BILINEAR", Constant::Bool(bilinear)),
            ]);
            (Names { forward: "up_sampling2d_forward", backward: "up_sampling2d_backward" }, constants)
        }
        Op::ZeroPadding2D(spec) => {
            constants.extend([("PAD_TOP", int(spec.top)), ("PAD_LEFT", int(spec.left))]);
            (Names { forward: "zero_padding2d_forward", backward: "zero_padding2d_backward" }, constants)
        }
        _ => unreachable!("asked for these two only"),
    }
}

pub(super) fn depthwise(operation: &Operation) -> Constants {
    let Op::DepthwiseConv2D(spec) = operation.op else { unreachable!("asked for this only") };
    let mut constants = sliding(&spec.vertical, &spec.horizontal, operation.input, operation.output);
    constants.extend([("MULTIPLIER", int(spec.depth_multiplier)), ("USE_BIAS", Constant::Bool(spec.use_bias))]);
    constants.push(aligned(operation));
    constants
}

/// Whether four of an operation's weights may be read at once: they lie behind those of others, of which there may be
/// any number, and an address that is no multiple of 16 ends everything on a GPU.
fn aligned(operation: &Operation) -> (&'static str, Constant) {
    ("ALIGNED", Constant::Bool(operation.weights.start.is_multiple_of(4)))
}

pub(super) fn activation_constants(activation: Activation, shape: Shape) -> Constants {
    vec![("SIZE", int(shape.len())), ("ROW", int(shape.channels())), ("ACTIVATION", number(activation))]
}

/// Threads for an image: a warp for each row of a softmax.
pub(super) fn activation_threads(activation: Activation, shape: Shape) -> usize {
    if activation == Activation::Softmax { 32 * positions(shape) } else { shape.len() }
}

pub(super) fn rectifier(operation: &Operation) -> Constants {
    let spec = match operation.op {
        Op::ReLU(spec) => spec,
        Op::LeakyReLU(leaky_relu::Spec { negative_slope }) => {
            relu::Spec { max_value: f64::INFINITY, negative_slope, threshold: 0.0 }
        }
        _ => unreachable!("asked for these two only"),
    };
    let ceiling = spec.max_value.is_finite();
    vec![
        ("SIZE", int(operation.output.len())),
        ("CEILING", Constant::Bool(ceiling)),
        ("MAX_VALUE", Constant::Float(if ceiling { spec.max_value as f32 } else { 0.0 })),
        ("NEGATIVE_SLOPE", Constant::Float(spec.negative_slope as f32)),
        ("THRESHOLD", Constant::Float(spec.threshold as f32)),
    ]
}

pub(super) fn rescaling(operation: &Operation) -> Constants {
    let Op::Rescaling(spec) = operation.op else { unreachable!("asked for this only") };
    vec![
        ("SIZE", int(operation.output.len())),
        ("SCALE", Constant::Float(spec.scale as f32)),
        ("OFFSET", Constant::Float(spec.offset as f32)),
    ]
}

pub(super) fn dropout(operation: &Operation) -> Constants {
    let Op::Dropout(spec) = operation.op else { unreachable!("asked for this only") };
    // As the CPU's kernel has it; the bits of a u32 as an int.
    let below = (spec.rate * 2f64.powi(32)).round() as u32;
    vec![
        ("SIZE", int(operation.output.len())),
        ("BELOW", Constant::Int(i64::from(below as i32))),
        ("SCALE", Constant::Float((1.0 / (1.0 - spec.rate)) as f32)),
        ("LAYER", int(operation.layer)),
    ]
}

pub(super) fn normalization(spec: batch_normalization::Spec, operation: &Operation) -> Constants {
    vec![
        ("CHANNELS", int(operation.input.channels())),
        ("POSITIONS", int(positions(operation.input))),
        ("EPSILON", Constant::Float(spec.epsilon as f32)),
        ("SCALE", Constant::Bool(spec.scale)),
        ("CENTER", Constant::Bool(spec.center)),
        aligned(operation),
    ]
}

/// The constants of `part` channels from `offset` on among all of the last axis of `whole`.
pub(super) fn joined(whole: Shape, part: usize, offset: usize) -> Constants {
    vec![
        ("PART", int(part)),
        ("OFFSET", int(offset)),
        ("TOTAL", int(whole.channels())),
        ("ROWS", int(positions(whole))),
    ]
}
