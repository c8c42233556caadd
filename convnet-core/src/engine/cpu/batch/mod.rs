//! Training steps of networks in which the images of a batch meet: at a batch normalisation, which looks at all of them,
//! and at a wide dense layer, whose weights are read once for all of them.
//!
//! The tensors of all images are kept, but for those that the way back makes once more ([`normalize`]). Between two
//! meetings the lanes go their way as always, each through its own images: that is a stage. At a normalisation the sums
//! of the lanes are added in their order; they are made by the stage above it, group by group, and used by the stage
//! below, so that no pass over a map of the whole batch is a round of its own. At a wide layer ([`wide`]) there are no
//! lanes: the pieces of work are parts of the layer. Behind the last meeting each lane goes on to its losses and turns
//! round; the way back does the same in reverse. Every sum has a fixed order here, too, and the result does not depend
//! on the number of threads.
//!
//! What it is about is memory traffic: the maps of a batch are many times a cache. With rounds of their own for sums and
//! normalisation, each of which read and wrote all maps, and outputs kept for the way back, a network of depthwise
//! convolutions and normalisations (96×96, batch 64) took 1.25 times as long, one of 3×3 convolutions and
//! normalisations (32×32) 1.07 times.

mod normalize;
mod wide;

use super::aligned::{Floats, LINE};
use super::disjoint::Disjoint;
use super::executor::Outcome;
use super::lanes::{Gradients, LANES, Part, lane_of};
use super::layout::Layout;
use super::memory::{Scratch, Scratches, write_inputs};
use super::pass::{Group, Pass, Store};
use super::pool::Pool;
use super::program::{Action, Program};
use super::simd::{Level, vectorize};
use super::sums::AllFinite;
use crate::data::Samples;
use crate::train::Loss;
use normalize::Sides;
use std::ops::Range;

/// Steps that take each image by itself. The program numbers them and the meetings in turn.
#[derive(Clone, Debug)]
struct Stage {
    steps: Range<usize>,
    /// The most images of a group.
    room: usize,
}

/// A step at which images meet.
#[derive(Clone, Debug)]
enum Meeting {
    /// A normalisation: the step, and where its statistics lie.
    Normalize(usize, Range<usize>),
    /// A wide dense layer: the step, and where the gradient of its output lies, arranged for its products.
    Wide(usize, Range<usize>),
}

impl Meeting {
    /// The step of a normalisation.
    fn normalization(&self) -> Option<(usize, &Range<usize>)> {
        match self {
            Meeting::Normalize(number, statistics) => Some((*number, statistics)),
            Meeting::Wide(..) => None,
        }
    }
}

/// Memory for training on whole batches.
pub(super) struct Batch {
    layout: Layout,
    floats: Floats,
    /// The workers' own gradients, and outputs of normalisations.
    own: Floats,
    kept: Vec<u8>,
    /// Before, between and behind the meetings.
    stages: Vec<Stage>,
    meetings: Vec<Meeting>,
    /// Two sums a channel for each lane.
    sums: Vec<f64>,
    /// Their totals.
    totals: Vec<f64>,
    /// Means, variances and what else belongs to the batch, normalisation by normalisation.
    statistics: Vec<f32>,
    /// Gradients of the outputs of wide layers, arranged.
    arranged: Floats,
    /// What slices of the features of a wide layer give to its outputs.
    slices: Floats,
}

/// What a step shares with the executor.
pub(super) struct Whole<'a> {
    pub pass: Pass<'a>,
    pub scratch: &'a Scratches<'a>,
    pub gradients: &'a Gradients<'a>,
    pub outcomes: &'a Disjoint<'a, Outcome>,
}

