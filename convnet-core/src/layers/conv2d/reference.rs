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
    let depth = input.channels() / spec.groups;
    for i in 0..output.height() {
        for j in 0..output.width() {
            for u in 0..vertical.window {
                for v in 0..horizontal.window {
                    let y = (i * vertical.stride + u * vertical.dilation) as isize - top as isize;
                    let x = (j * horizontal.stride + v * horizontal.dilation) as isize - left as isize;
                    if y < 0 || y >= input.height() as isize || x < 0 || x >= input.width() as isize {
                        continue;
                    }
                    for f in 0..spec.filters {
                        let first = f / (spec.filters / spec.groups) * depth;
                        for c in 0..depth {
                            let from = (y as usize * input.width() + x as usize) * input.channels() + first + c;
                            let tap = ((u * horizontal.window + v) * depth + c) * spec.filters + f;
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
    spec.vertical.window * spec.horizontal.window * (input.channels() / spec.groups) * spec.filters
}

/// The outputs of some images; `weights` are the kernel, `(kh, kw, in/groups, out)`, then the bias if there is one.
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

    #[test]
    fn gradients_in_groups_are_finite_differences() {
        let axis = Axis { window: 2, stride: 1, dilation: 1, padding: Padding::Valid };
        let (vertical, horizontal) = (Axis { stride: 2, ..axis }, axis);
        for (groups, channels, filters) in [(2, 4, 6), (3, 3, 6), (4, 4, 4)] {
            let spec = Spec { filters, vertical, horizontal, groups, activation: Activation::Tanh, use_bias: true };
            let (input, output) = (Shape::map(4, 3, channels), Shape::map(2, 2, filters));
            let (x, weights) = (values(1, 2 * input.len()), values(2, 4 * channels / groups * filters + filters));
            let d = values(3, 2 * output.len());
            let y = forward(&spec, input, output, &weights, &x);
            let gradients = backward(&spec, [input, output], &weights, [&x, &y, &d]);
            assert_gradient(&x, &gradients.d_input, &d, |x| forward(&spec, input, output, &weights, x));
            assert_gradient(&weights, &gradients.d_weights, &d, |w| forward(&spec, input, output, w, &x));
        }
    }

    /// Four channels in two groups, two filters each: filters 0 and 1 see channels 0 and 1, filters 2 and 3 the others.
    #[test]
    fn a_group_of_filters_sees_its_group_of_channels() {
        let axis = Axis { window: 1, stride: 1, dilation: 1, padding: Padding::Valid };
        let spec = Spec {
            filters: 4,
            vertical: axis,
            horizontal: axis,
            groups: 2,
            activation: Activation::Linear,
            use_bias: false,
        };
        let shape = Shape::map(1, 1, 4);
        let kernel = [1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0];
        let y = forward(&spec, shape, shape, &kernel, &[1.0, 2.0, 5.0, 7.0]);
        assert_eq!(y, [1.0 + 20.0, 2.0 + 40.0, 15.0 + 210.0, 20.0 + 280.0]);
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
