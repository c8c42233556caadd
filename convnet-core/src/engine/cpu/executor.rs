//! Runs a [`Program`]: batches forward, backward, and the optimizer's update.
//!
//! **Lanes.** A batch is cut into [`LANES`] runs of images, whatever the number of threads. A lane is one piece of work:
//! its images go through the whole network and back in small groups (so that what a worker touches stays in its L2
//! cache), and its gradient collects in a buffer of its own. Then the parameters are cut into chunks; for each, the
//! lanes' gradients are summed in the order of the lanes and handed to the optimizer. So every sum has a fixed order
//! and the result is the same to the last bit for any number of threads.
//!
//! All memory is taken when an executor is made; steps allocate nothing.

use super::aligned::{Floats, LINE};
use super::disjoint::Disjoint;
use super::kernels::activate;
use super::pass::{Pass, Worker, WorkerLayout};
use super::pool::Pool;
use super::program::Program;
use super::simd::{Level, Simd, Vectorized, vectorize};
use crate::data::Samples;
use crate::plan::Plan;
use crate::train::optimizer::MAX_SLOTS;
use crate::train::{Loss, Optimizer};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs of images that a batch is cut into: enough for as many threads to have a share each. A batch of eight images or
/// fewer makes lanes of one image.
const LANES: usize = 8;

/// Floats between the steps that one group of images may have, forward and backward together: about 1 MiB.
const GROUP_FLOATS: usize = 256 * 1024;

/// Parameters that are summed and updated as one piece of work.
const CHUNK: usize = 4096;

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
    /// Images in a group.
    group: usize,
    derived: Floats,
    workers: Floats,
    kept: Vec<u8>,
    layout: WorkerLayout,
    lanes: Floats,
    lane_outcomes: [Outcome; LANES],
}

impl Executor {
    /// The engine for `plan`.
    pub fn new(plan: &Plan, settings: Settings) -> Executor {
        let Settings { threads, exact, level, input_gradient } = settings;
        let program = Program::new(plan, exact, level, input_gradient);
        let pool = Pool::new(threads.min(most_threads()));
        let group = (GROUP_FLOATS / (2 * program.boundary_floats()).max(1)).clamp(1, 64);
        let layout = WorkerLayout::new(&program, group);
        let threads = pool.threads();
        Executor {
            derived: Floats::zeros(program.derived),
            workers: Floats::zeros(threads * layout.floats),
            kept: vec![0; threads * layout.kept_bytes],
            lanes: Floats::default(),
            lane_outcomes: Default::default(),
            program,
            pool,
            level,
            group,
            layout,
        }
    }

    /// Makes room for training; without it only prediction works.
    pub fn reserve_training(&mut self) {
        if self.lanes.is_empty() {
            self.lanes = Floats::zeros(LANES * self.lane_floats());
        }
    }

    fn lane_floats(&self) -> usize {
        self.program.params.next_multiple_of(LINE)
    }

    /// Rebuilds what kernels derive from the weights: to be called after every change of them.
    pub fn prepare(&mut self, weights: &[f32]) {
        let derived = Disjoint::new(&mut self.derived);
        let steps = &self.program.steps;
        self.pool.run(steps.len(), &|_, i| {
            let step = &steps[i];
            // SAFETY: the steps' ranges do not overlap, and each step is one item.
            let derived = unsafe { derived.part(step.derived.clone()) };
            step.kernel.prepare(&weights[step.weights.clone()], derived);
        });
    }

    /// Forward and backward over the samples at `indices`. The gradient of the mean loss stays in the lanes, for
    /// [`Executor::update`].
    pub fn differentiate(&mut self, samples: &Samples, indices: &[u32], weights: &[f32], loss: &Loss) -> Outcome {
        let lane_floats = self.lane_floats();
        let images = indices.len();
        let (program, layout, derived, group) = (&self.program, &self.layout, &self.derived[..], self.group);
        let workers = Disjoint::new(&mut self.workers);
        let kept = Disjoint::new(&mut self.kept);
        let lanes = Disjoint::new(&mut self.lanes);
        let outcomes = Disjoint::new(&mut self.lane_outcomes);
        let pass = Pass { program, layout, weights, derived };

        self.pool.run(LANES.min(images), &|thread, lane| {
            // SAFETY: a thread runs one item at a time, and each thread and each lane has a part of its own.
            let (worker, gradient, outcome) = unsafe {
                let floats = workers.part(thread * layout.floats..(thread + 1) * layout.floats);
                let kept = kept.part(thread * layout.kept_bytes..(thread + 1) * layout.kept_bytes);
                let gradient = lanes.part(lane * lane_floats..lane * lane_floats + program.params);
                (Worker { floats, kept }, gradient, &mut outcomes.part(lane..lane + 1)[0])
            };
            let mut worker = worker;
            *outcome = Outcome::default();
            for (i, group) in indices[lane_of(lane, images)].chunks(group).enumerate() {
                for (slot, &index) in group.iter().enumerate() {
                    samples.write(index as usize, worker.slot(layout, 0, slot, program.input));
                }
                pass.forward(&mut worker, group.len(), true);
                outcome.add(pass.losses(&mut worker, samples, group, loss, 1.0 / images as f32));
                pass.backward(&mut worker, group.len(), gradient, i > 0, false);
            }
        });
        sum_outcomes(&self.lane_outcomes[..LANES.min(images)])
    }

