//! Training steps of networks with batch normalisation, which looks at the whole batch.
//!
//! The tensors of all images are kept. Between two normalisations the lanes go their way as always, each through its own
//! images; at a normalisation they meet: each lane sums over its images, the sums are added in the order of the lanes, and
//! each lane normalises its images by the result. The way back does the same in reverse. So the sums have a fixed order
//! here, too, and the result does not depend on the number of threads.

use super::aligned::Floats;
use super::disjoint::Disjoint;
use super::executor::{LANES, Outcome, lane_of};
use super::kernels::batch_normalization::{self, BatchStatistics};
use super::layout::Layout;
use super::memory::{Scratches, write_inputs};
use super::pass::{Group, Pass, Store, Target};
use super::pool::Pool;
use super::program::{Action, Program, Step};
use super::simd::{Level, vectorize};
use super::sums::AllFinite;
use crate::data::Samples;
use crate::train::Loss;
use std::ops::Range;

/// A run of steps, or a normalisation.
#[derive(Clone, Debug)]
enum Stage {
    /// Steps that take each image by itself.
    Images(Range<usize>),
    /// A normalisation: the step, and where its statistics lie.
    Normalize(usize, Range<usize>),
}

/// Memory for training on whole batches.
pub(super) struct Batch {
    layout: Layout,
    floats: Floats,
    kept: Vec<u8>,
    stages: Vec<Stage>,
    /// Two sums a channel for each lane.
    sums: Vec<f64>,
    /// Their totals.
    totals: Vec<f64>,
    /// Means, variances and what else belongs to the batch, normalisation by normalisation.
    statistics: Vec<f32>,
}

/// What a step shares with the executor.
pub(super) struct Whole<'a> {
    pub pass: Pass<'a>,
    pub scratch: &'a Scratches<'a>,
    pub lanes: &'a Disjoint<'a, f32>,
    pub lane_floats: usize,
    pub outcomes: &'a Disjoint<'a, Outcome>,
}

/// A step that normalises, with its arithmetic.
fn normalization(program: &Program, number: usize) -> (&Step, &BatchStatistics) {
    let step = &program.steps[number];
    let Action::Normalize(_, statistics) = &step.action else { unreachable!("the stage is a normalisation") };
    (step, statistics)
}

impl Batch {
    /// Memory for batches of up to `images` images.
    pub fn new(program: &Program, images: usize) -> Batch {
        let layout = Layout::new(program, images, false);
        let (mut stages, mut statistics, mut widest) = (Vec::new(), 0, 0);
        for (number, step) in program.steps.iter().enumerate() {
            match (&step.action, stages.last_mut()) {
                (Action::Normalize(_, one), _) => {
                    let end = statistics + one.statistics_len();
                    stages.push(Stage::Normalize(number, statistics..end));
                    statistics = end;
                    widest = one.sums().max(widest);
                }
                (_, Some(Stage::Images(steps))) => steps.end = number + 1,
                _ => stages.push(Stage::Images(number..number + 1)),
            }
        }
        Batch {
            floats: Floats::zeros(layout.floats),
            kept: vec![0; layout.kept_bytes],
            layout,
            stages,
            sums: vec![0.0; LANES * widest],
            totals: vec![0.0; widest],
            statistics: vec![0.0; statistics],
        }
    }

    /// How many images a batch may have.
    pub fn room(&self) -> usize {
        self.layout.room
    }

    /// One batch forward and backward, in groups of at most `room` images.
    pub fn differentiate(
        &mut self,
        pool: &mut Pool,
        whole: &Whole<'_>,
        room: usize,
        (samples, indices): (&Samples, &[u32]),
        loss: &Loss,
    ) {
        let Batch { layout, floats, kept, stages, sums, totals, statistics } = self;
        let store = Store { layout, floats: Disjoint::new(floats), kept: Disjoint::new(kept) };
        let mut run = Run { pool, whole, store, images: indices.len(), room, sums, totals };
        run.each_group(|run, group, _| {
            // SAFETY: groups do not share images.
            unsafe { write_inputs(run.store, run.whole.pass.program, group, (samples, &indices[group.places.clone()])) }
        });
        for stage in stages.iter() {
            match stage {
                Stage::Images(steps) => run.forward(steps),
                Stage::Normalize(number, at) => run.normalize(*number, &mut statistics[at.clone()]),
            }
        }
        run.losses((samples, indices), loss);
        for stage in stages.iter().rev() {
            match stage {
                Stage::Images(steps) => run.backward(steps),
                Stage::Normalize(number, at) => run.normalize_backward(*number, &statistics[at.clone()]),
            }
        }
    }

    /// Lets the moving statistics follow those of the last batch; `previous` receives them as they were. Gives whether
    /// all are still finite.
    pub fn follow(&self, program: &Program, current: &mut [f32], previous: &mut [f32], level: Level) -> bool {
        let mut finite = true;
        for stage in &self.stages {
            if let Stage::Normalize(number, at) = stage {
                let (step, arithmetic) = normalization(program, *number);
                let moving = arithmetic.moving(step.weights.clone());
                previous[moving.clone()].copy_from_slice(&current[moving.clone()]);
                arithmetic.follow(&self.statistics[at.clone()], &mut current[step.weights.clone()]);
                finite &= vectorize(level, AllFinite(&current[moving]));
            }
        }
        finite
    }
}

/// One batch on its way.
struct Run<'a, 'w> {
    pool: &'a mut Pool,
    whole: &'a Whole<'w>,
    store: Store<'a>,
    images: usize,
    /// The most images of a group.
    room: usize,
    sums: &'a mut [f64],
    totals: &'a mut [f64],
}

/// What the pieces of a run share.
struct Shared<'a, 'w> {
    whole: &'a Whole<'w>,
    store: &'a Store<'a>,
}

