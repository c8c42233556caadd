//! `MaxPooling2D` as a dfdx module. The first maximum of a window takes the gradient.

use super::build::Build;
use super::conv2d::Maps;
use super::logits::Logits;
use super::op::apply;
use super::px::Px;
use super::window::Sliding;
use crate::layers::max_pooling2d::MaxPooling2D;
use crate::layers::{Slides, WindowKind};
use crate::shape::size::Phantom;
use ::dfdx::nn::{self, NonMutableModule, ZeroSizedModule};
use ::dfdx::shapes::{Dim, HasShape};
use ::dfdx::tensor::{Cpu, CpuError, Tape};
use std::marker::PhantomData;
use typenum::Unsigned;

/// A max pooling over the window `Win`.
#[derive(Debug)]
pub struct Module<Win>(Phantom<Win>);

impl<Win> Default for Module<Win> {
    fn default() -> Self {
        Module(PhantomData)
    }
}

impl<Win> Clone for Module<Win> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Win> Copy for Module<Win> {}

impl<Win> ZeroSizedModule for Module<Win> {}
impl<Win> NonMutableModule for Module<Win> {}

impl<H, W, C, Win: WindowKind + Slides<H, W>> Build<(H, W, C)> for MaxPooling2D<Win> {
    type Module = Module<Win>;
}

impl<B, H, W, C, Win, T> nn::Module<Maps<B, H, W, C, T>> for Module<Win>
where
    B: Dim,
    H: Unsigned,
    W: Unsigned,
    C: Unsigned,
    Win: WindowKind + Slides<H, W>,
    T: Tape<f32, Cpu>,
{
    type Output = Maps<B, Win::Height, Win::Width, C, T>;
    type Error = CpuError;

    fn try_forward(&self, maps: Maps<B, H, W, C, T>) -> Result<Self::Output, CpuError> {
        let sliding = const { Sliding::new::<Win>(H::USIZE, W::USIZE) };
        let batch = maps.shape().0;
        apply(maps, (batch, Px::new(), Px::new(), Px::new()), move |maps| {
            let (maxima, winners) = sliding.maxima(maps, batch.size(), C::USIZE);
            (maxima, move |maps: &mut [f32], maxima: &[f32]| {
                let won = winners.iter().zip(maxima).filter_map(|(winner, gradient)| winner.map(|at| (at, gradient)));
                won.for_each(|(at, gradient)| maps[at] += gradient);
            })
        })
    }
}

impl<B, H, W, C, Win, T> Logits<Maps<B, H, W, C, T>> for Module<Win>
where
    B: Dim,
    H: Unsigned,
    W: Unsigned,
    C: Unsigned,
    Win: WindowKind + Slides<H, W>,
    T: Tape<f32, Cpu>,
{
    fn try_logits(&self, maps: Maps<B, H, W, C, T>) -> Result<Self::Output, CpuError> {
        nn::Module::try_forward(self, maps)
    }
}
