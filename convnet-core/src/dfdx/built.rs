//! A network as one dfdx module.
//!
//! [`Built`] holds the pairs of modules that dfdx runs, and adds what only the plan knows: the names of the weights
//! (so that dfdx's `save_safetensors` writes `conv2d_1/kernel` and not `0.0.1.kernel`), and their order in the flat
//! buffer that the engines work on.

use super::build::Buildable;
use super::leaves::{Labels, Leaves, Path};
use super::px::{BatchOf, Batched, OutputOf};
use super::run::{Flow, Run};
use crate::error::{Error, Result};
use ::dfdx::nn::{
    Module, ModuleMut, ModuleVisitor, RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorMut,
    ViewTensorRef,
};
use ::dfdx::shapes::{Dtype, HasShape, Shape};
use ::dfdx::tensor::{Cpu, CpuError, Gradients, Tape, Tensor};
use ::dfdx::tensor_ops::Device;
use std::convert::Infallible;
use std::fmt;

/// The network `N` as a dfdx module.
///
/// The modules of its layers are no parameter of this type: their type is as long as the listing, and the name of every
/// function that takes this one would carry it.
pub struct Built<N: Buildable, E: Dtype = f32, D: Device<E> = Cpu> {
    /// The layers' modules, a tree of pairs. They run on maps of any size that fits (a convolutional base does).
    pub layers: LayersOf<N, E, D>,
}

/// The modules of a network's layers, with other numbers or on another device.
type LayersOf<N, E, D> = <<N as Buildable>::Modules as TensorCollection<f32, Cpu>>::To<E, D>;

impl<N: Buildable> Built<N> {
    /// All weights in the order of the network's plan: the flat parameter buffer, bit for bit.
    pub fn to_flat(&self) -> Vec<f32> {
        let mut reader = Reader(Vec::with_capacity(N::PARAMS));
        let Ok(_) = N::Modules::iter_tensors(&mut RecursiveWalker { m: &self.layers, f: &mut reader });
        reader.0
    }

    /// Takes all weights from a flat parameter buffer, bit for bit.
    ///
    /// # Errors
    /// [`Error::Data`] if there are not exactly [`crate::Network::PARAMS`] weights; then nothing has changed.
    pub fn from_flat(&mut self, weights: &[f32]) -> Result<()> {
        if weights.len() != N::PARAMS {
            return Err(Error::Data {
                what: format!("weights of the network `{}`", N::NAME),
                expected: N::PARAMS.to_string(),
                found: weights.len().to_string(),
            });
        }
        let Ok(_) = N::Modules::iter_tensors(&mut RecursiveWalker { m: &mut self.layers, f: &mut Writer(weights) });
        Ok(())
    }

    /// The gradients of all weights in the order of [`Built::to_flat`]; zero for a weight that has none.
    ///
    /// # Errors
    /// dfdx's, when memory runs out.
    pub fn flat_gradients(&self, gradients: &mut Gradients<f32, Cpu>) -> Result<Vec<f32>, CpuError> {
        let mut reader = GradientReader { gradients, flat: Vec::with_capacity(N::PARAMS) };
        N::Modules::iter_tensors(&mut RecursiveWalker { m: &self.layers, f: &mut reader })?;
        Ok(reader.flat)
    }
}

