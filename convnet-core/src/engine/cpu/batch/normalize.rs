//! Batch normalisation in a training step: statistics of the whole batch.

use super::Run;
use super::Shared;
use crate::engine::cpu::disjoint::Disjoint;
use crate::engine::cpu::kernels::batch_normalization::{self, BatchStatistics};
use crate::engine::cpu::pass::{Group, Target};
use crate::engine::cpu::program::{Action, Program, Step};

/// A step that normalises, with its arithmetic.
pub(super) fn normalization(program: &Program, number: usize) -> (&Step, &BatchStatistics) {
    let step = &program.steps[number];
    let Action::Normalize(_, statistics) = &step.action else { unreachable!("the stage is a normalisation") };
    (step, statistics)
}

impl Run<'_, '_> {
    /// Lets every lane add to two sums a channel of its own, then adds those up in the order of the lanes.
    fn sum(&mut self, len: usize, add: impl Fn(&Shared<'_, '_>, &Group, &mut [f64]) + Sync) {
        let lanes = self.lanes();
        let sums = std::mem::take(&mut self.sums);
        {
            let sums = Disjoint::new(&mut *sums);
            self.each_group(|run, group, part| {
                // SAFETY: lanes have sums of their own.
                let sums = unsafe { sums.part(part.lane * len..(part.lane + 1) * len) };
                if part.first {
                    sums.fill(0.0);
                }
                add(run, group, sums);
            });
        }
        let totals = &mut self.totals[..len];
        totals.fill(0.0);
        for lane in sums[..lanes * len].chunks(len) {
            totals.iter_mut().zip(lane).for_each(|(total, sum)| *total += sum);
        }
        self.sums = sums;
    }

    pub(super) fn normalize(&mut self, number: usize, statistics: &mut [f32]) {
        let pass = self.whole.pass;
        let program = pass.program;
        let (step, arithmetic) = normalization(program, number);
        let weights = &pass.weights[step.weights.clone()];
        let input = step.inputs[0].tensor;
        let rows = self.images() * program.tensors[input] / arithmetic.channels();
        self.sum(arithmetic.sums(), |run, group, sums| {
            // SAFETY: the input is only read.
            let x = unsafe { run.store.read(program, input, &group.places) };
            arithmetic.add_sums(x, sums);
        });
        arithmetic.statistics(&self.totals[..arithmetic.sums()], rows, statistics);
        let statistics = &*statistics;
        self.each_group(|run, group, _| {
            // SAFETY: groups do not share images, and the input is only read.
            let (x, y) = unsafe {
                (run.store.read(program, input, &group.places), run.store.tensor(program, step.output, &group.places))
            };
            arithmetic.normalize(x, statistics, weights, y);
        });
    }

    pub(super) fn normalize_backward(&mut self, number: usize, statistics: &[f32]) {
        let pass = self.whole.pass;
        let program = pass.program;
        let (step, arithmetic) = normalization(program, number);
        if !step.backward {
            return;
        }
        let weights = &pass.weights[step.weights.clone()];
        let input = &step.inputs[0];
        let rows = self.images() * program.tensors[input.tensor] / arithmetic.channels();
        self.sum(arithmetic.sums(), |run, group, sums| {
            // SAFETY: input and gradient are only read.
            let (x, d_y) = unsafe {
                let x = run.store.read(program, input.tensor, &group.places);
                (x, &*run.store.gradient(program, step.output, &group.places))
            };
            arithmetic.add_backward_sums(x, d_y, statistics, sums);
        });
        let totals = &self.totals[..arithmetic.sums()];
        // SAFETY: no piece of work runs.
        unsafe {
            self.whole.gradients.set(step.stage, step.gradient.clone(), |d_weights| {
                arithmetic.weight_gradients(totals, d_weights);
            });
        }
        let totals = std::mem::take(&mut self.totals);
        let batch = batch_normalization::Batch { statistics, sums: &totals[..arithmetic.sums()], rows };
        self.each_group(|run, group, _| {
            // SAFETY: groups do not share images, the input is only read, the gradients of input and output have different
            // places, and a thread runs one piece at a time.
            unsafe {
                let x = run.store.read(program, input.tensor, &group.places);
                let d_y = run.store.gradient(program, step.output, &group.places);
                let scratch = run.whole.scratch.of(run.thread);
                if let Some(mut target) = Target::new(&pass, &run.store, input, &group.places, scratch.added) {
                    arithmetic.backward(x, d_y, batch, weights, target.write());
                    target.add(pass.level);
                }
            }
        });
        self.totals = totals;
    }
}
