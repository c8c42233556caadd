//! What `fit` may be told.

use crate::data::DataFor;
use crate::train::{Epoch, Verbose};
use std::ops::ControlFlow;

/// The settings of a training run; Keras's arguments and defaults.
///
/// `I` is the network's input, which the compiler finds by itself.
pub struct Fit<'a, I> {
    /// How often the whole set is gone through.
    pub epochs: usize,
    /// Images in a step. The last batch of an epoch may be smaller. A network whose batch normalisations learn, or
    /// with a dense layer of 256 K weights and more, keeps all tensors of a batch in memory.
    pub batch_size: usize,
    /// Whether each epoch has an order of its own, drawn from the model's seed; otherwise that of the set.
    pub shuffle: bool,
    /// Evaluated after each epoch: `Some(&set)`.
    pub validation: Option<&'a dyn DataFor<I>>,
    /// The share of the set, from its end, that is kept out of training and evaluated after each epoch; 0 for none. Of n
    /// images ⌊n·(1 − share)⌋ are trained on. Not together with `validation`.
    pub validation_split: f64,
    /// Called after each epoch, in order.
    pub callbacks: Vec<Box<dyn Callback + 'a>>,
    /// What is printed.
    pub verbose: Verbose,
}

impl<I> Default for Fit<'_, I> {
    fn default() -> Self {
        Fit {
            epochs: 1,
            batch_size: 32,
            shuffle: true,
            validation: None,
            validation_split: 0.0,
            callbacks: Vec::new(),
            verbose: Verbose::default(),
        }
    }
}

/// Something that looks on while a model trains, and may stop it.
///
/// A closure will do:
///
/// ```
/// use convnet::prelude::*;
/// use std::ops::ControlFlow;
///
/// let stop_early = |epoch: &Epoch| if epoch.training.accuracy > 0.99 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
/// let options: Fit<'_, convnet::shape::size::Map<28, 28, 1>> = Fit { callbacks: vec![Box::new(stop_early)], ..Fit::default() };
/// assert_eq!(options.callbacks.len(), 1);
/// ```
pub trait Callback {
    /// An epoch has ended with these figures. `Break` ends the training.
    fn on_epoch_end(&mut self, epoch: &Epoch) -> ControlFlow<()>;
}

impl<F: FnMut(&Epoch) -> ControlFlow<()>> Callback for F {
    fn on_epoch_end(&mut self, epoch: &Epoch) -> ControlFlow<()> {
        self(epoch)
    }
}
