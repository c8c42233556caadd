//! Rescaling in f64, as it is written down: what every fast implementation is held against.

use super::Spec;

/// The outputs.
pub fn forward(spec: &Spec, x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x * spec.scale + spec.offset).collect()
}

/// The gradient of the input, given that of the outputs.
pub fn backward(spec: &Spec, d_output: &[f64]) -> Vec<f64> {
    d_output.iter().map(|d| d * spec.scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::differences::{assert_gradient, values};

    #[test]
    fn gradients_are_finite_differences() {
        let spec = Spec { scale: -0.5, offset: 3.0 };
        let (x, d) = (values(1, 20), values(2, 20));
        assert_gradient(&x, &backward(&spec, &d), &d, |x| forward(&spec, x));
    }

    #[test]
    fn values_by_hand() {
        assert_eq!(forward(&Spec { scale: 2.0, offset: -1.0 }, &[0.0, 0.5, 3.0]), [-1.0, 0.0, 5.0]);
    }
}
