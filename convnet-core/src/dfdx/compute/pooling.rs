//! Poolings, over windows or over the whole map.

use super::op::apply;
use super::positions::Mixture;
use super::window::Sliding;
use super::{Rows, Shapes};
use crate::shape::Axis;
use ::dfdx::tensor::{Cpu, CpuError, Tape};

/// The largest value under the window at each of its places. The first of several takes the gradient.
pub(super) fn max_pooling2d<T: Tape<f32, Cpu>>(
    axes: [Axis; 2],
    input: Rows<T>,
    shapes: Shapes,
) -> Result<Rows<T>, CpuError> {
    let sliding = Sliding::new(axes, shapes.input, shapes.output);
    apply(input, shapes.output_rows(), |maps| {
        let (maxima, winners) = sliding.maxima(maps, shapes.images, shapes.input.channels());
        (maxima, move |maps: &mut [f32], maxima: &[f32]| {
            let won = winners.iter().zip(maxima).filter_map(|(winner, gradient)| winner.map(|at| (at, gradient)));
            won.for_each(|(at, gradient)| maps[at] += gradient);
        })
    })
}

/// The mean of what lies under the window and on the map, at each of the window's places.
pub(super) fn average_pooling2d<T: Tape<f32, Cpu>>(
    axes: [Axis; 2],
    input: Rows<T>,
    shapes: Shapes,
) -> Result<Rows<T>, CpuError> {
    let sliding = Sliding::new(axes, shapes.input, shapes.output);
    let mut inside = vec![0u32; sliding.places()];
    sliding.for_each(1, |place, _, under| inside[place] += u32::from(under.is_some()));
    let mut mixture = Mixture::default();
    sliding.for_each(1, |place, _, under| {
        if let Some(under) = under {
            mixture.add(place, under, 1.0 / inside[place] as f32);
        }
    });
    mixture.apply(input, shapes)
}
