//! Runs a [`Program`]: batches forward, backward, and the optimizer's update.
//!
//! **Lanes.** A batch is cut into [`LANES`] runs of images, whatever the number of threads. A lane is one piece of work:
//! its images go through the whole network and back in small groups (so that what a worker touches stays in its L2
//! cache), and its gradient collects in a buffer of its own. Then the parameters are cut into chunks; for each, the
//! lanes' gradients are summed in the order of the lanes and handed to the optimizer. So every sum has a fixed order
//! and the result is the same to the last bit for any number of threads.
//!
//! Batch normalisation looks at the whole batch: networks with it keep all tensors of a batch and train as [`super::batch`]
//! says, with the same lanes.
//!
//! All memory is taken before the first step; steps allocate nothing.

use super::aligned::{Floats, LINE};
use super::batch::{Batch, Whole};
use super::disjoint::Disjoint;
use super::kernels::activate;
use super::layout::Layout;
use super::memory::{Scratches, Workers, write_inputs};
use super::pass::{Group, Pass};
use super::pool::Pool;
use super::program::{Piece, Program};
use super::simd::{Level, vectorize};
use super::sums::{Add, AllFinite, SquareSum};
use crate::data::Samples;
use crate::plan::Plan;
use crate::train::optimizer::MAX_SLOTS;
use crate::train::{Loss, Optimizer};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs of images that a batch is cut into: enough for as many threads to have a share each. A batch of eight images or
/// fewer makes lanes of one image.
pub(super) const LANES: usize = 8;

/// Floats of tensors that one group of images may have, forward and backward together: about 1 MiB.
const GROUP_FLOATS: usize = 256 * 1024;

/// What one batch gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Sum of the images' losses.
    pub loss: f64,
    /// How many images count as right.
    pub correct: usize,
    /// How many images.
    pub images: usize,
}

impl Outcome {
    /// Adds another batch's.
    pub fn add(&mut self, other: Outcome) {
        self.loss += other.loss;
        self.correct += other.correct;
        self.images += other.images;
    }
}

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

/// How a network is to be executed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Threads that work; 0: all. No more are started than the machine runs at once, or than a step has lanes.
    pub threads: usize,
    /// Leave out kernels that re-associate sums.
    pub exact: bool,
    /// What the kernels are compiled for.
    pub level: Level,
    /// Whether [`Executor::pull_back`] is to give the gradient with respect to the input, too.
    pub input_gradient: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { threads: 0, exact: false, level: Level::detect(), input_gradient: false }
    }
}

/// The CPU engine for one network.
pub struct Executor {
    program: Program,
    pool: Pool,
    level: Level,
    derived: Floats,
    /// A group's tensors, for each worker.
    layout: Layout,
    workers: Floats,
    kept: Vec<u8>,
    /// Floats of a worker's scratch for kernels, and for gradients on their way to be added.
    scratch_floats: [usize; 2],
    scratch: Floats,
    /// The lanes' gradients.
    lanes: Floats,
    lane_outcomes: [Outcome; LANES],
    penalties: Vec<f64>,
    /// The tensors of a whole batch, for networks that need them to train.
    batch: Option<Batch>,
}

impl Executor {
    /// The engine for `plan`.
    pub fn new(plan: &Plan, settings: Settings) -> Executor {
        let Settings { threads, exact, level, input_gradient } = settings;
        let program = Program::new(plan, exact, level, input_gradient);
        let pool = Pool::new(threads.min(most_threads()));
        let group = (GROUP_FLOATS / (2 * program.tensor_floats()).max(1)).clamp(1, 64);
        let layout = Layout::new(&program, group, true);
        let threads = pool.threads();
        let scratch_floats = [program.scratch(group), group * program.added()].map(|len| len.next_multiple_of(LINE));
        Executor {
            derived: Floats::zeros(program.derived),
            workers: Floats::zeros(threads * layout.floats),
            kept: vec![0; threads * layout.kept_bytes],
            scratch: Floats::zeros(threads * scratch_floats.iter().sum::<usize>()),
            scratch_floats,
            lanes: Floats::default(),
            lane_outcomes: Default::default(),
            penalties: vec![0.0; program.pieces.len()],
            batch: None,
            program,
            pool,
            level,
            layout,
        }
    }

    /// Makes room for training on batches of up to `images` images; without it only prediction works.
    pub fn reserve_training(&mut self, images: usize) {
        if self.lanes.is_empty() {
            self.lanes = Floats::zeros(LANES * self.lane_floats());
        }
        if self.program.normalizes() && self.batch.as_ref().is_none_or(|batch| batch.room() < images) {
            // Gives its memory back before the larger one takes some.
            self.batch = None;
            self.batch = Some(Batch::new(&self.program, images));
        }
    }

    fn lane_floats(&self) -> usize {
        self.program.gradients.len().next_multiple_of(LINE)
    }

