"""Draws the networks of `tests/fixtures/random_nets.rs` and writes them as Rust; `fixtures.py` asks Keras about them.

The first few follow templates, for which the engines have fast paths. The others are drawn freely, with a preference
for what has not been drawn yet, so that every combination in `WANTED` is there. Nothing here needs Keras.
"""

import collections
import dataclasses
import itertools
import math
import random

NETS = 40
PADDINGS = ["valid", "same"]
INNER = ["linear", "relu", "sigmoid", "tanh"]
STRIDE_CLASSES = ["1", "2", "3", "mixed"]
FILTERS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 16, 20]

# What every kind of layer must be seen with, on a map that it makes at least 2×2 values of.
WANTED = {
    "conv2d": list(itertools.product(PADDINGS, STRIDE_CLASSES, INNER, [True, False])),
    "max_pooling2d": list(itertools.product(PADDINGS, ["none", *STRIDE_CLASSES])),
    "dense": list(itertools.product([*INNER, "softmax"], [True, False])),
}


# ------------------------------------------------------------------------------------------------ networks


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of a network; the fields that its kind lacks stay at their defaults."""

    kind: str
    size: int = 0  # filters or units
    window: tuple = ()
    strides: tuple | None = None
    padding: str = "valid"
    activation: str = "linear"
    use_bias: bool = True

    def combination(self):
        """What of it `WANTED` counts."""
        if self.kind == "conv2d":
            return self.padding, stride_class(self.strides), self.activation, self.use_bias
        if self.kind == "max_pooling2d":
            return self.padding, stride_class(self.strides)
        return self.activation, self.use_bias

    def output(self, shape):
        """The shape that it makes of that shape."""
        if self.kind == "flatten":
            return (math.prod(shape),)
        if self.kind == "dense":
            return (self.size,)
        return (*self.output_map(shape[:2]), self.size or shape[2])

    def output_map(self, size):
        """The (height, width) of a convolution or pooling over a map of that size."""
        strides = self.strides or self.window
        if self.padding == "same":
            return tuple(-(-n // s) for n, s in zip(size, strides))
        return tuple((n - k) // s + 1 for n, k, s in zip(size, self.window, strides))

    def params(self, shape):
        """How many weights it has over that shape."""
        if self.kind not in ("conv2d", "dense"):
            return 0
        return (math.prod(self.window) * shape[-1] + self.use_bias) * self.size


@dataclasses.dataclass(frozen=True)
class Network:
    """An input shape, and the layers over it."""

    input: tuple
    layers: list

    def shapes(self):
        """The shapes from the input to the last layer's output, one more than there are layers."""
        return list(itertools.accumulate(self.layers, lambda shape, layer: layer.output(shape), initial=self.input))

    def params(self):
        return sum(layer.params(shape) for layer, shape in zip(self.layers, self.shapes()))

    def names(self):
        """The layers' names as ours are: counted per kind from 1."""
        counts = collections.Counter()
        for layer in self.layers:
            counts[layer.kind] += 1
            yield f"{layer.kind}_{counts[layer.kind]}"

    def shown(self):
        """The (kind, combination) of each layer that counts for `WANTED`."""
        for layer, shape in zip(self.layers, self.shapes()):
            if layer.kind in WANTED and is_telling(layer, shape):
                yield layer.kind, layer.combination()


def conv(filters, window, strides=(1, 1), padding="valid", activation="linear", use_bias=True):
    return Layer("conv2d", filters, window, strides, padding, activation, use_bias)


def pool(window, strides=None, padding="valid"):
    return Layer("max_pooling2d", 0, window, strides, padding)


def dense(units, activation="linear", use_bias=True):
    return Layer("dense", units, activation=activation, use_bias=use_bias)


FLATTEN = Layer("flatten")


def is_telling(layer, shape):
    """Whether every axis of the map that it makes has two values or more, so that strides and padding show."""
    return layer.kind == "dense" or min(layer.output(shape)[:2]) > 1


def stride_class(strides):
    if strides is None:
        return "none"
    return str(strides[0]) if strides[0] == strides[1] else "mixed"


# ------------------------------------------------------------------------------------------------ drawing


