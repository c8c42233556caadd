//! A kernel and all that a call of it works on, all beginning at cache lines as in the executor.

use convnet::engine::cpu::aligned::Floats;
use convnet::engine::cpu::kernel::{Backward, Forward, Kernel};
use std::time::{Duration, Instant};

/// See above. After a call, the buffers hold what it left there.
pub struct Call {
    kernel: Box<dyn Kernel>,
    images: usize,
    weights: Floats,
    d_weights: Floats,
    derived: Floats,
    input: Floats,
    /// The output.
    pub output: Floats,
    d_output: Floats,
    /// The gradient of the input; `None` if it is not asked for.
    pub d_input: Option<Floats>,
    kept: Vec<u8>,
    scratch: Floats,
}

/// A copy that begins at a cache line.
fn aligned(values: &[f32]) -> Floats {
    let mut copy = Floats::zeros(values.len());
    copy.copy_from_slice(values);
    copy
}

impl Call {
    /// `kernel` with its weights, on `images` images of input, with an output of `output` floats in all.
    pub fn new(kernel: Box<dyn Kernel>, images: usize, weights: &[f32], input: &[f32], output: usize) -> Call {
        let mut derived = Floats::zeros(kernel.derived());
        kernel.prepare(weights, &mut derived);
        Call {
            images,
            weights: aligned(weights),
            d_weights: Floats::zeros(weights.len()),
            derived,
            input: aligned(input),
            output: Floats::zeros(output),
            d_output: Floats::zeros(output),
            d_input: Some(Floats::zeros(input.len())),
            kept: vec![0; images * kernel.kept()],
            scratch: Floats::zeros(kernel.scratch(images)),
            kernel,
        }
    }

    /// The outputs, for a way back.
    pub fn forward(&mut self) -> Duration {
        let start = Instant::now();
        self.kernel.forward(Forward {
            images: self.images,
            training: true,
            noise: None,
            weights: &self.weights,
            derived: &self.derived,
            input: &self.input,
            output: &mut self.output,
            kept: &mut self.kept,
            scratch: &mut self.scratch,
        });
        start.elapsed()
    }

    /// The gradients. The time is without that of writing `d_output` to where the kernel may use it up.
    pub fn backward(&mut self, d_output: &[f32]) -> Duration {
        self.d_output.copy_from_slice(d_output);
        let start = Instant::now();
        self.kernel.backward(Backward {
            noise: None,
            images: self.images,
            weights: &self.weights,
            derived: &self.derived,
            input: &self.input,
            output: &self.output,
            kept: &self.kept,
            d_output: &mut self.d_output,
            d_input: self.d_input.as_deref_mut(),
            d_weights: &mut self.d_weights,
            accumulate: false,
            scratch: &mut self.scratch,
        });
        start.elapsed()
    }
}
