"""Compiled Keras 3 models, small, with data: what the interoperation tests save."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

STEPS_BEFORE = 3
STEPS_AFTER = 3
BATCH = 8


class Example(NamedTuple):
    """A model and its data.

    Attributes:
        model: Built, not compiled.
        loss: Argument of `compile`.
        inputs: Argument of `predict`.
        batches: Arguments of `train_on_batch`, before and after the save.
    """

    model: keras.Model
    loss: Any
    inputs: Any
    batches: list[tuple[Any, Any]]


def _floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(-1, 1, (BATCH, *shape)).astype("float32")


def _classes(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.eye(count, dtype="float32")[rng.integers(0, count, BATCH)]


def _example(
    model: keras.Model, loss: Any, x: Callable[[np.random.Generator], Any], y: Any
) -> Example:
    rng = np.random.default_rng(7)
    steps = STEPS_BEFORE + STEPS_AFTER
    return Example(model, loss, x(rng), [(x(rng), y(rng)) for _ in range(steps)])


def dense() -> Example:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(6, activation="tanh"),
            layers.Dense(3, activation="softmax", kernel_regularizer="l2"),
        ]
    )
    return _example(
        model,
        "categorical_crossentropy",
        lambda rng: _floats(rng, 5),
        lambda rng: _classes(rng, 3),
    )


def convnet() -> Example:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(6, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(max_value=6.0),
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
            layers.SeparableConv2D(6, 3, strides=2, padding="same", activation="tanh"),
            layers.ZeroPadding2D(((0, 1), (1, 0))),
            layers.Conv2DTranspose(4, 3, strides=2),
            layers.AveragePooling2D(2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )
    return _example(
        model,
        keras.losses.CategoricalCrossentropy(from_logits=True),
        lambda rng: _floats(rng, 12, 12, 3),
        lambda rng: _classes(rng, 4),
    )


def recurrent() -> Example:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            layers.Embedding(20, 6, mask_zero=True),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.GRU(4, return_sequences=True),
            layers.TimeDistributed(layers.Dense(3, activation="tanh")),
            layers.SimpleRNN(3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    return _example(
        model,
        "binary_crossentropy",
        lambda rng: rng.integers(0, 20, (BATCH, 7)).astype("int32"),
        lambda rng: rng.integers(0, 2, (BATCH, 1)).astype("float32"),
    )


def multi_io() -> Example:
    layers = keras.layers
    first, second = keras.Input((6,), name="first"), keras.Input((6,), name="second")
    shared = layers.Dense(4, activation="elu", name="shared")
    inside = keras.Input((4,))
    nested = keras.Model(inside, layers.PReLU()(layers.Dense(3)(inside)), name="nested")
    u, v = shared(first), shared(second)
    joined = layers.Concatenate()([nested(u), nested(v), layers.Multiply()([u, v])])
    left = layers.Dense(2, name="left")(layers.LeakyReLU(0.2)(joined))
    right = layers.Dense(1, activation="sigmoid", name="right")(layers.Add()([u, v]))
    return _example(
        keras.Model([first, second], [left, right]),
        ["mse", "binary_crossentropy"],
        lambda rng: [_floats(rng, 6), _floats(rng, 6)],
        lambda rng: [_floats(rng, 2), rng.integers(0, 2, (BATCH, 1)).astype("float32")],
    )


def attention() -> Example:
    layers = keras.layers
    query, value = keras.Input((5, 8)), keras.Input((7, 8))
    x = layers.MultiHeadAttention(2, 4)(query, value)
    x = layers.LayerNormalization()(layers.Add()([query, x]))
    y = layers.Attention(use_scale=True)([query, value])
    both = layers.GlobalMaxPooling1D()(layers.Concatenate()([x, y]))
    return _example(
        keras.Model([query, value], layers.Dense(3)(both)),
        "mse",
        lambda rng: [_floats(rng, 5, 8), _floats(rng, 7, 8)],
        lambda rng: _floats(rng, 3),
    )


def op_layers() -> Example:
    inputs = keras.Input((4, 6))
    x = keras.ops.reshape(inputs * 2.0 + 1.0, (-1, 24))
    x = keras.ops.relu(x) - keras.ops.mean(x, axis=1, keepdims=True)
    y = keras.layers.Dense(6)(x)
    outputs = keras.ops.concatenate([y[:, 1:4], y[:, ::2]], axis=-1)
    return _example(
        keras.Model(inputs, outputs),
        "mse",
        lambda rng: _floats(rng, 4, 6),
        lambda rng: _floats(rng, 6),
    )


def mixed_precision() -> Example:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="tanh", dtype="mixed_bfloat16"),
            layers.Dense(3, dtype="float32"),
        ]
    )
    return _example(
        model, "mse", lambda rng: _floats(rng, 6), lambda rng: _floats(rng, 3)
    )


MODELS = {
    function.__name__: function
    for function in (
        *(dense, convnet, recurrent, multi_io, attention, op_layers, mixed_precision),
    )
}

# Keras 3.15's optimizers, with what makes each keep the most state.
OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "SGD": lambda: keras.optimizers.SGD(0.1),
    "SGD-nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "Adam": lambda: keras.optimizers.Adam(0.01),
    "Adam-amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "AdamW": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.02),
    "Adamax": lambda: keras.optimizers.Adamax(0.01),
    "Nadam": lambda: keras.optimizers.Nadam(0.01),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.01),
    "RMSprop-centered": lambda: keras.optimizers.RMSprop(
        0.01, momentum=0.9, centered=True
    ),
    "Adagrad": lambda: keras.optimizers.Adagrad(0.05),
    "Adadelta": lambda: keras.optimizers.Adadelta(0.5),
    "Ftrl": lambda: keras.optimizers.Ftrl(0.05, l1_regularization_strength=0.01),
    "Lion": lambda: keras.optimizers.Lion(0.001),
    "Adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "Adam-schedule": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.02, 2, 0.5)
    ),
    "Adam-clip-ema": lambda: keras.optimizers.Adam(
        0.01, clipnorm=0.5, use_ema=True, ema_momentum=0.9
    ),
}