class Draw:
    """Draws networks, and prefers what no accepted network has shown yet."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.seen = set()

    def combination(self, kind, allowed=lambda combination: True):
        options = [c for c in WANTED[kind] if allowed(c)]
        return self.rng.choice([c for c in options if (kind, c) not in self.seen] or options)

    def strides(self, kind):
        if kind == "none":
            return None
        if kind == "mixed":
            return self.rng.choice([(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)])
        return (int(kind), int(kind))

    def window(self, size, largest):
        return tuple(self.rng.randint(1, min(largest, n)) for n in size)

    def conv(self, shape):
        padding, strides, activation, use_bias = self.combination("conv2d")
        filters = self.rng.choice(FILTERS)
        return conv(filters, self.window(shape[:2], 5), self.strides(strides), padding, activation, use_bias)

    def pool(self, shape):
        padding, strides = self.combination("max_pooling2d")
        return pool(self.window(shape[:2], 4), self.strides(strides), padding)

    def head(self):
        """Flatten and one or two Dense, softmax only as the last."""
        inner = [self.combination("dense", lambda c: c[0] != "softmax")] * self.rng.randint(0, 1)
        chosen = [*inner, self.combination("dense")]
        return [FLATTEN, *(dense(self.rng.randint(2, 20), *combination) for combination in chosen)]

    def input(self):
        return self.rng.randint(5, 17), self.rng.randint(5, 17), self.rng.randint(1, 5)

    def over(self, shape):
        """A convolution or pooling over that shape, if ten tries find one that makes at least 2×2 values of it."""
        for _ in range(10):
            layer = self.conv(shape) if self.rng.random() < 0.75 else self.pool(shape)
            if is_telling(layer, shape):
                break
        return layer

    def body(self, shape):
        """One to five convolutions and poolings, mostly fewer where the map is soon too small to be interesting."""
        layers = []
        for _ in range(self.rng.randint(1, 5)):
            layer = self.over(shape)
            if layers and not is_telling(layer, shape) and self.rng.random() < 0.8:
                break
            layers.append(layer)
            shape = layer.output(shape)
        return layers

    def network(self):
        """A body with or without a head."""
        shape = self.input()
        return Network(shape, self.body(shape) + (self.head() if self.rng.random() < 0.5 else []))

    def candidate(self, number):
        """A try at network `number`: after the templates, the one of four that shows the most that is new."""
        if number < len(TEMPLATES):
            return TEMPLATES[number](self)
        return max((self.network() for _ in range(4)), key=lambda network: len(set(network.shown()) - self.seen))

    def accept(self, network):
        self.seen.update(network.shown())


# ------------------------------------------------------------------------------------------------ templates
# What is left to draw in them is the size of the map or the number of filters.


def book(draw):
    """The chapter's start: one channel of 28×28, a fused convolution and pooling on an even map, then on an odd one."""
    convs = [conv(draw.rng.choice([16, 32]), (3, 3), activation="relu") for _ in range(2)]
    layers = [convs[0], pool((2, 2)), convs[1], pool((2, 2)), FLATTEN, dense(10, "softmax")]
    return Network((28, 28, 1), layers)


def first_layer(draw):
    """A wide window over one channel of 28×28, padded."""
    layers = [conv(draw.rng.choice([8, 16]), (5, 5), padding="same", activation="relu"), pool((2, 2)), FLATTEN]
    return Network((28, 28, 1), [*layers, dense(draw.rng.choice([10, 16]), "softmax")])


def first_layer_alone(draw):
    """A 3×3 window over one channel of 28×28, nothing after it."""
    filters = draw.rng.choice([3, 4, 6, 16])
    return Network((28, 28, 1), [conv(filters, (3, 3), activation=draw.rng.choice(INNER))])


def even_map(draw):
    """16 and 32 channels, and a fused pooling that covers its map."""
    size = (draw.rng.choice([8, 10, 12]), draw.rng.choice([8, 10, 12]), 3)
    same = dict(padding="same", activation="relu")
    return Network(size, [conv(16, (3, 3), **same), conv(32, (3, 3), **same), pool((2, 2))])


def odd_map(draw):
    """16 and 32 channels, and a fused pooling that leaves a row and a column of its map out."""
    size = (draw.rng.choice([9, 11, 13]), draw.rng.choice([9, 11, 13]), 3)
    layers = [conv(16, (3, 3), activation="relu"), conv(32, (3, 3), activation="relu"), pool((2, 2))]
    return Network(size, layers)


def padded_pooling(draw):
    """32 and 16 channels, and a pooling that pads the odd column; then a convolution without bias."""
    size = (draw.rng.choice([8, 10, 12]), draw.rng.choice([9, 11, 13]), 2)
    same = dict(padding="same", activation="relu")
    last = conv(16, (3, 3), **same, use_bias=False)
    return Network(size, [conv(32, (3, 3), **same), pool((2, 2), padding="same"), last])


