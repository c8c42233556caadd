//! Typed sizes in dfdx's shapes, and tensors of a network's own shapes.
//!
//! dfdx on stable Rust cannot compute with its `Const<N>`; typenum can compute with its digits. [`Px`] makes those
//! digits a dimension of dfdx, and [`Batched`] a network's input or output, `(height, width, channels)` or
//! `(features,)`, a dfdx shape with the batch in front. [`TensorsOf`] builds such tensors from plain values, and
//! [`IntoPx`] turns a tensor with `Const` sizes (which is what dfdx makes of an array) into one of them.

use super::build::Buildable;
use crate::error::{Error, Result};
use crate::shape::size::Phantom;
use ::dfdx::shapes::{Const, ConstDim, Dim, HasShape, Shape};
use ::dfdx::tensor::{Cpu, NoneTape, Tape, Tensor, TensorFromVec};
use ::dfdx::tensor_ops::ReshapeTo;
use std::fmt;
use typenum::{ToUInt, U, Unsigned};

/// A dimension of size `N`, a typenum number: `Px<U28>`.
pub struct Px<N>(Phantom<N>);

impl<N> Px<N> {
    /// The only value there is.
    pub const fn new() -> Self {
        Px(std::marker::PhantomData)
    }
}

impl<N> Clone for Px<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Px<N> {}

impl<N> Default for Px<N> {
    fn default() -> Self {
        Px::new()
    }
}

impl<N> PartialEq for Px<N> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<N> Eq for Px<N> {}

impl<N: Unsigned> fmt::Debug for Px<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Px<{}>", N::USIZE)
    }
}

impl<N: Unsigned> Dim for Px<N> {
    fn size(&self) -> usize {
        N::USIZE
    }

    fn from_size(size: usize) -> Option<Self> {
        (size == N::USIZE).then_some(Px::new())
    }
}

impl<N: Unsigned> ConstDim for Px<N> {
    const SIZE: usize = N::USIZE;
}

/// A tuple of typenum numbers, `(height, width, channels)` or `(features,)`, as a dfdx shape behind a batch.
pub trait Batched {
    /// `(B, Px<height>, Px<width>, Px<channels>)` or `(B, Px<features>)`.
    type Shape<B: Dim>: Shape;
    /// The sizes as numbers.
    const SIZES: crate::shape::Shape;

    /// The shape of a batch of `batch`.
    fn shape<B: Dim>(batch: B) -> Self::Shape<B>;
}

impl<N: Unsigned> Batched for (N,) {
    type Shape<B: Dim> = (B, Px<N>);
    const SIZES: crate::shape::Shape = crate::shape::Shape::vector(N::USIZE);

    fn shape<B: Dim>(batch: B) -> Self::Shape<B> {
        (batch, Px::new())
    }
}

impl<H: Unsigned, W: Unsigned, C: Unsigned> Batched for (H, W, C) {
    type Shape<B: Dim> = (B, Px<H>, Px<W>, Px<C>);
    const SIZES: crate::shape::Shape = crate::shape::Shape::map(H::USIZE, W::USIZE, C::USIZE);

    fn shape<B: Dim>(batch: B) -> Self::Shape<B> {
        (batch, Px::new(), Px::new(), Px::new())
    }
}

/// A dfdx shape that is a batch of maps or vectors with [`Px`] sizes.
#[diagnostic::on_unimplemented(
    message = "this is no shape of a batch of maps or vectors",
    note = "sizes are `Px<U28>`, channels last, behind the batch"
)]
pub trait BatchShape: Shape {
    /// The batch.
    type Batch: Dim;
    /// The sizes behind it as typenum numbers.
    type Sizes: Batched;

    /// The batch.
    fn batch(&self) -> Self::Batch;
}

impl<B: Dim, N: Unsigned> BatchShape for (B, Px<N>) {
    type Batch = B;
    type Sizes = (N,);

    fn batch(&self) -> B {
        self.0
    }
}

impl<B: Dim, H: Unsigned, W: Unsigned, C: Unsigned> BatchShape for (B, Px<H>, Px<W>, Px<C>) {
    type Batch = B;
    type Sizes = (H, W, C);

    fn batch(&self) -> B {
        self.0
    }
}

/// A dfdx shape that is a batch of `Sizes`, `(height, width, channels)` or `(features,)` in typenum numbers.
#[diagnostic::on_unimplemented(
    message = "this tensor does not have the shape of the network's input",
    label = "not a batch of the network's input",
    note = "a network `N` takes `InputOf<N, B>`: the batch, then the sizes of its `Input`, channels last"
)]
pub trait BatchOf<Sizes>: BatchShape<Sizes = Sizes, Batch = <Self as BatchOf<Sizes>>::Of> {
    /// The batch once more: what asks for it here says of a wrong tensor what stands above, and nothing else.
    type Of: Dim;
}

impl<B: Dim, N: Unsigned> BatchOf<(N,)> for (B, Px<N>) {
    type Of = B;
}

impl<B: Dim, H: Unsigned, W: Unsigned, C: Unsigned> BatchOf<(H, W, C)> for (B, Px<H>, Px<W>, Px<C>) {
    type Of = B;
}

