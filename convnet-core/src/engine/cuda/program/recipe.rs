//! What a training step, an evaluation, a prediction and a gradient consist of.

use super::backward::Back;
use super::forward::Way;
use super::product::Parts;
use super::tables::{ROW, in_table, run_constants, runs};
use super::{Builder, Draft, Finished, Place, Setting, THREADS, int, number, parameters};
use crate::engine::Precision;
use crate::engine::cuda::backend::{Argument, Launch, Memory, Properties, Role, Span};
use crate::engine::cuda::choices::Choices;
use crate::engine::cuda::optimizer;
use crate::engine::cuda::source::{Constant, Constants, Element, Source};
use crate::engine::graph::{Graph, Operation};
use crate::layers::Activation;
use crate::plan::Plan;
use crate::train::{Loss, Optimizer};
use std::ops::Range;

/// A data set on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine::cuda) struct Set {
    pub role: Role,
    /// Whether its values are bytes.
    pub bytes: bool,
    pub images: usize,
    /// Length of the order in which its images are visited; 0 for theirs.
    pub order: usize,
}

/// What is to be done with how many images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine::cuda) enum Kind {
    /// A training step.
    Train { set: Set, images: usize },
    /// Losses without gradients.
    Evaluate { set: Set, images: usize },
    /// Outputs.
    Predict { images: usize },
    /// Outputs, and the gradients of inputs and weights for given ones of the outputs.
    PullBack { images: usize },
}

/// Launches, and where the host finds what it writes and reads. Empty spans where it does neither.
#[derive(Clone, Debug)]
pub(in crate::engine::cuda) struct Recipe {
    pub launches: Vec<Launch>,
    /// Bytes of [`Memory::Work`].
    pub work: usize,
    pub input: Span,
    pub output: Span,
    pub d_output: Span,
    pub d_input: Span,
    /// The gradient of all parameters.
    pub d_weights: Span,
}

/// Writes recipes whose kernels stand in one source and whose tables in one memory.
pub(in crate::engine::cuda) struct Writer<'a> {
    pub plan: &'a Plan,
    pub graph: &'a Graph,
    pub properties: Properties,
    pub precision: Precision,
    pub choices: &'a Choices,
    pub optimizer: &'a Optimizer,
    pub loss: &'a Loss,
    pub seed: u64,
    pub source: Source,
    /// What [`Memory::Tables`] has to hold.
    pub tables: Vec<u32>,
}

