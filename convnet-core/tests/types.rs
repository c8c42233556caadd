//! The type-level walk and the plan agree (probe).
#![allow(missing_docs)]
use convnet_core::{
    layers::{
        activation::{Linear, Relu, Softmax},
        conv2d::Conv2D,
        dense::Dense,
        flatten::Flatten,
        max_pooling2d::MaxPooling2D,
        *,
    },
    shape::{size::*, walk::*},
    *,
};
use typenum::*;
type Win<K, S> = Window<K, K, S, S, U1, U1, Valid>;
struct Digits;
impl Definition for Digits {
    const NAME: &'static str = "Digits";
    type Input = Map<28, 28, 1>;
    type Sizes = (U28, Num<28>, Hex<0, 0, 0, 0, 0, 0, 0, 1>);
    type Layers = (
        (
            (Conv2D<Hex<0, 0, 0, 0, 0, 0, 2, 0>, Win<U3, U1>, Relu, true>, MaxPooling2D<Win<U2, U2>>),
            (Conv2D<U64, Win<U3, U1>, Relu, true>, MaxPooling2D<Win<U2, U2>>),
        ),
        (
            (Conv2D<U64, Win<U3, U1>, Relu, true>, Flatten),
            (
                Dense<U64, Relu, true>,
                Named<
                    Dense<U10, Softmax, true>,
                    Letters<3, { (b'o' as u128) << 120 | (b'u' as u128) << 112 | (b't' as u128) << 104 }, 0, 0, 0>,
                >,
            ),
        ),
    );
}
const _: () = assert!(Digits::PARAMS == 93_322);
#[test]
fn walk() {
    println!("{}", Digits::summary());
    fn same<A: 'static, B: 'static>() {
        assert_eq!(std::any::TypeId::of::<A>(), std::any::TypeId::of::<B>());
    }
    same::<
        <<Digits as Definition>::Layers as Walk<<<Digits as Definition>::Sizes as walk::Digits>::Digits>>::Out,
        (U10,),
    >();
    let _ = std::marker::PhantomData::<Linear>;
}
use convnet_core::shape::walk;
