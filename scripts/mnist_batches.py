"""The images that training fixtures are made with: the first 20 batches of 64 of MNIST's training set, in file order."""

import gzip
import pathlib

import numpy as np

STEPS, EARLY, BATCH = 20, 5, 64  # weights are stored after EARLY and after all steps


def mnist(folder, count):
    """The first `count` training images, (count, 28, 28, 1) in [0, 1], and their labels one-hot."""
    folder = pathlib.Path(folder) / "mnist"
    pixels = gzip.open(folder / "train-images-idx3-ubyte.gz").read(16 + count * 784)[16:]
    labels = gzip.open(folder / "train-labels-idx1-ubyte.gz").read(8 + count)[8:]
    images = np.frombuffer(pixels, np.uint8).reshape(count, 28, 28, 1).astype(np.float32) / np.float32(255)
    return images, np.eye(10, dtype=np.float32)[np.frombuffer(labels, np.uint8)]
