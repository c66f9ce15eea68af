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


def _sequential() -> Any:
    model = tf_keras.Sequential(
        [
            tf_keras.Input((1,), dtype=tf.string),
            tf_keras.layers.TextVectorization(vocabulary=["the", "cat", "sat", "dog"]),
            tf_keras.layers.Embedding(6, 4, mask_zero=True),
            tf_keras.layers.GlobalAveragePooling1D(),
            tf_keras.layers.Dense(2),
        ]
    )
    return model


def _nested() -> Any:
    word = tf_keras.Input((2,), dtype=tf.string, name="inner_words")
    ids = tf_keras.layers.StringLookup(vocabulary=["red", "blue"])(word)
    vectors = tf_keras.layers.Embedding(3, 4)(ids)
    encoder = tf_keras.Model(word, tf_keras.layers.Flatten()(vectors), name="encoder")
    words = tf_keras.Input((2,), dtype=tf.string, name="words")
    others = tf_keras.Input((2,), dtype=tf.string, name="others")
    number = tf_keras.Input((3,), name="number")
    merged = tf_keras.layers.Concatenate()(
        [encoder(words), encoder(others), tf_keras.layers.Dense(2)(number)]
    )
    merged = tf_keras.layers.Dropout(0.0)(merged)
    inputs = {"words": words, "others": others, "number": number}
    return tf_keras.Model(inputs, tf_keras.layers.Dense(2)(merged))


def _behind() -> Any:
    number = tf_keras.Input((3,), name="number")
    word = tf_keras.Input((1,), dtype=tf.string, name="word")
    scores = tf_keras.layers.Dense(4, name="scores")(number)
    label = tf_keras.layers.StringLookup(
        vocabulary=["a", "b", "c"], invert=True, name="label"
    )(tf.argmax(scores, axis=-1))
    bins = tf_keras.layers.Discretization([-0.5, 0.0, 0.5])(scores[:, :1])
    cross = tf_keras.layers.HashedCrossing(7)([bins, word])
    vectors = tf_keras.layers.Flatten()(tf_keras.layers.Embedding(7, 3)(cross))
    out = tf_keras.layers.Dense(2, name="out")(vectors)
    return tf_keras.Model([number, word], [out, label])


_MODELS = {"sequential": _sequential, "nested": _nested, "behind": _behind}


def _given(data: Any) -> Any:
    return tf.nest.map_structure(_tensor, data)


def train(
    name: str, path: Path, data: Any, targets: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Saves a model, and returns its outputs before and after one more step."""
    tf_keras.utils.set_random_seed(1)
    tf_keras.backend.clear_session()
    model = _MODELS[name]()
    trained = len(model.outputs) == 1
    if trained:
        model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    given = tf.nest.map_structure(_tensor, data)
    before = tf.nest.flatten(model(given, training=False))
    model.save(path, save_traces=False, save_format="tf")
    if trained:
        model.train_on_batch(given, targets)
    after = tf.nest.flatten(model(given, training=False))
    return [v.numpy() for v in before], [v.numpy() for v in after]


class Subclassed(tf_keras.Model):
    """A model without a graph that reads text."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = tf_keras.layers.TextVectorization(
            vocabulary=["a", "b"], output_sequence_length=3
        )
        self.vectors = tf_keras.layers.Embedding(4, 2)

    def call(self, texts: Any) -> Any:
        return tf.reduce_mean(self.vectors(self.tokens(texts)), 1)


def subclassed(
    path: Path, texts: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Saves the model above, and returns its outputs before and after a step."""
    tf_keras.utils.set_random_seed(1)
    model = Subclassed()
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    before = model(_tensor(texts))
    model.save(path, save_format="tf")
    model.train_on_batch(_tensor(texts), targets)
    return before.numpy(), model(_tensor(texts)).numpy()
