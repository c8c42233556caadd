//! From a plan to the steps that execute it, and what each step has to do on the way back.
//!
//! Each [`Step`] is one kernel over one or several operations of the [`Graph`], or a merge of tensors, or a batch
//! normalisation that learns, which alone looks at several images at once.

use super::aligned::LINE;
use super::kernel::Kernel;
use super::kernels;
use super::kernels::batch_normalization::BatchStatistics;
use super::lower::{Graph, Lowered};
use super::simd::Level;
use crate::layers::{Activation, Op};
use crate::plan::Plan;
use crate::shape::Shape;
use std::ops::Range;

/// What a step does.
pub(super) enum Action {
    /// Runs a kernel.
    Kernel(Box<dyn Kernel>),
    /// Sums its inputs.
    Add,
    /// Joins its inputs along rows, which take so many values of each.
    Concatenate(Vec<usize>),
    /// Normalises over the batch in a training step; runs the kernel, with moving statistics, everywhere else.
    Normalize(Box<dyn Kernel>, BatchStatistics),
}

/// A piece of work and its place in the network.
pub(super) struct Step {
    pub action: Action,
    /// Its part of the flat parameter buffer.
    pub weights: Range<usize>,
    /// Its part of the buffer of derived floats.
    pub derived: Range<usize>,
    pub inputs: Vec<Input>,
    /// The tensor that it makes.
    pub output: usize,
    /// The plan's number of its (first) layer.
    pub layer: usize,
    /// Whether anybody asks for a gradient that passes through here.
    pub backward: bool,
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
}

/// A plan as steps.
pub(super) struct Program {
    pub steps: Vec<Step>,
    /// Values an image of each tensor; 0 for those within a kernel.
    pub tensors: Vec<usize>,
    /// The tensor with the network's output.
    pub result: usize,
    /// Applied to the output, over rows of [`Program::row`] values.
    pub head: Activation,
    /// Length of the last axis of the output.
    pub row: usize,
    pub params: usize,
    /// The parameters whose gradients the way back writes: all from the first that is asked for.
    pub gradients: Range<usize>,
    /// The parameters that training changes, in pieces.
    pub pieces: Vec<Piece>,
    /// Floats derived from all weights.
    pub derived: usize,
    pub input: usize,
    pub output: usize,
}

/// Parameters in a piece.
const PIECE: usize = 4096;

impl Program {
    /// Chooses the kernels for `plan`. `exact` leaves out those that re-associate sums (Winograd and the like);
    /// `input_gradient` asks for the gradients of the network's input and of all weights, those that training leaves
    /// alone among them.
    pub fn new(plan: &Plan, exact: bool, level: Level, input_gradient: bool) -> Program {
        let mut graph = Graph::new(plan);
        graph.join_activations();
        let asked = asked_for(plan, &graph, input_gradient);
        let (mut steps, derived) = steps(plan, &graph, &asked, exact, level);
        mark_first(&mut steps, graph.tensors.len());
        forget_inner(&steps, &mut graph.tensors);
        let start =
            steps.iter().filter(|step| step.backward && !step.weights.is_empty()).map(|step| step.weights.start);
        let start = start.min().unwrap_or(plan.params);
        Program {
            steps,
            tensors: graph.tensors,
            result: graph.output,
            head: plan.layers.last().map_or(Activation::Linear, |layer| layer.op.activation()),
            row: plan.output.channels(),
            params: plan.params,
            gradients: start..plan.params,
            pieces: pieces(plan),
            derived,
            input: plan.input.len(),
            output: plan.output.len(),
        }
    }

    /// Whether a training step has to see the whole batch at once.
    pub fn normalizes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::Normalize(..)))
    }

    /// Floats an image of all tensors.
    pub fn tensor_floats(&self) -> usize {
        self.tensors.iter().sum()
    }

    /// The most scratch that a kernel wants for `images` images.
    pub fn scratch(&self, images: usize) -> usize {
        self.steps.iter().filter_map(Step::kernel).map(|kernel| kernel.scratch(images)).max().unwrap_or(0)
    }

    /// Values an image of the largest tensor whose gradient several steps add to.
    pub fn added(&self) -> usize {
        let added = self.steps.iter().flat_map(|step| &step.inputs).filter(|input| input.gradient && !input.first);
        added.map(|input| self.tensors[input.tensor]).max().unwrap_or(0)
    }
}

