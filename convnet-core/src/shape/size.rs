//! Sizes as types.
//!
//! The macro writes each size of a listing in the one of three forms that carries the most: a literal as typenum
//! digits ([`typenum::UInt`]), a constant as hexadecimal digits ([`Hex`], since `{ (K >> 4) & 15 }` of a concrete
//! constant is a legal const argument on stable), and a const generic of the enclosing item as it is ([`Num`]).
//! All of them know their [`Size::SIZE`], and with it the plan is complete. [`TypeSize`] leads from each form to
//! typenum, where the trait solver computes shapes; for a const generic only numbers in typenum's own table have
//! such a way (0 to 1024, the powers of two and of ten).

use std::marker::PhantomData;
use typenum::{B0, B1, Bit, Const, ToUInt, U, UInt, UTerm, Unsigned};

/// A size in a layer's type.
pub trait Size: 'static {
    /// The number itself.
    const SIZE: usize;
}

/// A [`Size`] that typenum can compute with.
pub trait TypeSize: Size {
    /// The same number in typenum's digits.
    type Digits: Unsigned;
}

impl Size for UTerm {
    const SIZE: usize = 0;
}

impl<Upper: Unsigned, Lowest: Bit> Size for UInt<Upper, Lowest> {
    const SIZE: usize = <Self as Unsigned>::USIZE;
}

impl TypeSize for UTerm {
    type Digits = UTerm;
}

impl<Upper: Unsigned, Lowest: Bit> TypeSize for UInt<Upper, Lowest> {
    type Digits = Self;
}

/// A size given by a const generic.
pub struct Num<const N: usize>;

impl<const N: usize> Size for Num<N> {
    const SIZE: usize = N;
}

impl<const N: usize> TypeSize for Num<N>
where
    Const<N>: ToUInt,
    U<N>: Unsigned,
{
    type Digits = U<N>;
}

/// A size given by a constant, as eight hexadecimal digits, the highest first.
pub struct Hex<
    const D7: usize,
    const D6: usize,
    const D5: usize,
    const D4: usize,
    const D3: usize,
    const D2: usize,
    const D1: usize,
    const D0: usize,
>;

/// One hexadecimal digit.
pub struct Digit<const D: usize>;

/// Appends a hexadecimal [`Digit`] to a number; leading zeros vanish, as typenum's normal form asks.
pub trait Append<Number> {
    /// `16 · Number + digit`.
    type Out: Unsigned;
}

/// Appends a bit to a number: `2 · self + bit`.
pub trait AppendBit<Lowest> {
    /// The longer number.
    type Out: Unsigned;
}

impl AppendBit<B0> for UTerm {
    type Out = UTerm;
}

impl AppendBit<B1> for UTerm {
    type Out = UInt<UTerm, B1>;
}

impl<Upper: Unsigned, Last: Bit, Lowest: Bit> AppendBit<Lowest> for UInt<Upper, Last> {
    type Out = UInt<UInt<Upper, Last>, Lowest>;
}

type With<Number, Lowest> = <Number as AppendBit<Lowest>>::Out;

macro_rules! digits {
    ($($digit:literal: $b3:ident $b2:ident $b1:ident $b0:ident;)*) => {$(
        impl<Number> Append<Number> for Digit<$digit>
        where
            Number: AppendBit<$b3>,
            With<Number, $b3>: AppendBit<$b2>,
            With<With<Number, $b3>, $b2>: AppendBit<$b1>,
            With<With<With<Number, $b3>, $b2>, $b1>: AppendBit<$b0>,
        {
            type Out = With<With<With<With<Number, $b3>, $b2>, $b1>, $b0>;
        }
    )*};
}

digits! {
    0: B0 B0 B0 B0; 1: B0 B0 B0 B1; 2: B0 B0 B1 B0; 3: B0 B0 B1 B1;
    4: B0 B1 B0 B0; 5: B0 B1 B0 B1; 6: B0 B1 B1 B0; 7: B0 B1 B1 B1;
    8: B1 B0 B0 B0; 9: B1 B0 B0 B1; 10: B1 B0 B1 B0; 11: B1 B0 B1 B1;
    12: B1 B1 B0 B0; 13: B1 B1 B0 B1; 14: B1 B1 B1 B0; 15: B1 B1 B1 B1;
}

type Then<Number, const D: usize> = <Digit<D> as Append<Number>>::Out;

impl<
    const D7: usize,
    const D6: usize,
    const D5: usize,
    const D4: usize,
    const D3: usize,
    const D2: usize,
    const D1: usize,
    const D0: usize,
> Size for Hex<D7, D6, D5, D4, D3, D2, D1, D0>
{
    const SIZE: usize = {
        let digits = [D7, D6, D5, D4, D3, D2, D1, D0];
        let mut size = 0;
        let mut i = 0;
        while i < digits.len() {
            size = size << 4 | digits[i];
            i += 1;
        }
        size
    };
}

impl<
    const D7: usize,
    const D6: usize,
    const D5: usize,
    const D4: usize,
    const D3: usize,
    const D2: usize,
    const D1: usize,
    const D0: usize,
