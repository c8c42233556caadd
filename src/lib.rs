//! Convolutional networks whose shapes the compiler checks: listings of layers as Keras users write them, in
//! [`convnet!`], trained on the CPU.
//!
//! ```
//! use convnet::prelude::*;
//!
//! convnet! {
//!     /// Listings 5.1 and 5.2 of chapter 5.
//!     pub type Digits = [
//!         Input(28, 28, 1),
//!         Conv2D(32, (3, 3), activation = "relu"),
//!         MaxPooling2D((2, 2)),
//!         Conv2D(64, (3, 3), activation = "relu"),
//!         MaxPooling2D((2, 2)),
//!         Conv2D(64, (3, 3), activation = "relu"),
//!         Flatten(),
//!         Dense(64, activation = "relu"),
//!         Dense(10, activation = "softmax"),
//!     ];
//! }
//!
//! const _: () = assert!(Digits::PARAMS == 93_322);
//! println!("{}", Digits::summary());
//! ```
//!
//! # Training
//!
//! A [`Model`](model::Model) is a network with weights, an optimizer and a loss; its verbs are Keras's.
//!
//! ```
//! use convnet::prelude::*;
//!
//! convnet! {
//!     type Small = [
//!         Input(28, 28, 1),
//!         AveragePooling2D(4),
//!         Conv2D(8, 3, padding = "same", activation = "relu"),
//!         Flatten(),
//!         Dense(10, activation = "softmax"),
//!     ];
//! }
//!
//! # fn main() -> convnet::Result<()> {
//! let (train, test) = datasets::drawn_digits(600, 1)?.split_at(500)?;
//! let mut model = Model::<Small>::compile(Adam::default(), CategoricalCrossentropy::default()).seed(7);
//! let history = model.fit(&train, Fit { epochs: 3, verbose: Verbose::Silent, ..Fit::default() })?;
//! assert!(history.loss()[2] < history.loss()[0]);
//!
//! let file = std::env::temp_dir().join(format!("convnet-small-{}.safetensors", std::process::id()));
//! model.save(&file)?;
//! let mut again = Model::<Small>::load(&file)?;
//! assert_eq!(again.evaluate(&test)?, model.evaluate(&test)?);
//! # std::fs::remove_file(&file).ok();
//! # Ok(())
//! # }
//! ```
//!
//! What does not fit is an error of the compiler, be it a layer or a data set:
//!
//! ```compile_fail,E0277
//! # use convnet::prelude::*;
//! # fn main() -> convnet::Result<()> {
//! type Colours = convnet![Input(32, 32, 3), Flatten(), Dense(10, activation = "softmax")];
//! let digits = datasets::drawn_digits(100, 1)?;
//! let mut model = Model::<Colours>::compile(Sgd::default(), CategoricalCrossentropy::default());
//! model.fit(&digits, Fit::default())?;
//! # Ok(())
//! # }
//! ```
//!
//! # Functions for many networks
//!
//! A function asks for a [`Network`], and for data that fits it:
//!
//! ```
//! use convnet::prelude::*;
//!
//! fn trained<N: Network, S: DataFor<N::Input>>(set: &S) -> convnet::Result<Model<N>> {
//!     println!("{}: {} parameters", N::NAME, N::PARAMS);
//!     let mut model = Model::compile(RmsProp::default(), CategoricalCrossentropy::default());
//!     model.fit(set, Fit { validation_split: 0.2, verbose: Verbose::Silent, ..Fit::default() })?;
//!     Ok(model)
//! }
//!
//! # fn main() -> convnet::Result<()> {
//! convnet! {
//!     type Linear = [Input(28, 28, 1), Flatten(), Dense(10, activation = "softmax")];
//! }
//! trained::<Linear, _>(&datasets::drawn_digits(100, 1)?)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go on
//!
//! * [`convnet!`] describes the language of listings: layers, branches, repetitions, blocks, networks as layers.
//! * [`summary`] has the table of layers as text, Markdown and JSON; [`onnx`] and [`Model::export_onnx`] give a trained
//!   network to others; [`from_keras`] turns a Keras model into a listing.
//! * [`data`] makes data sets of images and vectors; [`datasets`] has MNIST.
//! * [`guide`] answers the messages of the compiler, and says what each argument of Keras is here.
//! * [`train`] has the optimizers and losses, with Keras's arguments and formulas.
//!
//! [`Model::export_onnx`]: model::Model::export_onnx
//!
//! This package is a façade: `convnet-macros` holds the macro, `convnet-core` everything else.

