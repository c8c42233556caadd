"""Writes tests/fixtures/from_keras/*.json: models as Keras itself saves them, for `from_keras` to read.

    python scripts/keras_models.py

`layers` has every layer of the language, with names and settings of its own and Keras's; `residual` is a functional
model whose branches nest in a listing. The listings beside them are tested by tests/from_keras.rs. Needs Keras 3.
"""

import json
import math
import pathlib

import keras
from keras import layers

FOLDER = pathlib.Path(__file__).parent.parent / "tests/fixtures/from_keras"


def all_layers():
    return keras.Sequential(
        [
            keras.Input((32, 24, 3)),
            layers.Rescaling(1 / 255, name="scaled"),
            layers.Conv2D(
                32,
                (3, 5),
                strides=2,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                kernel_regularizer=keras.regularizers.L2(0.001),
            ),
            layers.MaxPooling2D(3, strides=2),
            layers.SeparableConv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D((2, 3), depth_multiplier=2, trainable=False),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Activation("tanh"),
            layers.AveragePooling2D(2, padding="same"),
            layers.UpSampling2D(interpolation="bilinear"),
            layers.ZeroPadding2D(((0, 1), (2, 0))),
            layers.Conv2D(16, 1, groups=2, dilation_rate=2, bias_initializer="ones"),
            layers.GlobalMaxPooling2D(keepdims=True),
            layers.Flatten(),
            layers.Dense(48, kernel_regularizer="l2"),
            layers.Reshape((4, 4, 3)),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5),
            layers.Dense(10),
            layers.Softmax(),
        ],
        name="all_layers",
    )


def residual():
    images = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, padding="same", name="stem")(images)
    for filters, strides in (16, 1), (32, 2):
        y = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        y = layers.BatchNormalization()(y)
        y = layers.ReLU()(y)
        y = layers.Conv2D(filters, 3, padding="same")(y)
        shortcut = x if strides == 1 else layers.Conv2D(filters, 1, strides=strides, name="project")(x)
        x = layers.Add()([y, shortcut])
    x = layers.Concatenate()([layers.Conv2D(8, 1)(x), layers.MaxPooling2D(3, strides=1, padding="same")(x)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(10, activation="softmax")(x), name="small_resnet")


def main():
    for name, model in ("layers", all_layers()), ("residual", residual()):
        text = json.dumps(json.loads(model.to_json()), indent=1)
        (FOLDER / f"{name}.json").write_text(text + "\n")
        print(name, model.count_params(), sum(math.prod(w.shape) for w in model.trainable_variables))


if __name__ == "__main__":
    main()
