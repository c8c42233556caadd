//! Some images on their way through the steps of a [`Program`] and back.
//!
//! A [`Store`] is the memory of a group of images, laid out by a [`Layout`]: either one worker's own, through which its
//! images go group by group, or one for a whole batch, of which each worker takes the images that are its own, with
//! some memory of the worker's beside it.

use super::disjoint::Disjoint;
use super::executor::Outcome;
use super::kernel::{Backward, Forward, Kernel, Noise};
use super::kernels::merge;
use super::layout::Layout;
use super::memory::Scratch;
use super::program::{Action, Input, Next, Program, Step};
use super::simd::Level;
use crate::data::Samples;
use crate::plan::MAX_BRANCHES;
use crate::train::Loss;
use std::ops::Range;

/// Memory for the tensors of some images.
#[derive(Clone, Copy)]
pub(super) struct Store<'a> {
    pub layout: &'a Layout,
    pub floats: Disjoint<'a, f32>,
    /// The worker's own part, for what the layout puts there.
    pub own: Disjoint<'a, f32>,
    /// Empty where no way back follows.
    pub kept: Disjoint<'a, u8>,
}

/// What the passes of one batch share.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub program: &'a Program,
    pub weights: &'a [f32],
    pub derived: &'a [f32],
    pub level: Level,
    /// In a training step: the model's seed, and how many steps came before.
    pub training: Option<[u64; 2]>,
}

/// What a gradient of weights is written onto.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Onto {
    /// It overwrites what is there.
    Nothing,
    /// The sum over earlier images, which goes on.
    Images,
    /// A sum to which that of these images is added as a whole.
    Sum,
}

/// Images that one worker has to itself: in a store, and in the batch.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Their places in the store.
    pub places: Range<usize>,
    /// Place in the batch of the first.
    pub first: usize,
}

#[allow(clippy::mut_from_ref)] // as for `Disjoint::part`
impl Store<'_> {
    /// Where a tensor's values lie, in memory that is not a worker's own.
    pub fn tensor_range(&self, program: &Program, tensor: usize, places: &Range<usize>) -> Range<usize> {
        let (range, own) = self.layout.tensor(tensor, program.tensors[tensor], places);
        debug_assert!(!own, "images meet where it is used");
        range
    }

    /// Where the gradient with respect to a tensor lies, in memory that is not a worker's own.
    pub fn gradient_range(&self, program: &Program, tensor: usize, places: &Range<usize>) -> Range<usize> {
        let (range, own) = self.layout.gradient(tensor, program.tensors[tensor], places);
        debug_assert!(!own, "images meet where it is used");
        range
    }

    /// A tensor's values.
    ///
    /// # Safety
    /// Nobody else uses this tensor of these images while the slice is in use.
    pub unsafe fn tensor(&self, program: &Program, tensor: usize, places: &Range<usize>) -> &mut [f32] {
        let (range, own) = self.layout.tensor(tensor, program.tensors[tensor], places);
        // SAFETY: the layout gives each tensor a place of its own, or shares it among those that live in different stages; the
        // rest is the caller's promise.
        unsafe { if own { self.own.part(range) } else { self.floats.part(range) } }
    }

    /// A tensor's values, to be read.
    ///
    /// # Safety
    /// Nobody writes this tensor of these images while the slice is in use.
    pub unsafe fn read(&self, program: &Program, tensor: usize, places: &Range<usize>) -> &[f32] {
        let (range, own) = self.layout.tensor(tensor, program.tensors[tensor], places);
        // SAFETY: as above.
        unsafe { if own { self.own.shared(range) } else { self.floats.shared(range) } }
    }

    /// The gradient with respect to a tensor.
    ///
    /// # Safety
    /// Nobody else uses this gradient, nor one that shares its place, of these images while the slice is in use.
    pub unsafe fn gradient(&self, program: &Program, tensor: usize, places: &Range<usize>) -> &mut [f32] {
        let (range, own) = self.layout.gradient(tensor, program.tensors[tensor], places);
        // SAFETY: gradients lie behind all tensors; the rest is the caller's promise.
        unsafe { if own { self.own.part(range) } else { self.floats.part(range) } }
    }

    /// What step `number` keeps.
    ///
    /// # Safety
    /// Nobody else uses what this step keeps of these images while the slice is in use.
    unsafe fn kept(&self, number: usize, kernel: &dyn Kernel, places: &Range<usize>) -> &mut [u8] {
        // SAFETY: the layout gives each step a place of its own; the rest is the caller's promise.
        unsafe { self.kept.part(self.layout.kept(number, kernel.kept(), places)) }
    }
}

