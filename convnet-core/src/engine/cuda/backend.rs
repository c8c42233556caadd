//! What the engine asks of a machine: memory, kernels, and lists of launches that are recorded once and replayed.
//!
//! There are two: an NVIDIA GPU (`device`), and, for tests, the CPU that executes the same kernels thread by thread
//! (`host`).

use super::source::{ArgumentType, Element, Source};
use crate::Result;
use std::time::Duration;

/// Which of the two data sets that a training looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Role {
    /// The one that it learns from.
    Training,
    /// The one that is only evaluated.
    Validation,
}

/// A piece of a machine's memory that is taken as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Memory {
    /// The parameters.
    Weights,
    /// The parameters before the last step.
    Previous,
    /// The optimizer's state, one run of floats as long as the parameters after the other.
    Slots,
    /// The one `State`.
    State,
    /// Tensors, gradients and whatever kernels leave for one another.
    Work,
    /// Values of images: bytes or floats.
    Pixels(Role),
    /// Labels of images.
    Labels(Role),
    /// The order in which images are visited.
    Order,
    /// Tables that kernels look things up in.
    Tables,
}

/// A run of elements in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub memory: Memory,
    pub element: Element,
    /// Its first byte.
    pub at: usize,
    pub bytes: usize,
}

impl Span {
    /// Whether they have a byte in common.
    pub fn overlaps(&self, other: &Span) -> bool {
        self.memory == other.memory && self.at < other.at + other.bytes && other.at < self.at + self.bytes
    }
}

/// An argument of a launch. A program that is being written has other places than spans.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Argument<P = Span> {
    Read(P),
    /// Every element is written, none is read.
    Write(P),
    /// Read and written, or written in part.
    Update(P),
    Int(i32),
    Long(u64),
    Float(f32),
}

impl<P> Argument<P> {
    /// The same with each place changed.
    pub fn map<Q>(&self, change: impl Fn(&P) -> Q) -> Argument<Q> {
        match self {
            Argument::Read(place) => Argument::Read(change(place)),
            Argument::Write(place) => Argument::Write(change(place)),
            Argument::Update(place) => Argument::Update(change(place)),
            Argument::Int(value) => Argument::Int(*value),
            Argument::Long(value) => Argument::Long(*value),
            Argument::Float(value) => Argument::Float(*value),
        }
    }

    /// The memory that it points at.
    pub fn place(&self) -> Option<&P> {
        match self {
            Argument::Read(place) | Argument::Write(place) | Argument::Update(place) => Some(place),
            _ => None,
        }
    }

    /// Whether it is written through.
    pub fn writes(&self) -> bool {
        matches!(self, Argument::Write(_) | Argument::Update(_))
    }
}

/// A place of elements of one kind.
pub(super) trait Elements {
    fn element(&self) -> Element;
}

impl Elements for Span {
    fn element(&self) -> Element {
        self.element
    }
}

impl<P: Elements> Argument<P> {
    /// Its type in C++.
    pub fn kind(&self) -> ArgumentType {
        match self {
            Argument::Read(place) => ArgumentType::Const(place.element()),
            Argument::Write(place) | Argument::Update(place) => ArgumentType::Mut(place.element()),
            Argument::Int(_) => ArgumentType::Int,
            Argument::Long(_) => ArgumentType::Long,
            Argument::Float(_) => ArgumentType::Float,
        }
    }
}

/// One kernel on a grid of blocks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Launch<P = Span> {
    /// Number in the program's [`Source`].
    pub kernel: usize,
    /// Blocks along x, y and z; at least one each.
    pub grid: [u32; 3],
    pub arguments: Vec<Argument<P>>,
}

impl Launch {
    /// Whether it has to wait for an earlier one: one of the two writes what the other uses.
    pub fn follows(&self, earlier: &Launch) -> bool {
        self.arguments.iter().any(|mine| {
            let clash = |theirs: &Argument| match (mine.place(), theirs.place()) {
                (Some(a), Some(b)) => (mine.writes() || theirs.writes()) && a.overlaps(b),
                _ => false,
            };
            earlier.arguments.iter().any(clash)
        })
    }
}

/// Kernels that a machine has compiled and loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Module(pub usize);

/// Launches that a machine has recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recording(pub usize);

/// What a machine is, as far as kernels are chosen by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Properties {
    /// Streaming multiprocessors: blocks that run at the same time, at least.
    pub multiprocessors: usize,
    /// Whether there are tensor cores for TF32 and bfloat16.
    pub tensor_cores: bool,
}

/// A machine.
pub(super) trait Backend: Send {
    fn properties(&self) -> Properties;

    /// Makes a memory at least so large (what was in it is lost if it grows), full of zeros where it is new. Recordings
    /// made before are forgotten if it grows.
    ///
    /// # Errors
    /// [`crate::Error::Cuda`] where the machine has not so much.
    fn reserve(&mut self, memory: Memory, bytes: usize) -> Result<()>;

    /// Bytes of memory that could be had.
    fn free(&self) -> Result<usize>;

    /// Bytes of memory in all.
    fn total(&self) -> Result<usize>;

    /// Gives up all modules and recordings.
    fn forget(&mut self);

    /// Copies `bytes` to the memory, from byte `at` on, after all that was asked for before.
    fn write(&mut self, memory: Memory, at: usize, bytes: &[u8]) -> Result<()>;

    /// Waits for all that was asked for, and copies from the memory.
    fn read(&mut self, memory: Memory, at: usize, bytes: &mut [u8]) -> Result<()>;

    /// Compiles and loads kernels.
    fn load(&mut self, source: &Source) -> Result<Module>;

    /// Records launches of kernels of `module`, which may run at the same time where none [follows](Launch::follows) the
    /// other.
    fn record(&mut self, module: Module, launches: &[Launch]) -> Result<Recording>;

    /// Runs a recording so many times, one after the other; does not wait for it.
    fn replay(&mut self, recording: Recording, times: usize) -> Result<()>;

    /// Whether [`Backend::time`] says something about it.
    fn measures(&self) -> bool;

    /// How long launches of kernels of `module` take, behind one another; longer ones are timed less often.
    fn time(&mut self, module: Module, launches: &[Launch]) -> Result<Duration>;

    /// Gives up the kernels of a module.
    fn unload(&mut self, module: Module);

    /// What was to be remembered by this name, on this machine by a program with the same kernels; nothing if it is lost.
    fn recall(&self, name: &str) -> Option<Vec<u8>>;

    /// Keeps a few bytes by this name, if that is possible.
    fn remember(&self, name: &str, value: &[u8]);
}
