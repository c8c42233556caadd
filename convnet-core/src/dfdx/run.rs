//! How modules run: on plain matrices, without the sizes in any type.
//!
//! The compiler would spend its time on the types of all the tensors inside of a large network, so there are none:
//! a [`Flow`] goes through a tree of modules, by [`Run`], and types stand at both ends only. The plan has been checked
//! when the network was compiled, and each module computes the shape behind it from the shape in front by the plan's
//! rules. A part of a network can be used by itself, as a module of dfdx's on maps of any size that fits; then
//! [`Behind`] says which sizes it has behind it.

use super::compute::{Rows, positions};
use super::identity::Identity;
use super::px::{BatchShape, Batched};
use crate::shape::Shape;
use ::dfdx::shapes::{Dim, HasShape};
use ::dfdx::tensor::{Cpu, CpuError, Tape, Tensor};
use ::dfdx::tensor_ops::ReshapeTo;

/// A batch of maps or vectors on its way through modules.
pub struct Flow<T> {
    pub(super) rows: Rows<T>,
    pub(super) images: usize,
    pub(super) shape: Shape,
}

/// A module, or a tree of them, that can run.
pub trait Run {
    /// Inference; with `logits` without the activation of the last layer.
    ///
    /// # Errors
    /// dfdx's, when memory runs out.
    fn run<T: Tape<f32, Cpu>>(&self, flow: Flow<T>, logits: bool) -> Result<Flow<T>, CpuError>;

    /// Training; otherwise as [`Run::run`].
    ///
    /// # Errors
    /// dfdx's, when memory runs out.
    fn run_mut<T: Tape<f32, Cpu>>(&mut self, flow: Flow<T>, logits: bool) -> Result<Flow<T>, CpuError>;
}

impl Run for Identity {
    fn run<T: Tape<f32, Cpu>>(&self, flow: Flow<T>, _: bool) -> Result<Flow<T>, CpuError> {
        Ok(flow)
    }

    fn run_mut<T: Tape<f32, Cpu>>(&mut self, flow: Flow<T>, _: bool) -> Result<Flow<T>, CpuError> {
        Ok(flow)
    }
}

impl<A: Run, B: Run> Run for (A, B) {
    fn run<T: Tape<f32, Cpu>>(&self, flow: Flow<T>, logits: bool) -> Result<Flow<T>, CpuError> {
        self.1.run(self.0.run(flow, false)?, logits)
    }

    fn run_mut<T: Tape<f32, Cpu>>(&mut self, flow: Flow<T>, logits: bool) -> Result<Flow<T>, CpuError> {
        self.1.run_mut(self.0.run_mut(flow, false)?, logits)
    }
}

impl<T: Tape<f32, Cpu>> Flow<T> {
    /// A tensor, without its type.
    pub(super) fn of<S: BatchShape>(tensor: Tensor<S, f32, Cpu, T>) -> Result<Self, CpuError> {
        let (images, shape) = (tensor.shape().batch().size(), S::Sizes::SIZES);
        let rows = tensor.try_reshape_like(&(images * positions(&shape), shape.channels()))?;
        Ok(Flow { rows, images, shape })
    }

    /// The tensor, with its type.
    pub(super) fn typed<Sizes: Batched, B: Dim>(self, batch: B) -> Result<TensorOf<Sizes, B, T>, CpuError> {
        self.rows.try_reshape_like(&Sizes::shape(batch))
    }
}

/// A batch of `Sizes`, a tuple of typenum numbers.
pub(super) type TensorOf<Sizes, B, T> = Tensor<<Sizes as Batched>::Shape<B>, f32, Cpu, T>;

/// The sizes behind a module that takes the sizes `In`, all of them tuples of typenum numbers.
#[diagnostic::on_unimplemented(
    message = "these layers do not take such a tensor",
    note = "sizes are `Px<U28>`, channels last, behind the batch"
)]
pub trait Behind<In> {
    /// Those sizes.
    type Out;
    /// Does not compile where the module cannot take such sizes.
    const FITS: ();
}

impl<In> Behind<In> for Identity {
    type Out = In;
    const FITS: () = ();
}

impl<In, A: Behind<In>, B: Behind<A::Out>> Behind<In> for (A, B) {
    type Out = B::Out;
    const FITS: () = (A::FITS, B::FITS).1;
}

/// Makes a type that can [`Run`] a module of dfdx's for all sizes that it has others behind.
macro_rules! typed_module {
    ([$($generics:tt)*] $module:ty) => {
        impl<S, T, $($generics)*> ::dfdx::nn::Module<Tensor<S, f32, Cpu, T>> for $module
        where
            S: BatchShape,
            T: Tape<f32, Cpu>,
            Self: Run + Behind<S::Sizes, Out: Batched>,
        {
            type Output = TensorOf<<Self as Behind<S::Sizes>>::Out, S::Batch, T>;
            type Error = CpuError;

            fn try_forward(&self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, CpuError> {
                const { <Self as Behind<S::Sizes>>::FITS };
                let batch = input.shape().batch();
                self.run(Flow::of(input)?, false)?.typed::<<Self as Behind<S::Sizes>>::Out, _>(batch)
            }
        }

        impl<S, T, $($generics)*> ::dfdx::nn::ModuleMut<Tensor<S, f32, Cpu, T>> for $module
        where
            S: BatchShape,
            T: Tape<f32, Cpu>,
            Self: Run + Behind<S::Sizes, Out: Batched>,
        {
            type Output = TensorOf<<Self as Behind<S::Sizes>>::Out, S::Batch, T>;
            type Error = CpuError;

            fn try_forward_mut(&mut self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, CpuError> {
                const { <Self as Behind<S::Sizes>>::FITS };
                let batch = input.shape().batch();
                self.run_mut(Flow::of(input)?, false)?.typed::<<Self as Behind<S::Sizes>>::Out, _>(batch)
            }
        }
    };
}

pub(super) use typed_module;
