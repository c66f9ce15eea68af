"""The names of layers inside of layers, which no config says.

A layer that makes others in its constructor mostly leaves it to Keras to name them: by
their class and a count of the process. The objects of a SavedModel have the names that
they had there, and so have the weights in an HDF5 file. A second save is to have them,
too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from regraft import _compat
from regraft.loading.places import entry_name, is_input
from regraft.loading.restore import Assignment
from regraft.model.description import ObjectNode
from regraft.model.dialects.names import ORIGINAL, without_count


def restore_inner_names(layers: Iterable[tuple[keras.Layer, ObjectNode]]) -> None:
    """Gives layers the names that the file has for them.

    Where Keras counted another number here, that is: other names were chosen by the
    class, the caller or, as stand-ins, by Regraft.

    Args:
        layers: The live layers and the file's objects.
    """
    for layer, node in layers:
        name = (node.metadata or {}).get("name")
        if not hasattr(layer, ORIGINAL) and _differs_by_count(layer.name, name):
            _rename(layer, str(name))
        if isinstance(layer, keras.Sequential) and layer.built:
            _restore_input_name(layer, (node.metadata or {}).get("config"))


def restore_paths(assignments: Iterable[Assignment]) -> None:
    """Gives variables the paths that an HDF5 file has for them.

    Where they differ by counts of the process, that is.
    """
    for item in assignments:
        if item.placed is not None:
            live = item.variable.path.split("/")
            # Before the weight's own name stands that of its group.
            saved = item.place.removesuffix(":0").split("/")[-len(live) :]
            if _kinds(saved) == _kinds(live):
                _compat.set_path(item.variable, "/".join(saved))


def _restore_input_name(model: keras.Sequential, config: Any) -> None:
    """Names the input of a network that its class made and nobody named."""
    entries = config.get("layers") if isinstance(config, Mapping) else None
    if not isinstance(entries, list) or not entries or not is_input(entries[0]):
        return
    name = entry_name(entries[0])
    layer = _compat.maker(model.inputs[0])
    if layer is not None and _differs_by_count(layer.name, name):
        layer.name = name


def _kinds(path: list[str]) -> list[str]:
    """What a path says but for the counts of layers."""
    *layers, variable = path
    return [*(without_count(layer)[0] for layer in layers), variable]


def _differs_by_count(live: str, saved: Any) -> bool:
    return (
        isinstance(saved, str)
        and live != saved
        and without_count(live)[0] == without_count(saved)[0]
    )


def _rename(layer: keras.Layer, name: str) -> None:
    """Gives a layer another name, and its variables the paths that go with it."""
    old, layer.name = layer.name, name
    for variable in layer.variables:
        parts = variable.path.split("/")
        if old in parts:
            parts[parts.index(old)] = name
            _compat.set_path(variable, "/".join(parts))