pub use convnet_core::data::{self, datasets};
#[cfg(feature = "dfdx")]
pub use convnet_core::dfdx;
pub use convnet_core::{Definition, Error, Network, Result, Sequential, from_keras};
pub use convnet_core::{engine, error, layers, model, network, onnx, plan, shape, summary, train, weights};
pub use convnet_macros::convnet;

/// Pages to look things up in.
pub mod guide {
    // In the repository the pages' links lead from file to file; what is defined first, here, leads to the modules.
    #[doc = "[errors]: crate::guide::errors"]
    #[doc = "[keras]: crate::guide::keras"]
    #[doc = ""]
    #[doc = include_str!("../docs/errors.md")]
    pub mod errors {}

    #[doc = "[errors]: crate::guide::errors"]
    #[doc = "[keras]: crate::guide::keras"]
    #[doc = ""]
    #[doc = include_str!("../docs/keras.md")]
    pub mod keras {}
}

/// What a program that defines, trains and uses networks needs.
pub mod prelude {
    pub use crate::convnet;
    pub use convnet_core::Network;
    pub use convnet_core::data::{DataFor, DataSet, ImageSet, VectorSet, datasets};
    pub use convnet_core::engine::Precision;
    #[cfg(feature = "cuda")]
    pub use convnet_core::engine::cuda::Cuda;
    pub use convnet_core::model::{Callback, Device, Fit, Model};
    pub use convnet_core::train::{Adam, AdamW, Optimizer, RmsProp, Sgd};
    pub use convnet_core::train::{
        BinaryCrossentropy, CategoricalCrossentropy, Loss, MeanSquaredError, SparseCategoricalCrossentropy,
    };
    pub use convnet_core::train::{Epoch, History, Score, Verbose};
}

/// What expansions of [`convnet!`] name.
#[doc(hidden)]
pub mod __private {
    pub use convnet_core::__dfdx_module as dfdx_module;
    pub use convnet_core::expansion::{
        Mistakes, Nothing, Perhaps, PerhapsPart, Whole, bits, report_input, report_layer, report_network,
        report_repeat, top_digit, typenum,
    };
    pub use convnet_core::layers::activation::{Alone, Linear, Relu, Sigmoid, Softmax, SoftmaxLayer, Tanh};
    pub use convnet_core::layers::average_pooling2d::AveragePooling2D;
    pub use convnet_core::layers::batch_normalization::BatchNormalization;
    pub use convnet_core::layers::composition::{Add, Concatenate, Merge, Nested, Repeat};
    pub use convnet_core::layers::conv2d::{Conv2D, GroupedConv2D};
    pub use convnet_core::layers::dense::Dense;
    pub use convnet_core::layers::depthwise_conv2d::DepthwiseConv2D;
    pub use convnet_core::layers::dropout::Dropout;
    pub use convnet_core::layers::flatten::Flatten;
    pub use convnet_core::layers::global_average_pooling2d::GlobalAveragePooling2D;
    pub use convnet_core::layers::global_max_pooling2d::GlobalMaxPooling2D;
    pub use convnet_core::layers::leaky_relu::LeakyReLU;
    pub use convnet_core::layers::max_pooling2d::MaxPooling2D;
    pub use convnet_core::layers::relu::ReLU;
    pub use convnet_core::layers::rescaling::Rescaling;
    pub use convnet_core::layers::reshape::Reshape;
    pub use convnet_core::layers::separable_conv2d::SeparableConv2D;
    pub use convnet_core::layers::up_sampling2d::{Bilinear, Nearest, UpSampling2D};
    pub use convnet_core::layers::zero_padding2d::ZeroPadding2D;
    pub use convnet_core::layers::{Frozen, Initialized, Named, Regularized, Window, settings};
    pub use convnet_core::plan::count;
    pub use convnet_core::shape::size::{AnyMap, AnyVector, Hex, Letters, Map, Num, Open, Vector};
    pub use convnet_core::shape::walk::{Same, Valid};
    pub use convnet_core::{Definition, Network, Sequential};
}

/// The README's listings are compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
