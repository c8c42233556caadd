//! Runs a [`Program`]: batches forward, backward, and the optimizer's update.
//!
//! **Lanes.** A batch is cut into [`LANES`] runs of images, whatever the number of threads. A lane is one piece of work:
//! its images go through the whole network and back in small groups (so that what a worker touches stays in its L2
//! cache). Its gradient is added to those of the lanes before it, as [`super::lanes`] says. Then the parameters are cut
//! into chunks; for each, the sums are completed and handed to the optimizer. So every sum has a fixed order and the result
//! is the same to the last bit for any number of threads.
//!
//! Batch normalisation looks at the whole batch, and large dense layers are better off with it: networks with either keep
//! all tensors of a batch and train as [`super::batch`] says, with the same lanes.
//!
//! All memory is taken before the first step; steps allocate nothing. [`update`] changes the weights, [`predict`] has
//! what needs no way back.

mod predict;
mod update;

pub use update::{Update, Weights};

use super::aligned::{Floats, LINE};
use super::batch::{Batch, Whole};
use super::disjoint::Disjoint;
use super::kernels::Arithmetic;
use super::lanes::{LANES, Lanes, Part, lane_of};
use super::layout::Layout;
use super::memory::{Memory, Scratches, write_inputs};
use super::pass::{Group, Pass};
use super::pool::Pool;
use super::program::{Action, Program};
use super::simd::Level;
use crate::data::Samples;
use crate::engine::Precision;
use crate::plan::Plan;
use crate::train::Loss;

/// Floats of tensors that one group of images should have, forward and backward together: about 1 MiB.
const GROUP_FLOATS: usize = 256 * 1024;

/// The most images of a group, and how many it has, if there is memory for them, where the weights are so many that
/// reading them for each image alone would take longer than working on it.
const MOST: usize = 64;
const HEAVY_GROUP: usize = 8;

/// Floats of tensors that a group of [`HEAVY_GROUP`] images may have: 128 MiB.
const HEAVY_FLOATS: usize = 32 * 1024 * 1024;

/// See [`Settings::wide`]: 128 KiB, which each lane would read, and write as their gradient.
const WIDE: usize = 32 * 1024;

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

/// How a network is to be executed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Threads that work; 0: all. No more are started than the machine runs at once, or than a step has lanes.
    pub threads: usize,
    /// Leave out kernels that re-associate sums.
    pub exact: bool,
    /// How precise products must be.
    pub precision: Precision,
    /// What the kernels are compiled for.
    pub level: Level,
    /// For [`Executor::pull_back`]: whether the gradients with respect to the input and to all weights are wanted, those
    /// that training leaves alone among them.
    pub input_gradient: bool,
    /// How many weights make a dense layer wide: in a training step it then takes the whole batch at once. Fewer than eight
    /// times as many do so only where they are more than half of an image's values in the network.
    pub wide: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let Arithmetic { exact, precision, level } = Arithmetic::default();
        Settings { threads: 0, exact, precision, level, input_gradient: false, wide: WIDE }
    }
}

impl Settings {
    /// What kernels have to know.
    pub(super) fn arithmetic(&self) -> Arithmetic {
        Arithmetic { exact: self.exact, precision: self.precision, level: self.level }
    }
}

/// The CPU engine for one network.
pub struct Executor {
    program: Program,
    pool: Pool,
    level: Level,
    derived: Floats,
    /// Weights with normalisations folded into them, for prediction, and whether they are those of the weights.
    folded: Floats,
    folds_are_made: bool,
    /// The workers' memory for groups that go forward only.
    forward: Memory,
    /// Floats of a worker's scratch for kernels, and for gradients on their way to be added: of tensors and of weights.
    scratch_floats: [usize; 3],
    scratch: Floats,
    lanes: Lanes,
    lane_outcomes: [Outcome; LANES],
    penalties: Vec<f64>,
    training: Option<Training>,
}

/// Memory for training steps.
enum Training {
    /// The workers', for groups that go forward and back.
    Groups(Memory),
    /// For networks in which the images of a batch meet.
    Batch(Box<Batch>),
}

impl Training {
    /// How many images there is room for, of a batch or of a lane.
    fn room(&self) -> usize {
        match self {
            Training::Groups(memory) => memory.layout.room,
            Training::Batch(batch) => batch.room(),
        }
    }
}

impl Executor {
    /// The engine for `plan`.
    pub fn new(plan: &Plan, settings: Settings) -> Executor {
        let program = Program::new(plan, &settings);
        let pool = Pool::new(settings.threads.min(most_threads()));
        let forward = Layout::forward(&program, 1).floats;
        let group = group(&program, forward);
        let mut executor = Executor {
            derived: Floats::zeros(program.derived),
            folded: Floats::zeros(program.folded),
            folds_are_made: false,
            forward: Memory::new(Layout::forward(&program, group), pool.threads()),
            scratch: Floats::default(),
            scratch_floats: [0; 3],
            lanes: Lanes::new(program.gradients, program.stages),
            lane_outcomes: Default::default(),
            penalties: vec![0.0; program.pieces.len()],
            training: None,
            program,
            pool,
            level: settings.level,
        };
        executor.reserve_scratch([executor.program.scratch(group), 0, 0]);
        executor
    }

    /// Makes the workers' scratch at least so large.
    fn reserve_scratch(&mut self, floats: [usize; 3]) {
        let have = self.scratch_floats;
        let wanted = std::array::from_fn(|i| have[i].max(floats[i].next_multiple_of(LINE)));
        if wanted != self.scratch_floats {
            self.scratch = Floats::default();
            self.scratch = Floats::zeros(self.pool.threads() * wanted.iter().sum::<usize>());
            self.scratch_floats = wanted;
        }
    }