impl Writer<'_> {
    /// The launches of `kind`.
    pub fn recipe(&mut self, kind: Kind) -> Recipe {
        match kind {
            Kind::Train { set, images } => self.train(set, images),
            Kind::Evaluate { set, images } => self.evaluate(set, images),
            Kind::Predict { images } => self.predict(images),
            Kind::PullBack { images } => self.pull_back(images),
        }
    }

    fn setting(&self, images: usize) -> Setting<'_> {
        let Writer { graph, properties, precision, choices, .. } = *self;
        Setting { graph, properties, precision, images, choices }
    }

    /// The activation that the plan's last layer ends in.
    fn head(&self) -> Activation {
        self.plan.layers.last().map_or(Activation::Linear, |layer| layer.op.activation())
    }

    fn train(&mut self, set: Set, images: usize) -> Recipe {
        let (plan, graph) = (self.plan, self.graph);
        let learns = |operation: &Operation| plan.layers[operation.layer].trainable;
        let wanted = |operation: &Operation| plan.layers[operation.layer].trainable_params() > 0;
        let way = Way { back: true, training: Some(self.seed) };
        let asked = graph.asked_for(plan, false);
        let (mut constants, settings) = optimizer::constants(self.optimizer);
        constants.push(("PARAMS", int(plan.params)));
        constants.extend(run_constants());
        let mut source = std::mem::take(&mut self.source);
        let mut builder = Builder::new(self.setting(images), &mut source);
        builder.gather(set);
        builder.forward(way, learns);
        let has_back = asked[graph.output];
        let losses = builder.loss(self.loss, self.head(), set, has_back);
        builder.tally(losses, true);
        let parts = match has_back {
            true => {
                let back = Back::new(&builder, asked);
                builder.backward(back, way, learns, wanted)
            }
            false => Vec::new(),
        };
        let runs = runs(plan, graph, &parts, |weight| weight.trainable);
        let table = self.tables.len();
        if !runs.is_empty() {
            builder.update(table..table + runs.len() * ROW, constants, settings, self.optimizer.slots(), plan);
            if runs.iter().any(|run| run.l2 > 0.0) {
                builder.add_penalties(runs.len());
            }
        }
        let moves = builder.moves(learns);
        let table = table + runs.len() * ROW;
        builder.follow(table..table + moves.len() * ROW, plan);
        let finished = builder.finish_with(&parts);
        self.tables.extend(runs.iter().flat_map(|run| run.row(graph, &parts, &finished)));
        self.tables.extend(moves.iter().flat_map(|moving| moving.row(&finished)));
        self.source = source;
        Recipe::new(finished, [None; 5])
    }

    fn evaluate(&mut self, set: Set, images: usize) -> Recipe {
        let mut source = std::mem::take(&mut self.source);
        let mut builder = Builder::new(self.setting(images), &mut source);
        builder.gather(set);
        builder.forward(Way { back: false, training: None }, |_| false);
        let losses = builder.loss(self.loss, self.head(), set, false);
        builder.tally(losses, false);
        let finished = builder.finish_with(&[]);
        self.source = source;
        Recipe::new(finished, [None; 5])
    }

    fn predict(&mut self, images: usize) -> Recipe {
        let (head, shape) = (self.head(), self.plan.output);
        let mut source = std::mem::take(&mut self.source);
        let mut builder = Builder::new(self.setting(images), &mut source);
        let input = builder.value(0);
        builder.hold(input);
        builder.forward(Way { back: false, training: None }, |_| false);
        let output = builder.value(self.graph.output);
        builder.hold(output);
        if head != Activation::Linear {
            builder.activate(head, shape, output, output);
        }
        let finished = builder.finish_with(&[]);
        self.source = source;
        Recipe::new(finished, [Some(input), Some(output), None, None, None])
    }

    /// Goes by the model alone, whatever was measured for other recipes: gradients that somebody looks at are asked for once,
    /// as a rule, and are to be the same each time.
    fn pull_back(&mut self, images: usize) -> Recipe {
        let unmeasured = Choices::default();
        let (plan, graph, head) = (self.plan, self.graph, self.head());
        let wanted = |operation: &Operation| !operation.weights.is_empty();
        let way = Way { back: true, training: None };
        let mut source = std::mem::take(&mut self.source);
        let setting = Setting { choices: &unmeasured, ..self.setting(images) };
        let mut builder = Builder::new(setting, &mut source);
        let input = builder.value(0);
        builder.forward(way, |_| false);
        let floats = images * plan.output.len();
        let (output, d_output) = (builder.buffer(Element::F32, floats), builder.buffer(Element::F32, floats));
        let logits = builder.value(graph.output);
        builder.activate(head, plan.output, logits, output);
        let d_logits = builder.buffer(Element::F32, floats);
        builder.gradients[graph.output] = Some(d_logits);
        builder.activation_backward(head, plan.output, output, d_output, Argument::Write(d_logits));
        let back = Back::new(&builder, graph.asked_for(plan, true));
        let parts = builder.backward(back, way, |_| false, wanted);
        let d_input = builder.gradients[0].unwrap_or(d_logits);
        let d_weights = builder.buffer(Element::F32, plan.params);
        let runs = runs(plan, graph, &parts, |_| true);
        let table = self.tables.len();
        if !runs.is_empty() {
            builder.sum_gradients(table..table + runs.len() * ROW, d_weights);
        }
        for place in [input, output, d_output, d_input, d_weights] {
            builder.hold(place);
        }
        let finished = builder.finish_with(&parts);
        self.tables.extend(runs.iter().flat_map(|run| run.row(graph, &parts, &finished)));
        self.source = source;
        Recipe::new(finished, [Some(input), Some(output), Some(d_output), Some(d_input), Some(d_weights)])
    }
}

impl Recipe {
    fn new(finished: Finished, places: [Option<Place>; 5]) -> Recipe {
        let none = Span { memory: Memory::Work, element: Element::F32, at: 0, bytes: 0 };
        let [input, output, d_output, d_input, d_weights] =
            places.map(|place| place.map_or(none, |place| finished.span(&place)));
        let Finished { launches, work, .. } = finished;
        Recipe { launches, work, input, output, d_output, d_input, d_weights }
    }
}

/// Buffers with a loss and a verdict for each image.
struct Losses {
    losses: Place,
    correct: Place,
}

/// The one state.
pub(super) fn state() -> Place {
    whole(Memory::State, Element::State, 1)
}

/// A memory from its beginning.
fn whole(memory: Memory, element: Element, count: usize) -> Place {
    Place::Memory(Span { memory, element, at: 0, bytes: count * element.size() })
}

