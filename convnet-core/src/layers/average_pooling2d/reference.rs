//! Average pooling in f64, as it is written down: what every fast implementation is held against.

use super::Spec;
use crate::shape::Shape;

/// For each output of one image the inputs of its window that lie inside the map.
fn windows(spec: &Spec, input: Shape, output: Shape) -> Vec<Vec<usize>> {
    let (vertical, horizontal) = (spec.vertical, spec.horizontal);
    let (top, left) = (vertical.pad_before(input.height()), horizontal.pad_before(input.width()));
    let mut windows = vec![vec![]; output.len()];
    for (o, window) in windows.iter_mut().enumerate() {
        let (position, c) = (o / output.channels(), o % output.channels());
        let (i, j) = (position / output.width(), position % output.width());
        for u in 0..vertical.window {
            for v in 0..horizontal.window {
                let y = (i * vertical.stride + u * vertical.dilation) as isize - top as isize;
                let x = (j * horizontal.stride + v * horizontal.dilation) as isize - left as isize;
                if y >= 0 && y < input.height() as isize && x >= 0 && x < input.width() as isize {
                    window.push((y as usize * input.width() + x as usize) * input.channels() + c);
                }
            }
        }
    }
    windows
}

/// The outputs of some images; 0 where a window holds nothing of the map.
pub fn forward(spec: &Spec, input: Shape, output: Shape, x: &[f64]) -> Vec<f64> {
    let windows = windows(spec, input, output);
    let mean = |x: &[f64], window: &[usize]| window.iter().map(|at| x[*at]).sum::<f64>() / window.len().max(1) as f64;
    x.chunks(input.len()).flat_map(|x| windows.iter().map(|window| mean(x, window))).collect()
}

/// The gradient of the input, given that of the outputs.
pub fn backward(spec: &Spec, input: Shape, output: Shape, d_output: &[f64]) -> Vec<f64> {
    let windows = windows(spec, input, output);
    let mut d_input = vec![0.0; d_output.len() / output.len() * input.len()];
    for (d_input, d) in d_input.chunks_mut(input.len()).zip(d_output.chunks(output.len())) {
        for (window, d) in windows.iter().zip(d) {
            window.iter().for_each(|at| d_input[*at] += d / window.len() as f64);
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
            let gradient = backward(&spec, input, output, &d);
            assert_gradient(&x, &gradient, &d, |x| forward(&spec, input, output, x));
        }
    }

    /// `AveragePooling2D((3, 2), strides = (2, 2), padding = "same")` of Keras on TensorFlow.
    #[test]
    fn padding_has_no_part_in_the_mean() {
        let axis = |window| Axis { window, stride: 2, dilation: 1, padding: Padding::Same };
        let spec = Spec { vertical: axis(3), horizontal: axis(2) };
        let (input, output) = (Shape::map(3, 5, 1), Shape::map(2, 3, 1));
        let x: Vec<f64> = (0..15).map(|x| f64::from(x * x)).collect();
        assert_eq!(forward(&spec, input, output, &x), [15.5, 31.5, 48.5, 70.5, 106.5, 138.5]);
        let d = [0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 0.25, 0.25, 0.25, 0.25, 0.5];
        assert_eq!(backward(&spec, input, output, &[1.0; 6]), d);
    }
}
