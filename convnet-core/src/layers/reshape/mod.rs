//! `Reshape(target_shape)`: the same values, in memory order, in another shape; nothing is moved.

use super::{Layer, LayerSpec, Op};
use crate::shape::Shape;
use crate::shape::size::{Phantom, Size};
use crate::shape::walk::{Digits, Walk};

/// The type of a reshaping to `Sizes`, a tuple of one or three [`Size`] types.
pub struct Reshape<Sizes>(Phantom<Sizes>);

impl<N: Size> Layer for Reshape<(N,)> {
    const SPEC: LayerSpec = LayerSpec::of(Op::Reshape(Shape::vector(N::SIZE)));
}

impl<H: Size, W: Size, C: Size> Layer for Reshape<(H, W, C)> {
    const SPEC: LayerSpec = LayerSpec::of(Op::Reshape(Shape::map(H::SIZE, W::SIZE, C::SIZE)));
}

impl<In, Sizes: Digits> Walk<In> for Reshape<Sizes> {
    type Out = Sizes::Digits;
}
