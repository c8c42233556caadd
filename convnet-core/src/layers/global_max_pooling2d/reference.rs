//! Global max pooling in f64, as it is written down: what every fast implementation is held against.
//!
//! TensorFlow shares the gradient out among equals here (but not in `MaxPooling2D`); this does not.

use crate::shape::Shape;

/// For each channel of one image its first largest value.
fn winners(input: Shape, x: &[f64]) -> Vec<usize> {
    let channel = |c| (c..input.len()).step_by(input.channels());
    (0..input.channels()).map(|c| channel(c).fold(c, |best, at| if x[at] > x[best] { at } else { best })).collect()
}

/// The outputs of some images.
pub fn forward(input: Shape, x: &[f64]) -> Vec<f64> {
    x.chunks(input.len()).flat_map(|x| winners(input, x).into_iter().map(|at| x[at])).collect()
}

/// The gradient of the input, given the inputs and the gradient of the outputs.
pub fn backward(input: Shape, x: &[f64], d_output: &[f64]) -> Vec<f64> {
    let mut d_input = vec![0.0; x.len()];
    let images = x.chunks(input.len()).zip(d_input.chunks_mut(input.len()));
    for ((x, d_input), d) in images.zip(d_output.chunks(input.channels())) {
        winners(input, x).into_iter().zip(d).for_each(|(at, d)| d_input[at] = *d);
    }
    d_input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::differences::{assert_gradient, values};

    #[test]
    fn gradients_are_finite_differences() {
        let input = Shape::map(3, 4, 2);
        let (x, d) = (values(1, 2 * input.len()), values(2, 4));
        assert_gradient(&x, &backward(input, &x, &d), &d, |x| forward(input, x));
    }

    #[test]
    fn the_first_of_equals_takes_the_gradient() {
        let x = [1.0, -4.0, 3.0, -5.0, 3.0, -4.0];
        assert_eq!(forward(Shape::map(3, 1, 2), &x), [3.0, -4.0]);
        assert_eq!(backward(Shape::map(3, 1, 2), &x, &[1.0, 2.0]), [0.0, 2.0, 1.0, 0.0, 0.0, 0.0]);
    }
}
