//! Data sets on a machine, and what goes through them: training and evaluation.
//!
//! A set lies on the device as a whole, and batches are gathered there in the order of the epoch. One that is too large
//! goes through in windows of whole batches: while one is worked on, the host puts the next together.

use super::{Executor, Fault, Outcome, bytes_of};
use crate::Result;
use crate::data::{Pixels, Samples};
use crate::engine::cpu::aligned::Floats;
use crate::engine::cuda::backend::{Memory, Role};
use crate::engine::cuda::program::{Kind, Set};
use crate::engine::cuda::state::State;
use std::mem::offset_of;
use std::ops::Range;

/// Bytes of a window of a set that does not fit, at the most.
const WINDOW: usize = 1 << 30;

/// A training that is under way.
pub(crate) struct Training {
    pub(super) set: Placed,
    batch: usize,
    trained_on: usize,
    validation: Option<(Placed, Range<usize>)>,
}

/// A data set on the device, or a window of it.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    /// Its images are those of the window.
    set: Set,
    pub(super) whole: bool,
}

impl Placed {
    /// Runs of `images` images in batches of `batch`: what is replayed, and how often.
    fn batches(&self, images: usize, batch: usize, kind: impl Fn(Set, usize) -> Kind) -> Vec<(Kind, usize)> {
        let parts = [(batch, images / batch), (images % batch, usize::from(!images.is_multiple_of(batch)))];
        let some = parts.into_iter().filter(|(_, times)| *times > 0);
        some.map(|(images, times)| (kind(self.set, images), times)).collect()
    }

    /// Those of a pass over `images` images, window by window; the recipes that it needs.
    fn kinds(&self, images: usize, batch: usize, kind: impl Fn(Set, usize) -> Kind) -> Vec<Kind> {
        let window = self.set.images.min(images);
        let all = [window, images % window].map(|images| self.batches(images, batch, &kind));
        all.into_iter().flatten().map(|(kind, _)| kind).collect()
    }
}

impl Executor {
    /// Makes room for a set, of which batches of `batch` images are taken, and puts it there if it fits.
    fn place(&mut self, role: Role, samples: &Samples, batch: usize) -> Result<Placed> {
        let (bytes, size) = match samples.pixels() {
            Pixels::Bytes(_) => (true, samples.size()),
            Pixels::Floats(_) => (false, 4 * samples.size()),
        };
        let budget = match self.set_bytes {
            Some(bytes) => bytes,
            None => self.backend.free()? / 2,
        };
        // A pixel's bytes and the label's.
        let most = budget / (size + 4);
        let whole = samples.len() <= most || self.has_room(role, samples.len(), size);
        // The host gathers a window beside the set, and the device waits for the first.
        let most = most.min(WINDOW / (size + 4));
        let images = if whole { samples.len() } else { (most / batch).max(1) * batch };
        self.reserve(Memory::Pixels(role), images * size)?;
        self.reserve(Memory::Labels(role), 4 * images)?;
        if whole {
            let pixels = match samples.pixels() {
                Pixels::Bytes(bytes) => bytes,
                Pixels::Floats(floats) => bytes_of(floats),
            };
            self.backend.write(Memory::Pixels(role), 0, pixels)?;
            self.backend.write(Memory::Labels(role), 0, bytes_of(samples.labels()))?;
        }
        Ok(Placed { set: Set { role, bytes, images, order: 0 }, whole })
    }

    /// Whether a set of so many images fits where one was before.
    fn has_room(&self, role: Role, images: usize, size: usize) -> bool {
        let room = |memory| self.sizes.get(&memory).copied().unwrap_or(0);
        images * size <= room(Memory::Pixels(role)) && 4 * images <= room(Memory::Labels(role))
    }

    /// Puts these images into a window, behind all that was asked for.
    fn fill(&mut self, role: Role, samples: &Samples, images: &[u32]) -> Result<()> {
        let size = samples.size();
        match samples.pixels() {
            Pixels::Bytes(bytes) => self.backend.write(Memory::Pixels(role), 0, &gather(bytes, size, images))?,
            Pixels::Floats(floats) => {
                self.backend.write(Memory::Pixels(role), 0, bytes_of(&gather(floats, size, images)))?;
            }
        }
        let labels: Vec<u32> = images.iter().map(|&image| samples.labels()[image as usize]).collect();
        self.backend.write(Memory::Labels(role), 0, bytes_of(&labels))?;
        self.rewind(0)
    }

    /// The next batch begins at this image.
    fn rewind(&mut self, image: usize) -> Result<()> {
        self.backend.write(Memory::State, offset_of!(State, cursor), &(image as u64).to_ne_bytes())
    }

    fn replay_all(&mut self, batches: &[(Kind, usize)]) -> Result<()> {
        batches.iter().try_for_each(|&(kind, times)| self.replay(kind, times))
    }

