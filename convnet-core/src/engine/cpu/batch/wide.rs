//! A wide dense layer in a training step: the pieces of work are parts of the layer, for all images of the batch.

use super::{Batch, Meeting, Run};
use crate::engine::cpu::disjoint::Disjoint;
use crate::engine::cpu::kernels::merge;
use crate::engine::cpu::kernels::wide_dense::{Gradient, WideDense};
use crate::engine::cpu::lanes::{LANES, lane_of};
use crate::engine::cpu::program::{Action, Program, Step};

/// A step that is a wide layer, with its arithmetic.
fn layer(program: &Program, number: usize) -> (&Step, &WideDense) {
    let step = &program.steps[number];
    let Action::Wide(_, dense) = &step.action else { unreachable!("the meeting is a wide layer") };
    (step, dense)
}

impl Run<'_, '_> {
    pub(super) fn wide(&mut self, number: usize) {
        let (whole, store) = (self.whole, self.store);
        let pass = whole.pass;
        let (step, dense) = layer(pass.program, number);
        if dense.slices(self.images()) > 0 {
            return self.wide_by_slices(step, dense);
        }
        let (images, blocks) = (self.images(), dense.column_blocks());
        // A narrow layer is cut along the images, too, so that there is work for everybody.
        let parts = (LANES / blocks).min(images).max(1);
        self.pool.run(parts * blocks, &|thread, item| {
            let (units, columns, part) = (dense.units(), &dense.columns(item % blocks), item / blocks);
            let images = part * images / parts..(part + 1) * images / parts;
            // SAFETY: the input is only read, and a thread runs one piece at a time.
            let (input, scratch) =
                unsafe { (store.read(pass.program, step.inputs[0].tensor, &images), whole.scratch.of(thread)) };
            let (weights, derived) = (&pass.weights[step.weights.clone()], &pass.derived[step.derived.clone()]);
            let rows = dense.forward(columns, input, weights, derived, scratch.kernel);
            let output = store.tensor_range(pass.program, step.output, &images);
            for (image, row) in rows.chunks_exact(columns.len()).enumerate() {
                let start = output.start + image * units;
                // SAFETY: pieces have different columns or images.
                unsafe { store.floats.part(start + columns.start..start + columns.end) }.copy_from_slice(row);
            }
        });
    }

    /// Slices of the features first, then their sums, image by image.
    fn wide_by_slices(&mut self, step: &Step, dense: &WideDense) {
        let (whole, store, images) = (self.whole, self.store, self.images());
        let (program, weights) = (whole.pass.program, &whole.pass.weights[step.weights.clone()]);
        let (count, len) = (dense.slices(images), images * dense.units());
        let slices = Disjoint::new(&mut *self.slices);
        self.pool.run(count, &|_, slice| {
            // SAFETY: the input is only read, and slices have places of their own.
            let (input, to) = unsafe {
                let input = store.read(program, step.inputs[0].tensor, &(0..images));
                (input, slices.part(slice * len..(slice + 1) * len))
            };
            dense.forward_slice(slice, input, weights, to);
        });
        self.pool.run(LANES.min(images), &|_, lane| {
            let images = lane_of(lane, images);
            let part = |slice| slice * len + images.start * dense.units()..slice * len + images.end * dense.units();
            // SAFETY: lanes have images of their own, and what the slices gave is only read.
            let (outputs, rest) = unsafe {
                let rest = (1..count).map(|slice| slices.shared(part(slice)));
                (store.tensor(program, step.output, &images), rest)
            };
            // SAFETY: as above.
            outputs.copy_from_slice(unsafe { slices.shared(part(0)) });
            dense.complete(outputs, rest, weights);
        });
    }

    /// The input's gradient; that of the output stays in `arranged` for the update.
    pub(super) fn wide_backward(&mut self, number: usize, arranged: &mut [f32]) {
        let (whole, store) = (self.whole, self.store);
        let pass = whole.pass;
        let (step, dense) = layer(pass.program, number);
        if !step.backward {
            return;
        }
        let images = 0..self.images();
        // SAFETY: no piece of work runs.
        let (output, gradient) = unsafe {
            (store.read(pass.program, step.output, &images), store.gradient(pass.program, step.output, &images))
        };
        dense.through_activation(output, gradient);
        dense.arrange(gradient, arranged);
        let input = &step.inputs[0];
        if !input.gradient {
            return;
        }
        let gradient = dense.arranged_gradient(images.len(), arranged);
        let (weights, features) = (&pass.weights[step.weights.clone()], pass.program.tensors[input.tensor]);
        self.pool.run(dense.feature_blocks(), &|thread, item| {
            let block = &dense.features(item);
            // SAFETY: a thread runs one piece at a time.
            let scratch = unsafe { whole.scratch.of(thread) };
            let rows = dense.input_gradient(block, weights, &gradient, scratch.kernel);
            let d_input = store.gradient_range(pass.program, input.tensor, &images);
            for (image, row) in images.clone().zip(rows.chunks_exact(block.len())) {
                let start = d_input.start + image * features;
                // SAFETY: pieces have different features.
                let to = unsafe { store.floats.part(start + block.start..start + block.end) };
                if input.first {
                    to.copy_from_slice(row);
                } else {
                    merge::accumulate(pass.level, to, row);
                }
            }
        });
    }
}

impl Batch {
    /// What the gradient of a wide layer's weights is made of, after the way back of a batch of `images` images: the layer,
    /// its inputs, and the gradient of its outputs.
    pub fn wide<'a>(
        &'a self,
        program: &'a Program,
        number: usize,
        images: usize,
    ) -> (&'a WideDense, &'a [f32], Gradient<'a>) {
        let (step, dense) = layer(program, number);
        let tensor = step.inputs[0].tensor;
        let inputs = &self.floats[self.layout.tensor(tensor, program.tensors[tensor], &(0..images)).0];
        let at = self.meetings.iter().find_map(|meeting| match meeting {
            Meeting::Wide(step, at) if *step == number => Some(at.clone()),
            _ => None,
        });
        (dense, inputs, dense.arranged_gradient(images, &self.arranged[at.unwrap_or(0..0)]))
    }
}
