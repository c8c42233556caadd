//! Convolution in f64, as it is written down: what every fast implementation is held against.

use super::Spec;
use crate::layers::activation::reference as activation;
use crate::shape::Shape;

/// The gradients of one call.
pub struct Gradients {
    /// Of the input.
    pub d_input: Vec<f64>,
    /// Of kernel and bias, one after the other.
    pub d_weights: Vec<f64>,
}

/// Calls `each` with every product of the convolution of one image, as indices into output, input and kernel.
fn each_product(spec: &Spec, input: Shape, output: Shape, mut each: impl FnMut(usize, usize, usize)) {
    let (vertical, horizontal) = (spec.vertical, spec.horizontal);
    let (top, left) = (vertical.pad_before(input.height()), horizontal.pad_before(input.width()));
    for i in 0..output.height() {
        for j in 0..output.width() {
            for u in 0..vertical.window {
                for v in 0..horizontal.window {
                    let y = (i * vertical.stride + u * vertical.dilation) as isize - top as isize;
                    let x = (j * horizontal.stride + v * horizontal.dilation) as isize - left as isize;
                    if y < 0 || y >= input.height() as isize || x < 0 || x >= input.width() as isize {
                        continue;
                    }
                    for c in 0..input.channels() {
                        for f in 0..spec.filters {
                            let from = (y as usize * input.width() + x as usize) * input.channels() + c;
                            let tap = ((u * horizontal.window + v) * input.channels() + c) * spec.filters + f;
                            each((i * output.width() + j) * spec.filters + f, from, tap);
                        }
                    }
                }
            }
        }
    }
}

/// Elements of the kernel.
fn kernel_len(spec: &Spec, input: Shape) -> usize {
    spec.vertical.window * spec.horizontal.window * input.channels() * spec.filters
}

/// The outputs of some images; `weights` are the kernel, `(kh, kw, in, out)`, then the bias if there is one.
pub fn forward(spec: &Spec, input: Shape, output: Shape, weights: &[f64], x: &[f64]) -> Vec<f64> {
    let (kernel, bias) = weights.split_at(kernel_len(spec, input));
    let images = x.chunks(input.len()).flat_map(|x| {
        let mut y: Vec<f64> =
            (0..output.len()).map(|o| if spec.use_bias { bias[o % spec.filters] } else { 0.0 }).collect();
        each_product(spec, input, output, |to, from, tap| y[to] += x[from] * kernel[tap]);
        y
    });
    activation::forward(spec.activation, &images.collect::<Vec<f64>>(), spec.filters)
}

/// The gradients, given the inputs, the outputs and their gradient.
pub fn backward(spec: &Spec, [input, output]: [Shape; 2], weights: &[f64], [x, y, d_output]: [&[f64]; 3]) -> Gradients {
    let kernel_len = kernel_len(spec, input);
    let d = activation::backward(spec.activation, y, d_output, spec.filters);
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
                d_weights[kernel_len + o % spec.filters] += d;
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
    use crate::shape::{Axis, Padding};

    #[test]
    fn gradients_are_finite_differences() {
        for (padding, activation) in [(Padding::Valid, Activation::Tanh), (Padding::Same, Activation::Softmax)] {
            let vertical = Axis { window: 3, stride: 2, dilation: 1, padding };
            let horizontal = Axis { window: 2, stride: 1, dilation: 2, padding };
            let spec = Spec { filters: 3, vertical, horizontal, groups: 1, activation, use_bias: true };
            let input = Shape::map(6, 5, 2);
            let size = |axis: &Axis, size| axis.output(size).expect("the window fits");
            let output = Shape::map(size(&vertical, 6), size(&horizontal, 5), 3);
            let (x, weights) = (values(1, 2 * input.len()), values(2, 3 * 2 * 2 * 3 + 3));
            let d = values(3, 2 * output.len());
            let y = forward(&spec, input, output, &weights, &x);
            let gradients = backward(&spec, [input, output], &weights, [&x, &y, &d]);
            assert_gradient(&x, &gradients.d_input, &d, |x| forward(&spec, input, output, &weights, x));
            assert_gradient(&weights, &gradients.d_weights, &d, |w| forward(&spec, input, output, w, &x));
        }
    }

    /// Keras: `Conv2D(1, 2, padding="same")` of ones pads at the bottom and on the right.
    #[test]
    fn an_odd_padding_goes_to_the_end() {
        let axis = Axis { window: 2, stride: 1, dilation: 1, padding: Padding::Same };
        let spec = Spec {
            filters: 1,
            vertical: axis,
            horizontal: axis,
            groups: 1,
            activation: Activation::Linear,
            use_bias: false,
        };
        let shape = Shape::map(2, 2, 1);
        assert_eq!(forward(&spec, shape, shape, &[1.0; 4], &[1.0; 4]), [4.0, 2.0, 2.0, 1.0]);
    }
}
