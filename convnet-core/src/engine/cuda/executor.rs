//! Runs a network on a machine: what is asked for becomes recordings, which are replayed.
//!
//! What needs no data set is here; `training` has the rest.
//!
//! The host's copy of the weights is the one that counts between calls. A training takes them to the device, stays there
//! epoch by epoch, of which the host reads nothing but a [`State`] at the end, and brings them back.

#[cfg(all(test, feature = "cuda-host"))]
mod tests;
mod training;

pub(crate) use training::Training;

use super::Cuda;
use super::backend::{Backend, Memory, Module, Recording, Span};
use super::choices::{Choices, Way, from_text, to_text};
use super::program::{Kind, Question, Recipe, Trial, Writer, graph, questions};
use super::source::Source;
use super::state::State;
use crate::engine::Precision;
use crate::engine::PullBack;
use crate::engine::cpu::aligned::Floats;
use crate::engine::graph::Graph;
use crate::plan::Plan;
use crate::train::{Loss, Optimizer};
use crate::{Error, Result};
use std::collections::HashMap;
use std::time::Duration;

/// Of the device's memory, the part that the tensors of images which go through together may take where nobody says
/// how many do, and the most bytes: the images of a large map, too, are to fill a GPU. Tensors share places, so that it
/// is less in the end.
const ROOM: usize = 8;
const MOST_BYTES: usize = 4 << 30;

/// The most images that go through together then.
const MOST: usize = 1024;

/// Batches in one recording where there are as many: launching a graph takes the host and the device as long as a
/// small kernel.
const TOGETHER: usize = 8;

/// Recipes beyond which all are given up before another is written: sets of ever other sizes each have their own.
const MOST_RECIPES: usize = 64;

/// What a network is trained with.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    pub precision: Precision,
    /// Whether products may be cut as a measurement says.
    pub measured: bool,
    pub optimizer: Optimizer,
    pub loss: Loss,
    pub seed: u64,
}

/// What an update changes.
pub(crate) struct Weights<'a> {
    pub current: &'a mut [f32],
    /// As they were before the last step.
    pub previous: &'a mut [f32],
    pub slots: &'a mut [Floats],
}

/// What an epoch gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Sum of the images' losses, penalties included.
    pub loss: f64,
    pub correct: usize,
    /// Steps of the epoch that were done.
    pub steps: u64,
    pub fault: Option<Fault>,
}

/// What ended a training; the step is counted from one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The loss, summed over the batch.
    Loss {
        loss: f64,
        step: u64,
    },
    Weights {
        step: u64,
    },
}

/// A recipe that the machine knows.
struct Prepared {
    module: Module,
    recipe: Recipe,
    /// Once, and [`TOGETHER`] times in a row; `None` before it is needed, and when memory that it uses has moved.
    recordings: [Option<Recording>; 2],
}

/// A network on a machine. After an error it may be left with half of what it was to have: its owner gives it up.
pub(crate) struct Executor {
    plan: Plan,
    graph: Graph,
    settings: Settings,
    backend: Box<dyn Backend>,
    sizes: HashMap<Memory, usize>,
    prepared: HashMap<Kind, Prepared>,
    tables: Vec<u32>,
    choices: Choices,
    /// How many images go through together where nobody says so: a power of two, so that predictions of any number of
    /// images need few recipes.
    room: usize,
    /// Whether the device has the host's weights.
    has_weights: bool,
    /// Bytes of a data set that may lie on the device at once, if that is said; else half of its free memory.
    set_bytes: Option<usize>,
}

impl Executor {
    pub fn new(plan: &Plan, settings: Settings, cuda: &Cuda) -> Result<Executor> {
        let (graph, backend) = (graph(plan), cuda.backend()?);
        let image = 4 * graph.tensors.iter().sum::<usize>();
        // Of all memory, not of what is free: how many go together decides the order of sums.
        let most = (backend.total()? / ROOM).min(MOST_BYTES) / image.max(1);
        let mut executor = Executor {
            plan: *plan,
            graph,
            settings,
            backend,
            sizes: HashMap::new(),
            prepared: HashMap::new(),
            tables: Vec::new(),
            choices: Choices::default(),
            room: 1 << most.clamp(1, MOST).ilog2(),
            has_weights: false,
            set_bytes: None,
        };
        executor.reserve(Memory::Weights, 4 * plan.params)?;
        executor.reserve(Memory::State, size_of::<State>())?;
        // What only some launches use is there for the others to point at.
        for memory in [Memory::Previous, Memory::Slots, Memory::Order, Memory::Tables] {
            executor.reserve(memory, 0)?;
        }
        Ok(executor)
    }

