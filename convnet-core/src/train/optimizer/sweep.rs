//! One pass over a range of the parameters: every optimizer is a rule for one parameter, and the parameters do not
//! see one another, so that a result does not depend on how the range was cut.

use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};

/// The most state floats that an optimizer keeps for a parameter.
pub const MAX_SLOTS: usize = 3;

/// How one parameter moves, with `N` state floats.
pub(super) trait Rule<const N: usize>: Copy {
    /// The weight and the slots after the step.
    fn step<S: Simd>(self, simd: S, weight: S::V, gradient: S::V, slots: [S::V; N]) -> (S::V, [S::V; N]);
}

/// Applies a rule to a range of the parameters.
///
/// # Panics
/// Where the slices are not of one length: that would be a fault of the engine.
pub(super) fn sweep<const N: usize>(
    level: Level,
    rule: impl Rule<N>,
    weights: &mut [f32],
    gradient: &[f32],
    slots: [&mut [f32]; MAX_SLOTS],
) {
    let len = weights.len();
    assert!(gradient.len() == len, "{} gradients for {len} weights", gradient.len());
    for slot in &slots[..N] {
        assert!(slot.len() == len, "{} state floats for {len} weights", slot.len());
    }
    let slots = slots.map(|slot| slot.as_mut_ptr());
    let slots = std::array::from_fn(|i| slots[i]);
    vectorize(level, Sweep { rule, len, weights: weights.as_mut_ptr(), gradient: gradient.as_ptr(), slots });
}

/// The slices as pointers, `len` floats behind each.
struct Sweep<R, const N: usize> {
    rule: R,
    len: usize,
    weights: *mut f32,
    gradient: *const f32,
    slots: [*mut f32; N],
}

impl<R: Rule<N>, const N: usize> Vectorized for Sweep<R, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut at = 0;
        while at + S::LANES <= self.len {
            // SAFETY: at + LANES ≤ len.
            unsafe { self.vector(simd, at, S::LANES) };
            at += S::LANES;
        }
        if at < self.len {
            // SAFETY: at + (len − at) = len, and fewer than LANES are left.
            unsafe { self.vector(simd, at, self.len - at) };
        }
    }
}

impl<R: Rule<N>, const N: usize> Sweep<R, N> {
    /// The parameters `at..at + count`.
    ///
    /// # Safety
    /// `at + count` ≤ `len`, `count` ≤ LANES.
    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, simd: S, at: usize, count: usize) {
        // SAFETY: the pointers come from slices of `len` floats borrowed for as long as the sweep runs, those written
        // through mutably; the caller keeps at + count within them.
        unsafe {
            let mut slots = [simd.splat(0.0); N];
            for (slot, from) in slots.iter_mut().zip(self.slots) {
                *slot = load(simd, from.add(at), count);
            }
            let (weight, gradient) =
                (load(simd, self.weights.add(at), count), load(simd, self.gradient.add(at), count));
            let (weight, slots) = self.rule.step(simd, weight, gradient, slots);
            store(simd, self.weights.add(at), weight, count);
            for (slot, to) in slots.into_iter().zip(self.slots) {
                store(simd, to.add(at), slot, count);
            }
        }
    }
}

/// # Safety
/// `count` ≤ LANES floats are readable at `from`.
#[inline(always)]
unsafe fn load<S: Simd>(simd: S, from: *const f32, count: usize) -> S::V {
    // SAFETY: as the caller says.
    unsafe { if count == S::LANES { simd.load(from) } else { simd.load_first(from, count) } }
}

/// # Safety
/// `count` ≤ LANES floats are writable at `to`.
#[inline(always)]
unsafe fn store<S: Simd>(simd: S, to: *mut f32, value: S::V, count: usize) {
    // SAFETY: as the caller says.
    unsafe { if count == S::LANES { simd.store(to, value) } else { simd.store_first(to, value, count) } }
}
