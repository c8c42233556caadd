//! Values of the wrong kind or out of range.

use convnet::prelude::*;

convnet! {
    type NotANumber = [Input(28, "28", 1), Conv2D("32", 3.5), Flatten(), Dense(true), Dense(None)];
    type Misplaced = [Input(28, 28, 1), Conv2D(32, 3, "same"), Conv2D(32, 3, "relu"), MaxPooling2D("same"), Flatten(), Dense("relu")];
    type Negative = [Input(28, 28, 1), Conv2D(-32, (3, -3)), Flatten(), Dense(10 - 20)];
    type Zero = [
        Input(28, 0, 1),
        Conv2D(0, 3),
        Conv2D(8, (3, 0)),
        Conv2D(8, 3, strides = 0),
        Conv2D(8, 3, dilation_rate = (0, 1)),
        MaxPooling2D(0),
        MaxPooling2D(2, strides = (1, 0)),
        Flatten(),
        Dense(0),
    ];
    type TooLarge = [Input(28, 28, 1), Conv2D(4294967296, 3), Flatten(), Dense(99999999999999999999999999999999999999999)];
    type Tuples = [Input(28, 28, 1), Conv2D(32, (3, 3, 3)), MaxPooling2D([2, 2]), Flatten(), Dense((10, 10))];
    type Suffix = [Input(28, 28, 1), Conv2D(32u8, 3), Flatten(), Dense(10)];
    type Activations = [
        Input(28, 28, 1),
        Conv2D(32, 3, activation = "Relu"),
        Conv2D(32, 3, activation = relu),
        Conv2D(32, 3, activation = "swish"),
        Conv2D(32, 3, activation = 1),
        Flatten(),
        Dense(10),
    ];
    type Paddings = [
        Input(28, 28, 1),
        Conv2D(32, 3, padding = "Same"),
        Conv2D(32, 3, padding = "full"),
        MaxPooling2D(2, padding = true),
        MaxPooling2D(2, padding = same),
        Flatten(),
        Dense(10),
    ];
    type Switches = [Input(28, 28, 1), Conv2D(32, 3, use_bias = False), Flatten(), Dense(10, use_bias = "no"), Dense(10, use_bias = True)];
}

fn main() {
    println!("{} {} {}", Zero::PARAMS, Negative::PARAMS, Activations::PARAMS);
}
