"""Layers and models of own classes that read or give text, in Keras 2."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

Built = tuple[Any, Any, np.ndarray]
CASES: dict[str, Callable[[], Built]] = {}

TEXTS = np.array([["a b c"], ["c a"], ["what b"], ["a a a d"], [""]])
RED = np.array([["red"], ["blue"], ["pink"], ["red"], [""]])
NUMBERS = np.linspace(-1, 1, 15, dtype="float32").reshape(5, 3)
TARGETS = np.linspace(0, 1, 10, dtype="float32").reshape(5, 2)


def _case(function: Callable[[], Built]) -> Callable[[], Built]:
    CASES[function.__name__] = function
    return function


class Averaged(layers.Layer):
    """Vectors of the words of a text, on average."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.tokens = layers.TextVectorization(vocabulary=["a", "b", "c"])
        self.vectors = layers.Embedding(5, 4)

    def call(self, texts: Any) -> Any:
        return tf.reduce_mean(self.vectors(self.tokens(texts)), 1)


class Split(layers.Layer):
    """TensorFlow's own ops on text: split into ragged rows, hashed, counted."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.scale = self.add_weight("scale", shape=(8,), initializer="ones")

    def call(self, texts: Any) -> Any:
        words = tf.strings.split(tf.strings.lower(texts[:, 0]))
        places = tf.strings.to_hash_bucket_fast(words, 8)
        counted = tf.reduce_sum(tf.one_hot(places, 8), axis=1)
        return counted * self.scale


class Looked(layers.Layer):
    """A table of TensorFlow's own, and one that gives text."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        keys = tf.constant(["red", "green", "blue"])
        numbers = tf.lookup.KeyValueTensorInitializer(
            keys, tf.constant([1.5, -2.0, 0.25])
        )
        self.weights_of = tf.lookup.StaticHashTable(numbers, 9.0)
        others = tf.lookup.KeyValueTensorInitializer(keys, tf.constant(["a", "b", "a"]))
        self.kinds_of = tf.lookup.StaticHashTable(others, "none")
        self.scale = self.add_weight("scale", shape=(2,), initializer="ones")

    def call(self, words: Any, training: Any = None) -> Any:
        kinds = self.kinds_of.lookup(words)
        is_a = tf.cast(tf.equal(kinds, "a"), tf.float32)
        found = tf.concat([self.weights_of.lookup(words), is_a], 1) * self.scale
        return found + 1.0 if training else found


@_case
def functional() -> Built:
    """Layers that read text in a graph of layers, with numbers besides."""
    text = tf_keras.Input((1,), dtype="string", name="text")
    color = tf_keras.Input((1,), dtype="string", name="color")
    number = tf_keras.Input((3,), name="number")
    parts = [
        Averaged(name="averaged")(text),
        Split(name="split")(text),
        Looked(name="looked")(color),
        layers.Dense(2, name="few")(number),
    ]
    outputs = layers.Dense(2, name="last")(layers.Concatenate()(parts))
    model = tf_keras.Model([text, color, number], outputs)
    return model, [TEXTS, RED, NUMBERS], TARGETS


@_case
def sequential() -> Built:
    """Text behind a layer that is known."""
    model = tf_keras.Sequential(
        [tf_keras.Input((1,), dtype="string"), Averaged(), layers.Dense(2)]
    )
    return model, TEXTS, TARGETS


class Whole(tf_keras.Model):
    """A model of text and numbers by name, with layers of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.averaged = Averaged()
        self.looked = Looked()
        self.hashed = layers.Hashing(6)
        self.colors = layers.StringLookup(vocabulary=["red", "blue"])
        self.vectors = layers.Embedding(6, 3)
        self.normal = layers.BatchNormalization()
        self.last = layers.Dense(2)

    def call(self, inputs: Any, training: Any = None) -> Any:
        color = inputs["color"]
        known = tf.cast(self.colors(color), tf.float32)
        vectors = self.vectors(self.hashed(color))[:, 0]
        parts = [self.averaged(inputs["text"]), self.looked(color), known, vectors]
        joined = tf.concat([*parts, inputs["number"]], 1)
        return self.last(self.normal(joined, training=training))


@_case
def subclassed() -> Built:
    return Whole(), {"text": TEXTS, "color": RED, "number": NUMBERS}, TARGETS


class Counted(layers.Layer):
    """How often a word was seen before, by a table that each call writes."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.seen = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 0)
        self.vectors = tf.lookup.experimental.MutableHashTable(
            tf.int64, tf.float32, [0.5, -0.5]
        )
        self.scale = self.add_weight("scale", shape=(2,), initializer="ones")

    def call(self, words: Any) -> Any:
        words = words[:, 0]
        before = tf.ensure_shape(self.seen.lookup(words), (None,))
        self.seen.insert(words, before + 1)
        place = tf.constant([7], tf.int64)
        vector = tf.ensure_shape(self.vectors.lookup(place), (1, 2))
        self.vectors.insert(place, vector + 1.0)
        number = tf.cast(before, tf.float32)[:, None]
        return (number + vector) * self.scale


