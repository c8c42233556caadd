//! Padding and enlarging.

use super::{Case, random, values, wide};
use crate::engine::cpu::kernels::up_sampling2d::UpSampling2D;
use crate::engine::cpu::kernels::zero_padding2d::ZeroPadding2D;
use crate::engine::cpu::simd::Level;
use crate::layers::up_sampling2d::Interpolation;
use crate::layers::{up_sampling2d, zero_padding2d};
use crate::shape::Shape;
use rand::RngExt;

#[test]
fn random_paddings() {
    use zero_padding2d::{Spec, reference};
    let random = &mut random(1);
    for _ in 0..60 {
        let [top, bottom, left, right] = std::array::from_fn(|_| random.random_range(0..=3));
        let spec = Spec { top, bottom, left, right };
        let [height, width, channels] = [7, 7, 20].map(|most| random.random_range(1..=most));
        let input = Shape::map(height, width, channels);
        let output = Shape::map(top + height + bottom, left + width + right, channels);
        let images = random.random_range(1..=3);
        let (x, d) = (values(random, images * input.len()), values(random, images * output.len()));
        let kernel = ZeroPadding2D::new(spec, input, output);
        let name = format!("{spec:?} on {images} × {input}");
        let case = Case { name, kernel: &kernel, images, weights: &[], input: &x, d_output: &d };
        case.check(&reference::forward(&spec, input, output, &wide(&x)), |_| {
            [reference::backward(&spec, input, output, &wide(&d)), vec![]]
        });
    }
}

#[test]
fn random_enlargements() {
    use up_sampling2d::{Spec, reference};
    let random = &mut random(2);
    for case in 0..80 {
        let interpolation = if case % 2 == 0 { Interpolation::Nearest } else { Interpolation::Bilinear };
        let [rows, columns] = std::array::from_fn(|_| random.random_range(1..=5));
        let spec = Spec { rows, columns, interpolation };
        let [height, width, channels] = [6, 6, 40].map(|most| random.random_range(1..=most));
        let (input, output) =
            (Shape::map(height, width, channels), Shape::map(rows * height, columns * width, channels));
        let images = random.random_range(1..=3);
        let (x, d) = (values(random, images * input.len()), values(random, images * output.len()));
        let y = reference::forward(&spec, input, output, &wide(&x));
        for level in Level::available() {
            let kernel = UpSampling2D::new(spec, input, output, level);
            let name = format!("{level:?}: {spec:?} on {images} × {input}");
            let case = Case { name, kernel: &kernel, images, weights: &[], input: &x, d_output: &d };
            case.check(&y, |_| [reference::backward(&spec, input, output, &wide(&d)), vec![]]);
        }
    }
}

/// A NaN shows in the values that it has a part in, and in no others.
#[test]
fn a_nan_shows_where_it_has_a_part() {
    use up_sampling2d::Spec;
    for (interpolation, columns, expected) in [
        (Interpolation::Nearest, 3, [false, false, false, true, true, true, false, false, false].as_slice()),
        (Interpolation::Bilinear, 3, &[false, false, true, true, true, true, true, false, false]),
        (Interpolation::Bilinear, 2, &[false, true, true, true, true, false]),
    ] {
        let spec = Spec { rows: 1, columns, interpolation };
        for level in Level::available() {
            let kernel = UpSampling2D::new(spec, Shape::map(1, 3, 1), Shape::map(1, 3 * columns, 1), level);
            let (input, d_output) = ([1.0, f32::NAN, 2.0], vec![1.0; 3 * columns]);
            let name = format!("{level:?}: {spec:?}");
            let case = Case { name, kernel: &kernel, images: 1, weights: &[], input: &input, d_output: &d_output };
            let found: Vec<bool> = case.run(0..1, None).output.iter().map(|y| y.is_nan()).collect();
            assert_eq!(found, expected, "{}", case.name);
        }
    }
}
