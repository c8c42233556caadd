"""Keras over TensorFlow, set up so that the same machine writes the same bytes every time.

On the CPU, on one thread and without oneDNN. To be imported before Keras is.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # oneDNN chooses its order of summation by the machine
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402


def make_deterministic():
    """One thread, one order of summation."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(5)


def set_precision(dtype):
    """The type of what is made and traced from here on: layers follow a policy, losses follow `floatx`."""
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
