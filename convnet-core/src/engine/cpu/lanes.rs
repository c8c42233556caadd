//! The lanes that a batch is cut into, their gradients, and the sum of these.
//!
//! The sum has a fixed order, whatever the number of threads: the lanes of each half one after the other, then the two
//! halves. A lane that begins when all before it in its half are added up adds its own gradient to their sum right away,
//! kernel by kernel. With two threads, who have a half each, that is nearly always so; a lane that comes too early has a place
//! of its own, and is added later ([`Gradients::sum`]). The bits are the same either way, since what is added is the whole
//! sum over the lane, by the kernel itself ([`Kernel::adds_sums`](super::kernel::Kernel::adds_sums)) or for it (`pass`).
//!
//! Why it is as it is. Eight gradients of their own, added by the update, were 5 % of a training step of the book's first
//! convnet on two threads: half of them came out of the other core's cache, and together with the rest of a step they did
//! not fit into the thread's own.

use super::aligned::{Floats, LINE};
use super::disjoint::Disjoint;
use super::pass::Onto;
use super::simd::{Level, vectorize};
use super::sums::Add;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs of images that a batch is cut into: enough for as many threads to have a share each. A batch of eight images or
/// fewer makes lanes of one image.
pub(super) const LANES: usize = 8;

/// Lanes whose gradients are added one after the other.
const HALF: usize = LANES / 2;

/// The images of a lane: `images` cut into as equal runs as can be.
pub(super) fn lane_of(lane: usize, images: usize) -> Range<usize> {
    let lanes = LANES.min(images);
    lane * images / lanes..(lane + 1) * images / lanes
}

/// Room for the lanes' gradients.
pub(super) struct Lanes {
    floats: Floats,
    /// Floats of a gradient.
    len: usize,
    /// For each stage of the way back, how many lanes of each half are added up in the place of the half's first.
    added: Vec<[AtomicUsize; 2]>,
}

impl Lanes {
    /// Gradients of `len` floats, on a way back of so many stages. Takes no memory before [`Lanes::reserve`].
    pub fn new(len: usize, stages: usize) -> Lanes {
        Lanes { floats: Floats::default(), len, added: (0..stages).map(|_| Default::default()).collect() }
    }

    /// Takes the memory.
    pub fn reserve(&mut self) {
        if self.floats.is_empty() {
            self.floats = Floats::zeros(LANES * self.len.next_multiple_of(LINE));
        }
    }

    /// To be shared by threads, for a batch of `images` images.
    pub fn of_batch(&mut self, images: usize) -> Gradients<'_> {
        let Lanes { floats, len, added } = self;
        Gradients { floats: Disjoint::new(floats), len: *len, added, lanes: LANES.min(images) }
    }
}

/// The gradients of a batch's lanes.
pub(super) struct Gradients<'a> {
    floats: Disjoint<'a, f32>,
    len: usize,
    added: &'a [[AtomicUsize; 2]],
    lanes: usize,
}

/// Some images of a lane that go together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The lane's number.
    pub lane: usize,
    /// Whether they are the lane's first, and its last.
    pub first: bool,
    pub last: bool,
}

