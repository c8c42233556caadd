"""How near a network comes to a decision that float32 might take the other way.

A relu near its kink, or a maximum near the next value, has a gradient that the order of a sum decides. Networks in which
that happens are drawn again.
"""

import itertools

import numpy as np


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


def global_lead(x):
    """The least lead, over images and channels, of the largest value of a map; a tie, where it is shared, leads by 0."""
    largest = np.sort(x.reshape(len(x), -1, x.shape[3]), axis=1)[:, -2:]
    return (largest[:, -1] - largest[:, 0]).min() if largest.shape[1] == 2 else np.inf
