//! Training, evaluation and prediction of a plan, whatever its type.

use super::count_error;
use super::fit::{Callback, Fit};
use crate::data::Samples;
use crate::engine::cpu::aligned::Floats;
use crate::engine::cpu::executor::{Executor, Outcome, Settings, Weights};
use crate::engine::cpu::simd::Level;
use crate::engine::{Precision, PullBack};
use crate::layers::Activation;
use crate::plan::Plan;
use crate::shape::Shape;
use crate::train::{Epoch, History, Loss, Optimizer, Progress, Score, Verbose, shuffle};
use crate::{Error, Result, onnx, weights};
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

/// A plan with weights, an optimizer and a loss.
pub(super) struct Trainer {
    plan: Plan,
    optimizer: Optimizer,
    loss: Loss,
    seed: u64,
    settings: Settings,
    weights: Floats,
    /// Whether the weights are still as drawn from the seed.
    fresh: bool,
    /// The weights before the last step, and whether there was one since they were set: what remains when a step ends
    /// in numbers that are none. As long as the weights; made when training begins.
    previous: Floats,
    has_previous: bool,
    /// The optimizer's state, as long as the weights each; made when training begins.
    slots: Vec<Vec<f32>>,
    /// Steps and epochs trained so far.
    steps: u64,
    epochs: u64,
    /// Made when first needed, and anew when threads or exactness change.
    executor: Option<Executor>,
}

/// A trainer's parts, borrowed one by one.
struct Parts<'a> {
    executor: &'a mut Executor,
    weights: &'a mut Floats,
    previous: &'a mut Floats,
    slots: &'a mut Vec<Vec<f32>>,
    optimizer: &'a Optimizer,
    loss: &'a Loss,
    steps: &'a mut u64,
}

/// What [`Trainer::run_epoch`] needs to know of the whole run.
struct Run<'a> {
    samples: &'a Samples,
    order: Vec<u32>,
    batch_size: usize,
    shuffle: bool,
}

impl Trainer {
    pub(super) fn new(plan: Plan, optimizer: Optimizer, loss: Loss) -> Trainer {
        let mut trainer = Trainer {
            plan,
            optimizer,
            loss,
            seed: 0,
            settings: Settings::default(),
            weights: Floats::zeros(plan.params),
            fresh: true,
            previous: Floats::default(),
            has_previous: false,
            slots: Vec::new(),
            steps: 0,
            epochs: 0,
            executor: None,
        };
        trainer.set_seed(0);
        trainer
    }

