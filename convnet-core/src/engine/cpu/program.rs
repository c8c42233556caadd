//! From a plan to the steps that execute it, and what each step has to do on the way back.
//!
//! Each [`Step`] is one kernel over one or several operations of the [`Graph`], or a merge of tensors, or a batch
//! normalisation that learns, or a wide dense layer: these look at several images at once in a training step.

use super::aligned::LINE;
use super::executor::Settings;
use super::fold::{Fold, linked};
use super::kernel::Kernel;
use super::kernels;
use super::kernels::batch_normalization::{BatchNormalization, BatchStatistics};
use super::kernels::wide_dense::WideDense;
use crate::engine::graph::Graph;
use crate::layers::{Activation, Op};
use crate::plan::Plan;
use crate::shape::Shape;
use std::collections::HashSet;
use std::ops::Range;

/// What a step does.
pub(super) enum Action {
    /// Runs a kernel.
    Kernel(Box<dyn Kernel>),
    /// Sums its inputs.
    Add,
    /// Joins its inputs along rows, which take so many values of each.
    Concatenate(Vec<usize>),
    /// Normalises over the batch in a training step, with the activation behind; runs the kernel, with moving statistics,
    /// everywhere else.
    Normalize(Box<dyn Kernel>, BatchStatistics),
    /// Takes all images at once in a training step; runs the kernel everywhere else.
    Wide(Box<dyn Kernel>, WideDense),
}

/// A piece of work and its place in the network.
pub(super) struct Step {
    pub action: Action,
    /// Its part of the flat parameter buffer.
    pub weights: Range<usize>,
    /// Its part of the buffer of derived floats.
    pub derived: Range<usize>,
    /// Its part of a lane's gradient; empty where it has none.
    pub gradient: Range<usize>,
    pub inputs: Vec<Input>,
    /// The tensor that it makes.
    pub output: usize,
    /// The plan's number of its (first) layer.
    pub layer: usize,
    /// Whether anybody asks for a gradient that passes through here.
    pub backward: bool,
    /// Which of the [`Program::stages`] it belongs to.
    pub stage: usize,
}

/// A tensor that a step takes.
pub(super) struct Input {
    pub tensor: usize,
    /// Whether its gradient is asked for.
    pub gradient: bool,
    /// Whether the step is the first on the way back to write that gradient; later ones add to it.
    pub first: bool,
}

/// Parameters that are updated as one piece of work.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub range: Range<usize>,
    /// The factor of their sum of squares in the loss.
    pub l2: f32,
    pub source: Source,
}

/// Derived floats that are filled as one piece of work.
pub(super) struct DerivedPart {
    /// Whose kernel does it.
    pub step: usize,
    /// Which of the kernel's parts it is.
    pub number: usize,
    pub range: Range<usize>,
}

/// Where the gradient of a piece comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    /// The lanes' gradients of a stage, from this place on, summed.
    Lanes { stage: usize, place: usize },
    /// Rows of the weights of this step, a wide dense layer.
    Wide(usize, Range<usize>),
}

/// What prediction does next.
pub(super) enum Next {
    /// A step, by its number.
    Step(usize),
    /// A fold instead of several, and its places in the buffer of folded floats: weights, and what is derived from them.
    Fold(Fold, [Range<usize>; 2]),
}

/// A plan as steps.
pub(super) struct Program {
    pub steps: Vec<Step>,
    /// Stages of a training step, each step at which images meet being one, and what lies between two of them another.
    pub stages: usize,
    /// The steps of prediction, and how many floats its folds have.
    pub forward: Vec<Next>,
    pub folded: usize,
    /// Values an image of each tensor; 0 for those inside of a step, which are nowhere.
    pub tensors: Vec<usize>,
    /// The tensor with the network's output.
    pub result: usize,
    /// Applied to the output, over rows of [`Program::row`] values.
    pub head: Activation,
    /// Length of the last axis of the output.
    pub row: usize,
    pub params: usize,
    /// Floats of a lane's gradient: that of all weights which the way back writes, step by step, but of wide layers.
    pub gradients: usize,
    /// The parameters that training changes, in pieces.
    pub pieces: Vec<Piece>,
    /// Floats derived from all weights.
    pub derived: usize,
    /// The parts in which they are filled.
    pub derived_parts: Vec<DerivedPart>,
    pub input: usize,
    pub output: usize,
}

/// Parameters in a piece.
const PIECE: usize = 4096;

/// Floats of a step's weights, as they are and derived, that no cache of a core's own holds.
const HEAVY: usize = 512 * 1024;

