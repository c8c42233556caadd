//! The kernels, one family a file.

pub mod gemm;
mod gemm_tile;
