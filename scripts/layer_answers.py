"""Writes `layer_nets.rs` and `layer_nets.safetensors`: networks over all layers of the language, and Keras's answers.

Inference throughout: a batch normalization works with its moving statistics, which are constants to the gradient, and
dropout does nothing. In float64 over f32 weights and inputs, which is exact as far as f32 can tell; only bilinear
upsampling is rounded to f32 inside of TensorFlow.
"""

import itertools

import exact_keras  # first: it sets Keras up
import keras
import layer_templates
import numpy as np
import random_nets
import tensorflow as tf
from formula import INPUT_STREAM, SEED_STREAM, WEIGHT_STREAM, assign_weights, commas, put, tensor
from layer_listing import Block, Merge, rust_type
from layer_nets import NETS, Draw, check_coverage
from margins import global_lead, nearest_rival, nearest_to_zero
from safetensors.numpy import save

IMAGES = 3
MARGIN = 3e-6  # of the largest value of the map
SAMPLES = 40


def make_layer(item, name):
    """Keras's layer, with the arguments as they stand."""
    return getattr(keras.layers, item.kind)(**{**getattr(item, "arguments", {}), "name": name})


class Answer:
    """What Keras answers to a network."""

    def __init__(self, network):
        self.network = network
        self.layers, names = [], network.names()
        start = keras.Input(network.input)
        self.model = keras.Model(start, self.chain(network.plain, start, lambda item, x: self.add(item, names, x)))
        self.weights = [variable for layer in self.layers for variable in layer.weights]
        assign_weights(self.weights, WEIGHT_STREAM)
        self.input = tensor(INPUT_STREAM, (IMAGES, *network.input)).astype(np.float64)
        self.expected = self.model(self.input, training=False).numpy()
        self.forward_and_back()

    def chain(self, items, x, apply):
        """Goes through plain items in the order of the plan; `apply` takes a merge with a list of tensors."""
        for item in items:
            inputs = [self.chain(path, x, apply) for path in item.paths] if isinstance(item, Merge) else x
            x = apply(item, inputs)
        return x

    def add(self, item, names, x):
        self.layers.append(make_layer(item, next(names)))
        return self.layers[-1](x)

    def forward_and_back(self):
        """Once more, layer by layer and without their activations, to see both sides of these."""
        self.steps = []  # the item, its input, its values before its activation, its output
        layers = iter(self.layers)

        def step(item, x):
            layer = next(layers)
            activation = item["activation"] if not isinstance(item, Merge) and item.kind != "Activation" else "linear"
            if activation != "linear":
                layer.activation = keras.activations.linear
            z = layer(x, training=False)
            y = keras.activations.get(activation)(z)
            self.steps.append((item, x, z.numpy(), y.numpy()))
            return y

        start = tf.constant(self.input)
        learned = [variable for variable in self.weights if not variable.name.startswith("moving_")]
        variables = [variable.value for variable in learned]
        with tf.GradientTape() as tape:
            tape.watch([start, *variables])  # frozen ones too
            x = self.chain(self.network.plain, start, step)
            loss = tf.reduce_sum(x * tensor(SEED_STREAM, x.shape).astype(np.float64))
        *grads, self.grad_input = tape.gradient(loss, [*variables, start])
        self.grads = {next(t for t, w in enumerate(self.weights) if w is v): g for v, g in zip(learned, grads)}

    def params(self):
        """Total, trainable and not trainable, as Keras counts them."""
        counts = [sum(int(np.prod(w.shape)) for w in weights) for weights in
                  (self.model.weights, self.model.trainable_weights, self.model.non_trainable_weights)]  # fmt: skip
        assert counts[0] == self.model.count_params() == counts[1] + counts[2]
        return counts

    def is_sound(self):
        """Keras agrees with our own count of shapes, and its model as a whole with its layers one by one."""
        shapes = [item.output(shape) for item, shape in self.network.layers()]
        whole = np.abs(self.expected - self.steps[-1][3]).max() < 1e-12
        return whole and shapes == [y.shape[1:] for *_, y in self.steps]

    def is_alive(self):
        """No tensor is all zeros: such a network would test nothing. In inference none has to be."""
        return all(np.any(array) for array in [*(y for *_, y in self.steps), *self.grads.values(), self.grad_input])

    def is_settled(self):
        """No value so near a kink, and no maximum so near the next, that float32 might go the other way."""
        return all(margin(item, x, z) >= MARGIN for item, x, z, _ in self.steps if not isinstance(item, Merge))


