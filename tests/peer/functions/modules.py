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
