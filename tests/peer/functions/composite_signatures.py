"""SavedModels of sessions whose signatures take sparse and ragged tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf


def save(path: Path, given: dict) -> dict:
    """Saves a session's graph over sparse and ragged placeholders.

    Args:
        path: Directory.
        given: Parts of the inputs, by name.

    Returns:
        What the session gives: by output a list of its parts.
    """
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        fixed = v1.sparse_placeholder(tf.float32, [3, 4], name="fixed")
        rows = v1.sparse_placeholder(tf.float32, [None, 4], name="rows")
        free = v1.sparse_placeholder(tf.int64, name="free")
        words = v1.ragged.placeholder(tf.string, 1, name="words")
        deep = v1.ragged.placeholder(tf.float32, 2, [2], name="deep")
        w = v1.get_variable("w", [4, 2], initializer=v1.random_normal_initializer())
        results = {
            "product": tf.sparse.sparse_dense_matmul(rows, w),
            "sum": tf.sparse.add(fixed, rows),
            "counts": tf.sparse.reduce_sum(free, axis=1),
            "again": tf.sparse.reset_shape(free),
            "lengths": tf.strings.length(words.to_tensor(default_value="")),
            "upper": tf.strings.upper(words),
            "twice": deep * 2.0,
        }
        inputs = {
            "fixed": fixed,
            "rows": rows,
            "free": free,
            "words": words,
            "deep": deep,
        }
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(path), inputs, results)
        feeds = {}
        for name, tensor in inputs.items():
            flat = tf.nest.flatten(tensor, expand_composites=True)
            feeds |= dict(zip(flat, given[name], strict=True))
        flat = {
            name: tf.nest.flatten(value, expand_composites=True)
            for name, value in results.items()
        }
        found = session.run(flat, feeds)
    return {name: [np.asarray(v) for v in parts] for name, parts in found.items()}
