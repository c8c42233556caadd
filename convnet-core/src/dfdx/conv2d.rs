//! `Conv2D` as a dfdx module: the reference for every convolution in this crate.
//!
//! Patches of the map times the kernel (im2col, then dfdx's matrix product), plus the bias, then the activation.

use super::activation::Activate;
use super::build::Build;
use super::logits::Logits;
use super::op::apply;
use super::px::Px;
use super::weights::Weights;
use super::window::{KernelSize, Sliding};
use crate::layers::Slides;
use crate::layers::activation::Linear;
use crate::layers::conv2d::Conv2D;
use crate::shape::size::TypeSize;
use ::dfdx::nn;
use ::dfdx::shapes::{Dim, HasShape};
use ::dfdx::tensor::{Cpu, CpuError, Tape, Tensor};
use ::dfdx::tensor_ops::{ReshapeTo, TryMatMul};
use typenum::Unsigned;

/// The shape of a kernel: `(kernel height, kernel width, input channels, filters)`.
pub type KernelShape<C, F, Win> =
    (Px<<Win as KernelSize>::KernelHeight>, Px<<Win as KernelSize>::KernelWidth>, Px<C>, Px<<F as TypeSize>::Digits>);

/// A convolution over maps of `C` channels (a typenum number), with its weights.
pub type Module<C, F, Win, A, const USE_BIAS: bool> =
    Weights<Conv2D<F, Win, A, USE_BIAS>, KernelShape<C, F, Win>, <F as TypeSize>::Digits, USE_BIAS>;

/// A batch of maps, with a tape or without.
pub(super) type Maps<B, H, W, C, T> = Tensor<(B, Px<H>, Px<W>, Px<C>), f32, Cpu, T>;

/// What a convolution of `F` filters makes of maps of `H` × `W`.
type Convolved<B, H, W, F, Win, T> =
    Maps<B, <Win as Slides<H, W>>::Height, <Win as Slides<H, W>>::Width, <F as TypeSize>::Digits, T>;

impl<H, W, C, F, Win, A, const USE_BIAS: bool> Build<(H, W, C)> for Conv2D<F, Win, A, USE_BIAS>
where
    C: Unsigned,
    F: TypeSize,
    Win: KernelSize + Slides<H, W>,
    A: Activate,
{
    type Module = Module<C, F, Win, A, USE_BIAS>;
}

/// The convolution `module`, with the activation `Act` in place of the layer's own.
fn convolve<Act, B, H, W, C, F, Win, A, T, const USE_BIAS: bool>(
    module: &Module<C, F, Win, A, USE_BIAS>,
    maps: Maps<B, H, W, C, T>,
) -> Result<Convolved<B, H, W, F, Win, T>, CpuError>
where
    Act: Activate,
    B: Dim,
    H: Unsigned,
    W: Unsigned,
    C: Unsigned,
    F: TypeSize,
    Win: KernelSize + Slides<H, W>,
    T: Tape<f32, Cpu>,
{
    let sliding = const { Sliding::new::<Win>(H::USIZE, W::USIZE) };
    let (batch, channels, columns) = (maps.shape().0, C::USIZE, sliding.taps() * C::USIZE);
    let images = batch.size();
    let patches = apply(maps, (images * sliding.places(), columns), move |maps| {
        let back = move |maps: &mut [f32], patches: &[f32]| sliding.add_patches(maps, patches, images, channels);
        (sliding.patches(maps, images, channels), back)
    })?;
    let kernel = module.kernel.clone().try_reshape_like(&(columns, F::SIZE))?;
    let sums = module.add_bias(patches.try_matmul(kernel)?)?;
    Act::activate(sums)?.try_reshape_like(&(batch, Px::new(), Px::new(), Px::new()))
}

impl<B, H, W, C, F, Win, A, T, const USE_BIAS: bool> nn::Module<Maps<B, H, W, C, T>> for Module<C, F, Win, A, USE_BIAS>
where
    B: Dim,
    H: Unsigned,
    W: Unsigned,
    C: Unsigned,
    F: TypeSize,
    Win: KernelSize + Slides<H, W>,
    A: Activate,
    T: Tape<f32, Cpu>,
{
    type Output = Convolved<B, H, W, F, Win, T>;
    type Error = CpuError;

    fn try_forward(&self, maps: Maps<B, H, W, C, T>) -> Result<Self::Output, CpuError> {
        convolve::<A, _, _, _, _, _, _, _, _, USE_BIAS>(self, maps)
    }
}

impl<B, H, W, C, F, Win, A, T, const USE_BIAS: bool> Logits<Maps<B, H, W, C, T>> for Module<C, F, Win, A, USE_BIAS>
where
    B: Dim,
    H: Unsigned,
    W: Unsigned,
    C: Unsigned,
    F: TypeSize,
    Win: KernelSize + Slides<H, W>,
    A: Activate,
    T: Tape<f32, Cpu>,
{
    fn try_logits(&self, maps: Maps<B, H, W, C, T>) -> Result<Self::Output, CpuError> {
        convolve::<Linear, _, _, _, _, _, _, _, _, USE_BIAS>(self, maps)
    }
}
