//! The fully connected layer in f64, as it is written down: what every fast implementation is held against.

use super::Spec;
use crate::layers::activation::reference as activation;
use crate::layers::conv2d::reference::Gradients;

/// The outputs of some images; `weights` are the kernel, `(features, units)`, then the bias if there is one.
pub fn forward(spec: &Spec, features: usize, weights: &[f64], x: &[f64]) -> Vec<f64> {
    let (kernel, bias) = weights.split_at(features * spec.units);
    let images = x.chunks(features).flat_map(|x| {
        (0..spec.units).map(move |u| {
            let sum: f64 = x.iter().enumerate().map(|(k, x)| x * kernel[k * spec.units + u]).sum();
            sum + if spec.use_bias { bias[u] } else { 0.0 }
        })
    });
    activation::forward(spec.activation, &images.collect::<Vec<f64>>(), spec.units)
}

/// The gradients, given the inputs, the outputs and their gradient.
pub fn backward(spec: &Spec, features: usize, weights: &[f64], [x, y, d_output]: [&[f64]; 3]) -> Gradients {
    let d = activation::backward(spec.activation, y, d_output, spec.units);
    let mut d_input = vec![0.0; x.len()];
    let mut d_weights = vec![0.0; weights.len()];
    for ((x, d_x), d) in x.chunks(features).zip(d_input.chunks_mut(features)).zip(d.chunks(spec.units)) {
        for (u, d) in d.iter().enumerate() {
            for k in 0..features {
                d_x[k] += d * weights[k * spec.units + u];
                d_weights[k * spec.units + u] += d * x[k];
            }
            if spec.use_bias {
                d_weights[features * spec.units + u] += d;
            }
        }
    }
    Gradients { d_input, d_weights }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Activation;
    use crate::layers::differences::{assert_gradient, values};

    #[test]
    fn gradients_are_finite_differences() {
        for activation in [Activation::Sigmoid, Activation::Softmax] {
            let spec = Spec { units: 4, activation, use_bias: true };
            let (x, weights, d) = (values(1, 3 * 5), values(2, 5 * 4 + 4), values(3, 3 * 4));
            let y = forward(&spec, 5, &weights, &x);
            let gradients = backward(&spec, 5, &weights, [&x, &y, &d]);
            assert_gradient(&x, &gradients.d_input, &d, |x| forward(&spec, 5, &weights, x));
            assert_gradient(&weights, &gradients.d_weights, &d, |w| forward(&spec, 5, w, &x));
        }
    }

    #[test]
    fn values_by_hand() {
        let spec = Spec { units: 2, activation: Activation::Linear, use_bias: true };
        assert_eq!(forward(&spec, 2, &[1.0, 2.0, 3.0, 4.0, 10.0, 20.0], &[1.0, 1.0]), [14.0, 26.0]);
    }
}
