//! Where the values of a group of images lie: the tensors of a [`Program`], their gradients, and what kernels keep.
//!
//! Every tensor has a place of its own, since the way back needs them all. A gradient lives from the last step that
//! takes its tensor to the one that makes it; gradients that do not live at the same time share a place. Where some images
//! of the group may be further on their way than others, only gradients of one size do: an image's values then always lie
//! at the same place in it, where no other image's are.

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
    /// Places for `room` images. `together`: all of them are always at the same step.
    pub fn new(program: &Program, room: usize, together: bool) -> Layout {
        let mut floats = 0;
        let mut take = |len: usize| {
            let start = floats;
            floats += (room * len).next_multiple_of(LINE);
            start
        };
        let tensors = program.tensors.iter().map(|&len| take(len)).collect();
        let (slots, sizes) = gradient_slots(program, together);
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

/// For each tensor with a gradient a slot that no other gradient uses while this one lives, and the slots' sizes.
fn gradient_slots(program: &Program, together: bool) -> (Vec<Option<usize>>, Vec<usize>) {
    let mut slots = Slots { of: vec![None; program.tensors.len()], taken: Vec::new(), sizes: Vec::new(), together };
    slots.claim(program, program.result);
    for step in program.steps.iter().rev().filter(|step| step.backward) {
        step.inputs.iter().filter(|input| input.gradient).for_each(|input| slots.claim(program, input.tensor));
        if let Some(slot) = slots.of[step.output] {
            slots.taken[slot] = false;
        }
    }
    (slots.of, slots.sizes)
}

/// Slots on their way through a program.
struct Slots {
    of: Vec<Option<usize>>,
    taken: Vec<bool>,
    sizes: Vec<usize>,
    together: bool,
}

impl Slots {
    /// Gives a tensor a free slot, unless it has one.
    fn claim(&mut self, program: &Program, tensor: usize) {
        if self.of[tensor].is_some() {
            return;
        }
        let len = program.tensors[tensor];
        let fits = |slot: &usize| !self.taken[*slot] && (self.together || self.sizes[*slot] == len);
        let slot = (0..self.taken.len()).find(fits).unwrap_or(self.taken.len());
        if slot == self.taken.len() {
            self.taken.push(true);
            self.sizes.push(len);
        }
        self.taken[slot] = true;
        self.sizes[slot] = len.max(self.sizes[slot]);
        self.of[tensor] = Some(slot);
    }
}
