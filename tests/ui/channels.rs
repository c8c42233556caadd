//! Maps and vectors: what needs channels, what needs none, what has the wrong number; what belongs to the end.

use convnet::prelude::*;

convnet! {
    type DenseOnMap = [Input(28, 28, 1), Conv2D(32, (3, 3)), Dense(10)];

    type DenseBeforeFlatten = [Input(28, 28, 1), Conv2D(32, (3, 3)), Dense(10), Flatten(), Dense(10)];

    type DenseOnInput = [Input(28, 28, 1), Dense(10)];

    type FlattenTwice = [Input(28, 28, 1), Flatten(), Flatten(), Dense(10)];

    type FlattenOnVector = [Input(784), Flatten(), Dense(10)];

    type FlattenBehindGlobalPooling = [Input(28, 28, 1), Conv2D(8, 3), GlobalAveragePooling2D(), Flatten(), Dense(10)];

    type DenseBehindKeptAxes = [Input(28, 28, 1), GlobalMaxPooling2D(keepdims = true), Dense(10)];

    type ConvolutionOnVector = [Input(28, 28, 1), Flatten(), Conv2D(32, (3, 3)), Flatten(), Dense(10)];

    type PoolingOnVector = [Input(784), MaxPooling2D(), Dense(10)];

    type MapLayersOnVectors = [
        Input(784),
        Dense(64),
        AveragePooling2D(2),
        GlobalAveragePooling2D(),
        ZeroPadding2D(1),
        Dense(10),
    ];

    type MoreMapLayersOnVectors = [
        Input(28, 28, 1),
        GlobalMaxPooling2D(),
        UpSampling2D(),
        DepthwiseConv2D(3),
        SeparableConv2D(8, 3),
        Flatten(),
        Dense(10),
    ];

    type Groups = [
        Input(28, 28, 6),
        Conv2D(8, 3, groups = 4),
        Conv2D(9, 3, groups = 3),
        Conv2D(12, 3, groups = 3),
        Flatten(),
        Dense(10),
    ];

    type SoftmaxInside = [
        Input(28, 28, 1),
        Conv2D(8, 3, activation = "softmax"),
        DepthwiseConv2D(3, activation = "softmax"),
        Activation("softmax"),
        Softmax(),
        Flatten(),
        Dense(10, "softmax"),
        BatchNormalization(),
        Dense(10),
    ];
}

fn main() {
    println!("{} {}", Groups::PARAMS, SoftmaxInside::PARAMS);
}
