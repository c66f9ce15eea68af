"""tf_keras opens models from disk, predicts and trains on."""

from __future__ import annotations

import os

import numpy as np


def _arrays(outputs):
    if isinstance(outputs, dict):
        return {name: np.asarray(value, np.float32) for name, value in outputs.items()}
    if not isinstance(outputs, list | tuple):
        outputs = [outputs]
    return [np.asarray(value, np.float32) for value in outputs]


def _weights(model):
    return {
        "trainable": [v.numpy() for v in model.trainable_weights],
        "non_trainable": [v.numpy() for v in model.non_trainable_weights],
        "names": [v.name for v in model.trainable_weights],
    }


def load_predict_train(path, inputs, batches):
    """What becomes of a model that tf_keras loads.

    Args:
        path: A SavedModel directory or an HDF5 file.
        inputs: Arguments of `predict`.
        batches: Arguments of `train_on_batch`, one pair per step.

    Returns:
        `predictions` before the steps, `losses` of them, `iterations` before them,
        and after them `predictions_after` and `weights`.
    """
    import tf_keras

    tf_keras.backend.clear_session()
    model = tf_keras.models.load_model(path)
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    result = {
        "class": type(model).__name__,
        "layers": [(type(layer).__name__, layer.name) for layer in model.layers],
        "predictions": _arrays(model.predict(inputs, verbose=0)),
        "optimizer": type(inner).__name__,
        "iterations": int(inner.iterations.numpy()),
    }
    result["losses"] = [
        np.ravel(model.train_on_batch(x, y))[0].item() for x, y in batches
    ]
    result["predictions_after"] = _arrays(model.predict(inputs, verbose=0))
    result["weights"] = _weights(model)
    return result


def open_as_saved_model(path):
    """What `tf.saved_model.load` finds: the variables, and the signatures' keys."""
    import tensorflow as tf

    loaded = tf.saved_model.load(os.fspath(path))
    return {
        "variables": [v.numpy() for v in loaded.variables],
        "trainable": [v.numpy() for v in loaded.trainable_variables],
        "signatures": sorted(loaded.signatures),
        "keras_api": hasattr(loaded, "keras_api"),
    }


def checkpoint_variables(prefix):
    """Name, shape and dtype of all that `tf.train.load_checkpoint` lists."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(os.fspath(prefix))
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    return {name: (shapes[name], dtypes[name].name) for name in shapes}


def predict(path, inputs):
    """What a model that tf_keras loads, compiled or not, predicts."""
    import tf_keras

    tf_keras.backend.clear_session()
    model = tf_keras.models.load_model(path)
    return _arrays(model.predict(inputs, verbose=0))
