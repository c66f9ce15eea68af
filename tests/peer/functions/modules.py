"""SavedModels of TensorFlow that Keras had no part in."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf


def save_module(path: Path) -> None:
    """Saves a `tf.Module` with a variable, a function and a signature."""
    module = tf.Module()
    module.scale = tf.Variable([2.0, 3.0])
    module.double = tf.function(
        lambda x: {"y": x * module.scale},
        input_signature=[tf.TensorSpec([None, 2], name="x")],
    )
    tf.saved_model.save(module, str(path), signatures=module.double)


def call_signature(path: Path, name: str, arguments: dict) -> dict:
    """What a signature of a SavedModel gives, by output name."""
    signature = tf.saved_model.load(str(path)).signatures[name]
    found = signature(**{key: tf.constant(value) for key, value in arguments.items()})
    return {key: value.numpy() for key, value in found.items()}


def save_list_of_texts(path: Path) -> dict:
    """Saves a function over a list of strings that is filled in part, and calls it."""

    def listed(x: tf.Tensor) -> dict:
        texts = tf.TensorArray(tf.string, size=4, element_shape=[2])
        for place in tf.range(1, 3):
            texts = texts.write(place, tf.strings.join([x, tf.as_string(place)]))
        return {"texts": texts.stack()}

    module = tf.Module()
    module.listed = tf.function(
        listed, input_signature=[tf.TensorSpec([2], tf.string, name="x")]
    )
    tf.saved_model.save(module, str(path), signatures=module.listed)
    return {"texts": module.listed(tf.constant(["a", "b"]))["texts"].numpy()}