    /// Rebuilds what kernels derive from the weights: to be called after every change of them.
    pub fn prepare(&mut self, weights: &[f32]) {
        let derived = Disjoint::new(&mut self.derived);
        let steps = &self.program.steps;
        self.pool.run(steps.len(), &|_, i| {
            let step = &steps[i];
            // SAFETY: the steps' ranges do not overlap, and each step is one item.
            let derived = unsafe { derived.part(step.derived.clone()) };
            if let Some(kernel) = step.kernel() {
                kernel.prepare(&weights[step.weights.clone()], derived);
            }
        });
    }

    /// Forward and backward over the samples at `indices`, no more than there is room for. The gradient of the mean loss
    /// stays in the lanes, for [`Executor::update`]. `noise`: the model's seed, and how many steps came before.
    pub fn differentiate(
        &mut self,
        samples: &Samples,
        indices: &[u32],
        weights: &[f32],
        loss: &Loss,
        noise: [u64; 2],
    ) -> Outcome {
        let lane_floats = self.lane_floats();
        let images = indices.len();
        let scale = 1.0 / images as f32;
        let (program, layout, gradients) = (&self.program, &self.layout, self.program.gradients.len());
        let pass = Pass { program, weights, derived: &self.derived, level: self.level, training: Some(noise) };
        let scratch = Scratches { all: Disjoint::new(&mut self.scratch), floats: self.scratch_floats };
        let lanes = Disjoint::new(&mut self.lanes);
        let outcomes = Disjoint::new(&mut self.lane_outcomes);
        if let Some(batch) = &mut self.batch {
            let whole = Whole { pass, scratch: &scratch, lanes: &lanes, lane_floats, outcomes: &outcomes };
            batch.differentiate(&mut self.pool, &whole, layout.room, (samples, indices), loss);
            return sum_outcomes(&self.lane_outcomes[..LANES.min(images)]);
        }

        let workers = Workers { floats: Disjoint::new(&mut self.workers), kept: Disjoint::new(&mut self.kept), layout };
        self.pool.run(LANES.min(images), &|thread, lane| {
            // SAFETY: a thread runs one item at a time, and each thread and each lane has a part of its own.
            let (store, mut scratch, gradient, outcome) = unsafe {
                let gradient = lanes.part(lane * lane_floats..lane * lane_floats + gradients);
                (workers.store(thread), scratch.of(thread), gradient, &mut outcomes.part(lane..lane + 1)[0])
            };
            *outcome = Outcome::default();
            let lane = lane_of(lane, images);
            for (i, indices) in indices[lane.clone()].chunks(layout.room).enumerate() {
                let group = Group { places: 0..indices.len(), first: lane.start + i * layout.room };
                // SAFETY: the store is this thread's alone.
                unsafe {
                    write_inputs(&store, program, &group, (samples, indices));
                    pass.forward(&store, &mut scratch, 0..program.steps.len(), &group, true);
                    outcome.add(pass.losses(&store, &group, (samples, indices), loss, scale));
                    pass.backward(&store, &mut scratch, 0..program.steps.len(), &group, gradient, i > 0);
                }
            }
        });
        sum_outcomes(&self.lane_outcomes[..LANES.min(images)])
    }

