"""The layer networks that are not drawn freely: what an optimiser may fuse, and earlier types as layers.

What is left to draw in them is the size of the map, the number of filters, or one argument.
"""

from layer_listing import Block, Constant, Layer, Merge, Network, Repeat, rust_type


def conv(filters, window, **arguments):
    return Layer("Conv2D", {"filters": filters, "kernel_size": (window, window), **arguments})


def dense(units, **arguments):
    return Layer("Dense", {"units": units, **arguments})


def up(rows, columns, **arguments):
    return Layer("UpSampling2D", {"size": (rows, columns), **arguments})


def pool(**arguments):
    return Layer("MaxPooling2D", arguments)


NORM = Layer("BatchNormalization")
RELU = Layer("Activation", {"activation": "relu"})
FLATTEN = Layer("Flatten")
AVERAGE = Layer("GlobalAveragePooling2D")
SAME = {"padding": "same"}
BARE = {"padding": "same", "use_bias": False}


# ------------------------------------------------------------------------------------------------ types of their own


def residual(filters):
    """Two convolutions and a shortcut, as in a ResNet."""
    path = [conv(filters, 3, **BARE), NORM, RELU, conv(filters, 3, **BARE), NORM]
    return [Merge("Add", [path, []]), RELU]


def mobile(filters, strides):
    """A depthwise and a pointwise convolution, as in a MobileNet."""
    window = {"kernel_size": (3, 3), "strides": strides, "padding": "same", "use_bias": False}
    return [Layer("DepthwiseConv2D", window), NORM, Layer("ReLU", {"max_value": 6.0}), conv(filters, 1, **BARE), NORM]


BASE = [conv(8, 3, activation="relu"), pool(), conv(12, 3, **SAME)]
BASE_INPUT = (12, 10, 3)
STEM = [Layer("Rescaling", {"scale": 2.0, "offset": -1.0}), conv(8, 3, strides=(2, 2), **SAME), NORM]

ANY = (None, None, None)

# Their definitions, and the layers that they are then.
TYPES = [
    rust_type("A network that others begin with.", "LayerBase", BASE, BASE_INPUT),
    rust_type("A block for images of three channels.", "LayerStem", STEM, (None, None, 3)),
    rust_type("Two convolutions and a shortcut.", "LayerResidual<const F: usize>", residual(Constant("F")), ANY),
    rust_type("One per channel and a pointwise one.", "LayerMobile<const F: usize>", mobile(Constant("F"), (1, 1)), ANY),
]


def residual_block(filters, **keywords):
    return Block(f"LayerResidual<{filters}>", residual(filters), **keywords)


def mobile_block(filters):
    return Block(f"LayerMobile<{filters}>", mobile(filters, (1, 1)))


# ------------------------------------------------------------------------------------------------ networks


def fused_even(draw):
    """Convolution, normalization, relu, pooling: 16 and 32 channels, pooling that covers its map."""
    size = (draw.rng.choice([8, 12]), draw.rng.choice([8, 12]), 3)
    return Network(size, [conv(16, 3, **SAME), NORM, RELU, pool(), conv(32, 3, **SAME), NORM, RELU, pool()])


def fused_odd(draw):
    """The same with no bias, valid, on odd maps; then a head."""
    size = (draw.rng.choice([11, 13]), draw.rng.choice([11, 13]), 2)
    norm = Layer("BatchNormalization", {"scale": False, "epsilon": 0.00001})
    body = [conv(32, 3, use_bias=False), NORM, RELU, pool(), conv(16, 3, use_bias=False), norm, RELU, pool(**SAME)]
    return Network(size, [*body, FLATTEN, dense(10, name="logits"), Layer("Softmax")])


def before_activation(draw):
    """Normalization and relu in front of the convolution, as in a ResNet of the second version."""
    path = [NORM, RELU, conv(16, 3, **BARE), NORM, RELU, conv(16, 3, **SAME)]
    return Network((9, draw.rng.choice([7, 8]), 4), [conv(16, 3, **SAME), Merge("Add", [path, []]), NORM, RELU])


def mobile_net(draw):
    """A stem, then depthwise and pointwise convolutions, the second shrinking the map."""
    body = [conv(8, 3, strides=(2, 2), **BARE), NORM, Layer("ReLU"), mobile_block(16), *mobile(16, (2, 2))]
    return Network((17, draw.rng.choice([15, 16]), 3), [*body, AVERAGE, dense(10, activation="softmax")])


