//! The tensors of a tree of modules, under keys of our own.
//!
//! dfdx joins the names on the way to a tensor with dots. [`Leaves`] walks down the tree itself, remembers the way as a
//! [`Path`], and shows dfdx's visitor each tensor as if it were a field of the root, under the next key. A path is a type
//! without the root in it: closures would do, but their types double with every step, and so does the compiler's work.

use super::Identity;
use crate::layers::MAX_WEIGHTS;
use crate::plan::InitializerKind;
use ::dfdx::nn::{ModuleVisitor, TensorCollection};
use ::dfdx::shapes::Dtype;
use ::dfdx::tensor_ops::Device;

/// The way from a `Root` to a part of it.
pub trait Path<Root>: Copy {
    /// What lies at its end.
    type Part: 'static;

    /// Goes the way.
    fn of(self, root: &Root) -> &Self::Part;

    /// Goes the way.
    fn of_mut(self, root: &mut Root) -> &mut Self::Part;
}

/// The way to the root itself.
#[derive(Clone, Copy)]
pub struct Whole;

impl<Root: 'static> Path<Root> for Whole {
    type Part = Root;

    fn of(self, root: &Root) -> &Root {
        root
    }

    fn of_mut(self, root: &mut Root) -> &mut Root {
        root
    }
}

/// From a pair at the end of `P` to its first half.
#[derive(Clone, Copy)]
pub struct First<P>(P);

impl<Root, A: 'static, B: 'static, P: Path<Root, Part = (A, B)>> Path<Root> for First<P> {
    type Part = A;

    fn of(self, root: &Root) -> &A {
        &self.0.of(root).0
    }

    fn of_mut(self, root: &mut Root) -> &mut A {
        &mut self.0.of_mut(root).0
    }
}

/// From a pair at the end of `P` to its second half.
#[derive(Clone, Copy)]
pub struct Second<P>(P);

impl<Root, A: 'static, B: 'static, P: Path<Root, Part = (A, B)>> Path<Root> for Second<P> {
    type Part = B;

    fn of(self, root: &Root) -> &B {
        &self.0.of(root).1
    }

    fn of_mut(self, root: &mut Root) -> &mut B {
        &mut self.0.of_mut(root).1
    }
}

/// What the visitor `V` of a `Root` makes of its part `M`.
pub type Made<M, E, D, Root, V> = Result<
    Option<
        <M as TensorCollection<E, D>>::To<<V as ModuleVisitor<Root, E, D>>::E2, <V as ModuleVisitor<Root, E, D>>::D2>,
    >,
    <V as ModuleVisitor<Root, E, D>>::Err,
>;

/// What tensors are shown as, in their order.
pub struct Labels<'a> {
    /// A key for each; where they run out, tensors have their own names.
    keys: &'a mut dyn Iterator<Item = String>,
    /// What the layer at hand says of the first values of its weights, by their roles.
    pub(super) initializers: [Option<InitializerKind>; MAX_WEIGHTS],
    /// Whether training changes them.
    pub(super) trainable: bool,
}

impl<'a> Labels<'a> {
    /// With these keys, and as usual.
    pub fn new(keys: &'a mut dyn Iterator<Item = String>) -> Self {
        Labels { keys, initializers: [None; MAX_WEIGHTS], trainable: true }
    }

    /// The same keys for the weights of a layer.
    pub(super) fn of_layer(
        &mut self,
        initializers: [Option<InitializerKind>; MAX_WEIGHTS],
        trainable: bool,
    ) -> Labels<'_> {
        Labels { keys: &mut *self.keys, initializers, trainable }
    }

    /// The next key.
    pub(super) fn key(&mut self, name: &str) -> String {
        self.keys.next().unwrap_or_else(|| name.to_owned())
    }
}

/// A module (or a pair of them) that can show its tensors under given keys.
pub trait Leaves<E: Dtype, D: Device<E>>: TensorCollection<E, D> + 'static {
    /// Shows the visitor of a `Root` all tensors of the part at the end of `path`, under their labels. Gives what
    /// the visitor made of them, if it makes anything.
    ///
    /// # Errors
    /// The visitor's.
    fn visit<Root, V>(
        visitor: &mut V,
        labels: &mut Labels<'_>,
        path: impl Path<Root, Part = Self>,
    ) -> Made<Self, E, D, Root, V>
    where
        Root: TensorCollection<E, D>,
        V: ModuleVisitor<Root, E, D>;
}

impl<E: Dtype, D: Device<E>, A: Leaves<E, D>, B: Leaves<E, D>> Leaves<E, D> for (A, B) {
    fn visit<Root, V>(
        visitor: &mut V,
        labels: &mut Labels<'_>,
        path: impl Path<Root, Part = Self>,
    ) -> Made<Self, E, D, Root, V>
    where
        Root: TensorCollection<E, D>,
        V: ModuleVisitor<Root, E, D>,
    {
        let first = A::visit(visitor, labels, First(path))?;
        let second = B::visit(visitor, labels, Second(path))?;
        Ok(first.zip(second))
    }
}

impl<E: Dtype, D: Device<E>> Leaves<E, D> for Identity {
    fn visit<Root, V>(_: &mut V, _: &mut Labels<'_>, _: impl Path<Root, Part = Self>) -> Made<Self, E, D, Root, V>
    where
        Root: TensorCollection<E, D>,
        V: ModuleVisitor<Root, E, D>,
    {
        Ok(Some(Identity))
    }
}