    pub(super) fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
        if self.fresh {
            weights::initialize(&self.plan, seed, &mut self.weights);
            if let Some(executor) = &mut self.executor {
                executor.prepare(&self.weights);
            }
        }
    }

    pub(super) fn set_threads(&mut self, threads: usize) {
        self.settings.threads = threads;
        self.executor = None;
    }

    pub(super) fn set_exact(&mut self, exact: bool) {
        self.settings.exact = exact;
        self.executor = None;
    }

    pub(super) fn set_precision(&mut self, precision: Precision) {
        self.settings.precision = precision;
        self.executor = None;
    }

    pub(super) fn set_level(&mut self, level: Level) {
        self.settings.level = level;
        self.executor = None;
    }

    pub(super) fn set_learning_rate(&mut self, learning_rate: f32) -> Result<()> {
        self.optimizer.set_learning_rate(learning_rate)
    }

    pub(super) fn weights(&self) -> &[f32] {
        &self.weights
    }

    pub(super) fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        if weights.len() != self.weights.len() {
            return Err(count_error("weights", self.weights.len().to_string(), weights.len()));
        }
        self.weights.copy_from_slice(weights);
        self.weights_changed();
        Ok(())
    }

    pub(super) fn save(&self, path: &Path) -> Result<()> {
        weights::save(path, &self.plan, &self.weights)
    }

    pub(super) fn export_onnx(&self, path: &Path) -> Result<()> {
        onnx::export(path, &self.plan, &self.weights)
    }

    pub(super) fn load(&mut self, path: &Path) -> Result<()> {
        weights::load(path, &self.plan, &mut self.weights)?;
        self.weights_changed();
        Ok(())
    }

    fn weights_changed(&mut self) {
        self.fresh = false;
        self.has_previous = false;
        if let Some(executor) = &mut self.executor {
            executor.prepare(&self.weights);
        }
    }

    /// The engine, ready for the weights, and what it works with.
    fn parts(&mut self) -> Parts<'_> {
        let Trainer { plan, optimizer, loss, settings, weights, previous, slots, steps, executor, .. } = self;
        let executor = executor.get_or_insert_with(|| {
            let mut executor = Executor::new(plan, *settings);
            executor.prepare(weights);
            executor
        });
        Parts { executor, weights, previous, slots, optimizer, loss, steps }
    }

    pub(super) fn fit<I>(&mut self, samples: &Samples, options: Fit<'_, I>) -> Result<History> {
        let Fit { epochs, batch_size, shuffle, validation, validation_split, mut callbacks, verbose } = options;
        if batch_size == 0 {
            return Err(argument("batch_size", "at least 1", 0));
        }
        if !(0.0..1.0).contains(&validation_split) {
            return Err(argument("validation_split", "a share from 0 up to, but not including, 1", validation_split));
        }
        if validation_split > 0.0 && validation.is_some() {
            return Err(argument("validation_split", "0 where `validation` is given", validation_split));
        }
        // As Keras counts: what is trained on is rounded down.
        let trained_on = (samples.len() as f64 * (1.0 - validation_split)) as usize;
        let kept_out = samples.len() - trained_on;
        if trained_on == 0 || samples.len() > u32::MAX as usize {
            let expected = format!("1 to {} images to train on", u32::MAX);
            return Err(count_error("training set", expected, trained_on));
        }
        let validation = match validation {
            Some(set) => Some((set.samples(), 0..set.samples().len())),
            None if kept_out > 0 => Some((samples, trained_on..samples.len())),
            None => None,
        };
        self.optimizer.check()?;
        self.check("training", samples)?;
        if let Some((samples, _)) = &validation {
            self.check("validation", samples)?;
        }
        let run = Run { samples, order: (0..trained_on as u32).collect(), batch_size, shuffle };
        self.run(run, epochs, validation, &mut callbacks, verbose)
    }

    /// Whether network, loss and the labels of a set go together.
    fn check(&self, set: &str, samples: &Samples) -> Result<()> {
        if samples.size() != self.plan.input.len() {
            return Err(count_error("values an image", self.plan.input.len().to_string(), samples.size()));
        }
        let last = self.plan.layers.last().map_or(Activation::Linear, |layer| layer.op.activation());
        self.loss.check(&self.plan.output, last)?;
        self.loss.check_labels(self.plan.output.len(), samples.labels().iter().copied()).map_err(|error| match error {
            Error::Data { what, expected, found } => {
                Error::Data { what: format!("{what} of the {set} set"), expected, found }
            }
            other => other,
        })
    }

    fn run(
        &mut self,
        mut run: Run<'_>,
        epochs: usize,
        validation: Option<(&Samples, Range<usize>)>,
        callbacks: &mut [Box<dyn Callback + '_>],
        verbose: Verbose,
    ) -> Result<History> {
        let (params, slots) = (self.plan.params, self.optimizer.slots());
        self.slots.resize_with(slots, || vec![0.0; params]);
        if self.previous.len() != params {
            self.previous = Floats::zeros(params);
        }
        let batch = run.batch_size.min(run.order.len());
        self.parts().executor.reserve_training(batch);
        let mut history = History::with_capacity(epochs);
        let mut progress = Progress::new(verbose, epochs, run.order.len().div_ceil(run.batch_size));
        for number in 1..=epochs {
            progress.epoch(number);
            let start = Instant::now();
            let training = self.run_epoch(&mut run, number, &mut progress)?.score();
            let duration = start.elapsed();
            let validation = validation.as_ref().map(|(samples, range)| self.losses(samples, range.clone()).score());
            let epoch = Epoch { number, training, validation, duration };
            progress.end(&epoch);
            history.push(&epoch);
            let mut stop = false;
            for callback in callbacks.iter_mut() {
                stop |= callback.on_epoch_end(&epoch).is_break();
            }
            if stop {
                break;
            }
        }
        Ok(history)
    }

    fn run_epoch(&mut self, run: &mut Run<'_>, number: usize, progress: &mut Progress) -> Result<Outcome> {
        if run.shuffle {
            shuffle(&mut run.order, self.seed, self.epochs);
        }
        let mut total = Outcome::default();
        for (step, batch) in run.order.chunks(run.batch_size).enumerate() {
            let outcome = self.step(run.samples, batch, number, step + 1)?;
            total.add(outcome);
            let score = total.score();
            progress.step(step + 1, score.loss, score.accuracy);
        }
        self.epochs += 1;
        Ok(total)
    }

    /// One batch forward and backward, and the optimizer's update.
    fn step(&mut self, samples: &Samples, batch: &[u32], epoch: usize, step: usize) -> Result<Outcome> {
        let (seed, has_previous) = (self.seed, self.has_previous);
        let Parts { executor, weights, previous, slots, optimizer, loss, steps } = self.parts();
        let mut outcome = executor.differentiate(samples, batch, weights, loss, [seed, *steps]);
        if !outcome.loss.is_finite() {
            self.roll_back();
            let loss = (outcome.loss / outcome.images as f64) as f32;
            return Err(Error::LossNotFinite { loss, epoch, step });
        }
        *steps += 1;
        if !has_previous {
            // A step writes only those that it changes.
            previous.copy_from_slice(weights);
        }
        let update = executor.update(batch.len(), Weights { current: weights, previous, slots }, optimizer, *steps);
        outcome.loss += update.penalty * batch.len() as f64;
        self.fresh = false;
        self.has_previous = true;
        if !update.finite {
            self.roll_back();
            return Err(Error::WeightsNotFinite { epoch, step });
        }
        Ok(outcome)
    }

    /// Takes the last step back, if there was one, and lets the optimizer begin anew: its state has seen the same
    /// numbers.
    fn roll_back(&mut self) {
        if self.has_previous {
            self.weights.copy_from_slice(&self.previous);
            self.weights_changed();
        }
        self.slots.iter_mut().for_each(|slot| slot.fill(0.0));
        self.steps = 0;
    }

    pub(super) fn evaluate(&mut self, samples: &Samples) -> Result<Score> {
        self.check("evaluated", samples)?;
        Ok(self.losses(samples, 0..samples.len()).score())
    }

    fn losses(&mut self, samples: &Samples, range: Range<usize>) -> Outcome {
        let Parts { executor, weights, loss, .. } = self.parts();
        let images = range.len();
        let mut outcome = executor.evaluate(samples, range, weights, loss);
        outcome.loss += executor.penalty(weights) * images as f64;
        outcome
    }

    pub(super) fn predict(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        let count = self.check_images(images)?;
        let mut outputs = vec![0.0; count * self.plan.output.len()];
        let Parts { executor, weights, .. } = self.parts();
        executor.predict(images, &mut outputs, weights);
        Ok(outputs)
    }
}

