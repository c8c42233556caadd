//! One layer as a dfdx module.
//!
//! [`Unit`] is where types meet numbers: the layer's type says what it computes and which shape it has behind it, the
//! tensors say how large they are, and [`super::compute`] does the work on plain matrices. That the types' shapes are
//! the plan's is checked for each layer when it is compiled.

use super::compute::{Rows, Shapes, activate, infer, positions, train};
use super::leaves::{Labels, Leaves, Made, Path, Whole};
use super::logits::{Logits, LogitsMut};
use super::px::{BatchShape, Batched};
use super::slot::{Slots, list};
use super::weights::Weighed;
use crate::layers::{Activation, Layer};
use crate::plan::{Fault, Name, output_shape, report};
use crate::shape::size::Phantom;
use crate::shape::walk::Walk;
use ::dfdx::nn::{Module, ModuleMut, ModuleVisitor, TensorCollection};
use ::dfdx::shapes::{Dim, Dtype, HasShape};
use ::dfdx::tensor::{Cpu, CpuError, Tape, Tensor};
use ::dfdx::tensor_ops::{Device, ReshapeTo};
use std::fmt;
use std::marker::PhantomData;

/// The module of the layer `L`, with its weights: pairs of [`super::Slot`]s. With `TRAINABLE = false` it is frozen:
/// dfdx's optimizers pass its weights over, and a batch normalisation stays with its moving statistics.
pub struct Unit<L, W, const TRAINABLE: bool> {
    /// Its weights, in the order of the plan.
    pub weights: W,
    layer: Phantom<L>,
}

/// The shape of a batch behind the layer `L`, which takes a batch of shape `S`.
type Behind<L, S> = <<L as Walk<<S as BatchShape>::Sizes>>::Out as Batched>::Shape<<S as BatchShape>::Batch>;

/// A tensor as rows, one for each position.
pub(super) fn flat<S: BatchShape, T: Tape<f32, Cpu>>(tensor: Tensor<S, f32, Cpu, T>) -> Result<Rows<T>, CpuError> {
    let rows = tensor.shape().batch().size() * positions(&S::Sizes::SIZES);
    tensor.try_reshape_like(&(rows, S::Sizes::SIZES.channels()))
}

/// Rows as a batch of `Sizes`.
pub(super) fn typed<Sizes: Batched, B: Dim, T: Tape<f32, Cpu>>(
    rows: Rows<T>,
    batch: B,
) -> Result<Tensor<Sizes::Shape<B>, f32, Cpu, T>, CpuError> {
    rows.try_reshape_like(&Sizes::shape(batch))
}

/// The shapes around the layer `L` on a batch. A layer that cannot take such maps does not compile.
fn shapes<L: Layer + Walk<In, Out: Batched>, In: Batched>(images: usize) -> Shapes {
    const { check::<L, In>() };
    Shapes { images, input: In::SIZES, output: <L::Out as Batched>::SIZES }
}

const fn check<L: Layer + Walk<In, Out: Batched>, In: Batched>() {
    match output_shape(&L::SPEC.op, In::SIZES) {
        Ok(shape) => {
            assert!(shape.same(&<L::Out as Batched>::SIZES), "the plan's shapes are those of the types");
        }
        Err(kind) => {
            let fault = Fault { name: Name::Given(L::SPEC.op.kind()), layer: 0, input: In::SIZES, kind };
            report("these modules", &Some(fault), None);
        }
    }
}

impl<L: Layer, W: Slots, const TRAINABLE: bool> Unit<L, W, TRAINABLE> {
    /// The layer in inference, with the given activation.
    fn infer<S, T>(
        &self,
        input: Tensor<S, f32, Cpu, T>,
        activation: Activation,
    ) -> Result<Tensor<Behind<L, S>, f32, Cpu, T>, CpuError>
    where
        S: BatchShape,
        T: Tape<f32, Cpu>,
        L: Walk<S::Sizes, Out: Batched>,
    {
        let batch = input.shape().batch();
        let shapes = shapes::<L, S::Sizes>(batch.size());
        let rows = infer(&L::SPEC.op, &list(&self.weights), flat(input)?, shapes)?;
        typed::<L::Out, _, _>(activate(activation, rows)?, batch)
    }

    /// The layer in training, with the given activation.
    fn train<S, T>(
        &mut self,
        input: Tensor<S, f32, Cpu, T>,
        activation: Activation,
    ) -> Result<Tensor<Behind<L, S>, f32, Cpu, T>, CpuError>
    where
        S: BatchShape,
        T: Tape<f32, Cpu>,
        L: Walk<S::Sizes, Out: Batched>,
    {
        if !T::OWNS_TAPE {
            return self.infer(input, activation);
        }
        let batch = input.shape().batch();
        let shapes = shapes::<L, S::Sizes>(batch.size());
        let (rows, updates) = train(&L::SPEC.op, &list(&self.weights), flat(input)?, shapes, TRAINABLE)?;
        updates.iter().for_each(|(role, values)| self.weights.store(*role, values));
        typed::<L::Out, _, _>(activate(activation, rows)?, batch)
    }
}

