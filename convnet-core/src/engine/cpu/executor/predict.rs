//! What needs no training step: losses, predictions, and gradients for those who look into a network.

use super::{Executor, LANES, Outcome, sum_outcomes};
use crate::data::Samples;
use crate::engine::PullBack;
use crate::engine::cpu::disjoint::Disjoint;
use crate::engine::cpu::kernels::activate;
use crate::engine::cpu::layout::Layout;
use crate::engine::cpu::memory::{Memory, Scratches};
use crate::engine::cpu::pass::{Group, Onto, Pass};
use crate::engine::cpu::program::Next;
use crate::train::Loss;
use std::ops::Range;

impl Executor {
    /// Losses over the samples `range`, without gradients and penalties.
    pub fn evaluate(&mut self, samples: &Samples, range: Range<usize>, weights: &[f32], loss: &Loss) -> Outcome {
        let mut total = Outcome::default();
        self.fold(weights);
        let room = LANES * self.forward.layout.room;
        for start in range.clone().step_by(room) {
            let block = start..range.end.min(start + room);
            total.add(self.evaluate_block(samples, block, weights, loss));
        }
        total
    }

    /// Makes the folded weights, if these have changed since.
    fn fold(&mut self, weights: &[f32]) {
        if std::mem::replace(&mut self.folds_are_made, true) {
            return;
        }
        let folded = Disjoint::new(&mut self.folded);
        let steps = &self.program.forward;
        self.pool.run(steps.len(), &|_, i| {
            if let Next::Fold(fold, [to, derived]) = &steps[i] {
                // SAFETY: places do not overlap, and each fold is one item.
                let (to, derived) = unsafe { (folded.part(to.clone()), folded.part(derived.clone())) };
                fold.prepare(weights, to, derived);
            }
        });
    }

    fn evaluate_block(&mut self, samples: &Samples, block: Range<usize>, weights: &[f32], loss: &Loss) -> Outcome {
        let program = &self.program;
        let folded = &self.folded;
        let workers = self.forward.workers();
        let layout = workers.layout;
        let scratch = Scratches { all: Disjoint::new(&mut self.scratch), floats: self.scratch_floats };
        let outcomes = Disjoint::new(&mut self.lane_outcomes);
        let pass = Pass { program, weights, derived: &self.derived, level: self.level, training: None };
        let items = block.len().div_ceil(layout.room);
        self.pool.run(items, &|thread, item| {
            // SAFETY: a thread runs one item at a time, and each thread and each item has a part of its own.
            let (store, mut scratch, outcome) =
                unsafe { (workers.store(thread), scratch.of(thread), &mut outcomes.part(item..item + 1)[0]) };
            let first = block.start + item * layout.room;
            let images = layout.room.min(block.end - first);
            let group = Group { places: 0..images, first: 0 };
            // SAFETY: the store is this thread's alone.
            let logits = unsafe {
                let inputs = store.tensor(program, 0, &group.places);
                inputs
                    .chunks_mut(program.input)
                    .enumerate()
                    .for_each(|(slot, input)| samples.write(first + slot, input));
                pass.predict(&store, &mut scratch, folded, &group);
                store.read(program, program.result, &group.places)
            };
            *outcome = Outcome { images, ..Outcome::default() };
            for (slot, logits) in logits.chunks(program.output).enumerate() {
                let found = loss.evaluate(program.head, logits, samples.labels()[first + slot], None, 1.0);
                outcome.loss += found.loss;
                outcome.correct += usize::from(found.correct);
            }
        });
        sum_outcomes(&self.lane_outcomes[..items])
    }

