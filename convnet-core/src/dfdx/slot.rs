//! The weights of a layer: pairs of [`Slot`]s, each of which holds one tensor, or none where the layer has no such
//! weight.

use super::compute::Weights;
use super::first_values::reset;
use super::identity::Identity;
use super::leaves::{Labels, Leaves, Made, Path, Whole};
use crate::plan::InitializerKind;
use crate::shape::size::Phantom;
use ::dfdx::nn::{ModuleVisitor, TensorCollection, TensorOptions};
use ::dfdx::shapes::{ConstShape, Dtype, HasShape};
use ::dfdx::tensor::{Cpu, Storage, Tensor};
use ::dfdx::tensor_ops::{Device, ReshapeTo};
use std::fmt;
use std::marker::PhantomData;

/// What a weight is to its layer.
pub trait Role: 'static {
    /// Its number (see [`crate::layers::settings`]).
    const NUMBER: usize;
    /// Its name in the plan.
    const NAME: &'static str;
    /// How it starts if nothing else is said.
    const USUAL: InitializerKind;
    /// Whether training changes it by its gradient.
    const TRAINED: bool;
}

macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident: $number:literal, $name:literal, $usual:ident, $trained:literal;)*) => {$(
        $(#[$doc])*
        pub struct $role;

        impl Role for $role {
            const NUMBER: usize = $number;
            const NAME: &'static str = $name;
            const USUAL: InitializerKind = InitializerKind::$usual;
            const TRAINED: bool = $trained;
        }
    )*};
}

roles! {
    /// A kernel.
    Kernel: 0, "kernel", GlorotUniform, true;
    /// A bias.
    Bias: 1, "bias", Zeros, true;
    /// The first kernel of a separable convolution.
    DepthwiseKernel: 0, "depthwise_kernel", GlorotUniform, true;
    /// The second kernel of a separable convolution.
    PointwiseKernel: 1, "pointwise_kernel", GlorotUniform, true;
    /// The bias of a separable convolution.
    SeparableBias: 2, "bias", Zeros, true;
    /// The factors of a batch normalisation.
    Gamma: 0, "gamma", Ones, true;
    /// The offsets of a batch normalisation.
    Beta: 1, "beta", Zeros, true;
    /// What a batch normalisation remembers of its channels' means.
    MovingMean: 2, "moving_mean", Zeros, false;
    /// What a batch normalisation remembers of its channels' variances.
    MovingVariance: 3, "moving_variance", Ones, false;
}

/// The weight of role `R` and shape `S`, if it is `THERE`.
pub struct Slot<R, S: ConstShape, const THERE: bool = true, E: Dtype = f32, D: Storage<E> = Cpu> {
    tensor: Option<Tensor<S, E, D>>,
    role: Phantom<R>,
}

impl<R, S: ConstShape, const THERE: bool, E: Dtype, D: Storage<E>> Slot<R, S, THERE, E, D> {
    /// The weight in Keras's layout; `None` for a layer without it.
    pub fn tensor(&self) -> Option<&Tensor<S, E, D>> {
        self.tensor.as_ref()
    }
}

/// All weights of a layer, as matrices.
pub trait Slots {
    /// Puts each weight in the place of its role.
    #[doc(hidden)]
    fn collect(&self, weights: &mut Weights);

    /// Gives the weight of a role new values.
    #[doc(hidden)]
    fn store(&mut self, role: usize, values: &[f32]);
}

/// The weights by their roles.
pub(super) fn list(slots: &impl Slots) -> Weights {
    let mut weights = Weights::default();
    slots.collect(&mut weights);
    weights
}

impl Slots for Identity {
    fn collect(&self, _: &mut Weights) {}

    fn store(&mut self, _: usize, _: &[f32]) {}
}

impl<A: Slots, B: Slots> Slots for (A, B) {
    fn collect(&self, weights: &mut Weights) {
        self.0.collect(weights);
        self.1.collect(weights);
    }

    fn store(&mut self, role: usize, values: &[f32]) {
        self.0.store(role, values);
        self.1.store(role, values);
    }
}

impl<R: Role, S: ConstShape, const THERE: bool> Slots for Slot<R, S, THERE> {
    fn collect(&self, weights: &mut Weights) {
        if let Some(tensor) = &self.tensor {
            let sizes: Vec<usize> = tensor.shape().concrete().into();
            let columns = sizes[sizes.len() - 1];
            let rows = sizes[..sizes.len() - 1].iter().product();
            // A weight is contiguous: this moves nothing, and what is computed with it has the weight's gradient.
            weights[R::NUMBER] = Some(tensor.clone().reshape_like(&(rows, columns)));
        }
    }

    fn store(&mut self, role: usize, values: &[f32]) {
        if let (Some(tensor), true) = (&mut self.tensor, role == R::NUMBER) {
            tensor.copy_from(values);
        }
    }
}

impl<R, S, const THERE: bool, E, D> TensorCollection<E, D> for Slot<R, S, THERE, E, D>
where
    R: Role,
    S: ConstShape,
    E: Dtype,
    D: Device<E>,
{
    type To<E2: Dtype, D2: Device<E2>> = Slot<R, S, THERE, E2, D2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(visitor: &mut V) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        Self::visit(visitor, &mut Labels::new(&mut std::iter::empty()), Whole)
    }
}

impl<R, S, const THERE: bool, E, D> Leaves<E, D> for Slot<R, S, THERE, E, D>
where
    R: Role,
    S: ConstShape,
    E: Dtype,
    D: Device<E>,
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
        const THERE_IS_ONE: &str = "a slot that is THERE is only made below, with a tensor";
        if !THERE {
            return Ok(Some(Slot { tensor: None, role: PhantomData }));
        }
        let reset = reset(labels.initializers[R::NUMBER].unwrap_or(R::USUAL));
        let options = if labels.trainable && R::TRAINED {
            TensorOptions::reset_with(reset)
        } else {
            TensorOptions::detached(reset)
        };
        let tensor = visitor.visit_tensor(
            &labels.key(R::NAME),
            |root| path.of(root).tensor.as_ref().expect(THERE_IS_ONE),
            |root| path.of_mut(root).tensor.as_mut().expect(THERE_IS_ONE),
            options,
        )?;
        Ok(tensor.map(|tensor| Slot { tensor: Some(tensor), role: PhantomData }))
    }
}

impl<R, S: ConstShape, const THERE: bool, E: Dtype, D: Storage<E>> Clone for Slot<R, S, THERE, E, D> {
    fn clone(&self) -> Self {
        Slot { tensor: self.tensor.clone(), role: PhantomData }
    }
}

impl<R: Role, S: ConstShape, const THERE: bool, E: Dtype, D: Storage<E>> fmt::Debug for Slot<R, S, THERE, E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(R::NAME).field(&self.tensor).finish()
    }
}
