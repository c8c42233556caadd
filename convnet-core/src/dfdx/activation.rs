//! Activations as dfdx's own tensor operations.

use crate::layers::activation::{ActivationKind, Linear, Relu, Sigmoid, Softmax, Tanh};
use ::dfdx::shapes::Shape;
use ::dfdx::tensor::{Cpu, CpuError, Tape, Tensor};

/// An activation's type that can be applied to tensors.
pub trait Activate: ActivationKind {
    /// The activation of every element; `softmax` runs over the last axis.
    ///
    /// # Errors
    /// dfdx's, when memory runs out.
    fn activate<S: Shape, T: Tape<f32, Cpu>>(input: Tensor<S, f32, Cpu, T>)
    -> Result<Tensor<S, f32, Cpu, T>, CpuError>;
}

macro_rules! activate {
    ($($kind:ident: |$input:ident| $output:expr;)*) => {$(
        impl Activate for $kind {
            fn activate<S: Shape, T: Tape<f32, Cpu>>(
                $input: Tensor<S, f32, Cpu, T>,
            ) -> Result<Tensor<S, f32, Cpu, T>, CpuError> {
                $output
            }
        }
    )*};
}

activate! {
    Linear: |input| Ok(input);
    Relu: |input| input.try_relu();
    Sigmoid: |input| input.try_sigmoid();
    Tanh: |input| input.try_tanh();
    Softmax: |input| input.try_softmax::<S::LastAxis>();
}
