//! Sums over runs of parameters, for every level.

use super::simd::{Simd, Vectorized};

/// `sum += times · addend`
pub(super) struct Add<'a> {
    pub sum: &'a mut [f32],
    pub addend: &'a [f32],
    pub times: f32,
}

impl Vectorized for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // The compiler vectorises this loop for the level that it is inlined into.
        for (sum, addend) in self.sum.iter_mut().zip(self.addend) {
            *sum += self.times * addend;
        }
    }
}

/// Copies what will hardly ever be looked at again, around the caches, which have better use for the room.
pub(super) struct SetAside<'a> {
    pub from: &'a [f32],
    pub to: &'a mut [f32],
}

impl Vectorized for SetAside<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let SetAside { from, to } = self;
        assert_eq!(from.len(), to.len());
        // Such stores want whole aligned vectors.
        let head = to.as_ptr().align_offset(4 * S::LANES).min(to.len());
        let vectors = (to.len() - head) / S::LANES;
        let tail = head + vectors * S::LANES;
        to[..head].copy_from_slice(&from[..head]);
        to[tail..].copy_from_slice(&from[tail..]);
        for at in (head..tail).step_by(S::LANES) {
            // SAFETY: a whole vector on both sides, aligned on that of `to`; the fence follows.
            unsafe { s.stream(to.as_mut_ptr().add(at), s.load(from.as_ptr().add(at))) };
        }
        s.fence();
    }
}

/// Σ x²
pub(super) struct SquareSum<'a>(pub &'a [f32]);

impl Vectorized for SquareSum<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        // Sums side by side, which the compiler makes a vector of.
        const SIDE: usize = 8;
        let mut sums = [0.0; SIDE];
        let (runs, rest) = self.0.as_chunks::<SIDE>();
        for run in runs {
            for (sum, &x) in sums.iter_mut().zip(run) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        sums.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
    }
}

/// Whether no number is infinite or NaN.
pub(super) struct AllFinite<'a>(pub &'a [f32]);

impl Vectorized for AllFinite<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        // Without their sign, the bits of floats are in the order of their sizes; infinity comes next to the largest. A
        // maximum of integers is a loop that the compiler vectorises.
        let largest = self.0.iter().fold(0, |largest, x| (x.to_bits() & !(1 << 31)).max(largest));
        largest < f32::INFINITY.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::SetAside;
    use crate::engine::cpu::simd::{Level, vectorize};

    #[test]
    fn all_of_it_is_set_aside_wherever_it_lies() {
        let from: Vec<f32> = (0..100).map(|i| i as f32).collect();
        for level in Level::available() {
            for (start, len) in (0..20).flat_map(|start| [0, 1, 7, 15, 16, 40, 70].map(|len| (start, len))) {
                let mut to = vec![-1.0; 100];
                vectorize(level, SetAside { from: &from[..len], to: &mut to[start..start + len] });
                assert_eq!(to[start..start + len], from[..len], "{level:?} {start} {len}");
                assert!(to[..start].iter().chain(&to[start + len..]).all(|x| *x == -1.0), "{level:?} {start} {len}");
            }
        }
    }
}
