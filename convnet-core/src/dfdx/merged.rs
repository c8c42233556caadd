//! `Add` and `Concatenate` as dfdx modules: each branch runs on the input with a tape of its own, then the tapes are
//! joined, as dfdx's own `Residual` and `SplitInto` do. (dfdx sorts the steps of joined tapes by their time.)

use super::compute::{Rows, add, operation, positions, values};
use super::identity::Identity;
use super::leaves::{Labels, Leaves, Made, Path};
use super::logits::{Logits, LogitsMut};
use super::px::{BatchShape, Batched};
use super::unit::{flat, typed};
use crate::layers::Op;
use crate::layers::composition::{MergeKind, Merges};
use crate::plan::{Fault, FaultKind, MAX_BRANCHES, Name, merged_shape, report};
use crate::shape::Shape;
use crate::shape::size::Phantom;
use ::dfdx::nn::{Module, ModuleMut, ModuleVisitor, TensorCollection};
use ::dfdx::shapes::{Dim, Dtype, HasShape};
use ::dfdx::tensor::{Cpu, CpuError, PutTape, SplitTape, Tape, Tensor};
use ::dfdx::tensor_ops::Device;
use std::fmt;
use std::marker::PhantomData;

/// Branches merged by `K`, their modules as pairs: `(first, (second, (…, Identity)))`.
pub struct Merged<K, P> {
    /// The branches' modules.
    pub paths: P,
    kind: Phantom<K>,
}

/// Branches that run on the same input, one after the other.
pub trait Branches<Input, T> {
    /// The sizes behind them, as a list `(First, (Second, (…, ())))`.
    type Sizes;

    /// Appends what each branch makes of the input to `outputs`, and what they do to the tape.
    ///
    /// # Errors
    /// dfdx's, when memory runs out.
    fn run(&self, input: &Input, tape: T, outputs: &mut Vec<Rows>) -> Result<T, CpuError>;
}

/// [`Branches`] in training.
pub trait BranchesMut<Input, T> {
    /// As [`Branches::Sizes`].
    type Sizes;

    /// As [`Branches::run`].
    ///
    /// # Errors
    /// dfdx's, when memory runs out.
    fn run_mut(&mut self, input: &Input, tape: T, outputs: &mut Vec<Rows>) -> Result<T, CpuError>;
}

impl<Input, T> Branches<Input, T> for Identity {
    type Sizes = ();

    fn run(&self, _: &Input, tape: T, _: &mut Vec<Rows>) -> Result<T, CpuError> {
        Ok(tape)
    }
}

impl<Input, T> BranchesMut<Input, T> for Identity {
    type Sizes = ();

    fn run_mut(&mut self, _: &Input, tape: T, _: &mut Vec<Rows>) -> Result<T, CpuError> {
        Ok(tape)
    }
}

impl<S, Out, T, A, Rest> Branches<Tensor<S, f32, Cpu>, T> for (A, Rest)
where
    S: BatchShape,
    Out: BatchShape,
    T: Tape<f32, Cpu>,
    A: Module<Tensor<S, f32, Cpu, T>, Output = Tensor<Out, f32, Cpu, T>, Error = CpuError>,
    Rest: Branches<Tensor<S, f32, Cpu>, T>,
{
    type Sizes = (Out::Sizes, Rest::Sizes);

    fn run(&self, input: &Tensor<S, f32, Cpu>, tape: T, outputs: &mut Vec<Rows>) -> Result<T, CpuError> {
        let output = self.0.try_forward(input.clone().put_tape(T::default()))?;
        let tape = collect(output, tape, outputs)?;
        self.1.run(input, tape, outputs)
    }
}

impl<S, Out, T, A, Rest> BranchesMut<Tensor<S, f32, Cpu>, T> for (A, Rest)
where
    S: BatchShape,
    Out: BatchShape,
    T: Tape<f32, Cpu>,
    A: ModuleMut<Tensor<S, f32, Cpu, T>, Output = Tensor<Out, f32, Cpu, T>, Error = CpuError>,
    Rest: BranchesMut<Tensor<S, f32, Cpu>, T>,
{
    type Sizes = (Out::Sizes, Rest::Sizes);

    fn run_mut(&mut self, input: &Tensor<S, f32, Cpu>, tape: T, outputs: &mut Vec<Rows>) -> Result<T, CpuError> {
        let output = self.0.try_forward_mut(input.clone().put_tape(T::default()))?;
        let tape = collect(output, tape, outputs)?;
        self.1.run_mut(input, tape, outputs)
    }
}