impl Pass<'_> {
    /// The outputs of `steps`, for a way back, with moving statistics where no batch is there to normalise by.
    ///
    /// # Safety
    /// The group's images in the store are the caller's alone.
    pub unsafe fn forward(&self, store: &Store<'_>, scratch: &mut Scratch<'_>, steps: Range<usize>, group: &Group) {
        for number in steps {
            // SAFETY: the caller's promise.
            unsafe { self.step(store, scratch, number, group, true) };
        }
    }

    /// The network's output, with `folded` weights where there are some.
    ///
    /// # Safety
    /// The group's images in the store are the caller's alone.
    pub unsafe fn predict(&self, store: &Store<'_>, scratch: &mut Scratch<'_>, folded: &[f32], group: &Group) {
        let (program, places) = (self.program, &group.places);
        for next in &program.forward {
            match next {
                // SAFETY: the caller's promise.
                Next::Step(number) => unsafe { self.step(store, scratch, *number, group, false) },
                Next::Fold(fold, [weights, derived]) => {
                    // SAFETY: as above; input and output have different places.
                    let (input, output) = unsafe {
                        (store.read(program, fold.input, places), store.tensor(program, fold.output, places))
                    };
                    fold.kernel.forward(Forward {
                        images: places.len(),
                        training: false,
                        noise: None,
                        weights: &folded[weights.clone()],
                        derived: &folded[derived.clone()],
                        input,
                        output,
                        kept: &mut [],
                        scratch: scratch.kernel,
                    });
                }
            }
        }
    }

    /// The output of a step. `back`: a way back follows.
    ///
    /// # Safety
    /// The group's images in the store are the caller's alone.
    unsafe fn step(&self, store: &Store<'_>, scratch: &mut Scratch<'_>, number: usize, group: &Group, back: bool) {
        let (program, places) = (self.program, &group.places);
        let step = &program.steps[number];
        // SAFETY: the images are the caller's alone, and a step's output is not among its inputs.
        let output = unsafe { store.tensor(program, step.output, places) };
        let input = |input: &Input| {
            // SAFETY: as above; inputs are only read.
            unsafe { store.read(program, input.tensor, places) }
        };
        match &step.action {
            Action::Kernel(kernel) | Action::Normalize(kernel, _) | Action::Wide(kernel, _) => {
                let none: &mut [u8] = &mut [];
                // SAFETY: as above.
                let kept = if back { unsafe { store.kept(number, &**kernel, places) } } else { none };
                kernel.forward(Forward {
                    images: places.len(),
                    training: back,
                    noise: self.noise(step, group),
                    weights: &self.weights[step.weights.clone()],
                    derived: &self.derived[step.derived.clone()],
                    input: input(&step.inputs[0]),
                    output,
                    kept,
                    scratch: scratch.kernel,
                });
            }
            Action::Add => {
                let mut inputs: [&[f32]; MAX_BRANCHES] = [&[]; MAX_BRANCHES];
                step.inputs.iter().zip(&mut inputs).for_each(|(one, place)| *place = input(one));
                merge::add(self.level, &inputs[..step.inputs.len()], output);
            }
            Action::Concatenate(channels) => {
                let mut parts: [(&[f32], usize); MAX_BRANCHES] = [(&[], 0); MAX_BRANCHES];
                let inputs = step.inputs.iter().map(input).zip(channels.iter().copied());
                parts.iter_mut().zip(inputs).for_each(|(place, part)| *place = part);
                merge::concatenate(&parts[..step.inputs.len()], output);
            }
        }
    }

    fn noise(&self, step: &Step, group: &Group) -> Option<Noise> {
        self.training.map(|[seed, before]| Noise { seed, step: before, layer: step.layer, image: group.first })
    }

    /// Losses of a group whose samples are at `indices`, and their gradients, times `scale`, with respect to the logits.
    ///
    /// # Safety
    /// The group's images in the store are the caller's alone.
    pub unsafe fn losses(
        &self,
        store: &Store<'_>,
        group: &Group,
        (samples, indices): (&Samples, &[u32]),
        loss: &Loss,
        scale: f32,
    ) -> Outcome {
        let (program, places) = (self.program, &group.places);
        // SAFETY: the images are the caller's alone; tensors and gradients have different places.
        let (logits, gradient) =
            unsafe { (store.read(program, program.result, places), store.gradient(program, program.result, places)) };
        let mut outcome = Outcome { images: indices.len(), ..Outcome::default() };
        let rows = logits.chunks(program.output).zip(gradient.chunks_mut(program.output));
        for (&index, (logits, gradient)) in indices.iter().zip(rows) {
            let label = samples.labels()[index as usize];
            let found = loss.evaluate(program.head, logits, label, Some(gradient), scale);
            outcome.loss += found.loss;
            outcome.correct += usize::from(found.correct);
        }
        outcome
    }

    /// The way back through `steps`, from the gradient with respect to the last one's output: gradients with respect to
    /// inputs, as far as they are asked for, and to the weights, into or onto `d_weights` (as [`Program::gradients`] says).
    ///
    /// # Safety
    /// The group's images in the store are the caller's alone.
    pub unsafe fn backward(
        &self,
        store: &Store<'_>,
        scratch: &mut Scratch<'_>,
        steps: Range<usize>,
        group: &Group,
        d_weights: &mut [f32],
        onto: Onto,
    ) {
        let (program, places) = (self.program, &group.places);
        for number in steps.rev() {
            let step = &program.steps[number];
            if !step.backward {
                continue;
            }
            // SAFETY: the images are the caller's alone; the gradients of a step's inputs and of its output live at the
            // same time, so their places differ.
            let d_output = unsafe { store.gradient(program, step.output, places) };
            match &step.action {
                Action::Kernel(kernel) | Action::Normalize(kernel, _) | Action::Wide(kernel, _) => {
                    // SAFETY: as above; tensors are only read on the way back.
                    let (input, output, kept) = unsafe {
                        let input = store.read(program, step.inputs[0].tensor, places);
                        let output = store.read(program, step.output, places);
                        (input, output, &*store.kept(number, &**kernel, places))
                    };
                    let Scratch { kernel: scratch, added, sum } = scratch;
                    let d_weights = &mut d_weights[step.gradient.clone()];
                    // What the kernel would not add as it should is summed up beside it.
                    let apart = onto == Onto::Sum && !kernel.adds_sums();
                    let sum = &mut sum[..if apart { d_weights.len() } else { 0 }];
                    // SAFETY: as above.
                    let mut target = unsafe { Target::new(self, store, &step.inputs[0], places, added) };
                    kernel.backward(Backward {
                        images: places.len(),
                        noise: self.noise(step, group),
                        weights: &self.weights[step.weights.clone()],
                        derived: &self.derived[step.derived.clone()],
                        input,
                        output,
                        kept,
                        d_output,
                        d_input: target.as_mut().map(Target::write),
                        d_weights: if apart { &mut *sum } else { &mut *d_weights },
                        accumulate: onto != Onto::Nothing && !apart,
                        scratch,
                    });
                    if apart {
                        merge::accumulate(self.level, d_weights, sum);
                    }
                    target.into_iter().for_each(|target| target.add(self.level));
                }
                Action::Add => {
                    for input in step.inputs.iter().filter(|input| input.gradient) {
                        // SAFETY: as above.
                        let d_input = unsafe { store.gradient(program, input.tensor, places) };
                        if input.first {
                            d_input.copy_from_slice(d_output);
                        } else {
                            merge::accumulate(self.level, d_input, d_output);
                        }
                    }
                }
                Action::Concatenate(channels) => {
                    let (total, mut at) = (channels.iter().sum(), 0);
                    for (input, &channels) in step.inputs.iter().zip(channels) {
                        if input.gradient {
                            // SAFETY: as above.
                            let d_input = unsafe { store.gradient(program, input.tensor, places) };
                            merge::split(d_output, at, channels, total, d_input, !input.first);
                        }
                        at += channels;
                    }
                }
            }
        }
    }
}

/// Where the gradient with respect to an input goes: to its place, or first beside it and then added to it.
pub(super) struct Target<'a> {
    gradient: &'a mut [f32],
    beside: Option<&'a mut [f32]>,
}

impl<'a> Target<'a> {
    /// `None` where nobody asks for the gradient.
    ///
    /// # Safety
    /// As for [`Store::gradient`].
    pub unsafe fn new(
        pass: &Pass<'_>,
        store: &'a Store<'_>,
        input: &Input,
        places: &Range<usize>,
        added: &'a mut [f32],
    ) -> Option<Self> {
        if !input.gradient {
            return None;
        }
        // SAFETY: the caller's promise.
        let gradient = unsafe { store.gradient(pass.program, input.tensor, places) };
        let len = gradient.len();
        Some(Target { gradient, beside: (!input.first).then(|| &mut added[..len]) })
    }

    /// Where to write it.
    pub fn write(&mut self) -> &mut [f32] {
        match &mut self.beside {
            Some(beside) => beside,
            None => self.gradient,
        }
    }

    /// Adds what was written beside.
    pub fn add(self, level: Level) {
        if let Some(beside) = self.beside {
            merge::accumulate(level, self.gradient, beside);
        }
    }
}
