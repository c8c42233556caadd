//! Dropout: in a training step each value is zero with the layer's probability, and else divided by the others'.
//!
//! The random numbers of an image come from a stream of its own, whose number says step, layer and the image's place in
//! the batch (see [`stream_number`]): neither threads nor groups matter. Value `k` of the image is dropped if word `k` of
//! the stream is below `rate · 2³²`. Which values stayed is kept for the backward pass as one byte each, which is read
//! in a twentieth of the time that drawing the numbers again would take.
//!
//! Without [`Noise`], outside of training steps, both passes are copies. NaN: one that is dropped becomes 0, as in
//! TensorFlow; the others stay.

use crate::engine::cpu::kernel::{Backward, Forward, Kernel, Noise};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::dropout::Spec;
use crate::train::random::{Purpose, Stream};

/// Values whose random numbers are drawn at once.
const DRAWN: usize = 256;

/// Bits of a stream's number that tell images of a batch apart; the lowest.
const IMAGE_BITS: u32 = 22;

/// Bits that tell layers apart; above the image's.
const LAYER_BITS: u32 = 10;

/// A dropout on tensors of a fixed size.
pub struct Dropout {
    level: Level,
    /// Values in an image.
    len: usize,
    /// Values whose random word is below are dropped.
    below: u32,
    /// What the others are multiplied by.
    scale: f32,
}

impl Dropout {
    /// The dropout `spec` on `len` values an image.
    pub fn new(spec: Spec, len: usize, level: Level) -> Self {
        let below = (spec.rate * 2f64.powi(32)).round() as u32;
        Dropout { level, len, below, scale: (1.0 / (1.0 - spec.rate)) as f32 }
    }

    /// Whether anything is random.
    fn noise(&self, noise: Option<Noise>) -> Option<Noise> {
        noise.filter(|_| self.below > 0)
    }
}

/// The stream of an image: 32 bits for the step, 10 for the layer, and 22, the lowest, for the image's place in the
/// batch. Beyond 2³² steps, 2¹⁰ layers or 2²² images in a batch the same numbers come again.
pub fn stream_number(noise: Noise, image: usize) -> u64 {
    let layer = noise.layer as u64 % (1 << LAYER_BITS);
    let image = (noise.image + image) as u64 % (1 << IMAGE_BITS);
    noise.step << (LAYER_BITS + IMAGE_BITS) | layer << IMAGE_BITS | image
}

/// `to ← from · scale` where `stays`, else 0.
struct Mask<'a> {
    scale: f32,
    stays: &'a [u8],
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Vectorized for Mask<'_> {
    type Output = ();
    /// A plain loop, which the compiler vectorises.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((to, from), stays) in self.to.iter_mut().zip(self.from).zip(self.stays) {
            let scaled = from * self.scale;
            *to = if *stays != 0 { scaled } else { 0.0 };
        }
    }
}

impl Kernel for Dropout {
    fn scratch(&self, _: usize) -> usize {
        0
    }

    fn kept(&self) -> usize {
        self.len
    }

    fn forward(&self, pass: Forward<'_>) {
        let Some(noise) = self.noise(pass.noise) else { return pass.output.copy_from_slice(pass.input) };
        let images = pass.input.chunks_exact(self.len).zip(pass.output.chunks_exact_mut(self.len));
        for (image, (input, output)) in images.enumerate() {
            let mut stream = Stream::new(noise.seed, Purpose::Dropout, stream_number(noise, image));
            for (part, (from, to)) in input.chunks(DRAWN).zip(output.chunks_mut(DRAWN)).enumerate() {
                let mut stays = [0; DRAWN];
                let stays = &mut stays[..from.len()];
                stays.iter_mut().for_each(|stays| *stays = u8::from(stream.word() >= self.below));
                vectorize(self.level, Mask { scale: self.scale, stays, from, to });
                if pass.training {
                    pass.kept[image * self.len + part * DRAWN..][..stays.len()].copy_from_slice(stays);
                }
            }
        }
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        if self.noise(pass.noise).is_none() {
            return d_input.copy_from_slice(pass.d_output);
        }
        vectorize(self.level, Mask { scale: self.scale, stays: pass.kept, from: pass.d_output, to: d_input });
    }
}
