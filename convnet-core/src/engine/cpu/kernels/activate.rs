//! Activations on rows in place, their gradients, and sums over rows (the gradient of a bias).
//!
//! relu is fused into the matrix product; the others pass over the output once more. The gradient needs the output
//! only, never the input: relu dy where y > 0, sigmoid dy·y(1 − y), tanh dy·(1 − y²), softmax y·(dy − Σ dy·y).

use super::exp::{exp, sigmoid, tanh};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::Activation;

/// Applies an activation to rows of `width` values, in place. Softmax is taken over each row, after subtracting its
/// maximum; a row with a NaN or with +∞ becomes NaN.
pub fn activate(level: Level, activation: Activation, values: &mut [f32], width: usize) {
    if activation != Activation::Linear {
        vectorize(level, Activate { activation, from: None, values, width });
    }
}

/// The same from one slice to another, as long one.
pub fn activate_to(level: Level, activation: Activation, from: &[f32], values: &mut [f32], width: usize) {
    assert_eq!(from.len(), values.len(), "as many outputs as inputs");
    vectorize(level, Activate { activation, from: Some(from), values, width });
}

/// Turns the gradient of an activation's output into that of its input, in place, given the output.
pub fn activate_backward(level: Level, activation: Activation, output: &[f32], gradient: &mut [f32], width: usize) {
    if activation != Activation::Linear {
        vectorize(level, Gradient { activation, output, gradient, width });
    }
}

/// Adds the rows of `values`, each as long as `sums`, to `sums`, one after the other.
pub fn add_rows(level: Level, values: &[f32], sums: &mut [f32]) {
    vectorize(level, AddRows { values, sums });
}

/// Vectors of columns that are summed side by side.
const SIDE_BY_SIDE: usize = 4;

/// Rows whose softmax is taken together. Each row's sum is a chain of additions from left to right, each of which waits
/// four cycles for the one before; the chains of several rows wait together.
const ROWS: usize = 8;

/// A function of single values. A trait and not a closure: closures know nothing of the level's instructions, so a
/// large one would not become part of the loop, nor the instructions part of it.
trait Function {
    fn of<S: Simd>(&self, s: S, x: S::V) -> S::V;
}

/// A function whose gradient its value tells.
trait Backward {
    /// The gradient of what `y` is the value of, given that of `y`.
    fn back<S: Simd>(&self, s: S, d: S::V, y: S::V) -> S::V;
}

/// `max(x, 0)`. Zero first, so that NaN stays NaN.
struct Positive;

impl Function for Positive {
    #[inline(always)]
    fn of<S: Simd>(&self, s: S, x: S::V) -> S::V {
        s.max(s.splat(0.0), x)
    }
}

impl Backward for Positive {
    #[inline(always)]
    fn back<S: Simd>(&self, s: S, d: S::V, y: S::V) -> S::V {
        // `if_greater` would become a masked load, which AVX2 has but slow ones of.
        s.keep(s.greater(y, s.splat(0.0)), d)
    }
}

/// The logistic function.
struct Logistic;

impl Function for Logistic {
    #[inline(always)]
    fn of<S: Simd>(&self, s: S, x: S::V) -> S::V {
        sigmoid(s, x)
    }
}

impl Backward for Logistic {
    #[inline(always)]
    fn back<S: Simd>(&self, s: S, d: S::V, y: S::V) -> S::V {
        s.mul(d, s.mul(y, s.sub(s.splat(1.0), y)))
    }
}

/// The hyperbolic tangent.
struct Tangent;

impl Function for Tangent {
    #[inline(always)]
    fn of<S: Simd>(&self, s: S, x: S::V) -> S::V {
        tanh(s, x)
    }
}

impl Backward for Tangent {
    #[inline(always)]
    fn back<S: Simd>(&self, s: S, d: S::V, y: S::V) -> S::V {
        s.mul(d, s.sub(s.splat(1.0), s.mul(y, y)))
    }
}

/// One of the values of a softmax.
struct Share {
    /// The scalar product of the row's values with their gradients.
    along: f32,
}

impl Backward for Share {
    #[inline(always)]
    fn back<S: Simd>(&self, s: S, d: S::V, y: S::V) -> S::V {
        s.mul(y, s.sub(d, s.splat(self.along)))
    }
}

