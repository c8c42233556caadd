"""Listings over all layers of the language, as data: shapes, names, order of the plan, and the Rust that says the same.

A `Layer` has the name of its Keras class and those of Keras's arguments that are not at their defaults. Around layers
stand `Merge` (Add, Concatenate), `Repeat` and `Block` (an earlier type as a layer). Nothing here needs Keras.
"""

import collections
import dataclasses
import functools
import math
import re
import textwrap

# The arguments that stand without their names in a listing, and the defaults that shapes depend on.
POSITIONAL = {
    "Conv2D": ["filters", "kernel_size"],
    "DepthwiseConv2D": ["kernel_size"],
    "SeparableConv2D": ["filters", "kernel_size"],
    "MaxPooling2D": ["pool_size"],
    "AveragePooling2D": ["pool_size"],
    "ZeroPadding2D": ["padding"],
    "UpSampling2D": ["size"],
    "Reshape": ["target_shape"],
    "Dense": ["units"],
    "Rescaling": ["scale"],
    "Dropout": ["rate"],
    "Activation": ["activation"],
}
DEFAULTS = {
    "strides": None,
    "padding": "valid",
    "dilation_rate": (1, 1),
    "depth_multiplier": 1,
    "activation": "linear",
    "keepdims": False,
    "trainable": True,
}
CONVOLUTIONS = ["Conv2D", "DepthwiseConv2D", "SeparableConv2D"]
POOLINGS = ["MaxPooling2D", "AveragePooling2D"]
WIDTH = 120  # of a line of Rust


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer: Keras's class, and Keras's arguments as far as they are given."""

    kind: str
    arguments: dict = dataclasses.field(default_factory=dict)

    def __getitem__(self, name):
        return self.arguments.get(name, DEFAULTS.get(name))

    @property
    def window(self):
        """The kernel or pooling window, without dilation."""
        return self["kernel_size"] or self["pool_size"] or (2, 2)

    @property
    def strides(self):
        return self["strides"] or ((1, 1) if self.kind in CONVOLUTIONS else self.window)

    def output(self, shape):
        """The shape that it makes of that shape."""
        if self.kind in CONVOLUTIONS:
            filters = self["filters"] or shape[2] * self["depth_multiplier"]
            return (*self.output_map(shape[:2]), filters)
        if self.kind in POOLINGS:
            return (*self.output_map(shape[:2]), shape[2])
        if self.kind.startswith("Global"):
            return (1, 1, shape[2]) if self["keepdims"] else (shape[2],)
        if self.kind == "ZeroPadding2D":
            return (*(n + sum(ends) for n, ends in zip(shape, padding_ends(self.arguments.get("padding", 1)))), shape[2])
        if self.kind == "UpSampling2D":
            rows, columns = self["size"] or (2, 2)
            return (shape[0] * rows, shape[1] * columns, shape[2])
        if self.kind == "Reshape":
            assert math.prod(self["target_shape"]) == math.prod(shape)
            return self["target_shape"]
        if self.kind == "Flatten":
            return (math.prod(shape),)
        return (self["units"],) if self.kind == "Dense" else shape

    def output_map(self, size):
        """The (height, width) of a convolution or pooling over a map of that size."""
        if self["padding"] == "same":
            return tuple(-(-n // s) for n, s in zip(size, self.strides))
        extents = [(k - 1) * d + 1 for k, d in zip(self.window, self["dilation_rate"])]
        return tuple((n - k) // s + 1 for n, k, s in zip(size, extents, self.strides))


@dataclasses.dataclass(frozen=True)
class Merge:
    """`Add` or `Concatenate` behind two paths or more, each a list of items; an empty one is the shortcut."""

    kind: str
    paths: list

    def output(self, shape):
        ends = [output(path, shape) for path in self.paths]
        if self.kind == "Add":
            assert len(set(ends)) == 1, ends
            return ends[0]
        assert len({end[:-1] for end in ends}) == 1, ends
        return (*ends[0][:-1], sum(end[-1] for end in ends))


@dataclasses.dataclass(frozen=True)
class Repeat:
    """A list of items several times over."""

    times: int
    body: list

    def output(self, shape):
        return output(self.body * self.times, shape)


@dataclasses.dataclass(frozen=True)
class Block:
    """An earlier type as a layer: how it is written, what it stands for, its own input if it has one, does it learn."""

    written: str
    body: list
    input: tuple = ()
    trainable: bool = True

    def output(self, shape):
        return output(self.body, shape)


def output(items, shape):
    """The shape behind a list of items."""
    return functools.reduce(lambda shape, item: item.output(shape), items, shape)


def plain(items, trainable=True):
    """The same without `Repeat` and `Block`: layers and merges only."""
    for item in items:
        if isinstance(item, Repeat):
            yield from plain(item.body * item.times, trainable)
        elif isinstance(item, Block):
            yield from plain(item.body, trainable and item.trainable)
        elif isinstance(item, Merge):
            yield Merge(item.kind, [list(plain(path, trainable)) for path in item.paths])
        else:
            yield item if trainable else Layer(item.kind, {**item.arguments, "trainable": False})


def in_order(items, shape):
    """(item, its input's shape) in the order of the plan, of plain items: a merge behind all its paths."""
    for item in items:
        if isinstance(item, Merge):
            for path in item.paths:
                yield from in_order(path, shape)
        yield item, shape
        shape = item.output(shape)


def everywhere(items):
    """Every item, whether it stands in the listing or in a path, a repeat or a block of it."""
    for item in items:
        yield item
        for part in getattr(item, "paths", []) or [getattr(item, "body", [])]:
            yield from everywhere(part)


def snake_case(kind):
    """`re_lu` of `ReLU`, as Keras does it."""
    kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()


@dataclasses.dataclass(frozen=True)
class Network:
    """An input shape, and the items over it."""

    input: tuple
    items: list

    @functools.cached_property
    def plain(self):
        return list(plain(self.items))

    def layers(self):
        """(item, its input's shape) in the order of the plan."""
        return list(in_order(self.plain, self.input))

    def output(self):
        return output(self.items, self.input)

    def names(self):
        """The layers' names as ours are: given, or counted per kind from 1."""
        counts = collections.Counter()
        for item, _ in self.layers():
            if isinstance(item, Layer) and item["name"]:
                yield item["name"]
            else:
                counts[item.kind] += 1
                yield f"{snake_case(item.kind)}_{counts[item.kind]}"

    def is_sequential(self):
        return not any(isinstance(item, Merge | Repeat | Block) for item in self.items)


# ------------------------------------------------------------------------------------------------ Rust


class Constant(str):
    """A constant's name as a value."""


def rust_type(summary, name, items, shape=None):
    """A `pub type` with its line of documentation; without a shape the first item has an input of its own."""
    start = [f"        Input({', '.join(map(str, shape))}),"] if shape else []
    return "\n".join([f"    /// {summary}", f"    pub type {name} = [", *start, *rust_items(items, 8), "    ];"])


def padding_ends(padding):
    """((top, bottom), (left, right)) of any way to write a padding."""
    pair = (padding, padding) if isinstance(padding, int) else padding
    return tuple((n, n) if isinstance(n, int) else n for n in pair)


def rust_items(items, indent):
    """One item a line, paths and repeated listings indented."""
    return [line for item in items for line in rust_item(item, indent)]


def rust_item(item, indent):
    """An item as `convnet!` takes it, in lines with their commas."""
    space = " " * indent
    if isinstance(item, Layer):
        line = f"{space}{rust_layer(item)},"
        if len(line) <= WIDTH:
            return [line]
        kind, arguments = line.removesuffix("),").split("(", 1)
        whole = f"{arguments},".replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
        wrapped = [f"{space}    {part}" for part in textwrap.wrap(whole, WIDTH - indent - 4)]
        return [f"{kind}(", *(part.replace("\N{NO-BREAK SPACE}", " ") for part in wrapped), f"{space}),"]
    if isinstance(item, Block):
        return [f"{space}{item.written}{'' if item.trainable else '(trainable = false)'},"]
    if isinstance(item, Repeat):
        return [f"{space}Repeat({item.times}, [", *rust_items(item.body, indent + 4), f"{space}]),"]
    lines = [f"{space}{item.kind}("]
    for path in item.paths:
        inner = rust_items(path, indent + 4)
        lines[-1] += "[" if inner else "[], "
        if inner:
            lines += [*inner, f"{space}], "]
    return [*lines[:-1], lines[-1].removesuffix(", ") + "),"]


def rust_layer(layer):
    """The layer with the arguments that are given; the first few of them without their names."""
    positional = POSITIONAL.get(layer.kind, [])
    first = [rust_value(layer.arguments[name]) for name in positional if name in layer.arguments]
    named = {name: value for name, value in layer.arguments.items() if name not in positional}
    return f"{layer.kind}({', '.join([*first, *(f'{name} = {rust_value(value)}' for name, value in named.items())])})"


def rust_value(value):
    """A value; equal pairs as one integer, so that both ways of writing occur, but (3, 3) as in the book."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not isinstance(value, Constant):
        return f'"{value}"'
    if isinstance(value, float):
        digits = f"{value:.10f}".rstrip("0")
        return digits + "0" if digits.endswith(".") else digits
    if not isinstance(value, tuple):
        return str(value)
    if len(value) == 2 and value[0] == value[1] != 3 and isinstance(value[0], int):
        return str(value[0])
    if isinstance(value[0], tuple):
        return f"({', '.join(map(str, value))})"
    return str(value)
