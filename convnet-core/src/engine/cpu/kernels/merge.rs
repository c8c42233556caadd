//! Where several tensors become one, and gradients of one tensor come from several sides.
//!
//! `Add` and `Concatenate` are no kernels, since those have one input: the executor calls these functions. The gradient
//! of a sum is that of each of its terms; [`split`] takes a part's gradient out of that of a concatenation.
//!
//! Nothing is allocated. NaN and infinities go through as in any sum.

use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};

/// `output ← Σ inputs`, from the first to the last; all are equally long. Without inputs the sum is 0.
pub fn add(level: Level, inputs: &[&[f32]], output: &mut [f32]) {
    match inputs {
        [] => output.fill(0.0),
        [input] => output.copy_from_slice(input),
        [a, b, others @ ..] => {
            vectorize(level, Sum { a, b, output: &mut *output });
            others.iter().for_each(|other| accumulate(level, output, other));
        }
    }
}

/// `sum ← sum + addend`, equally long.
pub fn accumulate(level: Level, sum: &mut [f32], addend: &[f32]) {
    vectorize(level, Accumulate { sum, addend });
}

/// Joins rows: row `i` of the output is row `i` of the first part, then of the second, … Each part comes with the length
/// of its rows (its channels).
pub fn concatenate(parts: &[(&[f32], usize)], output: &mut [f32]) {
    let total = parts.iter().map(|(_, channels)| channels).sum();
    let mut first = 0;
    for (part, channels) in parts {
        for (from, to) in part.chunks_exact(*channels).zip(output.chunks_exact_mut(total)) {
            to[first..first + channels].copy_from_slice(from);
        }
        first += channels;
    }
}

/// Takes `channels` values from `first` on out of each row of `total` values: what [`concatenate`] put there. They are
/// added to `part` if `accumulate`, and else overwrite it.
pub fn split(d_output: &[f32], first: usize, channels: usize, total: usize, part: &mut [f32], accumulate: bool) {
    for (from, to) in d_output.chunks_exact(total).zip(part.chunks_exact_mut(channels)) {
        let from = &from[first..first + channels];
        if accumulate {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        } else {
            to.copy_from_slice(from);
        }
    }
}

struct Sum<'a> {
    a: &'a [f32],
    b: &'a [f32],
    output: &'a mut [f32],
}

impl Vectorized for Sum<'_> {
    type Output = ();
    /// A plain loop, which the compiler vectorises.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((sum, a), b) in self.output.iter_mut().zip(self.a).zip(self.b) {
            *sum = a + b;
        }
    }
}

struct Accumulate<'a> {
    sum: &'a mut [f32],
    addend: &'a [f32],
}

impl Vectorized for Accumulate<'_> {
    type Output = ();
    /// A plain loop, which the compiler vectorises.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (sum, addend) in self.sum.iter_mut().zip(self.addend) {
            *sum += addend;
        }
    }
}
