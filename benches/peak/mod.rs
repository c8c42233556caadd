//! The most multiply-adds that one core does: what the benches' shares of peak refer to.

use convnet::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use std::hint::black_box;
use std::time::Instant;

/// Sums side by side: more than a multiply-add takes cycles, times two a cycle, and no more than AVX2 has registers.
const SIDE: usize = 12;
const STEPS: usize = 100_000;

/// GFLOP/s of one core at `level`: the best of some short runs, all in registers.
pub fn gflops(level: Level) -> f64 {
    (0..20).map(|_| vectorize(level, Run)).fold(0.0, f64::max)
}

struct Run;

impl Vectorized for Run {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let (a, b) = (s.splat(black_box(0.999)), s.splat(black_box(0.001)));
        let mut sums = [s.splat(1.0); SIDE];
        let start = Instant::now();
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = s.mul_add(*sum, a, b);
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        black_box(sums.iter().map(|&sum| s.sum(sum)).sum::<f32>());
        (2 * STEPS * SIDE * S::LANES) as f64 / seconds / 1e9
    }
}
