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