def margin(item, x, z):
    """How far a layer's nearest decision is from tipping, as a share of the largest value."""
    x = x.numpy()
    if item.kind == "MaxPooling2D":
        spec = random_nets.pool(item.window, item["strides"], item["padding"])
        return nearest_rival(spec, x) / np.abs(x).max()
    if item.kind == "GlobalMaxPooling2D":
        return global_lead(x) / np.abs(x).max()
    if item.kind == "ReLU":
        limits = [item["threshold"] or 0.0, *([item["max_value"]] if item["max_value"] else [])]
        if limits[0] == 0.0 and not item["negative_slope"]:  # a plain one: its gradient at 0 is 0
            return min(nearest_to_zero(x), *(np.abs(x - limit).min() for limit in limits[1:]), np.inf) / np.abs(x).max()
        return min(np.abs(x - limit).min() for limit in limits) / np.abs(x).max()
    if item.kind == "LeakyReLU":
        return np.abs(x).min() / np.abs(x).max()
    if item["activation"] == "relu":
        z = x if item.kind == "Activation" else z
        return nearest_to_zero(z) / np.abs(z).max()
    return np.inf


def answers():
    """40 answers, each drawn again until it is alive and settled."""
    draw, templates, tries = Draw(11), layer_templates.TEMPLATES, 0
    for number in range(NETS):
        make = templates[number] if number < len(templates) else Draw.candidate
        answer = None
        while not (answer and answer.is_alive() and answer.is_settled()):
            keras.utils.clear_session(free_memory=False)
            answer = Answer(make(draw))
            tries += 1
        assert answer.is_sound(), answer.network
        draw.accept(answer.network)
        yield answer
    print(f"{NETS} layer networks of {tries} drawn")


def write(source, path):
    """`layer_nets.rs` and `layer_nets.safetensors`; answers with the networks."""
    exact_keras.set_precision("float64")
    nets = list(answers())
    check_coverage([answer.network for answer in nets])
    source.write_text(rust_source(nets), encoding="utf-8")
    tensors = {}
    for number, answer in enumerate(nets):
        net = f"layer{number:02}"
        tensors[f"{net}/params"] = np.array(answer.params(), np.int64)
        for index, (*_, output) in enumerate(answer.steps):
            put(tensors, f"{net}/output/{index}", output, SAMPLES)
        for index, gradient in answer.grads.items():
            put(tensors, f"{net}/grad/{index}", gradient, SAMPLES)
        put(tensors, f"{net}/grad_input", answer.grad_input, SAMPLES)
    # One entry for all networks: the package writes several in no fixed order.
    path.write_bytes(save(tensors, {"nets": "\n".join(map(metadata_line, itertools.count(), nets))}))
    return [answer.network for answer in nets]


def metadata_line(number, answer):
    """`layer00|7,9,3|conv2d_1:7,8,5 …|conv2d_1/kernel:3,2,3,5 …`; a `*` behind a tensor that does not learn."""
    outputs = [f"{layer.name}:{commas(y.shape[1:])}" for layer, (*_, y) in zip(answer.layers, answer.steps)]
    tensors = [(layer, variable) for layer in answer.layers for variable in layer.weights]
    weights = [f"{layer.name}/{w.name}:{commas(w.shape)}{'' if w.trainable else '*'}" for layer, w in tensors]
    return "|".join([f"layer{number:02}", commas(answer.network.input), " ".join(outputs), " ".join(weights)])


# ------------------------------------------------------------------------------------------------ Rust


def rust_source(nets):
    """The networks as types in one `convnet!`, and a macro that walks through them."""
    head = "// Written by scripts/fixtures.py, to be included where `convnet!` is in scope: change the script instead."
    types = "\n\n".join([*layer_templates.TYPES, *map(rust_network, itertools.count(), nets)])
    runs = "\n".join(f'        $run!(Layer{number:02}, "layer{number:02}");' for number in range(len(nets)))
    each = f"macro_rules! for_each_layer_net {{\n    ($run:ident) => {{\n{runs}\n    }};\n}}"
    return f"{head}\n\nconvnet! {{\n{types}\n}}\n\n/// Calls `$run!(type, name)` for every network.\n{each}\n"


def rust_network(number, answer):
    """One `pub type` with its line of documentation."""
    network = answer.network
    first, last = ("×".join(map(str, shape)) for shape in (network.input, network.output()))
    has_input = isinstance(network.items[0], Block) and network.items[0].input
    total, trainable, _ = answer.params()
    summary = f"{first} to {last}, {total:,} parameters, {trainable:,} of them trainable."
    return rust_type(summary, f"Layer{number:02}", network.items, None if has_input else network.input)