impl Program {
    /// Chooses the kernels for `plan`.
    pub fn new(plan: &Plan, settings: &Settings) -> Program {
        let graph = Graph::new(plan);
        let asked = graph.asked_for(plan, settings.input_gradient);
        let (mut steps, derived) = steps(plan, &graph, &asked, settings);
        let (forward, folded) = forward(&graph, &steps, settings);
        mark_first(&mut steps, graph.tensors.len());
        let gradients = place_gradients(&mut steps);
        let stages = number_stages(&mut steps);
        Program {
            forward,
            folded,
            tensors: made(&steps, graph.tensors),
            result: graph.output,
            head: plan.layers.last().map_or(Activation::Linear, |layer| layer.op.activation()),
            row: plan.output.channels(),
            params: plan.params,
            gradients,
            stages,
            pieces: pieces(plan, &steps),
            derived,
            derived_parts: derived_parts(&steps),
            input: plan.input.len(),
            output: plan.output.len(),
            steps,
        }
    }

    /// Whether a training step has to see the whole batch at once.
    pub fn meets(&self) -> bool {
        self.steps.iter().any(Step::meets)
    }

    /// Whether some step's weights are so many that reading them for every few images would cost more than the images.
    pub fn heavy(&self) -> bool {
        self.steps.iter().any(|step| step.weights.len() + step.derived.len() > HEAVY)
    }

    /// Floats an image of all tensors.
    pub fn tensor_floats(&self) -> usize {
        self.tensors.iter().sum()
    }

    /// The most scratch that a kernel wants for `images` images.
    pub fn scratch(&self, images: usize) -> usize {
        let folds = self.forward.iter().filter_map(|next| match next {
            Next::Fold(fold, _) => Some(&*fold.kernel),
            Next::Step(_) => None,
        });
        self.steps.iter().filter_map(Step::kernel).chain(folds).map(|kernel| kernel.scratch(images)).max().unwrap_or(0)
    }

    /// The tensors that a step of prediction takes and makes.
    pub fn tensors_of<'a>(&'a self, next: &'a Next) -> (impl Iterator<Item = usize> + use<'a>, usize) {
        let (inputs, input, output) = match next {
            Next::Step(number) => (&self.steps[*number].inputs[..], None, self.steps[*number].output),
            Next::Fold(fold, _) => (&[][..], Some(fold.input), fold.output),
        };
        (inputs.iter().map(|input| input.tensor).chain(input), output)
    }

    /// Floats an image of the tensors of a stage: what its steps take and make, with the output of the normalisation above
    /// and the input of the one below.
    pub fn stage_floats(&self, stage: usize) -> usize {
        let tensors = self.steps.iter().flat_map(|step| {
            let inputs = step.inputs.iter().filter(move |_| step.taken_in() == stage).map(|input| input.tensor);
            let made = step.stage == stage || (step.normalizes() && step.stage + 1 == stage);
            inputs.chain(made.then_some(step.output))
        });
        tensors.collect::<HashSet<usize>>().into_iter().map(|tensor| self.tensors[tensor]).sum()
    }

    /// Floats of the largest gradient that waits beside another to be added to it, with so many images a group in each stage.
    pub fn added(&self, groups: &[usize]) -> usize {
        let added = self.steps.iter().flat_map(|step| {
            let added = step.inputs.iter().filter(|input| input.gradient && !input.first);
            added.map(|input| groups[step.taken_in()] * self.tensors[input.tensor])
        });
        added.max().unwrap_or(0)
    }

    /// Floats of the largest gradient that is not added by the kernel that makes it.
    pub fn sum(&self) -> usize {
        let kept_apart = self.steps.iter().filter(|step| step.kernel().is_some_and(|kernel| !kernel.adds_sums()));
        kept_apart.map(|step| step.gradient.len()).max().unwrap_or(0)
    }
}

impl Step {
    /// The kernel, where the step is not a merge.
    pub fn kernel(&self) -> Option<&dyn Kernel> {
        match &self.action {
            Action::Kernel(kernel) | Action::Normalize(kernel, _) | Action::Wide(kernel, _) => Some(&**kernel),
            Action::Add | Action::Concatenate(_) => None,
        }
    }

    /// Whether all images of a batch meet here in a training step.
    pub fn meets(&self) -> bool {
        self.normalizes() || self.wide()
    }

    /// Whether it normalises over the batch.
    pub fn normalizes(&self) -> bool {
        matches!(self.action, Action::Normalize(..))
    }

    /// The stage whose workers take its inputs: its own, or the one above a normalisation.
    pub fn taken_in(&self) -> usize {
        self.stage - usize::from(self.normalizes())
    }

