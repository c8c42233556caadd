//! From a plan to the kernels that execute it.
//!
//! Each [`Step`] is one kernel over one or several layers. `Flatten` is no step: the same memory is read as a vector.
//! The activation of the last layer is left out of the steps: the loss works on what comes before it (the logits),
//! and [`Program::head`] says what prediction applies.

use super::aligned::LINE;
use super::kernel::Kernel;
use super::kernels;
use super::simd::Level;
use crate::layers::{Activation, Op};
use crate::plan::Plan;
use crate::shape::Shape;
use std::ops::Range;

/// A kernel and its place in the network.
pub(super) struct Step {
    pub kernel: Box<dyn Kernel>,
    /// Its part of the flat parameter buffer.
    pub weights: Range<usize>,
    /// Its part of the buffer of derived floats.
    pub derived: Range<usize>,
    /// Values an image that it takes and gives.
    pub input: usize,
    pub output: usize,
}

/// A plan as kernels.
pub(super) struct Program {
    pub steps: Vec<Step>,
    /// Applied to the output of the last step, over rows of [`Program::row`] values.
    pub head: Activation,
    /// Length of the last axis of the output.
    pub row: usize,
    pub params: usize,
    /// Floats derived from all weights.
    pub derived: usize,
    pub input: usize,
    pub output: usize,
}

impl Program {
    /// Chooses the kernels for `plan`. `exact` leaves out those that re-associate sums (Winograd and the like);
    /// `input_gradient` asks the first kernel, too, for the gradient of its input.
    pub fn new(plan: &Plan, exact: bool, level: Level, input_gradient: bool) -> Program {
        let head = plan.layers.last().map_or(Activation::Linear, |layer| layer.op.activation());
        let layers: Vec<(Op, Shape, Shape)> = plan
            .layers
            .iter()
            .enumerate()
            .map(|(i, layer)| {
                let last = i + 1 == plan.layers.len();
                let op = if last { layer.op.with_activation(Activation::Linear) } else { layer.op };
                (op, layer.input, layer.output)
            })
            .collect();

        let mut steps: Vec<Step> = Vec::new();
        let mut derived = 0;
        let mut at = 0;
        while at < layers.len() {
            let first = steps.is_empty() && !input_gradient;
            let Some((kernel, covered)) = kernels::choose(&layers[at..], first, exact, level) else {
                at += 1;
                continue;
            };
            let place = &plan.layers[at..at + covered];
            let len = kernel.derived();
            steps.push(Step {
                weights: span(place.iter().flat_map(|layer| layer.weights()).map(|weight| weight.range())),
                derived: derived..derived + len,
                input: layers[at].1.len(),
                output: layers[at + covered - 1].2.len(),
                kernel,
            });
            derived += len.next_multiple_of(LINE);
            at += covered;
        }
        Program {
            steps,
            head,
            row: plan.output.channels(),
            params: plan.params,
            derived,
            input: plan.input.len(),
            output: plan.output.len(),
        }
    }

    /// Floats an image between the steps: the input, and every step's output.
    pub fn boundary_floats(&self) -> usize {
        self.input + self.steps.iter().map(|step| step.output).sum::<usize>()
    }

    /// The most scratch that a step wants for `images` images.
    pub fn scratch(&self, images: usize) -> usize {
        self.steps.iter().map(|step| step.kernel.scratch(images)).max().unwrap_or(0)
    }
}

/// The range from the first start to the last end; empty for none.
fn span(ranges: impl Iterator<Item = Range<usize>>) -> Range<usize> {
    ranges.reduce(|all, range| all.start..range.end).unwrap_or(0..0)
}
