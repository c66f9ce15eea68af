"""What tf_keras makes of a config."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras


def run(
    config: dict[str, Any], weights: list[np.ndarray], inputs: list[np.ndarray]
) -> list[np.ndarray]:
    """Builds the model of a config, sets its weights and runs it."""
    tf_keras.backend.clear_session()
    model = tf_keras.models.model_from_json(json.dumps(config))
    model.set_weights(weights)
    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    return [np.asarray(value) for value in tf.nest.flatten(outputs)]


def cudnn(
    kind: str, weights: list[np.ndarray], inputs: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """What tf_keras makes of the weights of a cuDNN layer, on any device.

    Returns:
        The output of the layer that it puts them into, and that layer's weights.
    """
    from tf_keras.src.saving.legacy import hdf5_format

    units = weights[1].shape[0]
    keywords = {"reset_after": True} if kind == "GRU" else {}
    layer = getattr(tf_keras.layers, kind)(units, **keywords)
    layer.build((None, None, inputs.shape[-1]))
    converted = hdf5_format.preprocess_weights_for_loading(layer, list(weights))
    layer.set_weights(converted)
    return np.asarray(layer(inputs)), [np.asarray(w) for w in converted]


def local_channels_first(
    weights: list[np.ndarray], inputs: np.ndarray
) -> list[np.ndarray]:
    """LocallyConnected2D over channels that come first, with these weights."""
    layer = tf_keras.layers.LocallyConnected2D(3, 2, data_format="channels_first")
    layer.build(inputs.shape)
    layer.set_weights(weights)
    return [np.asarray(layer(inputs))]
