//! The memory of the workers: a group's tensors for each, and scratch.

use super::aligned::Floats;
use super::disjoint::Disjoint;
use super::layout::Layout;
use super::pass::{Group, Store};
use super::program::Program;
use crate::data::Samples;

/// A worker's room for what ends with the call of a kernel.
pub(super) struct Scratch<'a> {
    pub kernel: &'a mut [f32],
    /// A gradient on its way to be added to another.
    pub added: &'a mut [f32],
    /// One of weights likewise.
    pub sum: &'a mut [f32],
}

/// Memory for a group of images for each worker.
pub(super) struct Memory {
    pub layout: Layout,
    floats: Floats,
    kept: Vec<u8>,
}

impl Memory {
    /// For so many workers.
    pub fn new(layout: Layout, threads: usize) -> Memory {
        let (floats, kept) = (Floats::zeros(threads * layout.floats), vec![0; threads * layout.kept_bytes]);
        Memory { layout, floats, kept }
    }

    /// To be handed out.
    pub fn workers(&mut self) -> Workers<'_> {
        let Memory { layout, floats, kept } = self;
        Workers { floats: Disjoint::new(floats), kept: Disjoint::new(kept), layout }
    }
}

/// The workers' memory for a group of images each.
pub(super) struct Workers<'a> {
    floats: Disjoint<'a, f32>,
    kept: Disjoint<'a, u8>,
    pub layout: &'a Layout,
}

impl Workers<'_> {
    /// The memory of one thread.
    ///
    /// # Safety
    /// Nobody else uses that of this thread at the same time.
    pub unsafe fn store(&self, thread: usize) -> Store<'_> {
        let Layout { floats, kept_bytes, .. } = *self.layout;
        // SAFETY: threads' parts do not overlap; the rest is the caller's promise.
        let (floats, kept) = unsafe {
            (
                self.floats.part(thread * floats..(thread + 1) * floats),
                self.kept.part(thread * kept_bytes..(thread + 1) * kept_bytes),
            )
        };
        let own = Disjoint::new(&mut []);
        Store { layout: self.layout, floats: Disjoint::new(floats), own, kept: Disjoint::new(kept) }
    }
}

/// The threads' room for what ends with the call of a kernel.
pub(super) struct Scratches<'a> {
    pub all: Disjoint<'a, f32>,
    /// How many for kernels, and for gradients on their way to be added: of a tensor and of weights.
    pub floats: [usize; 3],
}

impl Scratches<'_> {
    /// That of one thread.
    ///
    /// # Safety
    /// Nobody else uses that of this thread at the same time.
    pub unsafe fn of(&self, thread: usize) -> Scratch<'_> {
        let [kernel, added, sum] = self.floats;
        let len = kernel + added + sum;
        // SAFETY: threads' parts do not overlap; the rest is the caller's promise.
        let all = unsafe { self.all.part(thread * len..(thread + 1) * len) };
        let (kernel, rest) = all.split_at_mut(kernel);
        let (added, sum) = rest.split_at_mut(added);
        Scratch { kernel, added, sum }
    }
}

/// Writes samples into the places of a group.
///
/// # Safety
/// The group's images in the store are the caller's alone.
pub(super) unsafe fn write_inputs(
    store: &Store<'_>,
    program: &Program,
    group: &Group,
    (samples, indices): (&Samples, &[u32]),
) {
    // SAFETY: the caller's promise.
    let inputs = unsafe { store.tensor(program, 0, &group.places) };
    for (&index, input) in indices.iter().zip(inputs.chunks_mut(program.input)) {
        samples.write(index as usize, input);
    }
}
