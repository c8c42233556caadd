//! The CUDA engine: a [`crate::plan::Plan`] becomes a list of kernel launches with fixed places in memory, which the
//! device records as one graph and replays step by step.

mod arena;
mod backend;
mod cache;
mod choices;
mod device;
pub(crate) mod executor;
#[cfg(feature = "cuda-host")]
mod host;
mod launches;
mod listing;
mod nvrtc;
mod optimizer;
mod program;
#[cfg(test)]
mod samples;
mod source;
mod state;
mod tiles;

pub use listing::Listing;

use crate::Result;
use backend::Backend;

/// An NVIDIA GPU, for [`Model::on`](crate::model::Model::on). Clones are the same one.
///
/// Nothing of CUDA is needed to build a program. To run it needs the driver, of CUDA 12 or 13, and NVRTC, CUDA's compiler, of
/// either: kernels are compiled for the GPU and the network when a model first trains or predicts, and kept in the
/// user's cache (`CONVNET_CACHE` names another place, `CONVNET_NVRTC` the file of the compiler). So is which of several
/// ways to cut a product is the fastest there: it is measured once, as long as the cache is kept, and decides in which order
/// sums are made. A model that is [exact](crate::model::Model::exact) has the same order on all GPUs of one kind.
#[derive(Clone, Debug)]
pub struct Cuda(Place);

/// What stands behind a [`Cuda`].
#[derive(Clone, Debug)]
enum Place {
    Gpu(device::Gpu),
    /// The CPU, with the threads of a block in falling order.
    #[cfg(feature = "cuda-host")]
    Host {
        backwards: bool,
        multiprocessors: usize,
        measures: bool,
    },
}

impl Cuda {
    /// The GPU of this number, counted from zero in the order of the driver (which the environment's
    /// `CUDA_VISIBLE_DEVICES` may change).
    ///
    /// # Errors
    /// [`crate::Error::Cuda`] without a driver, with one older than CUDA 12.0, or if there is no such GPU.
    pub fn device(ordinal: usize) -> Result<Cuda> {
        device::Gpu::device(ordinal).map(|gpu| Cuda(Place::Gpu(gpu)))
    }

    /// The CPU, which executes the same kernels thread by thread, checking what they read and write: for tests, a thousand
    /// times slower than a GPU. Threads of a block go on in falling order if `backwards`, which makes no difference.
    /// It panics where a kernel writes beyond what it was given.
    ///
    /// # Errors
    /// [`crate::Error::Cuda`] if this is no Linux on x86-64, or without a C++ compiler.
    #[cfg(feature = "cuda-host")]
    pub fn host(backwards: bool) -> Result<Cuda> {
        let multiprocessors = 4;
        host::Host::new(backwards, true, multiprocessors)?;
        Ok(Cuda(Place::Host { backwards, multiprocessors, measures: false }))
    }

    /// The same for kernels as they are launched on a GPU of so many multiprocessors, the ways to cut products measured as
    /// there, but not kept.
    ///
    /// # Errors
    /// As [`Cuda::host`].
    #[cfg(feature = "cuda-host")]
    pub fn host_like(backwards: bool, multiprocessors: usize) -> Result<Cuda> {
        host::Host::new(backwards, true, multiprocessors)?;
        Ok(Cuda(Place::Host { backwards, multiprocessors, measures: true }))
    }

    /// How many GPUs there are.
    ///
    /// # Errors
    /// [`crate::Error::Cuda`] without a driver, or with one older than CUDA 12.0.
    pub fn count() -> Result<usize> {
        device::Gpu::count()
    }

    /// The GPU's name, as its driver says it: `NVIDIA H100 80GB HBM3`.
    pub fn name(&self) -> &str {
        match &self.0 {
            Place::Gpu(gpu) => gpu.name(),
            #[cfg(feature = "cuda-host")]
            Place::Host { .. } => "the CPU, for tests",
        }
    }

    /// A machine with nothing on it yet.
    fn backend(&self) -> Result<Box<dyn Backend>> {
        match &self.0 {
            Place::Gpu(gpu) => Ok(Box::new(device::Machine::new(gpu.clone())?)),
            #[cfg(feature = "cuda-host")]
            Place::Host { backwards, multiprocessors, measures } => {
                let host = host::Host::new(*backwards, true, *multiprocessors)?;
                Ok(Box::new(if *measures { host.measuring() } else { host }))
            }
        }
    }
}

/// Why a library cannot be loaded: the error with its cause, which it does not show by itself.
fn loader_says(error: libloading::Error) -> String {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}
