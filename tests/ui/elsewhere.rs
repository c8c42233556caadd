//! Networks and blocks of another `convnet!` as layers: what the macro cannot see and the compiler finds, on the
//! layer.

use convnet::prelude::*;

mod elsewhere {
    convnet::convnet! {
        pub type Maps = [Input(8, 8, 3), Conv2D(4, (3, 3), padding = "same", name = "stem"), MaxPooling2D(2)];
        pub type Scores = [Input(8, 8, 3), Flatten(), Dense(10, activation = "softmax")];
        pub type Features = [Input(8, 8, 3), Flatten(), Dense(10, activation = "relu")];
        pub type Block = [Input(None, None, 4), Add([Conv2D(4, 3, padding = "same")], [])];
        pub type Narrowing = [Input(None, None, 4), Conv2D(4, 3), MaxPooling2D(2)];
        pub type Wide<const FILTERS: usize> =
            [Input(None, None, FILTERS), Add([Conv2D(FILTERS, 3, padding = "same")], [])];
    }
}

convnet! {
    type TooLarge = [elsewhere::Maps, Conv2D(8, 3), Conv2D(8, 3), Flatten(), Dense(10)];
    type Dimensions = [elsewhere::Maps, Dense(10)];
    type Taken = [elsewhere::Maps, Flatten(name = "stem"), Dense(10)];
    type Mismatch = [Input(8, 8, 1), Conv2D(4, 3, padding = "same"), elsewhere::Maps, Flatten(), Dense(10)];
    type SoftmaxInside = [elsewhere::Scores, Dense(10)];
    type FlatAlready = [elsewhere::Features, Flatten(), Dense(10)];
    type MapWanted = [elsewhere::Features, Conv2D(4, 1), Flatten(), Dense(10)];

    type BlockChannels = [Input(8, 8, 3), elsewhere::Block, Flatten(), Dense(10)];
    type BlockOnVector = [Input(8), elsewhere::Block, Dense(10)];
    type WithinBlock = [Input(8, 8, 4), Repeat(3, [elsewhere::Narrowing]), Flatten(), Dense(10)];
    type GenericBlock = [Input(8, 8, 4), elsewhere::Wide<4>, elsewhere::Wide<8>, Flatten(), Dense(10)];
    type InBranch = [Input(8, 8, 4), Concatenate([elsewhere::Narrowing], []), Flatten(), Dense(10)];
    type Twice = [elsewhere::Maps(trainable = false), Conv2D(3, 1), UpSampling2D(2), elsewhere::Maps, Flatten(), Dense(10)];

    type NoSuchArgument = [elsewhere::Maps(frozen = true), Flatten(), Dense(10)];
}

fn main() {}