impl Gradients<'_> {
    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Forgets what the gradient of a stage was. Before any of its lanes begins.
    pub fn begin(&self, stage: usize) {
        self.added[stage].iter().for_each(|added| added.store(0, Ordering::Relaxed));
    }

    /// Has `work` write the gradient of a lane's part onto what is there.
    ///
    /// # Safety
    /// The parts of a lane come one after the other, and none twice. `work` keeps to this stage's floats of the gradient.
    pub unsafe fn collect(&self, stage: usize, part: Part, work: impl FnOnce(&mut [f32], Onto)) {
        let Part { lane, first, last } = part;
        let (added, before) = (&self.added[stage][lane / HALF], lane % HALF);
        // A sum over several parts has to be made before it is added.
        let joins = before > 0 && first && last && added.load(Ordering::Acquire) == before;
        let place = self.place(if joins { lane - before } else { lane }, 0..self.len);
        // SAFETY: the place of a half's first lane belongs to that lane until it is counted, then to the next, which counts
        // itself in turn; all others belong to their lanes.
        let gradient = unsafe { self.floats.part(place) };
        work(gradient, if joins { Onto::Sum } else { [Onto::Images, Onto::Nothing][usize::from(first)] });
        if last && (joins || before == 0) {
            added.store(before + 1, Ordering::Release);
        }
    }

    /// Gives a stage a gradient that no lane made.
    ///
    /// # Safety
    /// Nobody else uses the gradients.
    pub unsafe fn set(&self, stage: usize, range: Range<usize>, write: impl FnOnce(&mut [f32])) {
        for (half, added) in self.added[stage].iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { self.floats.part(self.place(half * HALF, range.clone())) }.fill(0.0);
            added.store(HALF, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise.
        write(unsafe { self.floats.part(self.place(0, range)) });
    }

    /// The sum of all lanes, of some floats of a stage. To be asked for once.
    ///
    /// # Safety
    /// Nobody else uses these floats.
    #[allow(clippy::mut_from_ref)] // as for `Disjoint::part`
    pub unsafe fn sum(&self, level: Level, stage: usize, range: Range<usize>) -> &mut [f32] {
        let place = |lane| self.place(lane, range.clone());
        let add = |to: usize, lane: usize| {
            // SAFETY: the caller's promise; lanes have different places.
            let (sum, addend) = unsafe { (self.floats.part(place(to)), self.floats.shared(place(lane))) };
            vectorize(level, Add { sum, addend, times: 1.0 });
        };
        for (half, added) in self.added[stage].iter().enumerate() {
            let lanes = half * HALF..self.lanes.min((half + 1) * HALF);
            lanes.clone().skip(added.load(Ordering::Relaxed)).for_each(|lane| add(lanes.start, lane));
            if half > 0 && !lanes.is_empty() {
                add(0, lanes.start);
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.floats.part(place(0)) }
    }

    fn place(&self, lane: usize, range: Range<usize>) -> Range<usize> {
        let start = lane * self.len.next_multiple_of(LINE);
        start + range.start..start + range.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each lane's gradient in several parts or one, the lanes one by one in this order: their sum.
    fn summed(order: &[usize], parts: &[usize]) -> Vec<f32> {
        const LEN: usize = 5;
        let mut lanes = Lanes::new(LEN, 2);
        lanes.reserve();
        let gradients = lanes.of_batch(order.len());
        gradients.begin(1);
        for &lane in order {
            for i in 0..parts[lane] {
                let part = Part { lane, first: i == 0, last: i + 1 == parts[lane] };
                let write = |gradient: &mut [f32], onto| {
                    for (k, x) in gradient.iter_mut().enumerate() {
                        let own = 0.1 + (10 * lane + 3 * i + k) as f32 / 7.0;
                        *x = if onto == Onto::Nothing { own } else { *x + own };
                    }
                };
                // SAFETY: one after the other.
                unsafe { gradients.collect(1, part, write) };
            }
        }
        // SAFETY: nobody else is here.
        unsafe { gradients.sum(Level::detect(), 1, 1..LEN).to_vec() }
    }

    #[test]
    fn the_sum_does_not_depend_on_who_came_first() {
        for (lanes, parts) in
            [(8, [1; 8]), (8, [2, 1, 1, 3, 1, 1, 2, 1]), (6, [1; 8]), (3, [1, 2, 1, 1, 1, 1, 1, 1]), (1, [1; 8])]
        {
            let mut order: Vec<usize> = (0..lanes).collect();
            let expected = summed(&order, &parts);
            for turn in 0..lanes {
                order.rotate_left(1);
                assert_eq!(summed(&order, &parts), expected, "{order:?} {parts:?} {turn}");
                let back: Vec<usize> = order.iter().rev().copied().collect();
                assert_eq!(summed(&back, &parts), expected, "{back:?} {parts:?}");
            }
        }
    }

    #[test]
    fn a_gradient_that_no_lane_made_is_the_sum() {
        for images in [1, 4, 5, 64] {
            let mut lanes = Lanes::new(3, 1);
            lanes.reserve();
            let gradients = lanes.of_batch(images);
            // SAFETY: nobody else is here.
            unsafe {
                gradients.collect(0, Part { lane: 0, first: true, last: true }, |gradient, _| gradient.fill(f32::NAN));
                gradients.set(0, 0..3, |gradient| gradient.copy_from_slice(&[1.0, 2.0, 3.0]));
                assert_eq!(gradients.sum(Level::detect(), 0, 0..3), [1.0, 2.0, 3.0]);
            }
        }
    }
}
