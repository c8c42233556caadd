//! One pass over a range of the parameters: every optimizer is a rule for one parameter, and the parameters do not
//! see one another, so that a result does not depend on how the range was cut.
//!
//! **What counts as zero.** A weight whose gradient stays zero (a unit that never fires) lets its moving averages decay
//! into the denormal numbers, where rounding stops them short of zero (0.9 times four quanta is four quanta), and there
//! every multiplication costs a microcode assist of some hundred cycles, in each step from then on. So what is far too
//! small to be seen is [`settled`] as zero: gradients and their averages below [`TINY`], averages of squares
//! below what [`Floor`] says. All else keeps its bits; NaN and infinities pass. Keras on TensorFlow has the processor
//! flush denormal numbers, which Rust has no sound way to ask for.

use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};

/// The most state floats that an optimizer keeps for a parameter.
pub const MAX_SLOTS: usize = 3;

/// Below this a gradient, an average of gradients or a momentum counts as zero: 2⁻¹⁰⁰. Momenta have the unit of the
/// weights, which nothing that small changes; a gradient that small moves a weight by less than `2⁻²⁵·lr` even under
/// the root of the smallest ε there is, 2⁻¹⁴⁹, and with Adam, whose ε has no root, down to an ε of 10⁻²².
pub(crate) const TINY: f32 = f32::from_bits((127 - 100) << 23);

/// `x`, but 0 where it is less than `tiny` in size.
#[inline(always)]
pub(super) fn settled<S: Simd>(simd: S, x: S::V, tiny: f32) -> S::V {
    let zero = simd.splat(0.0);
    let size = simd.max(simd.sub(zero, x), x);
    simd.if_greater(simd.splat(tiny), size, zero, x)
}

/// Where moving averages of squares count as zero.
///
/// Their root stands beside an ε, which may be any positive number: what is dropped has to be small against that and
/// not by itself, or a step `g/ε` would explode that `g/(√v+ε)` held back. So the root may be off by `2⁻³⁰·ε`, and if
/// every step drops its share, by `2⁻³⁰·ε/√(1−ρ)`: 2⁻²⁵ for ρ = 0.999, no more than rounding. 2⁻⁵⁰ is enough to keep
/// denormal numbers away, which takes an ε of 10⁻⁶; the root comes to 2⁻⁵³ for 10⁻⁷ and squares to 2⁻¹⁰⁷. Only for an ε
/// below 10⁻¹⁰ some averages are denormal still: slow, but right.
#[derive(Clone, Copy)]
pub(crate) struct Floor {
    /// What is squared counts as zero below this,
    pub(crate) root: f32,
    /// and the average of squares below this.
    pub(crate) square: f32,
}

impl Floor {
    /// For a root that is added to `epsilon`.
    pub(crate) fn beside(epsilon: f32) -> Self {
        let root = (epsilon * f32::from_bits((127 - 30) << 23)).min(f32::from_bits((127 - 50) << 23));
        Floor { root, square: root * root }
    }

    /// `x²`
    #[inline(always)]
    pub(super) fn square<S: Simd>(self, simd: S, x: S::V) -> S::V {
        let x = settled(simd, x, self.root);
        simd.mul(x, x)
    }

    /// The average after a step.
    #[inline(always)]
    pub(super) fn settled<S: Simd>(self, simd: S, average: S::V) -> S::V {
        settled(simd, average, self.square)
    }
}

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
            let gradient = settled(simd, gradient, TINY);
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
