//! Windows in layer types: what slides over a map.

use crate::shape::size::{Phantom, Size};
use crate::shape::walk::{Same, Valid};
use crate::shape::{Axis, Padding};

/// A two-dimensional window in a layer's type: its height and width, strides, dilation ([`Size`] types) and padding
/// ([`Valid`] or [`Same`]).
pub struct Window<KH, KW, SH, SW, DH, DW, P>(Phantom<(KH, KW, SH, SW, DH, DW, P)>);

/// The padding types.
pub trait PaddingKind: 'static {
    /// The same as a value.
    const PADDING: Padding;
}

impl PaddingKind for Valid {
    const PADDING: Padding = Padding::Valid;
}

impl PaddingKind for Same {
    const PADDING: Padding = Padding::Same;
}

/// The vertical and the horizontal axis of a [`Window`].
pub trait WindowKind: 'static {
    /// How the window slides vertically.
    const VERTICAL: Axis;
    /// How the window slides horizontally.
    const HORIZONTAL: Axis;
}

impl<KH: Size, KW: Size, SH: Size, SW: Size, DH: Size, DW: Size, P: PaddingKind> WindowKind
    for Window<KH, KW, SH, SW, DH, DW, P>
{
    const VERTICAL: Axis = Axis { window: KH::SIZE, stride: SH::SIZE, dilation: DH::SIZE, padding: P::PADDING };
    const HORIZONTAL: Axis = Axis { window: KW::SIZE, stride: SW::SIZE, dilation: DW::SIZE, padding: P::PADDING };
}

/// The map behind a [`Window`] that slides over a map of `H` × `W`.
pub trait Slides<H, W> {
    /// Its height.
    type Height: typenum::Unsigned;
    /// Its width.
    type Width: typenum::Unsigned;
}

mod slides {
    use super::*;
    use crate::shape::size::TypeSize;
    use crate::shape::walk::{Slide, Sliding};

    impl<H, W, KH, KW, SH, SW, DH, DW, P> Slides<H, W> for Window<KH, KW, SH, SW, DH, DW, P>
    where
        KH: TypeSize,
        KW: TypeSize,
        SH: TypeSize,
        SW: TypeSize,
        DH: TypeSize,
        DW: TypeSize,
        Sliding<KH::Digits, SH::Digits, DH::Digits, P>: Slide<H>,
        Sliding<KW::Digits, SW::Digits, DW::Digits, P>: Slide<W>,
    {
        type Height = <Sliding<KH::Digits, SH::Digits, DH::Digits, P> as Slide<H>>::Out;
        type Width = <Sliding<KW::Digits, SW::Digits, DW::Digits, P> as Slide<W>>::Out;
    }
}
