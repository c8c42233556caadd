//! From a tree of layers to the table behind a [`super::Plan`], in const code.

use super::fault::{Fault, FaultKind};
use super::{Initializer, LayerPlan, Name, Weight};
use crate::layers::{Activation, LayerSpec, Node, Op, conv2d, dense};
use crate::shape::{Axis, Shape};

/// The most layers that a network may have.
pub const MAX_LAYERS: usize = 1024;

/// A network's layers in order, with room for `CAPACITY`, and the first fault.
pub struct Table<const CAPACITY: usize> {
    /// The layers; those behind `len` mean nothing.
    pub layers: [LayerPlan; CAPACITY],
    /// How many layers there are.
    pub len: usize,
    /// Shape behind the last layer.
    pub output: Shape,
    /// Number of parameters.
    pub params: usize,
    /// How many layers of each kind carry a counted name.
    counted: [usize; Op::KINDS],
    /// What makes the network impossible.
    pub fault: Option<Fault>,
}

const NO_WEIGHT: Weight = Weight { name: "", offset: 0, initializer: Initializer::Zeros, sizes: [0; 4], rank: 0 };

const NO_LAYER: LayerPlan = LayerPlan {
    name: Name::Given(""),
    op: Op::Flatten,
    input: Shape::vector(0),
    output: Shape::vector(0),
    weights: [NO_WEIGHT; 2],
    weight_count: 0,
};

/// How many layers a tree has.
pub const fn count(node: &Node) -> usize {
    match node {
        Node::Empty => 0,
        Node::Layer(_) => 1,
        Node::Pair(first, second) => count(first) + count(second),
        Node::Network { layers, .. } => count(layers),
    }
}

/// Lays out a network of at most `CAPACITY` layers; leaves the table empty if there are more.
pub const fn build<const CAPACITY: usize>(input: Shape, node: &Node) -> Table<CAPACITY> {
    let mut table =
        Table { layers: [NO_LAYER; CAPACITY], len: 0, output: input, params: 0, counted: [0; Op::KINDS], fault: None };
    let total = count(node);
    if total > MAX_LAYERS {
        table.fault = Some(Fault { name: Name::Given(""), layer: 0, input, kind: FaultKind::TooManyLayers(total) });
    } else if total <= CAPACITY {
        if input.is_empty() {
            table.fault = Some(Fault { name: Name::Given("input"), layer: 0, input, kind: FaultKind::ZeroInput });
        } else {
            append(&mut table, node, total);
        }
    }
    table
}

/// Appends a tree's layers until one is at fault.
const fn append<const CAPACITY: usize>(table: &mut Table<CAPACITY>, node: &Node, total: usize) {
    if table.fault.is_some() {
        return;
    }
    match node {
        Node::Empty => {}
        Node::Layer(spec) => append_layer(table, spec, total),
        Node::Pair(first, second) => {
            append(table, first, total);
            append(table, second, total);
        }
        Node::Network { name, input, layers } => {
            if input.same(&table.output) {
                append(table, layers, total);
            } else {
                let kind = FaultKind::NetworkInput(*input);
                table.fault = Some(Fault { name: Name::Given(name), layer: table.len, input: table.output, kind });
            }
        }
    }
}

const fn append_layer<const CAPACITY: usize>(table: &mut Table<CAPACITY>, spec: &LayerSpec, total: usize) {
    let input = table.output;
    let name = match spec.name {
        Some(name) => Name::Given(name),
        None => {
            table.counted[spec.op.number()] += 1;
            Name::Counted(spec.op.stem(), table.counted[spec.op.number()])
        }
    };
    let last = table.len + 1 == total;
    let softmax_inside = matches!(spec.op.activation(), Activation::Softmax) && !last;
    let laid_out = match check_name(table, &name) {
        Err(kind) => Err(kind),
        Ok(()) if softmax_inside => Err(FaultKind::SoftmaxInside),
        Ok(()) => match output_shape(&spec.op, input) {
            Ok(output) if too_large(table, &spec.op, input, &output) => Err(FaultKind::TooLarge),
            laid_out => laid_out,
        },
    };
    match laid_out {
        Ok(output) => {
            let (weights, weight_count) = layer_weights(&spec.op, input, table.params);
            let layer = LayerPlan { name, op: spec.op, input, output, weights, weight_count };
            table.params = table.params.saturating_add(layer.params());
            table.layers[table.len] = layer;
            table.len += 1;
            table.output = output;
        }
        Err(kind) => table.fault = Some(Fault { name, layer: table.len, input, kind }),
    }
}

