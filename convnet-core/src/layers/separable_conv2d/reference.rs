//! Separable convolution in f64: the references of the two convolutions that it is, one after the other.

use super::Spec;
use crate::layers::{conv2d, depthwise_conv2d};
use crate::shape::Shape;

pub use conv2d::reference::Gradients;

/// The map between the two convolutions.
fn between(spec: &Spec, input: Shape, output: Shape) -> Shape {
    Shape::map(output.height(), output.width(), input.channels() * spec.depth_multiplier)
}

/// Elements of the depthwise kernel.
fn depthwise_len(spec: &Spec, input: Shape) -> usize {
    spec.vertical.window * spec.horizontal.window * input.channels() * spec.depth_multiplier
}

/// The outputs of some images; `weights` are the depthwise kernel, `(kh, kw, in, multiplier)`, the pointwise kernel,
/// `(1, 1, in·multiplier, out)`, then the bias if there is one.
pub fn forward(spec: &Spec, input: Shape, output: Shape, weights: &[f64], x: &[f64]) -> Vec<f64> {
    let (depthwise, pointwise) = weights.split_at(depthwise_len(spec, input));
    let between = between(spec, input, output);
    let z = depthwise_conv2d::reference::forward(&spec.depthwise(), input, between, depthwise, x);
    conv2d::reference::forward(&spec.pointwise(), between, output, pointwise, &z)
}

/// The gradients, given the inputs, the outputs and their gradient.
pub fn backward(spec: &Spec, [input, output]: [Shape; 2], weights: &[f64], [x, y, d_output]: [&[f64]; 3]) -> Gradients {
    let (depthwise, pointwise) = weights.split_at(depthwise_len(spec, input));
    let between = between(spec, input, output);
    let z = depthwise_conv2d::reference::forward(&spec.depthwise(), input, between, depthwise, x);
    let last = conv2d::reference::backward(&spec.pointwise(), [between, output], pointwise, [&z, y, d_output]);
    let sources = [x, &z, &last.d_input];
    let first = depthwise_conv2d::reference::backward(&spec.depthwise(), [input, between], depthwise, sources);
    Gradients { d_input: first.d_input, d_weights: [first.d_weights, last.d_weights].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Activation;
    use crate::layers::differences::{assert_gradient, values};
    use crate::shape::{Axis, Padding};

    #[test]
    fn gradients_are_finite_differences() {
        let axis = Axis { window: 3, stride: 2, dilation: 1, padding: Padding::Same };
        let (vertical, horizontal) = (axis, Axis { window: 2, stride: 1, ..axis });
        let activation = Activation::Tanh;
        let spec = Spec { filters: 4, depth_multiplier: 2, vertical, horizontal, activation, use_bias: true };
        let (input, output) = (Shape::map(5, 4, 3), Shape::map(3, 4, 4));
        let (x, weights) = (values(1, 2 * input.len()), values(2, 3 * 2 * 6 + 6 * 4 + 4));
        let d = values(3, 2 * output.len());
        let y = forward(&spec, input, output, &weights, &x);
        let gradients = backward(&spec, [input, output], &weights, [&x, &y, &d]);
        assert_gradient(&x, &gradients.d_input, &d, |x| forward(&spec, input, output, &weights, x));
        assert_gradient(&weights, &gradients.d_weights, &d, |w| forward(&spec, input, output, w, &x));
    }
}
