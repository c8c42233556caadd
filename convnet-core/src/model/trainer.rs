//! Training, evaluation and prediction of a plan, whatever its type.

use super::count_error;
use super::device::Device;
use super::fit::{Callback, Fit};
#[cfg(feature = "cuda")]
use super::on_cuda::CudaEngine;
use crate::data::Samples;
use crate::engine::Precision;
use crate::engine::cpu::aligned::Floats;
use crate::engine::cpu::executor::{Executor, Outcome, Settings, Weights};
use crate::engine::cpu::simd::Level;
use crate::layers::Activation;
use crate::plan::Plan;
use crate::train::{Epoch, History, Loss, Optimizer, Progress, Score, Verbose, shuffle};
use crate::{Error, Result, onnx, weights};
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

/// A plan with weights, an optimizer and a loss.
pub(super) struct Trainer {
    pub(super) plan: Plan,
    pub(super) optimizer: Optimizer,
    pub(super) loss: Loss,
    pub(super) seed: u64,
    pub(super) settings: Settings,
    /// Where it runs, and what somebody asked for there.
    pub(super) device: Device,
    pub(super) precision: Option<Precision>,
    pub(super) weights: Floats,
    /// Whether the weights are still as drawn from the seed.
    pub(super) fresh: bool,
    /// The weights before the last step, and whether there was one since they were set: what remains when a step ends
    /// in numbers that are none. As long as the weights; made when training begins.
    pub(super) previous: Floats,
    pub(super) has_previous: bool,
    /// The optimizer's state, as long as the weights each; made when training begins.
    pub(super) slots: Vec<Floats>,
    /// Steps and epochs trained so far.
    pub(super) steps: u64,
    pub(super) epochs: u64,
    /// Made when first needed, and anew when threads or exactness change.
    executor: Option<Executor>,
    /// The same on a GPU.
    #[cfg(feature = "cuda")]
    pub(super) cuda: CudaEngine,
}

/// A trainer's parts, borrowed one by one.
struct Parts<'a> {
    executor: &'a mut Executor,
    weights: &'a mut Floats,
    previous: &'a mut Floats,
    slots: &'a mut Vec<Floats>,
    optimizer: &'a Optimizer,
    loss: &'a Loss,
    steps: &'a mut u64,
}

/// What an epoch needs to know of the whole run.
pub(super) struct Run<'a> {
    pub samples: &'a Samples,
    pub order: Vec<u32>,
    pub batch_size: usize,
    pub shuffle: bool,
    pub validation: Option<(&'a Samples, Range<usize>)>,
}

impl Trainer {
    pub(super) fn new(plan: Plan, optimizer: Optimizer, loss: Loss) -> Trainer {
        let mut trainer = Trainer {
            plan,
            optimizer,
            loss,
            seed: 0,
            settings: Settings::default(),
            device: Device::Cpu,
            precision: None,
            weights: Floats::zeros(plan.params),
            fresh: true,
            previous: Floats::default(),
            has_previous: false,
            slots: Vec::new(),
            steps: 0,
            epochs: 0,
            executor: None,
            #[cfg(feature = "cuda")]
            cuda: CudaEngine::default(),
        };
        trainer.set_seed(0);
        trainer
    }

