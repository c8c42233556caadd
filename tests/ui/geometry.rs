//! Layers that do not fit the shape above them.

use convnet::prelude::*;

convnet! {
    type WindowTooLarge = [
        Input(28, 28, 1),
        Conv2D(32, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation = "relu"),
        Conv2D(64, (5, 5), activation = "relu"),
        Flatten(),
        Dense(10, activation = "softmax"),
    ];

    type WindowTooLargeForInput = [Input(4, 4, 3), Conv2D(8, 5), Flatten(), Dense(2)];

    type PoolTooLarge = [Input(3, 3, 1), Conv2D(8, (3, 3)), MaxPooling2D(), Flatten(), Dense(2)];

    type NarrowMap = [Input(28, 3, 1), Conv2D(8, (3, 3)), Conv2D(8, (3, 1)), Conv2D(8, (1, 3)), Flatten(), Dense(2)];

    type Dilated = [Input(8, 8, 1), Conv2D(8, 3, padding = "same"), Conv2D(8, 3, dilation_rate = 4), Flatten(), Dense(2)];

    type SeveralInOneNetwork = [
        Input(6, 6, 1),
        Conv2D(8, (7, 7)),
        MaxPooling2D((9, 2)),
        Dense(10),
        Dense(2, activation = "softmax"),
        Dense(2),
    ];

    type DenseOnMap = [Input(28, 28, 1), Conv2D(32, (3, 3)), Dense(10)];

    type DenseBeforeFlatten = [Input(28, 28, 1), Conv2D(32, (3, 3)), Dense(10), Flatten(), Dense(10)];

    type DenseOnInput = [Input(28, 28, 1), Dense(10)];

    type FlattenTwice = [Input(28, 28, 1), Flatten(), Flatten(), Dense(10)];

    type FlattenOnVector = [Input(784), Flatten(), Dense(10)];

    type ConvolutionOnVector = [Input(28, 28, 1), Flatten(), Conv2D(32, (3, 3)), Flatten(), Dense(10)];

    type PoolingOnVector = [Input(784), MaxPooling2D(), Dense(10)];

    type SoftmaxInside = [Input(28, 28, 1), Conv2D(8, 3, activation = "softmax"), Flatten(), Dense(10)];

    type TooManyParameters = [Input(784), Dense(2147483647), Dense(2147483647), Dense(2147483647), Dense(10)];

    type TooManyValues = [Input(2147483647, 2147483647, 1), Conv2D(8, 1), Flatten(), Dense(10)];
}

fn main() {
    type InAType = convnet![Input(3, 3, 1), Conv2D(8, (5, 5)), Dense(10), GaussianNoise(0.5)];
    println!("{} {}", InAType::PARAMS, SeveralInOneNetwork::summary());
}