def dense_norm(draw):
    """Normalization of vectors."""
    body = [FLATTEN, dense(32, use_bias=False), NORM, RELU, dense(16), NORM, RELU, Layer("Dropout", {"rate": 0.5})]
    return Network((6, draw.rng.choice([5, 6]), 2), [*body, dense(10, activation="softmax")])


def res_net(draw):
    """Residual blocks, in a row and repeated."""
    blocks = [residual_block(16), Repeat(2, [residual_block(16)])]
    return Network((8, draw.rng.choice([8, 9]), 3), [conv(16, 3, **BARE), NORM, RELU, *blocks])


def transfer(draw):
    """A base that does not learn, and a head that does."""
    base = Block("LayerBase", BASE, BASE_INPUT, trainable=False)
    return Network(BASE_INPUT, [base, FLATTEN, dense(draw.rng.choice([8, 16]), activation="relu"), dense(1)])


def half_frozen(draw):
    """Frozen blocks between ones that learn."""
    size = (draw.rng.choice([10, 11]), 9, 3)
    body = [Block("LayerStem", STEM, trainable=False), residual_block(8, trainable=False), residual_block(8)]
    return Network(size, [*body, AVERAGE, dense(5, activation="softmax")])


def inception(draw):
    """Two modules with four paths."""

    def module(one, three, five, pooled):
        paths = [[conv(one, 1)], [conv(three, 1), conv(three + 2, 3, **SAME)], [conv(five, 1), conv(five + 1, 5, **SAME)]]
        return Merge("Concatenate", [*paths, [pool(pool_size=(3, 3), strides=(1, 1), **SAME), conv(pooled, 1)]])

    relu = Layer("ReLU")
    return Network((7, draw.rng.choice([7, 8]), 4), [module(4, 3, 2, 3), relu, module(6, 4, 3, 2), relu])


def map_softmax(draw):
    """A class for every place of the map."""
    last = conv(draw.rng.choice([5, 10]), 1, activation="softmax")
    return Network((8, 6, 3), [conv(8, 3, activation="relu", **SAME), NORM, last])


def hourglass(draw):
    """A path that goes down and up again, another inside it."""
    bilinear = {"interpolation": draw.rng.choice(["nearest", "bilinear"])}
    inner = Merge("Concatenate", [[pool(), conv(6, 3, **SAME), up(2, 2)], []])
    down = [pool(), conv(8, 3, activation="relu", **SAME), inner, up(2, 2, **bilinear), conv(4, 1)]
    return Network((8, 12, 2), [conv(4, 3, **SAME), Merge("Concatenate", [[], down]), conv(3, 3, **SAME)])


def vectors(draw):
    """Shortcuts around Dense layers, repeated."""
    inside = [Merge("Add", [[dense(16), NORM, RELU, dense(16)], []]), RELU]
    return Network((draw.rng.choice([20, 24]),), [dense(16), Repeat(2, inside), dense(10, activation="softmax")])


def from_vector(draw):
    """A vector that becomes a map."""
    body = [dense(48, activation="relu"), Layer("Reshape", {"target_shape": (4, 4, 3)}), up(2, 2), conv(8, 3, **SAME)]
    return Network((12,), [*body, Layer("LeakyReLU", {"negative_slope": 0.1}), conv(draw.rng.choice([1, 3]), 3)])


def global_maximum(draw):
    """The largest values as a map of one place."""
    body = [Layer("UpSampling2D"), conv(9, 3, **SAME), Layer("GlobalMaxPooling2D", {"keepdims": True}), conv(6, 1)]
    return Network((5, draw.rng.choice([6, 7]), 4), [*body, NORM, Layer("Reshape", {"target_shape": (6,)}), dense(4)])


def pooled_vectors(draw):
    """Vectors from three ways to leave a map, side by side."""
    ways = [[AVERAGE], [Layer("GlobalMaxPooling2D")], [FLATTEN, dense(6)]]
    norm = Layer("BatchNormalization", {"trainable": False})
    body = [conv(6, 3, name="first"), Layer("LeakyReLU"), Merge("Concatenate", ways), norm, dense(8, name="features")]
    last = Layer("Activation", {"activation": "softmax", "name": "probabilities"})
    return Network((7, draw.rng.choice([6, 7]), 3), [*body, RELU, dense(4), last])


TEMPLATES = [
    fused_even, fused_odd, before_activation, mobile_net, dense_norm, res_net, transfer, half_frozen, inception,
    map_softmax, hourglass, vectors, from_vector, global_maximum, pooled_vectors,
]  # fmt: skip
