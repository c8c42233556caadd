//! From the operations of a network to launches of kernels.
//!
//! [`Builder`] writes launches one after the other into a list, on buffers that have no places yet; [`Builder::finish`]
//! gives them places in [`Memory::Work`] by how long each is needed. `forward` and `backward` say what each operation
//! launches, `product` cuts matrix products into tiles, `recipe` puts together what a training step, an
//! evaluation, a prediction and a gradient are, `tables` says what some launches look up, `trial` launches a
//! product alone to see how it is best cut.
//!
//! The gradient that is kept of a tensor is the one *before* the activation in which the operation that makes the
//! tensor ends: the last of those that add to it takes it through the activation. So no launch does that alone.

mod backward;
mod forward;
mod product;
mod recipe;
mod tables;
mod trial;

pub(super) use recipe::{Kind, Recipe, Set, Writer};
pub(super) use trial::{Question, Trial, questions};

use super::arena::{self, Buffer};
use super::backend::{Argument, Elements, Launch, Memory, Properties, Span};
use super::choices::Choices;
use super::source::{Constant, Constants, Element, Kernel, Source};
use crate::engine::Precision;
use crate::engine::graph::{Graph, Operation};
use crate::layers::{Activation, Op};
use crate::plan::Plan;
use std::ops::Range;

/// Threads of a block that goes through values one by one.
const THREADS: u32 = 256;

/// Blocks of such a launch for each multiprocessor: a few more than run at once.
const BLOCKS: usize = 16;

/// A place in memory, or in a buffer that has no place yet.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Memory(Span),
    Buffer {
        number: usize,
        element: Element,
        bytes: usize,
    },
    /// All buffers.
    Work(Element),
}

impl Place {
    /// Elements of a memory or buffer.
    fn count(&self) -> usize {
        match self {
            Place::Memory(Span { bytes, element, .. }) | Place::Buffer { bytes, element, .. } => bytes / element.size(),
            Place::Work(_) => 0,
        }
    }
}

impl Elements for Place {
    fn element(&self) -> Element {
        match self {
            Place::Memory(span) => span.element,
            Place::Buffer { element, .. } | Place::Work(element) => *element,
        }
    }
}

/// What a launch is made of.
struct Draft {
    template: &'static str,
    constants: Constants,
    threads: u32,
    /// Blocks that a multiprocessor is to have registers for.
    resident: u32,
    grid: [usize; 3],
    arguments: Vec<Argument<Place>>,
}

/// What holds for all launches of a list.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub graph: &'a Graph,
    pub properties: Properties,
    pub precision: Precision,
    /// Images that go through at once.
    pub images: usize,
    pub choices: &'a Choices,
}

/// A list of launches that is being written.
struct Builder<'a> {
    setting: Setting<'a>,
    source: &'a mut Source,
    launches: Vec<Launch<Place>>,
    /// Bytes of each buffer.
    buffers: Vec<usize>,
    /// Those that the host writes before or reads after the launches.
    held: Vec<usize>,
    /// Those that a later launch finds through a table.
    tabled: Vec<usize>,
    /// What the way back still has to do.
    back: Option<backward::Back>,
    /// What an update's blocks found of the penalties.
    penalties: Option<Place>,
    /// The values of each tensor, where they are there already.
    values: Vec<Option<Place>>,
    /// The gradient of each tensor, where something was written to it already.
    gradients: Vec<Option<Place>>,
    /// What operations keep for their way back.
    kept: Vec<Option<Place>>,
    /// Activations in which tensors end.
    endings: Vec<Activation>,
}

impl<'a> Builder<'a> {
    fn new(setting: Setting<'a>, source: &'a mut Source) -> Self {
        let tensors = setting.graph.tensors.len();
        let mut endings = vec![Activation::Linear; tensors];
        for operation in &setting.graph.operations {
            endings[operation.result] = ending(operation);
        }
        Builder {
            setting,
            source,
            launches: Vec::new(),
            buffers: Vec::new(),
            held: Vec::new(),
            tabled: Vec::new(),
            back: None,
            penalties: None,
            values: vec![None; tensors],
            gradients: vec![None; tensors],
            kept: vec![None; setting.graph.operations.len()],
            endings,
        }
    }

    fn images(&self) -> Argument<Place> {
        Argument::Int(self.setting.images as i32)
    }

    /// A new buffer of so many elements.
    fn buffer(&mut self, element: Element, count: usize) -> Place {
        let bytes = count * element.size();
        self.buffers.push(bytes);
        Place::Buffer { number: self.buffers.len() - 1, element, bytes }
    }

    /// Keeps a buffer for the host.
    fn hold(&mut self, place: Place) {
        if let Place::Buffer { number, .. } = place {
            self.held.push(number);
        }
    }

    /// Keeps a buffer to the end once something is in it.
    fn keep(&mut self, place: Place) {
        if let Place::Buffer { number, .. } = place {
            self.tabled.push(number);
        }
    }

