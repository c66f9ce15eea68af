"""Keras models over ragged and sparse inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

layers = keras.layers


class Bag(layers.Layer):
    """Sums embeddings of the words of each row."""

    def build(self, shape: Any) -> None:
        self.table = self.add_weight("table", (7, 3))

    def call(self, words: Any) -> Any:
        ids = tf.strings.to_hash_bucket_fast(words.values, 7)
        ids = tf.SparseTensor(words.indices, ids, words.dense_shape)
        return tf.nn.embedding_lookup_sparse(self.table, ids, None, combiner="sum")


def _ragged() -> Any:
    x = keras.Input((None,), ragged=True, dtype="int64", name="ids")
    y = layers.LSTM(3)(layers.Embedding(20, 4)(x))
    return keras.Model({"ids": x}, layers.Dense(1)(y))


def _deep() -> Any:
    x = keras.Input((None, None, 2), ragged=True)
    y = layers.Lambda(lambda x: tf.reduce_sum(tf.reduce_max(x, axis=2), axis=1))(x)
    return keras.Model(x, layers.Dense(1)(y))


def _sparse() -> Any:
    words = keras.Input((None,), dtype="string", sparse=True, name="words")
    numbers = keras.Input((2,), name="numbers")
    y = layers.Concatenate()([Bag()(words), numbers])
    return keras.Model({"words": words, "numbers": numbers}, layers.Dense(1)(y))


def _counted() -> Any:
    x = keras.Input((None,), dtype="int64", sparse=True)
    counts = layers.CategoryEncoding(5, output_mode="count")(x)
    return keras.Model(x, layers.Dense(1)(counts))


def _looked_up() -> Any:
    x = keras.Input((None,), dtype="int64", sparse=True)
    counts = layers.IntegerLookup(vocabulary=[1, 3], output_mode="count")(x)
    return keras.Model(x, layers.Dense(1)(counts))


class Matrix(keras.Model):
    """Multiplies a sparse matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.w = self.add_weight("w", (4, 1), initializer="ones")

    def call(self, x: Any) -> Any:
        return tf.sparse.sparse_dense_matmul(x, self.w)


def _inputs(kind: str, given: Any) -> Any:
    if kind == "ragged":
        return {"ids": tf.ragged.constant(given["ids"], dtype="int64")}
    if kind == "deep":
        return tf.ragged.constant(given, dtype="float32", inner_shape=(2,))
    if kind in ("counted", "looked_up", "subclassed"):
        return tf.SparseTensor(*given)
    indices, values, shape = given["words"]
    words = tf.SparseTensor(indices, values.astype("S8"), shape)
    return {"words": words, "numbers": given["numbers"]}


def save(path: Path, kind: str, given: Any, y: np.ndarray) -> dict[str, Any]:
    """Saves a model after a step of training.

    Args:
        path: Directory.
        kind: Which.
        given: Its inputs, as `regraft` takes them.
        y: Targets.

    Returns:
        What it gives, and what after one more step.
    """
    keras.utils.set_random_seed(1)
    kinds = {
        "ragged": _ragged,
        "deep": _deep,
        "sparse": _sparse,
        "counted": _counted,
        "looked_up": _looked_up,
        "subclassed": Matrix,
    }
    model = kinds[kind]()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = _inputs(kind, given)
    model.train_on_batch(x, y)
    model.save(path)
    out = model(x).numpy()
    model.train_on_batch(x, y)
    return {"out": out, "next": model(x).numpy()}


def call(path: Path, kind: str, given: Any) -> dict[str, Any]:
    """Returns what tf_keras and TensorFlow compute from a file."""
    x = _inputs(kind, given)
    ways = {} if kind == "subclassed" else {"training": False}
    return {
        "tf_keras": keras.models.load_model(path)(x).numpy(),
        "tensorflow": tf.saved_model.load(str(path))(x, **ways).numpy(),
    }