/// Appends a branch's output, and its tape to that of the branches before it.
fn collect<Out: BatchShape, T: Tape<f32, Cpu>>(
    output: Tensor<Out, f32, Cpu, T>,
    tape: T,
    outputs: &mut Vec<Rows>,
) -> Result<T, CpuError> {
    let (rows, branch) = flat(output)?.split_tape();
    outputs.push(rows);
    Ok(tape.merge(branch))
}

/// A list of sizes, `(First, (Second, (…, ())))`.
pub trait SizesList {
    /// The sizes as shapes, and how many they are.
    const SHAPES: ([Shape; MAX_BRANCHES], usize);
}

impl SizesList for () {
    const SHAPES: ([Shape; MAX_BRANCHES], usize) = ([Shape::vector(0); MAX_BRANCHES], 0);
}

impl<First: Batched, Rest: SizesList> SizesList for (First, Rest) {
    const SHAPES: ([Shape; MAX_BRANCHES], usize) = {
        let (rest, count) = Rest::SHAPES;
        let mut shapes = [First::SIZES; MAX_BRANCHES];
        let mut i = 0;
        while i < count {
            shapes[i + 1] = rest[i];
            i += 1;
        }
        (shapes, count + 1)
    };
}

/// The sizes behind a merge of branches with these sizes.
type MergedSizes<K, Sizes> = <K as Merges<Sizes>>::Out;

/// Stops the compilation where branches cannot be merged, or are not as the types say.
const fn check<K: MergeKind + Merges<Sizes, Out: Batched>, Sizes: SizesList>() {
    let (shapes, count) = Sizes::SHAPES;
    match merged_shape(&K::OP, shapes.split_at(count).0) {
        Ok(shape) => assert!(shape.same(&K::Out::SIZES), "the plan's shapes are those of the types"),
        Err(kind) => no_such_merge(K::OP, shapes[0], kind),
    }
}

const fn no_such_merge(op: Op, input: Shape, kind: FaultKind) {
    report("these modules", &Some(Fault { name: Name::Given(op.kind()), layer: 0, input, kind }), None);
}

/// The outputs of the branches merged, typed.
fn merge<K, Sizes, B, T>(batch: B, outputs: &[Rows], tape: T) -> Result<MergedTensor<K, Sizes, B, T>, CpuError>
where
    K: MergeKind + Merges<Sizes, Out: Batched>,
    Sizes: SizesList,
    B: Dim,
    T: Tape<f32, Cpu>,
{
    const { check::<K, Sizes>() };
    let rows = batch.size() * positions(&K::Out::SIZES);
    typed::<K::Out, _, _>(merge_rows(&K::OP, (rows, K::Out::SIZES.channels()), outputs, tape)?, batch)
}

type MergedTensor<K, Sizes, B, T> = Tensor<<MergedSizes<K, Sizes> as Batched>::Shape<B>, f32, Cpu, T>;

/// Each row is the sum of the inputs' rows, or these one behind the other.
fn merge_rows<T: Tape<f32, Cpu>>(
    op: &Op,
    (rows, columns): (usize, usize),
    inputs: &[Rows],
    tape: T,
) -> Result<Rows<T>, CpuError> {
    let mut next = 0;
    // Where each input's columns lie in the result.
    let places: Vec<_> = inputs
        .iter()
        .map(|input| {
            let (width, start) = (input.shape().1, next);
            if matches!(op, Op::Concatenate) {
                next += width;
            }
            start..start + width
        })
        .collect();
    let mut result = vec![0.0; rows * columns];
    for (input, place) in inputs.iter().zip(&places) {
        let values = values(input);
        for (to, from) in result.chunks_exact_mut(columns).zip(values.chunks_exact(place.len())) {
            add(&mut to[place.clone()], from);
        }
    }
    let inputs: Vec<_> = inputs.iter().collect();
    operation(tape, &inputs, (rows, columns), result, move |i, gradient, above| {
        for (to, from) in gradient.chunks_exact_mut(places[i].len()).zip(above.chunks_exact(columns)) {
            add(to, &from[places[i].clone()]);
        }
    })
}

