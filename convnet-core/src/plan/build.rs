//! From a tree of layers to the table behind a [`super::Plan`], in const code.

use super::fault::{Fault, FaultKind};
use super::shapes::{merged_shape, output_shape};
use super::weights::{NO_WEIGHT, layer_weights};
use super::{LayerPlan, MAX_BRANCHES, Name, Weight};
use crate::layers::{Activation, LayerSpec, MAX_WEIGHTS, Node, Op};
use crate::shape::Shape;

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
    /// How many of them training changes.
    pub trainable_params: usize,
    /// Number of the tensor that the next layer takes (see [`LayerPlan::inputs`]).
    at: usize,
    /// How many layers of each kind carry a counted name.
    counted: [usize; Op::KINDS],
    /// What makes the network impossible.
    pub fault: Option<Fault>,
}

const NO_LAYER: LayerPlan = LayerPlan {
    name: Name::Given(""),
    op: Op::Flatten,
    input: Shape::vector(0),
    output: Shape::vector(0),
    trainable: true,
    inputs: [0; MAX_BRANCHES],
    input_count: 0,
    weights: [NO_WEIGHT; MAX_WEIGHTS],
    weight_count: 0,
};

/// How many layers a tree has. Saturates instead of overflowing.
pub const fn count(node: &Node) -> usize {
    match node {
        Node::Empty => 0,
        Node::Layer(_) => 1,
        Node::Pair(first, second) => count(first).saturating_add(count(second)),
        Node::Network { layers, .. } | Node::Frozen(layers) => count(layers),
        Node::Branches { paths, .. } => {
            let (mut layers, mut i) = (1usize, 0);
            while i < paths.len() {
                layers = layers.saturating_add(count(paths[i]));
                i += 1;
            }
            layers
        }
        Node::Repeat { times, layers } => times.saturating_mul(count(layers)),
    }
}

/// What holds for a whole tree of layers.
#[derive(Clone, Copy)]
struct Context {
    /// Layers of the whole network.
    total: usize,
    /// Whether training leaves the weights alone.
    frozen: bool,
}

/// Lays out a network of at most `CAPACITY` layers; leaves the table empty if there are more.
pub const fn build<const CAPACITY: usize>(input: Shape, node: &Node) -> Table<CAPACITY> {
    let mut table = Table {
        layers: [NO_LAYER; CAPACITY],
        len: 0,
        output: input,
        params: 0,
        trainable_params: 0,
        at: 0,
        counted: [0; Op::KINDS],
        fault: None,
    };
    let total = count(node);
    if total > MAX_LAYERS {
        table.fault = Some(Fault { name: Name::Given(""), layer: 0, input, kind: FaultKind::TooManyLayers(total) });
    } else if total <= CAPACITY {
        if input.is_empty() {
            table.fault = Some(Fault { name: Name::Given("input"), layer: 0, input, kind: FaultKind::ZeroInput });
        } else {
            append(&mut table, node, Context { total, frozen: false });
        }
    }
    table
}

/// Appends a tree's layers until one is at fault.
const fn append<const CAPACITY: usize>(table: &mut Table<CAPACITY>, node: &Node, context: Context) {
    if table.fault.is_some() {
        return;
    }
    match node {
        Node::Empty => {}
        Node::Layer(spec) => {
            let (input, mut inputs) = (table.output, [0; MAX_BRANCHES]);
            inputs[0] = table.at;
            append_layer(table, spec, (inputs, 1), output_shape(&spec.op, input), context);
        }
        Node::Pair(first, second) => {
            append(table, first, context);
            append(table, second, context);
        }
        Node::Network { name, input, layers } => {
            if input.fits(&table.output) {
                append(table, layers, context);
            } else {
                let kind = FaultKind::NetworkInput(*input);
                table.fault = Some(Fault { name: Name::Given(name), layer: table.len, input: table.output, kind });
            }
        }
        Node::Frozen(layers) => append(table, layers, Context { frozen: true, ..context }),
        Node::Branches { merge, paths } => append_branches(table, merge, paths, context),
        Node::Repeat { times: 0, .. } => {
            let kind = FaultKind::ZeroSize("n");
            table.fault = Some(Fault { name: Name::Given("Repeat"), layer: table.len, input: table.output, kind });
        }
        Node::Repeat { times, layers } => {
            // Nothing, however often, is nothing.
            let times = if count(layers) == 0 { 0 } else { *times };
            let mut i = 0;
            while i < times {
                append(table, layers, context);
                i += 1;
            }
        }
    }
}

/// Appends the layers of all branches, then the one that merges them.
const fn append_branches<const CAPACITY: usize>(
    table: &mut Table<CAPACITY>,
    merge: &LayerSpec,
    paths: &[&Node],
    context: Context,
) {
    let (fork, shape) = (table.at, table.output);
    let mut inputs = [0; MAX_BRANCHES];
    let mut shapes = [shape; MAX_BRANCHES];
    let mut i = 0;
    while i < paths.len() {
        (table.at, table.output) = (fork, shape);
        append(table, paths[i], context);
        if table.fault.is_some() {
            return;
        }
        (inputs[i], shapes[i]) = (table.at, table.output);
        i += 1;
    }
    table.output = shapes[0];
    let merged = merged_shape(&merge.op, shapes.split_at(paths.len()).0);
    append_layer(table, merge, (inputs, paths.len()), merged, context);
}

/// Appends a layer that takes the given tensors and has the given shape behind it.
const fn append_layer<const CAPACITY: usize>(
    table: &mut Table<CAPACITY>,
    spec: &LayerSpec,
    (inputs, input_count): ([usize; MAX_BRANCHES], usize),
    output: Result<Shape, FaultKind>,
    context: Context,
) {
    let input = table.output;
    let name = match spec.name {
        Some(name) => Name::Given(name),
        None => {
            table.counted[spec.op.number()] += 1;
            Name::Counted(spec.op.stem(), table.counted[spec.op.number()])
        }
    };
    let last = table.len + 1 == context.total;
    let softmax_inside = matches!(spec.op.activation(), Activation::Softmax) && !last;
    let (weights, weight_count) = layer_weights(spec, input, table.params, !context.frozen);
    let laid_out = match check_name(table, &name) {
        Err(kind) => Err(kind),
        Ok(()) if softmax_inside => Err(FaultKind::SoftmaxInside),
        Ok(()) => match output {
            Ok(output) if too_large(table.params, &weights, weight_count, &output) => Err(FaultKind::TooLarge),
            output => output,
        },
    };
    match laid_out {
        Ok(output) => {
            let trainable = !context.frozen;
            let op = spec.op;
            let layer = LayerPlan { name, op, input, output, trainable, inputs, input_count, weights, weight_count };
            table.params = table.params.saturating_add(layer.params());
            table.trainable_params = table.trainable_params.saturating_add(layer.trainable_params());
            table.layers[table.len] = layer;
            table.len += 1;
            (table.at, table.output) = (table.len, output);
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

/// Whether a layer's output or the parameters up to it would not fit the memory of any machine.
const fn too_large(mut params: usize, weights: &[Weight; MAX_WEIGHTS], count: usize, output: &Shape) -> bool {
    const MOST: usize = isize::MAX as usize / size_of::<f32>();
    let mut i = 0;
    while i < count {
        params = params.saturating_add(weights[i].len());
        i += 1;
    }
    params > MOST || output.len() > MOST
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
