"""The formula that gives every weight, input and seed of a gradient, and the way that tensors are stored.

    state  = stream·0x9E3779B97F4A7C15 + i·0xBF58476D1CE4E5B9 + 0x94D049BB133111EB   mod 2⁶⁴
    z      = state;  z ^= z>>30;  z *= 0xBF58476D1CE4E5B9;  z ^= z>>27;  z *= 0x94D049BB133111EB;  z ^= z>>31
    value(stream, i) = 2·((z >> 40) / 2²⁴) − 1                                  in [−1, 1), exact in f32 already

    tensor number t   w_i = f32(value(base+t, i) · √(6/(fan_in+fan_out)))       where it has two axes or more: a kernel
                      w_i = f32(1 + value(base+t, i) · 0.1)                     gamma
                      w_i = f32(1 + value(base+t, i) · 0.5)                     moving_variance
                      w_i = f32(value(base+t, i) · 0.1)                         bias, beta, moving_mean
    input             x_i = value(1, i)            of a random network; one stream over the batch of 3
    output seed       r_i = value(2, i)            the loss of a random network is Σ output_i·r_i over the batch

where i is the flat index in Keras's layout (channels last, C order). t counts the network's weight tensors in the order of
its listing from 0 (kernel, bias, kernel, …; a layer without bias takes no number for it). The fans of a kernel are read
off its shape, whatever layer it belongs to: receptive·shape[−2] and receptive·shape[−1], receptive the product of the
axes before. All is computed in f64, then rounded. `base` is 100 in a random network.

A tensor is stored as `<key>/samples`, its values at the flat indices k·len//count for k < count = min(len, limit), and
`<key>/max`, its largest absolute value, which is the scale that a tolerance is relative to.
"""

import math

import numpy as np

MASK = (1 << 64) - 1
INPUT_STREAM, SEED_STREAM, WEIGHT_STREAM = 1, 2, 100  # the last is the base of the random networks


def values(stream, count):
    """value(stream, i) of the docstring for i < count, in f64."""
    z = np.arange(count, dtype=np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
    z += np.uint64((stream * 0x9E3779B97F4A7C15 + 0x94D049BB133111EB) & MASK)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return 2.0 * ((z >> np.uint64(40)).astype(np.float64) / 2.0**24) - 1.0


def tensor(stream, shape, scale=1.0, centre=0.0):
    """A tensor of `centre + value · scale`, rounded to f32."""
    return (centre + values(stream, math.prod(shape)) * scale).astype(np.float32).reshape(shape)


def weight(stream, shape, name):
    """The weight tensor of a stream: a kernel where it has two axes or more, else what its name says."""
    if len(shape) > 1:
        receptive = math.prod(shape[:-2])
        fans = receptive * shape[-2] + receptive * shape[-1]
        return tensor(stream, shape, math.sqrt(6.0 / fans))
    if name == "gamma":
        return tensor(stream, shape, 0.1, 1.0)
    return tensor(stream, shape, 0.5, 1.0) if name == "moving_variance" else tensor(stream, shape, 0.1)


def assign_weights(variables, base):
    """Gives every weight tensor of a network its formula."""
    for stream, variable in enumerate(variables, base):
        variable.assign(weight(stream, tuple(variable.shape), variable.name))


def put(tensors, key, array, limit):
    """Stores `<key>/samples` and `<key>/max`."""
    flat = np.asarray(array).reshape(-1)
    assert np.isfinite(flat).all(), key
    count = min(flat.size, limit)
    tensors[f"{key}/samples"] = flat[np.arange(count) * flat.size // count].astype(np.float32)
    tensors[f"{key}/max"] = np.abs(flat).max(keepdims=True).astype(np.float32)


def commas(shape):
    """A shape as the metadata of a file have it."""
    return ",".join(map(str, shape))
