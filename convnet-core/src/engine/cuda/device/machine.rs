//! A GPU as the engine's machine: its memory, its kernels, and launches as graphs, in one stream.

use super::handles::{Allocation, Draft, Graph, Library, Stream};
use super::staging::Staging;
use super::{During, Gpu, dotted, reason};
use crate::engine::cuda::backend::{Backend, Launch, Memory, Module, Properties, Recording};
use crate::engine::cuda::cache::{Cache, digest};
use crate::engine::cuda::launches;
use crate::engine::cuda::nvrtc::{Nvrtc, package};
use crate::engine::cuda::source::{Kernel, Source, Target};
use crate::{Error, Result};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{CUfunction, CUresult};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many times launches are timed, how long about each time, and how often one after the other at the most: one alone
/// may take no longer than a graph takes to start.
const TIMES: usize = 3;
const SPENT: Duration = Duration::from_millis(4);
const IN_A_ROW: u128 = 16;

/// A GPU with what one engine has on it. The fields are dropped in this order: graphs before their kernels, all before
/// the stream, and the context at last.
pub(in crate::engine::cuda) struct Machine {
    graphs: Vec<Option<Graph>>,
    modules: Vec<Loaded>,
    memories: BTreeMap<Memory, Allocation>,
    /// None before the first upload.
    staging: Option<Staging>,
    stream: Stream,
    cache: Cache,
    /// What was measured, apart from the kernels, which are many and large.
    remembered: Cache,
    /// The driver's version and the text of all templates, as a digest.
    made_of: [u8; 32],
    /// None before the first kernels.
    nvrtc: Option<Nvrtc>,
    pub(super) cuda: Gpu,
}

/// Kernels on the GPU.
struct Loaded {
    kernels: Vec<Kernel>,
    /// By the kernels' numbers.
    functions: Vec<CUfunction>,
    /// The functions are in them.
    libraries: Vec<Library>,
}

// SAFETY: what the driver gave may be used by any thread to which the context is current, by one at a time; each method
// makes it current first, and takes the machine for itself.
unsafe impl Send for Machine {}

impl Machine {
    /// A machine with nothing on it yet.
    ///
    /// # Errors
    /// [`Error::Cuda`] if the driver makes no stream.
    pub fn new(cuda: Gpu) -> Result<Machine> {
        cuda.bind()?;
        Ok(Machine {
            graphs: Vec::new(),
            modules: Vec::new(),
            memories: BTreeMap::new(),
            staging: None,
            stream: Stream::new()?,
            cache: Cache::of_user("kernels"),
            remembered: Cache::of_user("choices"),
            made_of: digest(&[&cuda.context.driver.to_le_bytes(), Source::default().text(Target::Device).as_bytes()]),
            nvrtc: None,
            cuda,
        })
    }

    /// Compiles the parts of a source at the same time, and loads them.
    pub(super) fn load_parts(&mut self, parts: &[(Range<usize>, String)], kernels: &[Kernel]) -> Result<Module> {
        self.cuda.bind()?;
        let (capability, driver) = (self.cuda.compute_capability(), self.cuda.context.driver);
        let nvrtc = match &mut self.nvrtc {
            Some(found) => found,
            none => none.insert(Nvrtc::find(driver / 1000)?),
        };
        let settings = nvrtc.settings(capability)?;
        let (cache, nvrtc) = (&self.cache, &*nvrtc);
        let image = |text: &str| {
            let origin = ["device", env!("CARGO_PKG_VERSION"), &settings, text].map(str::as_bytes);
            cache.get(&origin, || nvrtc.compile(text, capability))
        };
        let texts: Vec<&str> = parts.iter().map(|(_, text)| text.as_str()).collect();
        let images = compile_all(&texts, image);
        let mut loaded = Loaded { kernels: kernels.to_vec(), functions: Vec::new(), libraries: Vec::new() };
        for ((range, _), image) in parts.iter().zip(images) {
            let library = Library::new(&image?).map_err(|error| refused(&error, nvrtc.version(), driver))?;
            for number in range.clone() {
                loaded.functions.push(library.function(&Source::name(number))?);
            }
            loaded.libraries.push(library);
        }
        self.modules.push(loaded);
        Ok(Module(self.modules.len() - 1))
    }

