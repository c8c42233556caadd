//! Kernels and biases: the part of a module that has tensors, the same for every layer that has any.

use super::leaves::{Leaves, Made, Path, Whole};
use super::op::add_bias;
use super::px::Px;
use crate::shape::size::Phantom;
use ::dfdx::nn::{ModuleVisitor, NonMutableModule, TensorCollection, TensorOptions};
use ::dfdx::shapes::{ConstShape, Dtype, HasShape, Shape};
use ::dfdx::tensor::{Cpu, CpuError, Storage, Tape, Tensor};
use ::dfdx::tensor_ops::Device;
use rand_08::Rng;
use rand_08::distributions::{Distribution, Uniform};
use std::fmt;
use std::marker::PhantomData;
use typenum::Unsigned;

/// The module of the layer `L`, with a kernel of shape `K` and a bias of `N` values.
pub struct Weights<L, K, N, const USE_BIAS: bool, E: Dtype = f32, D: Storage<E> = Cpu>
where
    K: ConstShape,
    N: Unsigned,
{
    /// In Keras's layout: `(kernel height, kernel width, input channels, filters)` or `(features, units)`.
    pub kernel: Tensor<K, E, D>,
    bias: Option<Tensor<(Px<N>,), E, D>>,
    layer: Phantom<L>,
}

impl<L, K: ConstShape, N: Unsigned, const USE_BIAS: bool, E: Dtype, D: Storage<E>> Weights<L, K, N, USE_BIAS, E, D> {
    /// One value for each filter or unit; none with `use_bias = false`.
    pub fn bias(&self) -> Option<&Tensor<(Px<N>,), E, D>> {
        self.bias.as_ref()
    }
}

impl<L, K: ConstShape, N: Unsigned, const USE_BIAS: bool> Weights<L, K, N, USE_BIAS> {
    /// Adds the bias, if there is one, along the input's last axis.
    pub(super) fn add_bias<S: Shape, T: Tape<f32, Cpu>>(
        &self,
        input: Tensor<S, f32, Cpu, T>,
    ) -> Result<Tensor<S, f32, Cpu, T>, CpuError> {
        match &self.bias {
            Some(bias) => add_bias(input, bias),
            None => Ok(input),
        }
    }
}

impl<L, K, N, const USE_BIAS: bool, E, D> TensorCollection<E, D> for Weights<L, K, N, USE_BIAS, E, D>
where
    L: 'static,
    K: ConstShape,
    N: Unsigned,
    E: Dtype,
    D: Device<E>,
{
    type To<E2: Dtype, D2: Device<E2>> = Weights<L, K, N, USE_BIAS, E2, D2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(visitor: &mut V) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        let mut keys = ["kernel", "bias"].into_iter().map(str::to_owned);
        Self::visit(visitor, &mut keys, Whole)
    }
}

impl<L, K, N, const USE_BIAS: bool, E, D> Leaves<E, D> for Weights<L, K, N, USE_BIAS, E, D>
where
    L: 'static,
    K: ConstShape,
    N: Unsigned,
    E: Dtype,
    D: Device<E>,
{
    fn visit<Root, V>(
        visitor: &mut V,
        keys: &mut dyn Iterator<Item = String>,
        path: impl Path<Root, Part = Self>,
    ) -> Made<Self, E, D, Root, V>
    where
        Root: TensorCollection<E, D>,
        V: ModuleVisitor<Root, E, D>,
    {
        const MADE_WITH_BIAS: &str = "weights with USE_BIAS are only made below, with a bias";
        let mut key = |name: &str| keys.next().unwrap_or_else(|| name.to_owned());
        let kernel = visitor.visit_tensor(
            &key("kernel"),
            |root| &path.of(root).kernel,
            |root| &mut path.of_mut(root).kernel,
            TensorOptions::reset_with(glorot_uniform),
        )?;
        let bias = if USE_BIAS {
            let bias = visitor.visit_tensor(
                &key("bias"),
                |root| path.of(root).bias.as_ref().expect(MADE_WITH_BIAS),
                |root| path.of_mut(root).bias.as_mut().expect(MADE_WITH_BIAS),
                TensorOptions::reset_to_zeros(),
            )?;
            bias.map(Some)
        } else {
            Some(None)
        };
        Ok(kernel.zip(bias).map(|(kernel, bias)| Weights { kernel, bias, layer: PhantomData }))
    }
}

impl<L, K: ConstShape, N: Unsigned, const USE_BIAS: bool> NonMutableModule for Weights<L, K, N, USE_BIAS> {}

impl<L, K, N, const USE_BIAS: bool, E, D> Clone for Weights<L, K, N, USE_BIAS, E, D>
where
    K: ConstShape,
    N: Unsigned,
    E: Dtype,
    D: Storage<E>,
{
    fn clone(&self) -> Self {
        Weights { kernel: self.kernel.clone(), bias: self.bias.clone(), layer: PhantomData }
    }
}

impl<L, K, N, const USE_BIAS: bool, E, D> fmt::Debug for Weights<L, K, N, USE_BIAS, E, D>
where
    K: ConstShape,
    N: Unsigned,
    E: Dtype,
    D: Storage<E>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights").field("kernel", &self.kernel).field("bias", &self.bias).finish()
    }
}

/// Fills a kernel `(…, inputs, outputs)` from U(±√(6 / (fan_in + fan_out))), where the sizes in front of the last two
/// multiply both fans (Glorot & Bengio 2010; Keras's `glorot_uniform`).
fn glorot_uniform<K: ConstShape, E: Dtype, D: Device<E>>(kernel: &mut Tensor<K, E, D>) -> Result<(), D::Err> {
    let sizes: Vec<usize> = kernel.shape().concrete().into();
    let (taps, fans) = sizes.split_at(sizes.len().saturating_sub(2));
    let fans = taps.iter().product::<usize>() * fans.iter().sum::<usize>();
    let limit = (6.0 / fans as f64).sqrt();
    kernel.try_fill_with_distr(Converted(Uniform::new(-limit, limit)))
}

/// A distribution over `f64`, rounded to the tensor's numbers.
struct Converted(Uniform<f64>);

impl<E: Dtype> Distribution<E> for Converted {
    fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> E {
        // Every float type has a nearest number here; only integers, for which dfdx has no devices, might not.
        E::from_f64(self.0.sample(rng)).unwrap_or_default()
    }
}