> TypeSize for Hex<D7, D6, D5, D4, D3, D2, D1, D0>
where
    Digit<D7>: Append<UTerm>,
    Digit<D6>: Append<Then<UTerm, D7>>,
    Digit<D5>: Append<Then<Then<UTerm, D7>, D6>>,
    Digit<D4>: Append<Then<Then<Then<UTerm, D7>, D6>, D5>>,
    Digit<D3>: Append<Then<Then<Then<Then<UTerm, D7>, D6>, D5>, D4>>,
    Digit<D2>: Append<Then<Then<Then<Then<Then<UTerm, D7>, D6>, D5>, D4>, D3>>,
    Digit<D1>: Append<Then<Then<Then<Then<Then<Then<UTerm, D7>, D6>, D5>, D4>, D3>, D2>>,
    Digit<D0>: Append<Then<Then<Then<Then<Then<Then<Then<UTerm, D7>, D6>, D5>, D4>, D3>, D2>, D1>>,
{
    type Digits = Then<Then<Then<Then<Then<Then<Then<Then<UTerm, D7>, D6>, D5>, D4>, D3>, D2>, D1>, D0>;
}

/// A piece of text in a type (a layer's `name`): its bytes, sixteen to a number, the first in the highest place.
pub trait Text: 'static {
    /// The text itself.
    const TEXT: &'static str;
}

/// [`Text`] of up to 64 bytes.
pub struct Letters<const LEN: usize, const A: u128, const B: u128, const C: u128, const D: u128>;

impl<const LEN: usize, const A: u128, const B: u128, const C: u128, const D: u128> Letters<LEN, A, B, C, D> {
    const BYTES: [u8; 64] = {
        let words = [A.to_be_bytes(), B.to_be_bytes(), C.to_be_bytes(), D.to_be_bytes()];
        let mut bytes = [0; 64];
        let mut i = 0;
        while i < 64 {
            bytes[i] = words[i / 16][i % 16];
            i += 1;
        }
        bytes
    };
}

impl<const LEN: usize, const A: u128, const B: u128, const C: u128, const D: u128> Text for Letters<LEN, A, B, C, D> {
    const TEXT: &'static str = match std::str::from_utf8(Self::BYTES.split_at(LEN).0) {
        Ok(text) => text,
        Err(_) => panic!("the macro writes whole characters"),
    };
}

/// What a network or a block takes, as a type: [`Map`], [`Vector`], or with open sizes [`AnyMap`] and [`AnyVector`].
pub trait InputPattern: 'static {
    /// The same as a value.
    const PATTERN: super::Pattern;
}

/// The shape of a network's input in its type: what a data set must have to be fitted.
#[diagnostic::on_unimplemented(
    message = "this is a block, not a network: its `Input` leaves sizes open (`None`)",
    label = "a block can be a layer of a network only",
    note = "give all sizes of the input, or write a network around it: `convnet![Input(28, 28, 1), Block, …]`"
)]
pub trait InputShape: InputPattern {
    /// The same as a value.
    const SHAPE: super::Shape;
}

/// Images of `H` × `W` pixels with `C` channels.
pub struct Map<const H: usize, const W: usize, const C: usize>;

impl<const H: usize, const W: usize, const C: usize> InputPattern for Map<H, W, C> {
    const PATTERN: super::Pattern = super::Pattern::map(Some(H), Some(W), Some(C));
}

impl<const H: usize, const W: usize, const C: usize> InputShape for Map<H, W, C> {
    const SHAPE: super::Shape = super::Shape::map(H, W, C);
}

/// Vectors of `N` features.
pub struct Vector<const N: usize>;

impl<const N: usize> InputPattern for Vector<N> {
    const PATTERN: super::Pattern = super::Pattern::vector(Some(N));
}

impl<const N: usize> InputShape for Vector<N> {
    const SHAPE: super::Shape = super::Shape::vector(N);
}

/// An open size, `None` in an `Input`.
pub struct Open;

/// A [`Size`], or [`Open`].
pub trait MaybeSize: 'static {
    /// The number, if there is one.
    const SIZE: Option<usize>;
}

impl MaybeSize for Open {
    const SIZE: Option<usize> = None;
}

impl<S: Size> MaybeSize for S {
    const SIZE: Option<usize> = Some(S::SIZE);
}

/// Maps of which some sizes are [`Open`]: what a block takes.
pub struct AnyMap<H, W, C>(Phantom<(H, W, C)>);

impl<H: MaybeSize, W: MaybeSize, C: MaybeSize> InputPattern for AnyMap<H, W, C> {
    const PATTERN: super::Pattern = super::Pattern::map(H::SIZE, W::SIZE, C::SIZE);
}

/// Vectors of any size: what a block takes.
pub struct AnyVector;

impl InputPattern for AnyVector {
    const PATTERN: super::Pattern = super::Pattern::vector(None);
}

/// Marks a type parameter that exists at compile time only.
pub(crate) type Phantom<T> = PhantomData<fn() -> T>;
