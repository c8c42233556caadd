//! What a network computes before its last activation.
//!
//! A listing ends with `softmax` or `sigmoid`, and so does `forward`, as in Keras. dfdx's losses want what stands
//! before it (`cross_entropy_with_logits_loss`, `binary_cross_entropy_with_logits_loss`), because only there the
//! logarithm is exact. [`Logits`] leads every module there, with the same weights; [`LogitsMut`] does so in training.

use super::identity::Identity;
use ::dfdx::nn::{Module, ModuleMut};
use ::dfdx::shapes::Shape;
use ::dfdx::tensor::{Cpu, CpuError, Tensor};

/// A module that can leave out the activation of its last layer.
#[diagnostic::on_unimplemented(
    message = "these layers do not take such a tensor",
    note = "sizes are `Px<U28>`, channels last, behind the batch"
)]
pub trait Logits<Input>: Module<Input> {
    /// [`Module::try_forward`] without the last layer's activation.
    ///
    /// # Errors
    /// As [`Module::try_forward`].
    fn try_logits(&self, input: Input) -> Result<Self::Output, Self::Error>;
}

/// [`Logits`] in training: with what dropout and batch normalisation do there.
#[diagnostic::on_unimplemented(
    message = "these layers do not take such a tensor",
    note = "sizes are `Px<U28>`, channels last, behind the batch"
)]
pub trait LogitsMut<Input>: ModuleMut<Input> {
    /// [`ModuleMut::try_forward_mut`] without the last layer's activation.
    ///
    /// # Errors
    /// As [`ModuleMut::try_forward_mut`].
    fn try_logits_mut(&mut self, input: Input) -> Result<Self::Output, Self::Error>;
}

impl<Input, A, B> LogitsMut<Input> for (A, B)
where
    A: ModuleMut<Input>,
    B: LogitsMut<A::Output, Error = A::Error>,
{
    fn try_logits_mut(&mut self, input: Input) -> Result<Self::Output, Self::Error> {
        self.1.try_logits_mut(self.0.try_forward_mut(input)?)
    }
}

impl<S: Shape, T> LogitsMut<Tensor<S, f32, Cpu, T>> for Identity {
    fn try_logits_mut(&mut self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, CpuError> {
        Ok(input)
    }
}

impl<Input, A, B> Logits<Input> for (A, B)
where
    A: Module<Input>,
    B: Logits<A::Output, Error = A::Error>,
{
    fn try_logits(&self, input: Input) -> Result<Self::Output, Self::Error> {
        self.1.try_logits(self.0.try_forward(input)?)
    }
}

impl<S: Shape, T> Logits<Tensor<S, f32, Cpu, T>> for Identity {
    fn try_logits(&self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, CpuError> {
        Ok(input)
    }
}
