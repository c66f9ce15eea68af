"""Small models of every kind, with inputs."""

from __future__ import annotations

import jax
import keras
import numpy as np
from keras import layers as L
from keras import ops


def _floats(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def _tokens(*shape):
    return np.random.default_rng(0).integers(0, 20, shape).astype("int32")


class Gate(L.Layer):
    """A layer that no Keras has: raw JAX, state, losses, and layers inside."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(
            shape=(shape[-1], self.units), name="kernel", regularizer="l2"
        )
        self.seen = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="seen"
        )
        self.dropout = L.Dropout(0.5)
        self.norm = L.BatchNormalization()
        self.norm.build((None, self.units))

    def call(self, inputs, training=False):
        if training:
            self.seen.assign_add(ops.cast(ops.shape(inputs)[0], "float32"))
        gate = ops.tanh(ops.matmul(inputs, self.kernel))
        self.add_loss(ops.mean(ops.square(gate)))
        out = self.dropout(self.norm(gate, training=training), training=training)
        return out + jax.numpy.sin(gate) * ops.mean(gate, axis=-1, keepdims=True)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable()
class Cell(L.Layer):
    """A recurrent cell of one's own."""

    def __init__(self, units, **keywords):
        super().__init__(**keywords)
        self.units = self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight((shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight((self.units, self.units), name="recurrent")

    def call(self, inputs, states):
        state = keras.ops.tanh(inputs @ self.kernel + states[0] @ self.recurrent)
        return state, [state]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Pair(keras.Model):
    """A subclassed model with a dict of outputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = L.Dense(4, activation="gelu")
        self.second = Gate(2)

    def call(self, inputs, training=False):
        hidden = self.first(inputs)
        return {"gated": self.second(hidden, training=training), "hidden": hidden}


def dense():
    return keras.Sequential(
        [
            keras.Input((3,), name="x"),
            L.Dense(8, activation="relu", kernel_regularizer="l2"),
            L.Dense(8),
            L.Dense(8, activity_regularizer="l2"),
            L.Softmax(),
        ]
    ), {"x": _floats(4, 3)}


def convnet():
    return keras.Sequential(
        [
            keras.Input((28, 28, 3), name="x"),
            L.Conv2D(4, 3, padding="same", strides=2, activation="relu"),
            L.BatchNormalization(),
            L.DepthwiseConv2D(3),
            L.SeparableConv2D(4, 3),
            L.MaxPooling2D(2),
            L.Conv2DTranspose(3, 3, strides=2),
            L.AveragePooling2D(3, 2, padding="same"),
            L.Flatten(),
            L.Dropout(0.5),
            L.Dense(5, activation="softmax"),
        ]
    ), {"x": _floats(4, 28, 28, 3)}


def recurrent():
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = L.Embedding(20, 8, mask_zero=True)(tokens)
    x = L.Bidirectional(L.LSTM(4, return_sequences=True))(x)
    return keras.Model(tokens, L.Dense(2)(L.GRU(3)(x))), {"tokens": _tokens(4, 7)}


def own_cells():
    inputs = keras.Input((7, 3), name="inputs")
    x = L.Bidirectional(L.RNN(Cell(4), return_sequences=True))(inputs)
    x = L.RNN(L.StackedRNNCells([Cell(3), L.GRUCell(2)]))(x)
    return keras.Model(inputs, x), {"inputs": _floats(2, 7, 3)}


def transformer():
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = L.Embedding(20, 8)(tokens)
    x = L.LayerNormalization()(L.Add()([x, L.MultiHeadAttention(2, 4)(x, x)]))
    x = L.LayerNormalization()(L.Add()([x, L.Dense(8, activation="gelu")(x)]))
    x = L.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, L.Dense(2)(x)), {"tokens": _tokens(4, 6)}


def custom():
    x = keras.Input((3,), name="x")
    return keras.Model(x, L.Dense(2, activity_regularizer="l2")(Gate(4)(x))), {
        "x": _floats(4, 3)
    }


def subclassed():
    model = Pair()
    model(_floats(4, 3))
    return model, {"input_1": _floats(4, 3)}


def several():
    left, right = keras.Input((3,), name="zz"), keras.Input((2,), name="aa")
    shared = L.Dense(3, name="shared")
    inner = keras.Sequential(
        [keras.Input((3,)), L.Dense(3), L.LayerNormalization()], name="inner"
    )
    joined = L.Concatenate(name="y_out")([inner(shared(left)), right])
    twice = L.Dense(1, name="b_out")(inner(shared(shared(left))))
    return keras.Model([left, right], [joined, twice]), {
        "zz": _floats(4, 3),
        "aa": _floats(4, 2),
    }


def image_of_any_size():
    x = keras.Input((None, None, 3), name="x")
    y = L.Conv2D(4, 3, 2, padding="same", activation="relu")(x)
    y = L.Conv2DTranspose(4, 3, 2, padding="same")(L.BatchNormalization()(y))
    return keras.Model(x, L.GlobalAveragePooling2D()(y)), {"x": _floats(2, 8, 10, 3)}


def mixed():
    policy = "mixed_bfloat16"
    return keras.Sequential(
        [
            keras.Input((8,), name="x"),
            L.Dense(5, activation="relu", dtype=policy),
            L.BatchNormalization(dtype=policy),
            L.Dense(2, dtype="float32"),
        ]
    ), {"x": _floats(4, 8)}


MODELS = {
    "dense": dense,
    "convnet": convnet,
    "recurrent": recurrent,
    "own_cells": own_cells,
    "transformer": transformer,
    "custom": custom,
    "subclassed": subclassed,
    "several": several,
    "image_of_any_size": image_of_any_size,
    "mixed": mixed,
}

# What TensorFlow Lite's own ops can't do, in TensorFlow's own files neither.
NOT_LITE = {
    "own_cells": "its lists want a batch of known size",
    "recurrent": "its lists want a batch of known size",
    "mixed": "it has no bfloat16",
}
