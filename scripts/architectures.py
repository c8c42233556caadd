"""Writes `tests/fixtures/architectures.rs`: whole architectures as listings, and how many parameters Keras counts.

The listings and the Keras models are written down twice, by hand, so that each is a check of the other. `ResNet50` is
compared with `keras.applications`.
"""

import math

import exact_keras  # noqa: F401  first: it sets Keras up
import keras

layers = keras.layers


def norm_relu(x, **arguments):
    return layers.ReLU()(layers.BatchNormalization(**arguments)(x))


def resnet18():
    """A ResNet of 18 layers for images of 32×32 (He et al. 2015, with a 3×3 stem)."""

    def conv(x, filters, window, strides=1):
        return layers.Conv2D(filters, window, strides=strides, padding="same", use_bias=False)(x)

    start = keras.Input((32, 32, 3))
    x = norm_relu(conv(start, 64, 3))
    for stage, filters in enumerate([64, 128, 256, 512]):
        for block in range(2):
            strides = 2 if stage > 0 and block == 0 else 1
            shortcut = layers.BatchNormalization()(conv(x, filters, 1, strides)) if strides == 2 else x
            x = conv(norm_relu(conv(x, filters, 3, strides)), filters, 3)
            x = layers.ReLU()(layers.Add()([layers.BatchNormalization()(x), shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(start, layers.Dense(10, activation="softmax")(x))


def inception():
    """A stem and the modules 3a, 3b and 4a of GoogLeNet (Szegedy et al. 2014)."""

    def conv(x, filters, window, **arguments):
        return layers.Conv2D(filters, window, padding="same", activation="relu", **arguments)(x)

    def module(x, one, three_in, three, five_in, five, pooled):
        three = conv(conv(x, three_in, 1), three, 3)
        five = conv(conv(x, five_in, 1), five, 5)
        pool = conv(layers.MaxPooling2D(3, strides=1, padding="same")(x), pooled, 1)
        return layers.Concatenate()([conv(x, one, 1), three, five, pool])

    def pool(x):
        return layers.MaxPooling2D(3, strides=2, padding="same")(x)

    start = keras.Input((96, 96, 3))
    x = pool(conv(start, 64, 7, strides=2))
    x = pool(conv(conv(x, 64, 1), 192, 3))
    x = module(x, 64, 96, 128, 16, 32, 32)
    x = pool(module(x, 128, 128, 192, 32, 96, 64))
    x = module(x, 192, 96, 208, 16, 48, 64)
    x = layers.Dropout(0.4)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(start, layers.Dense(1000, activation="softmax")(x))


def resnet50():
    """The ResNet of 50 layers of `keras.applications`, for images of 224×224."""

    def norm(x):
        return layers.BatchNormalization(epsilon=1.001e-5)(x)

    def relu(x):
        return layers.Activation("relu")(x)

    start = keras.Input((224, 224, 3))
    x = layers.ZeroPadding2D(((3, 3), (3, 3)))(start)
    x = relu(norm(layers.Conv2D(64, 7, strides=2)(x)))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(((1, 1), (1, 1)))(x))
    for filters, blocks, first in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for block in range(blocks):
            strides = first if block == 0 else 1
            shortcut = norm(layers.Conv2D(4 * filters, 1, strides=strides)(x)) if block == 0 else x
            x = relu(norm(layers.Conv2D(filters, 1, strides=strides)(x)))
            x = relu(norm(layers.Conv2D(filters, 3, padding="same")(x)))
            x = norm(layers.Conv2D(4 * filters, 1)(x))
            x = relu(layers.Add()([shortcut, x]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(start, layers.Dense(1000, activation="softmax")(x))


def counts(model):
    """Total, trainable and not trainable parameters, and how many layers there are behind the input."""
    weights = model.trainable_weights, model.non_trainable_weights
    trainable, frozen = (sum(math.prod(variable.shape) for variable in variables) for variables in weights)
    assert model.count_params() == trainable + frozen
    return trainable + frozen, trainable, frozen, len(model.layers) - 1


def constants(name, model):
    """What a test compares with a plan."""
    total, trainable, frozen, layer_count = counts(model)
    summary = f"`{name}` in Keras: parameters in all, trainable, not trainable; and its layers."
    values = ", ".join(f"{n:_}" if n > 9999 else str(n) for n in (total, trainable, frozen, layer_count))
    return f"/// {summary}\nconst {name.upper()}: [usize; 4] = [{values}];"


def write(path):
    """`architectures.rs`."""
    reference, models = keras.applications.ResNet50(weights=None), [resnet18(), inception(), resnet50()]
    assert counts(models[2]) == counts(reference)
    found = "\n\n".join(map(constants, ["ResNet18", "Inception", "ResNet50"], models))
    path.write_text(f"{LISTINGS}\n{found}\n", encoding="utf-8")


LISTINGS = """\
// Written by scripts/architectures.py, to be included where `convnet!` is in scope: change the script instead.

convnet! {
    /// Two convolutions around a shortcut.
    pub type Basic<const F: usize> = [
        Input(None, None, None),
        Add([
            Conv2D(F, 3, padding = "same", use_bias = false),
            BatchNormalization(),
            ReLU(),
            Conv2D(F, 3, padding = "same", use_bias = false),
            BatchNormalization(),
        ], []),
        ReLU(),
    ];

    /// The same to half as many rows and columns, with a projection as the shortcut.
    pub type BasicDown<const F: usize> = [
        Input(None, None, None),
        Add([
            Conv2D(F, 3, strides = 2, padding = "same", use_bias = false),
            BatchNormalization(),
            ReLU(),
            Conv2D(F, 3, padding = "same", use_bias = false),
            BatchNormalization(),
        ], [
            Conv2D(F, 1, strides = 2, padding = "same", use_bias = false),
            BatchNormalization(),
        ]),
        ReLU(),
    ];

    /// A ResNet of 18 layers for images of 32×32 (He et al. 2015, with a 3×3 stem).
    pub type ResNet18 = [
        Input(32, 32, 3),
        Conv2D(64, 3, padding = "same", use_bias = false),
        BatchNormalization(),
        ReLU(),
        Repeat(2, [Basic<64>]),
        BasicDown<128>,
        Basic<128>,
        BasicDown<256>,
        Basic<256>,
        BasicDown<512>,
        Basic<512>,
        GlobalAveragePooling2D(),
        Dense(10, activation = "softmax"),
    ];

    /// A module with four paths.
    pub type Module<
        const ONE: usize,
        const THREE_IN: usize,
        const THREE: usize,
        const FIVE_IN: usize,
        const FIVE: usize,
        const POOLED: usize,
    > = [
        Input(None, None, None),
        Concatenate([
            Conv2D(ONE, 1, padding = "same", activation = "relu"),
        ], [
            Conv2D(THREE_IN, 1, padding = "same", activation = "relu"),
            Conv2D(THREE, 3, padding = "same", activation = "relu"),
        ], [
            Conv2D(FIVE_IN, 1, padding = "same", activation = "relu"),
            Conv2D(FIVE, 5, padding = "same", activation = "relu"),
        ], [
            MaxPooling2D(3, strides = 1, padding = "same"),
            Conv2D(POOLED, 1, padding = "same", activation = "relu"),
        ]),
    ];

    /// A stem and the modules 3a, 3b and 4a of GoogLeNet (Szegedy et al. 2014).
    pub type Inception = [
        Input(96, 96, 3),
        Conv2D(64, 7, strides = 2, padding = "same", activation = "relu"),
        MaxPooling2D(3, strides = 2, padding = "same"),
        Conv2D(64, 1, padding = "same", activation = "relu"),
        Conv2D(192, 3, padding = "same", activation = "relu"),
        MaxPooling2D(3, strides = 2, padding = "same"),
        Module<64, 96, 128, 16, 32, 32>,
        Module<128, 128, 192, 32, 96, 64>,
        MaxPooling2D(3, strides = 2, padding = "same"),
        Module<192, 96, 208, 16, 48, 64>,
        GlobalAveragePooling2D(),
        Dropout(0.4),
        Dense(1000, activation = "softmax"),
    ];

    /// A bottleneck of F channels between maps of WIDE.
    pub type Bottleneck<const F: usize, const WIDE: usize> = [
        Input(None, None, None),
        Add([], [
            Conv2D(F, 1),
            BatchNormalization(epsilon = 1.001e-5),
            Activation("relu"),
            Conv2D(F, 3, padding = "same"),
            BatchNormalization(epsilon = 1.001e-5),
            Activation("relu"),
            Conv2D(WIDE, 1),
            BatchNormalization(epsilon = 1.001e-5),
        ]),
        Activation("relu"),
    ];

    /// The same with a projection as the shortcut.
    pub type BottleneckWider<const F: usize, const WIDE: usize> = [
        Input(None, None, None),
        Add([
            Conv2D(WIDE, 1),
            BatchNormalization(epsilon = 1.001e-5),
        ], [
            Conv2D(F, 1),
            BatchNormalization(epsilon = 1.001e-5),
            Activation("relu"),
            Conv2D(F, 3, padding = "same"),
            BatchNormalization(epsilon = 1.001e-5),
            Activation("relu"),
            Conv2D(WIDE, 1),
            BatchNormalization(epsilon = 1.001e-5),
        ]),
        Activation("relu"),
    ];

    /// The same to half as many rows and columns.
    pub type BottleneckDown<const F: usize, const WIDE: usize> = [
        Input(None, None, None),
        Add([
            Conv2D(WIDE, 1, strides = 2),
            BatchNormalization(epsilon = 1.001e-5),
        ], [
            Conv2D(F, 1, strides = 2),
            BatchNormalization(epsilon = 1.001e-5),
            Activation("relu"),
            Conv2D(F, 3, padding = "same"),
            BatchNormalization(epsilon = 1.001e-5),
            Activation("relu"),
            Conv2D(WIDE, 1),
            BatchNormalization(epsilon = 1.001e-5),
        ]),
        Activation("relu"),
    ];

    /// The ResNet of 50 layers of `keras.applications`, for images of 224×224.
    pub type ResNet50 = [
        Input(224, 224, 3),
        ZeroPadding2D(((3, 3), (3, 3))),
        Conv2D(64, 7, strides = 2),
        BatchNormalization(epsilon = 1.001e-5),
        Activation("relu"),
        ZeroPadding2D(1),
        MaxPooling2D(3, strides = 2),
        BottleneckWider<64, 256>,
        Repeat(2, [Bottleneck<64, 256>]),
        BottleneckDown<128, 512>,
        Repeat(3, [Bottleneck<128, 512>]),
        BottleneckDown<256, 1024>,
        Repeat(5, [Bottleneck<256, 1024>]),
        BottleneckDown<512, 2048>,
        Repeat(2, [Bottleneck<512, 2048>]),
        GlobalAveragePooling2D(),
        Dense(1000, activation = "softmax"),
    ];

    /// What `layer_training.safetensors` trains.
    pub type Trained = [
        Input(28, 28, 1),
        Conv2D(8, 3, strides = 2, padding = "same", use_bias = false),
        BatchNormalization(),
        Activation("relu"),
        Add([
            Conv2D(8, 3, padding = "same", use_bias = false),
            BatchNormalization(),
            Activation("relu"),
            Conv2D(8, 3, padding = "same", use_bias = false),
            BatchNormalization(),
        ], []),
        Activation("relu"),
        Conv2D(8, 3, padding = "same", activation = "relu", trainable = false),
        GlobalAveragePooling2D(),
        Dense(16, activation = "relu", kernel_regularizer = L2(0.01)),
        Dense(10, activation = "softmax"),
    ];

    /// The same with its last batch normalization frozen.
    pub type TrainedFrozenNorm = [
        Input(28, 28, 1),
        Conv2D(8, 3, strides = 2, padding = "same", use_bias = false),
        BatchNormalization(),
        Activation("relu"),
        Add([
            Conv2D(8, 3, padding = "same", use_bias = false),
            BatchNormalization(),
            Activation("relu"),
            Conv2D(8, 3, padding = "same", use_bias = false),
            BatchNormalization(trainable = false),
        ], []),
        Activation("relu"),
        Conv2D(8, 3, padding = "same", activation = "relu", trainable = false),
        GlobalAveragePooling2D(),
        Dense(16, activation = "relu", kernel_regularizer = L2(0.01)),
        Dense(10, activation = "softmax"),
    ];

    /// `keras/regularized.json` as a listing.
    pub type Regularized = [
        Input(16, 16, 3),
        Conv2D(8, 3, activation = "relu", kernel_initializer = "he_normal", kernel_regularizer = L2(0.001)),
        DepthwiseConv2D(3, depth_multiplier = 2, depthwise_initializer = "he_uniform", depthwise_regularizer = "l2"),
        SeparableConv2D(12, 3, pointwise_initializer = "lecun_normal", pointwise_regularizer = L2(0.02)),
        BatchNormalization(gamma_initializer = "zeros", beta_initializer = "ones"),
        Flatten(),
        Dense(10, activation = "softmax", bias_initializer = "ones", bias_regularizer = L2(0.5)),
    ];
}
"""