    /// Makes everything ready for training on the first `trained_on` samples in batches, with a set to validate on: weights,
    /// state of the optimizer, data, kernels.
    pub fn begin(
        &mut self,
        samples: &Samples,
        trained_on: usize,
        batch: usize,
        validation: Option<(&Samples, Range<usize>)>,
        (weights, previous, slots): (&[f32], &[f32], &[Floats]),
    ) -> Result<Training> {
        self.put_weights(weights)?;
        self.reserve(Memory::Previous, 4 * previous.len())?;
        self.backend.write(Memory::Previous, 0, bytes_of(previous))?;
        self.reserve(Memory::Slots, 4 * self.plan.params * slots.len())?;
        for (number, slot) in slots.iter().enumerate() {
            self.backend.write(Memory::Slots, 4 * self.plan.params * number, bytes_of(slot))?;
        }
        let batch = batch.min(trained_on);
        let mut set = self.place(Role::Training, samples, batch)?;
        let room = self.room;
        let validation = match validation {
            Some((same, range)) if std::ptr::eq(same, samples) && set.whole => Some((set, range)),
            Some((other, range)) => Some((self.place(Role::Validation, other, room)?, range)),
            None => None,
        };
        if set.whole {
            set.set.order = trained_on;
            self.reserve(Memory::Order, 4 * trained_on)?;
        }
        let mut kinds = set.kinds(trained_on, batch, train);
        if let Some((set, range)) = &validation {
            kinds.extend(set.kinds(range.len(), room, evaluate));
        }
        self.prepare(&kinds)?;
        Ok(Training { set, batch, trained_on, validation })
    }

    /// One epoch in this order, after `steps` steps.
    pub fn epoch(&mut self, training: &Training, samples: &Samples, order: &[u32], steps: u64) -> Result<Outcome> {
        let Training { set: placed, batch, trained_on, .. } = *training;
        // The device's are ahead until `end`, which may never be called.
        self.has_weights = false;
        self.put_state(State { step: steps, ..State::default() })?;
        if placed.whole {
            self.backend.write(Memory::Order, 0, bytes_of(order))?;
            self.replay_all(&placed.batches(trained_on, batch, train))?;
        } else {
            for images in order.chunks(placed.set.images) {
                self.fill(Role::Training, samples, images)?;
                self.replay_all(&placed.batches(images.len(), batch, train))?;
            }
        }
        let state = self.state()?;
        let done = state.step - steps;
        let fault = match state.fault {
            0 => None,
            // The step that failed was not counted.
            1 => Some(Fault::Loss { loss: state.fault_loss, step: done + 1 }),
            _ => Some(Fault::Weights { step: done }),
        };
        Ok(Outcome { loss: state.loss, correct: state.correct as usize, steps: done, fault })
    }

    /// Losses over the set to validate on, without penalties.
    pub fn validate(&mut self, training: &Training, samples: &Samples) -> Result<Outcome> {
        match &training.validation {
            Some((placed, range)) => self.losses(*placed, samples, range.clone()),
            None => Ok(Outcome { loss: 0.0, correct: 0, steps: 0, fault: None }),
        }
    }

    /// Losses over the samples `range`, without penalties.
    pub fn evaluate(&mut self, samples: &Samples, range: Range<usize>, weights: &[f32]) -> Result<Outcome> {
        self.put_weights(weights)?;
        let placed = self.place(Role::Validation, samples, self.room)?;
        self.prepare(&placed.kinds(range.len(), self.room, evaluate))?;
        self.losses(placed, samples, range)
    }

    fn losses(&mut self, placed: Placed, samples: &Samples, range: Range<usize>) -> Result<Outcome> {
        let room = self.room;
        self.put_state(State { cursor: range.start as u64, ..State::default() })?;
        if placed.whole {
            self.replay_all(&placed.batches(range.len(), room, evaluate))?;
        } else {
            let images: Vec<u32> = range.map(|image| image as u32).collect();
            for images in images.chunks(placed.set.images) {
                self.fill(placed.set.role, samples, images)?;
                self.replay_all(&placed.batches(images.len(), room, evaluate))?;
            }
        }
        let state = self.state()?;
        Ok(Outcome { loss: state.loss, correct: state.correct as usize, steps: 0, fault: None })
    }
}

/// The values of these images, one image after the other. In whole images, since the device waits for it.
fn gather<T: Copy>(values: &[T], size: usize, images: &[u32]) -> Vec<T> {
    let mut gathered = Vec::with_capacity(images.len() * size);
    for &image in images {
        gathered.extend_from_slice(&values[image as usize * size..][..size]);
    }
    gathered
}

fn train(set: Set, images: usize) -> Kind {
    Kind::Train { set, images }
}

fn evaluate(set: Set, images: usize) -> Kind {
    Kind::Evaluate { set, images }
}
