//! The activations in f64, as they are written down: what every fast implementation is held against.

use super::Activation;

/// The output of an activation on rows of `width` values.
pub fn forward(activation: Activation, x: &[f64], width: usize) -> Vec<f64> {
    match activation {
        Activation::Linear => x.to_vec(),
        Activation::Relu => x.iter().map(|x| x.max(0.0)).collect(),
        Activation::Sigmoid => x.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
        Activation::Tanh => x.iter().map(|x| x.tanh()).collect(),
        Activation::Softmax => x.chunks(width).flat_map(softmax).collect(),
    }
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = row.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

/// The gradient of the input, given the output `y` and its gradient.
pub fn backward(activation: Activation, y: &[f64], d_output: &[f64], width: usize) -> Vec<f64> {
    let each = |f: fn(f64, f64) -> f64| y.iter().zip(d_output).map(|(y, d)| f(*y, *d)).collect();
    match activation {
        Activation::Linear => d_output.to_vec(),
        Activation::Relu => each(|y, d| if y > 0.0 { d } else { 0.0 }),
        Activation::Sigmoid => each(|y, d| d * y * (1.0 - y)),
        Activation::Tanh => each(|y, d| d * (1.0 - y * y)),
        Activation::Softmax => y
            .chunks(width)
            .zip(d_output.chunks(width))
            .flat_map(|(y, d)| {
                let along: f64 = y.iter().zip(d).map(|(y, d)| y * d).sum();
                y.iter().zip(d).map(move |(y, d)| y * (d - along)).collect::<Vec<f64>>()
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::differences::{assert_gradient, values};

    #[test]
    fn gradients_are_finite_differences() {
        use Activation::*;
        for activation in [Linear, Relu, Sigmoid, Tanh, Softmax] {
            let (x, d) = (values(1, 15), values(2, 15));
            let gradient = backward(activation, &forward(activation, &x, 5), &d, 5);
            assert_gradient(&x, &gradient, &d, |x| forward(activation, x, 5));
        }
    }

    #[test]
    fn values_by_hand() {
        assert_eq!(forward(Activation::Relu, &[-1.0, 2.0], 2), [0.0, 2.0]);
        assert_eq!(forward(Activation::Softmax, &[1000.0, 1000.0, 0.0, 0.0], 2), [0.5; 4]);
        assert_eq!(forward(Activation::Sigmoid, &[0.0], 1), [0.5]);
    }
}