    /// Sums the lanes' gradients in their order and lets the optimizer change the weights that training changes, which
    /// are copied to `previous` before; then moving statistics follow the batch's. `images` as in the call to
    /// [`Executor::differentiate`] before; `slots` holds the optimizer's state, a slice as long as the weights each.
    pub fn update(&mut self, images: usize, weights: Weights<'_>, optimizer: &Optimizer, step: u64) -> Update {
        let (lane_floats, level, program) = (self.lane_floats(), self.level, &self.program);
        let Weights { current, previous, slots } = weights;
        let finite = AtomicBool::new(true);
        let lanes = Disjoint::new(&mut self.lanes);
        let penalties = Disjoint::new(&mut self.penalties);
        {
            let (weights, previous) = (Disjoint::new(&mut *current), Disjoint::new(&mut *previous));
            let slots: [Disjoint<'_, f32>; MAX_SLOTS] = split_slots(slots);
            self.pool.run(program.pieces.len(), &|_, number| {
                let Piece { range, l2 } = program.pieces[number].clone();
                let first = range.start - program.gradients.start..range.end - program.gradients.start;
                // SAFETY: the pieces do not overlap, and each is one item; lanes are distinct buffers.
                let (gradient, weights, previous, slots, penalty) = unsafe {
                    let gradient = lanes.part(first.clone());
                    for lane in 1..LANES.min(images) {
                        let start = lane * lane_floats;
                        let addend = lanes.part(start + first.start..start + first.end);
                        vectorize(level, Add { sum: &mut *gradient, addend, times: 1.0 });
                    }
                    let slots = slots.each_ref().map(|slot| slot.part(within(slot, &range)));
                    let penalty = &mut penalties.part(number..number + 1)[0];
                    (gradient, weights.part(range.clone()), previous.part(range), slots, penalty)
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
        if let Some(batch) = &self.batch {
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
    /// tools. Zero in front of the first weight that training changes.
    pub fn gradient(&self, images: usize) -> Vec<f32> {
        let lane_floats = self.lane_floats();
        let Range { start, end } = self.program.gradients;
        let mut sum = vec![0.0; self.program.params];
        sum[start..end].copy_from_slice(&self.lanes[..end - start]);
        for lane in 1..LANES.min(images) {
            let addend = &self.lanes[lane * lane_floats..][..end - start];
            vectorize(self.level, Add { sum: &mut sum[start..end], addend, times: 1.0 });
        }
        sum
    }

    /// Losses over the samples `range`, without gradients and penalties.
    pub fn evaluate(&mut self, samples: &Samples, range: Range<usize>, weights: &[f32], loss: &Loss) -> Outcome {
        let mut total = Outcome::default();
        for start in range.clone().step_by(LANES * self.layout.room) {
            let block = start..range.end.min(start + LANES * self.layout.room);
            total.add(self.evaluate_block(samples, block, weights, loss));
        }
        total
    }

    fn evaluate_block(&mut self, samples: &Samples, block: Range<usize>, weights: &[f32], loss: &Loss) -> Outcome {
        let (program, layout) = (&self.program, &self.layout);
        let workers = Workers { floats: Disjoint::new(&mut self.workers), kept: Disjoint::new(&mut []), layout };
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
                pass.forward(&store, &mut scratch, 0..program.steps.len(), &group, false);
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
        let (program, layout, level) = (&self.program, &self.layout, self.level);
        let images = inputs.len() / program.input.max(1);
        // A few images are shared out, too: no result depends on which images go together.
        let room = layout.room.min(images.div_ceil(2 * self.pool.threads())).max(1);
        let workers = Workers { floats: Disjoint::new(&mut self.workers), kept: Disjoint::new(&mut []), layout };
        let scratch = Scratches { all: Disjoint::new(&mut self.scratch), floats: self.scratch_floats };
        let outputs = Disjoint::new(outputs);
        let pass = Pass { program, weights, derived: &self.derived, level, training: None };
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
                pass.forward(&store, &mut scratch, 0..program.steps.len(), &group, false);
                output.copy_from_slice(store.read(program, program.result, &group.places));
            }
            activate::activate(level, program.head, output, program.row);
        });
    }

    /// Outputs, and what a gradient with respect to them means for weights and input: the vector-Jacobian product, with
    /// moving statistics and without dropout.
    ///
    /// `d_outputs` is as long as the outputs. Works image by image on the calling thread, which is enough for
    /// visualisation and tests. Needs [`Settings::input_gradient`].
    pub fn pull_back(&mut self, inputs: &[f32], d_outputs: &[f32], weights: &[f32]) -> PullBack {
        let (program, layout, level) = (&self.program, &self.layout, self.level);
        let workers = Workers { floats: Disjoint::new(&mut self.workers), kept: Disjoint::new(&mut self.kept), layout };
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
            let d_weights = &mut result.d_weights[program.gradients.clone()];
            // SAFETY: nothing else runs, and no slice outlives the next use of the store.
            unsafe {
                store.tensor(program, 0, &group.places).copy_from_slice(input);
                pass.forward(&store, &mut scratch, steps.clone(), &group, true);
                let mut output = store.read(program, program.result, &group.places).to_vec();
                activate::activate(level, program.head, &mut output, program.row);
                let gradient = store.gradient(program, program.result, &group.places);
                gradient.copy_from_slice(d_output);
                activate::activate_backward(level, program.head, &output, gradient, program.row);
                pass.backward(&store, &mut scratch, steps.clone(), &group, d_weights, true);
                result.outputs.extend_from_slice(&output);
                result.d_input.extend_from_slice(store.gradient(program, 0, &group.places));
            }
        }
        result
    }
}

/// What [`Executor::pull_back`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct PullBack {
    /// The network's outputs, one row an image.
    pub outputs: Vec<f32>,
    /// Gradient with respect to all parameters, in the order of the flat buffer.
    pub d_weights: Vec<f32>,
    /// Gradient with respect to the inputs.
    pub d_input: Vec<f32>,
}

/// More threads than this would only wait.
fn most_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).max(LANES)
}

/// The images of a lane: `images` cut into as equal runs as can be.
pub(super) fn lane_of(lane: usize, images: usize) -> Range<usize> {
    let lanes = LANES.min(images);
    lane * images / lanes..(lane + 1) * images / lanes
}

fn sum_outcomes(outcomes: &[Outcome]) -> Outcome {
    let mut total = Outcome::default();
    outcomes.iter().for_each(|&outcome| total.add(outcome));
    total
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