    pub(super) fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
        if self.fresh {
            weights::initialize(&self.plan, seed, &mut self.weights);
            self.tell_engines();
        }
    }

    pub(super) fn set_device(&mut self, device: Device) {
        self.device = device;
        #[cfg(feature = "cuda")]
        self.cuda.forget();
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
        self.precision = Some(precision);
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
        self.tell_engines();
    }

    /// The weights are others than the engines know.
    pub(super) fn tell_engines(&mut self) {
        if let Some(executor) = &mut self.executor {
            executor.prepare(&self.weights);
        }
        #[cfg(feature = "cuda")]
        self.cuda.weights_changed();
    }

    /// Gives up the CPU's engine, which is made anew when it is needed.
    #[cfg(feature = "cuda")]
    pub(super) fn forget_cpu(&mut self) {
        self.executor = None;
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
        let run = Run { samples, order: (0..trained_on as u32).collect(), batch_size, shuffle, validation };
        self.run(run, epochs, &mut callbacks, verbose)
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
        callbacks: &mut [Box<dyn Callback + '_>],
        verbose: Verbose,
    ) -> Result<History> {
        let (params, slots) = (self.plan.params, self.optimizer.slots());
        self.slots.resize_with(slots, || Floats::zeros(params));
        if self.previous.len() != params {
            self.previous = Floats::zeros(params);
        }
        self.begin(&run)?;
        let mut history = History::with_capacity(epochs);
        let mut progress = Progress::new(verbose, epochs, run.order.len().div_ceil(run.batch_size));
        for number in 1..=epochs {
            progress.epoch(number);
            let start = Instant::now();
            if run.shuffle {
                shuffle(&mut run.order, self.seed, self.epochs);
            }
            let training = self.epoch(&run, number, &mut progress)?.score();
            self.epochs += 1;
            let duration = start.elapsed();
            let validation = self.validate(&run)?.map(|outcome| outcome.score());
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
        self.end()?;
        Ok(history)
    }

    /// Makes the engine ready for training.
    fn begin(&mut self, run: &Run<'_>) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(_) = self.device {
            return self.begin_on_cuda(run);
        }
        let batch = run.batch_size.min(run.order.len());
        self.parts().executor.reserve_training(batch);
        Ok(())
    }

    /// Brings back what an engine has elsewhere.
    fn end(&mut self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(_) = self.device {
            return self.end_on_cuda();
        }
        Ok(())
    }

    fn validate(&mut self, run: &Run<'_>) -> Result<Option<Outcome>> {
        let Some((samples, range)) = &run.validation else { return Ok(None) };
        #[cfg(feature = "cuda")]
        if let Device::Cuda(_) = self.device {
            return self.validate_on_cuda(samples, range.len()).map(Some);
        }
        self.losses(samples, range.clone()).map(Some)
    }

    /// An epoch in the order of `run`.
    fn epoch(&mut self, run: &Run<'_>, number: usize, progress: &mut Progress) -> Result<Outcome> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(_) = self.device {
            return self.epoch_on_cuda(run, number, progress);
        }
        let mut total = Outcome::default();
        for (step, batch) in run.order.chunks(run.batch_size).enumerate() {
            let outcome = self.step(run.samples, batch, number, step + 1)?;
            total.add(outcome);
            let score = total.score();
            progress.step(step + 1, score.loss, score.accuracy);
        }
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
    pub(super) fn roll_back(&mut self) {
        if self.has_previous {
            self.weights.copy_from_slice(&self.previous);
            self.weights_changed();
        }
        self.slots.iter_mut().for_each(|slot| slot.fill(0.0));
        self.steps = 0;
    }

    pub(super) fn evaluate(&mut self, samples: &Samples) -> Result<Score> {
        self.check("evaluated", samples)?;
        Ok(self.losses(samples, 0..samples.len())?.score())
    }

    fn losses(&mut self, samples: &Samples, range: Range<usize>) -> Result<Outcome> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(_) = self.device {
            return self.losses_on_cuda(samples, range);
        }
        let Parts { executor, weights, loss, .. } = self.parts();
        let images = range.len();
        let mut outcome = executor.evaluate(samples, range, weights, loss);
        outcome.loss += executor.penalty(weights) * images as f64;
        Ok(outcome)
    }

    pub(super) fn predict(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        let count = self.check_images(images)?;
        let mut outputs = vec![0.0; count * self.plan.output.len()];
        #[cfg(feature = "cuda")]
        if let Device::Cuda(_) = self.device {
            self.predict_on_cuda(images, &mut outputs)?;
            return Ok(outputs);
        }
        let Parts { executor, weights, .. } = self.parts();
        executor.predict(images, &mut outputs, weights);
        Ok(outputs)
    }
}

impl Outcome {
    /// The means that Keras shows.
    pub(super) fn score(&self) -> Score {
        let images = self.images.max(1) as f64;
        Score { loss: (self.loss / images) as f32, accuracy: (self.correct as f64 / images) as f32 }
    }
}

fn argument(argument: &'static str, expected: &str, found: impl std::fmt::Display) -> Error {
    Error::Argument { argument, expected: expected.to_owned(), found: found.to_string() }
}
