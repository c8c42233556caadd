//! NVIDIA GPUs, by their driver's own interface, which is looked for when a program runs.
//!
//! [`Gpu`] is what [`super::Cuda`] names. `machine` is the [backend](super::backend::Backend) on it; what it owns on the
//! GPU lies in `handles`, which give it back, and what it uploads goes through `staging`.

mod handles;
mod machine;
mod staging;
#[cfg(test)]
mod tests;

pub(super) use self::machine::Machine;

use crate::{Error, Result};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};
use std::sync::Arc;

/// The oldest driver interface that has all that is called: CUDA 12.0.
const OLDEST: i32 = 12_000;

/// An NVIDIA GPU. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Gpu {
    context: Arc<Context>,
}

/// A GPU with its primary context, in which all of a process's work on it takes place.
#[derive(Debug)]
struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
    name: String,
    capability: (i32, i32),
    multiprocessors: usize,
    /// The version of CUDA that the driver knows: 12080 is 12.8.
    driver: i32,
}

// SAFETY: a context may be made current to any thread, and to several at a time (CUDA C++ Programming Guide, "Driver
// API: Context").
unsafe impl Send for Context {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Context {}

impl Gpu {
    /// The GPU of this number, counted from zero in the order of the driver (which the environment's
    /// `CUDA_VISIBLE_DEVICES` may change).
    ///
    /// # Errors
    /// [`Error::Cuda`] without a driver, with one older than CUDA 12.0, or if there is no such GPU.
    pub fn device(ordinal: usize) -> Result<Gpu> {
        let count = Gpu::count()?;
        let number =
            i32::try_from(ordinal).ok().filter(|_| ordinal < count).ok_or_else(|| no_device(ordinal, count))?;
        let device = result::device::get(number).during("open the GPU")?;
        let name = result::device::get_name(device).during("ask for the GPU's name")?;
        let attribute = |attribute| {
            // SAFETY: the device is one.
            unsafe { result::device::get_attribute(device, attribute) }.during("ask what the GPU is")
        };
        let capability = (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let multiprocessors = usize::try_from(multiprocessors).unwrap_or(1);
        let driver = driver_version()?;
        // SAFETY: the device is one.
        let context = unsafe { result::primary_ctx::retain(device) }.during("start work on the GPU")?;
        let context = Context { device, context, name, capability, multiprocessors, driver };
        Ok(Gpu { context: Arc::new(context) })
    }

    /// How many GPUs there are.
    ///
    /// # Errors
    /// [`Error::Cuda`] without a driver, or with one older than CUDA 12.0.
    pub fn count() -> Result<usize> {
        // SAFETY: what runs when the driver's library is loaded is NVIDIA's, and asks for nothing.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::Cuda(no_driver()));
        }
        // Before anything else: cudarc panics where an older driver lacks a function.
        let version = driver_version()?;
        if version < OLDEST {
            return Err(Error::Cuda(old_driver(version)));
        }
        match result::init() {
            Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => return Ok(0),
            started => started.during("start the driver (cuInit)")?,
        }
        let count = result::device::get_count().during("count the GPUs")?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// The GPU's name, as its driver says it: `NVIDIA H100 80GB HBM3`.
    pub fn name(&self) -> &str {
        &self.context.name
    }

    /// The major and minor number of its compute capability.
    pub fn compute_capability(&self) -> (i32, i32) {
        self.context.capability
    }

    /// Its free memory, and all of it, in bytes.
    ///
    /// # Errors
    /// [`Error::Cuda`] if the driver refuses to tell.
    pub fn memory(&self) -> Result<(usize, usize)> {
        self.bind()?;
        result::mem_get_info().during("ask for the GPU's free memory")
    }

    /// Makes this GPU the one that this thread's calls of the driver mean.
    fn bind(&self) -> Result<()> {
        // SAFETY: the context is there until `self` is dropped.
        unsafe { result::ctx::set_current(self.context.context) }.during("turn to the GPU")
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // There is no one to tell if it fails.
        // SAFETY: it was retained once, and nothing of it is in use: all that is holds a `Gpu`.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// Says during what the driver refused.
trait During<T> {
    /// With a sentence: `cannot count the GPUs: CUDA_ERROR_… (…)`.
    fn during(self, action: &str) -> Result<T>;
}

impl<T> During<T> for Result<T, DriverError> {
    fn during(self, action: &str) -> Result<T> {
        self.map_err(|error| Error::Cuda(format!("cannot {action}: {}", reason(&error))))
    }
}

/// The driver's name for an error, and what it says of it.
fn reason(error: &DriverError) -> String {
    let text = |text: Result<&std::ffi::CStr, DriverError>| text.ok().map(|text| text.to_string_lossy().into_owned());
    let name = text(error.error_name()).unwrap_or_else(|| format!("error {}", error.0 as u32));
    text(error.error_string()).map_or(name.clone(), |description| format!("{name} ({description})"))
}

fn driver_version() -> Result<i32> {
    let mut version = 0;
    // SAFETY: the place is there for as long as the call takes.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().during("ask for the driver's version")?;
    Ok(version)
}

fn no_driver() -> String {
    let names = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so, libcuda.so.1" };
    format!(
        "the driver of NVIDIA GPUs is not there: the system's loader knows no {names} (it comes with the driver, not \
         with the CUDA toolkit; in a container, the container has to be given the GPU)"
    )
}

fn old_driver(version: i32) -> String {
    let [found, oldest] = [version, OLDEST].map(dotted);
    format!("the driver knows CUDA {found}, and {oldest} or newer is needed: a driver of 2023 or later has it")
}

fn no_device(ordinal: usize, count: usize) -> Error {
    Error::Cuda(match count {
        0 => "the driver finds no GPU (if there is one, see whether CUDA_VISIBLE_DEVICES hides it)".to_owned(),
        1 => format!("there is no GPU {ordinal}: there is one, number 0"),
        _ => format!("there is no GPU {ordinal}: there are {count}, numbered from 0"),
    })
}

/// CUDA's way of writing versions, 12080, as people write them.
fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}
