//! Enlargement in f64, as it is written down: what every fast implementation is held against.

use super::{Interpolation, Spec};
use crate::shape::Shape;

/// The pixels that value `output` of an axis of `size` pixels comes from, with their shares.
fn pixels(interpolation: Interpolation, output: usize, factor: usize, size: usize) -> [(usize, f64); 2] {
    match interpolation {
        Interpolation::Nearest => [(output / factor, 1.0), (output / factor, 0.0)],
        Interpolation::Bilinear => {
            let place = (output as f64 + 0.5) / factor as f64 - 0.5;
            let (before, inside) = (place.floor(), |place: f64| place.clamp(0.0, (size - 1) as f64) as usize);
            let share = place - before;
            [(inside(before), 1.0 - share), (inside(before + 1.0), share)]
        }
    }
}

/// For each output of one image the inputs that it comes from, with their shares.
fn sources(spec: &Spec, input: Shape, output: Shape) -> Vec<Vec<(usize, f64)>> {
    let source = |o| {
        let (position, c) = (o / output.channels(), o % output.channels());
        let rows = pixels(spec.interpolation, position / output.width(), spec.rows, input.height());
        let columns = pixels(spec.interpolation, position % output.width(), spec.columns, input.width());
        let place = |y: usize, x: usize| (y * input.width() + x) * input.channels() + c;
        rows.iter().flat_map(|(y, down)| columns.map(|(x, right)| (place(*y, x), down * right))).collect()
    };
    (0..output.len()).map(source).collect()
}

/// The outputs of some images.
pub fn forward(spec: &Spec, input: Shape, output: Shape, x: &[f64]) -> Vec<f64> {
    let sources = sources(spec, input, output);
    let value = |x: &[f64], source: &[(usize, f64)]| source.iter().map(|(at, share)| x[*at] * share).sum::<f64>();
    x.chunks(input.len()).flat_map(|x| sources.iter().map(|source| value(x, source))).collect()
}

/// The gradient of the input, given that of the outputs.
pub fn backward(spec: &Spec, input: Shape, output: Shape, d_output: &[f64]) -> Vec<f64> {
    let sources = sources(spec, input, output);
    let mut d_input = vec![0.0; d_output.len() / output.len() * input.len()];
    for (d_input, d) in d_input.chunks_mut(input.len()).zip(d_output.chunks(output.len())) {
        for (source, d) in sources.iter().zip(d) {
            source.iter().for_each(|(at, share)| d_input[*at] += d * share);
        }
    }
    d_input
}

#[cfg(test)]
mod tests {
    use super::Interpolation::{Bilinear, Nearest};
    use super::*;
    use crate::layers::differences::{assert_gradient, values};

    #[test]
    fn gradients_are_finite_differences() {
        for interpolation in [Nearest, Bilinear] {
            let spec = Spec { rows: 2, columns: 3, interpolation };
            let (input, output) = (Shape::map(3, 2, 2), Shape::map(6, 6, 2));
            let (x, d) = (values(1, 2 * input.len()), values(2, 2 * output.len()));
            assert_gradient(&x, &backward(&spec, input, output, &d), &d, |x| forward(&spec, input, output, x));
        }
    }

    /// `UpSampling2D` of Keras on TensorFlow, of the squares of 0 to 5 in two rows.
    #[test]
    fn values_of_keras() {
        let (input, x) = (Shape::map(2, 3, 1), [0.0, 1.0, 4.0, 9.0, 16.0, 25.0]);
        let check = |rows, columns, interpolation, expected: &[f64]| {
            let spec = Spec { rows, columns, interpolation };
            let found = forward(&spec, input, Shape::map(2 * rows, 3 * columns, 1), &x);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{spec:?}: {found} instead of {expected}");
            }
        };
        check(1, 2, Nearest, &[0.0, 0.0, 1.0, 1.0, 4.0, 4.0, 9.0, 9.0, 16.0, 16.0, 25.0, 25.0]);
        let two_by_two = [
            [0.0, 0.25, 0.75, 1.75, 3.25, 4.0],
            [2.25, 2.875, 4.125, 5.875, 8.125, 9.25],
            [6.75, 8.125, 10.875, 14.125, 17.875, 19.75],
            [9.0, 10.75, 14.25, 18.25, 22.75, 25.0],
        ];
        check(2, 2, Bilinear, two_by_two.as_flattened());
        let three_by_two = [
            [0.0, 0.25, 0.75, 1.75, 3.25, 4.0],
            [0.0, 0.25, 0.75, 1.75, 3.25, 4.0],
            [3.0, 3.75, 5.25, 7.25, 9.75, 11.0],
            [6.0, 7.25, 9.75, 12.75, 16.25, 18.0],
            [9.0, 10.75, 14.25, 18.25, 22.75, 25.0],
            [9.0, 10.75, 14.25, 18.25, 22.75, 25.0],
        ];
        check(3, 2, Bilinear, three_by_two.as_flattened());
        let d: Vec<f64> = (0..24).map(f64::from).collect();
        let spec = Spec { rows: 2, columns: 2, interpolation: Bilinear };
        assert_eq!(backward(&spec, input, Shape::map(4, 6, 1), &d), [17.5, 25.0, 32.5, 59.5, 67.0, 74.5]);
    }
}
