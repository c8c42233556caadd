//! Data sets: images and vectors with one class index each, and where the digits of the examples come from.
//!
//! [`samples`] holds what the engines read, untyped; [`set`] wraps it into [`ImageSet`] and [`VectorSet`], whose types
//! carry the shape of a sample, so that [`DataFor`] lets the compiler check that a set fits a network. [`idx`] reads
//! the files in which MNIST is published, [`mnist`] finds (or downloads) those files, and [`drawn`] draws digits where
//! they cannot be had. [`datasets`] is what users see of it.

pub mod datasets;
pub mod drawn;
pub mod given;
mod idx;
pub mod mnist;
pub mod samples;
pub mod set;

#[cfg(feature = "download")]
mod download;

pub use given::{IntoLabels, IntoPixels};
pub use samples::{Labels, Pixels, Samples};
pub use set::{DataFor, DataSet, ImageSet, VectorSet};