impl Step {
    /// The kernel, where the step is not a merge.
    pub fn kernel(&self) -> Option<&dyn Kernel> {
        match &self.action {
            Action::Kernel(kernel) | Action::Normalize(kernel, _) => Some(&**kernel),
            Action::Add | Action::Concatenate(_) => None,
        }
    }
}

/// For each tensor whether its gradient is asked for: where weights that training changes lie on the way to it.
fn asked_for(plan: &Plan, graph: &Graph, input_gradient: bool) -> Vec<bool> {
    let mut asked = vec![false; graph.tensors.len()];
    asked[0] = input_gradient;
    for operation in &graph.operations {
        let learns = plan.layers[operation.layer].trainable_params() > 0;
        asked[operation.result] = learns || operation.inputs.iter().any(|&input| asked[input]);
    }
    asked
}

/// The steps, and how many floats they derive from the weights.
fn steps(plan: &Plan, graph: &Graph, asked: &[bool], exact: bool, level: Level) -> (Vec<Step>, usize) {
    let consumers = graph.consumers();
    let (mut steps, mut derived, mut at) = (Vec::new(), 0, 0);
    while at < graph.operations.len() {
        let head = &graph.operations[at];
        let (action, covered) = action(plan, &graph.operations[at..], &consumers, asked, exact, level);
        let operations = &graph.operations[at..at + covered];
        let result = operations[covered - 1].result;
        let input = |&tensor: &usize| Input { tensor, gradient: asked[tensor], first: true };
        let mut step = Step {
            action,
            weights: head.weights.start..operations.iter().map(|one| one.weights.end).max().unwrap_or(0),
            derived: 0..0,
            inputs: head.inputs.iter().map(input).collect(),
            output: result,
            layer: head.layer,
            backward: asked[result],
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

/// What the head of these operations becomes, and how many of them it covers.
fn action(
    plan: &Plan,
    operations: &[Lowered],
    consumers: &[usize],
    asked: &[bool],
    exact: bool,
    level: Level,
) -> (Action, usize) {
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
    // A kernel may cover what follows as long as nothing else sees the tensors in between.
    let linked =
        operations.windows(2).take_while(|pair| consumers[pair[0].result] == 1 && pair[1].inputs == [pair[0].result]);
    let chain: Vec<(Op, Shape, Shape)> =
        operations[..=linked.count()].iter().map(|one| (one.op, one.input, one.output)).collect();
    let Some((kernel, covered)) = kernels::choose(&chain, !asked[head.inputs[0]], exact, level) else {
        unreachable!("the graph has dropped what moves nothing");
    };
    match head.op {
        Op::BatchNormalization(spec) if plan.layers[head.layer].trainable => {
            (Action::Normalize(kernel, BatchStatistics::new(spec, head.input.channels(), level)), 1)
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

/// Makes nothing of the tensors that lie within a kernel: they take no memory.
fn forget_inner(steps: &[Step], tensors: &mut [usize]) {
    for (tensor, len) in tensors.iter_mut().enumerate().skip(1) {
        if !steps.iter().any(|step| step.output == tensor) {
            *len = 0;
        }
    }
}

/// What training changes: neighbours that are treated alike, cut into pieces.
fn pieces(plan: &Plan) -> Vec<Piece> {
    let mut runs: Vec<Piece> = Vec::new();
    for (_, weight) in plan.weights().filter(|(_, weight)| weight.trainable) {
        let (range, l2) = (weight.range(), weight.l2 as f32);
        match runs.last_mut() {
            Some(run) if run.range.end == range.start && run.l2 == l2 => run.range.end = range.end,
            _ => runs.push(Piece { range, l2 }),
        }
    }
    let cut = |run: Piece| {
        let Piece { range, l2 } = run;
        range.clone().step_by(PIECE).map(move |start| Piece { range: start..range.end.min(start + PIECE), l2 })
    };
    runs.into_iter().flat_map(cut).collect()
}