    /// On what it depends what is remembered by a name: the GPU, the driver, and what the kernels are made of.
    fn origin<'a>(&'a self, name: &'a str) -> [&'a [u8]; 3] {
        [self.cuda.name().as_bytes(), &self.made_of, name.as_bytes()]
    }

    /// The least of some times that launches take, so many in a row.
    fn time_in_a_row(&mut self, module: Module, launches: &[Launch], many: usize, times: usize) -> Result<Duration> {
        let recording = self.record(module, &vec![launches; many].concat())?;
        let mut least = Duration::MAX;
        for _ in 0..times {
            self.stream.synchronize()?;
            let start = Instant::now();
            self.replay(recording, 1)?;
            self.stream.synchronize()?;
            least = least.min(start.elapsed());
        }
        // The last one: its place is free again.
        self.graphs.truncate(recording.0);
        Ok(least / many as u32)
    }

    /// The address of a place with so many bytes behind it.
    fn place(&self, memory: Memory, at: usize, bytes: usize) -> Result<u64> {
        let (address, there) = self.memories.get(&memory).map_or((0, 0), |known| (known.address, known.bytes));
        match at.checked_add(bytes) {
            Some(end) if end <= there => Ok(address + at as u64),
            _ => Err(Error::Cuda(format!("{memory:?}: {bytes} bytes from byte {at} on are not in its {there}"))),
        }
    }

    /// The error of who asks for more memory than there is.
    fn no_memory(&self, memory: Memory, bytes: usize, error: &DriverError) -> Error {
        let (name, reason) = (self.cuda.name(), reason(error));
        let state = match self.cuda.memory() {
            Ok((free, total)) if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                format!("{free} of its {total} bytes are free (smaller batches need less)")
            }
            _ => "it may have too little".to_owned(),
        };
        Error::Cuda(format!("{name} gives no {bytes} bytes of memory ({memory:?}): {state}: {reason}"))
    }
}

/// What `compile` makes of each text, as many at the same time as there are processors.
pub(super) fn compile_all(texts: &[&str], compile: impl Fn(&str) -> Result<Vec<u8>> + Sync) -> Vec<Result<Vec<u8>>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(texts.len());
    let next = AtomicUsize::new(0);
    let worker = || {
        let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
        let mine = numbers.take_while(|number| *number < texts.len());
        mine.map(|number| (number, compile(texts[number]))).collect::<Vec<_>>()
    };
    let mut made: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        started.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    made.sort_by_key(|(number, _)| *number);
    // Of a thread that panicked nothing is there.
    let mut made = made.into_iter().peekable();
    let stopped = || Err(Error::Cuda("compiling the kernels panicked".to_owned()));
    let made_of = |number: usize| made.next_if(|made| made.0 == number).map_or_else(stopped, |made| made.1);
    (0..texts.len()).map(made_of).collect()
}

/// The error of kernels that the driver does not load.
pub(super) fn refused(error: &DriverError, nvrtc: (i32, i32), driver: i32) -> Error {
    Error::Cuda(format!("cannot load the kernels: {}{}", reason(error), newer(nvrtc, driver)))
}

/// What to do if NVRTC is newer than the driver, which then does not know what it makes.
pub(super) fn newer(nvrtc: (i32, i32), driver: i32) -> String {
    if 1000 * nvrtc.0 + 10 * nvrtc.1 <= driver {
        return String::new();
    }
    let (package, driver) = (package(driver / 1000), dotted(driver));
    format!(
        "; the driver knows CUDA {driver}, and NVRTC is {}.{}: a newer driver may do, or the NVRTC of \
         `pip install '{package}<={driver}.999'`",
        nvrtc.0, nvrtc.1
    )
}

impl Backend for Machine {
    fn properties(&self) -> Properties {
        let context = &self.cuda.context;
        Properties { multiprocessors: context.multiprocessors, tensor_cores: context.capability.0 >= 8 }
    }

    fn reserve(&mut self, memory: Memory, bytes: usize) -> Result<()> {
        if self.memories.get(&memory).is_some_and(|known| known.bytes >= bytes) {
            return Ok(());
        }
        self.cuda.bind()?;
        // What runs may use the old memory, and the graphs know its address.
        self.stream.synchronize()?;
        self.graphs.fill_with(|| None);
        self.memories.remove(&memory);
        let fresh = Allocation::new(bytes).map_err(|error| self.no_memory(memory, bytes, &error))?;
        if bytes > 0 {
            // SAFETY: so many bytes have just been allocated.
            unsafe { result::memset_d8_async(fresh.address, 0, bytes, self.stream.0) }.during("clear memory")?;
        }
        self.memories.insert(memory, fresh);
        Ok(())
    }

