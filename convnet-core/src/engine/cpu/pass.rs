//! A group of images on its way through a [`Program`] and back, in the buffers of one worker.

use super::aligned::LINE;
use super::executor::Outcome;
use super::kernel::{Backward, Forward};
use super::program::{Program, Step};
use crate::data::Samples;
use crate::train::Loss;
use std::ops::Range;

/// Where a worker's buffers lie within its share.
pub(super) struct WorkerLayout {
    /// Input and outputs of the steps, each for a group of images.
    pub boundaries: Vec<Range<usize>>,
    /// The gradients with respect to the same; only two at a time are alive, so even and odd ones share.
    pub gradients: [Range<usize>; 2],
    pub scratch: Range<usize>,
    /// All of it, in whole cache lines.
    pub floats: usize,
    /// What the steps keep, in bytes.
    kept: Vec<Range<usize>>,
    pub kept_bytes: usize,
}

impl WorkerLayout {
    pub fn new(program: &Program, group: usize) -> WorkerLayout {
        let mut floats = 0;
        let mut take = |len: usize| {
            let start = floats;
            floats += len.next_multiple_of(LINE);
            start..start + len
        };
        let sizes = || std::iter::once(program.input).chain(program.steps.iter().map(|step| step.output));
        let boundaries = sizes().map(|len| take(group * len)).collect();
        let largest = |parity: usize| sizes().skip(parity).step_by(2).max().unwrap_or(0);
        let gradients = [take(group * largest(0)), take(group * largest(1))];
        let scratch = take(program.scratch(group));
        let mut kept_bytes = 0;
        let kept = program
            .steps
            .iter()
            .map(|step| {
                let start = kept_bytes;
                let len = group * step.kernel.kept();
                kept_bytes += len.next_multiple_of(64);
                start..start + len
            })
            .collect();
        WorkerLayout { boundaries, gradients, scratch, floats, kept, kept_bytes }
    }

    /// What step number `i` keeps of a group of `images`.
    fn kept<'a>(&self, kept: &'a mut [u8], step: &Step, i: usize, images: usize) -> &'a mut [u8] {
        &mut kept[self.kept[i].clone()][..images * step.kernel.kept()]
    }
}

/// One worker's buffers.
pub(super) struct Worker<'a> {
    pub floats: &'a mut [f32],
    pub kept: &'a mut [u8],
}

impl Worker<'_> {
    /// A group's values at a boundary: 0 is the network's input, `i + 1` the output of step `i`.
    pub fn boundary(&mut self, layout: &WorkerLayout, number: usize) -> &mut [f32] {
        &mut self.floats[layout.boundaries[number].clone()]
    }

    /// One image's values at a boundary of `len` values an image.
    pub fn slot(&mut self, layout: &WorkerLayout, number: usize, slot: usize, len: usize) -> &mut [f32] {
        &mut self.boundary(layout, number)[slot * len..(slot + 1) * len]
    }
}

/// What the passes of one batch share.
pub(super) struct Pass<'a> {
    pub program: &'a Program,
    pub layout: &'a WorkerLayout,
    pub weights: &'a [f32],
    pub derived: &'a [f32],
}

impl Pass<'_> {
    pub fn forward(&self, worker: &mut Worker<'_>, images: usize, training: bool) {
        for (i, step) in self.program.steps.iter().enumerate() {
            let layout = self.layout;
            let ranges = [layout.boundaries[i].clone(), layout.boundaries[i + 1].clone(), layout.scratch.clone()];
            let [input, output, scratch] = disjoint(worker.floats, ranges);
            let kept = if training { layout.kept(worker.kept, step, i, images) } else { &mut [] };
            step.kernel.forward(Forward {
                images,
                training,
                noise: None,
                weights: &self.weights[step.weights.clone()],
                derived: &self.derived[step.derived.clone()],
                input: &input[..images * step.input],
                output: &mut output[..images * step.output],
                kept,
                scratch,
            });
        }
    }

    /// Losses of a group, and their gradient, times `scale`, with respect to the logits.
    pub fn losses(
        &self,
        worker: &mut Worker<'_>,
        samples: &Samples,
        group: &[u32],
        loss: &Loss,
        scale: f32,
    ) -> Outcome {
        let (layout, last, len) = (self.layout, self.program.steps.len(), self.program.output);
        let ranges = [layout.boundaries[last].clone(), layout.gradients[last % 2].clone()];
        let [logits, gradient] = disjoint(worker.floats, ranges);
        let mut outcome = Outcome { images: group.len(), ..Outcome::default() };
        let rows = logits.chunks(len).zip(gradient.chunks_mut(len));
        for (&index, (logits, gradient)) in group.iter().zip(rows) {
            let label = samples.labels()[index as usize];
            let found = loss.evaluate(self.program.head, logits, label, Some(gradient), scale);
            outcome.loss += found.loss;
            outcome.correct += usize::from(found.correct);
        }
        outcome
    }

    /// Gradients with respect to the weights and, if `to_input`, to boundary 0, of which that of the last boundary is
    /// given.
    pub fn backward(
        &self,
        worker: &mut Worker<'_>,
        images: usize,
        gradient: &mut [f32],
        accumulate: bool,
        to_input: bool,
    ) {
        for (i, step) in self.program.steps.iter().enumerate().rev() {
            let layout = self.layout;
            let ranges = [
                layout.boundaries[i].clone(),
                layout.boundaries[i + 1].clone(),
                layout.gradients[i % 2].clone(),
                layout.gradients[(i + 1) % 2].clone(),
                layout.scratch.clone(),
            ];
            let [input, output, d_input, d_output, scratch] = disjoint(worker.floats, ranges);
            step.kernel.backward(Backward {
                images,
                noise: None,
                weights: &self.weights[step.weights.clone()],
                derived: &self.derived[step.derived.clone()],
                input: &input[..images * step.input],
                output: &output[..images * step.output],
                kept: layout.kept(worker.kept, step, i, images),
                d_output: &mut d_output[..images * step.output],
                d_input: (i > 0 || to_input).then_some(&mut d_input[..images * step.input]),
                d_weights: &mut gradient[step.weights.clone()],
                accumulate,
                scratch,
            });
        }
    }
}

/// Several parts of one slice at once; they must not overlap, which the layout sees to and this checks.
fn disjoint<const N: usize>(floats: &mut [f32], ranges: [Range<usize>; N]) -> [&mut [f32]; N] {
    match floats.get_disjoint_mut(ranges) {
        Ok(parts) => parts,
        Err(error) => unreachable!("the layout's ranges are disjoint and inside: {error}"),
    }
}