/// A piece of work on a lane.
struct Lane {
    number: usize,
    thread: usize,
    /// Whether this is not the lane's first group.
    later: bool,
}

impl Run<'_, '_> {
    fn lanes(&self) -> usize {
        LANES.min(self.images)
    }

    /// Calls `work` with every group of every lane, the groups of a lane in their order.
    fn each_group(&mut self, work: impl Fn(&Shared<'_, '_>, &Group, Lane) + Sync) {
        let (lanes, images, room) = (self.lanes(), self.images, self.room);
        let shared = Shared { whole: self.whole, store: &self.store };
        self.pool.run(lanes, &|thread, number| {
            let lane = lane_of(number, images);
            for start in lane.clone().step_by(room) {
                let places = start..lane.end.min(start + room);
                let group = Group { first: start, places };
                work(&shared, &group, Lane { number, thread, later: start > lane.start });
            }
        });
    }

    fn forward(&mut self, steps: &Range<usize>) {
        self.each_group(|run, group, lane| {
            // SAFETY: groups do not share images, and a thread runs one piece at a time.
            unsafe {
                let mut scratch = run.whole.scratch.of(lane.thread);
                run.whole.pass.forward(run.store, &mut scratch, steps.clone(), group, true);
            }
        });
    }

    fn backward(&mut self, steps: &Range<usize>) {
        self.each_group(|run, group, lane| {
            // SAFETY: groups do not share images, lanes have gradients of their own, and a thread runs one piece at a time.
            unsafe {
                let mut scratch = run.whole.scratch.of(lane.thread);
                let gradient = run.whole.gradient(lane.number);
                run.whole.pass.backward(run.store, &mut scratch, steps.clone(), group, gradient, lane.later);
            }
        });
    }

    fn losses(&mut self, (samples, indices): (&Samples, &[u32]), loss: &Loss) {
        let scale = 1.0 / self.images as f32;
        self.each_group(|run, group, lane| {
            let samples = (samples, &indices[group.places.clone()]);
            // SAFETY: groups do not share images, nor lanes outcomes.
            unsafe {
                let outcome = &mut run.whole.outcomes.part(lane.number..lane.number + 1)[0];
                if !lane.later {
                    *outcome = Outcome::default();
                }
                outcome.add(run.whole.pass.losses(run.store, group, samples, loss, scale));
            }
        });
    }

    /// Lets every lane add to two sums a channel of its own, then adds those up in the order of the lanes.
    fn sum(&mut self, len: usize, add: impl Fn(&Shared<'_, '_>, &Group, &mut [f64]) + Sync) {
        let lanes = self.lanes();
        let sums = std::mem::take(&mut self.sums);
        {
            let sums = Disjoint::new(&mut *sums);
            self.each_group(|run, group, lane| {
                // SAFETY: lanes have sums of their own.
                let sums = unsafe { sums.part(lane.number * len..(lane.number + 1) * len) };
                if !lane.later {
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

    fn normalize(&mut self, number: usize, statistics: &mut [f32]) {
        let pass = self.whole.pass;
        let program = pass.program;
        let (step, arithmetic) = normalization(program, number);
        let weights = &pass.weights[step.weights.clone()];
        let input = step.inputs[0].tensor;
        let rows = self.images * program.tensors[input] / arithmetic.channels();
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

    fn normalize_backward(&mut self, number: usize, statistics: &[f32]) {
        let pass = self.whole.pass;
        let program = pass.program;
        let (step, arithmetic) = normalization(program, number);
        if !step.backward {
            return;
        }
        let weights = &pass.weights[step.weights.clone()];
        let input = &step.inputs[0];
        let rows = self.images * program.tensors[input.tensor] / arithmetic.channels();
        self.sum(arithmetic.sums(), |run, group, sums| {
            // SAFETY: input and gradient are only read.
            let (x, d_y) = unsafe {
                let x = run.store.read(program, input.tensor, &group.places);
                (x, &*run.store.gradient(program, step.output, &group.places))
            };
            arithmetic.add_backward_sums(x, d_y, statistics, sums);
        });
        let totals = &self.totals[..arithmetic.sums()];
        for lane in 0..self.lanes() {
            // SAFETY: no piece of work runs.
            let d_weights = pass.own_gradient(step, unsafe { self.whole.gradient(lane) });
            if lane == 0 {
                arithmetic.weight_gradients(totals, d_weights);
            } else {
                d_weights.fill(0.0);
            }
        }
        let totals = std::mem::take(&mut self.totals);
        let batch = batch_normalization::Batch { statistics, sums: &totals[..arithmetic.sums()], rows };
        self.each_group(|run, group, lane| {
            // SAFETY: groups do not share images, the input is only read, the gradients of input and output have different
            // places, and a thread runs one piece at a time.
            unsafe {
                let x = run.store.read(program, input.tensor, &group.places);
                let d_y = run.store.gradient(program, step.output, &group.places);
                let scratch = run.whole.scratch.of(lane.thread);
                if let Some(mut target) = Target::new(&pass, run.store, input, &group.places, scratch.added) {
                    arithmetic.backward(x, d_y, batch, weights, target.write());
                    target.add(pass.level);
                }
            }
        });
        self.totals = totals;
    }
}

impl Whole<'_> {
    /// A lane's gradient.
    ///
    /// # Safety
    /// Nobody else uses this lane's gradient at the same time.
    #[allow(clippy::mut_from_ref)] // as for `Disjoint::part`
    unsafe fn gradient(&self, lane: usize) -> &mut [f32] {
        let start = lane * self.lane_floats;
        // SAFETY: lanes do not overlap; the rest is the caller's promise.
        unsafe { self.lanes.part(start..start + self.pass.program.gradients.len()) }
    }
}
