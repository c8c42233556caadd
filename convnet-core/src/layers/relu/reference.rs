//! The rectifier in f64, as it is written down: what every fast implementation is held against.

use super::Spec;

/// The outputs.
pub fn forward(spec: &Spec, x: &[f64]) -> Vec<f64> {
    let value = |x: &f64| match *x {
        x if x > spec.threshold => x.min(spec.max_value),
        x => spec.negative_slope * (x - spec.threshold),
    };
    x.iter().map(value).collect()
}

/// The gradient of the input, given the inputs and the gradient of the outputs.
///
/// Where the pieces meet it is that of the operations that Keras makes the layer of in TensorFlow. At the threshold it
/// is zero, but a layer with a slope and nothing else is `leaky_relu`, which has that slope at 0. At `max_value` it goes
/// through, as `clip_by_value` has it, but without a threshold and with a `max_value` of 6 the layer is `relu6`, where it
/// does not.
pub fn backward(spec: &Spec, x: &[f64], d_output: &[f64]) -> Vec<f64> {
    let leaky = spec.threshold == 0.0 && spec.max_value == f64::INFINITY;
    let relu6 = spec.threshold == 0.0 && spec.max_value == 6.0;
    let slope = |x: f64| match x {
        x if x > spec.max_value && x > spec.threshold => 0.0,
        x if x == spec.max_value && x > spec.threshold => f64::from(u8::from(!relu6)),
        x if x > spec.threshold => 1.0,
        x if x == spec.threshold && !leaky => 0.0,
        _ => spec.negative_slope,
    };
    x.iter().zip(d_output).map(|(x, d)| slope(*x) * d).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::differences::{assert_gradient, values};

    const NONE: f64 = f64::INFINITY;

    fn spec(max_value: f64, negative_slope: f64, threshold: f64) -> Spec {
        Spec { max_value, negative_slope, threshold }
    }

    #[test]
    fn gradients_are_finite_differences() {
        for (max_value, slope, threshold) in [(NONE, 0.0, 0.0), (0.5, 0.25, 0.0), (0.75, 0.5, 0.25), (0.2, 0.1, 0.6)] {
            let spec = spec(max_value, slope, threshold);
            let (x, d) = (values(1, 100), values(2, 100));
            assert_gradient(&x, &backward(&spec, &x, &d), &d, |x| forward(&spec, x));
        }
    }

    /// `ReLU(max_value, negative_slope, threshold)` of Keras on TensorFlow.
    #[test]
    fn values_of_keras() {
        let x = [-2.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0];
        for (spec, y, d) in [
            (spec(NONE, 0.0, 0.0), [0.0, 0.0, 0.0, 0.5, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
            (spec(2.0, 0.0, 0.0), [0.0, 0.0, 0.0, 0.5, 1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]),
            (spec(2.0, 0.5, 0.0), [-1.0, -0.25, 0.0, 0.5, 1.0, 2.0, 2.0], [0.5, 0.5, 0.0, 1.0, 1.0, 1.0, 0.0]),
            (spec(NONE, 0.5, 0.0), [-1.0, -0.25, 0.0, 0.5, 1.0, 2.0, 3.0], [0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]),
            (spec(NONE, 0.0, 1.0), [0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]),
            (spec(2.0, 0.5, 1.0), [-1.5, -0.75, -0.5, -0.25, 0.0, 2.0, 2.0], [0.5, 0.5, 0.5, 0.5, 0.0, 1.0, 0.0]),
            (spec(1.0, 0.5, 2.0), [-2.0, -1.25, -1.0, -0.75, -0.5, 0.0, 1.0], [0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0]),
        ] {
            assert_eq!(forward(&spec, &x), y, "{spec:?}");
            assert_eq!(backward(&spec, &x, &[1.0; 7]), d, "{spec:?}");
        }
        assert_eq!(backward(&spec(6.0, 0.0, 0.0), &[5.0, 6.0, 7.0, 0.0], &[1.0; 4]), [1.0, 0.0, 0.0, 0.0]);
    }
}
