//! The tensors of a tree of modules, under keys of our own.
//!
//! dfdx joins the names on the way to a tensor with dots. [`Leaves`] walks down the tree itself, remembers the way, and
//! shows dfdx's visitor each tensor as if it were a field of the root, under the next key.

use super::{Identity, flatten, max_pooling2d};
use ::dfdx::nn::{ModuleVisitor, TensorCollection};
use ::dfdx::shapes::Dtype;
use ::dfdx::tensor_ops::Device;

/// What the visitor `V` of a `Root` makes of its part `M`.
pub type Made<M, E, D, Root, V> = Result<
    Option<
        <M as TensorCollection<E, D>>::To<<V as ModuleVisitor<Root, E, D>>::E2, <V as ModuleVisitor<Root, E, D>>::D2>,
    >,
    <V as ModuleVisitor<Root, E, D>>::Err,
>;

/// A module (or a pair of them) that can show its tensors under given keys.
pub trait Leaves<E: Dtype, D: Device<E>>: TensorCollection<E, D> + 'static {
    /// Shows the visitor of a `Root` all tensors of the part that `get` and `get_mut` lead to; `keys` has one key for
    /// each. Gives what the visitor made of them, if it makes anything.
    ///
    /// # Errors
    /// The visitor's.
    fn visit<Root, V>(
        visitor: &mut V,
        keys: &mut dyn Iterator<Item = String>,
        get: impl FnMut(&Root) -> &Self,
        get_mut: impl FnMut(&mut Root) -> &mut Self,
    ) -> Made<Self, E, D, Root, V>
    where
        Root: TensorCollection<E, D>,
        V: ModuleVisitor<Root, E, D>;
}

impl<E: Dtype, D: Device<E>, A: Leaves<E, D>, B: Leaves<E, D>> Leaves<E, D> for (A, B) {
    fn visit<Root, V>(
        visitor: &mut V,
        keys: &mut dyn Iterator<Item = String>,
        mut get: impl FnMut(&Root) -> &Self,
        mut get_mut: impl FnMut(&mut Root) -> &mut Self,
    ) -> Made<Self, E, D, Root, V>
    where
        Root: TensorCollection<E, D>,
        V: ModuleVisitor<Root, E, D>,
    {
        let first = A::visit(visitor, keys, |root| &get(root).0, |root| &mut get_mut(root).0)?;
        let second = B::visit(visitor, keys, |root| &get(root).1, |root| &mut get_mut(root).1)?;
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
                _: impl FnMut(&Root) -> &Self,
                _: impl FnMut(&mut Root) -> &mut Self,
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