    /// The values of a tensor, which has some by now or is about to.
    fn value(&mut self, tensor: usize) -> Place {
        match self.values[tensor] {
            Some(place) => place,
            None => {
                let place = self.buffer(Element::F32, self.setting.images * self.setting.graph.tensors[tensor]);
                self.values[tensor] = Some(place);
                place
            }
        }
    }

    /// The parameters of an operation.
    fn weights(&self, operation: &Operation) -> Argument<Place> {
        Argument::Read(parameters(Memory::Weights, &operation.weights))
    }

    fn launch(&mut self, draft: Draft) {
        let Draft { template, constants, threads, resident, grid, arguments } = draft;
        let kinds = arguments.iter().map(Argument::kind).collect();
        let kernel = self.source.add(Kernel { template, constants, threads, resident, arguments: kinds });
        self.launches.push(Launch { kernel, grid: grid.map(|blocks| blocks.max(1) as u32), arguments });
    }

    /// Launches a kernel whose threads go through `count` things one by one.
    fn each(&mut self, template: &'static str, constants: Constants, count: usize, arguments: Vec<Argument<Place>>) {
        let most = BLOCKS * self.setting.properties.multiprocessors;
        let grid = [count.div_ceil(THREADS as usize).min(most), 1, 1];
        self.launch(Draft { template, constants, threads: THREADS, resident: 1, grid, arguments });
    }

    /// Between which launches each buffer is needed.
    fn lives(&self) -> Vec<Buffer> {
        let unused = |&bytes: &usize| Buffer { bytes, first: usize::MAX, last: 0 };
        let mut lives: Vec<Buffer> = self.buffers.iter().map(unused).collect();
        for (number, launch) in self.launches.iter().enumerate() {
            for place in launch.arguments.iter().filter_map(Argument::place) {
                if let Place::Buffer { number: buffer, .. } = *place {
                    let life = &mut lives[buffer];
                    (life.first, life.last) = (life.first.min(number), number);
                }
            }
        }
        self.tabled.iter().for_each(|&buffer| lives[buffer].last = self.launches.len());
        self.held.iter().for_each(|&buffer| (lives[buffer].first, lives[buffer].last) = (0, self.launches.len()));
        lives
    }

    /// Gives the buffers places.
    fn finish(self) -> Finished {
        let (places, work) = arena::place(&self.lives());
        let mut finished = Finished { places, work, launches: Vec::with_capacity(self.launches.len()) };
        for launch in &self.launches {
            let arguments =
                launch.arguments.iter().map(|argument| argument.map(|place| finished.span(place))).collect();
            finished.launches.push(Launch { kernel: launch.kernel, grid: launch.grid, arguments });
        }
        finished
    }
}

/// A list of launches in memory.
struct Finished {
    launches: Vec<Launch>,
    /// The first byte of each buffer.
    places: Vec<usize>,
    /// Bytes of [`Memory::Work`].
    work: usize,
}

impl Finished {
    /// Where a place lies.
    fn span(&self, place: &Place) -> Span {
        match *place {
            Place::Memory(span) => span,
            Place::Buffer { number, element, bytes } => {
                Span { memory: Memory::Work, element, at: self.places[number], bytes }
            }
            Place::Work(element) => Span { memory: Memory::Work, element, at: 0, bytes: self.work },
        }
    }
}

/// Parameters in a memory that is as long as all of them.
fn parameters(memory: Memory, range: &Range<usize>) -> Place {
    let (element, size) = (Element::F32, Element::F32.size());
    Place::Memory(Span { memory, element, at: range.start * size, bytes: range.len() * size })
}

/// The operations of a plan, as the kernels here have them: normalisations and sums apply an activation behind them,
/// which so costs no passes over memory of its own.
pub(super) fn graph(plan: &Plan) -> Graph {
    let applies = |operation: &Operation| match operation.op {
        Op::BatchNormalization(_) => true,
        // A sum of one tensor is that tensor.
        Op::Add => operation.inputs.len() > 1,
        _ => false,
    };
    Graph::new(plan).joining(|operation, activation| activation != Activation::Softmax && applies(operation))
}

/// The activation that an operation's kernels apply to their output themselves: one that looks at single values, since a
/// plan has softmax in its last layer only, and no operation has that layer's.
fn ending(operation: &Operation) -> Activation {
    match operation.op {
        Op::Conv2D(_) | Op::DepthwiseConv2D(_) | Op::Dense(_) => operation.op.activation(),
        _ => operation.behind,
    }
}

/// An activation's number in the kernels.
fn number(activation: Activation) -> Constant {
    Constant::Int(match activation {
        Activation::Linear => 0,
        Activation::Relu => 1,
        Activation::Sigmoid => 2,
        Activation::Tanh => 3,
        Activation::Softmax => 4,
    })
}

fn int(value: usize) -> Constant {
    Constant::Int(value as i64)
}

/// A precision's number in the kernels.
fn precision(precision: Precision) -> Constant {
    Constant::Int(match precision {
        Precision::F32 => 0,
        Precision::Tf32 => 1,
        Precision::Bf16 => 2,
    })
}
