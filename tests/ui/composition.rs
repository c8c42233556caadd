//! Layers that hold layers: networks and blocks as layers, branches, repetitions, frozen parts.

use convnet::prelude::*;

convnet! {
    type Base = [Input(28, 28, 1), Conv2D(32, (3, 3), name = "conv"), MaxPooling2D((2, 2))];
    type Classifier = [Base, Flatten(), Dense(10, activation = "softmax")];

    type WrongInput = [Input(32, 32, 3), Base, Flatten(), Dense(10)];
    type WrongBehind = [Input(30, 30, 1), Conv2D(4, 3), Base, Flatten(), Dense(10)];
    type Unflattened = [Base, Dense(10)];
    type WindowTooLarge = [Base, Conv2D(8, 15), Flatten(), Dense(10)];
    type NameTaken = [Base, Conv2D(8, 3, name = "conv"), Flatten(), Dense(10)];
    type SoftmaxInside = [Classifier, Dense(10)];
    type WithInput = [Base, Input(28, 28, 1), Flatten(), Dense(10)];

    // As a call.
    type WithParentheses = [Base(), Flatten(), Dense(10)];
    type Named = [Base(name = "base"), Flatten(), Dense(10)];
    type Frozen = [Base(frozen = true), Flatten(), Dense(10)];
    type FrozenTwice = [Base(trainable = false, trainable = true), Flatten(), Dense(10)];
    type FrozenInPython = [Base(trainable = False), Flatten(), Dense(10, trainable = 0)];
    type WithSizes = [Base(28, 28), Flatten(), Dense(10)];
}

convnet! {
    type Block = [
        Input(None, None, 8),
        Add([Conv2D(8, 3, padding = "same", activation = "relu"), Conv2D(8, 3, padding = "same")], []),
    ];
    type Narrowing = [Input(None, None, 4), Conv2D(4, 5)];
    type Features = [Input(None), Dense(16, activation = "relu")];

    type WithoutInput = [Block, Flatten(), Dense(10)];
    type VectorWithoutInput = [Features, Dense(10)];
    type WrongChannels = [Input(28, 28, 3), Block, GlobalAveragePooling2D(), Dense(10)];
    type MapForVector = [Input(28, 28, 8), Features, Dense(10)];
    type TooSmallForBlock = [Input(8, 3, 4), Narrowing, Flatten(), Dense(2)];
    type TooOftenForBlock = [Input(8, 8, 4), Repeat(3, [Narrowing]), Flatten(), Dense(2)];
}

convnet! {
    type Shortcut = [Input(28, 28, 1), Conv2D(8, 3, padding = "same"), Add([Conv2D(8, 3), Conv2D(8, 3)], []), Flatten(), Dense(2)];
    type Strided = [Input(28, 28, 8), Add([Conv2D(16, 3, strides = 2, padding = "same")], []), Flatten(), Dense(2)];
    type Widened = [Input(28, 28, 8), Add([Conv2D(16, 3, padding = "same")], []), Flatten(), Dense(2)];
    type Filters = [Input(28, 28, 8), Add([Conv2D(8, 1)], [Conv2D(8, 1)], [Conv2D(4, 1)]), Flatten(), Dense(2)];
    type Vectors = [Input(64), Add([Dense(8)], [Dense(8), Dense(9)]), Dense(2)];
    type Beside = [Input(28, 28, 8), Concatenate([Conv2D(8, 1)], [MaxPooling2D(2)]), Flatten(), Dense(2)];
    type MapAndVector = [Input(28, 28, 8), Concatenate([Conv2D(8, 1)], [GlobalAveragePooling2D()]), Flatten(), Dense(2)];

    type WithinBranch = [Input(8, 8, 1), Add([Conv2D(4, 9)], [Conv2D(4, 3), Dense(3)]), Flatten(), Dense(2)];
    type SoftmaxInBranch = [Input(8, 8, 1), Concatenate([Conv2D(4, 1, activation = "softmax")], []), Flatten(), Dense(2)];
    type InputInBranch = [Input(8, 8, 1), Add([Input(8, 8, 1), Conv2D(1, 1)], []), Flatten(), Dense(2)];
    type InputShapeInBranch = [Input(8, 8, 1), Add([Conv2D(1, 1, input_shape = (8, 8, 1))], []), Flatten(), Dense(2)];

    type OneBranch = [Input(8, 8, 1), Add([Conv2D(1, 1)]), Concatenate([Conv2D(1, 1)]), Flatten(), Dense(2)];
    type NoBranch = [Input(8, 8, 1), Add(), Concatenate(), Flatten(), Dense(2)];
    type ManyBranches = [Input(8, 8, 1), Add([], [], [], [], [], [], [], [], []), Flatten(), Dense(2)];
    type NoListings = [Input(8, 8, 1), Add(Conv2D(1, 1), []), Concatenate(Base, [], [], axis = 1), Flatten(), Dense(2)];
    type Parentheses = [Input(8, 8, 1), Add[[], [Conv2D(1, 1)]], Flatten(), Dense(2)];
}

convnet! {
    type Rounds = [Input(28, 28, 1), Repeat(5, [Conv2D(8, 7)]), Flatten(), Dense(2)];
    type NamedInRounds = [Input(28, 28, 1), Repeat(3, [Conv2D(1, 3, name = "conv")]), Flatten(), Dense(2)];
    type RoundOfBranches = [Input(28, 28, 1), Repeat(2, [Add([Conv2D(8, 1)], [])]), Flatten(), Dense(2)];
    type NoRound = [Input(8, 8, 1), Repeat(0, [ReLU()]), Flatten(), Dense(2)];
    type NoNumber = [Input(8, 8, 1), Repeat([ReLU()]), Flatten(), Dense(2)];
    type NoListing = [Input(8, 8, 1), Repeat(2), Repeat(2, ReLU()), Flatten(), Dense(2)];
    type EmptyListing = [Input(8, 8, 1), Repeat(2, []), Flatten(), Dense(2)];
    type Backwards = [Input(8, 8, 1), Repeat([ReLU()], 2), Flatten(), Dense(2)];
    type TooMuch = [Input(8, 8, 1), Repeat(2, [ReLU()], [ReLU()], 3), Flatten(), Dense(2)];
    type NamedRepeat = [Input(8, 8, 1), Repeat(2, [ReLU()], name = "relus"), Flatten(), Dense(2)];
    type TooManyLayers = [Input(8, 8, 1), Repeat(600, [Conv2D(1, 1), ReLU()]), Flatten(), Dense(2)];
    type FlattenInRounds = [Input(8, 8, 1), Repeat(2, [Flatten()]), Dense(2)];
}

fn main() {
    println!("{} {} {}", Unflattened::PARAMS, Shortcut::PARAMS, Rounds::PARAMS);
}
