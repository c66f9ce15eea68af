"""The names under which Keras 2's object graph keeps a layer's own weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from regraft import _compat
from regraft.model.dialects.layers import row_of

# Where Keras 3 keeps everything a second time, for itself.
_BOOKKEEPING = {
    "_trainable_variables",
    "_non_trainable_variables",
    "_layers",
    "_metrics",
    "_seed_generators",
    "_tracker",
}


def weight_edges(
    layer: keras.layers.Layer,
) -> list[tuple[str, keras.Variable]]:
    """Returns the weights of a layer by Keras 2's attribute path, in Keras 2's order.

    A path names attributes from the layer on, joined by dots, such as
    `"cell.recurrent_kernel"`. States of random generators have no place in Keras 2
    and are left out.
    """
    found: dict[int, str] = {}
    for path, variable in _walk(layer, "", set()):
        found.setdefault(id(variable), path)
    edges = []
    for variable in layer.weights:
        place = found.get(id(variable))
        if place is None:
            raise ValueError(
                f"Layer {layer.name!r} keeps its weight {variable.path!r} under no "
                "attribute."
            )
        edges.append((place, variable))
    return edges


def _walk(
    layer: keras.layers.Layer, prefix: str, seen: set[int]
) -> Iterator[tuple[str, keras.Variable]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    renamed = row_of(type(layer)).edges
    inner = {id(sub) for sub in _compat.sublayers(layer)}
    below: list[tuple[str, keras.layers.Layer]] = []
    for name, value in vars(layer).items():
        if name in _BOOKKEEPING:
            continue
        path = prefix + renamed.get(name, name)
        for tail, item in _items(value):
            if isinstance(item, keras.Variable):
                public = _public(layer, name)
                yield prefix + renamed.get(public, public) + tail, item
            elif id(item) in inner:
                below.append((path + tail, item))
    for path, sub in below:
        yield from _walk(sub, path + ".", seen)


def _public(layer: keras.layers.Layer, name: str) -> str:
    """The name of the property behind which a layer keeps a variable."""
    public = name.removeprefix("_")
    return public if isinstance(getattr(type(layer), public, None), property) else name


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            for tail, found in _items(item):
                yield f".{index}{tail}", found
    elif isinstance(value, Mapping):
        for key, item in value.items():
            for tail, found in _items(item):
                yield f".{key}{tail}", found
    else:
        yield "", value