    /// Sums the lanes' gradients in their order and lets the optimizer change the weights, which are copied to `previous`
    /// before; says whether all weights are still finite. `images` as in the call to [`Executor::differentiate`] before;
    /// `slots` holds the optimizer's state, a slice as long as the weights each.
    pub fn update(&mut self, images: usize, weights: Weights<'_>, optimizer: &Optimizer, step: u64) -> bool {
        let (lane_floats, params, level) = (self.lane_floats(), self.program.params, self.level);
        let Weights { current, previous, slots } = weights;
        let finite = AtomicBool::new(true);
        let lanes = Disjoint::new(&mut self.lanes);
        let (weights, previous) = (Disjoint::new(&mut *current), Disjoint::new(previous));
        let slots: [Disjoint<'_, f32>; MAX_SLOTS] = split_slots(slots);
        self.pool.run(params.div_ceil(CHUNK), &|_, chunk| {
            let range = chunk * CHUNK..params.min((chunk + 1) * CHUNK);
            // SAFETY: the chunks do not overlap, and each is one item; lanes are distinct buffers.
            let (gradient, weights, previous, slots) = unsafe {
                let gradient = lanes.part(range.clone());
                for lane in 1..LANES.min(images) {
                    let start = lane * lane_floats;
                    let addend = lanes.part(start + range.start..start + range.end);
                    vectorize(level, Add { sum: &mut *gradient, addend });
                }
                let slots = slots.each_ref().map(|slot| slot.part(within(slot, &range)));
                (gradient, weights.part(range.clone()), previous.part(range), slots)
            };
            previous.copy_from_slice(weights);
            optimizer.update(step, weights, gradient, slots, level);
            if !vectorize(level, AllFinite(weights)) {
                finite.store(false, Ordering::Relaxed);
            }
        });
        self.prepare(current);
        finite.into_inner()
    }

    /// The summed gradient of the last [`Executor::differentiate`], before any update: for tests and tools.
    pub fn gradient(&self, images: usize) -> Vec<f32> {
        let lane_floats = self.lane_floats();
        let mut sum = self.lanes[..self.program.params].to_vec();
        for lane in 1..LANES.min(images) {
            let addend = &self.lanes[lane * lane_floats..][..self.program.params];
            vectorize(self.level, Add { sum: &mut sum, addend });
        }
        sum
    }

    /// Losses over the samples `range`, without gradients.
    pub fn evaluate(&mut self, samples: &Samples, range: Range<usize>, weights: &[f32], loss: &Loss) -> Outcome {
        let mut total = Outcome::default();
        for start in range.clone().step_by(LANES * self.group) {
            let block = start..range.end.min(start + LANES * self.group);
            total.add(self.evaluate_block(samples, block, weights, loss));
        }
        total
    }

    fn evaluate_block(&mut self, samples: &Samples, block: Range<usize>, weights: &[f32], loss: &Loss) -> Outcome {
        let (program, layout, derived, group) = (&self.program, &self.layout, &self.derived[..], self.group);
        let workers = Disjoint::new(&mut self.workers);
        let outcomes = Disjoint::new(&mut self.lane_outcomes);
        let pass = Pass { program, layout, weights, derived };
        let items = block.len().div_ceil(group);
        self.pool.run(items, &|thread, item| {
            // SAFETY: a thread runs one item at a time, and each thread and each item has a part of its own.
            let (floats, outcome) = unsafe {
                let floats = workers.part(thread * layout.floats..(thread + 1) * layout.floats);
                (floats, &mut outcomes.part(item..item + 1)[0])
            };
            let mut worker = Worker { floats, kept: &mut [] };
            let first = block.start + item * group;
            let images = group.min(block.end - first);
            for slot in 0..images {
                samples.write(first + slot, worker.slot(layout, 0, slot, program.input));
            }
            pass.forward(&mut worker, images, false);
            *outcome = Outcome { images, ..Outcome::default() };
            for slot in 0..images {
                let logits = worker.slot(layout, program.steps.len(), slot, program.output);
                let found = loss.evaluate(program.head, logits, samples.labels()[first + slot], None, 1.0);
                outcome.loss += found.loss;
                outcome.correct += usize::from(found.correct);
            }
        });
        sum_outcomes(&self.lane_outcomes[..items])
    }

    /// The network's outputs for `inputs`, one image after the other.
    pub fn predict(&mut self, inputs: &[f32], outputs: &mut [f32], weights: &[f32]) {
        let (program, layout, derived, group) = (&self.program, &self.layout, &self.derived[..], self.group);
        let level = self.level;
        let images = inputs.len() / program.input.max(1);
        // A few images are shared out, too: no result depends on which images go together.
        let group = group.min(images.div_ceil(2 * self.pool.threads())).max(1);
        let workers = Disjoint::new(&mut self.workers);
        let outputs = Disjoint::new(outputs);
        let pass = Pass { program, layout, weights, derived };
        self.pool.run(images.div_ceil(group), &|thread, item| {
            let (first, last) = (item * group, images.min((item + 1) * group));
            // SAFETY: a thread runs one item at a time, and each thread and each item has a part of its own.
            let (floats, output) = unsafe {
                let floats = workers.part(thread * layout.floats..(thread + 1) * layout.floats);
                (floats, outputs.part(first * program.output..last * program.output))
            };
            let mut worker = Worker { floats, kept: &mut [] };
            let input = &inputs[first * program.input..last * program.input];
            worker.boundary(layout, 0)[..input.len()].copy_from_slice(input);
            pass.forward(&mut worker, last - first, false);
            output.copy_from_slice(&worker.boundary(layout, program.steps.len())[..output.len()]);
            activate::activate(level, program.head, output, program.row);
        });
    }

    /// Outputs, and what a gradient with respect to them means for weights and input: the vector-Jacobian product.
    ///
    /// `d_outputs` is as long as the outputs. Works image by image on the calling thread, which is enough for
    /// visualisation and tests. Needs [`Settings::input_gradient`].
    pub fn pull_back(&mut self, inputs: &[f32], d_outputs: &[f32], weights: &[f32]) -> PullBack {
        let (program, layout, level) = (&self.program, &self.layout, self.level);
        let pass = Pass { program, layout, weights, derived: &self.derived };
        let last = program.steps.len();
        let mut result = PullBack {
            outputs: Vec::with_capacity(d_outputs.len()),
            d_weights: vec![0.0; program.params],
            d_input: Vec::with_capacity(inputs.len()),
        };
        for (input, d_output) in inputs.chunks(program.input).zip(d_outputs.chunks(program.output)) {
            let floats = &mut self.workers[..layout.floats];
            let mut worker = Worker { floats, kept: &mut self.kept[..layout.kept_bytes] };
            worker.slot(layout, 0, 0, program.input).copy_from_slice(input);
            pass.forward(&mut worker, 1, true);
            let mut output = worker.slot(layout, last, 0, program.output).to_vec();
            activate::activate(level, program.head, &mut output, program.row);
            let gradient = &mut worker.floats[layout.gradients[last % 2].clone()][..program.output];
            gradient.copy_from_slice(d_output);
            activate::activate_backward(level, program.head, &output, gradient, program.row);
            pass.backward(&mut worker, 1, &mut result.d_weights, true, true);
            result.outputs.extend_from_slice(&output);
            result.d_input.extend_from_slice(&worker.floats[layout.gradients[0].clone()][..program.input]);
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
fn lane_of(lane: usize, images: usize) -> Range<usize> {
    let lanes = LANES.min(images);
    lane * images / lanes..(lane + 1) * images / lanes
}

fn sum_outcomes(outcomes: &[Outcome]) -> Outcome {
    let mut total = Outcome::default();
    outcomes.iter().for_each(|&outcome| total.add(outcome));
    total
}

/// `sum += addend`
struct Add<'a> {
    sum: &'a mut [f32],
    addend: &'a [f32],
}

impl Vectorized for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // The compiler vectorises this loop for the level that it is inlined into.
        for (sum, addend) in self.sum.iter_mut().zip(self.addend) {
            *sum += addend;
        }
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

/// Whether no number is infinite or NaN.
struct AllFinite<'a>(&'a [f32]);

impl Vectorized for AllFinite<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        // Without their sign, the bits of floats are in the order of their sizes; infinity comes next to the largest. A
        // maximum of integers is a loop that the compiler vectorises.
        let largest = self.0.iter().fold(0, |largest, x| (x.to_bits() & !(1 << 31)).max(largest));
        largest < f32::INFINITY.to_bits()
    }
}
