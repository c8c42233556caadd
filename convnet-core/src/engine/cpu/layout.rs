//! Where the values of a group of images lie: the tensors of a [`Program`], their gradients, and what kernels keep.
//!
//! Every tensor has a place of its own, since the way back needs them all. A gradient lives from the last step that
//! takes its tensor to the one that makes it; gradients that do not live at the same time share a place.

use super::aligned::LINE;
use super::program::{Program, Step};
use std::ops::Range;

/// The places for some images.
pub(super) struct Layout {
    /// How many images there is room for.
    pub room: usize,
    /// First float of each tensor, and of its gradient (0 where it has none).
    tensors: Vec<usize>,
    gradients: Vec<usize>,
    /// All floats, in whole cache lines.
    pub floats: usize,
    /// First byte of what each step keeps.
    kept: Vec<usize>,
    pub kept_bytes: usize,
}

impl Layout {
    pub fn new(program: &Program, room: usize) -> Layout {
        let mut floats = 0;
        let mut take = |len: usize| {
            let start = floats;
            floats += (room * len).next_multiple_of(LINE);
            start
        };
        let tensors = program.tensors.iter().map(|&len| take(len)).collect();
        let slots = gradient_slots(program);
        let mut sizes = vec![0; slots.iter().flatten().max().map_or(0, |most| most + 1)];
        for (slot, &len) in slots.iter().zip(&program.tensors) {
            if let Some(slot) = *slot {
                sizes[slot] = len.max(sizes[slot]);
            }
        }
        let starts: Vec<usize> = sizes.into_iter().map(take).collect();
        let gradients = slots.into_iter().map(|slot| slot.map_or(0, |slot| starts[slot])).collect();
        let mut kept_bytes = 0;
        let keep = |step: &Step| {
            let start = kept_bytes;
            kept_bytes += (room * step.kernel().map_or(0, |kernel| kernel.kept())).next_multiple_of(64);
            start
        };
        let kept = program.steps.iter().map(keep).collect();
        Layout { room, tensors, gradients, floats, kept, kept_bytes }
    }

    /// A tensor of `len` values an image, for some of the images.
    pub fn tensor(&self, number: usize, len: usize, images: &Range<usize>) -> Range<usize> {
        part(self.tensors[number], len, images)
    }

    /// The gradient with respect to a tensor.
    pub fn gradient(&self, number: usize, len: usize, images: &Range<usize>) -> Range<usize> {
        part(self.gradients[number], len, images)
    }

    /// What step `number`, whose kernel keeps `len` bytes an image, keeps of some images.
    pub fn kept(&self, number: usize, len: usize, images: &Range<usize>) -> Range<usize> {
        part(self.kept[number], len, images)
    }
}

fn part(start: usize, len: usize, images: &Range<usize>) -> Range<usize> {
    start + len * images.start..start + len * images.end
}

/// For each tensor with a gradient a slot that no other gradient uses while this one lives.
fn gradient_slots(program: &Program) -> Vec<Option<usize>> {
    let mut slots: Vec<Option<usize>> = vec![None; program.tensors.len()];
    let mut taken: Vec<bool> = Vec::new();
    let claim = |slots: &mut Vec<Option<usize>>, taken: &mut Vec<bool>, tensor: usize| {
        if slots[tensor].is_none() {
            let free = taken.iter().position(|taken| !taken).unwrap_or(taken.len());
            taken.resize(taken.len().max(free + 1), false);
            taken[free] = true;
            slots[tensor] = Some(free);
        }
    };
    claim(&mut slots, &mut taken, program.result);
    for step in program.steps.iter().rev().filter(|step| step.backward) {
        for input in step.inputs.iter().filter(|input| input.gradient) {
            claim(&mut slots, &mut taken, input.tensor);
        }
        if let Some(slot) = slots[step.output] {
            taken[slot] = false;
        }
    }
    slots
}