    /// The network's outputs for `inputs`, one image after the other.
    pub fn predict(&mut self, inputs: &[f32], outputs: &mut [f32], weights: &[f32]) {
        self.fold(weights);
        let (program, level) = (&self.program, self.level);
        let images = inputs.len() / program.input.max(1);
        let folded = &self.folded;
        let workers = self.forward.workers();
        // A few images are shared out, too: no result depends on which images go together. Smaller shares would be
        // more even, but many weights are better read once.
        let shares = self.pool.threads() * if program.heavy() { 1 } else { 2 };
        let room = workers.layout.room.min(images.div_ceil(shares)).max(1);
        let scratch = Scratches { all: Disjoint::new(&mut self.scratch), floats: self.scratch_floats };
        let pass = Pass { program, weights, derived: &self.derived, level, training: None };
        // Of several images each has a thread of its own sooner than a share of all: not every step has parts.
        if images == 1 {
            // SAFETY: nothing else runs, and no slice outlives the next use of the store.
            let store = unsafe { workers.store(0) };
            for (input, output) in inputs.chunks_exact(program.input).zip(outputs.chunks_exact_mut(program.output)) {
                // SAFETY: as above.
                unsafe {
                    store.tensor(program, 0, &(0..1)).copy_from_slice(input);
                    pass.predict_on(&mut self.pool, &store, &scratch, folded);
                    output.copy_from_slice(store.read(program, program.result, &(0..1)));
                }
                activate::activate(level, program.head, output, program.row);
            }
            return;
        }
        let outputs = Disjoint::new(outputs);
        self.pool.run(images.div_ceil(room), &|thread, item| {
            let (first, last) = (item * room, images.min((item + 1) * room));
            // SAFETY: a thread runs one item at a time, and each thread and each item has a part of its own.
            let (store, mut scratch, output) = unsafe {
                let output = outputs.part(first * program.output..last * program.output);
                (workers.store(thread), scratch.of(thread), output)
            };
            let group = Group { places: 0..last - first, first };
            // SAFETY: the store is this thread's alone.
            unsafe {
                let input = &inputs[first * program.input..last * program.input];
                store.tensor(program, 0, &group.places).copy_from_slice(input);
                pass.predict(&store, &mut scratch, folded, &group);
                output.copy_from_slice(store.read(program, program.result, &group.places));
            }
            activate::activate(level, program.head, output, program.row);
        });
    }

    /// Outputs, and what a gradient with respect to them means for weights and input: the vector-Jacobian product, with
    /// moving statistics and without dropout.
    ///
    /// `d_outputs` is as long as the outputs. Works image by image on the calling thread, which is enough for
    /// visualisation and tests. Needs [`Settings::input_gradient`](super::Settings::input_gradient).
    pub fn pull_back(&mut self, inputs: &[f32], d_outputs: &[f32], weights: &[f32]) -> PullBack {
        self.reserve_scratch([self.program.scratch(1), self.program.added(&vec![1; self.program.stages]), 0]);
        let (program, level) = (&self.program, self.level);
        let mut lane = vec![0.0; program.gradients];
        let mut memory = Memory::new(Layout::group(program, 1), 1);
        let workers = memory.workers();
        let scratch = Scratches { all: Disjoint::new(&mut self.scratch), floats: self.scratch_floats };
        let pass = Pass { program, weights, derived: &self.derived, level, training: None };
        // SAFETY: nothing else runs.
        let (store, mut scratch) = unsafe { (workers.store(0), scratch.of(0)) };
        let (group, steps) = (Group { places: 0..1, first: 0 }, 0..program.steps.len());
        let mut result = PullBack {
            outputs: Vec::with_capacity(d_outputs.len()),
            d_weights: vec![0.0; program.params],
            d_input: Vec::with_capacity(inputs.len()),
        };
        for (input, d_output) in inputs.chunks(program.input).zip(d_outputs.chunks(program.output)) {
            // SAFETY: nothing else runs, and no slice outlives the next use of the store.
            unsafe {
                store.tensor(program, 0, &group.places).copy_from_slice(input);
                pass.forward(&store, &mut scratch, steps.clone(), &group);
                let mut output = store.read(program, program.result, &group.places).to_vec();
                activate::activate(level, program.head, &mut output, program.row);
                let gradient = store.gradient(program, program.result, &group.places);
                gradient.copy_from_slice(d_output);
                activate::activate_backward(level, program.head, &output, gradient, program.row);
                pass.backward(&store, &mut scratch, steps.clone(), &group, &mut lane, Onto::Images);
                result.outputs.extend_from_slice(&output);
                result.d_input.extend_from_slice(store.gradient(program, 0, &group.places));
            }
        }
        for step in program.steps.iter().filter(|step| !step.gradient.is_empty()) {
            result.d_weights[step.weights.clone()].copy_from_slice(&lane[step.gradient.clone()]);
        }
        result
    }
}
