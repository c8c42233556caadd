//! Finite differences in f64: what the references' gradients are held against.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Reproducible values in (−1, 1).
pub(crate) fn values(seed: u64, count: usize) -> Vec<f64> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// Asserts that `gradient` is the derivative of `Σ d·f(x)` at `x`.
pub(crate) fn assert_gradient(x: &[f64], gradient: &[f64], d: &[f64], f: impl Fn(&[f64]) -> Vec<f64>) {
    let along = |x: &[f64]| f(x).iter().zip(d).map(|(y, d)| y * d).sum::<f64>();
    let step = 1e-6;
    assert_eq!(x.len(), gradient.len());
    for i in 0..x.len() {
        let shifted = |by: f64| {
            let mut x = x.to_vec();
            x[i] += by;
            along(&x)
        };
        let slope = (shifted(step) - shifted(-step)) / (2.0 * step);
        assert!((slope - gradient[i]).abs() < 1e-7, "element {i}: gradient {}, difference {slope}", gradient[i]);
    }
}
