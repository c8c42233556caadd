//! Depthwise convolution for every setting (any window, strides, dilation, padding and multiplier), and convolution in
//! groups of a few channels, each with as many filters.
//!
//! With a multiplier of 1 all maps are vectors of the same channels, and everything is [`super::depthwise_gather`]:
//! the outputs gather from the input, the gradient of the input from that of the outputs. A larger multiplier works on a
//! copy of the image in which each channel stands as often as it has windows; the gradient of the input is then the
//! sum over its copies. The kernel needs no rearranging: in Keras's layout a tap is a row of one value for each output
//! channel.
//!
//! Groups of 2, 4 or 8 channels that make 2, 4 or 8 outputs are, for each channel of a group, a depthwise convolution of
//! a map that has this channel's values at all places of the group: a shuffle of the vector of channels makes that. For
//! each tap and channel of a group Keras's layout has a row of one value for each output. For the input's gradient the
//! kernel is turned around within the groups. That fills all lanes and moves nothing, where [`super::grouped_conv2d`]
//! multiplies with mostly empty vectors or turns maps to planes and back: on a Zen 4 core 80 instead of 30 % of the peak
//! forward and 64 instead of 24 % backward with 4 channels a group on 56×56×128, 90 instead of 68 and 48 % with 8 on
//! 28×28×64. How many channels a group has is known at run time only: code for each number took the compiler half as
//! long again for the whole crate, and was no faster.
//!
//! Images go through one by one, backwards in bands of rows, so that a gradient is still in the cache when the next pass
//! wants it: an image of 56×56×128 with its gradients is three times a second level. Sums run over the taps in the
//! kernel's order (in groups: row of taps, channel, tap), those of the kernel's gradient position after position, image
//! after image. A tap outside the map is left out, so an infinite or NaN weight meets no zeros of the border; a NaN in
//! the input reaches all outputs that look at it.

use super::activate::{activate, activate_backward, add_rows};
use super::depthwise_gather::{GROUPS, Gather, GoesDown, Sums};
use super::depthwise_gradient::KernelGradient;
use super::gemm::Widths;
use crate::engine::cpu::kernel::{Backward, Forward, ForwardPart, Kernel, Part};
use crate::engine::cpu::simd::{Level, vectorize};
use crate::layers::depthwise_conv2d::Spec;
use crate::layers::{Activation, conv2d};
use crate::shape::{Axis, Shape};
use std::ops::Range;

/// Floats of the output's gradient in a band.
const BAND: usize = 1 << 14;

/// A depthwise convolution, or one in small groups, of a fixed shape.
pub struct DepthwiseConv2D {
    level: Level,
    multiplier: usize,
    /// Channels of a group.
    group: usize,
    use_bias: bool,
    activation: Activation,
    input_len: usize,
    output_len: usize,
    /// Of the output.
    channels: usize,
    /// Rows of input and output.
    heights: [usize; 2],
    kernel_len: usize,
    /// Floats in a vector.
    lanes: usize,
    outputs: Gather,
    inputs: Gather,
}

impl DepthwiseConv2D {
    /// The convolution `spec` from maps of shape `input` to maps of shape `output`, with `activation` instead of its
    /// own.
    pub fn new(spec: Spec, input: Shape, output: Shape, activation: Activation, level: Level) -> Self {
        let channels = [1, spec.depth_multiplier];
        let axes = [&spec.vertical, &spec.horizontal];
        DepthwiseConv2D::of(axes, channels, [input, output], (activation, spec.use_bias), level)
    }

    /// The convolution `spec`, if its groups, several channels each, are of a kind that the level knows.
    pub fn in_groups(
        spec: &conv2d::Spec,
        input: Shape,
        output: Shape,
        activation: Activation,
        level: Level,
    ) -> Option<Self> {
        let group = input.channels() / spec.groups;
        let known =
            group > 1 && GROUPS.contains(&group) && 2 * group <= Widths::of(level).lanes && level > Level::Portable;
        let axes = [&spec.vertical, &spec.horizontal];
        let all = || DepthwiseConv2D::of(axes, [group, 1], [input, output], (activation, spec.use_bias), level);
        (known && spec.filters == input.channels()).then(all)
    }

