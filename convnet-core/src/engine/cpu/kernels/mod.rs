//! The kernels, one family a file.

pub mod fast3x3;
pub mod gemm;
mod gemm_tile;
