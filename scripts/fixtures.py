"""Writes the parity fixtures of `tests/fixtures/`: what Keras computes, for our tests to compute again.

    pip install keras==3.15.1 tensorflow-cpu==2.21.0 safetensors numpy
    python scripts/fixtures.py --data "$CONVNET_DATA"

`--data` is the folder that holds `mnist/train-images-idx3-ubyte.gz` and the labels beside it. The run takes a minute,
in float64, on one thread and without oneDNN, so that the same machine writes the same bytes every time.

Nothing that a formula can give is stored: `formula.py` has the one that gives weights, inputs and seeds of gradients, from
streams of numbers. The tensors of a random network begin at stream 100; training starts each optimizer from a base of its
own.

Those bases were searched for. In 20 steps some forty million values pass a relu or compete for a maximum, and from most
starts a few lie so near to tipping that the order of a sum decides; single weights then end up to 1e-1 of the largest
elsewhere. So each optimizer has a base, out of 1000, 2000, …, from which some 40 runs in float32, and the
run in float64, end where plain float32 does: losses within 1e-5 of their size, weights within 3e-6 of the tensor's largest
for SGD and 5e-5 for the others. Each of them multiplies every initial weight by 1 + u·1e-7, u uniform in [−1, 1), and
shuffles the images of each batch and the channels of each hidden layer, which is another order of every sum.
"""

import argparse
import itertools
import math
import os
import pathlib

import exact_keras  # first: it sets Keras up
import architectures
import keras
import keras_json
import layer_answers
import layer_training
import numpy as np
import tensorflow as tf
from formula import INPUT_STREAM, SEED_STREAM, WEIGHT_STREAM, assign_weights, commas, put, tensor
from margins import nearest_rival, nearest_to_zero
from mnist_batches import BATCH, EARLY, STEPS, mnist
from random_nets import NETS, Draw, check_coverage, rust_source
from safetensors.numpy import save

# ------------------------------------------------------------------------------------------------ training

OPTIMIZERS = {
    "sgd_momentum": lambda: keras.optimizers.SGD(learning_rate=0.01, momentum=0.9),
    "sgd_nesterov": lambda: keras.optimizers.SGD(learning_rate=0.01, momentum=0.9, nesterov=True),
    "rmsprop": lambda: keras.optimizers.RMSprop(),
    # At the default rate of 0.001 this one is chaotic: a rounding is a tenth of the loss after 17 steps.
    "rmsprop_centered_momentum": lambda: keras.optimizers.RMSprop(learning_rate=0.0001, momentum=0.9, centered=True),
    # In float32 Keras takes 1 − βᵗ of the β that is rounded to f32, which makes the first steps 6e-6 smaller than here.
    "adam": lambda: keras.optimizers.Adam(),
    # Decays every variable, biases too: Keras leaves out only what `exclude_from_weight_decay` names.
    "adamw": lambda: keras.optimizers.AdamW(weight_decay=0.004),
}

# The stream of each run's first weight tensor, found as the docstring says.
BASES = {
    "sgd_momentum": 27000,
    "sgd_nesterov": 19000,
    "rmsprop": 3000,
    "rmsprop_centered_momentum": 31000,
    "adam": 15000,
    "adamw": 4000,
}


