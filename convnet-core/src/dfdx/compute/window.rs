//! The arithmetic of sliding windows, over plain slices: what convolution and pooling share.
//!
//! Maps are `(batch, height, width, channels)`. A convolution is a matrix product over the *patches* of a map: one row
//! for each place of the window, one column for each tap and channel (im2col). Its gradient adds the patches'
//! gradients back where they came from. Clarity counts here, speed does not: this is the reference.

use crate::shape::{Axis, Shape};

/// A window on a map of known height and width.
#[derive(Clone, Copy, Debug)]
pub struct Sliding {
    axes: [Axis; 2],
    input: [usize; 2],
    output: [usize; 2],
}

impl Sliding {
    /// A window that slides over a map of the shape `input` and has as many places as `output` has positions (a vector
    /// has one).
    pub fn new(axes: [Axis; 2], input: Shape, output: Shape) -> Self {
        let output = if output.is_map() { [output.height(), output.width()] } else { [1, 1] };
        Sliding { axes, input: [input.height(), input.width()], output }
    }

    /// How many places the window has on one map.
    pub fn places(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// How many taps the window has.
    pub fn taps(&self) -> usize {
        self.axes[0].window * self.axes[1].window
    }

    /// Calls `visit` with each place (counted through the batch), tap (in reading order) and the position under it
    /// (counted through the batch), or `None` where that lies in the padding.
    pub fn for_each(&self, batch: usize, mut visit: impl FnMut(usize, usize, Option<usize>)) {
        let ([height, width], [down, across]) = (self.input, self.output);
        for place in 0..batch * self.places() {
            let (image, i, j) = (place / self.places(), place / across % down, place % across);
            for u in 0..self.axes[0].window {
                let row = position(&self.axes[0], height, i, u);
                for v in 0..self.axes[1].window {
                    let column = position(&self.axes[1], width, j, v);
                    let under = row.zip(column).map(|(row, column)| (image * height + row) * width + column);
                    visit(place, u * self.axes[1].window + v, under);
                }
            }
        }
    }

    /// The patches of a batch of maps, `(places of all maps, taps · channels)`; zero in the padding.
    pub fn patches(&self, maps: &[f32], batch: usize, channels: usize) -> Vec<f32> {
        let mut patches = vec![0.0; batch * self.places() * self.taps() * channels];
        self.for_each(batch, |place, tap, under| {
            if let Some(under) = under {
                let to = (place * self.taps() + tap) * channels;
                patches[to..to + channels].copy_from_slice(&maps[under * channels..(under + 1) * channels]);
            }
        });
        patches
    }

    /// Adds the gradients of [`Sliding::patches`] to the gradients of the maps.
    pub fn add_patches(&self, maps: &mut [f32], patches: &[f32], batch: usize, channels: usize) {
        self.for_each(batch, |place, tap, under| {
            if let Some(under) = under {
                let from = (place * self.taps() + tap) * channels;
                let patch = &patches[from..from + channels];
                maps[under * channels..(under + 1) * channels]
                    .iter_mut()
                    .zip(patch)
                    .for_each(|(sum, part)| *sum += part);
            }
        });
    }

    /// The largest value under the window, channel by channel, and which element of the maps it is: the first of them
    /// in reading order. The padding is never looked at; a dilated window that holds nothing else gives 0 and `None`.
    pub fn maxima(&self, maps: &[f32], batch: usize, channels: usize) -> (Vec<f32>, Vec<Option<usize>>) {
        let len = batch * self.places() * channels;
        let (mut maxima, mut winners) = (vec![0.0; len], vec![None; len]);
        self.for_each(batch, |place, _, under| {
            let Some(under) = under else { return };
            for channel in 0..channels {
                let (to, from) = (place * channels + channel, under * channels + channel);
                if winners[to].is_none() || maps[from] > maxima[to] {
                    (maxima[to], winners[to]) = (maps[from], Some(from));
                }
            }
        });
        (maxima, winners)
    }
}

/// The position under a tap at a place of the window; `None` in the padding.
fn position(axis: &Axis, size: usize, place: usize, tap: usize) -> Option<usize> {
    (place * axis.stride + tap * axis.dilation).checked_sub(axis.pad_before(size)).filter(|&position| position < size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::max_pooling2d::{Spec, reference};
    use crate::shape::{Padding, Shape};

    /// Of a window whose taps lie five apart, on a map of three rows, both are in the padding at the first place.
    #[test]
    fn a_window_that_holds_nothing_gives_zero() {
        let wide = Axis { window: 2, stride: 1, dilation: 5, padding: Padding::Same };
        let axes = [wide, Axis { dilation: 1, ..wide }];
        let sliding = Sliding { axes, input: [3, 2], output: [3, 2] };
        let maps = [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0];
        let (maxima, winners) = sliding.maxima(&maps, 1, 1);
        let spec = Spec { vertical: axes[0], horizontal: axes[1] };
        let shape = Shape::map(3, 2, 1);
        let expected = reference::forward(&spec, shape, shape, &maps.map(f64::from));
        assert_eq!(maxima.iter().map(|&max| f64::from(max)).collect::<Vec<_>>(), expected);
        for (&max, winner) in maxima.iter().zip(&winners) {
            assert_eq!(max, winner.map_or(0.0, |at: usize| maps[at]));
        }
        assert!(winners.contains(&None) && winners.iter().any(Option::is_some), "{winners:?}");
    }
}
