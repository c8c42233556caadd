//! Networks written out by hand, as the macro would write them.
#![allow(missing_docs, dead_code, reason = "not every test uses every network")]

use convnet_core::Definition;
use convnet_core::Sequential;
use convnet_core::layers::activation::{Linear, Relu, Sigmoid, Softmax, Tanh};
use convnet_core::layers::conv2d::Conv2D;
use convnet_core::layers::dense::Dense;
use convnet_core::layers::flatten::Flatten;
use convnet_core::layers::max_pooling2d::MaxPooling2D;
use convnet_core::layers::{Named, Nested, Window};
use convnet_core::shape::size::{Hex, Letters, Map, Num, Vector};
use convnet_core::shape::walk::{Same, Valid};
use typenum::*;

/// A square window of size `K` with stride `S`.
pub type Square<K, S, P = Valid> = Window<K, K, S, S, U1, U1, P>;

macro_rules! define {
    ($name:ident, $input:ty, $sizes:ty, $layers:ty) => {
        pub struct $name;

        impl Definition for $name {
            const NAME: &'static str = stringify!($name);
            type Input = $input;
            type Sizes = $sizes;
            type Layers = $layers;
        }

        convnet_core::__dfdx_module! { [] $name [] }
    };
}

// The book's network, with each of the three ways to write a size.
define! {
    Digits, Map<28, 28, 1>, (U28, Num<28>, Hex<0, 0, 0, 0, 0, 0, 0, 1>),
    (
        (
            (Conv2D<Hex<0, 0, 0, 0, 0, 0, 2, 0>, Square<U3, U1>, Relu, true>, MaxPooling2D<Square<U2, U2>>),
            (Conv2D<U64, Square<U3, U1>, Relu, true>, MaxPooling2D<Square<U2, U2>>),
        ),
        (
            (Conv2D<U64, Square<U3, U1>, Relu, true>, Flatten),
            (
                Dense<U64, Relu, true>,
                Named<
                    Dense<U10, Softmax, true>,
                    Letters<3, { (b'o' as u128) << 120 | (b'u' as u128) << 112 | (b't' as u128) << 104 }, 0, 0, 0>,
                >,
            ),
        ),
    )
}

define! {
    Base, Map<9, 9, 2>, (U9, U9, U2),
    (Conv2D<U4, Square<U3, U1, Same>, Tanh, true>, MaxPooling2D<Square<U2, U2>>)
}

define! {
    OnBase, Map<9, 9, 2>, (U9, U9, U2),
    (Nested<Base>, (Flatten, Dense<U1, Sigmoid, true>))
}

/// A network with a const generic.
pub struct Classifier<const CLASSES: usize>;

impl<const CLASSES: usize> Definition for Classifier<CLASSES> {
    const NAME: &'static str = "Classifier";
    type Input = Vector<6>;
    type Sizes = (U6,);
    type Layers = (Dense<U5, Relu, false>, Dense<Num<CLASSES>, Softmax, true>);
}

convnet_core::__dfdx_module! { [const CLASSES: usize] Classifier [CLASSES] }

/// Every setting of a window, in a network without a name.
pub type Odd = Sequential<
    Map<11, 13, 3>,
    (U11, U13, U3),
    (
        (
            Conv2D<U5, Window<U3, U2, U1, U2, U2, U3, Same>, Relu, false>,
            MaxPooling2D<Window<U3, U2, U2, U1, U1, U1, Same>>,
        ),
        (Conv2D<U4, Window<U2, U3, U2, U1, U1, U2, Valid>, Sigmoid, true>, Flatten),
    ),
>;

/// No layer at all.
pub type Nothing = Sequential<Vector<3>, (U3,), ()>;

type C<F> = Conv2D<F, Square<U3, U1, Same>, Relu, true>;
type P = MaxPooling2D<Square<U2, U2>>;

// The convolutional base of VGG16 on 150 × 150.
define! {
    Vgg16, Map<150, 150, 3>, (U150, U150, U3),
    (
        (((C<U64>, C<U64>), (P, C<U128>)), ((C<U128>, P), (C<U256>, (C<U256>, C<U256>)))),
        (((P, C<U512>), (C<U512>, (C<U512>, P))), ((C<U512>, C<U512>), (C<U512>, P))),
    )
}

/// Where a test wants a linear layer only.
pub type Affine<N, U> = Sequential<Vector<1>, (N,), Dense<U, Linear, true>>;
