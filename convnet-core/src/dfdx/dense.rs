//! `Dense` as a dfdx module: dfdx's matrix product, plus the bias, then the activation.

use super::activation::Activate;
use super::build::Build;
use super::logits::Logits;
use super::px::Px;
use super::weights::Weights;
use crate::layers::dense::Dense;
use crate::shape::size::TypeSize;
use ::dfdx::nn;
use ::dfdx::shapes::Dim;
use ::dfdx::tensor::{Cpu, CpuError, Tape, Tensor};
use ::dfdx::tensor_ops::TryMatMul;
use typenum::Unsigned;

/// A fully connected layer on vectors of `N` features (a typenum number), with its weights.
pub type Module<N, U, A, const USE_BIAS: bool> =
    Weights<Dense<U, A, USE_BIAS>, (Px<N>, Px<<U as TypeSize>::Digits>), <U as TypeSize>::Digits, USE_BIAS>;

/// A batch of vectors, with a tape or without.
pub(super) type Vectors<B, N, T> = Tensor<(B, Px<N>), f32, Cpu, T>;

impl<N: Unsigned, U: TypeSize, A: Activate, const USE_BIAS: bool> Build<(N,)> for Dense<U, A, USE_BIAS> {
    type Module = Module<N, U, A, USE_BIAS>;
}

/// `x · kernel + bias`.
fn affine<B, N, U, A, T, const USE_BIAS: bool>(
    module: &Module<N, U, A, USE_BIAS>,
    vectors: Vectors<B, N, T>,
) -> Result<Vectors<B, U::Digits, T>, CpuError>
where
    B: Dim,
    N: Unsigned,
    U: TypeSize,
    T: Tape<f32, Cpu>,
{
    module.add_bias(vectors.try_matmul(module.kernel.clone())?)
}

impl<B, N, U, A, T, const USE_BIAS: bool> nn::Module<Vectors<B, N, T>> for Module<N, U, A, USE_BIAS>
where
    B: Dim,
    N: Unsigned,
    U: TypeSize,
    A: Activate,
    T: Tape<f32, Cpu>,
{
    type Output = Vectors<B, U::Digits, T>;
    type Error = CpuError;

    fn try_forward(&self, vectors: Vectors<B, N, T>) -> Result<Self::Output, CpuError> {
        A::activate(affine(self, vectors)?)
    }
}

impl<B, N, U, A, T, const USE_BIAS: bool> Logits<Vectors<B, N, T>> for Module<N, U, A, USE_BIAS>
where
    B: Dim,
    N: Unsigned,
    U: TypeSize,
    A: Activate,
    T: Tape<f32, Cpu>,
{
    fn try_logits(&self, vectors: Vectors<B, N, T>) -> Result<Self::Output, CpuError> {
        affine(self, vectors)
    }
}