impl Batch {
    /// Memory for batches of up to `images` images, that `threads` workers take through each of the program's stages in
    /// groups of at most so many.
    pub fn new(program: &Program, images: usize, threads: usize, groups: &[usize]) -> Batch {
        let (mut stages, mut meetings) = (Vec::from([Stage { steps: 0..0, room: groups[0] }]), Vec::new());
        let (mut statistics, mut widest, mut arranged, mut slices) = (0, 0, 0, 0);
        for (number, step) in program.steps.iter().enumerate() {
            match &step.action {
                Action::Normalize(_, one) => {
                    let end = statistics + one.statistics_len();
                    meetings.push(Meeting::Normalize(number, statistics..end));
                    statistics = end;
                    widest = one.sums().max(widest);
                }
                Action::Wide(_, dense) => {
                    let end = arranged + dense.arranged(images).next_multiple_of(LINE);
                    meetings.push(Meeting::Wide(number, arranged..end));
                    arranged = end;
                    slices = slices.max(dense.slice_floats(images));
                }
                _ => {}
            }
            match stages.last_mut() {
                Some(stage) if !step.meets() => stage.steps.end = number + 1,
                _ => stages.push(Stage { steps: number + 1..number + 1, room: groups[step.stage + 1] }),
            }
        }
        let layout = Layout::batch(program, images, groups);
        Batch {
            floats: Floats::zeros(layout.floats),
            own: Floats::zeros(threads * layout.own_floats),
            kept: vec![0; layout.kept_bytes],
            layout,
            stages,
            meetings,
            sums: vec![0.0; LANES * widest],
            totals: vec![0.0; widest],
            statistics: vec![0.0; statistics],
            arranged: Floats::zeros(arranged),
            slices: Floats::zeros(slices),
        }
    }

    /// How many images a batch may have.
    pub fn room(&self) -> usize {
        self.layout.room
    }

    /// One batch forward and backward.
    pub fn differentiate(
        &mut self,
        pool: &mut Pool,
        whole: &Whole<'_>,
        (samples, indices): (&Samples, &[u32]),
        loss: &Loss,
    ) {
        let Batch { layout, floats, own, kept, stages, meetings, sums, totals, statistics, arranged, slices } = self;
        let store = Store { layout, floats: Disjoint::new(floats), own: Disjoint::new(own), kept: Disjoint::new(kept) };
        let mut run = Run { pool, whole, store, samples, indices, sums, totals, slices };
        // A normalisation's passes over its input and output belong to the groups of the stages on both sides of it.
        let above = |stage: usize| meetings[..stage].last().and_then(Meeting::normalization);
        let below = |stage: usize| meetings.get(stage).and_then(Meeting::normalization);
        for (number, stage) in stages.iter().enumerate() {
            let sides = Sides { above: above(number), below: below(number), statistics };
            run.forward(stage, number == 0, (number == meetings.len()).then_some(loss), &sides);
            match meetings.get(number) {
                Some(Meeting::Normalize(step, at)) => run.make_statistics(*step, &mut statistics[at.clone()]),
                Some(Meeting::Wide(step, _)) => run.wide(*step),
                None => {}
            }
        }
        for (number, meeting) in meetings.iter().enumerate().rev() {
            match meeting {
                Meeting::Normalize(step, _) => run.add_up_gradients(*step),
                Meeting::Wide(step, at) => run.wide_backward(*step, &mut arranged[at.clone()]),
            }
            let sides = Sides { above: above(number), below: below(number), statistics };
            run.backward(&stages[number], &sides);
        }
    }

