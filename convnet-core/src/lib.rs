//! Types, plan, engines, training and data of the `convnet` crate. Use it through `convnet`, which re-exports it
//! together with the macro.

pub mod data;
#[cfg(feature = "dfdx")]
pub mod dfdx;
pub mod engine;
pub mod error;
#[doc(hidden)]
pub mod expansion;
pub mod keras;
pub mod layers;
pub mod model;
pub mod network;
pub mod onnx;
pub mod plan;
pub mod shape;
pub mod summary;
pub mod train;
pub mod weights;
mod whole_file;

pub use error::{Error, Result};
pub use keras::from_keras;
pub use network::{Definition, Network, Sequential};

/// Without dfdx there is nothing to say about a network to it.
#[cfg(not(feature = "dfdx"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __dfdx_module {
    ($($network:tt)*) => {};
}
