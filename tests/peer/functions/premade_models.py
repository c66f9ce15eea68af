"""Models that Keras 2 has ready-made, around networks and over more than numbers."""

from __future__ import annotations

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