@_case
def counted() -> Built:
    """Tables that a layer of a network writes."""
    color = tf_keras.Input((1,), dtype="string", name="color")
    number = tf_keras.Input((3,), name="number")
    parts = [Counted(name="counted")(color), layers.Dense(2, name="few")(number)]
    outputs = layers.Dense(2, name="last")(layers.Concatenate()(parts))
    model = tf_keras.Model([color, number], outputs)
    return model, [RED, NUMBERS], TARGETS


@_case
def counted_subclassed() -> Built:
    """The same in a model of its own class, below an object that is no layer."""

    class Both(tf_keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.counted = Counted()
            self.last = layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            return self.last(self.counted(inputs))

    return Both(), RED, TARGETS


class Indexed(layers.Layer):
    """Names in a variable, and numbers that a pipeline of `tf.data` makes."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.names = tf.Variable(["red", "blue", ""], trainable=False)
        self.scale = self.add_weight("scale", shape=(3,), initializer="ones")
        rows = tf.data.Dataset.from_tensor_slices(np.eye(3, dtype="float32") * 0.5)
        self.rows = rows.map(lambda row: row + 0.25)

    def call(self, words: Any) -> Any:
        found = tf.cast(tf.equal(words, self.names[None]), tf.float32)
        summed = self.rows.reduce(tf.zeros(3), lambda so_far, row: so_far + row)
        return found * self.scale + summed


@_case
def indexed() -> Built:
    """A layer that captures more than weights and tables."""

    class Index(tf_keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.indexed = Indexed()
            self.last = layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            return self.last(self.indexed(inputs))

    return Index(), RED, TARGETS


@_case
def hashed_alone() -> Built:
    """A model of the class whose only table is none."""

    class Hashed(tf_keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hashed = layers.Hashing(6)
            self.vectors = layers.Embedding(6, 2)

        def call(self, texts: Any) -> Any:
            return self.vectors(self.hashed(tf.strings.upper(texts)))[:, 0]

    return Hashed(), TEXTS, TARGETS


def _tensors(given: Any) -> Any:
    def tensor(array: Any) -> Any:
        array = np.asarray(array)
        return tf.constant(array.tolist() if array.dtype.kind in "USO" else array)

    if isinstance(given, dict):
        return {key: tensor(value) for key, value in given.items()}
    return (
        [tensor(value) for value in given] if isinstance(given, list) else tensor(given)
    )


def _seen(model: Any, given: Any, targets: np.ndarray) -> dict[str, Any]:
    """What a model gives, its loss, and what it gives after a step."""
    given = _tensors(given)
    targets = tf.constant(targets)
    found = {
        "outputs": model(given, training=False).numpy(),
        "predicted": model.predict(given, verbose=0),
        "evaluated": model.evaluate(given, targets, verbose=0),
        "loss": model.train_on_batch(given, targets),
    }
    return {**found, "after": model(given, training=False).numpy()}


def save(name: str, path: str) -> dict[str, Any]:
    """Saves a model that was trained for a step; returns what it is called with."""
    tf_keras.utils.set_random_seed(0)
    tf_keras.backend.clear_session()
    model, given, targets = CASES[name]()
    model.compile(tf_keras.optimizers.Adam(0.1), "mse")
    model.train_on_batch(_tensors(given), tf.constant(targets))
    with contextlib.redirect_stdout(None):
        model.save(path, save_format="tf")
    return {"inputs": given, "targets": targets, **_seen(model, given, targets)}


def read(path: str, given: Any, targets: np.ndarray) -> dict[str, Any]:
    """Opens a model without its classes; returns what it computes and learns."""
    tf_keras.backend.clear_session()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    model = tf_keras.models.load_model(path)
    return _seen(model, given, targets)
