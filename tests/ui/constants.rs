//! Sizes that only the compiler knows: the plan's faults, raised on the layer.

use convnet::prelude::*;

const NONE: usize = 0;
const WINDOW: usize = 7;
const SMALL: usize = 3;
const WRONG: u32 = 3;
const HALF: f64 = 0.5;

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

    type Groups = [Input(8, 8, 4), Conv2D(8, 1, groups = SMALL), Flatten(), Dense(10)];
    type Depthwise = [Input(8, 8, 4), DepthwiseConv2D(3, depth_multiplier = NONE), Flatten(), Dense(10)];
    type Separable = [Input(8, 8, 4), SeparableConv2D(8, (WINDOW, 9), activation = "relu"), Flatten(), Dense(10)];
    type Average = [Input(3, 3, 4), AveragePooling2D((SMALL, WINDOW)), Flatten(), Dense(10)];
    type UpSampled = [Input(3, 3, 4), UpSampling2D((2, NONE)), Flatten(), Dense(10)];
    type Reshaped = [Input(4, 4, 3), Reshape((SMALL, SMALL, 5)), Flatten(), Dense(10)];
    type Volume = [Input(4, 4, 3), UpSampling2D(1 << (28 + NONE)), ZeroPadding2D(1), UpSampling2D(1 << 20), Flatten(), Dense(10)];
    type Rate = [Input(8), Dropout(HALF * 3.0), Dense(10)];
    type Slope = [Input(8), LeakyReLU(HALF - 1.0), Dense(10)];
    type Normalised = [Input(8), BatchNormalization(momentum = 3.0 * HALF), Dense(10)];
    type Epsilon = [Input(8), BatchNormalization(epsilon = HALF - HALF), Dense(10)];
    type Scale = [Input(8), Rescaling(1.0 / (HALF - HALF)), Dense(10)];
    type RealType = [Input(8), Dropout(sizes::FEW), Dense(10)];
    type RealGeneric<const N: usize> = [Input(8), Dropout(N), Dense(10)];
}

// Branches and repetitions.
convnet! {
    type Branches = [Input(8, 8, 4), Add([Conv2D(WINDOW, 1)], []), Flatten(), Dense(10)];
    type Beside = [Input(8, 8, 4), Concatenate([Conv2D(4, 1)], [Conv2D(4, SMALL)]), Flatten(), Dense(10)];
    type InBranch = [Input(8, 8, 4), Add([Conv2D(4, WINDOW), Conv2D(4, 3)], []), Flatten(), Dense(10)];
    type Rounds = [Input(8, 8, 4), Repeat(WINDOW, [Conv2D(4, 3)]), Flatten(), Dense(10)];
    type NoRound = [Input(8, 8, 4), Repeat(NONE, [ReLU()]), Flatten(), Dense(10)];
    type NoLayerLeft = [Input(8, 8, 4), Repeat(400 * SMALL, [ReLU()]), Flatten(), Dense(10)];
    type NamedInRounds = [Input(8, 8, 4), Repeat(SMALL, [ReLU(name = "relu")]), Flatten(), Dense(10)];
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