    fn free(&self) -> Result<usize> {
        self.cuda.memory().map(|(free, _)| free)
    }

    fn total(&self) -> Result<usize> {
        self.cuda.memory().map(|(_, total)| total)
    }

    fn forget(&mut self) {
        // What runs may be in them; if the GPU fails, they are given back to a driver that refuses everything.
        if self.cuda.bind().is_ok() {
            let _ = self.stream.synchronize();
        }
        self.graphs.clear();
        self.modules.clear();
    }

    fn write(&mut self, memory: Memory, at: usize, bytes: &[u8]) -> Result<()> {
        let address = self.place(memory, at, bytes.len())?;
        self.cuda.bind()?;
        let staging = match &mut self.staging {
            Some(staging) => staging,
            none => none.insert(Staging::new()?),
        };
        // SAFETY: the place is inside the memory, which is freed only when the stream has nothing more to do.
        unsafe { staging.upload(address, bytes, &self.stream) }
    }

    fn read(&mut self, memory: Memory, at: usize, bytes: &mut [u8]) -> Result<()> {
        let address = self.place(memory, at, bytes.len())?;
        self.cuda.bind()?;
        self.stream.synchronize()?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the place is inside the memory, and the call returns when all is copied.
        unsafe { result::memcpy_dtoh_sync(bytes, address) }.during("copy from the GPU")
    }

    fn load(&mut self, source: &Source) -> Result<Module> {
        self.load_parts(&source.parts(), source.kernels())
    }

    fn record(&mut self, module: Module, launches: &[Launch]) -> Result<Recording> {
        self.cuda.bind()?;
        let loaded = &self.modules[module.0];
        let sizes = |memory| self.memories.get(&memory).map_or(0, |known| known.bytes);
        launches::check(&loaded.kernels, launches, sizes)
            .map_err(|fault| Error::Cuda(format!("convnet made a launch that does not fit: {fault}")))?;
        let address = |memory| self.memories.get(&memory).map_or(0, |known| known.address);
        let mut draft = Draft::new()?;
        let mut nodes = Vec::with_capacity(launches.len());
        for (launch, after) in launches.iter().zip(launches::dependencies(launches)) {
            let kernel = &loaded.kernels[launch.kernel];
            let after: Vec<_> = after.iter().map(|&earlier| nodes[earlier]).collect();
            let (function, values) = (loaded.functions[launch.kernel], launches::values(launch, address));
            // SAFETY: the arguments are of the kernel's types, as was checked; the module stays as long as `self`, and
            // a memory that is made anew takes the graphs with it.
            let node = unsafe { draft.add(function, launch.grid, kernel.threads, values, &after) };
            nodes.push(node.during(&format!("record the kernel `{}`", kernel.template))?);
        }
        let graph = draft.finish()?;
        graph.upload(&self.stream)?;
        self.graphs.push(Some(graph));
        Ok(Recording(self.graphs.len() - 1))
    }

    fn replay(&mut self, recording: Recording, times: usize) -> Result<()> {
        self.cuda.bind()?;
        let graph = self.graphs[recording.0].as_ref().ok_or_else(launches::forgotten)?;
        (0..times).try_for_each(|_| graph.launch(&self.stream))
    }

    fn measures(&self) -> bool {
        true
    }

    fn time(&mut self, module: Module, launches: &[Launch]) -> Result<Duration> {
        // The first time warms up.
        self.time_in_a_row(module, launches, 1, 1)?;
        let once = self.time_in_a_row(module, launches, 1, 1)?;
        let most = (SPENT.as_nanos() / once.as_nanos().max(1)).min(IN_A_ROW);
        if most > 1 { self.time_in_a_row(module, launches, most as usize, TIMES) } else { Ok(once) }
    }

    fn unload(&mut self, module: Module) {
        // What runs may be in it; if the GPU fails, it is given back to a driver that refuses everything.
        if self.cuda.bind().is_ok() {
            let _ = self.stream.synchronize();
        }
        self.modules[module.0] = Loaded { kernels: Vec::new(), functions: Vec::new(), libraries: Vec::new() };
    }

    fn recall(&self, name: &str) -> Option<Vec<u8>> {
        self.remembered.find(&self.origin(name))
    }

    fn remember(&self, name: &str, value: &[u8]) {
        self.remembered.put(&self.origin(name), value);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The fields are given back after this, which needs the context and an idle GPU.
        self.forget();
    }
}
