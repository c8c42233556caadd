//! Global average pooling in f64, as it is written down: what every fast implementation is held against.

use crate::shape::Shape;

/// The outputs of some images.
pub fn forward(input: Shape, x: &[f64]) -> Vec<f64> {
    let channels = input.channels();
    let positions = input.height() * input.width();
    let mean = |x: &[f64], c| (0..positions).map(|p| x[p * channels + c]).sum::<f64>() / positions as f64;
    x.chunks(input.len()).flat_map(|x| (0..channels).map(move |c| mean(x, c))).collect()
}

/// The gradient of the input, given that of the outputs.
pub fn backward(input: Shape, d_output: &[f64]) -> Vec<f64> {
    let positions = input.height() * input.width();
    let image = |d: &[f64]| (0..input.len()).map(|i| d[i % d.len()] / positions as f64).collect::<Vec<f64>>();
    d_output.chunks(input.channels()).flat_map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::differences::{assert_gradient, values};

    #[test]
    fn gradients_are_finite_differences() {
        let input = Shape::map(3, 4, 2);
        let (x, d) = (values(1, 2 * input.len()), values(2, 4));
        assert_gradient(&x, &backward(input, &d), &d, |x| forward(input, x));
    }

    #[test]
    fn each_channel_has_its_mean() {
        assert_eq!(forward(Shape::map(1, 2, 2), &[1.0, 10.0, 2.0, 30.0]), [1.5, 20.0]);
    }
}
