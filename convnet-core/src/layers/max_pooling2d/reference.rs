//! Max pooling in f64, as it is written down: what every fast implementation is held against.

use super::Spec;
use crate::shape::Shape;

/// For each output of one image the first largest input of its window; `None` where the window is empty.
fn winners(spec: &Spec, input: Shape, output: Shape, x: &[f64]) -> Vec<Option<usize>> {
    let (vertical, horizontal) = (spec.vertical, spec.horizontal);
    let (top, left) = (vertical.pad_before(input.height()), horizontal.pad_before(input.width()));
    let mut winners = vec![None; output.len()];
    for (o, winner) in winners.iter_mut().enumerate() {
        let (position, c) = (o / output.channels(), o % output.channels());
        let (i, j) = (position / output.width(), position % output.width());
        for u in 0..vertical.window {
            for v in 0..horizontal.window {
                let y = (i * vertical.stride + u * vertical.dilation) as isize - top as isize;
                let x_ = (j * horizontal.stride + v * horizontal.dilation) as isize - left as isize;
                if y < 0 || y >= input.height() as isize || x_ < 0 || x_ >= input.width() as isize {
                    continue;
                }
                let at = (y as usize * input.width() + x_ as usize) * input.channels() + c;
                if winner.is_none_or(|best: usize| x[at] > x[best]) {
                    *winner = Some(at);
                }
            }
        }
    }
    winners
}

/// The outputs of some images.
pub fn forward(spec: &Spec, input: Shape, output: Shape, x: &[f64]) -> Vec<f64> {
    let image = |x| winners(spec, input, output, x).into_iter().map(|at| at.map_or(0.0, |at: usize| x[at]));
    x.chunks(input.len()).flat_map(image).collect()
}

/// The gradient of the input, given the inputs and the gradient of the outputs.
pub fn backward(spec: &Spec, input: Shape, output: Shape, x: &[f64], d_output: &[f64]) -> Vec<f64> {
    let mut d_input = vec![0.0; x.len()];
    let images = x.chunks(input.len()).zip(d_input.chunks_mut(input.len()));
    for ((x, d_input), d) in images.zip(d_output.chunks(output.len())) {
        for (at, d) in winners(spec, input, output, x).into_iter().zip(d) {
            if let Some(at) = at {
                d_input[at] += d;
            }
        }
    }
    d_input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::differences::{assert_gradient, values};
    use crate::shape::{Axis, Padding};

    #[test]
    fn gradients_are_finite_differences() {
        for padding in [Padding::Valid, Padding::Same] {
            let vertical = Axis { window: 3, stride: 2, dilation: 1, padding };
            let spec = Spec { vertical, horizontal: Axis { stride: 1, ..vertical } };
            let input = Shape::map(6, 5, 2);
            let size = |axis: &Axis, size| axis.output(size).expect("the window fits");
            let output = Shape::map(size(&spec.vertical, 6), size(&spec.horizontal, 5), 2);
            let (x, d) = (values(1, 2 * input.len()), values(2, 2 * output.len()));
            let gradient = backward(&spec, input, output, &x, &d);
            assert_gradient(&x, &gradient, &d, |x| forward(&spec, input, output, x));
        }
    }

    #[test]
    fn the_first_of_equals_takes_the_gradient() {
        let axis = Axis { window: 2, stride: 2, dilation: 1, padding: Padding::Valid };
        let spec = Spec { vertical: axis, horizontal: axis };
        let d = backward(&spec, Shape::map(2, 2, 1), Shape::map(1, 1, 1), &[0.0, 7.0, 7.0, 7.0], &[1.0]);
        assert_eq!(d, [0.0, 1.0, 0.0, 0.0]);
    }
}