/// The exponential of the distance from a value.
struct ExpMinus(f32);

impl Function for ExpMinus {
    #[inline(always)]
    fn of<S: Simd>(&self, s: S, x: S::V) -> S::V {
        exp(s, s.sub(x, s.splat(self.0)))
    }
}

/// Division by a value.
struct Over(f32);

impl Function for Over {
    #[inline(always)]
    fn of<S: Simd>(&self, s: S, x: S::V) -> S::V {
        s.div(x, s.splat(self.0))
    }
}

/// Replaces each value by its function.
#[inline(always)]
fn map<S: Simd>(s: S, values: &mut [f32], function: impl Function) {
    for chunk in values.chunks_mut(S::LANES) {
        let value = function.of(s, read(s, chunk));
        write(s, chunk, value);
    }
}

/// Writes the function of each value of a slice to another, as long one.
#[inline(always)]
fn map_to<S: Simd>(s: S, from: &[f32], to: &mut [f32], function: impl Function) {
    for (from, to) in from.chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
        write(s, to, function.of(s, read(s, from)));
    }
}

/// Replaces gradients of a function's values by those of what they were values of. Whole vectors have a loop of their
/// own, which takes a tenth less time.
#[inline(always)]
fn back<S: Simd>(s: S, gradients: &mut [f32], values: &[f32], function: impl Backward) {
    let (mut vectors, mut partners) = (gradients.chunks_exact_mut(S::LANES), values.chunks_exact(S::LANES));
    for (vector, partner) in vectors.by_ref().zip(partners.by_ref()) {
        let gradient = function.back(s, read(s, vector), read(s, partner));
        write(s, vector, gradient);
    }
    let (rest, partner) = (vectors.into_remainder(), partners.remainder());
    if !rest.is_empty() {
        let gradient = function.back(s, read(s, rest), read(s, partner));
        write(s, rest, gradient);
    }
}

/// Up to a vector of values, zeros behind them.
#[inline(always)]
pub(super) fn read<S: Simd>(s: S, from: &[f32]) -> S::V {
    // SAFETY: no more is read than the slice holds.
    unsafe { if from.len() >= S::LANES { s.load(from.as_ptr()) } else { s.load_first(from.as_ptr(), from.len()) } }
}

/// Writes as much of a vector as the slice takes.
#[inline(always)]
pub(super) fn write<S: Simd>(s: S, to: &mut [f32], value: S::V) {
    // SAFETY: no more is written than the slice holds.
    unsafe {
        if to.len() >= S::LANES {
            s.store(to.as_mut_ptr(), value);
        } else {
            s.store_first(to.as_mut_ptr(), value, to.len());
        }
    }
}

struct Activate<'a> {
    activation: Activation,
    /// What the function is applied to, if not to `values`.
    from: Option<&'a [f32]>,
    values: &'a mut [f32],
    width: usize,
}

impl Vectorized for Activate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Activate { activation, from, values, width } = self;
        match (activation, from) {
            (Activation::Linear, None) => {}
            (Activation::Linear, Some(from)) => values.copy_from_slice(from),
            (Activation::Relu, None) => map(s, values, Positive),
            (Activation::Relu, Some(from)) => map_to(s, from, values, Positive),
            (Activation::Sigmoid, None) => map(s, values, Logistic),
            (Activation::Sigmoid, Some(from)) => map_to(s, from, values, Logistic),
            (Activation::Tanh, None) => map(s, values, Tangent),
            (Activation::Tanh, Some(from)) => map_to(s, from, values, Tangent),
            (Activation::Softmax, _) => {
                for (index, rows) in values.chunks_mut(ROWS * width).enumerate() {
                    if let Some(from) = from {
                        rows.copy_from_slice(&from[index * ROWS * width..][..rows.len()]);
                    }
                    softmax(s, rows, width);
                }
            }
        }
    }
}

/// Softmax of up to [`ROWS`] rows.
#[inline(always)]
fn softmax<S: Simd>(s: S, rows: &mut [f32], width: usize) {
    for row in rows.chunks_exact_mut(width) {
        // A NaN may or may not be found as the maximum; the sum below is NaN either way.
        let largest = largest(s, row);
        map(s, row, ExpMinus(largest));
    }
    let sums = sums(rows, width);
    for (row, sum) in rows.chunks_exact_mut(width).zip(sums) {
        map(s, row, Over(sum));
    }
}

