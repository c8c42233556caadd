//! `Flatten` as a dfdx module: another shape for the same values.

use super::build::Build;
use super::conv2d::Maps;
use super::dense::Vectors;
use super::logits::Logits;
use super::px::Px;
use crate::layers::flatten::Flatten;
use crate::shape::walk::Walk;
use ::dfdx::nn::{self, NonMutableModule, ZeroSizedModule};
use ::dfdx::shapes::{Dim, HasShape};
use ::dfdx::tensor::{Cpu, CpuError, Tape};
use ::dfdx::tensor_ops::ReshapeTo;
use typenum::Unsigned;

/// A flattening.
#[derive(Clone, Copy, Debug, Default)]
pub struct Module;

impl ZeroSizedModule for Module {}
impl NonMutableModule for Module {}

impl<In> Build<In> for Flatten
where
    Flatten: Walk<In>,
{
    type Module = Module;
}

impl<B, H, W, C, N, T> nn::Module<Maps<B, H, W, C, T>> for Module
where
    B: Dim,
    H: Unsigned,
    W: Unsigned,
    C: Unsigned,
    N: Unsigned,
    T: Tape<f32, Cpu>,
    Flatten: Walk<(H, W, C), Out = (N,)>,
{
    type Output = Vectors<B, N, T>;
    type Error = CpuError;

    fn try_forward(&self, maps: Maps<B, H, W, C, T>) -> Result<Self::Output, CpuError> {
        let batch = maps.shape().0;
        maps.try_reshape_like(&(batch, Px::new()))
    }
}

impl<B, H, W, C, N, T> Logits<Maps<B, H, W, C, T>> for Module
where
    B: Dim,
    H: Unsigned,
    W: Unsigned,
    C: Unsigned,
    N: Unsigned,
    T: Tape<f32, Cpu>,
    Flatten: Walk<(H, W, C), Out = (N,)>,
{
    fn try_logits(&self, maps: Maps<B, H, W, C, T>) -> Result<Self::Output, CpuError> {
        nn::Module::try_forward(self, maps)
    }
}
