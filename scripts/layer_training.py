"""Writes `tests/fixtures/layer_training.safetensors`: Keras takes twenty steps with a small residual network on MNIST.

The network has what `training.safetensors` lacks: batch normalization (one of them frozen in one of the runs), a
shortcut, a frozen convolution, a global pooling, and a penalty in the loss. `Trained` in `architectures.rs` is its listing.
Convolutions in front of a batch normalization have no bias: its gradient would be nothing but rounding.

Every run has a base, the stream of its first weight tensor, from which rounding decides nothing:

    python scripts/layer_training.py --data "$CONVNET_DATA" --search sgd_momentum

tries 1000, 2000, … and prints, of 20 runs in float32, the largest distance from the one in float64: of the losses,
relative, and of the weights after 5 and after 20 steps, relative to the tensor's largest. Each of those runs multiplies
every initial weight by 1 + u·1e-7, u uniform in [−1, 1), and shuffles the images of each batch, which is another order of its sums.
"""

import argparse
import os

import exact_keras  # first: it sets Keras up
import keras
import numpy as np
from formula import put, weight
from mnist_batches import BATCH, EARLY, STEPS, mnist
from safetensors.numpy import save

layers = keras.layers

# A run's optimizer, whether the last batch normalization is frozen, and its base, found as the docstring says.
RUNS = {
    "sgd_momentum": (lambda: keras.optimizers.SGD(learning_rate=0.01, momentum=0.9), False, 3000),
    "adam": (lambda: keras.optimizers.Adam(learning_rate=0.0001), False, 8000),
    "sgd_frozen_norm": (lambda: keras.optimizers.SGD(learning_rate=0.01, momentum=0.9), True, 6000),
}


def residual(frozen_norm):
    """The network, and its layers with weights in the order of the listing."""
    named = []

    def layer(kind, name, *arguments, **keywords):
        made = kind(*arguments, **keywords, name=name)
        named.append(made)
        return made

    def conv(name, **keywords):
        return layer(layers.Conv2D, name, 8, 3, padding="same", **keywords)

    def norm(name, x, **keywords):
        return layer(layers.BatchNormalization, name, **keywords)(x)

    start = keras.Input((28, 28, 1))
    x = conv("conv2d_1", strides=2, use_bias=False)(start)
    x = norm("batch_normalization_1", x)
    shortcut = x = layers.Activation("relu", name="activation_1")(x)
    x = conv("conv2d_2", use_bias=False)(x)
    x = norm("batch_normalization_2", x)
    x = layers.Activation("relu", name="activation_2")(x)
    x = conv("conv2d_3", use_bias=False)(x)
    x = norm("batch_normalization_3", x, trainable=not frozen_norm)
    x = layers.Add(name="add_1")([x, shortcut])
    x = layers.Activation("relu", name="activation_3")(x)
    x = conv("conv2d_4", activation="relu", trainable=False)(x)
    x = layers.GlobalAveragePooling2D(name="global_average_pooling2d_1")(x)
    penalty = keras.regularizers.L2(0.01)
    x = layer(layers.Dense, "dense_1", 16, activation="relu", kernel_regularizer=penalty)(x)
    x = layer(layers.Dense, "dense_2", 10, activation="softmax")(x)
    return keras.Model(start, x), named


class Run:
    """A compiled network that can be trained from the start more than once."""

    def __init__(self, name, dtype):
        self.dtype = dtype
        exact_keras.set_precision(dtype)
        optimizer, frozen_norm, _ = RUNS[name]
        self.model, named = residual(frozen_norm)
        self.variables = [(layer, variable) for layer in named for variable in layer.weights]
        self.model.compile(optimizer=optimizer(), loss="categorical_crossentropy")
        self.model.optimizer.build(self.model.trainable_variables)
        self.start = [variable.numpy() for variable in self.model.optimizer.variables]

    def train(self, base, images, labels, rng=None):
        """The losses before each update, and the weights after 5 and after 20 steps; with `rng`, disturbed."""
        exact_keras.set_precision(self.dtype)  # the first step is traced here
        for variable, value in zip(self.model.optimizer.variables, self.start):
            variable.assign(value)
        for stream, (_, variable) in enumerate(self.variables, base):
            value = weight(stream, tuple(variable.shape), variable.name)
            variable.assign(value if rng is None else value * (1 + rng.uniform(-1e-7, 1e-7, value.shape)))
        losses, snapshots = [], []
        for start in range(0, STEPS * BATCH, BATCH):
            self.model.reset_metrics()  # else Keras answers with the mean over the batches so far
            order = start + (np.arange(BATCH) if rng is None else rng.permutation(BATCH))
            losses.append(float(self.model.train_on_batch(images[order], labels[order])))
            if len(losses) in (EARLY, STEPS):
                snapshots.append([variable.numpy() for _, variable in self.variables])
        return np.array(losses), snapshots


def write(path, data):
    """All runs, in float64 from f32 weights and images."""
    images, labels = mnist(data, STEPS * BATCH)
    tensors = {}
    for name, (_, _, base) in RUNS.items():
        run = Run(name, "float64")
        losses, (early, late) = run.train(base, images, labels)
        for key, weights in [(f"{name}/after_{EARLY}", early), (name, late)]:
            for (layer, variable), value in zip(run.variables, weights):
                put(tensors, f"{key}/{layer.name}/{variable.name}", value, 256)
        tensors[f"{name}/loss"] = losses.astype(np.float32)
        print(f"{name}: loss {losses[0]:.4f} to {losses[-1]:.4f}")
    # One entry: the package writes several in no fixed order.
    path.write_bytes(save(tensors, {"bases": " ".join(f"{name}:{base}" for name, (_, _, base) in RUNS.items())}))


def distance(exact, found):
    """How far a run is from another: losses, weights after 5 steps, weights after 20."""
    losses = np.abs(found[0] / exact[0] - 1).max()
    pairs = [zip(*snapshots) for snapshots in zip(exact[1], found[1])]
    return [losses, *(max(np.abs(a - b).max() / np.abs(a).max() for a, b in pair) for pair in pairs)]


def search(name, data, bases, count=20):
    """Prints how far float32 is from float64, from one base after the other."""
    images, labels = mnist(data, STEPS * BATCH)
    exact, plain = Run(name, "float64"), Run(name, "float32")
    for base in bases:
        answer = exact.train(base, images, labels)
        rng = np.random.default_rng(base)
        distances = [distance(answer, plain.train(base, images, labels, rng)) for _ in range(count)]
        print(base, *(f"{largest:.1e}" for largest in np.max(distances, axis=0)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("CONVNET_DATA"), help="the folder that holds mnist/")
    parser.add_argument("--search", choices=RUNS, required=True, help="the run to find a base for")
    arguments = parser.parse_args()
    exact_keras.make_deterministic()
    search(arguments.search, arguments.data, range(1000, 61000, 1000))
