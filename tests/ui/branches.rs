//! Branches and repetitions that do not fit, seen by the macro and by the compiler.

use convnet::prelude::*;

const FILTERS: usize = 8;
const STRIDES: usize = 2;
const NONE: usize = 0;
const RATE: f64 = 1.5;

convnet! {
    type Window = [
        Input(28, 28, 8),
        Conv2D(8, 3, padding = "same"),
        Add([Conv2D(8, 3, activation = "relu"), Conv2D(8, 3)], []),
        Flatten(),
        Dense(10),
    ];
    type Strides = [Input(28, 28, 8), Add([Conv2D(16, 3, strides = 2, padding = "same")], []), Flatten(), Dense(10)];
    type Channels = [Input(28, 28, 8), Add([Conv2D(16, 3, padding = "same")], []), Flatten(), Dense(10)];
    type Joined = [Input(28, 28, 8), Concatenate([Conv2D(16, 3)], [Conv2D(8, 5)]), Flatten(), Dense(10)];
    type Ranks = [Input(28, 28, 8), Concatenate([GlobalAveragePooling2D()], [Conv2D(8, 5)]), Dense(10)];
    type Inside = [Input(8, 8, 8), Add([Conv2D(8, 9)], [Dense(10)], [Softmax()]), Flatten(), Dense(10)];
    type Numbers = [Input(8, 8, 8), Add(), Add([ReLU()]), Concatenate([], [], [], [], [], [], [], [], []), Flatten()];
    type Listings = [Input(8, 8, 8), Add(Conv2D(8, 1), []), Add([[]], []), Repeat([ReLU()], 2), Repeat(2), Flatten()];
    type Rounds = [Input(28, 28, 1), Repeat(5, [Conv2D(8, 7)]), Flatten(), Dense(10)];
    type Named = [Input(28, 28, 1), Repeat(2, [Conv2D(8, 3, name = "conv")]), Flatten(), Dense(10)];
    type Empty = [Input(28, 28, 1), Repeat(2, []), Repeat(0, [ReLU()]), Flatten(), Dense(10)];
    type Inputs = [Input(28, 28, 1), Add([Input(28, 28, 1)], [Conv2D(1, 1, input_shape = (28, 28, 1))]), Flatten()];
    type Arguments = [Input(4), Add([], [], axis = 1), Concatenate([], [], axis = 1), Repeat(2, [ReLU()], name = "a")];
}

// What only the compiler sees.
convnet! {
    type Open = [Input(28, 28, 8), Add([Conv2D(8, 3, padding = "same")], [Conv2D(FILTERS, STRIDES)]), Flatten()];
    type OpenInside = [Input(28, 28, 8), Add([Conv2D(FILTERS, 3)], [Conv2D(NONE, 3)]), Flatten()];
    type OpenRounds = [Input(28, 28, 1), Repeat(3, [Conv2D(8, 3, strides = STRIDES), Conv2D(8, 7)]), Flatten()];
    type NoRound = [Input(28, 28, 1), Repeat(NONE, [Conv2D(8, 3)]), Flatten(), Dense(10)];
    type Rate = [Input(28, 28, 1), Flatten(), Dropout(RATE), Dense(10)];
}

fn main() {
    type InAType = convnet![Input(3, 3, 1), Add([Conv2D(8, 5)], []), Repeat(3, [Dense(4)])];
    println!("{} {} {}", InAType::PARAMS, Window::PARAMS, Listings::PARAMS);
}