    /// The weights have changed on the host.
    pub fn weights_changed(&mut self) {
        self.has_weights = false;
    }

    /// The settings have: launches carry them.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
        self.forget();
    }

    /// Gives up all recipes.
    fn forget(&mut self) {
        self.prepared.clear();
        self.tables.clear();
        self.backend.forget();
    }

    fn reserve(&mut self, memory: Memory, bytes: usize) -> Result<()> {
        let bytes = bytes.max(size_of::<u64>());
        if bytes > self.sizes.get(&memory).copied().unwrap_or(0) {
            // Where there is not so much, what was there is gone, too.
            self.sizes.remove(&memory);
            self.prepared.values_mut().for_each(|prepared| prepared.recordings = [None; 2]);
            self.backend.reserve(memory, bytes)?;
            self.sizes.insert(memory, bytes);
        }
        Ok(())
    }

    /// Writes and compiles the recipes that are not there yet, all at once and in this order: kernels are found again on
    /// disk by their text.
    fn prepare(&mut self, kinds: &[Kind]) -> Result<()> {
        if self.prepared.len() >= MOST_RECIPES && kinds.iter().any(|kind| !self.prepared.contains_key(kind)) {
            self.forget();
        }
        let mut missing: Vec<Kind> = Vec::new();
        for kind in kinds.iter().filter(|kind| !self.prepared.contains_key(kind)) {
            if !missing.contains(kind) {
                missing.push(*kind);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let properties = self.backend.properties();
        let precision = if properties.tensor_cores { self.settings.precision } else { Precision::F32 };
        if self.settings.measured && self.backend.measures() {
            self.measure(&missing, precision)?;
        }
        let unmeasured = Choices::default();
        let mut writer = Writer {
            plan: &self.plan,
            graph: &self.graph,
            properties,
            precision,
            choices: if self.settings.measured { &self.choices } else { &unmeasured },
            optimizer: &self.settings.optimizer,
            loss: &self.settings.loss,
            seed: self.settings.seed,
            source: Default::default(),
            tables: std::mem::take(&mut self.tables),
        };
        let recipes: Vec<Recipe> = missing.iter().map(|kind| writer.recipe(*kind)).collect();
        let (source, tables) = (writer.source, writer.tables);
        self.tables = tables;
        let module = self.backend.load(&source)?;
        for (kind, recipe) in missing.into_iter().zip(recipes) {
            self.reserve(Memory::Work, recipe.work)?;
            self.prepared.insert(kind, Prepared { module, recipe, recordings: [None; 2] });
        }
        self.reserve(Memory::Tables, 4 * self.tables.len())?;
        self.backend.write(Memory::Tables, 0, bytes_of(&self.tables))
    }

    /// Finds how the products of these recipes are best cut, where that is not known yet.
    fn measure(&mut self, kinds: &[Kind], precision: Precision) -> Result<()> {
        let mut source = Source::default();
        let mut trials = |(question, ways): (Question, Vec<Way>)| {
            let trials: Vec<Trial> = ways.iter().map(|way| question.trial(*way, &mut source)).collect();
            (question.name, ways, trials)
        };
        let open: Vec<_> = self.open_questions(kinds, precision).into_iter().map(&mut trials).collect();
        if open.is_empty() {
            return Ok(());
        }
        let all = || open.iter().flat_map(|(.., trials)| trials);
        let [work, words] = [all().map(|trial| trial.work).max(), all().map(|trial| trial.table.len()).max()]
            .map(Option::unwrap_or_default);
        // Some ways need more memory than others: where it does not suffice for all, the model decides.
        if self.reserve(Memory::Work, work).and_then(|()| self.reserve(Memory::Tables, 4 * words)).is_err() {
            return Ok(());
        }
        let module = self.backend.load(&source)?;
        for (name, ways, trials) in open {
            let fastest = self.fastest(module, &trials, &ways)?;
            // Another program may have measured in the meantime: all go by the first.
            let way = self.recall(&name, &ways).unwrap_or(fastest);
            self.backend.remember(&name, to_text(&way).as_bytes());
            self.choices.add(name, way);
        }
        self.backend.unload(module);
        Ok(())
    }

    /// The products of these recipes that there is a choice for, each once, and their ways.
    fn open_questions(&mut self, kinds: &[Kind], precision: Precision) -> Vec<(Question, Vec<Way>)> {
        let properties = self.backend.properties();
        let of = |kind: &Kind| questions(&self.plan, &self.graph, *kind, precision, properties);
        let mut open: Vec<(Question, Vec<Way>)> = Vec::new();
        for question in kinds.iter().flat_map(of).collect::<Vec<_>>() {
            if self.choices.has(&question.name) || open.iter().any(|(other, _)| other.name == question.name) {
                continue;
            }
            let ways = question.sizes.ways();
            match (self.recall(&question.name, &ways), &ways[..]) {
                (Some(way), _) | (None, &[way]) => self.choices.add(question.name, way),
                _ => open.push((question, ways)),
            }
        }
        open
    }

    /// What was measured before.
    fn recall(&self, name: &str, ways: &[Way]) -> Option<Way> {
        self.backend.recall(name).and_then(|text| from_text(&text, ways))
    }

    /// The way whose trial takes the shortest time.
    fn fastest(&mut self, module: Module, trials: &[Trial], ways: &[Way]) -> Result<Way> {
        let mut best = (Duration::MAX, ways[0]);
        for (trial, way) in trials.iter().zip(ways) {
            self.backend.write(Memory::Tables, 0, bytes_of(&trial.table))?;
            let taken = self.backend.time(module, &trial.launches)?;
            if taken < best.0 {
                best = (taken, *way);
            }
        }
        Ok(best.1)
    }

    /// Replays a prepared recipe.
    fn replay(&mut self, kind: Kind, times: usize) -> Result<()> {
        let Some(prepared) = self.prepared.get_mut(&kind) else {
            return Err(Error::Cuda("a recipe was not prepared".to_owned()));
        };
        let Prepared { module, recipe, recordings } = prepared;
        let runs = [(1, times % TOGETHER), (TOGETHER, times / TOGETHER)];
        for ((repeated, times), recording) in runs.into_iter().zip(recordings).filter(|((_, times), _)| *times > 0) {
            let recorded = match *recording {
                Some(recorded) => recorded,
                None => self.backend.record(*module, &vec![&recipe.launches[..]; repeated].concat())?,
            };
            *recording = Some(recorded);
            self.backend.replay(recorded, times)?;
        }
        Ok(())
    }

    fn recipe(&self, kind: Kind) -> Result<&Recipe> {
        let prepared = self.prepared.get(&kind);
        prepared.map(|prepared| &prepared.recipe).ok_or_else(|| Error::Cuda("a recipe was not prepared".to_owned()))
    }

    fn put_weights(&mut self, weights: &[f32]) -> Result<()> {
        if !self.has_weights {
            self.backend.write(Memory::Weights, 0, bytes_of(weights))?;
            self.has_weights = true;
        }
        Ok(())
    }

    fn put_state(&mut self, state: State) -> Result<()> {
        self.backend.write(Memory::State, 0, &state.to_bytes())
    }

    fn state(&mut self) -> Result<State> {
        let mut bytes = State::default().to_bytes();
        self.backend.read(Memory::State, 0, &mut bytes)?;
        Ok(State::from_bytes(bytes))
    }

    /// Brings weights and the optimizer's state back; the weights last, so that they change only if all is well.
    pub fn end(&mut self, weights: Weights<'_>) -> Result<()> {
        for (number, slot) in weights.slots.iter_mut().enumerate() {
            self.backend.read(Memory::Slots, 4 * self.plan.params * number, bytes_of_mut(slot))?;
        }
        self.backend.read(Memory::Previous, 0, bytes_of_mut(weights.previous))?;
        self.weights(weights.current)?;
        self.has_weights = true;
        Ok(())
    }

    /// The weights as a training has them by now.
    pub fn weights(&mut self, weights: &mut [f32]) -> Result<()> {
        self.backend.read(Memory::Weights, 0, bytes_of_mut(weights))
    }

    /// The network's outputs for `inputs`, one image after the other.
    pub fn predict(&mut self, inputs: &[f32], outputs: &mut [f32], weights: &[f32]) -> Result<()> {
        self.put_weights(weights)?;
        let (input, output) = (self.plan.input.len(), self.plan.output.len());
        let room = self.room;
        // The last images go through with others that happen to be there: no output depends on them.
        let kind = |images: usize| Kind::Predict { images: images.next_power_of_two().min(room) };
        let chunks = || inputs.chunks(room * input);
        self.prepare(&chunks().map(|chunk| kind(chunk.len() / input)).collect::<Vec<_>>())?;
        for (inputs, outputs) in chunks().zip(outputs.chunks_mut(room * output)) {
            let kind = kind(inputs.len() / input);
            let Recipe { input, output, .. } = *self.recipe(kind)?;
            self.write(input, inputs)?;
            self.replay(kind, 1)?;
            self.read(output, outputs)?;
        }
        Ok(())
    }

    /// Outputs, and what a gradient with respect to them means for weights and input, with moving statistics and without
    /// dropout.
    pub fn pull_back(&mut self, inputs: &[f32], d_outputs: &[f32], weights: &[f32]) -> Result<PullBack> {
        self.put_weights(weights)?;
        let (input, output) = (self.plan.input.len(), self.plan.output.len());
        let room = self.room;
        let kind = |floats: usize| Kind::PullBack { images: floats / input };
        self.prepare(&inputs.chunks(room * input).map(|chunk| kind(chunk.len())).collect::<Vec<_>>())?;
        let mut result = PullBack {
            outputs: vec![0.0; d_outputs.len()],
            d_weights: vec![0.0; self.plan.params],
            d_input: vec![0.0; inputs.len()],
        };
        let mut d_weights = vec![0.0; self.plan.params];
        let outputs = result.outputs.chunks_mut(room * output).zip(result.d_input.chunks_mut(room * input));
        let given = inputs.chunks(room * input).zip(d_outputs.chunks(room * output));
        for ((inputs, d_outputs), (outputs, d_inputs)) in given.zip(outputs) {
            let kind = kind(inputs.len());
            let recipe = self.recipe(kind)?;
            let [input, output, d_output, d_input, gradient] =
                [recipe.input, recipe.output, recipe.d_output, recipe.d_input, recipe.d_weights];
            self.write(input, inputs)?;
            self.write(d_output, d_outputs)?;
            self.replay(kind, 1)?;
            self.read(output, outputs)?;
            self.read(d_input, d_inputs)?;
            self.read(gradient, &mut d_weights)?;
            result.d_weights.iter_mut().zip(&d_weights).for_each(|(sum, part)| *sum += part);
        }
        Ok(result)
    }

    fn write(&mut self, span: Span, values: &[f32]) -> Result<()> {
        self.backend.write(span.memory, span.at, bytes_of(values))
    }

    fn read(&mut self, span: Span, values: &mut [f32]) -> Result<()> {
        self.backend.read(span.memory, span.at, bytes_of_mut(values))
    }
}

/// The bytes of numbers, of which every value of the types used here has some.
fn bytes_of<T: Number>(values: &[T]) -> &[u8] {
    // SAFETY: numbers have no padding, and a byte has no alignment; the slice covers what `values` does.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

fn bytes_of_mut<T: Number>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and any bytes are a number.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

/// Numbers without padding, all of whose bit patterns are values.
trait Number {}
impl Number for f32 {}
impl Number for u32 {}