    fn of(
        axes: [&Axis; 2],
        [group, multiplier]: [usize; 2],
        [input, output]: [Shape; 2],
        (activation, use_bias): (Activation, bool),
        level: Level,
    ) -> Self {
        let [from, to] = [input, output].map(|map| [map.height(), map.width()]);
        let channels = input.channels() * multiplier;
        DepthwiseConv2D {
            level,
            multiplier,
            group,
            use_bias,
            activation,
            input_len: input.len(),
            output_len: output.len(),
            channels,
            heights: [from[0], to[0]],
            kernel_len: axes[0].window * axes[1].window * group * channels,
            lanes: Widths::of(level).lanes,
            outputs: Gather::outputs(axes, from, to),
            inputs: Gather::inputs(axes, from, to),
        }
    }

    /// Floats of the kernel as [`Sums`] wants it for groups of several channels.
    fn packed_len(&self) -> usize {
        self.kernel_len / self.channels * self.channels.next_multiple_of(self.lanes)
    }

    /// The image with each channel as often as it has windows.
    fn repeated<'a>(&self, image: &'a [f32], scratch: &'a mut [f32]) -> &'a [f32] {
        if self.multiplier == 1 {
            return image;
        }
        let copy = &mut scratch[..image.len() * self.multiplier];
        for (value, copies) in image.iter().zip(copy.chunks_exact_mut(self.multiplier)) {
            copies.fill(*value);
        }
        copy
    }

    /// Rows of the outputs of an image with repeated channels.
    fn some_outputs(&self, image: &[f32], weights: &[f32], derived: &[f32], output: &mut [f32], rows: Range<usize>) {
        let (kernel, bias) = weights.split_at(self.kernel_len);
        let relu = self.activation == Activation::Relu;
        let sums = Sums {
            gather: &self.outputs,
            channels: self.channels,
            group: self.group,
            source: image,
            kernel: if self.group > 1 { &derived[..self.packed_len()] } else { kernel },
            bias: self.use_bias.then(|| &bias[..self.channels]),
            relu,
            target: output,
            rows,
        };
        vectorize(self.level, sums);
        if !relu {
            activate(self.level, self.activation, output, self.channels);
        }
    }

    /// Rows of the gradient of one image (all, unless the multiplier is 1), given that of its outputs before the activation.
    /// `d_image` is these rows.
    fn input_gradient(
        &self,
        gradient: &[f32],
        kernel: &[f32],
        d_image: &mut [f32],
        rows: Range<usize>,
        scratch: &mut [f32],
    ) {
        let sums = |target| Sums {
            gather: &self.inputs,
            channels: self.channels,
            group: self.group,
            source: gradient,
            kernel,
            bias: None,
            relu: false,
            target,
            rows,
        };
        if self.multiplier == 1 {
            vectorize(self.level, sums(d_image));
            return;
        }
        let copies = &mut scratch[..d_image.len() * self.multiplier];
        vectorize(self.level, sums(copies));
        for (value, copies) in d_image.iter_mut().zip(copies.chunks_exact(self.multiplier)) {
            *value = copies.iter().sum();
        }
    }
}

impl Kernel for DepthwiseConv2D {
    fn scratch(&self, _: usize) -> usize {
        if self.multiplier == 1 { 0 } else { self.input_len * self.multiplier }
    }

    fn derived(&self) -> usize {
        if self.group > 1 { 2 * self.packed_len() } else { 0 }
    }