impl<S, T, L, W, const TRAINABLE: bool> Module<Tensor<S, f32, Cpu, T>> for Unit<L, W, TRAINABLE>
where
    S: BatchShape,
    T: Tape<f32, Cpu>,
    L: Weighed<S::Sizes, Weights = W, Out: Batched>,
    W: Slots,
{
    type Output = Tensor<Behind<L, S>, f32, Cpu, T>;
    type Error = CpuError;

    fn try_forward(&self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, CpuError> {
        self.infer(input, L::SPEC.op.activation())
    }
}

impl<S, T, L, W, const TRAINABLE: bool> ModuleMut<Tensor<S, f32, Cpu, T>> for Unit<L, W, TRAINABLE>
where
    S: BatchShape,
    T: Tape<f32, Cpu>,
    L: Weighed<S::Sizes, Weights = W, Out: Batched>,
    W: Slots,
{
    type Output = Tensor<Behind<L, S>, f32, Cpu, T>;
    type Error = CpuError;

    fn try_forward_mut(&mut self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, CpuError> {
        self.train(input, L::SPEC.op.activation())
    }
}

impl<S, T, L, W, const TRAINABLE: bool> Logits<Tensor<S, f32, Cpu, T>> for Unit<L, W, TRAINABLE>
where
    S: BatchShape,
    T: Tape<f32, Cpu>,
    L: Weighed<S::Sizes, Weights = W, Out: Batched>,
    W: Slots,
{
    fn try_logits(&self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, CpuError> {
        self.infer(input, Activation::Linear)
    }
}

impl<S, T, L, W, const TRAINABLE: bool> LogitsMut<Tensor<S, f32, Cpu, T>> for Unit<L, W, TRAINABLE>
where
    S: BatchShape,
    T: Tape<f32, Cpu>,
    L: Weighed<S::Sizes, Weights = W, Out: Batched>,
    W: Slots,
{
    fn try_logits_mut(&mut self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, CpuError> {
        self.train(input, Activation::Linear)
    }
}

impl<E, D, L, W, const TRAINABLE: bool> TensorCollection<E, D> for Unit<L, W, TRAINABLE>
where
    E: Dtype,
    D: Device<E>,
    L: Layer,
    W: Leaves<E, D>,
{
    type To<E2: Dtype, D2: Device<E2>> = Unit<L, W::To<E2, D2>, TRAINABLE>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(visitor: &mut V) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        Self::visit(visitor, &mut Labels::new(&mut std::iter::empty()), Whole)
    }
}

impl<E, D, L, W, const TRAINABLE: bool> Leaves<E, D> for Unit<L, W, TRAINABLE>
where
    E: Dtype,
    D: Device<E>,
    L: Layer,
    W: Leaves<E, D>,
{
    fn visit<Root, V>(
        visitor: &mut V,
        labels: &mut Labels<'_>,
        path: impl Path<Root, Part = Self>,
    ) -> Made<Self, E, D, Root, V>
    where
        Root: TensorCollection<E, D>,
        V: ModuleVisitor<Root, E, D>,
    {
        let mut labels = labels.of_layer(L::SPEC.initializers, TRAINABLE);
        let weights = W::visit(visitor, &mut labels, ToWeights(path))?;
        Ok(weights.map(|weights| Unit { weights, layer: PhantomData }))
    }
}

/// From a layer's module at the end of `P` to its weights.
#[derive(Clone, Copy)]
struct ToWeights<P>(P);

impl<Root, L, W, P, const TRAINABLE: bool> Path<Root> for ToWeights<P>
where
    L: 'static,
    W: 'static,
    P: Path<Root, Part = Unit<L, W, TRAINABLE>>,
{
    type Part = W;

    fn of(self, root: &Root) -> &W {
        &self.0.of(root).weights
    }

    fn of_mut(self, root: &mut Root) -> &mut W {
        &mut self.0.of_mut(root).weights
    }
}

impl<L, W: Clone, const TRAINABLE: bool> Clone for Unit<L, W, TRAINABLE> {
    fn clone(&self) -> Self {
        Unit { weights: self.weights.clone(), layer: PhantomData }
    }
}

impl<L: Layer, W: fmt::Debug, const TRAINABLE: bool> fmt::Debug for Unit<L, W, TRAINABLE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(L::SPEC.op.kind()).field("weights", &self.weights).finish()
    }
}