/// The largest value, NaN left out.
#[inline(always)]
fn largest<S: Simd>(s: S, values: &[f32]) -> f32 {
    let blocks = values.chunks_exact(SIDE_BY_SIDE * S::LANES);
    let mut largest = blocks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut vectors = [s.splat(f32::NEG_INFINITY); SIDE_BY_SIDE];
    for block in blocks {
        for (v, vector) in vectors.iter_mut().enumerate() {
            // The value first: `max` gives its second argument where either is NaN.
            *vector = s.max(read(s, &block[v * S::LANES..(v + 1) * S::LANES]), *vector);
        }
    }
    if values.len() >= SIDE_BY_SIDE * S::LANES {
        let mut lanes = [f32::NEG_INFINITY; 16];
        let vector = vectors.into_iter().fold(s.splat(f32::NEG_INFINITY), |a, b| s.max(a, b));
        write(s, &mut lanes, vector);
        largest = lanes.into_iter().fold(largest, f32::max);
    }
    largest
}

/// The sum of each of up to [`ROWS`] rows of `width` values, from left to right, with something in the places behind them.
#[inline(always)]
fn sums(values: &[f32], width: usize) -> [f32; ROWS] {
    // What an empty sum of floats is: zero would turn a sum of nothing but −0 into 0.
    let mut sums = [-0.0; ROWS];
    let count = values.len() / width;
    if count == 1 {
        sums[0] = values.iter().sum();
        return sums;
    }
    // Missing rows repeat the last one.
    let rows = std::array::from_fn::<_, ROWS, _>(|row| &values[row.min(count.saturating_sub(1)) * width..][..width]);
    for i in 0..width {
        for (row, sum) in rows.iter().zip(&mut sums) {
            *sum += row[i];
        }
    }
    sums
}

struct Gradient<'a> {
    activation: Activation,
    output: &'a [f32],
    gradient: &'a mut [f32],
    width: usize,
}

impl Vectorized for Gradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradient { activation, output, gradient, width } = self;
        match activation {
            Activation::Linear => {}
            Activation::Relu => back(s, gradient, output, Positive),
            Activation::Sigmoid => back(s, gradient, output, Logistic),
            Activation::Tanh => back(s, gradient, output, Tangent),
            Activation::Softmax => {
                for (d, y) in gradient.chunks_exact_mut(width).zip(output.chunks_exact(width)) {
                    let along = d.iter().zip(y).map(|(d, y)| d * y).sum();
                    back(s, d, y, Share { along });
                }
            }
        }
    }
}

struct AddRows<'a> {
    values: &'a [f32],
    sums: &'a mut [f32],
}

impl Vectorized for AddRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let AddRows { values, mut sums } = self;
        let (width, mut first) = (sums.len(), 0);
        // An addition takes several cycles: sums of one vector of columns would wait for each other.
        while sums.len() >= SIDE_BY_SIDE * S::LANES {
            let (some, others) = sums.split_at_mut(SIDE_BY_SIDE * S::LANES);
            add_columns::<S, SIDE_BY_SIDE>(s, values, width, first, some);
            (first, sums) = (first + some.len(), others);
        }
        for some in sums.chunks_mut(S::LANES) {
            add_columns::<S, 1>(s, values, width, first, some);
            first += some.len();
        }
    }
}

/// Adds the columns from `first` on of rows of `width` to as many sums: `N` whole vectors, or less than one.
#[inline(always)]
fn add_columns<S: Simd, const N: usize>(s: S, values: &[f32], width: usize, first: usize, sums: &mut [f32]) {
    let count = sums.len();
    let at = |v: usize| v * S::LANES..count.min((v + 1) * S::LANES);
    let mut vectors = [s.splat(0.0); N];
    for (v, vector) in vectors.iter_mut().enumerate() {
        *vector = read(s, &sums[at(v)]);
    }
    for row in values.chunks_exact(width) {
        let row = &row[first..first + count];
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = s.add(*vector, read(s, &row[at(v)]));
        }
    }
    for (v, vector) in vectors.into_iter().enumerate() {
        write(s, &mut sums[at(v)], vector);
    }
}
