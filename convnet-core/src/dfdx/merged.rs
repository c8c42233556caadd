//! `Add` and `Concatenate` as dfdx modules: each branch runs on the input with a tape of its own, then the tapes are
//! joined, as dfdx's own `Residual` and `SplitInto` do. (dfdx sorts the steps of joined tapes by their time.)

use super::compute::{add, operation, positions, values};
use super::identity::Identity;
use super::leaves::{Labels, Leaves, Made, Path};
use super::px::{BatchShape, Batched};
use super::run::{Behind, Flow, Run, TensorOf, typed_module};
use crate::layers::Op;
use crate::layers::composition::{MergeKind, Merges};
use crate::plan::{Fault, MAX_BRANCHES, Name, merged_shape, report};
use crate::shape::Shape;
use crate::shape::size::Phantom;
use ::dfdx::nn::{ModuleVisitor, TensorCollection};
use ::dfdx::shapes::{Dtype, HasShape};
use ::dfdx::tensor::{Cpu, CpuError, NoneTape, PutTape, SplitTape, Tape, Tensor};
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
pub trait Branches {
    /// Appends what each branch makes of the input to `outputs`, and what they do to the tape.
    #[doc(hidden)]
    fn run_all<T: Tape<f32, Cpu>>(
        &self,
        input: &Fork,
        tape: T,
        outputs: &mut Vec<Flow<NoneTape>>,
    ) -> Result<T, CpuError>;

    /// The same in training.
    #[doc(hidden)]
    fn run_all_mut<T: Tape<f32, Cpu>>(
        &mut self,
        input: &Fork,
        tape: T,
        outputs: &mut Vec<Flow<NoneTape>>,
    ) -> Result<T, CpuError>;
}

/// What all branches begin from.
pub type Fork = Flow<NoneTape>;

impl Branches for Identity {
    fn run_all<T: Tape<f32, Cpu>>(&self, _: &Fork, tape: T, _: &mut Vec<Flow<NoneTape>>) -> Result<T, CpuError> {
        Ok(tape)
    }

    fn run_all_mut<T: Tape<f32, Cpu>>(
        &mut self,
        _: &Fork,
        tape: T,
        _: &mut Vec<Flow<NoneTape>>,
    ) -> Result<T, CpuError> {
        Ok(tape)
    }
}

impl<A: Run, Rest: Branches> Branches for (A, Rest) {
    fn run_all<T: Tape<f32, Cpu>>(
        &self,
        input: &Fork,
        tape: T,
        outputs: &mut Vec<Flow<NoneTape>>,
    ) -> Result<T, CpuError> {
        let tape = collect(self.0.run(fork(input), false)?, tape, outputs);
        self.1.run_all(input, tape, outputs)
    }

    fn run_all_mut<T: Tape<f32, Cpu>>(
        &mut self,
        input: &Fork,
        tape: T,
        outputs: &mut Vec<Flow<NoneTape>>,
    ) -> Result<T, CpuError> {
        let tape = collect(self.0.run_mut(fork(input), false)?, tape, outputs);
        self.1.run_all_mut(input, tape, outputs)
    }
}

/// The input of a branch, with a tape of its own.
fn fork<T: Tape<f32, Cpu>>(input: &Fork) -> Flow<T> {
    Flow { rows: input.rows.clone().put_tape(T::default()), images: input.images, shape: input.shape }
}

/// Appends a branch's output, and its tape to that of the branches before it.
fn collect<T: Tape<f32, Cpu>>(output: Flow<T>, tape: T, outputs: &mut Vec<Flow<NoneTape>>) -> T {
    let (rows, branch) = output.rows.split_tape();
    outputs.push(Flow { rows, images: output.images, shape: output.shape });
    tape.merge(branch)
}

impl<K: MergeKind, P: Branches> Run for Merged<K, P> {
    fn run<T: Tape<f32, Cpu>>(&self, flow: Flow<T>, _: bool) -> Result<Flow<T>, CpuError> {
        let (input, tape) = split(flow);
        let mut outputs = Vec::new();
        let tape = self.paths.run_all(&input, tape, &mut outputs)?;
        merge(&K::OP, &outputs, tape)
    }

