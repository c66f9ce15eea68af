"""Layers of an HDF5 file that were one when it was written.

A config in HDF5 says of a layer inside of two networks (or of a wrapper, or of a
recurrent layer) all there is, twice, and not that it is the same one; Keras makes two.
The optimizer's slots can tell: there is one set of them per variable. Where there are
too few for what the config makes, and just enough if layers of one name, one config and
the same values are one, they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
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


Key = tuple[str, str]
Built = tuple[keras.Model, RestorePlan]


def build_with_shared_layers(
    description: ModelDescription, build: Callable[[ModelDescription], Built]
) -> Built:
    """Builds a model, once more where its optimizer tells that layers are one.

    Args:
        description: What was read.
        build: Makes the model of a description, with its values, and its plan.
    """
    model, plan = build(description)
    shared = _with_shared_layers(description, model, plan)
    if shared is None:
        return model, plan
    try:
        return build(shared)
    except (ValueError, TypeError, NotImplementedError):
        return build(description)


def _with_shared_layers(
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
    entries = _entries(said, twins)
    if not all(_are_alike(entries[key]) for key in twins):
        return None
    identities = {key: _FIRST_IDENTITY + place for place, key in enumerate(twins)}
    if extra.get("config"):
        extra["config"] = _marked(said, identities)
        return dataclasses.replace(description, extra=extra)
    return dataclasses.replace(description, config=_marked(said, identities))


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


def _entries(config: Any, keys: Iterable[Key]) -> dict[Key, list[Any]]:
    """Returns the configs of layers by class and name, wherever they stand."""
    found: dict[Key, list[Any]] = {key: [] for key in keys}
    pending = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            key = _key(item)
            if key is not None and key in found:
                found[key].append(item["config"])
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            pending.extend(item)
    return found


def _key(entry: Mapping[str, Any]) -> Key | None:
    config, cls = entry.get("config"), entry.get("class_name")
    name = config.get("name") if isinstance(config, Mapping) else None
    if not isinstance(name, str) or not isinstance(cls, str):
        return None
    return cls, name


def _are_alike(configs: list[Any]) -> bool:
    said = [_without_place(config) for config in configs]
    return len(said) > 1 and all(each == said[0] for each in said)


def _without_place(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_without_place(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {k: _without_place(v) for k, v in value.items() if k not in _OF_THE_PLACE}


def _marked(value: Any, identities: Mapping[Key, int]) -> Any:
    if isinstance(value, list | tuple):
        return [_marked(item, identities) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {name: _marked(item, identities) for name, item in value.items()}
    key = _key(value)
    if key is not None and key in identities:
        found["shared_object_id"] = identities[key]
    return found
