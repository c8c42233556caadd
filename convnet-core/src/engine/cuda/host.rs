//! The CUDA kernels on the CPU, for tests: a C++ compiler makes a library of them, in which the threads of a block take
//! turns (`kernels/host.cuh`). Slow, and stricter than a GPU: see [`Host::new`].

mod library;
#[cfg(test)]
mod tests;

use self::library::{Compiler, GOODBYE, Loaded, OPTIONS, VISIBLE};
use super::backend::{Argument, Backend, Launch, Memory, Module, Properties, Recording, Span};
use super::cache::Cache;
use super::launches;
use super::source::{Kernel, Source, Target};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::time::{Duration, Instant};

/// Bytes behind each memory that nobody may write, and what stands in them: no number that a kernel is likely to write.
const GUARD: usize = 256;
const GUARDED: u8 = 0xa5;

/// Where nothing may change that a launch does not write. The others no kernel writes, and they are large.
const WATCHED: [Memory; 5] = [Memory::Weights, Memory::Previous, Memory::Slots, Memory::State, Memory::Work];

/// The CPU as a machine.
pub(super) struct Host {
    backwards: bool,
    checked: bool,
    /// As many as kernels are launched for; blocks run one after the other.
    multiprocessors: usize,
    measures: bool,
    compiler: Compiler,
    cache: Cache,
    memories: BTreeMap<Memory, Block>,
    modules: Vec<Loaded>,
    recordings: Vec<Option<Recorded>>,
}

/// What has been recorded.
struct Recorded {
    module: usize,
    launches: Vec<Launch>,
}

impl Host {
    /// The machine. Threads of a block go on in falling order if `backwards`, which has to make no difference.
    ///
    /// Fresh working memory is full of NaN. If `checked`, a launch finds what it has to write as a whole full of NaN,
    /// and the program panics after a launch that wrote anywhere else than it said.
    ///
    /// # Errors
    /// [`Error::Cuda`] if this is no Linux on x86-64, or without a C++ compiler.
    pub fn new(backwards: bool, checked: bool, multiprocessors: usize) -> Result<Host> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(Error::Cuda("kernels are executed on the CPU only under Linux on x86-64".to_owned()));
        }
        let (compiler, cache) = (Compiler::find()?, Cache::of_user("kernels"));
        let (memories, modules, recordings) = (BTreeMap::new(), Vec::new(), Vec::new());
        Ok(Host {
            backwards,
            checked,
            multiprocessors,
            measures: false,
            compiler,
            cache,
            memories,
            modules,
            recordings,
        })
    }

    /// The same, that says how long launches take.
    pub fn measuring(self) -> Host {
        Host { measures: true, ..self }
    }

    fn load_text(&mut self, text: &str, kernels: &[Kernel]) -> Result<Module> {
        let options = OPTIONS.join(" ");
        let origin = ["host", env!("CARGO_PKG_VERSION"), &self.compiler.version, &options, VISIBLE, GOODBYE, text];
        let library = self.cache.get(&origin.map(str::as_bytes), || self.compiler.compile(text))?;
        self.modules.push(Loaded::new(&library, kernels)?);
        Ok(Module(self.modules.len() - 1))
    }

    fn bytes(&self, memory: Memory) -> usize {
        self.memories.get(&memory).map_or(0, |block| block.bytes)
    }

    /// The bytes of a memory from `at` on.
    fn range(&mut self, memory: Memory, at: usize, bytes: usize) -> Result<&mut [u8]> {
        let there = self.bytes(memory);
        let outside = || Error::Cuda(format!("{memory:?}: {bytes} bytes from byte {at} on are not in its {there}"));
        let end = at.checked_add(bytes).filter(|&end| end <= there).ok_or_else(outside)?;
        self.memories.get_mut(&memory).and_then(|block| block.all().get_mut(at..end)).ok_or_else(outside)
    }

    fn run(&mut self, module: usize, launch: &Launch) {
        let entrance = &self.modules[module].kernels[launch.kernel];
        let (entry, threads, template) = (entrance.entry, entrance.kernel.threads, entrance.kernel.template);
        let before = self.checked.then(|| {
            poison(&mut self.memories, launch);
            let watched = self.memories.iter_mut().filter(|(memory, _)| WATCHED.contains(memory));
            watched.map(|(memory, block)| (*memory, block.all().to_vec())).collect::<Vec<_>>()
        });
        let mut addresses = BTreeMap::new();
        for (memory, block) in &mut self.memories {
            addresses.insert(*memory, block.all().as_mut_ptr().expose_provenance() as u64);
        }
        let mut values = launches::values(launch, |memory| addresses.get(&memory).copied().unwrap_or(0));
        let mut places: Vec<*mut c_void> = values.iter_mut().map(|value| (value as *mut u64).cast()).collect();
        // SAFETY: the library was made from the text whose entry points have this signature, and is loaded. The
        // arguments have the kernel's types and lie in memory that is there (`launches::check`). Its static variables
        // are no one else's, since each module has loaded its own copy and `self` is borrowed mutably. A kernel that
        // leaves its spans is undefined behaviour; to find such kernels is what this machine is for.
        unsafe { entry(launch.grid.as_ptr(), threads, places.as_mut_ptr(), self.backwards.into()) };
        for (memory, before) in before.into_iter().flatten() {
            let Some(block) = self.memories.get_mut(&memory) else { continue };
            if let Some(place) = changed_outside(launch, memory, &before, block.all()) {
                let bytes = block.bytes;
                panic!("`{template}` changed byte {place} of {memory:?} ({bytes} bytes), which it is not to write");
            }
        }
    }
}

