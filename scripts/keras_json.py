"""Writes `tests/fixtures/keras/*.json`: networks as Keras's `to_json` has them, to be turned into listings.

`layer00.json` and the like are the sequential ones of `layer_nets.rs`, under the names that our layers have. The others:

    digits.json         listings 5.1 and 5.2, layers named by Keras
    digits_keras2.json  the same as Keras 2.0.8 wrote it: the configuration is a list, the input stands in the first layer
    regularized.json    initialisers and regularizers; `Regularized` in `architectures.rs`
    functional.json     a model that is not sequential
    unsupported.json    a sequential one with layers that no listing has
"""

import json

import exact_keras  # first: it sets Keras up
import keras
from layer_answers import make_layer
from layer_nets import shown

layers = keras.layers
SEQUENTIAL = 12


def telling(networks):
    """(name, network) of twelve sequential ones: each time the one that shows most kinds and arguments that are new."""
    left = {f"layer{number:02}": network for number, network in enumerate(networks) if network.is_sequential()}
    seen = set()
    for _ in range(SEQUENTIAL):
        name = max(left, key=lambda name: len(set(shown(left[name])) - seen))
        seen.update(shown(left[name]))
        yield name, left.pop(name)


def sequential(name, network):
    """A network without branches, repeats and blocks."""
    keras.backend.clear_session()  # Keras counts names from the start again
    made = [make_layer(item, given) for (item, _), given in zip(network.layers(), network.names())]
    return keras.Sequential([keras.Input(network.input), *made], name=name)


def digits():
    """Listings 5.1 and 5.2."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def regularized():
    """Arguments that only training sees."""
    l2 = keras.regularizers.L2
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, activation="relu", kernel_initializer="he_normal", kernel_regularizer=l2(0.001)),
            layers.DepthwiseConv2D(
                3, depth_multiplier=2, depthwise_initializer="he_uniform", depthwise_regularizer="l2"
            ),
            layers.SeparableConv2D(12, 3, pointwise_initializer="lecun_normal", pointwise_regularizer=l2(0.02)),
            layers.BatchNormalization(gamma_initializer="zeros", beta_initializer="ones"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", bias_initializer="ones", bias_regularizer=l2(0.5)),
        ]
    )


def functional():
    """A shortcut, which is no chain of layers."""
    start = keras.Input((16, 16, 8))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(start)
    x = layers.Add()([start, layers.Conv2D(8, 3, padding="same")(x)])
    return keras.Model(start, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def unsupported():
    """Two layers that no listing has."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2DTranspose(4, 3, strides=2),
            layers.LayerNormalization(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


# ------------------------------------------------------------------------------------------------ Keras 2


def keras2_layer(kind, name, **arguments):
    return {"class_name": kind, "config": {"name": name, "trainable": True, **arguments}}


def keras2_weights(activation):
    """What the layers with weights have in common; `glorot_uniform` was spelled out."""
    glorot = {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}
    return {
        "activation": activation,
        "use_bias": True,
        "kernel_initializer": {"class_name": "VarianceScaling", "config": glorot},
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": None,
        "bias_regularizer": None,
        "activity_regularizer": None,
        "kernel_constraint": None,
        "bias_constraint": None,
    }


def keras2_conv(name, filters, **first):
    window = {"kernel_size": [3, 3], "strides": [1, 1], "padding": "valid"}
    window |= {"data_format": "channels_last", "dilation_rate": [1, 1]}
    return keras2_layer("Conv2D", name, **first, filters=filters, **window, **keras2_weights("relu"))


def keras2_pool(name):
    window = {"pool_size": [2, 2], "padding": "valid", "strides": [2, 2], "data_format": "channels_last"}
    return keras2_layer("MaxPooling2D", name, **window)


def digits_keras2():
    """Listings 5.1 and 5.2, in the words of Keras 2.0.8."""
    first = {"batch_input_shape": [None, 28, 28, 1], "dtype": "float32"}
    config = [
        keras2_conv("conv2d_1", 32, **first),
        keras2_pool("max_pooling2d_1"),
        keras2_conv("conv2d_2", 64),
        keras2_pool("max_pooling2d_2"),
        keras2_conv("conv2d_3", 64),
        keras2_layer("Flatten", "flatten_1"),
        keras2_layer("Dense", "dense_1", units=64, **keras2_weights("relu")),
        keras2_layer("Dense", "dense_2", units=10, **keras2_weights("softmax")),
    ]
    model = {"class_name": "Sequential", "config": config, "keras_version": "2.0.8", "backend": "tensorflow"}
    return json.dumps(model)


def write(folder, networks):
    """All of them; `networks` are those of `layer_nets.rs`."""
    exact_keras.set_precision("float32")
    folder.mkdir(exist_ok=True)
    texts = {name: sequential(name, network).to_json() for name, network in telling(networks)}
    for make in (digits, regularized, functional, unsupported):
        keras.backend.clear_session()
        texts[make.__name__] = make().to_json()
    texts["digits_keras2"] = digits_keras2()
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(f"{len(texts)} models as JSON")
