//! Pooling over the whole map: the kernels of pooling with one window that is as large as the map.
//!
//! The gradient of the maximum is not spread by passing over the window, as where windows overlap, but goes straight to
//! the one place of each channel.
//!
//! NaN: as in [`super::average_pooling2d`] and [`super::max_pooling2d`].

use super::average_pooling2d::AveragePooling2D;
use super::max_pooling2d::MaxPooling2D;
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::Level;
use crate::layers::max_pooling2d::Spec;
use crate::shape::{Axis, Padding, Shape};

/// A window as large as the map.
fn whole(input: Shape) -> Spec {
    let axis = |size| Axis { window: size, stride: 1, dilation: 1, padding: Padding::Valid };
    Spec { vertical: axis(input.height()), horizontal: axis(input.width()) }
}

/// The mean of each channel of maps of shape `input`.
pub fn global_average_pooling2d(input: Shape, level: Level) -> AveragePooling2D {
    AveragePooling2D::new(whole(input), input, Shape::map(1, 1, input.channels()), level)
}

/// The largest value of each channel of a map.
pub struct GlobalMaxPooling2D {
    input: Shape,
    pooling: MaxPooling2D,
}

impl GlobalMaxPooling2D {
    /// The pooling of maps of shape `input`.
    pub fn new(input: Shape, level: Level) -> Self {
        let pooling = MaxPooling2D::new(whole(input), input, Shape::map(1, 1, input.channels()), level);
        GlobalMaxPooling2D { input, pooling }
    }
}

impl Kernel for GlobalMaxPooling2D {
    fn scratch(&self, images: usize) -> usize {
        self.pooling.scratch(images)
    }

    fn kept(&self) -> usize {
        self.pooling.kept()
    }

    fn forward(&self, pass: Forward<'_>) {
        self.pooling.forward(pass);
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let channels = self.input.channels();
        let images = d_input.chunks_exact_mut(self.input.len()).take(pass.images);
        let gradients = pass.d_output.chunks_exact(channels).zip(pass.kept.chunks_exact(self.kept()));
        for (d_input, (gradient, kept)) in images.zip(gradients) {
            d_input.fill(0.0);
            for (channel, d) in gradient.iter().enumerate() {
                // The window's taps are the map's positions.
                d_input[self.pooling.kept_tap(kept, channel) * channels + channel] = *d;
            }
        }
    }
}
