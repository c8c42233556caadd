//! Batch normalisation in a training step: statistics of the whole batch.
//!
//! Its passes over maps have no rounds of their own: a group's values are summed up behind the steps that make them, and
//! normalised before the steps that take them, while they are in a core's cache; likewise on the way back. What lies
//! between two rounds is arithmetic on channels.

use super::{Run, Shared};
use crate::engine::cpu::kernels::batch_normalization::{Batch, BatchStatistics};
use crate::engine::cpu::lanes::Part;
use crate::engine::cpu::memory::Scratch;
use crate::engine::cpu::pass::{Group, Target};
use crate::engine::cpu::program::{Action, Program, Step};
use std::ops::Range;

/// A step that normalises, with its arithmetic.
pub(super) fn normalization(program: &Program, number: usize) -> (&Step, &BatchStatistics) {
    let step = &program.steps[number];
    let Action::Normalize(_, statistics) = &step.action else { unreachable!("the meeting is a normalisation") };
    (step, statistics)
}

/// The normalisations before and behind a stage: the steps, and where their statistics lie.
pub(super) struct Sides<'a> {
    pub above: Option<(usize, &'a Range<usize>)>,
    pub below: Option<(usize, &'a Range<usize>)>,
    /// Of all normalisations.
    pub statistics: &'a [f32],
}

impl Sides<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.above.is_none() && self.below.is_none()
    }
}

impl Run<'_, '_> {
    /// Adds up the lanes' sums in their order.
    fn add_up(&mut self, len: usize) {
        let lanes = self.lanes();
        let totals = &mut self.totals[..len];
        totals.fill(0.0);
        for lane in self.sums[..lanes * len].chunks(len) {
            totals.iter_mut().zip(lane).for_each(|(total, sum)| *total += sum);
        }
    }

    /// What the groups' sums say of the batch.
    pub(super) fn make_statistics(&mut self, number: usize, statistics: &mut [f32]) {
        let program = self.whole.pass.program;
        let (step, arithmetic) = normalization(program, number);
        self.add_up(arithmetic.sums());
        let rows = self.images() * program.tensors[step.output] / arithmetic.channels();
        arithmetic.statistics(&self.totals[..arithmetic.sums()], rows, statistics);
    }

    /// The same on the way back; gives the gradient of the layer's weights.
    pub(super) fn add_up_gradients(&mut self, number: usize) {
        let (step, arithmetic) = normalization(self.whole.pass.program, number);
        if !step.backward {
            return;
        }
        self.add_up(arithmetic.sums());
        let totals = &self.totals[..arithmetic.sums()];
        // SAFETY: no piece of work runs.
        unsafe {
            self.whole.gradients.set(step.stage, step.gradient.clone(), |d_weights| {
                arithmetic.weight_gradients(totals, d_weights);
            });
        }
    }
}

#[allow(clippy::mut_from_ref)] // as for `Disjoint::part`
impl Shared<'_, '_> {
    /// The lane's sums, which begin with its first part.
    ///
    /// # Safety
    /// The lane is the caller's alone.
    unsafe fn sums(&self, part: Part, len: usize) -> &mut [f64] {
        // SAFETY: lanes have sums of their own.
        let sums = unsafe { self.sums.part(part.lane * len..(part.lane + 1) * len) };
        if part.first {
            sums.fill(0.0);
        }
        sums
    }

    /// Sums up the input of the normalisation below.
    ///
    /// # Safety
    /// The group's images and the lane are the caller's alone.
    pub(super) unsafe fn add_sums(&self, sides: &Sides<'_>, group: &Group, part: Part) {
        let program = self.whole.pass.program;
        let Some((number, _)) = sides.below else { return };
        let (step, arithmetic) = normalization(program, number);
        // SAFETY: the caller's promise.
        let (x, sums) = unsafe {
            (self.store.read(program, step.inputs[0].tensor, &group.places), self.sums(part, arithmetic.sums()))
        };
        arithmetic.add_sums(x, sums);
    }

    /// The output of the normalisation above.
    ///
    /// # Safety
    /// The group's images are the caller's alone.
    pub(super) unsafe fn normalize(&self, sides: &Sides<'_>, group: &Group) {
        let pass = &self.whole.pass;
        let Some((number, at)) = sides.above else { return };
        let (step, arithmetic) = normalization(pass.program, number);
        // SAFETY: the caller's promise; input and output are different tensors.
        let (x, y) = unsafe {
            (
                self.store.read(pass.program, step.inputs[0].tensor, &group.places),
                self.store.tensor(pass.program, step.output, &group.places),
            )
        };
        arithmetic.normalize(x, &sides.statistics[at.clone()], &pass.weights[step.weights.clone()], y);
    }

    /// The output of the normalisation above, where it is not there any more.
    ///
    /// # Safety
    /// The group's images are the caller's alone.
    pub(super) unsafe fn normalize_again(&self, sides: &Sides<'_>, group: &Group) {
        let output = |(number, _): (usize, _)| self.whole.pass.program.steps[number].output;
        if sides.above.is_some_and(|above| self.store.layout.remade(output(above))) {
            // SAFETY: the caller's promise.
            unsafe { self.normalize(sides, group) };
        }
    }

    /// Sums up the gradient of the output of the normalisation above.
    ///
    /// # Safety
    /// The group's images and the lane are the caller's alone.
    pub(super) unsafe fn add_backward_sums(&self, sides: &Sides<'_>, group: &Group, part: Part) {
        let program = self.whole.pass.program;
        let Some((number, at)) = sides.above else { return };
        let (step, arithmetic) = normalization(program, number);
        if !step.backward {
            return;
        }
        // SAFETY: the caller's promise.
        let (x, y, d_y, sums) = unsafe {
            (
                self.store.read(program, step.inputs[0].tensor, &group.places),
                self.store.read(program, step.output, &group.places),
                self.store.gradient(program, step.output, &group.places),
                self.sums(part, arithmetic.sums()),
            )
        };
        arithmetic.through_activation(y, d_y);
        arithmetic.add_backward_sums(x, d_y, &sides.statistics[at.clone()], sums);
    }

    /// The gradient of the input of the normalisation below.
    ///
    /// # Safety
    /// The group's images are the caller's alone.
    pub(super) unsafe fn normalize_backward(&self, sides: &Sides<'_>, scratch: &mut Scratch<'_>, group: &Group) {
        let pass = &self.whole.pass;
        let Some((number, at)) = sides.below else { return };
        let (step, arithmetic) = normalization(pass.program, number);
        let input = &step.inputs[0];
        if !step.backward {
            return;
        }
        let rows = self.images * pass.program.tensors[input.tensor] / arithmetic.channels();
        let batch = Batch { statistics: &sides.statistics[at.clone()], sums: &self.totals[..arithmetic.sums()], rows };
        // SAFETY: the caller's promise; the gradients of input and output have different places.
        unsafe {
            let x = self.store.read(pass.program, input.tensor, &group.places);
            let d_y = self.store.gradient(pass.program, step.output, &group.places);
            if let Some(mut target) = Target::new(pass, &self.store, input, &group.places, scratch.added) {
                arithmetic.backward(x, d_y, batch, &pass.weights[step.weights.clone()], target.write());
                target.add(pass.level);
            }
        }
    }
}
