//! Windows, shapes and sizes that do not fit the shape above them.

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

    type AveragePoolTooLarge = [Input(8, 8, 1), AveragePooling2D(3), AveragePooling2D((2, 3)), Flatten(), Dense(2)];

    type NarrowMap = [Input(28, 3, 1), Conv2D(8, (3, 3)), Conv2D(8, (3, 1)), Conv2D(8, (1, 3)), Flatten(), Dense(2)];

    type Dilated = [Input(8, 8, 1), Conv2D(8, 3, padding = "same"), Conv2D(8, 3, dilation_rate = 4), Flatten(), Dense(2)];

    type ByChannels = [
        Input(16, 16, 3),
        DepthwiseConv2D(17, depth_multiplier = 2),
        SeparableConv2D(8, (17, 3)),
        Conv2D(8, 1, strides = 4),
        DepthwiseConv2D(3, dilation_rate = (2, 1)),
        GlobalAveragePooling2D(),
        Dense(2),
    ];

    type Enlarged = [Input(2, 2, 1), ZeroPadding2D(1), UpSampling2D((2, 1)), Conv2D(4, (8, 5)), Flatten(), Dense(2)];

    type SeveralInOneNetwork = [
        Input(6, 6, 1),
        Conv2D(8, (7, 7)),
        MaxPooling2D((9, 2)),
        Dense(10),
        Dense(2, activation = "softmax"),
        Dense(2),
    ];

    type OtherNumberOfValues = [Input(28, 28, 1), Reshape((7, 7, 15)), GlobalMaxPooling2D(), Reshape((16,)), Dense(2)];

    type SizeLeftOut = [Input(28, 28, 1), Reshape((-1, 7, 16)), Reshape((-1,)), Reshape((-1, 28, 3)), Flatten(), Dense(2)];

    type TooManyParameters = [Input(784), Dense(2147483647), Dense(2147483647), Dense(2147483647), Dense(10)];

    type TooManyValues = [Input(2147483647, 2147483647, 1), Conv2D(8, 1), Flatten(), Dense(10)];

    type EnlargedTooFar = [Input(28, 28, 1), UpSampling2D(2147483647), ZeroPadding2D(1), Flatten(), Dense(10)];
}

fn main() {
    type InAType = convnet![Input(3, 3, 1), Conv2D(8, (5, 5)), Dense(10), LayerNormalization(0.5)];
    println!("{} {}", InAType::PARAMS, SeveralInOneNetwork::summary());
}
