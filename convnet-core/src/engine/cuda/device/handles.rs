//! What is had from the driver, each given back when it is dropped.
//!
//! All of this is made, used and dropped while the context that it belongs to is current. Errors in giving back are not
//! told: the driver repeats those of kernels there, which were told before.

use super::During;
use crate::Result;
use cudarc::driver::result::{self, graph, module, stream};
use cudarc::driver::sys;
use std::ffi::{CString, c_void};
use std::ptr::null_mut;

/// A queue of work.
pub(super) struct Stream(pub sys::CUstream);

impl Stream {
    pub fn new() -> Result<Stream> {
        stream::create(stream::StreamKind::NonBlocking).during("make a stream").map(Stream)
    }

    /// Waits until all is done.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream is there until `self` is dropped.
        unsafe { stream::synchronize(self.0) }.during("finish work on the GPU")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: it was made, and is not used after this.
        let _ = unsafe { stream::destroy(self.0) };
    }
}

/// Memory of the GPU.
pub(super) struct Allocation {
    pub address: sys::CUdeviceptr,
    pub bytes: usize,
}

impl Allocation {
    /// Of these bytes, which hold anything.
    pub fn new(bytes: usize) -> Result<Allocation, result::DriverError> {
        // The driver refuses to allocate nothing.
        // SAFETY: nobody reads it before `Machine::reserve` has filled it.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }?;
        Ok(Allocation { address, bytes })
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: it was allocated, and whoever drops it has waited for what uses it.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// Loaded kernels.
pub(super) struct Library(sys::CUmodule);

impl Library {
    /// From a CUBIN, or PTX that ends in zero.
    pub fn new(image: &[u8]) -> Result<Library, result::DriverError> {
        // SAFETY: NVRTC made the image, and the cache has checked that it is whole.
        unsafe { module::load_data(image.as_ptr().cast()) }.map(Library)
    }

    /// A kernel. It may be used as long as the library is there.
    pub fn function(&self, name: &str) -> Result<sys::CUfunction> {
        let action = format!("find the kernel {name}");
        let c_name = CString::new(name).map_err(|_| crate::Error::Cuda(format!("cannot {action}")))?;
        // SAFETY: the library is there until `self` is dropped.
        unsafe { module::get_function(self.0, c_name) }.during(&action)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: it was loaded, and graphs of its kernels are dropped before.
        let _ = unsafe { module::unload(self.0) };
    }
}

/// A graph that is being made.
pub(super) struct Draft(sys::CUgraph);

impl Draft {
    pub fn new() -> Result<Draft> {
        let mut graph = null_mut();
        // SAFETY: the place is there for as long as the call takes; the flags have to be zero.
        unsafe { sys::cuGraphCreate(&mut graph, 0) }.result().during("make a graph")?;
        Ok(Draft(graph))
    }

    /// Adds a launch of `function`, after those that it waits for. `values` holds its arguments, each at the beginning
    /// of its eight bytes.
    ///
    /// # Safety
    /// The function is loaded, and takes arguments of these types. Addresses among them stay valid until the graph has
    /// been launched for the last time.
    pub unsafe fn add(
        &mut self,
        function: sys::CUfunction,
        grid: [u32; 3],
        threads: u32,
        mut values: Vec<u64>,
        after: &[sys::CUgraphNode],
    ) -> Result<sys::CUgraphNode, result::DriverError> {
        let mut places: Vec<*mut c_void> = values.iter_mut().map(|value| (value as *mut u64).cast()).collect();
        let parameters = sys::CUDA_KERNEL_NODE_PARAMS {
            func: function,
            gridDimX: grid[0],
            gridDimY: grid[1],
            gridDimZ: grid[2],
            blockDimX: threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            kernelParams: places.as_mut_ptr(),
            extra: null_mut(),
            // The function says both.
            kern: null_mut(),
            ctx: null_mut(),
        };
        let mut node = null_mut();
        // SAFETY: the graph is there; the driver copies the arguments before it returns.
        unsafe { sys::cuGraphAddKernelNode_v2(&mut node, self.0, after.as_ptr(), after.len(), &parameters) }
            .result()?;
        Ok(node)
    }

    /// The graph as it is launched.
    pub fn finish(self) -> Result<Graph> {
        // SAFETY: the graph is there, and need not be after this.
        let graph = unsafe { graph::instantiate(self.0, sys::CUgraphInstantiate_flags(0)) };
        graph.during("prepare a graph").map(Graph)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // SAFETY: it was made, and is not used after this.
        let _ = unsafe { graph::destroy(self.0) };
    }
}

/// A graph that can be launched.
pub(super) struct Graph(sys::CUgraphExec);

impl Graph {
    /// Brings it to the GPU, so that the first launch is no slower than the others.
    pub fn upload(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both are there.
        unsafe { graph::upload(self.0, stream.0) }.during("upload a graph")
    }

    /// Runs it after all that the stream has to do.
    pub fn launch(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both are there.
        unsafe { graph::launch(self.0, stream.0) }.during("launch a graph")
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: it was made; whoever drops it has waited for its launches.
        let _ = unsafe { graph::exec_destroy(self.0) };
    }
}
