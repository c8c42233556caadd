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
