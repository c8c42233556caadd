//! What looks into a network: the outputs of its layers, and gradients with respect to images and weights.

use super::count_error;
use super::trainer::Trainer;
use crate::Result;
use crate::engine::PullBack;
use crate::engine::cpu::executor::{Executor, Settings};
use crate::shape::Shape;

/// One layer's output for some images.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerOutput {
    /// The layer's name.
    pub name: String,
    /// Shape for one image.
    pub shape: Shape,
    /// The values, one image after the other.
    pub values: Vec<f32>,
}

impl Trainer {
    /// The output of every layer for the given images. Kernels may cover several layers, so each output comes from a run of
    /// the layers that lead to it.
    pub(super) fn layer_outputs(&self, images: &[f32]) -> Result<Vec<LayerOutput>> {
        self.check_images(images)?;
        let outputs = (1..=self.plan.layers.len()).map(|layers| {
            let plan = self.plan.prefix(layers);
            let mut executor = Executor::new(&plan, Settings { threads: 1, ..self.settings });
            let weights = &self.weights[..plan.params];
            executor.prepare(weights);
            let mut values = vec![0.0; images.len() / plan.input.len() * plan.output.len()];
            executor.predict(images, &mut values, weights);
            LayerOutput { name: self.plan.layers[layers - 1].name.to_string(), shape: plan.output, values }
        });
        Ok(outputs.collect())
    }

    pub(super) fn pull_back(&self, images: &[f32], d_outputs: &[f32]) -> Result<PullBack> {
        let count = self.check_images(images)?;
        let expected = count * self.plan.output.len();
        if d_outputs.len() != expected {
            return Err(count_error("gradients of the outputs", expected.to_string(), d_outputs.len()));
        }
        #[cfg(feature = "cuda")]
        if let super::device::Device::Cuda(_) = self.device {
            return self.pull_back_on_cuda(images, d_outputs);
        }
        let mut executor = Executor::new(&self.plan, Settings { input_gradient: true, threads: 1, ..self.settings });
        executor.prepare(&self.weights);
        Ok(executor.pull_back(images, d_outputs, &self.weights))
    }

    /// How many images these values are.
    pub(super) fn check_images(&self, images: &[f32]) -> Result<usize> {
        let size = self.plan.input.len();
        if images.len().is_multiple_of(size) {
            Ok(images.len() / size)
        } else {
            Err(count_error("values of images", format!("a multiple of {size}"), images.len()))
        }
    }
}