/// Names are the keys of saved weights: no two layers may share one. Two counted names cannot.
const fn check_name<const CAPACITY: usize>(table: &Table<CAPACITY>, name: &Name) -> Result<(), FaultKind> {
    let given = matches!(name, Name::Given(_));
    let mut i = 0;
    while i < table.len {
        let other = &table.layers[i].name;
        if (given || matches!(other, Name::Given(_))) && name.same(other) {
            return Err(FaultKind::NameTaken);
        }
        i += 1;
    }
    Ok(())
}

/// The shape behind a layer.
const fn output_shape(op: &Op, input: Shape) -> Result<Shape, FaultKind> {
    match op {
        Op::Conv2D(spec) if spec.filters == 0 => Err(FaultKind::ZeroSize("filters")),
        Op::Conv2D(spec) => slide([spec.vertical, spec.horizontal], "kernel_size", input, spec.filters),
        Op::MaxPooling2D(spec) => slide([spec.vertical, spec.horizontal], "pool_size", input, input.channels()),
        Op::Flatten if !input.is_map() => Err(FaultKind::AlreadyFlat),
        Op::Flatten => Ok(Shape::vector(input.len())),
        Op::Dense(spec) if spec.units == 0 => Err(FaultKind::ZeroSize("units")),
        Op::Dense(_) if input.is_map() => Err(FaultKind::NeedsVector),
        Op::Dense(spec) => Ok(Shape::vector(spec.units)),
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

/// Whether a layer's output or the parameters up to it would not fit the memory of any machine.
const fn too_large<const CAPACITY: usize>(table: &Table<CAPACITY>, op: &Op, input: Shape, output: &Shape) -> bool {
    const MOST: usize = isize::MAX as usize / size_of::<f32>();
    let (weights, count) = layer_weights(op, input, 0);
    let mut params = table.params;
    let mut i = 0;
    while i < count {
        params = params.saturating_add(weights[i].len());
        i += 1;
    }
    params > MOST || output.len() > MOST
}

/// A layer's weights, from `offset` on.
const fn layer_weights(op: &Op, input: Shape, offset: usize) -> ([Weight; 2], usize) {
    match op {
        Op::Conv2D(conv2d::Spec { filters, vertical, horizontal, use_bias, .. }) => {
            let taps = vertical.window.saturating_mul(horizontal.window);
            let initializer = Initializer::GlorotUniform {
                fan_in: taps.saturating_mul(input.channels()),
                fan_out: taps.saturating_mul(*filters),
            };
            let sizes = [vertical.window, horizontal.window, input.channels(), *filters];
            kernel_and_bias(Weight { name: "kernel", offset, initializer, sizes, rank: 4 }, *filters, *use_bias)
        }
        Op::Dense(dense::Spec { units, use_bias, .. }) => {
            let initializer = Initializer::GlorotUniform { fan_in: input.len(), fan_out: *units };
            let sizes = [input.len(), *units, 1, 1];
            kernel_and_bias(Weight { name: "kernel", offset, initializer, sizes, rank: 2 }, *units, *use_bias)
        }
        Op::MaxPooling2D(_) | Op::Flatten => ([NO_WEIGHT; 2], 0),
    }
}

const fn kernel_and_bias(kernel: Weight, outputs: usize, use_bias: bool) -> ([Weight; 2], usize) {
    let offset = kernel.offset.saturating_add(kernel.len());
    let bias = Weight { name: "bias", offset, initializer: Initializer::Zeros, sizes: [outputs, 1, 1, 1], rank: 1 };
    ([kernel, bias], if use_bias { 2 } else { 1 })
}

impl Name {
    /// Whether two names read the same, in const code.
    const fn same(&self, other: &Name) -> bool {
        match (self, other) {
            (Name::Given(a), Name::Given(b)) => same_text(a, b),
            (Name::Counted(a, m), Name::Counted(b, n)) => *m == *n && same_text(a, b),
            (Name::Given(text), Name::Counted(stem, number)) | (Name::Counted(stem, number), Name::Given(text)) => {
                let mut counted = super::Message::new();
                counted.text(stem);
                counted.text("_");
                counted.number(*number);
                same_text(text, counted.as_str())
            }
        }
    }
}

const fn same_text(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}
