"""Models of Keras 2's text and table layers, one output per case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

Case = dict[str, Any]


def _input(name: str, array: np.ndarray) -> Any:
    dtype = tf.string if array.dtype.kind in "USO" else array.dtype
    return tf_keras.Input(array.shape[1:], dtype=dtype, name=name)


def _tensor(array: np.ndarray) -> Any:
    return tf.constant(array.tolist() if array.dtype.kind in "USO" else array)


def _model(cases: list[Case], arrays: dict[str, np.ndarray]) -> Any:
    inputs = {name: _input(name, array) for name, array in arrays.items()}
    outputs = {}
    for case in cases:
        value: Any = [inputs[name] for name in case["inputs"]]
        value = value if len(value) > 1 else value[0]
        for number, (class_name, config) in enumerate(case["layers"]):
            config = dict(config)
            adapted = config.pop("adapt", None)
            layer = getattr(tf_keras.layers, class_name)(
                name=f"{case['name']}_{number}", **config
            )
            if adapted is not None:
                layer.adapt(np.array(adapted))
            value = layer(value)
        outputs[case["name"]] = value
    return tf_keras.Model(inputs, outputs)


def _outputs(model: Any, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    given = {name: _tensor(arrays[name]) for name in model.input_names}
    found = model(given, training=False)
    return {
        name: value.numpy()
        if not isinstance(value, tf.SparseTensor)
        else tf.sparse.to_dense(value).numpy()
        for name, value in found.items()
    }


def write(
    directory: Path,
    cases: list[Case],
    arrays: dict[str, np.ndarray],
    formats: list[str],
) -> dict[str, np.ndarray]:
    """Saves a model of all cases in each format, and returns what it computes."""
    tf_keras.backend.clear_session()
    model = _model(cases, arrays)
    for name in formats:
        if name == "model.h5":
            model.save(directory / name, save_format="h5")
        else:
            model.save(
                directory / name, save_format="tf", save_traces=name == "saved_model"
            )
    return _outputs(model, arrays)


def read(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Loads a model that others wrote, and returns what it computes."""
    tf_keras.backend.clear_session()
    return _outputs(tf_keras.models.load_model(path), arrays)


def serve(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Calls the default signature of a SavedModel."""
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    names = signature.structured_input_signature[1]
    found = signature(**{name: _tensor(arrays[name]) for name in names})
    return {name: value.numpy() for name, value in found.items()}
