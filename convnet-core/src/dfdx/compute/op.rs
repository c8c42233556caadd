//! How the reference's own operations get onto dfdx's tape.
//!
//! An operation is plain arithmetic over slices; here it becomes a tensor with a way back. The gradient of the output
//! is taken out of dfdx's store while it is read, and put back, so that nothing is copied.

use super::Rows;
use ::dfdx::shapes::HasShape;
use ::dfdx::tensor::{Cpu, CpuError, PutTape, SplitTape, Tape, TensorFromVec};

/// The values of a matrix, row by row.
pub(in crate::dfdx) fn values(rows: &Rows) -> Vec<f32> {
    let (height, width) = *rows.shape();
    let mut values = vec![0.0; height * width];
    rows.copy_into(&mut values);
    values
}

/// The tensor of an operation's `result`, of the given shape. `backward(i, gradient, above)` adds to the gradient of
/// input `i` what follows from the gradient `above` of the result. The same tensor may be several of the inputs.
pub(in crate::dfdx) fn operation<T: Tape<f32, Cpu>>(
    mut tape: T,
    inputs: &[&Rows],
    shape: (usize, usize),
    result: Vec<f32>,
    backward: impl Fn(usize, &mut [f32], &[f32]) + 'static,
) -> Result<Rows<T>, CpuError> {
    let output = inputs[0].device().try_tensor_from_vec(result, shape)?;
    let (below, above) = (inputs.iter().map(|input| input.ghost()).collect::<Vec<_>>(), output.ghost());
    tape.add_backward_op(move |gradients| {
        let gradient = std::mem::take(&mut **gradients.get_or_alloc_mut(&above)?);
        for (i, below) in below.iter().enumerate() {
            backward(i, gradients.get_or_alloc_mut(below)?, &gradient);
        }
        **gradients.get_or_alloc_mut(&above)? = gradient;
        Ok(())
    });
    Ok(output.put_tape(tape))
}

/// An operation on one input: `forward` gives its result and the way back.
pub(super) fn apply<T: Tape<f32, Cpu>, Backward: Fn(&mut [f32], &[f32]) + 'static>(
    input: Rows<T>,
    shape: (usize, usize),
    forward: impl FnOnce(&[f32]) -> (Vec<f32>, Backward),
) -> Result<Rows<T>, CpuError> {
    let (input, tape) = input.split_tape();
    let (result, backward) = forward(&values(&input));
    operation(tape, &[&input], shape, result, move |_, gradient, above| backward(gradient, above))
}

/// Adds a bias, if there is one, to every row.
pub(super) fn add_bias<T: Tape<f32, Cpu>>(input: Rows<T>, bias: Option<&Rows>) -> Result<Rows<T>, CpuError> {
    let Some(bias) = bias else { return Ok(input) };
    let (input, tape) = input.split_tape();
    let (mut sums, addends) = (values(&input), values(bias));
    for row in sums.chunks_exact_mut(addends.len()) {
        add(row, &addends);
    }
    operation(tape, &[&input, bias], *input.shape(), sums, |i, gradient, above| {
        if i == 0 {
            add(gradient, above);
        } else {
            above.chunks_exact(gradient.len()).for_each(|row| add(gradient, row));
        }
    })
}

/// Multiplies every row by the factors, if there are any.
pub(super) fn scale<T: Tape<f32, Cpu>>(input: Rows<T>, factors: Option<&Rows>) -> Result<Rows<T>, CpuError> {
    let Some(factors) = factors else { return Ok(input) };
    let (input, tape) = input.split_tape();
    let (before, scales) = (values(&input), values(factors));
    let channels = scales.len();
    let products = before.iter().enumerate().map(|(i, x)| x * scales[i % channels]).collect();
    operation(tape, &[&input, factors], *input.shape(), products, move |i, gradient, above| {
        for (j, above) in above.iter().enumerate() {
            let channel = j % channels;
            if i == 0 {
                gradient[j] += above * scales[channel];
            } else {
                gradient[channel] += above * before[j];
            }
        }
    })
}

/// Adds one list of numbers to another.
pub(in crate::dfdx) fn add(sums: &mut [f32], addends: &[f32]) {
    sums.iter_mut().zip(addends).for_each(|(sum, value)| *sum += value);
}
