//! What a kernel is to the executor: a piece of a network that runs forward and backward over a few images.
//!
//! A kernel covers one layer of the plan or several fused ones. Images are independent in forward and in the gradient
//! of the input; the gradient of the weights is summed over the images of the call. The executor owns all memory; a
//! kernel says beforehand how much it wants, and allocates nothing.

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
