//! The module of a network without layers. (dfdx's own `()` cannot be built: its collection of tensors is "none".)

use ::dfdx::nn::{Module, NonMutableModule, ZeroSizedModule};
use ::dfdx::shapes::Shape;
use ::dfdx::tensor::{Cpu, CpuError, Tensor};

/// Gives what it takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity;

impl ZeroSizedModule for Identity {}
impl NonMutableModule for Identity {}

impl<S: Shape, T> Module<Tensor<S, f32, Cpu, T>> for Identity {
    type Output = Tensor<S, f32, Cpu, T>;
    type Error = CpuError;

    fn try_forward(&self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, CpuError> {
        Ok(input)
    }
}
