//! A network with weights, an optimizer and a loss: Keras's `Model` with its verbs.
//!
//! [`Model`] carries the network's type, so that data sets of another shape do not fit; everything else happens in
//! `Trainer`, which knows the plan only, so that a program pays for the training code once and not for each network.

mod device;
mod fit;
mod insight;
#[cfg(feature = "cuda")]
mod on_cuda;
mod trainer;

pub use crate::engine::PullBack;
pub use device::{Device, IntoDevice};
pub use fit::{Callback, Fit};
pub use insight::LayerOutput;
use trainer::Trainer;

use crate::data::DataFor;
use crate::engine::Precision;
use crate::engine::cpu::simd::Level;
use crate::layers::Activation;
use crate::network::Network;
use crate::summary::Summary;
use crate::train::{
    BinaryCrossentropy, CategoricalCrossentropy, History, IntoLoss, IntoOptimizer, Loss, MeanSquaredError, RmsProp,
    Score,
};
use crate::{Error, Result};
use std::marker::PhantomData;
use std::path::Path;

/// A trainable network of type `N`.
///
/// ```
/// use convnet::prelude::*;
///
/// convnet! {
///     type Tiny = [Input(4, 4, 1), Conv2D(2, (3, 3), activation = "relu"), Flatten(), Dense(2, activation = "softmax")];
/// }
///
/// // Bright upper halves are class 0, bright lower halves class 1.
/// let images: Vec<u8> = (0..64).flat_map(|i| (0..16).map(move |p| if (p < 8) == (i % 2 == 0) { 200 } else { 20 })).collect();
/// let labels: Vec<u8> = (0..64).map(|i| i % 2).collect();
/// let set = ImageSet::<4, 4, 1>::new(images, labels)?;
///
/// let mut model = Model::<Tiny>::compile(Adam { learning_rate: 0.01, ..Adam::default() }, CategoricalCrossentropy::default());
/// model.fit(&set, Fit { epochs: 30, batch_size: 16, verbose: Verbose::Silent, ..Fit::default() })?;
/// assert!(model.evaluate(&set)?.accuracy > 0.99);
/// # Ok::<(), convnet::Error>(())
/// ```
pub struct Model<N: Network> {
    trainer: Trainer,
    network: PhantomData<fn() -> N>,
}

impl<N: Network> Model<N> {
    /// A network with fresh weights (seed 0, see [`Model::seed`]).
    pub fn compile(optimizer: impl IntoOptimizer, loss: impl IntoLoss) -> Self {
        let trainer = Trainer::new(N::PLAN, optimizer.into_optimizer(), loss.into_loss());
        Model { trainer, network: PhantomData }
    }

    /// The table of the network's layers, as [`Network::summary`] gives it without a model.
    pub fn summary(&self) -> Summary {
        N::summary()
    }

    /// Draws the initial weights, and the order of the images in each epoch, from `seed`.
    ///
    /// The same seed on the same machine gives the same weights to the last bit, whatever the number of threads.
    /// Weights that were loaded or trained stay.
    pub fn seed(mut self, seed: u64) -> Self {
        self.trainer.set_seed(seed);
        self
    }

    /// How many threads work; 0, the default, stands for all that the machine has. A training step has eight lanes of
    /// images, so more than eight threads do not speed it up.
    pub fn threads(mut self, threads: usize) -> Self {
        self.trainer.set_threads(threads);
        self
    }

