//! Zero padding in f64, as it is written down: what every fast implementation is held against.

use super::Spec;
use crate::shape::Shape;

/// For each output of one image the input that it is; `None` for a zero.
fn sources(spec: &Spec, input: Shape, output: Shape) -> Vec<Option<usize>> {
    let source = |o: usize| {
        let (position, c) = (o / output.channels(), o % output.channels());
        let y = (position / output.width()).checked_sub(spec.top).filter(|y| *y < input.height())?;
        let x = (position % output.width()).checked_sub(spec.left).filter(|x| *x < input.width())?;
        Some((y * input.width() + x) * input.channels() + c)
    };
    (0..output.len()).map(source).collect()
}

/// The outputs of some images.
pub fn forward(spec: &Spec, input: Shape, output: Shape, x: &[f64]) -> Vec<f64> {
    let sources = sources(spec, input, output);
    x.chunks(input.len()).flat_map(|x| sources.iter().map(|at| at.map_or(0.0, |at| x[at]))).collect()
}

/// The gradient of the input, given that of the outputs.
pub fn backward(spec: &Spec, input: Shape, output: Shape, d_output: &[f64]) -> Vec<f64> {
    let mut d_input = vec![0.0; d_output.len() / output.len() * input.len()];
    for (d_input, d) in d_input.chunks_mut(input.len()).zip(d_output.chunks(output.len())) {
        for (at, d) in sources(spec, input, output).into_iter().zip(d) {
            at.into_iter().for_each(|at| d_input[at] = *d);
        }
    }
    d_input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::differences::{assert_gradient, values};

    #[test]
    fn gradients_are_finite_differences() {
        let spec = Spec { top: 1, bottom: 2, left: 0, right: 3 };
        let (input, output) = (Shape::map(2, 3, 2), Shape::map(5, 6, 2));
        let (x, d) = (values(1, 2 * input.len()), values(2, 2 * output.len()));
        assert_gradient(&x, &backward(&spec, input, output, &d), &d, |x| forward(&spec, input, output, x));
    }

    #[test]
    fn zeros_are_where_they_are_asked_for() {
        let spec = Spec { top: 0, bottom: 1, left: 2, right: 1 };
        let padded = forward(&spec, Shape::map(1, 2, 1), Shape::map(2, 5, 1), &[7.0, 8.0]);
        assert_eq!(padded, [0.0, 0.0, 7.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
