//! Where the values of a group of images lie: the tensors of a [`Program`], their gradients, and what kernels keep.
//!
//! In prediction a tensor lives from the step that makes it to the last one that takes it, and tensors that do not live at
//! the same time share a place. On the way back all tensors are needed, and it is the gradients that share: a gradient
//! lives from the last step that takes its tensor to the one that makes it.
//!
//! Where the memory is that of a whole batch, some images may be further on their way than others. There a gradient that
//! lives within one stage only, through which a worker takes its images group by group, lies in the worker's own
//! memory, which stays in its cache, and so does the output of a normalisation, where it can be made once more on the way
//! back; of the other gradients only those of one size share a place: an image's values then always lie at the same place
//! in it, where no other image's are.

use super::aligned::LINE;
use super::program::{Program, Step};
use std::ops::Range;

/// The places for some images.
pub(super) struct Layout {
    /// How many images there is room for.
    pub room: usize,
    /// The place of each tensor, and of its gradient.
    tensors: Vec<Place>,
    gradients: Vec<Place>,
    /// All floats, in whole cache lines.
    pub floats: usize,
    /// Floats of a worker's own memory beside them.
    pub own_floats: usize,
    /// First byte of what each step keeps.
    kept: Vec<usize>,
    pub kept_bytes: usize,
}

/// The place of a tensor or a gradient.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    start: usize,
    /// Whether it is in the worker's own memory, where the first image of the group comes first.
    pub own: bool,
}

impl Place {
    /// In memory that is not a worker's own.
    fn shared(start: usize) -> Place {
        Place { start, own: false }
    }

    /// That of some images, of `len` values each, and whether it is in the worker's own memory.
    fn part(self, len: usize, images: &Range<usize>) -> (Range<usize>, bool) {
        let first = if self.own { 0 } else { images.start };
        (part(self.start, len, &(first..first + images.len())), self.own)
    }
}

/// Hands out floats in whole cache lines.
#[derive(Default)]
struct Floats(usize);

impl Floats {
    fn take(&mut self, len: usize) -> usize {
        let start = self.0;
        self.0 += len.next_multiple_of(LINE);
        start
    }
}

impl Layout {
    /// Places for groups of `room` images that go forward only.
    pub fn forward(program: &Program, room: usize) -> Layout {
        let mut floats = Floats::default();
        let slots = tensor_slots(program);
        let starts: Vec<usize> = slots.sizes.iter().map(|len| floats.take(room * len)).collect();
        Layout {
            room,
            tensors: slots.of.iter().map(|slot| Place::shared(slot.map_or(0, |slot| starts[slot]))).collect(),
            gradients: vec![Place::default(); program.tensors.len()],
            floats: floats.0,
            own_floats: 0,
            kept: vec![0; program.steps.len()],
            kept_bytes: 0,
        }
    }

    /// Places for groups of `room` images that go forward and back.
    pub fn group(program: &Program, room: usize) -> Layout {
        Layout::back(program, room, None)
    }

    /// Places for a batch of `room` images whose workers take groups of up to so many images through each stage.
    pub fn batch(program: &Program, room: usize, groups: &[usize]) -> Layout {
        Layout::back(program, room, Some(groups))
    }

    fn back(program: &Program, room: usize, groups: Option<&[usize]>) -> Layout {
        let (mut floats, mut own) = (Floats::default(), Floats::default());
        let (tensors, gradients) = match groups {
            None => {
                let tensors = program.tensors.iter().map(|&len| Place::shared(floats.take(room * len))).collect();
                let slots = gradient_slots(program, &program.tensors, true, |_| true);
                (tensors, slots.places(false, |len| floats.take(room * len)))
            }
            Some(groups) => {
                let tensors = batch_tensors(program, room, groups, [&mut floats, &mut own]);
                (tensors, batch_gradients(program, room, groups, [&mut floats, &mut own]))
            }
        };
        let mut kept_bytes = 0;
        let keep = |step: &Step| {
            let start = kept_bytes;
            kept_bytes += (room * step.kernel().map_or(0, |kernel| kernel.kept())).next_multiple_of(64);
            start
        };
        let kept = program.steps.iter().map(keep).collect();
        Layout { room, tensors, gradients, floats: floats.0, own_floats: own.0, kept, kept_bytes }
    }

    /// A tensor of `len` values an image, for some of the images, and whether it is in the worker's own memory.
    pub fn tensor(&self, number: usize, len: usize, images: &Range<usize>) -> (Range<usize>, bool) {
        self.tensors[number].part(len, images)
    }

    /// The same of the gradient with respect to a tensor.
    pub fn gradient(&self, number: usize, len: usize, images: &Range<usize>) -> (Range<usize>, bool) {
        self.gradients[number].part(len, images)
    }

    /// Whether a tensor is made once more on the way back.
    pub fn remade(&self, tensor: usize) -> bool {
        self.tensors[tensor].own
    }

    /// What step `number`, whose kernel keeps `len` bytes an image, keeps of some images.
    pub fn kept(&self, number: usize, len: usize, images: &Range<usize>) -> Range<usize> {
        part(self.kept[number], len, images)
    }
}

fn part(start: usize, len: usize, images: &Range<usize>) -> Range<usize> {
    start + len * images.start..start + len * images.end
}

/// The places of a batch's tensors, in the memory that all share and in a worker's own.
fn batch_tensors(program: &Program, room: usize, groups: &[usize], [floats, own]: [&mut Floats; 2]) -> Vec<Place> {
    let remade = remade(program);
    let of_group = |(len, stage): (&usize, &Option<usize>)| stage.map(|stage| len * groups[stage]);
    // There is one of those at a time.
    let largest = program.tensors.iter().zip(&remade).filter_map(of_group).max();
    let again = Place { start: own.take(largest.unwrap_or(0)), own: true };
    let place = |(len, remade): (&usize, &Option<usize>)| match remade {
        Some(_) => again,
        None => Place::shared(floats.take(room * len)),
    };
    program.tensors.iter().zip(&remade).map(place).collect()
}