    /// Lets the moving statistics follow those of the last batch; `previous` receives them as they were. Gives whether
    /// all are still finite.
    pub fn follow(&self, program: &Program, current: &mut [f32], previous: &mut [f32], level: Level) -> bool {
        let mut finite = true;
        for meeting in &self.meetings {
            if let Some((number, at)) = meeting.normalization() {
                let (step, arithmetic) = normalize::normalization(program, number);
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
    samples: &'a Samples,
    indices: &'a [u32],
    sums: &'a mut [f64],
    totals: &'a mut [f64],
    slices: &'a mut [f32],
}

/// What a piece of a run works with.
struct Shared<'a, 'w> {
    whole: &'a Whole<'w>,
    /// With the thread's own part.
    store: Store<'a>,
    thread: usize,
    images: usize,
    /// The lanes' sums.
    sums: Disjoint<'a, f64>,
    totals: &'a [f64],
}

impl Run<'_, '_> {
    fn lanes(&self) -> usize {
        self.whole.gradients.lanes()
    }

    fn images(&self) -> usize {
        self.indices.len()
    }

    /// Calls `work` with every group of every lane, the groups of a lane in their order.
    fn each_group(&mut self, room: usize, work: impl Fn(&Shared<'_, '_>, &Group, Part) + Sync) {
        let (lanes, images) = (self.lanes(), self.images());
        let (whole, store) = (self.whole, self.store);
        let (sums, totals) = (Disjoint::new(&mut *self.sums), &*self.totals);
        self.pool.run(lanes, &|thread, number| {
            let own = store.layout.own_floats;
            // SAFETY: threads' parts do not overlap, and a thread runs one piece at a time.
            let own = Disjoint::new(unsafe { store.own.part(thread * own..(thread + 1) * own) });
            let shared = Shared { whole, store: Store { own, ..store }, thread, images, sums, totals };
            let lane = lane_of(number, images);
            for start in lane.clone().step_by(room) {
                let places = start..lane.end.min(start + room);
                let part = Part { lane: number, first: start == lane.start, last: places.end == lane.end };
                work(&shared, &Group { first: start, places }, part);
            }
        });
    }

    /// Through a stage: before the `first` with the samples as inputs, behind the last, where there is a `loss`, with that
    /// and the way back.
    fn forward(&mut self, stage: &Stage, first: bool, loss: Option<&Loss>, sides: &Sides<'_>) {
        let Stage { steps, room } = stage;
        let (samples, indices, scale) = (self.samples, self.indices, 1.0 / self.images() as f32);
        if steps.is_empty() && !first && loss.is_none() && sides.is_empty() {
            return;
        }
        if loss.is_some() {
            self.begin(steps);
        }
        self.each_group(*room, |run, group, part| {
            let Shared { whole, store, thread, .. } = run;
            let samples = (samples, &indices[group.places.clone()]);
            // SAFETY: groups do not share images, lanes have outcomes and sums of their own, and a thread runs one piece at a
            // time.
            unsafe {
                let mut scratch = whole.scratch.of(*thread);
                if first {
                    write_inputs(store, whole.pass.program, group, samples);
                }
                run.normalize(sides, group);
                whole.pass.forward(store, &mut scratch, steps.clone(), group);
                run.add_sums(sides, group, part);
                if let Some(loss) = loss {
                    let outcome = &mut whole.outcomes.part(part.lane..part.lane + 1)[0];
                    if part.first {
                        *outcome = Outcome::default();
                    }
                    outcome.add(whole.pass.losses(store, group, samples, loss, scale));
                    run.backward(&mut scratch, steps, group, part);
                    run.add_backward_sums(sides, group, part);
                }
            }
        });
    }

    fn backward(&mut self, stage: &Stage, sides: &Sides<'_>) {
        let Stage { steps, room } = stage;
        if steps.is_empty() && sides.is_empty() {
            return;
        }
        self.begin(steps);
        self.each_group(*room, |run, group, part| {
            // SAFETY: groups do not share images, lanes have sums of their own, and a thread runs one piece at a time.
            unsafe {
                let mut scratch = run.whole.scratch.of(run.thread);
                run.normalize_backward(sides, &mut scratch, group);
                run.normalize_again(sides, group);
                run.backward(&mut scratch, steps, group, part);
                run.add_backward_sums(sides, group, part);
            }
        });
    }

    /// Before the way back through some steps.
    fn begin(&self, steps: &Range<usize>) {
        if let Some(step) = self.whole.pass.program.steps[steps.clone()].first() {
            self.whole.gradients.begin(step.stage);
        }
    }
}

impl Shared<'_, '_> {
    /// The way back of a part of a lane through the steps of a stage.
    ///
    /// # Safety
    /// The group's images are the caller's alone, and the parts of a lane come one after the other.
    unsafe fn backward(&self, scratch: &mut Scratch<'_>, steps: &Range<usize>, group: &Group, part: Part) {
        let Whole { pass, gradients, .. } = self.whole;
        let Some(step) = pass.program.steps[steps.clone()].first() else { return };
        // SAFETY: the caller's promise; a stage's steps keep to their own floats of a gradient.
        unsafe {
            gradients.collect(step.stage, part, |gradient, onto| {
                pass.backward(&self.store, scratch, steps.clone(), group, gradient, onto);
            });
        }
    }
}
