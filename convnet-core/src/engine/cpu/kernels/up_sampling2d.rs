//! Enlarged maps: pixels repeated, or interpolated between their centres.
//!
//! Both take one row of the enlarged map after the other. A repeated row is copied whole; an interpolated one is made of
//! two rows of the map, first vertically, on a row as short as the map's, and then horizontally. Backward goes the same
//! way back.
//!
//! NaN: a NaN shows in every value that it has a part in, in both directions; so does an infinity, as NaN, where values
//! are interpolated.

use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::up_sampling2d::{Interpolation, Spec};
use crate::shape::Shape;

/// An enlargement of a fixed shape.
pub struct UpSampling2D {
    level: Level,
    spec: Spec,
    input: Shape,
    output: Shape,
}

impl UpSampling2D {
    /// The enlargement `spec` from maps of shape `input` to maps of shape `output`.
    pub fn new(spec: Spec, input: Shape, output: Shape, level: Level) -> Self {
        UpSampling2D { level, spec, input, output }
    }

    /// Floats in a row: of the input, and of the output.
    fn rows(&self) -> (usize, usize) {
        (self.input.width() * self.input.channels(), self.output.width() * self.output.channels())
    }
}

/// Where an interpolated value comes from, along one axis.
#[derive(Clone, Copy)]
struct Between {
    /// The pixel before, and the one behind; the same at the border, and where the place is a pixel's centre.
    pixels: [usize; 2],
    /// The share of the one behind.
    share: f32,
}

impl Between {
    /// The source of value `output` of an axis of `size` pixels, enlarged by `factor`: its centre lies at
    /// `(output + ½) / factor − ½` of the pixels' centres.
    #[inline(always)]
    fn new(output: usize, factor: usize, size: usize) -> Between {
        // In halves of an enlarged pixel, counted from half a pixel before the map: no number here is negative.
        let place = 2 * output + 1 + factor;
        let (behind, part) = (place / (2 * factor), place % (2 * factor));
        let before = behind.saturating_sub(1);
        // A pixel without a share is not looked at, lest it be NaN.
        let pixels = [before, if part == 0 { before } else { behind.min(size - 1) }];
        Between { pixels, share: part as f32 / (2 * factor) as f32 }
    }
}

/// Enlarges one image.
struct Enlarge<'a> {
    kernel: &'a UpSampling2D,
    input: &'a [f32],
    output: &'a mut [f32],
    /// A row of the input.
    scratch: &'a mut [f32],
}

impl Vectorized for Enlarge<'_> {
    type Output = ();
    /// Plain loops, which the compiler vectorises.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Enlarge { kernel, input, output, scratch } = self;
        let (row, wide) = kernel.rows();
        let Spec { rows, columns, interpolation } = kernel.spec;
        let channels = kernel.input.channels();
        match interpolation {
            Interpolation::Nearest => {
                for (from, to) in input.chunks_exact(row).zip(output.chunks_exact_mut(rows * wide)) {
                    let (first, others) = to.split_at_mut(wide);
                    for (pixel, to) in from.chunks_exact(channels).zip(first.chunks_exact_mut(columns * channels)) {
                        to.chunks_exact_mut(channels).for_each(|to| to.copy_from_slice(pixel));
                    }
                    others.chunks_exact_mut(wide).for_each(|other| other.copy_from_slice(first));
                }
            }
            Interpolation::Bilinear => {
                for (i, to) in output.chunks_exact_mut(wide).enumerate() {
                    let vertical = Between::new(i, rows, kernel.input.height());
                    let between = vertical.pixels.map(|pixel| &input[pixel * row..][..row]);
                    blend(between, vertical.share, scratch);
                    for (j, to) in to.chunks_exact_mut(channels).enumerate() {
                        let horizontal = Between::new(j, columns, kernel.input.width());
                        let between = horizontal.pixels.map(|pixel| &scratch[pixel * channels..][..channels]);
                        blend(between, horizontal.share, to);
                    }
                }
            }
        }
    }
}

/// `to ← a + (b − a) · share`
#[inline(always)]
fn blend([a, b]: [&[f32]; 2], share: f32, to: &mut [f32]) {
    for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
        *to = a + (b - a) * share;
    }
}

/// Adds the gradient of one image's outputs to that of its input.
struct Gather<'a> {
    kernel: &'a UpSampling2D,
    gradient: &'a [f32],
    d_input: &'a mut [f32],
    /// A row of the input.
    scratch: &'a mut [f32],
}

impl Vectorized for Gather<'_> {
    type Output = ();
    /// Plain loops, which the compiler vectorises.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Gather { kernel, gradient, d_input, scratch } = self;
        let (row, wide) = kernel.rows();
        let Spec { rows, columns, interpolation } = kernel.spec;
        let channels = kernel.input.channels();
        for (i, from) in gradient.chunks_exact(wide).enumerate() {
            match interpolation {
                Interpolation::Nearest => {
                    let to = d_input[i / rows * row..][..row].chunks_exact_mut(channels);
                    for (to, from) in to.zip(from.chunks_exact(columns * channels)) {
                        from.chunks_exact(channels).for_each(|from| add_share(from, 1.0, to));
                    }
                }
                Interpolation::Bilinear => {
                    scratch.fill(0.0);
                    for (j, from) in from.chunks_exact(channels).enumerate() {
                        let horizontal = Between::new(j, columns, kernel.input.width());
                        each_share(horizontal, |pixel, share| {
                            add_share(from, share, &mut scratch[pixel * channels..][..channels]);
                        });
                    }
                    each_share(Between::new(i, rows, kernel.input.height()), |pixel, share| {
                        add_share(scratch, share, &mut d_input[pixel * row..][..row]);
                    });
                }
            }
        }
    }
}

/// Calls `each` with the pixels and the shares that they have.
#[inline(always)]
fn each_share(between: Between, mut each: impl FnMut(usize, f32)) {
    for (pixel, share) in between.pixels.into_iter().zip([1.0 - between.share, between.share]) {
        each(pixel, share);
    }
}

/// `to ← to + from · share`
#[inline(always)]
fn add_share(from: &[f32], share: f32, to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from * share;
    }
}

impl Kernel for UpSampling2D {
    fn scratch(&self, _: usize) -> usize {
        match self.spec.interpolation {
            Interpolation::Nearest => 0,
            Interpolation::Bilinear => self.rows().0,
        }
    }

    fn forward(&self, pass: Forward<'_>) {
        let inputs = pass.input.chunks_exact(self.input.len()).take(pass.images);
        for (input, output) in inputs.zip(pass.output.chunks_exact_mut(self.output.len())) {
            let scratch = &mut pass.scratch[..self.scratch(1)];
            vectorize(self.level, Enlarge { kernel: self, input, output, scratch });
        }
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let images = d_input.chunks_exact_mut(self.input.len()).take(pass.images);
        for (d_input, gradient) in images.zip(pass.d_output.chunks_exact(self.output.len())) {
            d_input.fill(0.0);
            let scratch = &mut pass.scratch[..self.scratch(1)];
            vectorize(self.level, Gather { kernel: self, gradient, d_input, scratch });
        }
    }
}
