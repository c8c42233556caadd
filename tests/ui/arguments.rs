//! Arguments that are missing, doubled, unknown, or at the wrong place.

use convnet::prelude::*;

convnet! {
    type Unknown = [Input(28, 28, 1), Conv2D(32, kernel = (3, 3)), Flatten(), Dense(10, activaton = "relu")];
    type UnknownAndFar = [Input(28, 28, 1), Conv2D(32, 3, colour = 3), Flatten(name = "f", units = 3), Dense(10)];
    type OtherNames = [
        Input(28, 28, 1),
        Conv2D(out_channels = 8, kernel_size = 3, bias = false, border_mode = "same"),
        BatchNormalization(eps = 1e-5),
        LeakyReLU(alpha = 0.1),
        Dropout(p = 0.5),
        Flatten(),
        Dense(output_dim = 10, W_regularizer = "l2"),
    ];
    type OtherLayersArguments = [
        Input(28, 28, 1),
        ReLU(slope = 0.1),
        UpSampling2D(scale_factor = 2),
        GlobalAveragePooling2D(keep_dims = true),
        Reshape(shape = (1,)),
        Softmax(dim = -1),
    ];
    type Missing = [Input(28, 28, 1), Conv2D(), Conv2D(32), Conv2D(kernel_size = 3), Flatten(), Dense()];
    type MissingElsewhere = [
        Input(28, 28, 1),
        DepthwiseConv2D(),
        SeparableConv2D(),
        Rescaling(),
        Dropout(),
        Activation(),
        Reshape(),
        Flatten(),
        Dense(2),
    ];
    type GivenTwice = [Input(28, 28, 1), Conv2D(32, 3, filters = 3), Flatten(), Dense(10, name = "a", name = "b")];
    type TooMany = [Input(28, 28, 1), MaxPooling2D(2, 2, "same", None, 5, 6), LeakyReLU(0.1, 0.2), Flatten(), Dense(10)];
    type PositionalBehindNamed = [Input(28, 28, 1), Conv2D(filters = 32, (3, 3)), Flatten(), Dense(10)];
    type Colon = [Input(28, 28, 1), Conv2D(32, 3, activation: "relu"), Flatten(), Dense(10)];
    type Commas = [Input(28, 28, 1), Conv2D(32 (3, 3)), Conv2D(32,, 3), Conv2D(32, 3 activation = "relu"), Flatten(), Dense(10)];
    type HalfTyped = [Input(28, 28, 1), Conv2D(32, 3, activation = ), Conv2D(32, ), Flatten(), Dense(10, activation = +)];
    type Unsupported = [
        Input(28, 28, 1),
        Conv2D(32, 3, data_format = "channels_first", kernel_constraint = MaxNorm(2)),
        BatchNormalization(axis = 1, synchronized = true),
        Dropout(0.5, noise_shape = (1, 1), seed = 3),
        Softmax(1),
        Flatten(),
        Dense(10, lora_rank = 4, activity_regularizer = "l2", dtype = "float16"),
    ];
    type InputArguments = [Input(28, 28, channels = 1), Flatten(), Dense(10)];
    type InputTwice = [Input((28, 28, 1), shape = (28, 28, 1)), Flatten(), Dense(10)];
    type InputTwiceByName = [Input(shape = (28, 28, 1), shape = (28, 28, 1)), Flatten(), Dense(10)];
    type InputSizes = [Input(28, 28), Flatten(), Dense(10)];
    type InputBatch = [Input(None, 28, 28, 1), Flatten(), Dense(10)];
    type InputNothing = [Input(), Flatten(), Dense(10)];
}

fn main() {
    println!("{} {} {}", Unknown::PARAMS, HalfTyped::PARAMS, InputBatch::PARAMS);
}
