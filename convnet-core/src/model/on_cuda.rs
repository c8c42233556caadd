//! A trainer's verbs on a GPU.
//!
//! The trainer's own weights and optimizer state are those of the last call that came back: a training copies them to
//! the device, and back when it ends, for whatever reason.

use super::device::Device;
use super::trainer::{Run, Trainer};
use crate::data::Samples;
use crate::engine::cpu::executor::Outcome;
use crate::engine::cuda::executor::{Executor, Fault, Settings, Training, Weights};
use crate::engine::{Precision, PullBack};
use crate::plan::Plan;
use crate::train::Progress;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An executor and its training, behind a lock: gradients are asked for through a shared reference.
#[derive(Default)]
pub(super) struct CudaEngine(Mutex<Option<Engine>>);

struct Engine {
    executor: Executor,
    settings: Settings,
    training: Option<Training>,
    /// Steps that the weights on the device have seen; the trainer counts them when the weights come back.
    steps: u64,
}

impl CudaEngine {
    /// Starts anew with the next call.
    pub fn forget(&mut self) {
        *self.lock() = None;
    }

    /// The device has other weights than the host.
    pub fn weights_changed(&mut self) {
        if let Some(engine) = self.lock().as_mut() {
            engine.executor.weights_changed();
        }
    }

    /// Calls `work` with the engine, which is made if there is none. One that fails is given up, with all of its memory:
    /// what it has on the device may be half done, and the next call may ask for less.
    fn with<T>(
        &self,
        device: &Device,
        plan: &Plan,
        settings: Settings,
        work: impl FnOnce(&mut Engine) -> Result<T>,
    ) -> Result<T> {
        let Device::Cuda(cuda) = device else {
            return Err(Error::Cuda("the model does not run on a GPU".to_owned()));
        };
        let mut held = self.lock();
        let engine = match held.as_mut() {
            Some(engine) => engine,
            None => {
                let executor = Executor::new(plan, settings, cuda)?;
                held.insert(Engine { executor, settings, training: None, steps: 0 })
            }
        };
        if engine.settings != settings {
            engine.executor.set(settings);
            engine.settings = settings;
        }
        let done = work(engine);
        if done.is_err() {
            *held = None;
        }
        done
    }

    fn lock(&self) -> MutexGuard<'_, Option<Engine>> {
        self.0.lock().unwrap_or_else(|poisoned| {
            // Whoever panicked may have left an engine half done.
            self.0.clear_poison();
            let mut cell = PoisonError::into_inner(poisoned);
            *cell = None;
            cell
        })
    }
}

impl Trainer {
    fn cuda_settings(&self) -> Settings {
        let asked = self.precision.unwrap_or(Precision::Tf32);
        let precision = if self.settings.exact { Precision::F32 } else { asked };
        Settings {
            precision,
            measured: !self.settings.exact,
            optimizer: self.optimizer,
            loss: self.loss,
            seed: self.seed,
        }
    }

    fn with_cuda<T>(&self, work: impl FnOnce(&mut Engine) -> Result<T>) -> Result<T> {
        self.cuda.with(&self.device, &self.plan, self.cuda_settings(), work)
    }

    pub(super) fn begin_on_cuda(&mut self, run: &Run<'_>) -> Result<()> {
        let (trained_on, validation) = (run.order.len(), run.validation.clone());
        // A step writes only those that it changes.
        let previous = if self.has_previous { &self.previous } else { &self.weights };
        let weights = (&self.weights[..], &previous[..], &self.slots[..]);
        self.with_cuda(|engine| {
            let training = engine.executor.begin(run.samples, trained_on, run.batch_size, validation, weights)?;
            engine.training = Some(training);
            engine.steps = self.steps;
            Ok(())
        })
    }

    pub(super) fn end_on_cuda(&mut self) -> Result<()> {
        let settings = self.cuda_settings();
        let Trainer { cuda, device, plan, weights, previous, slots, .. } = self;
        let steps = cuda.with(device, plan, settings, |engine| {
            engine.executor.end(Weights { current: weights, previous, slots })?;
            Ok(engine.steps)
        })?;
        if steps > self.steps {
            self.fresh = false;
            self.has_previous = true;
        }
        self.steps = steps;
        // The CPU's engine knows older weights.
        self.forget_cpu();
        Ok(())
    }

    pub(super) fn epoch_on_cuda(&mut self, run: &Run<'_>, number: usize, progress: &mut Progress) -> Result<Outcome> {
        let found = self.with_cuda(|engine| {
            let training = engine.training.as_ref().ok_or_else(not_begun)?;
            let found = engine.executor.epoch(training, run.samples, &run.order, engine.steps)?;
            engine.steps += found.steps;
            Ok(found)
        })?;
        if let Some(fault) = found.fault {
            self.end_on_cuda()?;
            self.roll_back();
            return Err(match fault {
                Fault::Loss { loss, step } => {
                    let step = step as usize;
                    let images = run.batch_size.min(run.order.len() - (step - 1) * run.batch_size);
                    Error::LossNotFinite { loss: (loss / images as f64) as f32, epoch: number, step }
                }
                Fault::Weights { step } => Error::WeightsNotFinite { epoch: number, step: step as usize },
            });
        }
        let outcome = Outcome { loss: found.loss, correct: found.correct, images: run.order.len() };
        let score = outcome.score();
        progress.step(run.order.len().div_ceil(run.batch_size), score.loss, score.accuracy);
        Ok(outcome)
    }

