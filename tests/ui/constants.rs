//! Sizes that only the compiler knows: the plan's faults, raised on the layer.

use convnet::prelude::*;

const NONE: usize = 0;
const WINDOW: usize = 7;
const SMALL: usize = 3;
const WRONG: u32 = 3;

mod sizes {
    pub const FEW: usize = 2;
}

convnet! {
    type Window = [Input(28, 28, 1), MaxPooling2D(4), Conv2D(8, 3), Conv2D(8, WINDOW), Flatten(), Dense(10)];
    type Input0 = [Input(28, NONE, 1), Flatten(), Dense(10)];
    type Filters = [Input(28, 28, 1), Conv2D(NONE, 3), Flatten(), Dense(10)];
    type Units = [Input(28, 28, 1), Flatten(), Dense(10, activation = "relu"), Dense(2 - sizes::FEW)];
    type Strides = [Input(28, 28, 1), Conv2D(8, 3, strides = (1, sizes::FEW * NONE)), Flatten(), Dense(10)];
    type Input3 = [Input(SMALL, SMALL, 1), Conv2D(8, 2), MaxPooling2D(3), Flatten(), Dense(10)];
    type KnownBeforeOpen = [Input(3, 3, 1), Conv2D(SMALL, 5), Flatten(), Dense(NONE)];
    type WrongType = [Input(3, 3, 1), Flatten(), Dense(2 * WRONG)];
    type Computed<const N: usize> = [Input(3, 3, 1), Flatten(), Dense(2 * N)];
}

convnet! {
    /// A generic network says what is wrong where it is used.
    type Generic<const WINDOW: usize> = [Input(3, 3, 1), Conv2D(8, WINDOW), Flatten(), Dense(10)];
}

const _: () = assert!(Generic::<5>::PARAMS > 0);

convnet! {
    type TooLarge = [Input(3, 3, 1), Flatten(), Dense(5 << 40)];
    type AlsoTooLarge = [Input(3, 3, 1), Flatten(), Dense(LARGE)];
}

const LARGE: usize = 1 << 33;

fn main() {}
