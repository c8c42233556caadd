//! One image on its way through prediction, step by step on all threads: for a single image.
//!
//! A step is shared out where its kernel can be cut and each part is worth a round of the pool, a microsecond or two
//! ([`Kernel::parts`](super::kernel::Kernel::parts)); the parts compute the bits of the whole. A network without such
//! steps, as small ones are, goes through on the calling thread alone.

use super::disjoint::Disjoint;
use super::kernel::{ForwardPart, Part};
use super::kernels::merge;
use super::memory::Scratches;
use super::pass::{Pass, Store};
use super::pool::Pool;
use super::program::{Action, Next, Step};
use crate::plan::MAX_BRANCHES;
use std::ops::Range;

/// The one image's place in its store.
const ONE: Range<usize> = 0..1;

impl Pass<'_> {
    /// The network's output for the image in the store, with `folded` weights where there are some.
    ///
    /// # Safety
    /// The store's images and all scratch are the caller's alone.
    pub unsafe fn predict_on(&self, pool: &mut Pool, store: &Store<'_>, scratch: &Scratches<'_>, folded: &[f32]) {
        for next in &self.program.forward {
            let (kernel, weights, derived, input, output) = match next {
                Next::Fold(fold, [weights, derived]) => {
                    (&*fold.kernel, &folded[weights.clone()], &folded[derived.clone()], fold.input, fold.output)
                }
                Next::Step(number) => {
                    let step = &self.program.steps[*number];
                    let Some(kernel) = step.kernel() else {
                        // SAFETY: the caller's promise.
                        unsafe { self.merge_on(pool, store, step) };
                        continue;
                    };
                    let (weights, derived) = (&self.weights[step.weights.clone()], &self.derived[step.derived.clone()]);
                    (kernel, weights, derived, step.inputs[0].tensor, step.output)
                }
            };
            // SAFETY: the caller's promise; input and output have different places.
            let (input, output) =
                unsafe { (store.read(self.program, input, &ONE), store.tensor(self.program, output, &ONE)) };
            let of = kernel.parts(output.len(), pool.threads());
            let output = Disjoint::new(output);
            pool.run(of, &|thread, number| {
                // SAFETY: a thread runs one item at a time, and each part is one item.
                unsafe {
                    let (part, scratch) = (Part { number, of }, scratch.of(thread).kernel);
                    ForwardPart { part, weights, derived, input, output, scratch }.compute(kernel);
                }
            });
        }
    }

    /// A step that is no kernel.
    ///
    /// # Safety
    /// The store's images are the caller's alone.
    unsafe fn merge_on(&self, pool: &mut Pool, store: &Store<'_>, step: &Step) {
        // SAFETY: the caller's promise, and a step's output is not among its inputs.
        let output = unsafe { store.tensor(self.program, step.output, &ONE) };
        let width = match &step.action {
            Action::Concatenate(channels) => channels.iter().sum(),
            _ => 1,
        };
        let rows = output.len() / width;
        let of = Part::worth(4 * output.len(), rows, pool.threads());
        let output = Disjoint::new(output);
        pool.run(of, &|_, number| {
            let some = Part { number, of }.share(rows, 1);
            let input = |number: usize, width: usize| {
                // SAFETY: nobody writes the inputs.
                let whole = unsafe { store.read(self.program, step.inputs[number].tensor, &ONE) };
                &whole[some.start * width..some.end * width]
            };
            // SAFETY: shares do not overlap, and each part is one item.
            let output = unsafe { output.part(some.start * width..some.end * width) };
            if let Action::Concatenate(channels) = &step.action {
                let mut parts: [(&[f32], usize); MAX_BRANCHES] = [(&[], 0); MAX_BRANCHES];
                let inputs = channels.iter().enumerate().map(|(i, &channels)| (input(i, channels), channels));
                parts.iter_mut().zip(inputs).for_each(|(place, part)| *place = part);
                merge::concatenate(&parts[..step.inputs.len()], output);
            } else {
                let mut inputs: [&[f32]; MAX_BRANCHES] = [&[]; MAX_BRANCHES];
                inputs.iter_mut().zip(0..step.inputs.len()).for_each(|(place, i)| *place = input(i, 1));
                merge::add(self.level, &inputs[..step.inputs.len()], output);
            }
        });
    }
}