/// A batch of inputs of the network `N`: the batch is `usize`, or `Const<64>` to have it checked, too.
pub type InputOf<N, B = usize, T = NoneTape> =
    Tensor<<<N as Buildable>::InputDigits as Batched>::Shape<B>, f32, Cpu, T>;

/// A batch of outputs of the network `N`.
pub type OutputOf<N, B = usize, T = NoneTape> =
    Tensor<<<N as Buildable>::OutputDigits as Batched>::Shape<B>, f32, Cpu, T>;

/// Makes tensors of a network's shapes on the device: `dev.inputs::<Digits, _>(64, pixels)?`.
pub trait TensorsOf {
    /// A batch of inputs from their values, image after image, channels last.
    ///
    /// # Errors
    /// [`Error::Data`] if there are not exactly `batch` inputs' worth of values.
    fn inputs<N: Buildable, B: Dim>(&self, batch: B, values: Vec<f32>) -> Result<InputOf<N, B>>;

    /// A batch of outputs (targets of a loss) from their values, row after row.
    ///
    /// # Errors
    /// [`Error::Data`] if there are not exactly `batch` outputs' worth of values.
    fn outputs<N: Buildable, B: Dim>(&self, batch: B, values: Vec<f32>) -> Result<OutputOf<N, B>>;

    /// A batch of one-hot targets: row `i` is 1 at `classes[i]` and 0 elsewhere.
    ///
    /// # Errors
    /// [`Error::Data`] if there are not exactly `batch` classes, or if one of them is not below the number of outputs.
    fn one_hot<N: Buildable, B: Dim>(&self, batch: B, classes: &[usize]) -> Result<OutputOf<N, B>>;
}

impl TensorsOf for Cpu {
    fn inputs<N: Buildable, B: Dim>(&self, batch: B, values: Vec<f32>) -> Result<InputOf<N, B>> {
        tensor(self, "values of a batch of inputs", N::InputDigits::shape(batch), values)
    }

    fn outputs<N: Buildable, B: Dim>(&self, batch: B, values: Vec<f32>) -> Result<OutputOf<N, B>> {
        tensor(self, "values of a batch of outputs", N::OutputDigits::shape(batch), values)
    }

    fn one_hot<N: Buildable, B: Dim>(&self, batch: B, classes: &[usize]) -> Result<OutputOf<N, B>> {
        let wrong = |what: &str, expected, found: usize| {
            Err(Error::Data { what: what.to_owned(), expected, found: found.to_string() })
        };
        if classes.len() != batch.size() {
            return wrong("classes of a batch", batch.size().to_string(), classes.len());
        }
        let outputs = N::OutputDigits::shape(1).num_elements();
        if let Some(&class) = classes.iter().find(|&&class| class >= outputs) {
            return wrong("class", format!("less than {outputs}"), class);
        }
        let mut values = vec![0.0; outputs * classes.len()];
        for (row, &class) in values.chunks_exact_mut(outputs).zip(classes) {
            row[class] = 1.0;
        }
        self.outputs::<N, B>(batch, values)
    }
}

fn tensor<S: Shape>(device: &Cpu, what: &str, shape: S, values: Vec<f32>) -> Result<Tensor<S, f32, Cpu>> {
    let found = values.len();
    device.try_tensor_from_vec(values, shape).map_err(|_| Error::Data {
        what: what.to_owned(),
        expected: format!("{} for shape {:?}", shape.num_elements(), shape.concrete()),
        found: found.to_string(),
    })
}

/// Turns the `Const` sizes that dfdx gives an array into [`Px`] ones: `dev.tensor([[[[0.5]; 28]; 28]; 64]).into_px()`.
/// Costs nothing; the batch and the tape stay. For the sizes that typenum's table holds (0 to 1024 and some beyond).
pub trait IntoPx {
    /// The tensor with [`Px`] sizes.
    type Out;

    /// The same tensor.
    fn into_px(self) -> Self::Out;
}

impl<B: Dim, const N: usize, T: Tape<f32, Cpu>> IntoPx for Tensor<(B, Const<N>), f32, Cpu, T>
where
    typenum::Const<N>: ToUInt,
    U<N>: Unsigned,
{
    type Out = Tensor<(B, Px<U<N>>), f32, Cpu, T>;

    fn into_px(self) -> Self::Out {
        let batch = self.shape().0;
        self.reshape_like(&(batch, Px::new()))
    }
}

impl<B: Dim, const H: usize, const W: usize, const C: usize, T: Tape<f32, Cpu>> IntoPx
    for Tensor<(B, Const<H>, Const<W>, Const<C>), f32, Cpu, T>
where
    typenum::Const<H>: ToUInt,
    typenum::Const<W>: ToUInt,
    typenum::Const<C>: ToUInt,
    U<H>: Unsigned,
    U<W>: Unsigned,
    U<C>: Unsigned,
{
    type Out = Tensor<(B, Px<U<H>>, Px<U<W>>, Px<U<C>>), f32, Cpu, T>;

    fn into_px(self) -> Self::Out {
        let batch = self.shape().0;
        self.reshape_like(&(batch, Px::new(), Px::new(), Px::new()))
    }
}