def digits():
    """The network of listings 5.1 and 5.2."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, (3, 3), activation="relu", name="conv2d_1"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(64, (3, 3), activation="relu", name="conv2d_2"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(64, (3, 3), activation="relu", name="conv2d_3"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu", name="dense_1"),
            keras.layers.Dense(10, activation="softmax", name="dense_2"),
        ]
    )


def train(optimizer, base, images, labels):
    """20 steps over 20 batches in file order; yields the loss before each update, and the model after it."""
    model = digits()
    assign_weights(model.weights, base)
    model.compile(optimizer=optimizer, loss="categorical_crossentropy")
    for start in range(0, STEPS * BATCH, BATCH):
        model.reset_metrics()  # else Keras answers with the mean over the batches so far
        batch = slice(start, start + BATCH)
        yield model.train_on_batch(images[batch], labels[batch]), model


def put_weights(tensors, key, model):
    """Stores every weight tensor of a model."""
    for layer in model.layers:
        for variable in layer.weights:
            put(tensors, f"{key}/{layer.name}/{variable.name}", variable.numpy(), 256)


def write_training(path, data):
    """`training.safetensors`, in float64 from f32 weights and images."""
    keras.config.set_floatx("float64")
    images, labels = mnist(data, STEPS * BATCH)
    tensors = {}
    for name, optimizer in OPTIMIZERS.items():
        losses = []
        for loss, model in train(optimizer(), BASES[name], images, labels):
            losses.append(loss)
            if len(losses) == EARLY:
                put_weights(tensors, f"{name}/after_{EARLY}", model)
        put_weights(tensors, name, model)
        tensors[f"{name}/loss"] = np.array(losses, np.float32)
        print(f"{name}: loss {losses[0]:.4f} to {losses[-1]:.4f}")
    # One entry, as below.
    path.write_bytes(save(tensors, {"bases": " ".join(f"{name}:{base}" for name, base in BASES.items())}))


# ------------------------------------------------------------------------------------------------ random networks

IMAGES = 3
MARGIN = 2e-6  # of the largest value of the map


def keras_layer(layer, name):
    """The Keras layer without its activation, in float64: `forward_and_back` applies that, to see both sides of it."""
    if layer.kind == "conv2d":
        arguments = dict(strides=layer.strides, padding=layer.padding, use_bias=layer.use_bias)
        return keras.layers.Conv2D(layer.size, layer.window, **arguments, name=name, dtype="float64")
    if layer.kind == "max_pooling2d":
        arguments = dict(strides=layer.strides, padding=layer.padding)
        return keras.layers.MaxPooling2D(layer.window, **arguments, name=name, dtype="float64")
    if layer.kind == "flatten":
        return keras.layers.Flatten(name=name, dtype="float64")
    return keras.layers.Dense(layer.size, use_bias=layer.use_bias, name=name, dtype="float64")


class Answer:
    """What Keras answers to a network, in float64 over f32 weights and inputs: exact, as far as f32 can tell."""

    def __init__(self, network):
        self.network = network
        self.layers = [keras_layer(layer, name) for layer, name in zip(network.layers, network.names())]
        for layer, shape in zip(self.layers, network.shapes()):
            layer.build((IMAGES, *shape))
        self.weights = [variable for layer in self.layers for variable in layer.weights]
        assign_weights(self.weights, WEIGHT_STREAM)
        self.input = tensor(INPUT_STREAM, (IMAGES, *network.input)).astype(np.float64)
        self.forward_and_back()

    def forward_and_back(self):
        x = start = tf.constant(self.input)
        self.before, self.outputs = [], []  # before and after each layer's activation
        with tf.GradientTape() as tape:
            tape.watch(start)
            for layer, spec in zip(self.layers, self.network.layers):
                x = layer(x)
                self.before.append(x.numpy())
                x = keras.activations.get(spec.activation)(x)
                self.outputs.append(x.numpy())
            loss = tf.reduce_sum(x * tensor(SEED_STREAM, x.shape).astype(np.float64))
        variables = [variable.value for variable in self.weights]
        *self.grads, self.grad_input = tape.gradient(loss, [*variables, start])

    def is_sound(self):
        """Keras agrees with our own count of shapes and parameters."""
        shapes = [output.shape[1:] for output in self.outputs]
        params = sum(math.prod(variable.shape) for variable in self.weights)
        return shapes == self.network.shapes()[1:] and params == self.network.params()

    def is_alive(self):
        """No tensor of it is all zeros: such a network would test nothing."""
        return all(np.any(array) for array in [*self.outputs, *self.grads, self.grad_input])

    def is_settled(self):
        """No relu so near its kink, and no maximum so near the next value, that float32 might go the other way."""
        for spec, x, z in zip(self.network.layers, [self.input, *self.outputs], self.before):
            if spec.activation == "relu" and nearest_to_zero(z) < MARGIN * np.abs(z).max():
                return False
            if spec.kind == "max_pooling2d" and nearest_rival(spec, x) < MARGIN * np.abs(x).max():
                return False
        return True


def answers():
    """40 answers, each drawn again until it is alive and settled."""
    draw = Draw(5)
    for number in range(NETS):
        answer = Answer(draw.candidate(number))
        while not (answer.is_alive() and answer.is_settled()):
            answer = Answer(draw.candidate(number))
        assert answer.is_sound(), answer.network
        draw.accept(answer.network)
        yield answer


def write_random(source, path):
    """`random_nets.rs` and `random_nets.safetensors`."""
    nets = list(answers())
    check_coverage([answer.network for answer in nets])
    source.write_text(rust_source([answer.network for answer in nets]), encoding="utf-8")
    tensors = {}
    for number, answer in enumerate(nets):
        net = f"net{number:02}"
        tensors[f"{net}/params"] = np.array([answer.network.params()], np.int64)
        for index, output in enumerate(answer.outputs):
            put(tensors, f"{net}/output/{index}", output, 48)
        for index, gradient in enumerate(answer.grads):
            put(tensors, f"{net}/grad/{index}", gradient, 48)
        put(tensors, f"{net}/grad_input", answer.grad_input, 48)
    # One entry for all networks: the package writes several in no fixed order.
    path.write_bytes(save(tensors, {"nets": "\n".join(map(metadata_line, itertools.count(), nets))}))
    print(f"{len(nets)} random networks, {sum(answer.network.params() for answer in nets)} parameters")


def metadata_line(number, answer):
    """`net00|7,9,3|conv2d_1:7,8,5 …|conv2d_1/kernel:3,2,3,5 …`: the input, outputs and weights, without the batch."""
    outputs = [f"{name}:{commas(shape)}" for name, shape in zip(answer.network.names(), answer.network.shapes()[1:])]
    weights = [f"{layer.name}/{w.name}:{commas(w.shape)}" for layer in answer.layers for w in layer.weights]
    return "|".join([f"net{number:02}", commas(answer.network.input), " ".join(outputs), " ".join(weights)])


# ------------------------------------------------------------------------------------------------ the run


def write_layers(folder, data):
    """The family of all layers: random networks, a training, architectures, and networks as JSON."""
    networks = layer_answers.write(folder / "layer_nets.rs", folder / "layer_nets.safetensors")
    layer_training.write(folder / "layer_training.safetensors", data)
    keras_json.write(folder / "keras", networks)
    architectures.write(folder / "architectures.rs")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("CONVNET_DATA"), help="the folder that holds mnist/")
    parser.add_argument("--out", default="tests/fixtures", type=pathlib.Path, help="where to write")
    arguments = parser.parse_args()
    if not arguments.data:
        parser.error("--data is missing, and CONVNET_DATA is not set")
    exact_keras.make_deterministic()
    write_random(arguments.out / "random_nets.rs", arguments.out / "random_nets.safetensors")
    write_training(arguments.out / "training.safetensors", arguments.data)
    write_layers(arguments.out, arguments.data)


if __name__ == "__main__":
    main()
