"""Draws the networks of `tests/fixtures/layer_nets.rs`, over all layers of the language; `layer_answers.py` asks Keras.

The first few follow templates of `layer_templates.py`. The others are drawn freely, with a preference for what has not
been drawn yet, so that every argument of `WANTED` is there. Nothing here needs Keras.
"""

import collections
import random

from layer_listing import CONVOLUTIONS, POOLINGS, Block, Layer, Merge, Network, Repeat, everywhere, in_order, output
from random_nets import PADDINGS, STRIDE_CLASSES, stride_class

NETS = 40
BOOLS = [True, False]
INNER = ["linear", "relu", "sigmoid", "tanh"]
INITIALIZERS = [f"{family}_{law}" for family in ("glorot", "he", "lecun") for law in ("uniform", "normal")]
INITIALIZERS += ["zeros", "ones"]
FILTERS = [1, 2, 3, 4, 5, 6, 8, 9, 12, 16]
RARELY = ["trainable", "kernel_initializer"]  # given in a quarter of the layers, once each value has been seen
LARGEST_MAP = 20
LARGEST_VECTOR = 64  # for a path that keeps its length
MOST_LAYERS = 14

CONVOLUTION = {
    "strides": STRIDE_CLASSES,
    "padding": PADDINGS,
    "dilation_rate": ["1", "2", "mixed"],
    "activation": INNER,
    "use_bias": BOOLS,
    "trainable": BOOLS,
}
SQUARE = {"strides": ["1", "2", "3"], "depth_multiplier": [1, 2, 3]}  # TensorFlow strides them alike on both axes
POOLING = {"strides": ["none", *STRIDE_CLASSES], "padding": PADDINGS}
SLOPES = [0.0, 0.1, 0.25]

# What each argument of each kind of layer must be seen with; strides and padding on a map that they show on.
WANTED = {
    "Conv2D": {**CONVOLUTION, "groups": [1, 2, 3, 4], "kernel_initializer": [None, *INITIALIZERS]},
    "DepthwiseConv2D": {**CONVOLUTION, **SQUARE},
    "SeparableConv2D": {**CONVOLUTION, **SQUARE},
    "MaxPooling2D": POOLING,
    "AveragePooling2D": POOLING,
    "GlobalAveragePooling2D": {"keepdims": BOOLS},
    "GlobalMaxPooling2D": {"keepdims": BOOLS},
    "ZeroPadding2D": {"padding": ["integer", "pair", "ends"]},
    "UpSampling2D": {"size": ["1", "2", "3", "mixed"], "interpolation": ["nearest", "bilinear"]},
    "Flatten": {},
    "Reshape": {"axes": [1, 3]},
    "Dense": {"activation": [*INNER, "softmax"], "use_bias": BOOLS, "trainable": BOOLS},
    "Rescaling": {"scale": [2.0, 0.5, -1.5], "offset": [None, 0.25, -1.0]},
    "Dropout": {"rate": [0.2, 0.5]},
    "BatchNormalization": {
        "momentum": [0.99, 0.9, 0.5],
        "epsilon": [0.001, 0.1, 0.00001],
        "center": BOOLS,
        "scale": BOOLS,
        "trainable": BOOLS,
        "axes": [1, 3],
    },
    "Activation": {"activation": [*INNER, "softmax"], "axes": [1, 3]},
    "ReLU": {"max_value": [None, 1.0, 6.0], "negative_slope": SLOPES, "threshold": [0.0, 0.125, 0.5]},
    "LeakyReLU": {"negative_slope": [0.3, 0.1, 0.01]},
    "Softmax": {},
    "Add": {"paths": [2, 3], "shortcut": BOOLS, "axes": [1, 3], "nested": BOOLS},
    "Concatenate": {"paths": [2, 3, 4], "shortcut": BOOLS, "axes": [1, 3], "nested": BOOLS},
    "Repeat": {"times": [2, 3], "branches": BOOLS},
    "Block": {"trainable": BOOLS},
}
DEFAULT_VALUES = {
    "use_bias": True, "trainable": True, "activation": "linear", "padding": "valid", "groups": 1, "depth_multiplier": 1,
    "keepdims": False, "interpolation": "nearest", "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True,
    "negative_slope": 0.0, "threshold": 0.0,
}  # fmt: skip
POOLED = ["GlobalAveragePooling2D", "GlobalMaxPooling2D"]
ANYWHERE = ["BatchNormalization", "Activation", "ReLU", "LeakyReLU", "Dropout", "Rescaling"]
ON_MAPS = [*CONVOLUTIONS, *POOLINGS, "ZeroPadding2D", "UpSampling2D", *ANYWHERE, "Add", "Concatenate", "Repeat"]
ON_VECTORS = ["Dense", *ANYWHERE, "Add", "Concatenate", "Repeat"]


