//! The update of the weights after a batch.

use super::{Executor, Training};
use crate::engine::cpu::aligned::Floats;
use crate::engine::cpu::disjoint::Disjoint;
use crate::engine::cpu::memory::Scratches;
use crate::engine::cpu::program::{Piece, Source};
use crate::engine::cpu::simd::vectorize;
use crate::engine::cpu::sums::{Add, AllFinite, SetAside, SquareSum};
use crate::train::Optimizer;
use crate::train::optimizer::MAX_SLOTS;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// What an update changes.
pub struct Weights<'a> {
    /// The parameters.
    pub current: &'a mut [f32],
    /// Receives the parameters as they were.
    pub previous: &'a mut [f32],
    /// The optimizer's state.
    pub slots: &'a mut [Floats],
}

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Whether all weights that it changed are still finite, moving statistics among them.
    pub finite: bool,
    /// What the weights' squares added to the loss before it.
    pub penalty: f64,
}

impl Executor {
    /// Completes the sums of the lanes' gradients and lets the optimizer change the weights that training changes, which
    /// are copied to `previous` before; then moving statistics follow the batch's. `images` as in the call to
    /// [`Executor::differentiate`] before; `slots` holds the optimizer's state, a slice as long as the weights each.
    pub fn update(&mut self, images: usize, weights: Weights<'_>, optimizer: &Optimizer, step: u64) -> Update {
        let (level, program) = (self.level, &self.program);
        let batch = match &self.training {
            Some(Training::Batch(batch)) => Some(batch),
            _ => None,
        };
        let Weights { current, previous, slots } = weights;
        let finite = AtomicBool::new(true);
        let gradients = self.lanes.of_batch(images);
        let scratch = Scratches { all: Disjoint::new(&mut self.scratch), floats: self.scratch_floats };
        let penalties = Disjoint::new(&mut self.penalties);
        {
            let (weights, previous) = (Disjoint::new(&mut *current), Disjoint::new(&mut *previous));
            let slots: [Disjoint<'_, f32>; MAX_SLOTS] = split_slots(slots);
            self.pool.run(program.pieces.len(), &|thread, number| {
                let Piece { range, l2, source } = &program.pieces[number];
                let l2 = *l2;
                // SAFETY: the pieces do not overlap, and each is one item; a thread runs one item at a time.
                let (gradient, weights, previous, slots, penalty) = unsafe {
                    let gradient = match source {
                        Source::Lanes { stage, place } => gradients.sum(level, *stage, *place..place + range.len()),
                        Source::Wide(step, rows) => {
                            let gradient = &mut scratch.of(thread).kernel[..range.len()];
                            if let Some(batch) = batch {
                                let (dense, inputs, d_outputs) = batch.wide(program, *step, images);
                                dense.weight_gradient(rows, inputs, &d_outputs, gradient);
                            }
                            gradient
                        }
                    };
                    let slots = slots.each_ref().map(|slot| slot.part(within(slot, range)));
                    let penalty = &mut penalties.part(number..number + 1)[0];
                    (gradient, weights.part(range.clone()), previous.part(range.clone()), slots, penalty)
                };
                vectorize(level, SetAside { from: weights, to: previous });
                if l2 > 0.0 {
                    *penalty = f64::from(l2) * vectorize(level, SquareSum(weights));
                    vectorize(level, Add { sum: &mut *gradient, addend: weights, times: 2.0 * l2 });
                }
                optimizer.update(step, weights, gradient, slots, level);
                if !vectorize(level, AllFinite(weights)) {
                    finite.store(false, Ordering::Relaxed);
                }
            });
        }
        let mut finite = finite.into_inner();
        if let Some(batch) = batch {
            finite &= batch.follow(program, current, previous, level);
        }
        self.prepare(current);
        Update { finite, penalty: self.penalties.iter().sum() }
    }

    /// What the weights' squares add to the loss.
    pub fn penalty(&self, weights: &[f32]) -> f64 {
        let pieces = self.program.pieces.iter().filter(|piece| piece.l2 > 0.0);
        pieces.map(|piece| f64::from(piece.l2) * vectorize(self.level, SquareSum(&weights[piece.range.clone()]))).sum()
    }

    /// The summed gradient of the last [`Executor::differentiate`], without penalties, before any update: for tests and
    /// tools. Zero for weights that no gradient was asked for.
    pub fn gradient(&mut self, images: usize) -> Vec<f32> {
        let program = &self.program;
        let mut sum = vec![0.0; program.params];
        let gradients = self.lanes.of_batch(images);
        let steps = || program.steps.iter().filter(|step| !step.gradient.is_empty());
        // SAFETY: nothing else runs.
        unsafe {
            for step in steps() {
                let found = gradients.sum(self.level, step.stage, step.gradient.clone());
                sum[step.weights.clone()].copy_from_slice(found);
            }
            // The update sums once more.
            for step in steps() {
                let found = &sum[step.weights.clone()];
                gradients.set(step.stage, step.gradient.clone(), |gradient| gradient.copy_from_slice(found));
            }
        }
        if let Some(Training::Batch(batch)) = &self.training {
            for Piece { range, source, .. } in &program.pieces {
                if let Source::Wide(step, rows) = source {
                    let (dense, inputs, d_outputs) = batch.wide(program, *step, images);
                    dense.weight_gradient(rows, inputs, &d_outputs, &mut sum[range.clone()]);
                }
            }
        }
        sum
    }
}

/// The optimizer's state as three shared slices, empty beyond those that it has.
fn split_slots(slots: &mut [Floats]) -> [Disjoint<'_, f32>; MAX_SLOTS] {
    let mut rest = slots.iter_mut();
    std::array::from_fn(|_| Disjoint::new(rest.next().map_or(&mut [], |slot| &mut slot[..])))
}

/// `range`, or nothing of a slot that the optimizer does not use.
fn within(slot: &Disjoint<'_, f32>, range: &Range<usize>) -> Range<usize> {
    if slot.is_empty() { 0..0 } else { range.clone() }
}