/// Fills what a launch says to write as a whole with NaN, unless it reads it, too.
fn poison(memories: &mut BTreeMap<Memory, Block>, launch: &Launch) {
    let whole = launch.arguments.iter().filter_map(|argument| match argument {
        Argument::Write(span) => Some(span),
        _ => None,
    });
    let reads = |argument: &Argument, written: &Span| match argument {
        Argument::Read(span) | Argument::Update(span) => span.overlaps(written),
        _ => false,
    };
    for span in whole {
        let fresh = !launch.arguments.iter().any(|argument| reads(argument, span));
        if let (true, Some(block)) = (fresh, memories.get_mut(&span.memory)) {
            block.all()[span.at..span.at + span.bytes].fill(0xff);
        }
    }
}

/// The first byte of a memory that is not what it was before a launch, though the launch does not say to write it.
fn changed_outside(launch: &Launch, memory: Memory, before: &[u8], after: &[u8]) -> Option<usize> {
    let spans = launch.arguments.iter().filter(|argument| argument.writes()).filter_map(|argument| argument.place());
    let mut written: Vec<_> = spans.filter(|span| span.memory == memory).map(|s| (s.at, s.at + s.bytes)).collect();
    written.push((after.len(), after.len()));
    written.sort();
    let mut from = 0;
    for (start, end) in written {
        if from < start && before[from..start] != after[from..start] {
            return (from..start).find(|&i| before[i] != after[i]);
        }
        from = from.max(end);
    }
    None
}

impl Backend for Host {
    fn measures(&self) -> bool {
        self.measures
    }

    fn time(&mut self, module: Module, launches: &[Launch]) -> Result<Duration> {
        let recording = self.record(module, launches)?;
        let start = Instant::now();
        self.replay(recording, 1)?;
        Ok(start.elapsed())
    }

    fn recall(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn remember(&self, _: &str, _: &[u8]) {}

    fn properties(&self) -> Properties {
        Properties { multiprocessors: self.multiprocessors, tensor_cores: true }
    }

    fn reserve(&mut self, memory: Memory, bytes: usize) -> Result<()> {
        if !self.memories.contains_key(&memory) || bytes > self.bytes(memory) {
            let fill = if memory == Memory::Work { 0xff } else { 0 };
            self.memories.insert(memory, Block::new(bytes, fill));
            self.recordings.fill_with(|| None);
        }
        Ok(())
    }

    fn free(&self) -> Result<usize> {
        Ok(usize::MAX)
    }

    fn total(&self) -> Result<usize> {
        Ok(usize::MAX)
    }

    fn unload(&mut self, module: Module) {
        self.modules[module.0].kernels.clear();
    }

    fn forget(&mut self) {
        self.recordings.clear();
        self.modules.clear();
    }

    fn write(&mut self, memory: Memory, at: usize, bytes: &[u8]) -> Result<()> {
        self.range(memory, at, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, memory: Memory, at: usize, bytes: &mut [u8]) -> Result<()> {
        bytes.copy_from_slice(self.range(memory, at, bytes.len())?);
        Ok(())
    }

    fn load(&mut self, source: &Source) -> Result<Module> {
        self.load_text(&source.text(Target::Host), source.kernels())
    }

    fn record(&mut self, module: Module, launches: &[Launch]) -> Result<Recording> {
        let module = module.0;
        let kernels: Vec<_> = self.modules[module].kernels.iter().map(|kernel| kernel.kernel.clone()).collect();
        if let Err(fault) = launches::check(&kernels, launches, |memory| self.bytes(memory)) {
            panic!("{fault}");
        }
        self.recordings.push(Some(Recorded { module, launches: launches.to_vec() }));
        Ok(Recording(self.recordings.len() - 1))
    }

    fn replay(&mut self, recording: Recording, times: usize) -> Result<()> {
        let recorded = self.recordings[recording.0].take().ok_or_else(launches::forgotten)?;
        for _ in 0..times {
            recorded.launches.iter().for_each(|launch| self.run(recorded.module, launch));
        }
        self.recordings[recording.0] = Some(recorded);
        Ok(())
    }
}

/// Bytes at a place as a GPU's allocations have it.
#[derive(Clone, Copy)]
#[repr(C, align(256))]
struct Line([u8; 256]);

/// A memory.
struct Block {
    /// Those that may be used; others follow.
    bytes: usize,
    lines: Vec<Line>,
}

impl Block {
    fn new(bytes: usize, fill: u8) -> Block {
        let mut block = Block { bytes, lines: vec![Line([fill; 256]); (bytes + GUARD).div_ceil(256)] };
        block.all()[bytes..].fill(GUARDED);
        block
    }

    /// All bytes, with those behind the memory.
    fn all(&mut self) -> &mut [u8] {
        let lines = self.lines.as_mut_slice();
        // SAFETY: a `Line` is 256 bytes without padding, of which every value is one.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), 256 * lines.len()) }
    }
}
