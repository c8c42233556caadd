//! Activations as dfdx's own tensor operations.

use super::Rows;
use crate::layers::Activation;
use ::dfdx::shapes::Axis;
use ::dfdx::tensor::{Cpu, CpuError, Tape};

/// The activation of every element; `softmax` runs over each row.
pub(in crate::dfdx) fn activate<T: Tape<f32, Cpu>>(activation: Activation, rows: Rows<T>) -> Result<Rows<T>, CpuError> {
    match activation {
        Activation::Linear => Ok(rows),
        Activation::Relu => rows.try_relu(),
        Activation::Sigmoid => rows.try_sigmoid(),
        Activation::Tanh => rows.try_tanh(),
        Activation::Softmax => rows.try_softmax::<Axis<1>>(),
    }
}
