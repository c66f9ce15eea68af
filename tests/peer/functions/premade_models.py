"""Models that Keras 2 has ready-made, around networks and over more than numbers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from peer.functions import promises
from peer.functions.promises import Built, _batch, _compiled, case

save = promises.save
experimental = tf_keras.experimental


@case
def wide_and_deep_of_networks(functional: bool = False) -> Built:
    deep = tf_keras.Sequential(
        [layers.Dense(4, activation="relu", input_shape=(3,)), layers.Dense(1)]
    )
    if functional:
        inputs = tf_keras.Input((3,))
        one = layers.Dense(4, activation="relu", kernel_regularizer="l2")(inputs)
        deep = tf_keras.Model(inputs, layers.Add()([deep(inputs), one]))
    linear = experimental.LinearModel(1, kernel_initializer="ones")
    inputs = tf_keras.Input((3,))
    model = _compiled(inputs, experimental.WideDeepModel(linear, deep)(inputs))
    batch = _batch(4, 3), _batch(4, 4 if functional else 1, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


@case
def linear_over_a_sparse_tensor(regularizer: str | None = None) -> Built:
    model = experimental.LinearModel(1, kernel_regularizer=regularizer)
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    parts = [[0, 0], [1, 2], [2, 1]], [1.0, 2.0, 3.0], [3, 3]
    given = tf.SparseTensor(*parts)
    batch = given, _batch(3, 1, seed=1)
    model.fit(*batch, verbose=0)
    return Built(model, given, batch)


@case
def wide_and_deep_over_text() -> Built:
    columns = tf.feature_column
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        words = columns.categorical_column_with_vocabulary_list("word", ["a", "few"])
        wide, deep = columns.indicator_column(words), columns.embedding_column(words, 2)
    model = experimental.WideDeepModel(
        tf_keras.Sequential([layers.DenseFeatures([wide]), experimental.LinearModel()]),
        tf_keras.Sequential([layers.DenseFeatures([deep]), layers.Dense(1)]),
    )
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    given = {"word": np.array(["a", "few", "others"], object)}
    batch = given, _batch(3, 1, seed=1)
    model.fit(*batch, verbose=0)
    return Built(model, given, batch)


def reopen(path: Path, inputs: Any, batch: Any) -> dict[str, Any]:
    """What a model that tf_keras opens predicts, and the loss of its next step.

    Args:
        path: The model's file.
        inputs: A sparse tensor is a tuple of its parts.
        batch: For the step.
    """
    tf_keras.backend.clear_session()
    model = tf_keras.models.load_model(path)
    x, y = batch
    return {
        "outputs": model.predict(_tensors(inputs), verbose=0),
        "evaluated": model.evaluate(_tensors(x), y, verbose=0),
        "loss": float(np.ravel(model.train_on_batch(_tensors(x), y))[0]),
    }


def _tensors(inputs: Any) -> Any:
    return tf.SparseTensor(*inputs) if isinstance(inputs, tuple) else inputs
