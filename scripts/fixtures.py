"""Writes the parity fixtures of `tests/fixtures/`: what Keras computes, for our tests to compute again.

    pip install keras==3.15.1 tensorflow-cpu==2.21.0 safetensors numpy
    python scripts/fixtures.py --data "$CONVNET_DATA"

`--data` is the folder that holds `mnist/train-images-idx3-ubyte.gz` and the labels beside it. The run takes half a minute,
in float64, on one thread and without oneDNN, so that the same machine writes the same bytes every time.

Nothing that a formula can give is stored. Weights, inputs and seeds of gradients are

    state  = stream·0x9E3779B97F4A7C15 + i·0xBF58476D1CE4E5B9 + 0x94D049BB133111EB   mod 2⁶⁴
    z      = state;  z ^= z>>30;  z *= 0xBF58476D1CE4E5B9;  z ^= z>>27;  z *= 0x94D049BB133111EB;  z ^= z>>31
    value(stream, i) = 2·((z >> 40) / 2²⁴) − 1                                  in [−1, 1), exact in f32 already

    kernel number t   w_i = f32(value(base+t, i) · √(6/(fan_in+fan_out)))       computed in f64, then rounded
    bias number t     b_i = f32(value(base+t, i) · 0.1)
    input             x_i = value(1, i)            of a random network; one stream over the batch of 3
    output seed       r_i = value(2, i)            the loss of a random network is Σ output_i·r_i over the batch

where i is the flat index in Keras's layout (channels last, C order), t counts the network's weight tensors in the order
of `model.weights` from 0 (kernel, bias, kernel, …; a layer without bias takes no number for it), and a convolution's
fans are kh·kw·in and kh·kw·out. `base` is 100 in a random network; training starts each optimizer from a base of its own.

Those bases were searched for. In 20 steps some forty million values pass a relu or compete for a maximum, and from most
starts a few lie so near to tipping that the order of a sum decides; single weights then end up to 1e-1 of the largest
elsewhere. So each optimizer has a base, out of 1000, 2000, …, from which some 40 runs in float32, and the
run in float64, end where plain float32 does: losses within 1e-5 of their size, weights within 3e-6 of the tensor's largest
for SGD and 5e-5 for the others. Each of them multiplies every initial weight by 1 + u·1e-7, u uniform in [−1, 1), and
shuffles the images of each batch and the channels of each hidden layer, which is another order of every sum.

A tensor is stored as `<key>/samples`, its values at the flat indices k·len//count for k < count = min(len, limit), and
`<key>/max`, its largest absolute value, which is the scale that a tolerance is relative to.
"""

import argparse
import gzip
import itertools
import math
import os
import pathlib

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # oneDNN chooses its order of summation by the machine
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from random_nets import NETS, Draw, check_coverage, rust_source  # noqa: E402
from safetensors.numpy import save  # noqa: E402

MASK = (1 << 64) - 1
INPUT_STREAM, SEED_STREAM, WEIGHT_STREAM = 1, 2, 100  # the last is the base of the random networks


# ------------------------------------------------------------------------------------------------ the formula


def values(stream, count):
    """value(stream, i) of the docstring for i < count, in f64."""
    z = np.arange(count, dtype=np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
    z += np.uint64((stream * 0x9E3779B97F4A7C15 + 0x94D049BB133111EB) & MASK)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return 2.0 * ((z >> np.uint64(40)).astype(np.float64) / 2.0**24) - 1.0


def tensor(stream, shape, scale=1.0):
    """A tensor of `value · scale`, rounded to f32."""
    return (values(stream, math.prod(shape)) * scale).astype(np.float32).reshape(shape)


def weight(stream, shape):
    """The weight tensor of a stream: a bias where it has one axis, else a kernel."""
    if len(shape) == 1:
        return tensor(stream, shape, 0.1)
    receptive = math.prod(shape[:-2])
    fans = receptive * shape[-2] + receptive * shape[-1]
    return tensor(stream, shape, math.sqrt(6.0 / fans))


def assign_weights(variables, base):
    """Gives every weight tensor of a network its formula."""
    for stream, variable in enumerate(variables, base):
        variable.assign(weight(stream, tuple(variable.shape)))


def put(tensors, key, array, limit):
    """Stores `<key>/samples` and `<key>/max`."""
    flat = np.asarray(array).reshape(-1)
    assert np.isfinite(flat).all(), key
    count = min(flat.size, limit)
    tensors[f"{key}/samples"] = flat[np.arange(count) * flat.size // count].astype(np.float32)
    tensors[f"{key}/max"] = np.abs(flat).max(keepdims=True).astype(np.float32)


# ------------------------------------------------------------------------------------------------ training

STEPS, EARLY, BATCH = 20, 5, 64

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


def mnist(folder, count):
    """The first `count` training images, (count, 28, 28, 1) in [0, 1], and their labels one-hot."""
    folder = pathlib.Path(folder) / "mnist"
    pixels = gzip.open(folder / "train-images-idx3-ubyte.gz").read(16 + count * 784)[16:]
    labels = gzip.open(folder / "train-labels-idx1-ubyte.gz").read(8 + count)[8:]
    images = np.frombuffer(pixels, np.uint8).reshape(count, 28, 28, 1).astype(np.float32) / np.float32(255)
    return images, np.eye(10, dtype=np.float32)[np.frombuffer(labels, np.uint8)]


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


def nearest_to_zero(z):
    """The least distance from zero; exact zeros (of a patch of zeros, without bias) are zeros in float32 too."""
    return np.abs(z[z != 0]).min(initial=np.inf)


def nearest_rival(spec, x):
    """The least distance, over all windows, from the maximum to the next value below; exact ties tie in float32 too."""
    strides = spec.strides or spec.window
    size, out = x.shape[1:3], spec.output_map(x.shape[1:3])
    before = [max((o - 1) * s + k - n, 0) // 2 for o, s, k, n in zip(out, strides, spec.window, size)]
    before = before if spec.padding == "same" else [0, 0]
    least = np.inf
    for position in itertools.product(*map(range, out)):
        low = [p * s - b for p, s, b in zip(position, strides, before)]
        rows, columns = (slice(max(a, 0), a + k) for a, k in zip(low, spec.window))
        window = x[:, rows, columns].reshape(len(x), -1, x.shape[3])
        below = window.max(axis=1, keepdims=True) - window
        least = min(least, below[below > 0].min(initial=np.inf))
    return least


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


def commas(shape):
    return ",".join(map(str, shape))


# ------------------------------------------------------------------------------------------------ the run


def make_deterministic():
    """One thread, one order of summation."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("CONVNET_DATA"), help="the folder that holds mnist/")
    parser.add_argument("--out", default="tests/fixtures", type=pathlib.Path, help="where to write")
    arguments = parser.parse_args()
    if not arguments.data:
        parser.error("--data is missing, and CONVNET_DATA is not set")
    make_deterministic()
    write_random(arguments.out / "random_nets.rs", arguments.out / "random_nets.safetensors")
    write_training(arguments.out / "training.safetensors", arguments.data)


if __name__ == "__main__":
    main()
