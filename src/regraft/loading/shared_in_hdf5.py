"""Layers of an HDF5 file that were one when it was written.

A config in HDF5 says of a layer inside of two networks (or of a wrapper, or of a
recurrent layer) all there is, twice, and not that it is the same one; Keras makes two.
The optimizer's slots can tell: there is one set of them per variable. Where there are
too few for what the config makes, and just enough if layers of one name, one config and
the same values are one, they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.loading.optimizer import trainable_in_file_order
from regraft.loading.restore import RestorePlan
from regraft.model.description import ModelDescription
from regraft.model.dialects.names import original_name
from regraft.model.optimizers import state_from_hdf5
from regraft.model.state_tree import nearest_layers

# What a config says that depends on where the layer was called, and comes first.
_OF_THE_PLACE = (
    "batch_input_shape",
    "batch_shape",
    "build_config",
    "shared_object_id",
)
_AROUND = (keras.layers.TimeDistributed, keras.layers.StackedRNNCells)
# Above what Keras counts its own objects by.
_FIRST_IDENTITY = 1 << 40


def with_shared_layers(
    description: ModelDescription, model: keras.Model, plan: RestorePlan
) -> ModelDescription | None:
    """Returns a description whose config says which layers are one.

    Args:
        description: What was read.
        model: Made of it, with its values.
        plan: Of its weights.

    Returns:
        `None` where the model is as the file has it, or nothing tells how it was.
    """
    if not description.optimizer_weights or description.config is None:
        return None
    variables = trainable_in_file_order(description, plan)
    if _slots_fit(description, variables):
        return None
    twins = _twins(model)
    # Of each weight of twins the one that the file counts first.
    same = {
        id(weight): (key, place)
        for key, layers in twins.items()
        for layer in layers
        for place, weight in enumerate(layer.weights)
    }
    firsts = {same.get(id(v), id(v)): v for v in reversed(variables)}
    fewer = [v for v in variables if firsts[same.get(id(v), id(v))] is v]
    if len(fewer) == len(variables) or not _slots_fit(description, fewer):
        return None
    # Regraft's own files say it also in Keras 3's words, which are read.
    extra = dict(description.extra)
    said = extra.get("config") or description.config
    keys = list(twins)
    if not all(_says_the_same(said, key) for key in keys):
        return None
    if extra.get("config"):
        extra["config"] = _marked(said, keys)
        return dataclasses.replace(description, extra=extra)
    return dataclasses.replace(description, config=_marked(said, keys))


def _slots_fit(description: ModelDescription, variables: list[keras.Variable]) -> bool:
    entry = (description.training_config or {}).get("optimizer_config")
    if not isinstance(entry, Mapping) or not isinstance(entry.get("config"), Mapping):
        return True  # What compiles the model says what is wrong with it.
    try:
        state = state_from_hdf5(description.optimizer_weights or (), entry, variables)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError):
        return True
    found = [tensor for row in state.slots.values() for tensor in row]
    return state.iterations is not None and None not in found


Key = tuple[str, str]


def _twins(model: keras.Model) -> dict[Key, list[keras.Layer]]:
    """Layers of one class and name that have the same weights."""
    found: dict[Key, list[keras.Layer]] = {}
    for layer in nearest_layers(model, lambda each: not _is_around(each)):
        if layer.weights:
            key = type(layer).__name__, original_name(layer)
            found.setdefault(key, []).append(layer)
    return {
        key: layers
        for key, layers in found.items()
        if len(layers) > 1 and all(_equal(layers[0], other) for other in layers[1:])
    }


def _is_around(layer: keras.Layer) -> bool:
    """Whether the config of a layer has an entry for each layer in it."""
    return (
        _compat.is_network(layer)
        or isinstance(layer, _AROUND)
        or type(layer) is keras.layers.RNN
    )


def _equal(one: keras.Layer, other: keras.Layer) -> bool:
    return len(one.weights) == len(other.weights) and all(
        np.array_equal(np.asarray(a), np.asarray(b))
        for a, b in zip(one.weights, other.weights, strict=True)
    )


def _entries(value: Any, keys: Collection[Key]) -> Iterator[Mapping[str, Any]]:
    """Yields the entries of layers by class and name, at any depth of a config."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            if _key(item) in keys:
                yield item
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            pending.extend(item)


def _key(entry: Mapping[str, Any]) -> Key | None:
    config = entry.get("config")
    name = config.get("name") if isinstance(config, Mapping) else None
    return (str(entry["class_name"]), name) if name and "class_name" in entry else None


def _says_the_same(config: Any, key: Key) -> bool:
    said = [_without_place(entry["config"]) for entry in _entries(config, [key])]
    return len(said) > 1 and all(each == said[0] for each in said)


def _without_place(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_without_place(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {k: _without_place(v) for k, v in value.items() if k not in _OF_THE_PLACE}


def _marked(value: Any, keys: list[Key]) -> Any:
    if isinstance(value, list | tuple):
        return [_marked(item, keys) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {name: _marked(item, keys) for name, item in value.items()}
    key = _key(value)
    if key in keys:
        found["shared_object_id"] = _FIRST_IDENTITY + keys.index(key)
    return found