    /// Makes room for training on batches of up to `images` images; without it only prediction works.
    pub fn reserve_training(&mut self, images: usize) {
        self.lanes.reserve();
        let (program, threads) = (&self.program, self.pool.threads());
        let lane = images.div_ceil(LANES).max(1);
        let meets = program.meets();
        // A group goes through a stage at a time, or through all there is.
        let groups: Vec<usize> = (0..program.stages)
            .map(|stage| {
                let floats = if meets { program.stage_floats(stage) } else { program.tensor_floats() };
                group(program, 2 * floats).min(lane)
            })
            .collect();
        let group = groups[0];
        if self.training.as_ref().is_some_and(|training| training.room() >= if meets { images } else { group }) {
            return;
        }
        // Gives its memory back before the larger one takes some.
        self.training = None;
        let wide = program.steps.iter().filter_map(|step| match &step.action {
            Action::Wide(_, dense) => Some(dense.scratch(images)),
            _ => None,
        });
        let kernels = program
            .steps
            .iter()
            .filter(|step| !step.meets())
            .filter_map(|step| Some(step.kernel()?.scratch(groups[step.stage])));
        let scratch = wide.chain(kernels).max().unwrap_or(0);
        let floats = [scratch, program.added(&groups), program.sum()];
        self.training = Some(match meets {
            true => Training::Batch(Box::new(Batch::new(program, images, threads, &groups))),
            false => Training::Groups(Memory::new(Layout::group(program, group), threads)),
        });
        self.reserve_scratch(floats);
    }

    /// Rebuilds what kernels derive from the weights: to be called after every change of them.
    pub fn prepare(&mut self, weights: &[f32]) {
        self.folds_are_made = false;
        let derived = Disjoint::new(&mut self.derived);
        let Program { steps, derived_parts, .. } = &self.program;
        self.pool.run(derived_parts.len(), &|_, i| {
            let (part, step) = (&derived_parts[i], &steps[derived_parts[i].step]);
            // SAFETY: the parts do not overlap, and each is one item.
            let derived = unsafe { derived.part(part.range.clone()) };
            if let Some(kernel) = step.kernel() {
                kernel.prepare_part(part.number, &weights[step.weights.clone()], derived);
            }
        });
    }

    /// Forward and backward over the samples at `indices`, no more than there is room for. The gradient of the mean loss
    /// stays in the lanes, for [`Executor::update`]. `noise`: the model's seed, and how many steps came before.
    ///
    /// # Panics
    /// Without [`Executor::reserve_training`] before.
    pub fn differentiate(
        &mut self,
        samples: &Samples,
        indices: &[u32],
        weights: &[f32],
        loss: &Loss,
        noise: [u64; 2],
    ) -> Outcome {
        let images = indices.len();
        let scale = 1.0 / images as f32;
        let program = &self.program;
        let pass = Pass { program, weights, derived: &self.derived, level: self.level, training: Some(noise) };
        let scratch = Scratches { all: Disjoint::new(&mut self.scratch), floats: self.scratch_floats };
        let gradients = self.lanes.of_batch(images);
        let outcomes = Disjoint::new(&mut self.lane_outcomes);
        let memory = match self.training.as_mut().expect("room for training was reserved") {
            Training::Groups(memory) => memory,
            Training::Batch(batch) => {
                let whole = Whole { pass, scratch: &scratch, gradients: &gradients, outcomes: &outcomes };
                batch.differentiate(&mut self.pool, &whole, (samples, indices), loss);
                return sum_outcomes(&self.lane_outcomes[..LANES.min(images)]);
            }
        };
        let workers = memory.workers();
        let (room, all) = (workers.layout.room, 0..program.steps.len());
        gradients.begin(0);
        self.pool.run(gradients.lanes(), &|thread, lane| {
            // SAFETY: a thread runs one item at a time, and each thread and each lane has a part of its own.
            let (store, mut scratch, outcome) =
                unsafe { (workers.store(thread), scratch.of(thread), &mut outcomes.part(lane..lane + 1)[0]) };
            *outcome = Outcome::default();
            let places = lane_of(lane, images);
            for start in places.clone().step_by(room) {
                let end = places.end.min(start + room);
                let (group, indices) = (Group { places: 0..end - start, first: start }, &indices[start..end]);
                let part = Part { lane, first: start == places.start, last: end == places.end };
                // SAFETY: the store is this thread's alone; there is one stage, whose floats are all.
                unsafe {
                    write_inputs(&store, program, &group, (samples, indices));
                    pass.forward(&store, &mut scratch, all.clone(), &group);
                    outcome.add(pass.losses(&store, &group, (samples, indices), loss, scale));
                    gradients.collect(0, part, |gradient, onto| {
                        pass.backward(&store, &mut scratch, all.clone(), &group, gradient, onto);
                    });
                }
            }
        });
        sum_outcomes(&self.lane_outcomes[..LANES.min(images)])
    }
}

/// More threads than this would only wait.
fn most_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).max(LANES)
}

/// How many images go through the network together, if one has `floats` floats.
fn group(program: &Program, floats: usize) -> usize {
    let usual = (GROUP_FLOATS / floats.max(1)).clamp(1, MOST);
    if program.heavy() { usual.max(HEAVY_GROUP.min(HEAVY_FLOATS / floats.max(1))) } else { usual }
}

fn sum_outcomes(outcomes: &[Outcome]) -> Outcome {
    let mut total = Outcome::default();
    outcomes.iter().for_each(|&outcome| total.add(outcome));
    total
}