    pub(super) fn validate_on_cuda(&mut self, samples: &Samples, images: usize) -> Result<Outcome> {
        let penalized = self.plan.weights().any(|(_, weight)| weight.trainable && weight.l2 > 0.0);
        let mut weights = vec![0.0; if penalized { self.plan.params } else { 0 }];
        let found = self.with_cuda(|engine| {
            let training = engine.training.as_ref().ok_or_else(not_begun)?;
            let found = engine.executor.validate(training, samples)?;
            engine.executor.weights(&mut weights)?;
            Ok(found)
        })?;
        let penalty = if penalized { self.penalty(&weights) } else { 0.0 };
        Ok(Outcome { loss: found.loss + penalty * images as f64, correct: found.correct, images })
    }

    pub(super) fn losses_on_cuda(&mut self, samples: &Samples, range: Range<usize>) -> Result<Outcome> {
        let images = range.len();
        let found = self.with_cuda(|engine| engine.executor.evaluate(samples, range, &self.weights))?;
        let loss = found.loss + self.penalty(&self.weights) * images as f64;
        Ok(Outcome { loss, correct: found.correct, images })
    }

    /// What the squares of `weights` add to the loss.
    fn penalty(&self, weights: &[f32]) -> f64 {
        let penalized = self.plan.weights().filter(|(_, weight)| weight.trainable && weight.l2 > 0.0);
        let squares = |range: Range<usize>| weights[range].iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>();
        penalized.map(|(_, weight)| weight.l2 * squares(weight.range())).sum()
    }

    pub(super) fn predict_on_cuda(&mut self, images: &[f32], outputs: &mut [f32]) -> Result<()> {
        self.with_cuda(|engine| engine.executor.predict(images, outputs, &self.weights))
    }

    pub(super) fn pull_back_on_cuda(&self, images: &[f32], d_outputs: &[f32]) -> Result<PullBack> {
        self.with_cuda(|engine| engine.executor.pull_back(images, d_outputs, &self.weights))
    }
}

/// The error of who goes on with a training that is not there.
fn not_begun() -> Error {
    Error::Cuda("no training has begun".to_owned())
}

#[cfg(all(test, feature = "cuda-host"))]
mod tests {
    use super::*;
    use crate::engine::cuda::Cuda;
    use crate::layers::dense::Dense;
    use crate::layers::{activation::Linear, flatten::Flatten};
    use crate::shape::Shape;
    use crate::shape::size::Map;
    use crate::train::{Adam, MeanSquaredError, Verbose};
    use crate::{Definition, Network};
    use typenum::{U1, U2, U3};

    struct Small;

    impl Definition for Small {
        const NAME: &'static str = "Small";
        type Input = Map<2, 2, 1>;
        type Sizes = (U2, U2, U1);
        type Layers = (Flatten, Dense<U3, Linear, true>);
    }

    /// The device fails after an epoch: the model is what it was before the training, and can be trained anew.
    #[test]
    fn a_device_that_fails_leaves_what_was_there_before() {
        let host = match Cuda::host(false) {
            Ok(host) => host,
            Err(error) => return eprintln!("skipped: {error}"),
        };
        let mut trainer = Trainer::new(Small::PLAN, Adam::default().into(), MeanSquaredError::default().into());
        trainer.set_device(host.into());
        let images: Vec<f32> = (0..24).map(|i| i as f32 / 24.0).collect();
        let samples = Samples::new(Shape::map(2, 2, 1), images.clone(), &[0u8, 1, 2, 0, 1, 2][..]).unwrap();
        let (weights, outputs) = (trainer.weights.to_vec(), trainer.predict(&images).unwrap());
        let run =
            || Run { samples: &samples, order: (0..6).collect(), batch_size: 4, shuffle: false, validation: None };
        let mut progress = Progress::new(Verbose::Silent, 1, 2);
        let mut epoch = |trainer: &mut Trainer| {
            trainer.slots.resize_with(2, || crate::engine::cpu::aligned::Floats::zeros(Small::PLAN.params));
            trainer.previous = trainer.weights.clone();
            trainer.begin_on_cuda(&run()).unwrap();
            trainer.epoch_on_cuda(&run(), 1, &mut progress).unwrap().loss
        };
        let loss = epoch(&mut trainer);
        let failed: Result<()> = trainer.with_cuda(|_| Err(Error::Cuda("it got too hot".to_owned())));
        assert!(failed.is_err());
        assert_eq!((trainer.steps, trainer.has_previous, trainer.fresh), (0, false, true));
        assert_eq!(trainer.predict(&images).unwrap(), outputs);
        assert_eq!(epoch(&mut trainer), loss);
        trainer.end_on_cuda().unwrap();
        assert_eq!((trainer.steps, trainer.has_previous, trainer.fresh), (2, true, false));
        assert_ne!(trainer.weights[..], weights[..]);
        assert_ne!(trainer.predict(&images).unwrap(), outputs);
    }
}
