//! The leaky rectifier in f64, as it is written down: what every fast implementation is held against.

use super::Spec;

/// The outputs.
pub fn forward(spec: &Spec, x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| if *x > 0.0 { *x } else { spec.negative_slope * x }).collect()
}

/// The gradient of the input, given the inputs and the gradient of the outputs. At 0 it is that of the values below, as
/// in TensorFlow.
pub fn backward(spec: &Spec, x: &[f64], d_output: &[f64]) -> Vec<f64> {
    x.iter().zip(d_output).map(|(x, d)| if *x > 0.0 { *d } else { spec.negative_slope * d }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::differences::{assert_gradient, values};

    #[test]
    fn gradients_are_finite_differences() {
        let spec = Spec { negative_slope: 0.3 };
        let (x, d) = (values(1, 50), values(2, 50));
        assert_gradient(&x, &backward(&spec, &x, &d), &d, |x| forward(&spec, x));
    }

    #[test]
    fn values_by_hand() {
        let spec = Spec { negative_slope: 0.5 };
        assert_eq!(forward(&spec, &[-2.0, 0.0, 3.0]), [-1.0, 0.0, 3.0]);
        assert_eq!(backward(&spec, &[-2.0, 0.0, 3.0], &[1.0; 3]), [0.5, 0.5, 1.0]);
    }
}
