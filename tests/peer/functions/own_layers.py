"""Layers whose code alone knows what they do: masks, metrics, shared parts, lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from peer.functions import promises
from peer.functions.promises import Built, _batch, case

save = promises.save


def _built(model: Any, given: Any, *target: int) -> Built:
    model.compile(tf_keras.optimizers.Adam(0.1), "mse")
    batch = given, _batch(*target, seed=1)
    model.train_on_batch(*batch)
    return Built(model, given, batch)


class Weighted(layers.Layer):
    """Collects the steps of a sequence in an array that grows."""

    def __init__(self, size: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.size = size

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight("scale", shape=(shape[-1],))

    def call(self, inputs: Any) -> Any:
        found = tf.TensorArray(tf.float32, size=self.size, dynamic_size=True)

        def step(place: Any, found: Any) -> Any:
            value = inputs[:, place] * self.scale * tf.cast(place, tf.float32)
            return place + 1, found.write(place, value)

        _, found = tf.while_loop(
            lambda place, _: place < tf.shape(inputs)[1], step, (0, found)
        )
        return tf.transpose(found.stack(), (1, 0, 2))


@case
def array_that_grows(size: int = 0) -> Built:
    inputs = tf_keras.Input((4, 3))
    outputs = layers.Dense(2)(Weighted(size)(inputs))
    return _built(tf_keras.Model(inputs, outputs), _batch(5, 4, 3), 5, 4, 2)


class Pushing(layers.Layer):
    """Pushes each step to a list and takes the last two off again."""

    def call(self, inputs: Any) -> Any:
        found = tf.raw_ops.EmptyTensorList(
            element_shape=tf.constant([-1, 3]),
            max_num_elements=-1,
            element_dtype=tf.float32,
        )

        def step(place: Any, found: Any) -> Any:
            item = inputs[:, place] * 2.0
            pushed = tf.raw_ops.TensorListPushBack(input_handle=found, tensor=item)
            return place + 1, pushed

        _, found = tf.while_loop(lambda place, _: place < 3, step, (0, found))
        total = 0.0
        for _ in range(2):
            found, item = tf.raw_ops.TensorListPopBack(
                input_handle=found,
                element_shape=tf.constant([-1, 3]),
                element_dtype=tf.float32,
            )
            total += item
        return total


@case
def list_that_is_pushed_to() -> Built:
    inputs = tf_keras.Input((4, 3))
    outputs = layers.Dense(2)(Pushing()(inputs))
    return _built(tf_keras.Model(inputs, outputs), _batch(5, 4, 3), 5, 2)
