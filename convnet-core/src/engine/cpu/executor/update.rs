//! The update of the weights after a batch.

use super::{Executor, LANES, Training};
use crate::engine::cpu::disjoint::Disjoint;
use crate::engine::cpu::memory::Scratches;
use crate::engine::cpu::program::{Piece, Source};
use crate::engine::cpu::simd::{Level, vectorize};
use crate::engine::cpu::sums::{Add, AllFinite, SquareSum};
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
    pub slots: &'a mut [Vec<f32>],
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
    /// Sums the lanes' gradients in their order and lets the optimizer change the weights that training changes, which
    /// are copied to `previous` before; then moving statistics follow the batch's. `images` as in the call to
    /// [`Executor::differentiate`] before; `slots` holds the optimizer's state, a slice as long as the weights each.
    pub fn update(&mut self, images: usize, weights: Weights<'_>, optimizer: &Optimizer, step: u64) -> Update {
        let (lane_floats, level, program) = (self.lane_floats(), self.level, &self.program);
        let batch = match &self.training {
            Some(Training::Batch(batch)) => Some(batch),
            _ => None,
        };
        let Weights { current, previous, slots } = weights;
        let finite = AtomicBool::new(true);
        let lanes = Disjoint::new(&mut self.lanes);
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
                        Source::Lanes(start) => {
                            sum_lanes(level, &lanes, lane_floats, images, *start..start + range.len())
                        }
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
                previous.copy_from_slice(weights);
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
        let (lane_floats, level, program) = (self.lane_floats(), self.level, &self.program);
        let mut sum = vec![0.0; program.params];
        let lanes = Disjoint::new(&mut self.lanes);
        for step in program.steps.iter().filter(|step| !step.gradient.is_empty()) {
            // SAFETY: nothing else runs.
            let mut parts = (0..LANES.min(images)).map(|lane| unsafe {
                lanes.shared(lane * lane_floats + step.gradient.start..lane * lane_floats + step.gradient.end)
            });
            let sum = &mut sum[step.weights.clone()];
            sum.copy_from_slice(parts.next().unwrap_or(&[]));
            parts.for_each(|addend| vectorize(level, Add { sum: &mut *sum, addend, times: 1.0 }));
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

/// Adds the lanes' gradients of some weights to the first lane's, in their order.
///
/// # Safety
/// Nobody else uses this part of the lanes.
#[allow(clippy::mut_from_ref)] // as for `Disjoint::part`
unsafe fn sum_lanes<'a>(
    level: Level,
    lanes: &'a Disjoint<'_, f32>,
    lane_floats: usize,
    images: usize,
    range: Range<usize>,
) -> &'a mut [f32] {
    // SAFETY: the caller's promise; lanes are distinct buffers.
    unsafe {
        let sum = lanes.part(range.clone());
        for lane in 1..LANES.min(images) {
            let start = lane * lane_floats;
            let addend = lanes.shared(start + range.start..start + range.end);
            vectorize(level, Add { sum: &mut *sum, addend, times: 1.0 });
        }
        sum
    }
}

/// The optimizer's state as three shared slices, empty beyond those that it has.
fn split_slots(slots: &mut [Vec<f32>]) -> [Disjoint<'_, f32>; MAX_SLOTS] {
    let mut rest = slots.iter_mut();
    std::array::from_fn(|_| Disjoint::new(rest.next().map_or(&mut [], |slot| &mut slot[..])))
}

/// `range`, or nothing of a slot that the optimizer does not use.
fn within(slot: &Disjoint<'_, f32>, range: &Range<usize>) -> Range<usize> {
    if slot.is_empty() { 0..0 } else { range.clone() }
}