    /// Lays the kernel out as [`Sums`] wants it, and again with channels and filters exchanged within the groups.
    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        if self.group == 1 {
            return;
        }
        let (rows, channels) = (self.kernel_len / self.channels, self.channels);
        let (forward, backward) = derived.split_at_mut(self.packed_len());
        for row in 0..rows {
            let (from, lane) = (&weights[row * channels..][..channels], row % self.group);
            for (channel, value) in from.iter().enumerate() {
                // Of its group: the filter that the value is for.
                let filter = channel % self.group;
                let at = |row: usize, channel: usize| {
                    (channel / self.lanes * rows + row) * self.lanes + channel % self.lanes
                };
                forward[at(row, channel)] = *value;
                backward[at(row - lane + filter, channel - filter + lane)] = *value;
            }
        }
    }

    fn forward(&self, pass: Forward<'_>) {
        let images = pass.input.chunks_exact(self.input_len).take(pass.images);
        for (image, output) in images.zip(pass.output.chunks_exact_mut(self.output_len)) {
            let image = self.repeated(image, pass.scratch);
            self.some_outputs(image, pass.weights, pass.derived, output, 0..self.heights[1]);
        }
    }

    /// Channels that are repeated go through on one thread: each part would have to repeat the whole map.
    fn parts(&self, outputs: usize, most: usize) -> usize {
        let operations = 4 * self.kernel_len / self.channels * outputs;
        if self.multiplier > 1 { 1 } else { Part::worth(operations, self.heights[1], most) }
    }

    unsafe fn forward_part(&self, pass: ForwardPart<'_>) {
        let (rows, row) = (pass.part.share(self.heights[1], 1), self.output_len / self.heights[1]);
        // SAFETY: shares do not overlap; the rest is the caller's promise.
        let output = unsafe { pass.output.part(rows.start * row..rows.end * row) };
        self.some_outputs(pass.input, pass.weights, pass.derived, output, rows);
    }

    fn backward(&self, pass: Backward<'_>) {
        if !pass.accumulate {
            pass.d_weights.fill(0.0);
        }
        let (row, height) = (self.output_len / self.heights[1], self.heights[1]);
        let down = GoesDown { gather: &self.outputs, channels: self.channels, group: self.group };
        let band = if vectorize(self.level, down).is_some() { height } else { (BAND / row).max(1) };
        let kernel = if self.group > 1 {
            &pass.derived[self.packed_len()..self.derived()]
        } else {
            &pass.weights[..self.kernel_len]
        };
        let (d_kernel, d_bias) = pass.d_weights.split_at_mut(self.kernel_len);
        let gradients = pass.d_output[..pass.images * self.output_len].chunks_exact_mut(self.output_len);
        let images = pass.input.chunks_exact(self.input_len).zip(pass.output.chunks_exact(self.output_len));
        let d_row = self.input_len / self.heights[0];
        let mut d_images = pass.d_input.map(|d_input| d_input.chunks_exact_mut(self.input_len));
        for (gradient, (image, output)) in gradients.zip(images) {
            let mut d_image = d_images.as_mut().and_then(Iterator::next);
            let image = self.repeated(image, pass.scratch);
            let mut done = 0;
            for first in (0..height).step_by(band) {
                let rows = first..height.min(first + band);
                let part = rows.start * row..rows.end * row;
                activate_backward(
                    self.level,
                    self.activation,
                    &output[part.clone()],
                    &mut gradient[part.clone()],
                    self.channels,
                );
                if self.use_bias {
                    add_rows(self.level, &gradient[part], d_bias);
                }
                // Rows that look at what is not there yet come with the next band.
                let ready = if rows.end == height { self.heights[0] } else { self.inputs.rows_before(rows.end) };
                let product = KernelGradient {
                    gather: &self.outputs,
                    channels: self.channels,
                    group: self.group,
                    source: image,
                    gradient,
                    rows,
                    d_kernel,
                };
                vectorize(self.level, product);
                if let Some(d_image) = d_image.as_deref_mut()
                    && self.multiplier == 1
                {
                    let rows = &mut d_image[done * d_row..ready * d_row];
                    self.input_gradient(gradient, kernel, rows, done..ready, &mut []);
                }
                done = ready;
            }
            if let Some(d_image) = d_image
                && self.multiplier > 1
            {
                self.input_gradient(gradient, kernel, d_image, 0..self.heights[0], pass.scratch);
            }
        }
    }
}
