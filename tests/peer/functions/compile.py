"""What tf_keras makes of compile arguments."""

from __future__ import annotations

import numpy as np


def _model(outputs):
    import tf_keras

    # Names of metrics are counted for as long as the process lives.
    tf_keras.backend.clear_session()
    layers = tf_keras.layers
    inputs = tf_keras.Input((3,), name="x")
    made = [
        layers.Dense(size, activation, name=name)(inputs)
        for name, size, activation in outputs
    ]
    return tf_keras.Model(inputs, made[0] if len(made) == 1 else made)


def evaluate(
    training_config, outputs, weights, x, targets, sample_weight=None, written=True
):
    """Compiles a model as `load_model` would, and returns its results by name.

    Args:
        written: Whether the config is of a file, so that names of metrics have the
            names of their outputs in front.
    """
    from tf_keras.src.saving.legacy import saving_utils

    model = _model(outputs)
    model.set_weights(weights)
    arguments = saving_utils.compile_args_from_training_config(training_config)
    arguments.pop("sample_weight_mode", None)
    model.compile(**arguments, from_serialized=written)
    found = model.test_on_batch(x, targets, sample_weight, return_dict=True)
    return {name: float(np.mean(value)) for name, value in found.items()}


def training_config(outputs, arguments):
    """What a compiled model writes as its `training_config`, as JSON has it."""
    import json

    from tf_keras.src.saving.legacy import saving_utils
    from tf_keras.src.saving.legacy.saved_model import json_utils

    model = _model(outputs)
    x = np.zeros((2, 3))
    model.compile(**arguments)
    y = [np.zeros((2, size)) for _, size, _ in outputs]
    model.train_on_batch(x, y[0] if len(y) == 1 else y)
    config = saving_utils.model_metadata(model)["training_config"]
    return json.loads(json.dumps(config, default=json_utils.get_json_type))