impl<N: Buildable> Built<N> {
    /// What the network computes before the activation of its last layer: what dfdx's losses "with logits" take.
    ///
    /// # Panics
    /// When memory runs out, as dfdx's `forward` does; [`Built::try_logits`] does not.
    pub fn logits<S, T>(&self, input: Tensor<S, f32, Cpu, T>) -> OutputOf<N, S::Batch, T>
    where
        S: BatchOf<N::InputDigits>,
        T: Tape<f32, Cpu>,
    {
        match self.try_logits(input) {
            Ok(output) => output,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// As [`Built::logits`].
    ///
    /// # Errors
    /// dfdx's, when memory runs out.
    pub fn try_logits<S, T>(&self, input: Tensor<S, f32, Cpu, T>) -> Result<OutputOf<N, S::Batch, T>, CpuError>
    where
        S: BatchOf<N::InputDigits>,
        T: Tape<f32, Cpu>,
    {
        self.run(input, true)
    }

    /// [`Built::logits`] in training: on a tape, dropout draws, and batch normalisation uses the statistics of the
    /// batch and remembers them. For a network without such layers the two are the same.
    ///
    /// # Panics
    /// When memory runs out, as dfdx's `forward_mut` does; [`Built::try_logits_mut`] does not.
    pub fn logits_mut<S, T>(&mut self, input: Tensor<S, f32, Cpu, T>) -> OutputOf<N, S::Batch, T>
    where
        S: BatchOf<N::InputDigits>,
        T: Tape<f32, Cpu>,
    {
        match self.try_logits_mut(input) {
            Ok(output) => output,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// As [`Built::logits_mut`].
    ///
    /// # Errors
    /// dfdx's, when memory runs out.
    pub fn try_logits_mut<S, T>(&mut self, input: Tensor<S, f32, Cpu, T>) -> Result<OutputOf<N, S::Batch, T>, CpuError>
    where
        S: BatchOf<N::InputDigits>,
        T: Tape<f32, Cpu>,
    {
        self.run_mut(input, true)
    }

    fn run<S, T>(&self, input: Tensor<S, f32, Cpu, T>, logits: bool) -> Result<OutputOf<N, S::Batch, T>, CpuError>
    where
        S: BatchOf<N::InputDigits>,
        T: Tape<f32, Cpu>,
    {
        const { check::<N>() };
        let batch = input.shape().batch();
        self.layers.run(Flow::of(input)?, logits)?.typed::<N::OutputDigits, _>(batch)
    }

    fn run_mut<S, T>(
        &mut self,
        input: Tensor<S, f32, Cpu, T>,
        logits: bool,
    ) -> Result<OutputOf<N, S::Batch, T>, CpuError>
    where
        S: BatchOf<N::InputDigits>,
        T: Tape<f32, Cpu>,
    {
        const { check::<N>() };
        let batch = input.shape().batch();
        self.layers.run_mut(Flow::of(input)?, logits)?.typed::<N::OutputDigits, _>(batch)
    }
}

/// Stops the compilation where the network is impossible (by its plan), or its types have other shapes than its plan.
const fn check<N: Buildable>() {
    assert!(N::PLAN.input.same(&N::InputDigits::SIZES), "the plan's shapes are those of the types");
    assert!(N::PLAN.output.same(&N::OutputDigits::SIZES), "the plan's shapes are those of the types");
}

impl<N, S, T> Module<Tensor<S, f32, Cpu, T>> for Built<N>
where
    N: Buildable,
    S: BatchOf<N::InputDigits>,
    T: Tape<f32, Cpu>,
{
    type Output = OutputOf<N, S::Batch, T>;
    type Error = CpuError;

    fn try_forward(&self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, Self::Error> {
        self.run(input, false)
    }
}

impl<N, S, T> ModuleMut<Tensor<S, f32, Cpu, T>> for Built<N>
where
    N: Buildable,
    S: BatchOf<N::InputDigits>,
    T: Tape<f32, Cpu>,
{
    type Output = OutputOf<N, S::Batch, T>;
    type Error = CpuError;

    fn try_forward_mut(&mut self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, Self::Error> {
        self.run_mut(input, false)
    }
}

/// The way from a network to its layers.
#[derive(Clone, Copy)]
struct ToLayers;

impl<N: Buildable> Path<Built<N>> for ToLayers {
    type Part = N::Modules;

    fn of(self, built: &Built<N>) -> &N::Modules {
        &built.layers
    }

    fn of_mut(self, built: &mut Built<N>) -> &mut N::Modules {
        &mut built.layers
    }
}

impl<N: Buildable> TensorCollection<f32, Cpu> for Built<N> {
    type To<E2: Dtype, D2: Device<E2>> = Built<N, E2, D2>;

    fn iter_tensors<V: ModuleVisitor<Self, f32, Cpu>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        let mut keys = N::PLAN.weights().map(|(layer, weight)| format!("{}/{}", layer.name, weight.name));
        let layers = N::Modules::visit(visitor, &mut Labels::new(&mut keys), ToLayers)?;
        Ok(layers.map(|layers| Built { layers }))
    }
}

impl<N: Buildable, E: Dtype, D: Device<E>> Clone for Built<N, E, D>
where
    LayersOf<N, E, D>: Clone,
{
    fn clone(&self) -> Self {
        Built { layers: self.layers.clone() }
    }
}

impl<N: Buildable, E: Dtype, D: Device<E>> fmt::Debug for Built<N, E, D>
where
    LayersOf<N, E, D>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built").field("network", &N::NAME).field("layers", &self.layers).finish()
    }
}

/// Collects the weights that it visits.
struct Reader(Vec<f32>);

impl TensorVisitor<f32, Cpu> for Reader {
    type Viewer = ViewTensorRef;
    type Err = Infallible;
    type E2 = f32;
    type D2 = Cpu;

    fn visit<S: Shape>(
        &mut self,
        _: TensorOptions<S, f32, Cpu>,
        tensor: &Tensor<S, f32, Cpu>,
    ) -> Result<Option<Tensor<S, f32, Cpu>>, Infallible> {
        self.0.extend(tensor.as_vec());
        Ok(None)
    }
}

/// Collects the gradients of the weights that it visits.
struct GradientReader<'a> {
    gradients: &'a mut Gradients<f32, Cpu>,
    flat: Vec<f32>,
}

impl TensorVisitor<f32, Cpu> for GradientReader<'_> {
    type Viewer = ViewTensorRef;
    type Err = CpuError;
    type E2 = f32;
    type D2 = Cpu;

    fn visit<S: Shape>(
        &mut self,
        _: TensorOptions<S, f32, Cpu>,
        tensor: &Tensor<S, f32, Cpu>,
    ) -> Result<Option<Tensor<S, f32, Cpu>>, CpuError> {
        self.flat.extend_from_slice(self.gradients.get_or_alloc_mut(tensor)?);
        Ok(None)
    }
}

/// Hands its weights to what it visits. There are enough of them: [`Built::from_flat`] counts.
struct Writer<'a>(&'a [f32]);

impl TensorVisitor<f32, Cpu> for Writer<'_> {
    type Viewer = ViewTensorMut;
    type Err = Infallible;
    type E2 = f32;
    type D2 = Cpu;

    fn visit<S: Shape>(
        &mut self,
        _: TensorOptions<S, f32, Cpu>,
        tensor: &mut Tensor<S, f32, Cpu>,
    ) -> Result<Option<Tensor<S, f32, Cpu>>, Infallible> {
        let (weights, rest) = self.0.split_at(tensor.shape().num_elements());
        tensor.copy_from(weights);
        self.0 = rest;
        Ok(None)
    }
}
