//! How the reference's own operations get onto dfdx's tape.
//!
//! An operation is plain arithmetic over slices; what is generic (the shapes, the tape) is only the wrapping here.
//! The gradient of the output is taken out of dfdx's store while it is read, and put back, so that nothing is copied.

use ::dfdx::shapes::{HasShape, Shape};
use ::dfdx::tensor::{Cpu, CpuError, PutTape, SplitTape, Tape, Tensor, TensorFromVec};
use ::dfdx::tensor_ops::ReshapeTo;

/// The values of a tensor in the order of its shape.
fn values<S: Shape>(tensor: &Tensor<S, f32, Cpu>) -> Result<Vec<f32>, CpuError> {
    let tensor = tensor.clone().try_contiguous()?;
    let mut values = vec![0.0; tensor.shape().num_elements()];
    tensor.copy_into(&mut values);
    Ok(values)
}

/// Applies `forward` to the input's values. It gives the output's values and the way back, which adds the input's
/// gradient to its first argument, given the output's gradient as its second.
pub fn apply<In, Out, T, Forward, Backward>(
    input: Tensor<In, f32, Cpu, T>,
    output: Out,
    forward: Forward,
) -> Result<Tensor<Out, f32, Cpu, T>, CpuError>
where
    In: Shape,
    Out: Shape,
    T: Tape<f32, Cpu>,
    Forward: FnOnce(&[f32]) -> (Vec<f32>, Backward),
    Backward: FnOnce(&mut [f32], &[f32]) + 'static,
{
    let (input, mut tape) = input.split_tape();
    let (result, backward) = forward(&values(&input)?);
    let output = input.device().try_tensor_from_vec(result, output)?;
    let (below, above) = (input.ghost(), output.ghost());
    tape.add_backward_op(move |gradients| {
        let gradient = std::mem::take(&mut **gradients.get_or_alloc_mut(&above)?);
        backward(gradients.get_or_alloc_mut(&below)?, &gradient);
        **gradients.get_or_alloc_mut(&above)? = gradient;
        Ok(())
    });
    Ok(output.put_tape(tape))
}

/// Adds a bias to every row of the input's last axis.
pub fn add_bias<S, N, T>(
    input: Tensor<S, f32, Cpu, T>,
    bias: &Tensor<N, f32, Cpu>,
) -> Result<Tensor<S, f32, Cpu, T>, CpuError>
where
    S: Shape,
    N: Shape,
    T: Tape<f32, Cpu>,
{
    let (input, mut tape) = input.split_tape();
    let (mut sums, addends) = (values(&input)?, values(bias)?);
    add_to_rows(&mut sums, &addends);
    let output = input.device().try_tensor_from_vec(sums, *input.shape())?;
    let (below, beside, above) = (input.ghost(), bias.ghost(), output.ghost());
    tape.add_backward_op(move |gradients| {
        let gradient = std::mem::take(&mut **gradients.get_or_alloc_mut(&above)?);
        add_to_rows(gradients.get_or_alloc_mut(&below)?, &gradient);
        add_rows_to(gradients.get_or_alloc_mut(&beside)?, &gradient);
        **gradients.get_or_alloc_mut(&above)? = gradient;
        Ok(())
    });
    Ok(output.put_tape(tape))
}

/// Adds `row` to each of the rows of `matrix`.
fn add_to_rows(matrix: &mut [f32], row: &[f32]) {
    for target in matrix.chunks_exact_mut(row.len()) {
        target.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

/// Adds each of the rows of `matrix` to `row`.
fn add_rows_to(row: &mut [f32], matrix: &[f32]) {
    for source in matrix.chunks_exact(row.len()) {
        row.iter_mut().zip(source).for_each(|(sum, value)| *sum += value);
    }
}