impl<S, T, K, P> Module<Tensor<S, f32, Cpu, T>> for Merged<K, P>
where
    S: BatchShape,
    T: Tape<f32, Cpu>,
    P: Branches<Tensor<S, f32, Cpu>, T, Sizes: SizesList>,
    K: MergeKind + Merges<P::Sizes, Out: Batched>,
{
    type Output = MergedTensor<K, P::Sizes, S::Batch, T>;
    type Error = CpuError;

    fn try_forward(&self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, CpuError> {
        let batch = input.shape().batch();
        let (input, tape) = input.split_tape();
        let mut outputs = Vec::new();
        let tape = self.paths.run(&input, tape, &mut outputs)?;
        merge::<K, P::Sizes, _, _>(batch, &outputs, tape)
    }
}

impl<S, T, K, P> ModuleMut<Tensor<S, f32, Cpu, T>> for Merged<K, P>
where
    S: BatchShape,
    T: Tape<f32, Cpu>,
    P: BranchesMut<Tensor<S, f32, Cpu>, T, Sizes: SizesList>,
    K: MergeKind + Merges<P::Sizes, Out: Batched>,
{
    type Output = MergedTensor<K, P::Sizes, S::Batch, T>;
    type Error = CpuError;

    fn try_forward_mut(&mut self, input: Tensor<S, f32, Cpu, T>) -> Result<Self::Output, CpuError> {
        let batch = input.shape().batch();
        let (input, tape) = input.split_tape();
        let mut outputs = Vec::new();
        let tape = self.paths.run_mut(&input, tape, &mut outputs)?;
        merge::<K, P::Sizes, _, _>(batch, &outputs, tape)
    }
}

/// A merge has no activation; those inside of its branches are not the network's last.
impl<Input, K, P> Logits<Input> for Merged<K, P>
where
    Self: Module<Input>,
{
    fn try_logits(&self, input: Input) -> Result<Self::Output, Self::Error> {
        self.try_forward(input)
    }
}

impl<Input, K, P> LogitsMut<Input> for Merged<K, P>
where
    Self: ModuleMut<Input>,
{
    fn try_logits_mut(&mut self, input: Input) -> Result<Self::Output, Self::Error> {
        self.try_forward_mut(input)
    }
}

impl<E: Dtype, D: Device<E>, K, P: TensorCollection<E, D>> TensorCollection<E, D> for Merged<K, P> {
    type To<E2: Dtype, D2: Device<E2>> = Merged<K, P::To<E2, D2>>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(visitor: &mut V) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(Self::module("paths", |merged| &merged.paths, |merged| &mut merged.paths), |paths| {
            Merged { paths, kind: PhantomData }
        })
    }
}

impl<E: Dtype, D: Device<E>, K: 'static, P: Leaves<E, D>> Leaves<E, D> for Merged<K, P> {
    fn visit<Root, V>(
        visitor: &mut V,
        labels: &mut Labels<'_>,
        path: impl Path<Root, Part = Self>,
    ) -> Made<Self, E, D, Root, V>
    where
        Root: TensorCollection<E, D>,
        V: ModuleVisitor<Root, E, D>,
    {
        let paths = P::visit(visitor, labels, ToPaths(path))?;
        Ok(paths.map(|paths| Merged { paths, kind: PhantomData }))
    }
}

/// From a merge at the end of `Way` to its branches.
#[derive(Clone, Copy)]
struct ToPaths<Way>(Way);

impl<Root, K: 'static, P: 'static, Way: Path<Root, Part = Merged<K, P>>> Path<Root> for ToPaths<Way> {
    type Part = P;

    fn of(self, root: &Root) -> &P {
        &self.0.of(root).paths
    }

    fn of_mut(self, root: &mut Root) -> &mut P {
        &mut self.0.of_mut(root).paths
    }
}

impl<K, P: Clone> Clone for Merged<K, P> {
    fn clone(&self) -> Self {
        Merged { paths: self.paths.clone(), kind: PhantomData }
    }
}

impl<K, P: fmt::Debug> fmt::Debug for Merged<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merged").field("paths", &self.paths).finish()
    }
}