    /// Where the network runs from now on: `Cuda::device(0)?`, or [`Device::Cpu`], where it runs when nobody says so. Weights
    /// and the optimizer's state go with it, at any time.
    ///
    /// On a GPU products are made in TF32 unless [`Model::precision`] or [`Model::exact`] says otherwise; all tensors of a
    /// batch are in its memory at once; and [`Model::layer_outputs`] still computes on the processor.
    ///
    /// ```no_run
    /// # use convnet::prelude::*;
    /// # convnet! { type Tiny = [Input(4, 4, 1), Flatten(), Dense(2, activation = "softmax")]; }
    /// # fn main() -> convnet::Result<()> {
    /// # #[cfg(feature = "cuda")]
    /// let mut model = Model::<Tiny>::compile(RmsProp::default(), CategoricalCrossentropy::default()).on(Cuda::device(0)?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on(mut self, device: impl IntoDevice) -> Self {
        self.trainer.set_device(device.into_device());
        self
    }

    /// Leaves out kernels that sum in another order than written (Winograd and the like); slower. On a GPU products are made
    /// in single precision, and cut as the sizes say instead of as a measurement does.
    pub fn exact(mut self, exact: bool) -> Self {
        self.trainer.set_exact(exact);
        self
    }

    /// Allows products of less precise factors, where the processor is faster for it; without effect on one that is not,
    /// and with [`Model::exact`]. A GPU with tensor cores for it (compute capability 8.0) takes
    /// [`Precision::Tf32`] if nobody says otherwise, and [`Precision::F32`] if that is asked for.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.trainer.set_precision(precision);
        self
    }

    /// Holds the kernels down to an instruction set; by default they use the best that the machine has (and that the
    /// environment variable `CONVNET_SIMD` allows).
    pub fn level(mut self, level: Level) -> Self {
        self.trainer.set_level(level);
        self
    }

    /// Trains on `set`; see [`Fit`].
    ///
    /// A further call goes on where the last one stopped, optimizer state included, as in Keras.
    ///
    /// # Errors
    /// [`Error::Argument`] for settings that make no sense, [`Error::Data`] for labels beyond the network's classes,
    /// [`Error::LossNotFinite`] and [`Error::WeightsNotFinite`] when loss or weights are no longer numbers; the weights
    /// are then those under which the loss last was one. `Error::Cuda` where a GPU has too little memory, lacks NVRTC, or
    /// fails; weights and optimizer are then as they were before the call.
    pub fn fit<S: DataFor<N::Input>>(&mut self, set: &S, options: Fit<'_, N::Input>) -> Result<History> {
        self.trainer.fit(set.samples(), options)
    }

    /// Mean loss and accuracy over `set`.
    ///
    /// # Errors
    /// [`Error::Data`] for labels beyond the network's classes; `Error::Cuda` as for [`Model::fit`].
    pub fn evaluate<S: DataFor<N::Input>>(&mut self, set: &S) -> Result<Score> {
        self.trainer.evaluate(set.samples())
    }

    /// The network's outputs, one row an image, for images given one after the other, values as the network was
    /// trained on (for byte images: divided by 255), channels last.
    ///
    /// # Errors
    /// [`Error::Data`] where the number of values is no multiple of an image's; `Error::Cuda` as for [`Model::fit`].
    pub fn predict(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        self.trainer.predict(images)
    }

    /// The output of every layer for the given images: the activations that section 5.4 of the book looks at.
    ///
    /// # Errors
    /// [`Error::Data`] as for [`Model::predict`].
    pub fn layer_outputs(&self, images: &[f32]) -> Result<Vec<LayerOutput>> {
        self.trainer.layer_outputs(images)
    }

    /// The outputs for `images`, and the gradients with respect to weights and images of a quantity whose gradient with
    /// respect to the outputs is `d_outputs` (one row an image): what gradient ascent and Grad-CAM are made of.
    ///
    /// # Errors
    /// [`Error::Data`] where the number of values is another; `Error::Cuda` as for [`Model::fit`].
    pub fn pull_back(&self, images: &[f32], d_outputs: &[f32]) -> Result<PullBack> {
        self.trainer.pull_back(images, d_outputs)
    }

    /// Saves the weights as safetensors: keys `conv2d_1/kernel`, shapes and layouts Keras's. The file appears whole or
    /// not at all.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.trainer.save(path.as_ref())
    }

    /// Writes the network with its weights as an ONNX file: input `input`, as [`Model::predict`] takes it, output
    /// `output`; see [`crate::onnx`]. The file appears whole or not at all.
    ///
    /// # Errors
    /// Those of [`crate::onnx::to_bytes`], and [`Error::Io`] where the file cannot be written.
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<()> {
        self.trainer.export_onnx(path.as_ref())
    }

    /// A network with the weights of a file that [`Model::save`] (or any tool that uses its keys) wrote.
    ///
    /// The file holds weights only: the model gets [`RmsProp`] and the loss that fits the last
    /// activation (softmax: categorical, sigmoid: binary cross-entropy, else mean squared error). To train with others,
    /// compile a model and use [`Model::load_weights`].
    ///
    /// # Errors
    /// As for [`Model::load_weights`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let loss: Loss = match N::PLAN.layers.last().map(|layer| layer.op.activation()) {
            Some(Activation::Softmax) => CategoricalCrossentropy::default().into(),
            Some(Activation::Sigmoid) => BinaryCrossentropy::default().into(),
            _ => MeanSquaredError::default().into(),
        };
        let mut model = Self::compile(RmsProp::default(), loss);
        model.load_weights(path)?;
        Ok(model)
    }

    /// Replaces the weights by those of a file.
    ///
    /// # Errors
    /// [`Error::Weights`] names the first layer whose weights the file has not, or in another shape;
    /// [`Error::Io`] and [`Error::File`] say why a file cannot be read. The weights are then unchanged.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.trainer.load(path.as_ref())
    }

    /// All parameters, layer by layer, in the order of [`crate::plan::Plan::weights`].
    pub fn weights(&self) -> &[f32] {
        self.trainer.weights()
    }

    /// Replaces all parameters.
    ///
    /// # Errors
    /// [`Error::Data`] where their number is another.
    pub fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        self.trainer.set_weights(weights)
    }

    /// Changes the learning rate for what follows.
    ///
    /// # Errors
    /// [`Error::Argument`] for a rate that is negative or no number.
    pub fn set_learning_rate(&mut self, learning_rate: f32) -> Result<()> {
        self.trainer.set_learning_rate(learning_rate)
    }
}

impl<N: Network> std::fmt::Debug for Model<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model<{}>({} parameters)", N::NAME, N::PARAMS)
    }
}

/// `expected` and `found` of an [`Error::Data`] about numbers.
fn count_error(what: &str, expected: String, found: usize) -> Error {
    Error::Data { what: what.to_owned(), expected, found: found.to_string() }
}
