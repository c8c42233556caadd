//! Networks of other kinds than the book's: layers behind each other without a fused kernel for them, normalisations,
//! strides, shortcuts, depthwise convolutions.

use convnet::prelude::*;

convnet! {
    /// LeNet-5 (LeCun and others 1998) as it is usually written today.
    pub type LeNet = [
        Input(28, 28, 1),
        Conv2D(6, (5, 5), padding = "same", activation = "tanh"),
        AveragePooling2D((2, 2)),
        Conv2D(16, (5, 5), activation = "tanh"),
        AveragePooling2D((2, 2)),
        Flatten(),
        Dense(120, activation = "tanh"),
        Dense(84, activation = "tanh"),
        Dense(10, activation = "softmax"),
    ];

    /// Convolution, normalisation, relu.
    pub type Joined<const F: usize, const S: usize> = [
        Input(None, None, None),
        Conv2D(F, (3, 3), strides = S, padding = "same", use_bias = false),
        BatchNormalization(),
        ReLU(),
    ];

    /// Two convolutions and a shortcut around them (He and others 2015).
    pub type Shortcut<const F: usize> = [
        Input(None, None, F),
        Add([Joined<F, 1>, Conv2D(F, (3, 3), padding = "same", use_bias = false), BatchNormalization()], []),
        ReLU(),
    ];

    /// A small residual network for images of 32×32.
    pub type ResNet = [
        Input(32, 32, 3),
        Joined<16, 1>,
        Repeat(3, [Shortcut<16>]),
        Joined<32, 2>,
        Repeat(2, [Shortcut<32>]),
        Joined<64, 2>,
        Repeat(2, [Shortcut<64>]),
        GlobalAveragePooling2D(),
        Dense(10, activation = "softmax"),
    ];

    /// A depthwise convolution and one over channels (Howard and others 2017).
    pub type Separable<const F: usize, const S: usize> = [
        Input(None, None, None),
        DepthwiseConv2D((3, 3), strides = S, padding = "same", use_bias = false),
        BatchNormalization(),
        ReLU(),
        Conv2D(F, (1, 1), use_bias = false),
        BatchNormalization(),
        ReLU(),
    ];

    /// A small MobileNet for images of 96×96.
    pub type MobileNet = [
        Input(96, 96, 3),
        Joined<16, 2>,
        Separable<32, 1>, Separable<64, 2>, Separable<64, 1>, Separable<128, 2>, Separable<128, 1>, Separable<256, 2>,
        Separable<256, 1>,
        GlobalAveragePooling2D(),
        Dense(10, activation = "softmax"),
    ];
}
