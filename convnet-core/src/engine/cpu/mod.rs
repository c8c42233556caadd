//! The CPU engine.

pub mod kernel;
pub mod kernels;
pub mod simd;