/// The same of their gradients.
fn batch_gradients(program: &Program, room: usize, groups: &[usize], [floats, own]: [&mut Floats; 2]) -> Vec<Place> {
    let across = across_stages(program);
    let shared = gradient_slots(program, &program.tensors, false, |tensor| across[tensor]);
    let shared = shared.places(false, |len| floats.take(room * len));
    // The network's input is there from the first stage on.
    let mut of_groups: Vec<usize> = program.tensors.iter().map(|len| len * groups[0]).collect();
    for step in &program.steps {
        of_groups[step.output] = program.tensors[step.output] * groups[step.stage];
    }
    let inside = gradient_slots(program, &of_groups, true, |tensor| !across[tensor]);
    let inside = inside.places(true, |len| own.take(len));
    let pick = |(tensor, inside)| if across[tensor] { shared[tensor] } else { inside };
    inside.into_iter().enumerate().map(pick).collect()
}

/// For each tensor whether its gradient is written in one stage and read in another.
fn across_stages(program: &Program) -> Vec<bool> {
    let mut seen: Vec<Option<usize>> = vec![None; program.tensors.len()];
    let mut across = vec![false; program.tensors.len()];
    for step in &program.steps {
        // The gradient of a normalisation's input is made by who takes the group through the stage above it.
        let inputs = step.inputs.iter().map(|input| (input.tensor, step.taken_in()));
        for (tensor, stage) in inputs.chain([(step.output, step.stage)]) {
            across[tensor] |= seen[tensor].replace(stage).is_some_and(|other| other != stage);
        }
        // What the whole batch is needed for must be there as a whole.
        if step.meets() {
            across[step.output] = true;
        }
        if step.wide() {
            step.inputs.iter().for_each(|input| across[input.tensor] = true);
        }
    }
    // The losses write it before any stage.
    across[program.result] = true;
    across
}

/// For each output of a normalisation that is taken in the stage behind it only: that stage. To make it once more on the way
/// back, from an input that has to be read there anyway, costs less than to write it and to read it (measured with relu).
fn remade(program: &Program) -> Vec<Option<usize>> {
    let mut remade = vec![None; program.tensors.len()];
    for step in program.steps.iter().filter(|step| step.normalizes()) {
        let takes = |other: &&Step| other.inputs.iter().any(|input| input.tensor == step.output);
        let here = |other: &Step| !other.meets() && other.stage == step.stage + 1;
        if step.output != program.result && program.steps.iter().filter(takes).all(here) {
            remade[step.output] = Some(step.stage + 1);
        }
    }
    remade
}

/// For each tensor a slot that no other tensor uses while this one lives.
fn tensor_slots(program: &Program) -> Slots<'_> {
    let mut last_use = vec![0; program.tensors.len()];
    for (number, next) in program.forward.iter().enumerate() {
        program.tensors_of(next).0.for_each(|tensor| last_use[tensor] = number);
    }
    last_use[program.result] = program.forward.len();
    let mut slots = Slots::new(&program.tensors, true);
    slots.claim(0);
    for (number, next) in program.forward.iter().enumerate() {
        let (inputs, output) = program.tensors_of(next);
        slots.claim(output);
        inputs.filter(|&tensor| last_use[tensor] == number).for_each(|tensor| slots.free(tensor));
    }
    slots
}

/// For each of the tensors that have a gradient, and that `wanted` names, a slot that no other gradient uses while this
/// one lives. `sizes`: of all tensors.
fn gradient_slots<'a>(
    program: &Program,
    sizes: &'a [usize],
    together: bool,
    wanted: impl Fn(usize) -> bool,
) -> Slots<'a> {
    let mut slots = Slots::new(sizes, together);
    if wanted(program.result) {
        slots.claim(program.result);
    }
    for step in program.steps.iter().rev().filter(|step| step.backward) {
        let asked = step.inputs.iter().filter(|input| input.gradient && wanted(input.tensor));
        asked.for_each(|input| slots.claim(input.tensor));
        slots.free(step.output);
    }
    slots
}

/// Slots on their way through a program.
struct Slots<'a> {
    /// What each tensor takes.
    lens: &'a [usize],
    of: Vec<Option<usize>>,
    taken: Vec<bool>,
    sizes: Vec<usize>,
    together: bool,
}

impl Slots<'_> {
    /// None yet. `together`: all images are always at the same step.
    fn new(lens: &[usize], together: bool) -> Slots<'_> {
        Slots { lens, of: vec![None; lens.len()], taken: Vec::new(), sizes: Vec::new(), together }
    }

    /// Gives a tensor a free slot, unless it has one.
    fn claim(&mut self, tensor: usize) {
        if self.of[tensor].is_some() {
            return;
        }
        let len = self.lens[tensor];
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

    /// Ends the life of what a tensor's slot holds.
    fn free(&mut self, tensor: usize) {
        if let Some(slot) = self.of[tensor] {
            self.taken[slot] = false;
        }
    }

    /// The tensors' places; `take` gives room for what a slot's tensors take.
    fn places(&self, own: bool, take: impl FnMut(usize) -> usize) -> Vec<Place> {
        let starts: Vec<usize> = self.sizes.iter().copied().map(take).collect();
        let place = |slot: &Option<usize>| slot.map_or(Place::default(), |slot| Place { start: starts[slot], own });
        self.of.iter().map(place).collect()
    }
}