impl Builder<'_> {
    /// The images of a batch as the network's input.
    fn gather(&mut self, set: Set) {
        let size = self.setting.graph.tensors[0];
        let element = if set.bytes { Element::U8 } else { Element::F32 };
        let input = self.value(0);
        let arguments = vec![
            Argument::Read(whole(Memory::Pixels(set.role), element, set.images * size)),
            Argument::Read(whole(Memory::Order, Element::U32, set.order)),
            Argument::Read(state()),
            Argument::Write(input),
            self.images(),
        ];
        let (bytes, ordered) = (Constant::Bool(set.bytes), Constant::Bool(set.order > 0));
        let constants = vec![("SIZE", int(size)), ("BYTES", bytes), ("ORDERED", ordered)];
        self.each("gather", constants, self.setting.images * size, arguments);
    }

    /// The loss of each image, and, if a way back follows, its gradient.
    fn loss(&mut self, loss: &Loss, head: Activation, set: Set, back: bool) -> Losses {
        let (images, output) = (self.setting.images, self.setting.graph.output);
        let size = self.setting.graph.tensors[output];
        let losses = Losses { losses: self.buffer(Element::F64, images), correct: self.buffer(Element::U32, images) };
        let logits = self.value(output);
        let d_logits = self.buffer(Element::F32, if back { images * size } else { 1 });
        if back {
            self.gradients[output] = Some(d_logits);
        }
        let kind = match loss {
            Loss::CategoricalCrossentropy(_) | Loss::SparseCategoricalCrossentropy(_) => 0,
            Loss::BinaryCrossentropy(_) => 1,
            Loss::MeanSquaredError(_) => 2,
        };
        let constants = vec![
            ("OUTPUTS", int(size)),
            ("KIND", int(kind)),
            ("ACTIVATION", number(head)),
            ("FROM_LOGITS", Constant::Bool(loss.takes_logits())),
            ("SMOOTHING", Constant::Float(loss.label_smoothing())),
            ("ORDERED", Constant::Bool(set.order > 0)),
            ("GRADIENT", Constant::Bool(back)),
        ];
        let arguments = vec![
            Argument::Read(logits),
            Argument::Read(whole(Memory::Labels(set.role), Element::U32, set.images)),
            Argument::Read(whole(Memory::Order, Element::U32, set.order)),
            Argument::Read(state()),
            Argument::Write(d_logits),
            Argument::Write(losses.losses),
            Argument::Write(losses.correct),
            self.images(),
        ];
        self.each("loss", constants, 32 * images, arguments);
        losses
    }

    /// Adds the losses of a batch up and counts it.
    fn tally(&mut self, Losses { losses, correct }: Losses, training: bool) {
        let arguments = vec![Argument::Read(losses), Argument::Read(correct), Argument::Update(state()), self.images()];
        let constants = vec![("TRAINING", Constant::Bool(training))];
        self.launch(Draft { template: "tally", constants, threads: THREADS, resident: 1, grid: [1; 3], arguments });
    }

    fn update(
        &mut self,
        table: Range<usize>,
        constants: Constants,
        [rate, a, b, c, d]: [f32; 5],
        slots: usize,
        plan: &Plan,
    ) {
        let rows = table.len() / ROW;
        let penalties = self.buffer(Element::F64, rows);
        self.penalties = Some(penalties);
        let slots = Span { memory: Memory::Slots, element: Element::F32, at: 0, bytes: 4 * plan.params * slots };
        let all = 0..plan.params;
        let mut arguments = vec![
            Argument::Read(in_table(table)),
            Argument::Read(Place::Work(Element::F32)),
            Argument::Update(parameters(Memory::Weights, &all)),
            Argument::Update(parameters(Memory::Previous, &all)),
            Argument::Update(Place::Memory(slots)),
            Argument::Write(penalties),
            Argument::Update(state()),
        ];
        arguments.extend([rate, a, b, c, d].map(Argument::Float));
        self.launch(Draft {
            template: "update",
            constants,
            threads: THREADS,
            resident: 1,
            grid: [rows, 1, 1],
            arguments,
        });
    }

    fn add_penalties(&mut self, rows: usize) {
        let Some(penalties) = self.penalties else { return };
        let arguments =
            vec![Argument::Read(penalties), Argument::Update(state()), Argument::Int(rows as i32), self.images()];
        let (template, constants) = ("add_penalties", Vec::new());
        self.launch(Draft { template, constants, threads: THREADS, resident: 1, grid: [1; 3], arguments });
    }

    pub(super) fn sum_gradients(&mut self, table: Range<usize>, sums: Place) {
        let grid = [table.len() / ROW, 1, 1];
        let arguments =
            vec![Argument::Read(in_table(table)), Argument::Read(Place::Work(Element::F32)), Argument::Update(sums)];
        let (template, constants) = ("sum_gradients", run_constants());
        self.launch(Draft { template, constants, threads: THREADS, resident: 1, grid, arguments });
    }

    /// Gives the buffers places; those of weights' gradients, which are found through a table, keep theirs to the end.
    pub(super) fn finish_with(mut self, parts: &[Option<Parts>]) -> Finished {
        parts.iter().flatten().for_each(|parts| self.keep(parts.place));
        self.finish()
    }
}