    /// Whether it is a wide dense layer, whose gradient no lane has.
    pub fn wide(&self) -> bool {
        matches!(self.action, Action::Wide(..))
    }
}

/// The steps, and how many floats they derive from the weights.
fn steps(plan: &Plan, graph: &Graph, asked: &[bool], settings: &Settings) -> (Vec<Step>, usize) {
    let consumers = graph.consumers();
    let (mut steps, mut derived, mut at) = (Vec::new(), 0, 0);
    while at < graph.operations.len() {
        let head = &graph.operations[at];
        let (action, covered) = action(plan, graph, at, &consumers, asked, settings);
        let operations = &graph.operations[at..at + covered];
        let result = operations[covered - 1].result;
        let input = |&tensor: &usize| Input { tensor, gradient: asked[tensor], first: true };
        let mut step = Step {
            action,
            weights: head.weights.start..operations.iter().map(|one| one.weights.end).max().unwrap_or(0),
            derived: 0..0,
            gradient: 0..0,
            inputs: head.inputs.iter().map(input).collect(),
            output: result,
            layer: head.layer,
            backward: asked[result],
            stage: 0,
        };
        if head.weights.is_empty() {
            step.weights = 0..0;
        }
        let len = step.kernel().map_or(0, Kernel::derived);
        step.derived = derived..derived + len;
        derived += len.next_multiple_of(LINE);
        steps.push(step);
        at += covered;
    }
    (steps, derived)
}

fn derived_parts(steps: &[Step]) -> Vec<DerivedPart> {
    let mut parts = Vec::new();
    for (step, one) in steps.iter().enumerate() {
        let mut start = one.derived.start;
        for (number, len) in one.kernel().map_or(Vec::new(), Kernel::derived_parts).into_iter().enumerate() {
            if len > 0 {
                parts.push(DerivedPart { step, number, range: start..start + len });
            }
            start += len;
        }
        // Threads fill them at once: none may reach into another step's.
        assert_eq!(start, one.derived.end, "the parts are all");
    }
    parts
}

/// The steps of prediction, and how many floats their folds have.
fn forward(graph: &Graph, steps: &[Step], settings: &Settings) -> (Vec<Next>, usize) {
    let consumers = graph.consumers();
    let (mut forward, mut folded, mut at, mut number) = (Vec::new(), 0, 0, 0);
    let mut take = |len: usize| {
        let start = folded;
        folded += len.next_multiple_of(LINE);
        start..start + len
    };
    while at < graph.operations.len() {
        let operations = &graph.operations[at..];
        let before = number;
        let result = match Fold::new(&operations[..linked(operations, &consumers)], settings) {
            Some((fold, count)) => {
                let places = [take(fold.weights()), take(fold.kernel.derived())];
                forward.push(Next::Fold(fold, places));
                operations[count - 1].result
            }
            None => {
                forward.push(Next::Step(number));
                steps[number].output
            }
        };
        number += 1 + steps[number..].iter().take_while(|step| step.output != result).count();
        at += 1 + operations.iter().take_while(|one| one.result != result).count();
        debug_assert!(number > before && number <= steps.len(), "a step ends where a fold does");
    }
    (forward, folded)
}

/// The sizes of those tensors that are there between the steps.
fn made(steps: &[Step], sizes: Vec<usize>) -> Vec<usize> {
    let made: HashSet<usize> = steps.iter().map(|step| step.output).chain([0]).collect();
    sizes.into_iter().enumerate().map(|(tensor, size)| if made.contains(&tensor) { size } else { 0 }).collect()
}

/// Whether a dense layer of so many weights had better take the whole batch at once, see [`Settings::wide`]. That all tensors
/// of a batch are kept has its price, too, which many weights are worth, and few where the tensors are small.
fn is_wide(weights: usize, graph: &Graph, wide: usize) -> bool {
    let values: usize = graph.tensors.iter().sum();
    weights >= wide && (weights >= wide.saturating_mul(8) || 2 * weights > values)
}