def default(kind, name):
    """Keras's default of an argument, where `WANTED` counts it by its value."""
    others = {("LeakyReLU", "negative_slope"): 0.3, ("Activation", "activation"): None, ("Rescaling", "scale"): None}
    return others.get((kind, name), DEFAULT_VALUES.get(name))


# ------------------------------------------------------------------------------------------------ what a network shows


def shown(network):
    """Every (kind, argument, value) of `WANTED` that the network has."""
    for item, shape in network.layers():
        for name in WANTED[item.kind]:
            yield item.kind, name, value_class(item, name, shape)
    for item in everywhere(network.items):
        if isinstance(item, Repeat):
            yield "Repeat", "times", item.times
            yield "Repeat", "branches", any(isinstance(inner, Merge) for inner in item.body)
        if isinstance(item, Block):
            yield "Block", "trainable", item.trainable


def value_class(item, name, shape):
    """What `WANTED` counts of an argument; "hidden" where the map is too small to show it."""
    if name == "axes":
        return len(item.output(shape) if item.kind == "Reshape" else shape)
    if isinstance(item, Merge):
        return {
            "paths": len(item.paths),
            "shortcut": [] in item.paths,
            "nested": any(isinstance(inner, Merge) for path in item.paths for inner in everywhere(path)),
        }[name]
    if item.kind in [*CONVOLUTIONS, *POOLINGS] and name in ("strides", "padding", "dilation_rate"):
        if min(item.output(shape)[:2]) < 2:
            return "hidden"
    if name == "strides":
        return stride_class(item["strides"] if item.kind in POOLINGS else item.strides)
    if name == "dilation_rate":
        return stride_class(item["dilation_rate"])
    if name == "size":
        return stride_class(item["size"] or (2, 2))
    if item.kind == "ZeroPadding2D":
        padding = item.arguments.get("padding", 1)
        return "integer" if isinstance(padding, int) else "ends" if isinstance(padding[0], tuple) else "pair"
    return item.arguments.get(name, default(item.kind, name))


def check_coverage(networks):
    """Asserts that every value of `WANTED` is there, and every kind in three networks or more."""
    seen = {fact for network in networks for fact in shown(network)}
    wanted = {(kind, name, value) for kind, names in WANTED.items() for name in names for value in names[name]}
    assert not wanted - seen, sorted(map(str, wanted - seen))
    kinds = collections.Counter(kind for network in networks for kind in kinds_of(network))
    assert all(kinds[kind] >= 3 for kind in WANTED), {kind: kinds[kind] for kind in WANTED if kinds[kind] < 3}
    windows = collections.defaultdict(set)
    for network in networks:
        for item, _ in network.layers():
            if item.kind in [*CONVOLUTIONS, *POOLINGS]:
                windows[item.kind].add(item.window)
    for kind, seen in windows.items():
        assert any(a > b for a, b in seen) and any(a < b for a, b in seen), kind


def kinds_of(network):
    """The kinds of a network, each once."""
    names = {"Repeat": Repeat, "Block": Block}
    others = {name for name, kind in names.items() if any(isinstance(item, kind) for item in everywhere(network.items))}
    return {item.kind for item, _ in network.layers()} | others


# ------------------------------------------------------------------------------------------------ drawing


