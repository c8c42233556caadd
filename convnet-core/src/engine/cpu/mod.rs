//! The CPU engine: a [`crate::plan::Plan`] becomes a `Program` of [`kernel::Kernel`]s, which an [`executor::Executor`]
//! runs on the threads of a [`pool::Pool`]. [`kernels`] holds the kernels, one family a file, each written once for the
//! levels of [`simd`].

pub mod aligned;
mod batch;
mod disjoint;
pub mod executor;
mod fold;
pub mod kernel;
pub mod kernels;
mod lanes;
mod layout;
mod memory;
mod pass;
pub mod pool;
mod program;
pub mod select;
mod shared;
pub mod simd;
mod sums;
