//! Engines execute a [`crate::plan::Plan`]. They know nothing of types.

pub mod cpu;
mod precision;

pub use precision::Precision;
