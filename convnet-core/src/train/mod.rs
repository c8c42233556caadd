//! What training needs besides an engine: optimizers, losses, the order of the images, what the terminal shows, and
//! the history that comes back.
//!
//! The parts are pure and know neither types nor engines. An engine asks a [`Loss`] for each image's loss and for the
//! gradient with which the backward pass starts, and an [`Optimizer`] to move each chunk of the weights; neither
//! allocates. [`shuffle()`] orders the images of an epoch, [`Progress`] shows how far it has come, [`History`] keeps
//! what was measured and draws it. All that is drawn at random comes from [`random::Stream`].

pub mod history;
pub mod loss;
pub mod optimizer;
mod plot;
pub mod progress;
pub mod random;
mod shuffle;

pub use history::{Epoch, History, Score};
pub use loss::{
    BinaryCrossentropy, CategoricalCrossentropy, IntoLoss, Loss, MeanSquaredError, SparseCategoricalCrossentropy,
};
pub use optimizer::{Adam, AdamW, IntoOptimizer, Optimizer, RmsProp, Sgd};
pub use progress::{Progress, Verbose};
pub use shuffle::shuffle;