/// What the operations from `at` on become, and how many of them it covers.
fn action(
    plan: &Plan,
    graph: &Graph,
    at: usize,
    consumers: &[usize],
    asked: &[bool],
    settings: &Settings,
) -> (Action, usize) {
    let operations = &graph.operations[at..];
    let head = &operations[0];
    match head.op {
        Op::Add => return (Action::Add, 1),
        Op::Concatenate => {
            let layer = &plan.layers[head.layer];
            let channels = layer.inputs().iter().map(|&input| plan.tensor(input).channels());
            return (Action::Concatenate(channels.collect()), 1);
        }
        _ => {}
    }
    let linked = &operations[..linked(operations, consumers)];
    let chain: Vec<(Op, Shape, Shape)> = linked.iter().map(|one| (one.op, one.input, one.output)).collect();
    let Settings { level, wide, .. } = *settings;
    if let Op::BatchNormalization(spec) = head.op
        && plan.layers[head.layer].trainable
    {
        // What stands behind it joins it: one pass and one tensor less.
        let (activation, covered) = match linked.get(1).map(|below| below.op) {
            Some(Op::Activation(activation)) if activation != Activation::Softmax => (activation, 2),
            _ => (Activation::Linear, 1),
        };
        let passes = BatchStatistics::new(spec, head.input.channels(), level).with_activation(activation);
        return (Action::Normalize(Box::new(BatchNormalization::of(passes)), passes), covered);
    }
    let Some((kernel, covered)) = kernels::choose(&chain, !asked[head.inputs[0]], settings.arithmetic()) else {
        unreachable!("the graph has dropped what moves nothing");
    };
    match head.op {
        // Who asks for all gradients gets them image by image.
        Op::Dense(spec)
            if is_wide(head.weights.len(), graph, wide) && asked[head.result] && !settings.input_gradient =>
        {
            // The other kernel is left with prediction.
            let kernel = kernels::dense(spec, head.input.len(), true, settings.arithmetic());
            (Action::Wide(kernel, WideDense::new(spec, head.input.len(), level)), covered)
        }
        _ => (Action::Kernel(kernel), covered),
    }
}

/// Finds for each gradient the step that writes it first on the way back.
fn mark_first(steps: &mut [Step], tensors: usize) {
    let mut written = vec![false; tensors];
    for input in steps.iter_mut().rev().flat_map(|step| &mut step.inputs) {
        input.first = !std::mem::replace(&mut written[input.tensor], true);
    }
}

/// Gives each step that has one its part of a lane's gradient; gives the length of all.
fn place_gradients(steps: &mut [Step]) -> usize {
    let mut len = 0;
    for step in steps.iter_mut().filter(|step| step.backward && !step.wide()) {
        step.gradient = len..len + step.weights.len();
        len = step.gradient.end;
    }
    len
}

/// Says of each step in which stage it is; gives how many there are.
fn number_stages(steps: &mut [Step]) -> usize {
    let mut stage = 0;
    for step in steps {
        let meets = usize::from(step.meets());
        step.stage = stage + meets;
        stage += 2 * meets;
    }
    stage + 1
}

/// What training changes: neighbours that are treated alike, cut into pieces.
fn pieces(plan: &Plan, steps: &[Step]) -> Vec<Piece> {
    let (mut runs, mut wide): (Vec<Piece>, Vec<Piece>) = Default::default();
    for (_, weight) in plan.weights().filter(|(_, weight)| weight.trainable) {
        let (range, l2) = (weight.range(), weight.l2 as f32);
        let of = |step: &Step| step.weights.contains(&range.start);
        let Some((number, step)) = steps.iter().enumerate().find(|(_, step)| of(step)) else { continue };
        if let Action::Wide(_, dense) = &step.action {
            let piece = |rows: Range<usize>| {
                let [start, end] = [rows.start, rows.end].map(|row| step.weights.start + row * dense.units());
                Piece { range: start..end, l2, source: Source::Wide(number, rows) }
            };
            wide.extend(dense.rows(range.start - step.weights.start..range.end - step.weights.start).map(piece));
            continue;
        }
        let place = step.gradient.start + range.start - step.weights.start;
        let source = Source::Lanes { stage: step.stage, place };
        match runs.last_mut() {
            Some(run) if run.range.end == range.start && run.l2 == l2 && run.goes_on(&source) => {
                run.range.end = range.end;
            }
            _ => runs.push(Piece { range, l2, source }),
        }
    }
    wide.into_iter().chain(runs.into_iter().flat_map(Piece::cut)).collect()
}

impl Piece {
    /// Whether its gradient ends where that one begins.
    fn goes_on(&self, source: &Source) -> bool {
        match &self.source {
            &Source::Lanes { stage, place } => *source == Source::Lanes { stage, place: place + self.range.len() },
            Source::Wide(..) => false,
        }
    }

    /// Pieces of at most [`PIECE`] parameters.
    fn cut(self) -> impl Iterator<Item = Piece> {
        self.range.clone().step_by(PIECE).map(move |start| {
            let source = match &self.source {
                &Source::Lanes { stage, place } => Source::Lanes { stage, place: place + start - self.range.start },
                whole => whole.clone(),
            };
            Piece { range: start..self.range.end.min(start + PIECE), l2: self.l2, source }
        })
    }
}

#[cfg(test)]
mod tests;
