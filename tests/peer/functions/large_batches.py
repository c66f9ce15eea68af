"""Functions of batches of images, of which some mix the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

ROWS = 48


def _images() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.normal(size=(ROWS, 6, 6, 4)).astype("float32")


def _behind(kernel: Any, body: Any) -> Any:
    """A function of what a depthwise convolution makes of images."""
    return lambda x: body(tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME"))


def save_functions(path: str) -> dict[str, Any]:
    """Saves functions that begin with a depthwise convolution.

    Returns:
        `images`, and what each function gives for them.
    """
    module = tf.Module()
    random = np.random.default_rng(1)

    def weight(*shape: int) -> Any:
        return tf.Variable(random.normal(size=shape).astype("float32"))

    module.depthwise, module.kernel = weight(3, 3, 4, 1), weight(3, 3, 4, 8)
    module.dense, module.bias, module.table = weight(16, 3), weight(8), weight(64, 4)
    module.count = tf.Variable(0)

    def network(h: Any) -> Any:
        h = tf.nn.relu6(h)
        h = tf.nn.conv2d(h, module.kernel, 2, "SAME") + module.bias
        ones = tf.ones([8])
        h, *_ = tf.compat.v1.nn.fused_batch_norm(
            *(h, ones, module.bias, ones, 2 * ones), is_training=False
        )
        pooled = tf.nn.avg_pool2d(
            tf.pad(h, [[0, 0], [1, 1], [1, 1], [0, 0]]), 2, 1, "SAME"
        )
        h = tf.concat([h, tf.nn.max_pool2d(pooled, 3, 1, "VALID")], -1)
        squeezed = tf.reduce_mean(h, [1, 2], keepdims=True)
        h = h * tf.sigmoid(squeezed)
        h = tf.reshape(h[:, 1:, ::2], [tf.shape(h)[0], -1, 16])
        return tf.nn.softmax(tf.reduce_max(h, 1) @ module.dense)

    def counting(h: Any) -> Any:
        module.count.assign_add(1)
        return h + tf.cast(module.count.read_value(), "float32")

    bodies = {
        "network": network,
        "two_results": lambda h: (h, network(h)),
        "centred": lambda h: h - tf.reduce_mean(h, 0),
        "counted": lambda h: h / tf.cast(tf.shape(h)[0], "float32"),
        "numbered": lambda h: h[:, 0, 0] + module.table[: tf.shape(h)[0]],
        "turned": lambda h: h[::-1],
        "transposed": lambda h: tf.transpose(h, [1, 0, 2, 3]),
        "running": lambda h: tf.cumsum(h, 0),
        "pairs": lambda h: tf.linalg.matmul(h[:, 0, 0], h[:, 0, 0], transpose_b=True),
        "normal": lambda h: tf.compat.v1.nn.fused_batch_norm(
            h, tf.ones([4]), tf.zeros([4]), is_training=True
        )[0],
        "joined": lambda h: tf.concat([h, h], 0),
        "among_rows": lambda h: tf.nn.softmax(h, 0),
        "ordered": lambda h: tf.sort(h, 0),
        "beside_the_first": lambda h: h - h[:1],
        "shifted": lambda h: tf.pad(h, [[1, 0], [0, 0], [0, 0], [0, 0]])[:-1],
        "blocks": lambda h: tf.space_to_batch(h, [2, 2], [[0, 0], [0, 0]]),
        "flat": lambda h: tf.reshape(h, [-1, 2]),
        "sum": lambda h: tf.reduce_sum(h),
        "without_rows": lambda h: (h, module.table * 2.0),
        "counting": counting,
    }
    spec = tf.TensorSpec([None, 6, 6, 4])
    found: dict[str, Any] = {"images": _images()}
    for name, body in bodies.items():
        setattr(module, name, tf.function(_behind(module.depthwise, body), [spec]))
    tf.saved_model.save(module, str(Path(path)))
    for name in bodies:
        function = getattr(module, name)
        results = tf.nest.flatten(function(tf.constant(found["images"])))
        found[name] = [result.numpy() for result in results]
    return found
