"""The table of what describing a layer in Keras 2's words takes beyond its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from regraft.model.dialects.context import Note

Config = dict[str, Any]
Describe = Callable[[Config, Any, list[Note]], None]

# Keys under which whole layers stand → the attribute that holds them live.
INNER_LAYERS: Mapping[str, Mapping[str, str]] = {
    "Bidirectional": {"layer": "forward_layer", "backward_layer": "backward_layer"},
    "TimeDistributed": {"layer": "layer"},
    "Wrapper": {"layer": "layer"},
    "SpectralNormalization": {"layer": "layer"},
    "RNN": {"cell": "cell"},
    "StackedRNNCells": {"cells": "cells"},
    "DeviceWrapper": {"cell": "cell"},
    "DropoutWrapper": {"cell": "cell"},
    "ResidualWrapper": {"cell": "cell"},
    "WideDeepModel": {"linear_model": "linear_model", "dnn_model": "dnn_model"},
}


def _bidirectional(config: Config, layer: Any, notes: list[Note]) -> None:
    """Undoes the prefixes, and leaves out a backward layer that is a mirror."""
    forward, backward = config["layer"]["config"], config["backward_layer"]["config"]
    name = forward["name"].removeprefix("forward_")
    # Both generations set it from `return_sequences` by themselves.
    for inner in (forward, backward):
        inner.pop("zero_output_for_mask", None)
    mirrored = {**forward, "go_backwards": not forward.get("go_backwards", False)}
    mirrored["name"] = f"backward_{name}"
    forward["name"] = name
    if mirrored == backward:
        del config["backward_layer"]


def _input_layer(config: Config, layer: Any, notes: list[Note]) -> None:
    config["batch_input_shape"] = list(config.pop("batch_shape"))
    config.setdefault("sparse", False)
    config["ragged"] = bool(config.get("ragged", False))


def _multi_head_attention(config: Config, layer: Any, notes: list[Note]) -> None:
    config.pop("ignores_masks", None)
    shapes = (layer.get_build_config() or {}).get("shapes_dict") or {}
    query, value = shapes.get("query_shape"), shapes.get("value_shape")
    key = shapes.get("key_shape") or value
    for name, shape in (("query", query), ("key", key), ("value", value)):
        config[f"{name}_shape"] = None if shape is None else list(shape)


def _lambda(config: Config, layer: Any, notes: list[Note]) -> None:
    for key in ("function", "output_shape"):
        code = config.get(key)
        kind = "raw" if key == "output_shape" else "function"
        if isinstance(code, Mapping) and code.get("class_name") == "__lambda__":
            inner = code["config"]
            code, kind = [inner["code"], inner["defaults"], inner["closure"]], "lambda"
        config[key] = code
        config[f"{key}_type"] = kind
    config["module"] = layer.function.__module__
    config["output_shape_module"] = None
    config.pop("mask", None)
    text = "its function is Python code of Keras 3: without traces it needs its modules"
    notes.append(Note(f"layer {layer.name!r}", text))


def _batch_normalization(config: Config, layer: Any, notes: list[Note]) -> None:
    if not config.get("renorm"):
        for key in ("renorm", "renorm_clipping", "renorm_momentum"):
            config.pop(key, None)
    elif config.get("renorm_clipping"):
        # Keras gives its own kind of dict, which belongs to the layer.
        config["renorm_clipping"] = dict(config["renorm_clipping"])
    # Words of Regraft's own class for what the file's Keras did anyway.
    for key in ("ignores_mask", "correction", "when_frozen"):
        config.pop(key, None)
    # TensorFlow's fused kernel corrects the moving variance, Keras 3 doesn't.
    if getattr(layer, "correction", "never") == "never":
        config["fused"] = False


def _average_pooling(config: Config, layer: Any, notes: list[Note]) -> None:
    config.pop("counts_padding", None)


def _softmax(config: Config, layer: Any, notes: list[Note]) -> None:
    config.pop("ignores_mask", None)


def _time_distributed(config: Config, layer: Any, notes: list[Note]) -> None:
    config.pop("asks_networks", None)


def _random_crop(config: Config, layer: Any, notes: list[Note]) -> None:
    config.pop("resize_first", None)


def _normalization(config: Config, layer: Any, notes: list[Note]) -> None:
    for key in ("mean", "variance"):
        if config.get(key) is not None:
            config[key] = keras.ops.convert_to_numpy(config[key]).tolist()


def _categories(config: Config, layer: Any, notes: list[Note]) -> None:
    """Says what ranks Keras 2 refuses: it encodes to matrices at most."""
    shape = (layer.get_build_config() or {}).get("input_shape")
    if shape is None or config.get("output_mode", "int") == "int":
        return
    rank = len(layer.compute_output_shape(shape))
    if rank > 2:
        config["output_rank"] = rank


def _vocabulary(config: Config, layer: Any, notes: list[Note]) -> None:
    # Both follow from the vocabulary, which the config has.
    for key in ("vocabulary_size", "has_input_vocabulary"):
        config.pop(key, None)
    if isinstance(config.get("ngrams"), list):
        config["ngrams"] = tuple(config["ngrams"])


DESCRIPTIONS: Mapping[str, Describe] = {
    "AveragePooling1D": _average_pooling,
    "AveragePooling2D": _average_pooling,
    "Bidirectional": _bidirectional,
    "InputLayer": _input_layer,
    "MultiHeadAttention": _multi_head_attention,
    "Lambda": _lambda,
    "BatchNormalization": _batch_normalization,
    "SyncBatchNormalization": _batch_normalization,
    "RandomCrop": _random_crop,
    "Softmax": _softmax,
    "TimeDistributed": _time_distributed,
    "Normalization": _normalization,
    "CategoryEncoding": _categories,
    "Discretization": _categories,
    "IntegerLookup": _vocabulary,
    "StringLookup": _vocabulary,
    "TextVectorization": _vocabulary,
}