    fn run_mut<T: Tape<f32, Cpu>>(&mut self, flow: Flow<T>, _: bool) -> Result<Flow<T>, CpuError> {
        let (input, tape) = split(flow);
        let mut outputs = Vec::new();
        let tape = self.paths.run_all_mut(&input, tape, &mut outputs)?;
        merge(&K::OP, &outputs, tape)
    }
}

fn split<T: Tape<f32, Cpu>>(flow: Flow<T>) -> (Fork, T) {
    let (rows, tape) = flow.rows.split_tape();
    (Flow { rows, images: flow.images, shape: flow.shape }, tape)
}

/// The outputs of the branches merged: each row is the sum of the branches' rows, or these one behind the other.
fn merge<T: Tape<f32, Cpu>>(op: &Op, branches: &[Flow<NoneTape>], tape: T) -> Result<Flow<T>, CpuError> {
    let shapes: Vec<_> = branches.iter().map(|branch| branch.shape).collect();
    let shape = merged_shape(op, &shapes).expect("branches that cannot be merged do not compile");
    let (images, columns) = (branches[0].images, shape.channels());
    let mut next = 0;
    // Where each branch's columns lie in the result.
    let places: Vec<_> = shapes
        .iter()
        .map(|branch| {
            let start = next;
            if matches!(op, Op::Concatenate) {
                next += branch.channels();
            }
            start..start + branch.channels()
        })
        .collect();
    let rows = images * positions(&shape);
    let mut result = vec![0.0; rows * columns];
    for (branch, place) in branches.iter().zip(&places) {
        for (to, from) in result.chunks_exact_mut(columns).zip(values(&branch.rows).chunks_exact(place.len())) {
            add(&mut to[place.clone()], from);
        }
    }
    let inputs: Vec<_> = branches.iter().map(|branch| &branch.rows).collect();
    let rows = operation(tape, &inputs, (rows, columns), result, move |i, gradient, above| {
        for (to, from) in gradient.chunks_exact_mut(places[i].len()).zip(above.chunks_exact(columns)) {
            add(to, &from[places[i].clone()]);
        }
    })?;
    Ok(Flow { rows, images, shape })
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

/// Branches that take the sizes `In`.
pub trait BehindAll<In> {
    /// The sizes behind them, as a list `(First, (Second, (…, ())))`.
    type Outs;
    /// Does not compile where a branch cannot take such sizes.
    const FIT: ();
}

impl<In> BehindAll<In> for Identity {
    type Outs = ();
    const FIT: () = ();
}

impl<In, A: Behind<In>, Rest: BehindAll<In>> BehindAll<In> for (A, Rest) {
    type Outs = (A::Out, Rest::Outs);
    const FIT: () = (A::FITS, Rest::FIT).1;
}

impl<In, K, P> Behind<In> for Merged<K, P>
where
    P: BehindAll<In, Outs: SizesList>,
    K: MergeKind + Merges<P::Outs, Out: Batched>,
{
    type Out = <K as Merges<P::Outs>>::Out;
    const FITS: () = (P::FIT, check::<K, P::Outs>()).1;
}

typed_module! { [K: MergeKind, P: Branches] Merged<K, P> }

/// Stops the compilation where branches cannot be merged, or are not as the types say.
const fn check<K: MergeKind + Merges<Sizes, Out: Batched>, Sizes: SizesList>() {
    let (shapes, count) = Sizes::SHAPES;
    match merged_shape(&K::OP, shapes.split_at(count).0) {
        Ok(shape) => assert!(shape.same(&K::Out::SIZES), "the plan's shapes are those of the types"),
        Err(kind) => {
            let fault = Fault { name: Name::Given(K::OP.kind()), layer: 0, input: shapes[0], kind };
            report("dfdx module", &Some(fault), None);
        }
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