/// One layer's output for some images.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerOutput {
    /// The layer's name.
    pub name: String,
    /// Shape for one image.
    pub shape: Shape,
    /// The values, one image after the other.
    pub values: Vec<f32>,
}

impl Trainer {
    /// The output of every layer for the given images. Kernels may cover several layers, so each output comes from a run of
    /// the layers that lead to it.
    pub(super) fn layer_outputs(&self, images: &[f32]) -> Result<Vec<LayerOutput>> {
        self.check_images(images)?;
        let outputs = (1..=self.plan.layers.len()).map(|layers| {
            let plan = self.plan.prefix(layers);
            let mut executor = Executor::new(&plan, Settings { threads: 1, ..self.settings });
            let weights = &self.weights[..plan.params];
            executor.prepare(weights);
            let mut values = vec![0.0; images.len() / plan.input.len() * plan.output.len()];
            executor.predict(images, &mut values, weights);
            LayerOutput { name: self.plan.layers[layers - 1].name.to_string(), shape: plan.output, values }
        });
        Ok(outputs.collect())
    }

    pub(super) fn pull_back(&self, images: &[f32], d_outputs: &[f32]) -> Result<PullBack> {
        let count = self.check_images(images)?;
        let expected = count * self.plan.output.len();
        if d_outputs.len() != expected {
            return Err(count_error("gradients of the outputs", expected.to_string(), d_outputs.len()));
        }
        let mut executor = Executor::new(&self.plan, Settings { input_gradient: true, threads: 1, ..self.settings });
        executor.prepare(&self.weights);
        Ok(executor.pull_back(images, d_outputs, &self.weights))
    }

    /// How many images these values are.
    fn check_images(&self, images: &[f32]) -> Result<usize> {
        let size = self.plan.input.len();
        if images.len().is_multiple_of(size) {
            Ok(images.len() / size)
        } else {
            Err(count_error("values of images", format!("a multiple of {size}"), images.len()))
        }
    }
}

impl Outcome {
    /// The means that Keras shows.
    fn score(&self) -> Score {
        let images = self.images.max(1) as f64;
        Score { loss: (self.loss / images) as f32, accuracy: (self.correct as f64 / images) as f32 }
    }
}

fn argument(argument: &'static str, expected: &str, found: impl std::fmt::Display) -> Error {
    Error::Argument { argument, expected: expected.to_owned(), found: found.to_string() }
}
