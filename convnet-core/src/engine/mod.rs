//! Engines execute a [`crate::plan::Plan`]. They know nothing of types.

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod graph;
mod precision;
mod pull_back;

pub use precision::Precision;
pub use pull_back::PullBack;
