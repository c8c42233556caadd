//! Depthwise convolution in f64, as it is written down: what every fast implementation is held against.

use super::Spec;
use crate::layers::activation::reference as activation;
use crate::shape::{Axis, Shape};

/// The gradients of one call.
pub struct Gradients {
    /// Of the input.
    pub d_input: Vec<f64>,
    /// Of kernel and bias, one after the other.
    pub d_weights: Vec<f64>,
}

/// Where a tap of an output's window lies on an axis of `size` positions, if it lies inside.
fn inside(axis: &Axis, output: usize, tap: usize, size: usize) -> Option<usize> {
    let at = (output * axis.stride + tap * axis.dilation).checked_sub(axis.pad_before(size))?;
    (at < size).then_some(at)
}

/// Calls `each` with every product of the convolution of one image, as indices into output, input and kernel.
fn each_product(spec: &Spec, input: Shape, output: Shape, mut each: impl FnMut(usize, usize, usize)) {
    let multiplier = spec.depth_multiplier;
    for (i, u) in (0..output.height()).flat_map(|i| (0..spec.vertical.window).map(move |u| (i, u))) {
        let Some(y) = inside(&spec.vertical, i, u, input.height()) else { continue };
        for (j, v) in (0..output.width()).flat_map(|j| (0..spec.horizontal.window).map(move |v| (j, v))) {
            let Some(x) = inside(&spec.horizontal, j, v, input.width()) else { continue };
            for c in 0..input.channels() {
                for k in 0..multiplier {
                    let to = (i * output.width() + j) * output.channels() + c * multiplier + k;
                    let from = (y * input.width() + x) * input.channels() + c;
                    let tap = ((u * spec.horizontal.window + v) * input.channels() + c) * multiplier + k;
                    each(to, from, tap);
                }
            }
        }
    }
}

/// Elements of the kernel.
fn kernel_len(spec: &Spec, input: Shape) -> usize {
    spec.vertical.window * spec.horizontal.window * input.channels() * spec.depth_multiplier
}

/// The outputs of some images; `weights` are the kernel, `(kh, kw, in, multiplier)`, then the bias if there is one.
pub fn forward(spec: &Spec, input: Shape, output: Shape, weights: &[f64], x: &[f64]) -> Vec<f64> {
    let (kernel, bias) = weights.split_at(kernel_len(spec, input));
    let channels = output.channels();
    let images = x.chunks(input.len()).flat_map(|x| {
        let mut y: Vec<f64> = (0..output.len()).map(|o| if spec.use_bias { bias[o % channels] } else { 0.0 }).collect();
        each_product(spec, input, output, |to, from, tap| y[to] += x[from] * kernel[tap]);
        y
    });
    activation::forward(spec.activation, &images.collect::<Vec<f64>>(), channels)
}

/// The gradients, given the inputs, the outputs and their gradient.
pub fn backward(spec: &Spec, [input, output]: [Shape; 2], weights: &[f64], [x, y, d_output]: [&[f64]; 3]) -> Gradients {
    let (kernel_len, channels) = (kernel_len(spec, input), output.channels());
    let d = activation::backward(spec.activation, y, d_output, channels);
    let mut d_input = vec![0.0; x.len()];
    let mut d_weights = vec![0.0; weights.len()];
    for (image, d) in d.chunks(output.len()).enumerate() {
        let first = image * input.len();
        each_product(spec, input, output, |to, from, tap| {
            d_input[first + from] += d[to] * weights[tap];
            d_weights[tap] += d[to] * x[first + from];
        });
        if spec.use_bias {
            for (o, d) in d.iter().enumerate() {
                d_weights[kernel_len + o % channels] += d;
            }
        }
    }
    Gradients { d_input, d_weights }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Activation;
    use crate::layers::conv2d;
    use crate::layers::differences::{assert_gradient, values};
    use crate::shape::Padding;

    #[test]
    fn gradients_are_finite_differences() {
        for (padding, activation) in [(Padding::Valid, Activation::Tanh), (Padding::Same, Activation::Softmax)] {
            let vertical = Axis { window: 3, stride: 2, dilation: 1, padding };
            let horizontal = Axis { window: 2, stride: 1, dilation: 2, padding };
            let spec = Spec { depth_multiplier: 2, vertical, horizontal, activation, use_bias: true };
            let input = Shape::map(6, 5, 3);
            let size = |axis: &Axis, size| axis.output(size).expect("the window fits");
            let output = Shape::map(size(&vertical, 6), size(&horizontal, 5), 6);
            let (x, weights) = (values(1, 2 * input.len()), values(2, 3 * 2 * 3 * 2 + 6));
            let d = values(3, 2 * output.len());
            let y = forward(&spec, input, output, &weights, &x);
            let gradients = backward(&spec, [input, output], &weights, [&x, &y, &d]);
            assert_gradient(&x, &gradients.d_input, &d, |x| forward(&spec, input, output, &weights, x));
            assert_gradient(&weights, &gradients.d_weights, &d, |w| forward(&spec, input, output, w, &x));
        }
    }

    /// The same layer in other words: each channel is a group, and the kernel is the same memory.
    #[test]
    fn it_is_a_convolution_with_as_many_groups_as_channels() {
        let axis = Axis { window: 3, stride: 2, dilation: 1, padding: Padding::Same };
        let (vertical, horizontal, activation) = (axis, Axis { dilation: 2, stride: 1, ..axis }, Activation::Relu);
        let spec = Spec { depth_multiplier: 3, vertical, horizontal, activation, use_bias: true };
        let grouped = conv2d::Spec { filters: 12, vertical, horizontal, groups: 4, activation, use_bias: true };
        let (input, output) = (Shape::map(5, 6, 4), Shape::map(3, 6, 12));
        let (x, weights) = (values(1, 2 * input.len()), values(2, 9 * 12 + 12));
        let expected = conv2d::reference::forward(&grouped, input, output, &weights, &x);
        for (found, expected) in forward(&spec, input, output, &weights, &x).iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }
}