class Draw:
    """Draws networks, and prefers what no accepted network has shown yet."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.seen = set()

    def value(self, kind, name, allowed=lambda value: True):
        options = [value for value in WANTED[kind][name] if allowed(value)]
        fresh = [value for value in options if (kind, name, value) not in self.seen]
        if name in RARELY and not fresh and self.rng.random() < 0.75:
            return default(kind, name)
        return self.rng.choice(fresh if fresh and self.rng.random() < 0.8 else options)

    def pair(self, kind):
        """A pair of that class; `None` where it is not to be given."""
        if kind == "none":
            return None
        if kind == "mixed":
            return self.rng.choice([(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)])
        return (int(kind), int(kind))

    def layer(self, kind, shape, **fixed):
        """A layer of a kind over that shape, some arguments given."""
        special = {"ZeroPadding2D": self.zero_padding, "Reshape": self.reshape}
        if kind in [*CONVOLUTIONS, *POOLINGS]:
            return self.windowed(kind, shape, fixed)
        if kind in special:
            return special[kind](shape)
        arguments = {"units": self.rng.randint(2, 16)} if kind == "Dense" else {}
        for name in WANTED[kind]:
            if name != "axes":
                arguments[name] = self.value(kind, name, lambda value: value != "softmax")
        if kind == "UpSampling2D":
            arguments["size"] = self.pair(arguments["size"])
        if kind == "ReLU" and arguments["max_value"] == 6.0:
            arguments["max_value"] = self.rng.choice([6.0, 0.75])  # few values come near to 6
        return finished(kind, {**arguments, **fixed})

    def windowed(self, kind, shape, fixed):
        """A convolution or pooling that fits the map; ten tries for one that makes at least 2×2 values."""
        for _ in range(10):
            arguments = {name: self.value(kind, name) for name in WANTED[kind]}
            if "dilation_rate" in arguments and arguments["strides"] != "1" and self.rng.random() < 0.5:
                arguments["dilation_rate"] = "1"
            for name in ("strides", "dilation_rate"):
                if name in arguments:
                    arguments[name] = self.pair(arguments[name])
            arguments |= fixed
            if arguments.get("dilation_rate", (1, 1)) != (1, 1):  # TensorFlow does not take both
                if fixed.get("strides", (1, 1)) != (1, 1):
                    arguments["dilation_rate"] = (1, 1)
                else:
                    arguments["strides"] = (1, 1)
            size = "pool_size" if kind in POOLINGS else "kernel_size"
            dilation = arguments.get("dilation_rate", (1, 1))
            window = [min(self.rng.randint(1, 4), (n - 1) // d + 1) for n, d in zip(shape, dilation)]
            arguments.setdefault(size, tuple(window))
            if kind in ("Conv2D", "SeparableConv2D"):
                arguments.setdefault("filters", self.rng.choice(FILTERS))
            if kind == "Conv2D":
                groups = arguments["groups"]
                if shape[2] % groups or arguments["filters"] % groups:
                    arguments["groups"] = 1
            layer = finished(kind, arguments)
            if min(layer.output(shape)[:2]) > 1:
                break
        return layer

    def zero_padding(self, shape):
        ends = [self.rng.randint(0, 3) for _ in range(4)]
        kind = self.value("ZeroPadding2D", "padding")
        forms = {"integer": max(ends[0], 1), "pair": (ends[0], ends[1] or 1)}
        return Layer("ZeroPadding2D", {"padding": forms.get(kind, ((ends[0], ends[1] + 1), (ends[2], ends[3])))})

    def reshape(self, shape):
        """A vector to a map if its length can be split, a map to a map or to a vector."""
        if len(shape) == 3:
            h, w, c = shape
            return Layer("Reshape", {"target_shape": self.rng.choice([(w, h, c), (h * w * c,)])})
        splits = [(h, w) for h in range(2, 5) for w in range(2, 5) if shape[0] % (h * w) == 0]
        h, w = self.rng.choice(splits or [(1, 1)])
        return Layer("Reshape", {"target_shape": (h, w, shape[0] // (h * w))})

    # -------------------------------------------------------------------------------------------- branches

    def path(self, shape, channels, strides, depth):
        """A path from that map to one of so many channels, its axes divided by the strides."""
        rng, spot = self.rng, dict(padding="same", strides=strides)
        square = strides[0] == strides[1]
        forms = ["conv", "bottleneck", "pool"] + ["separable", "depthwise"] * square
        forms += ["padded", "nested"] * (strides == (1, 1) and depth == 0)
        form = rng.choice(forms)
        if form == "conv":
            return [self.layer("Conv2D", shape, filters=channels, **spot)]
        if form == "separable":
            return [self.layer("SeparableConv2D", shape, filters=channels, **spot)]
        if form == "padded":
            whole = dict(padding="valid", strides=(1, 1), dilation_rate=(1, 1), kernel_size=(3, 3))
            return [Layer("ZeroPadding2D"), self.layer("Conv2D", shape, filters=channels, **whole)]
        if form == "nested":
            first = self.layer("Conv2D", shape, filters=channels, **spot)
            return [first, self.merge(rng.choice(["Add", "Concatenate"]), (*shape[:2], channels), depth + 1, channels)]
        if form == "bottleneck":
            first = self.layer("Conv2D", shape, filters=rng.choice(FILTERS), kernel_size=(1, 1), padding="same",
                               strides=(1, 1), dilation_rate=(1, 1))  # fmt: skip
            middle = [self.layer("BatchNormalization", shape), self.layer("Activation", shape)][: rng.randint(0, 2)]
            return [first, *middle, self.layer("Conv2D", first.output(shape), filters=channels, **spot)]
        kind = rng.choice(POOLINGS) if form == "pool" else "DepthwiseConv2D"
        first = self.layer(kind, shape, **spot)
        return [first, self.layer("Conv2D", first.output(shape), filters=channels, kernel_size=(1, 1),
                                  strides=(1, 1), padding="valid", dilation_rate=(1, 1))]  # fmt: skip

    def merge(self, kind, shape, depth=0, channels=None):
        """An `Add` or `Concatenate` over a map or a vector; with `channels`, of that width."""
        paths = self.value(kind, "paths", lambda n: n < 4 or depth == 0)
        if len(shape) == 1:
            widths = [self.rng.randint(2, 9) if kind == "Concatenate" else shape[0] for _ in range(paths)]
            made = [[*self.deep(shape), self.layer("Dense", shape, units=width)] for width in widths]
            shortcut = self.value(kind, "shortcut")
        else:
            strides = (1, 1) if depth else self.rng.choice([(1, 1), (1, 1), (2, 2), (1, 2)])
            shortcut = strides == (1, 1) and self.value(kind, "shortcut")
            width = shape[2] if shortcut else self.rng.choice(FILTERS)
            widths = self.split(channels or width * paths, paths, shape[2] if shortcut else None)
            if kind == "Add":
                widths, shortcut = [channels or width] * paths, shortcut and channels in (None, shape[2])
            elif widths is None:
                return self.merge("Add", shape, depth, channels)
            made = [self.path(shape, width, strides, depth) for width in widths]
        if shortcut:
            made[0] = []
        self.rng.shuffle(made)
        return Merge(kind, made)

    def split(self, channels, paths, first):
        """Widths that sum to `channels`, the first of them given; `None` where there is no such."""
        left, rest = channels - (first or 0), paths - bool(first)
        if left < rest:
            return None
        widths = [left // rest + (i < left % rest) for i in range(rest)]
        return [first, *widths] if first else widths

    def deep(self, shape):
        """Nothing, or a normalization and an activation, in front of the last layer of a path of vectors."""
        return [self.layer(kind, shape) for kind in ("BatchNormalization", "ReLU")][: self.rng.choice([0, 0, 1, 2])]

    def repeat(self, shape):
        """A listing two or three times: shape-preserving but for its first time."""
        times, rng = self.value("Repeat", "times"), self.rng
        after = self.layer(rng.choice(ANYWHERE), shape)
        if self.value("Repeat", "branches"):
            width = shape[-1]
            inside = Merge("Add", [self.path(shape, width, (1, 1), 1) if len(shape) == 3 else
                                   [self.layer("Dense", shape, units=width)], []])  # fmt: skip
            return Repeat(times, [inside, after])
        if len(shape) == 1:
            return Repeat(times, [self.layer("Dense", shape), after])
        kind = rng.choice(["Conv2D", "SeparableConv2D"])
        fixed = dict(padding="same", strides=(1, 1)) | (dict(groups=1) if kind == "Conv2D" else {})
        return Repeat(times, [self.layer(kind, shape, **fixed), after])

    # -------------------------------------------------------------------------------------------- networks

    def item(self, shape):
        """One item over that shape, rather of a kind that still has something to show."""
        kinds = ON_MAPS if len(shape) == 3 else ON_VECTORS
        if len(shape) == 1 and shape[0] > LARGEST_VECTOR:
            kinds = ["Dense", *ANYWHERE]
        missing = {kind: 1 + min(6, self.missing(kind)) for kind in kinds}
        kind = self.rng.choices(list(missing), list(missing.values()))[0]
        if kind in ("Add", "Concatenate"):
            return self.merge(kind, shape)
        return self.repeat(shape) if kind == "Repeat" else self.layer(kind, shape)

    def missing(self, kind):
        return sum((kind, name, value) not in self.seen for name in WANTED[kind] for value in WANTED[kind][name])

    def body(self, shape, most):
        """So many items; on maps that get too small for it, fewer."""
        items = []
        for _ in range(self.rng.randint(2, most)):
            item = self.item(shape)
            after = item.output(shape)
            if len(after) == 3 and (max(after[:2]) > LARGEST_MAP or min(after[:2]) < 2 or after[2] > 32):
                continue
            items.append(item)
            shape = after
        return items

    def last(self, shape):
        """One of the ways to end in probabilities, or a plain layer."""
        classes = self.rng.randint(2, 10)
        plain = Layer("Dense", {"units": classes})
        kind = self.rng.choice(["Dense", "Activation", "Softmax", "none"])
        if kind == "Dense":
            return [Layer("Dense", {"units": classes, "activation": "softmax"})]
        ends = {"Activation": [Layer("Activation", {"activation": "softmax"})], "Softmax": [Layer("Softmax")]}
        return [plain, *ends.get(kind, [])]

    def head(self, shape):
        """From a map to a vector and on."""
        kind = self.rng.choice(["Flatten", "Reshape", *POOLED, *POOLED])
        if kind == "Reshape":
            items = [Layer("Reshape", {"target_shape": (shape[0] * shape[1] * shape[2],)})]
        else:
            items = [self.layer(kind, shape)]
        if len(output(items, shape)) == 3:
            items.append(Layer("Flatten"))
        items += self.body(output(items, shape), 3)
        return [*items, *self.last(output(items, shape))]

    def network(self):
        """A body over a map, with or without a head; now and then one over a vector."""
        if self.rng.random() < 0.12:
            shape = (self.rng.choice([8, 12, 16, 24, 36]),)
            items = self.body(shape, 4)
            if self.rng.random() < 0.6:
                items.append(self.layer("Reshape", output(items, shape)))
                items += self.body(output(items, shape), 2)
            return Network(shape, items)
        shape = self.rng.randint(5, 17), self.rng.randint(5, 17), self.rng.choice([1, 2, 3, 4, 6])
        items = self.body(shape, 5)
        return Network(shape, items + (self.head(output(items, shape)) if self.rng.random() < 0.6 else []))

    def candidate(self):
        """The one of six that shows the most that is new, none of them too long."""
        networks = []
        while len(networks) < 6:
            network = self.network()
            if 2 <= len(network.layers()) <= MOST_LAYERS:
                networks.append(network)
        return max(networks, key=lambda network: len(set(shown(network)) - self.seen))

    def accept(self, network):
        self.seen.update(shown(network))


UNSAID = [("strides", (1, 1)), ("dilation_rate", (1, 1))]


def finished(kind, arguments):
    """A layer without the arguments that are at their defaults."""
    given = {name: value for name, value in arguments.items() if value != default(kind, name) and value is not None}
    if kind in CONVOLUTIONS:
        given = {name: value for name, value in given.items() if (name, value) not in UNSAID}
    return Layer(kind, given)
