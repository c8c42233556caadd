//! What a kernel is to the executor: a piece of a network that runs forward and backward over a few images.
//!
//! A kernel covers one layer of the plan or several fused ones. Images are independent in forward and in the gradient
//! of the input; the gradient of the weights is summed over the images of the call. The executor owns all memory; a
//! kernel says beforehand how much it wants, and allocates nothing.

use super::disjoint::Disjoint;
use std::ops::Range;

/// A piece of a network, compiled for fixed shapes.
pub trait Kernel: Send + Sync {
    /// Floats of scratch that one worker needs for a call with `images` images. Contents are undefined at the start.
    fn scratch(&self, images: usize) -> usize;

    /// Bytes an image that [`Kernel::forward`] leaves for [`Kernel::backward`] (positions of maxima and the like).
    fn kept(&self) -> usize {
        0
    }

    /// Floats derived from the weights (transposes, transforms), rebuilt by [`Kernel::prepare`] after each change.
    fn derived(&self) -> usize {
        0
    }

    /// Fills the derived floats from the weights (of the layers that this kernel covers, in the plan's order).
    fn prepare(&self, _weights: &[f32], _derived: &mut [f32]) {}

    /// The lengths of the parts of the derived floats, one after the other, that several threads may fill at once.
    fn derived_parts(&self) -> Vec<usize> {
        vec![self.derived()]
    }

    /// Fills one of [`Kernel::derived_parts`], as [`Kernel::prepare`] fills all.
    fn prepare_part(&self, _part: usize, weights: &[f32], derived: &mut [f32]) {
        self.prepare(weights, derived);
    }

    /// Computes the outputs.
    fn forward(&self, pass: Forward<'_>);

    /// In how many parts several threads may share the forward pass of one image with so many outputs: 1 where that is not
    /// worth it, and `most` at most.
    fn parts(&self, _outputs: usize, _most: usize) -> usize {
        1
    }

    /// Computes one of several parts, to the bit as [`Kernel::forward`] does.
    ///
    /// # Safety
    /// `pass.part.of` is what [`Kernel::parts`] said, and `pass.part.number` is less. Nobody uses the output but other parts
    /// of the same pass, each of which is computed once.
    unsafe fn forward_part(&self, _pass: ForwardPart<'_>) {
        unreachable!("a kernel that has parts computes them");
    }

    /// Whether a [`Kernel::backward`] that accumulates sums over its images first, from zero, so that the bits are those
    /// of a sum that was made elsewhere and then added. Otherwise it may go on with the sum that it finds.
    fn adds_sums(&self) -> bool {
        false
    }

    /// Computes the gradients, after a [`Kernel::forward`] of the same images with `training` set.
    fn backward(&self, pass: Backward<'_>);
}

/// What tells the random numbers of one call from those of every other, whatever the threads and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    /// The model's seed.
    pub seed: u64,
    /// How many steps were trained before this one.
    pub step: u64,
    /// The layer's number in the plan.
    pub layer: usize,
    /// The place in the batch of the first image of the call.
    pub image: usize,
}

/// What [`Kernel::forward`] works on. Slices over images hold one image after the other.
pub struct Forward<'a> {
    /// How many images.
    pub images: usize,
    /// Whether a backward pass follows; otherwise `kept` is empty.
    pub training: bool,
    /// Given in a training step: layers that behave differently there (dropout) do so. A gradient may be asked for
    /// outside of one, too.
    pub noise: Option<Noise>,
    /// Parameters of the layers covered.
    pub weights: &'a [f32],
    /// Derived from them.
    pub derived: &'a [f32],
    /// Input of the first layer covered.
    pub input: &'a [f32],
    /// Output of the last layer covered: overwritten.
    pub output: &'a mut [f32],
    /// For the backward pass: overwritten.
    pub kept: &'a mut [u8],
    /// Free to use.
    pub scratch: &'a mut [f32],
}

