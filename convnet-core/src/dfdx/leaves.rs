//! The tensors of a tree of modules, under keys of our own.
//!
//! dfdx joins the names on the way to a tensor with dots. [`Leaves`] walks down the tree itself, remembers the way as a
//! [`Path`], and shows dfdx's visitor each tensor as if it were a field of the root, under the next key. A path is a type
//! without the root in it: closures would do, but their types double with every step, and so does the compiler's work.

use super::{Identity, flatten, max_pooling2d};
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

/// A module (or a pair of them) that can show its tensors under given keys.
pub trait Leaves<E: Dtype, D: Device<E>>: TensorCollection<E, D> + 'static {
    /// Shows the visitor of a `Root` all tensors of the part at the end of `path`; `keys` has one key for each. Gives
    /// what the visitor made of them, if it makes anything.
    ///
    /// # Errors
    /// The visitor's.
    fn visit<Root, V>(
        visitor: &mut V,
        keys: &mut dyn Iterator<Item = String>,
        path: impl Path<Root, Part = Self>,
    ) -> Made<Self, E, D, Root, V>
    where
        Root: TensorCollection<E, D>,
        V: ModuleVisitor<Root, E, D>;
}

impl<E: Dtype, D: Device<E>, A: Leaves<E, D>, B: Leaves<E, D>> Leaves<E, D> for (A, B) {
    fn visit<Root, V>(
        visitor: &mut V,
        keys: &mut dyn Iterator<Item = String>,
        path: impl Path<Root, Part = Self>,
    ) -> Made<Self, E, D, Root, V>
    where
        Root: TensorCollection<E, D>,
        V: ModuleVisitor<Root, E, D>,
    {
        let first = A::visit(visitor, keys, First(path))?;
        let second = B::visit(visitor, keys, Second(path))?;
        Ok(first.zip(second))
    }
}

/// Modules without tensors.
macro_rules! no_leaves {
    ($([$($generic:ident)?] $module:ty;)*) => {$(
        impl<E: Dtype, D: Device<E>, $($generic: 'static)?> Leaves<E, D> for $module {
            fn visit<Root, V>(
                _: &mut V,
                _: &mut dyn Iterator<Item = String>,
                _: impl Path<Root, Part = Self>,
            ) -> Made<Self, E, D, Root, V>
            where
                Root: TensorCollection<E, D>,
                V: ModuleVisitor<Root, E, D>,
            {
                Ok(Some(Self::default()))
            }
        }
    )*};
}

no_leaves! {
    [] Identity;
    [] flatten::Module;
    [Win] max_pooling2d::Module<Win>;
}
