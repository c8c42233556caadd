//! The CPU engine.

pub mod kernel;
pub mod kernels;
pub mod select;
pub mod simd;
