//! The kernels, one family a file.

pub mod fast3x3;
