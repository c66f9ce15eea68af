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


def function_names(path: Path) -> dict:
    """What TensorFlow reads of a SavedModel's aliases and debug information."""
    from tensorflow.python.saved_model import loader_impl

    options = tf.saved_model.LoadOptions(experimental_load_function_aliases=True)
    loaded = tf.saved_model.load(str(path), options=options)
    _, info = loader_impl.parse_saved_model_with_debug_info(str(path))
    frames = {
        key: (info.files[trace.file_line_cols[0].file_index], trace.file_line_cols[0])
        for key, trace in info.traces.items()
    }
    return {
        "aliases": sorted(loaded.function_aliases),
        "lines": {key: (file, frame.line) for key, (file, frame) in frames.items()},
    }


def tags(path: Path) -> list[list[str]]:
    """Tags of each meta graph that TensorFlow's loader finds."""
    from tensorflow.python.saved_model import loader_impl

    graphs = loader_impl.parse_saved_model(str(path)).meta_graphs
    return [sorted(graph.meta_info_def.tags) for graph in graphs]
