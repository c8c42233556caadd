//! Arguments that are missing, doubled, unknown, or at the wrong place.

use convnet::prelude::*;

convnet! {
    type Unknown = [Input(28, 28, 1), Conv2D(32, kernel = (3, 3)), Flatten(), Dense(10, activaton = "relu")];
    type UnknownAndFar = [Input(28, 28, 1), Conv2D(32, 3, colour = 3), Flatten(name = "f", units = 3), Dense(10)];
    type PythonOnly = [Input(28, 28, 1), Conv2D(32, 3, kernel_constraint = "unit_norm"), Flatten(), Dropout(0.5, seed = 3), Dense(10)];
    type Missing = [Input(28, 28, 1), Conv2D(), Conv2D(32), Conv2D(kernel_size = 3), Flatten(), Dense()];
    type GivenTwice = [Input(28, 28, 1), Conv2D(32, 3, filters = 3), Flatten(), Dense(10, name = "a", name = "b")];
    type TooMany = [Input(28, 28, 1), MaxPooling2D(2, 2, "same", None, 5, 6), Flatten(), Dense(10)];
    type PositionalBehindNamed = [Input(28, 28, 1), Conv2D(filters = 32, (3, 3)), Flatten(), Dense(10)];
    type Colon = [Input(28, 28, 1), Conv2D(32, 3, activation: "relu"), Flatten(), Dense(10)];
    type Commas = [Input(28, 28, 1), Conv2D(32 (3, 3)), Conv2D(32,, 3), Conv2D(32, 3 activation = "relu"), Flatten(), Dense(10)];
    type HalfTyped = [Input(28, 28, 1), Conv2D(32, 3, activation = ), Conv2D(32, ), Flatten(), Dense(10, activation = +)];
    type Unsupported = [Input(28, 28, 1), Conv2D(32, 3, groups = 2, data_format = "channels_first"), Flatten(), Dense(10)];
    type InputArguments = [Input(28, 28, channels = 1), Flatten(), Dense(10)];
    type InputTwice = [Input((28, 28, 1), shape = (28, 28, 1)), Flatten(), Dense(10)];
    type InputSizes = [Input(28, 28), Flatten(), Dense(10)];
    type InputBatch = [Input(None, 28, 28, 1), Flatten(), Dense(10)];
    type InputNothing = [Input(), Flatten(), Dense(10)];
}

fn main() {
    println!("{} {} {}", Unknown::PARAMS, HalfTyped::PARAMS, InputBatch::PARAMS);
}
