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
        Conv2D(8, 3, groups = 0),
        MaxPooling2D(0),
        MaxPooling2D(2, strides = (1, 0)),
        DepthwiseConv2D(3, depth_multiplier = 0),
        UpSampling2D((2, 0)),
        Reshape((0,)),
        Dense(0),
    ];
    type TooLarge = [Input(28, 28, 1), Conv2D(4294967296, 3), Flatten(), Dense(99999999999999999999999999999999999999999)];
    type Tuples = [Input(28, 28, 1), Conv2D(32, (3, 3, 3)), MaxPooling2D([2, 2]), Flatten(), Dense((10, 10))];
    type Margins = [
        Input(28, 28, 1),
        ZeroPadding2D((1, 2, 3)),
        ZeroPadding2D("same"),
        ZeroPadding2D(-1),
        ZeroPadding2D(((1, 2, 3), 0)),
        ZeroPadding2D(0.5),
        Flatten(),
        Dense(10),
    ];
    type Targets = [Input(28, 28, 1), Reshape((28, 28)), Reshape("flat"), Flatten(), Dense(10)];
    type Suffix = [Input(28, 28, 1), Conv2D(32u8, 3), Flatten(), Dense(10)];
    type Activations = [
        Input(28, 28, 1),
        Conv2D(32, 3, activation = "Relu"),
        Conv2D(32, 3, activation = relu),
        Conv2D(32, 3, activation = "swish"),
        Conv2D(32, 3, activation = 1),
        SeparableConv2D(32, 3, activation = "Tanh"),
        Activation("leaky_relu"),
        Activation(ReLU()),
        Flatten(),
        Dense(10),
    ];
    type Paddings = [
        Input(28, 28, 1),
        Conv2D(32, 3, padding = "Same"),
        Conv2D(32, 3, padding = "full"),
        MaxPooling2D(2, padding = true),
        AveragePooling2D(2, padding = same),
        UpSampling2D(2, interpolation = "bicubic"),
        Flatten(),
        Dense(10),
    ];
    type Switches = [
        Input(28, 28, 1),
        Conv2D(32, 3, use_bias = False),
        BatchNormalization(center = 1),
        GlobalAveragePooling2D(keepdims = None),
        Dense(10, use_bias = "no"),
        Dense(10, use_bias = True),
    ];
    type RealNumbers = [
        Input(784),
        Dropout(50),
        Dropout(1.0),
        Dropout("half"),
        Dropout(-0.5),
        BatchNormalization(momentum = 1.5, epsilon = 0),
        ReLU(max_value = -6),
        ReLU(negative_slope = true),
        LeakyReLU(-0.1),
        Rescaling(1.0 / 0.0),
        Rescaling((1, 2)),
        Dense(10),
    ];
    type Initializers = [
        Input(784),
        Dense(8, kernel_initializer = "xavier_uniform"),
        Dense(8, kernel_initializer = "orthogonal"),
        Dense(8, kernel_initializer = "he_norml", bias_initializer = 0),
        Dense(8, kernel_initializer = HeNormal(seed = 3)),
        Dense(8, kernel_initializer = TruncatedNormal(stddev = 0.1)),
        BatchNormalization(gamma_initializer = "one"),
        Dense(10),
    ];
    type Regularizers = [
        Input(784),
        Dense(8, kernel_regularizer = "l1"),
        Dense(8, kernel_regularizer = L1L2(0.1, 0.1)),
        Dense(8, kernel_regularizer = 0.001),
        Dense(8, kernel_regularizer = "weight_decay"),
        Dense(8, kernel_regularizer = Orthogonal()),
        Dense(8, kernel_regularizer = L2(0.1, 0.2)),
        Dense(8, bias_regularizer = L2(-0.1)),
        Dense(8, bias_regularizer = L2("strong")),
        Dense(10),
    ];
}

fn main() {
    println!("{} {} {}", Zero::PARAMS, Negative::PARAMS, Activations::PARAMS);
}
