//! One layer as a dfdx module.
//!
//! [`Unit`] is where types meet numbers: the layer's type says what it computes, its weights say how large it is, and
//! [`super::compute`] does the work on plain matrices.

use super::compute::{Rows, Shapes, activate, infer, train};
use super::leaves::{Labels, Leaves, Made, Path, Whole};
use super::px::{BatchShape, Batched};
use super::run::{Behind, Flow, Run, TensorOf, typed_module};
use super::slot::{Slots, list};
use super::weights::Weighed;
use crate::layers::{Activation, Layer, Op};
use crate::plan::{Fault, Name, output_shape, report};
use crate::shape::Shape;
use crate::shape::size::Phantom;
use crate::shape::walk::Walk;
use ::dfdx::nn::{ModuleVisitor, TensorCollection};
use ::dfdx::shapes::{Dtype, HasShape};
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

/// Stops the compilation where the layer `L` cannot take the sizes `In`, or has others behind it than the types say.
const fn check<L: Layer + Walk<In, Out: Batched>, In: Batched>() {
    match output_shape(&L::SPEC.op, In::SIZES) {
        Ok(shape) => assert!(shape.same(&<L::Out as Batched>::SIZES), "the plan's shapes are those of the types"),
        Err(kind) => {
            let fault = Fault { name: Name::Given(L::SPEC.op.kind()), layer: 0, input: In::SIZES, kind };
            report("dfdx module", &Some(fault), None);
        }
    }
}

impl<In, L, W, const TRAINABLE: bool> Behind<In> for Unit<L, W, TRAINABLE>
where
    In: Batched,
    L: Weighed<In, Weights = W, Out: Batched>,
{
    type Out = L::Out;
    const FITS: () = check::<L, In>();
}

typed_module! { [L: Layer, W: Slots, const TRAINABLE: bool] Unit<L, W, TRAINABLE> }

impl<L: Layer, W: Slots, const TRAINABLE: bool> Run for Unit<L, W, TRAINABLE> {
    fn run<T: Tape<f32, Cpu>>(&self, flow: Flow<T>, logits: bool) -> Result<Flow<T>, CpuError> {
        let shapes = shapes(&L::SPEC.op, flow.images, flow.shape);
        finish(&L::SPEC.op, infer(&L::SPEC.op, &list(&self.weights), flow.rows, shapes)?, shapes, logits)
    }

    fn run_mut<T: Tape<f32, Cpu>>(&mut self, flow: Flow<T>, logits: bool) -> Result<Flow<T>, CpuError> {
        if !T::OWNS_TAPE {
            return self.run(flow, logits);
        }
        let shapes = shapes(&L::SPEC.op, flow.images, flow.shape);
        let (rows, updates) = train(&L::SPEC.op, &list(&self.weights), flow.rows, shapes, TRAINABLE)?;
        updates.iter().for_each(|(role, values)| self.weights.store(*role, values));
        finish(&L::SPEC.op, rows, shapes, logits)
    }
}

/// The shapes around a layer.
fn shapes(op: &Op, images: usize, input: Shape) -> Shapes {
    let output = output_shape(op, input).expect("a layer that cannot take its input does not compile");
    Shapes { images, input, output }
}

/// What is left to do behind a layer: its activation, unless logits are wanted, and the shape of its output.
fn finish<T: Tape<f32, Cpu>>(op: &Op, rows: Rows<T>, shapes: Shapes, logits: bool) -> Result<Flow<T>, CpuError> {
    let activation = if logits { Activation::Linear } else { op.activation() };
    let rows = activate(activation, rows)?.try_reshape_like(&shapes.output_rows())?;
    Ok(Flow { rows, images: shapes.images, shape: shapes.output })
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
