//! Real numbers, initializers, regularizers, margins, shapes, groups.

use convnet::prelude::*;

convnet! {
    type Reals = [
        Input(8, 8, 4),
        Dropout(50),
        Dropout(1.0),
        Dropout("half"),
        LeakyReLU(-0.1),
        ReLU(max_value = -6),
        Rescaling(1 / 0),
        BatchNormalization(momentum = 99, epsilon = 0),
        Flatten(),
    ];
    type Initializers = [
        Input(8, 8, 4),
        Conv2D(4, 3, kernel_initializer = "he_norml"),
        Conv2D(4, 3, kernel_initializer = "orthogonal"),
        Conv2D(4, 1, kernel_initializer = HeNormal(seed = 3), bias_initializer = 0),
        Flatten(),
    ];
    type Regularizers = [
        Input(8, 8, 4),
        Conv2D(4, 3, kernel_regularizer = "l1"),
        Conv2D(4, 3, kernel_regularizer = L2(-1)),
        Conv2D(4, 1, kernel_regularizer = 0.001, bias_regularizer = L2),
        Flatten(),
    ];
    type Margins = [Input(8, 8, 4), ZeroPadding2D("same"), ZeroPadding2D((1, 2, 3)), ZeroPadding2D((1, (2, -3))), Flatten()];
    type Shapes = [Input(8, 8, 4), Reshape((8, 8)), Reshape((4, -1, 16)), Reshape((5, -1, 3)), Reshape((7, 7, 4)), Reshape((2,)), Dense(2)];
    type Generic<const N: usize> = [Input(8, 8, 4), Flatten(), Dropout(N)];
    type Groups = [Input(8, 8, 4), Conv2D(6, 3, groups = 4), Conv2D(6, 3, groups = 0), Flatten()];
    type Others = [Input(8, 8, 4), UpSampling2D(2, interpolation = "bicubic"), Activation("swish"), Softmax(axis = 1)];
}

fn main() {}
