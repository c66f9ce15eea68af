"""Pools and their gradients, where the largest values of windows are equal."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

# Window, steps, padding.
POOLS: dict[str, tuple[tuple[int, int], tuple[int, int], Any]] = {
    "pairs": ((2, 2), (2, 2), "VALID"),
    "overlapping": ((3, 3), (2, 2), "SAME"),
    "dense": ((3, 3), (1, 1), "SAME"),
    "uneven": ((1, 4), (2, 3), "SAME"),
    "sparse": ((2, 1), (3, 2), "VALID"),
    "explicit": ((3, 2), (2, 2), [[0, 0], [1, 0], [0, 1], [0, 0]]),
    "large": ((4, 4), (1, 1), "VALID"),
}


def _of_one(function: Any) -> Any:
    """A function of one argument: a SavedModel holds no defaults of others."""
    return lambda x: function(x)


def save_pools(path: str) -> dict[str, Any]:
    """Saves a function for each pool.

    Returns:
        `x`, and by name the results and the gradients of their sums of squares.
    """
    # Few different values, of which windows have several.
    x = np.random.default_rng(0).integers(-2, 2, (2, 8, 9, 3)).astype("float32")
    given = tf.constant(x)
    module = tf.Module()
    spec = tf.TensorSpec([None, 8, 9, 3])
    found: dict[str, Any] = {"x": x}
    for name, (window, steps, padding) in POOLS.items():
        pool = functools.partial(
            tf.nn.max_pool2d, ksize=window, strides=steps, padding=padding
        )
        setattr(module, name, tf.function(_of_one(pool), [spec]))
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = pool(given)
            total = tf.reduce_sum(y**2 + y)
        found[name] = y.numpy(), tape.gradient(total, given).numpy()
    tf.saved_model.save(module, path)
    return found
