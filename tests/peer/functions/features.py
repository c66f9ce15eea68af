"""Models over feature columns, one output per case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

Arrays = dict[str, np.ndarray]


def _made(spec: Any) -> Any:
    """Makes a column: the name of a function and its arguments, the last by name."""
    if not isinstance(spec, list):
        return spec
    function = getattr(tf.feature_column, str(spec[0]), None)
    if function is None:
        return [_made(item) for item in spec]
    words = {k: _made(v) for k, v in spec[-1].items()}
    if words.get("dtype") == "int64":
        words["dtype"] = tf.int64
    return function(*[_made(item) for item in spec[1:-1]], **words)


def _tensor(array: np.ndarray) -> Any:
    return tf.constant(array.tolist() if array.dtype.kind in "USO" else array)


def _predicted(model: Any, arrays: Arrays) -> dict[str, np.ndarray]:
    found = model({name: _tensor(array) for name, array in arrays.items()})
    return {name: value.numpy() for name, value in found.items()}


def write(
    directory: Path, cases: dict[str, Any], arrays: Arrays, targets: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Saves a model in every format; returns what it computes, and after a step."""
    inputs = {
        name: tf_keras.Input(
            array.shape[1:],
            dtype=tf.string if array.dtype.kind in "USO" else array.dtype,
            name=name,
        )
        for name, array in arrays.items()
    }
    outputs = {}
    for name, specs in cases.items():
        columns = [_made(spec) for spec in specs]
        layer = tf_keras.layers.DenseFeatures(columns, name=f"of_{name}")
        dense = tf_keras.layers.Dense(2, name=name, kernel_initializer="glorot_normal")
        outputs[name] = dense(layer(inputs))
    model = tf_keras.Model(inputs, outputs)
    model.compile(tf_keras.optimizers.Adam(0.05), "mse")
    given = {name: _tensor(array) for name, array in arrays.items()}
    wanted = {name: targets for name in cases}
    model.train_on_batch(given, wanted)
    model.save(directory / "traced")
    model.save(directory / "untraced", save_traces=False)
    model.save(directory / "model.h5")
    before = _predicted(model, arrays)
    model.train_on_batch(given, wanted)
    return {"out": before, "next": _predicted(model, arrays)}


def write_chain(
    directory: Path, specs: Any, arrays: Arrays, targets: np.ndarray
) -> dict[str, np.ndarray]:
    """As `write`, for a Sequential that begins with columns, built by its data."""
    columns = tf_keras.layers.DenseFeatures([_made(spec) for spec in specs])
    # As many with losses as there are inputs.
    dense = [tf_keras.layers.Dense(3, "tanh", kernel_regularizer="l2") for _ in arrays]
    model = tf_keras.Sequential([columns, *dense, tf_keras.layers.Dense(2)])
    model.compile(tf_keras.optimizers.Adam(0.05), "mse")
    given = {name: _tensor(array) for name, array in arrays.items()}
    model.train_on_batch(given, targets)
    model.save(directory / "traced")
    model.save(directory / "untraced", save_traces=False)
    model.save(directory / "model.h5")
    before = model(given).numpy()
    loss = model.evaluate(given, targets, verbose=0)
    model.train_on_batch(given, targets)
    return {"out": before, "loss": np.array(loss), "next": model(given).numpy()}


def read(path: Path, arrays: Arrays) -> dict[str, np.ndarray]:
    """Loads a model and returns what it computes."""
    return _predicted(tf_keras.models.load_model(path), arrays)


def serve(path: Path, arrays: Arrays) -> dict[str, np.ndarray]:
    """What a SavedModel's signature computes."""
    served = tf.saved_model.load(path).signatures["serving_default"]
    found = served(**{name: _tensor(array) for name, array in arrays.items()})
    return {name: value.numpy() for name, value in found.items()}


def write_random_features(
    directory: Path, cases: list[dict[str, Any]], x: np.ndarray, y: np.ndarray
) -> list[dict[str, np.ndarray]]:
    """Saves a `RandomFourierFeatures` per case; what it computes, and after a step."""
    found = []
    for index, words in enumerate(cases):
        drawn = words.pop("drawn", None)
        if drawn is not None:
            words["kernel_initializer"] = tf_keras.initializers.RandomUniform(*drawn)
        layer = tf_keras.layers.experimental.RandomFourierFeatures(5, **words)
        model = tf_keras.Sequential([tf_keras.Input(x.shape[1:]), layer])
        model.add(tf_keras.layers.Dense(y.shape[1]))
        model.compile(tf_keras.optimizers.Adam(0.1), "mse")
        model.train_on_batch(x, y)
        model.save(directory / f"{index}-traced")
        model.save(directory / f"{index}-untraced", save_traces=False)
        model.save(directory / f"{index}.h5")
        before = model.predict(x, verbose=0)
        model.train_on_batch(x, y)
        found.append({"out": before, "next": model.predict(x, verbose=0)})
    return found


def read_random_features(path: Path, x: np.ndarray) -> np.ndarray:
    """What a saved model computes where its class is known."""
    known = [tf_keras.layers.experimental.RandomFourierFeatures]
    objects = {cls.__name__: cls for cls in known}
    model = tf_keras.models.load_model(path, custom_objects=objects)
    return np.asarray(model.predict(x, verbose=0))


def _sparse(parts: Any) -> Any:
    indices, values, shape = parts
    return tf.sparse.SparseTensor(indices, _tensor(values), shape)


def _all_sparse(features: Any) -> dict[str, Any]:
    return {name: _sparse(parts) for name, parts in features.items()}


def write_sparse(
    directory: Path,
    dense: dict[str, Any],
    sequences: dict[str, Any],
    features: Any,
    targets: np.ndarray,
) -> dict[str, Arrays]:
    """As `write`, over sparse features, some of them columns of sequences."""
    inputs = {
        name: tf_keras.Input(
            [None] * (len(parts[2]) - 1),
            dtype=tf.string if parts[1].dtype.kind in "USO" else parts[1].dtype,
            sparse=True,
            name=name,
        )
        for name, parts in features.items()
    }
    outputs = {}
    for name, specs in dense.items():
        layer = tf_keras.layers.DenseFeatures([_made(spec) for spec in specs])
        outputs[name] = tf_keras.layers.Dense(2, name=name)(layer(inputs))
    for name, specs in sequences.items():
        columns = [_made(spec) for spec in specs]
        layer = tf_keras.experimental.SequenceFeatures(columns, name=f"of_{name}")
        steps, lengths = layer(inputs)
        mean = tf_keras.layers.GlobalAveragePooling1D()(steps)
        count = tf_keras.layers.Reshape([1])(tf.cast(lengths, "float32"))
        both = tf_keras.layers.Concatenate()([mean, count])
        outputs[name] = tf_keras.layers.Dense(2, name=name)(both)
    model = tf_keras.Model(inputs, outputs)
    model.compile(tf_keras.optimizers.Adam(0.05), "mse")
    given, wanted = _all_sparse(features), dict.fromkeys(outputs, targets)
    model.train_on_batch(given, wanted)
    model.save(directory / "traced")
    model.save(directory / "untraced", save_traces=False)
    model.save(directory / "model.h5")
    before = {name: value.numpy() for name, value in model(given).items()}
    model.train_on_batch(given, wanted)
    after = {name: value.numpy() for name, value in model(given).items()}
    return {"out": before, "next": after}


def read_sparse(path: Path, features: Any) -> Arrays:
    """Loads a model over sparse features and returns what it computes."""
    found = tf_keras.models.load_model(path)(_all_sparse(features))
    return {name: value.numpy() for name, value in found.items()}