def baseline(draw):
    """No convolution at all."""
    size = (draw.rng.randint(5, 9), draw.rng.randint(5, 9), 1)
    return Network(size, [FLATTEN, dense(32, "relu"), dense(10, "softmax")])


def only_pooling(draw):
    """No weights at all: only the gradient of the input."""
    return Network(draw.input(), [pool((3, 3), (2, 2)), pool((2, 2), (1, 1), "same")])


TEMPLATES = [book, first_layer, first_layer_alone, even_map, odd_map, padded_pooling, baseline, only_pooling]


# ------------------------------------------------------------------------------------------------ coverage


def check_coverage(networks):
    """Asserts that every combination of `WANTED`, and every size that an edge case hangs on, is there."""
    shown = {pair for network in networks for pair in network.shown()}
    missing = {(kind, c) for kind, combinations in WANTED.items() for c in combinations} - shown
    assert not missing, missing
    layers = [layer for network in networks for layer in network.layers]
    for kind, largest in [("conv2d", 5), ("max_pooling2d", 4)]:
        windows = {layer.window for layer in layers if layer.kind == kind}
        for axis in range(2):
            assert {window[axis] for window in windows} == set(range(1, largest + 1)), (kind, axis)
        assert any(a > b for a, b in windows) and any(a < b for a, b in windows), kind
    assert {network.input[2] for network in networks} == {1, 2, 3, 4, 5}
    assert {len(network.layers) for network in networks} >= {1, 2, 3, 4, 5}
    check_fused_pooling(networks)


def check_fused_pooling(networks):
    """A 3×3 convolution with relu, then a 2×2 pooling: on an even map, on an odd one, and with the odd end padded."""
    shown = set()
    for network in networks:
        for first, second, shape in zip(network.layers, network.layers[1:], network.shapes()[1:]):
            if first.activation == "relu" and first.window == (3, 3) and second.window == (2, 2):
                shown.add((shape[1] % 2, second.padding))
    assert shown >= {(0, "valid"), (1, "valid"), (1, "same")}, shown


# ------------------------------------------------------------------------------------------------ Rust


def rust_source(networks):
    """The networks as types in one `convnet!`, and a macro that walks through them."""
    head = "// Written by scripts/fixtures.py, to be included where `convnet!` is in scope: change the script instead."
    types = "\n\n".join(rust_type(number, network) for number, network in enumerate(networks))
    runs = "\n".join(f'        $run!(Net{number:02}, "net{number:02}");' for number in range(len(networks)))
    each = f"macro_rules! for_each_net {{\n    ($run:ident) => {{\n{runs}\n    }};\n}}"
    return f"{head}\n\nconvnet! {{\n{types}\n}}\n\n/// Calls `$run!(type, name)` for every network.\n{each}\n"


def rust_type(number, network):
    """One `pub type` with its line of documentation."""
    first, last = ("×".join(map(str, shape)) for shape in (network.input, network.shapes()[-1]))
    lines = [f"    /// {first} to {last}, {network.params():,} parameters.", f"    pub type Net{number:02} = ["]
    lines += [f"        Input({', '.join(map(str, network.input))}),"]
    lines += [f"        {rust_layer(layer)}," for layer in network.layers]
    return "\n".join([*lines, "    ];"])


def rust_layer(layer):
    """The layer as `convnet!` takes it; what equals Keras's default is left out."""
    arguments = [str(layer.size)] if layer.size else []
    if layer.window and (layer.kind, layer.window) != ("max_pooling2d", (2, 2)):
        arguments += [rust_pair(layer.window)]
    if layer.strides and (layer.kind, layer.strides) != ("conv2d", (1, 1)):
        arguments += [f"strides = {rust_pair(layer.strides)}"]
    arguments += ['padding = "same"'] if layer.padding == "same" else []
    arguments += [f'activation = "{layer.activation}"'] if layer.activation != "linear" else []
    arguments += ["use_bias = false"] if not layer.use_bias else []
    name = dict(conv2d="Conv2D", max_pooling2d="MaxPooling2D", flatten="Flatten", dense="Dense")[layer.kind]
    return f"{name}({', '.join(arguments)})"


def rust_pair(pair):
    """Equal pairs as one integer, so that both ways of writing occur; but (3, 3) as in the book."""
    return str(pair[0]) if pair[0] == pair[1] != 3 else f"({pair[0]}, {pair[1]})"