/// One of several parts of a piece of work.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Its number.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// Operations, or values that go through memory, which are worth a thread of their own: a few microseconds.
/// In the tests every kernel has as many parts as there are places to cut.
const WORTH: usize = if cfg!(test) { 1 } else { 1 << 18 };

impl Part {
    /// How many parts, of at most `most`, so many operations are worth that can be cut in so many places.
    pub fn worth(operations: usize, places: usize, most: usize) -> usize {
        (operations / WORTH).min(places).clamp(1, most)
    }

    /// This part's share of `0..len`, cut at multiples of `step`.
    pub fn share(self, len: usize, step: usize) -> Range<usize> {
        let cut = |part: usize| (part * len.div_ceil(step) / self.of * step).min(len);
        cut(self.number)..cut(self.number + 1)
    }
}

/// What [`Kernel::forward_part`] works on: a part of the forward pass of one image, for which no backward pass follows.
pub struct ForwardPart<'a> {
    /// Which part of it.
    pub part: Part,
    /// As in [`Forward`].
    pub weights: &'a [f32],
    /// As in [`Forward`].
    pub derived: &'a [f32],
    /// The whole input.
    pub input: &'a [f32],
    /// The whole output, of which a part is overwritten.
    pub output: Disjoint<'a, f32>,
    /// As much as for a whole image.
    pub scratch: &'a mut [f32],
}

impl<'a> ForwardPart<'a> {
    /// A forward pass over a part of input and output that is like a whole one.
    pub fn over<'b>(&'b mut self, input: &'b [f32], output: &'b mut [f32]) -> Forward<'b> {
        Forward {
            images: 1,
            training: false,
            noise: None,
            weights: self.weights,
            derived: self.derived,
            input,
            output,
            kept: &mut [],
            scratch: self.scratch,
        }
    }

    /// Computes the part.
    ///
    /// # Safety
    /// As for [`Kernel::forward_part`].
    pub unsafe fn compute(mut self, kernel: &dyn Kernel) {
        let (input, output) = (self.input, self.output);
        // SAFETY: where there is one part, nobody uses the output; else as the caller promises.
        unsafe {
            if self.part.of == 1 {
                kernel.forward(self.over(input, output.part(0..output.len())));
            } else {
                kernel.forward_part(self);
            }
        }
    }

    /// Computes the part, of a kernel that makes each row of `width` outputs from the inputs at the same places.
    ///
    /// # Safety
    /// As for [`Kernel::forward_part`].
    pub unsafe fn forward_rows(mut self, kernel: &impl Kernel, width: usize) {
        let range = self.part.share(self.output.len(), width);
        let (input, output) = (self.input, self.output);
        // SAFETY: shares do not overlap; the rest is the caller's promise.
        let output = unsafe { output.part(range.clone()) };
        kernel.forward(self.over(&input[range], output));
    }
}

/// What [`Kernel::backward`] works on.
pub struct Backward<'a> {
    /// How many images.
    pub images: usize,
    /// As in the forward pass.
    pub noise: Option<Noise>,
    /// Parameters of the layers covered.
    pub weights: &'a [f32],
    /// Derived from them.
    pub derived: &'a [f32],
    /// As in the forward pass.
    pub input: &'a [f32],
    /// As the forward pass left it.
    pub output: &'a [f32],
    /// As the forward pass left it.
    pub kept: &'a [u8],
    /// Gradient of the loss with respect to the output; the kernel may use it up.
    pub d_output: &'a mut [f32],
    /// Gradient with respect to the input: overwritten. `None` where nobody asks for it, as of a network's input.
    pub d_input: Option<&'a mut [f32]>,
    /// Gradient with respect to the weights: added to if `accumulate`, else overwritten. See [`Kernel::adds_sums`].
    pub d_weights: &'a mut [f32],
    /// See `d_weights`.
    pub accumulate: bool,
    /// Free to use.
    pub scratch: &'a mut [f32],
}
