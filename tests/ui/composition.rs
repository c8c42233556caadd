//! Networks as layers of networks.

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
    type WithParentheses = [Base(), Flatten(), Dense(10)];
}

mod elsewhere {
    convnet::convnet! {
        pub type Maps = [Input(8, 8, 3), Conv2D(4, (3, 3), padding = "same", name = "stem"), MaxPooling2D(2)];
    }
}

// What only the compiler sees.
convnet! {
    type TooLarge = [elsewhere::Maps, Conv2D(8, 3), Conv2D(8, 3), Flatten(), Dense(10)];
    type Dimensions = [elsewhere::Maps, Dense(10)];
    type Taken = [elsewhere::Maps, Flatten(name = "stem"), Dense(10)];
    type Mismatch = [Input(8, 8, 1), Conv2D(4, 3, padding = "same"), elsewhere::Maps, Flatten(), Dense(10)];
}

fn main() {
    println!("{}", Unflattened::PARAMS);
}
