//! Layers whose outputs are sums of inputs at other positions, with fixed factors and the same for every channel:
//! averages, padding, enlargement.

use super::op::apply;
use super::{Rows, Shapes, positions};
use crate::layers::{up_sampling2d, zero_padding2d};
use ::dfdx::tensor::{Cpu, CpuError, Tape};
use up_sampling2d::Interpolation;

/// Which positions of a map go into which, and how much.
#[derive(Default)]
pub(super) struct Mixture {
    parts: Vec<Part>,
}

/// A part of an output: the input at the position `from`, times `factor`.
struct Part {
    to: usize,
    from: usize,
    factor: f32,
}

impl Mixture {
    /// Adds `factor` times the input at position `from` to the output at position `to`.
    pub fn add(&mut self, to: usize, from: usize, factor: f32) {
        self.parts.push(Part { to, from, factor });
    }

    /// Mixes each image.
    pub fn apply<T: Tape<f32, Cpu>>(self, input: Rows<T>, shapes: Shapes) -> Result<Rows<T>, CpuError> {
        let (outputs, channels) = shapes.output_rows();
        apply(input, (outputs, channels), |before| {
            let mut after = vec![0.0; outputs * channels];
            self.for_each(shapes, |to, from, factor| after[to] += factor * before[from]);
            let back = move |before: &mut [f32], after: &[f32]| {
                self.for_each(shapes, |to, from, factor| before[from] += factor * after[to]);
            };
            (after, back)
        })
    }

    /// Calls `visit` with each output, a part of it, and that part's factor.
    fn for_each(&self, shapes: Shapes, mut visit: impl FnMut(usize, usize, f32)) {
        let (before, after) = (positions(&shapes.input), positions(&shapes.output));
        let channels = shapes.input.channels();
        for image in 0..shapes.images {
            for part in &self.parts {
                let to = (image * after + part.to) * channels;
                let from = (image * before + part.from) * channels;
                (0..channels).for_each(|channel| visit(to + channel, from + channel, part.factor));
            }
        }
    }
}

/// `ZeroPadding2D`.
pub(super) fn padded(spec: &zero_padding2d::Spec, shapes: Shapes) -> Mixture {
    let mut mixture = Mixture::default();
    for row in 0..shapes.input.height() {
        for column in 0..shapes.input.width() {
            let to = (row + spec.top) * shapes.output.width() + column + spec.left;
            mixture.add(to, row * shapes.input.width() + column, 1.0);
        }
    }
    mixture
}

/// `UpSampling2D`: the parts of a position are the products of those of its row and those of its column.
pub(super) fn enlarged(spec: &up_sampling2d::Spec, shapes: Shapes) -> Mixture {
    let rows = enlarged_axis(spec.rows, shapes.input.height(), spec.interpolation);
    let columns = enlarged_axis(spec.columns, shapes.input.width(), spec.interpolation);
    let mut mixture = Mixture::default();
    for row in &rows {
        for column in &columns {
            let to = row.to * shapes.output.width() + column.to;
            mixture.add(to, row.from * shapes.input.width() + column.from, row.factor * column.factor);
        }
    }
    mixture
}

/// The parts of each place on an axis of `size` positions, enlarged `times` times. Between the centres of two
/// positions the parts are linear in the distance; outside of the outermost centres there is one part only.
fn enlarged_axis(times: usize, size: usize, interpolation: Interpolation) -> Vec<Part> {
    let nearest = |to: usize| vec![Part { to, from: to / times, factor: 1.0 }];
    let linear = |to: usize| {
        let at = ((to as f64 + 0.5) / times as f64 - 0.5).clamp(0.0, (size - 1) as f64);
        let (from, share) = (at as usize, at.fract() as f32);
        let next = (from + 1).min(size - 1);
        vec![Part { to, from, factor: 1.0 - share }, Part { to, from: next, factor: share }]
    };
    (0..size * times)
        .flat_map(|to| match interpolation {
            Interpolation::Nearest => nearest(to),
            Interpolation::Bilinear => linear(to),
        })
        .collect()
}
