//! Dropout in f64, as it is written down: what every fast implementation is held against.
//!
//! Which values stay is for the caller to say; outside of training all of them do, unscaled, which needs no reference.

use super::Spec;

/// The outputs in training, given which values stay.
pub fn forward(spec: &Spec, stays: &[bool], x: &[f64]) -> Vec<f64> {
    let value = |(x, stays): (&f64, &bool)| if *stays { x / (1.0 - spec.rate) } else { 0.0 };
    x.iter().zip(stays).map(value).collect()
}

/// The gradient of the input, given that of the outputs: the same function of it.
pub fn backward(spec: &Spec, stays: &[bool], d_output: &[f64]) -> Vec<f64> {
    forward(spec, stays, d_output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::differences::{assert_gradient, values};

    #[test]
    fn gradients_are_finite_differences() {
        let spec = Spec { rate: 0.25 };
        let stays: Vec<bool> = values(3, 30).into_iter().map(|x| x > 0.0).collect();
        let (x, d) = (values(1, 30), values(2, 30));
        assert_gradient(&x, &backward(&spec, &stays, &d), &d, |x| forward(&spec, &stays, x));
    }

    #[test]
    fn values_by_hand() {
        assert_eq!(forward(&Spec { rate: 0.75 }, &[true, false, true], &[1.0, 2.0, -3.0]), [4.0, 0.0, -12.0]);
    }
}
