"""Keras 3's own nodes that are no layers: the operations of `keras.ops`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import keras

from regraft.model.dialects.calls import plain
from regraft.model.dialects.context import BuildContext, Entry
from regraft.model.dialects.layers import accepted_keywords
from regraft.model.dialects.registry import find_custom

_HOME = "keras.src.ops."


@cache
def operation_classes() -> dict[tuple[str, str], type]:
    """Keras' operation classes by module and name."""
    found: dict[tuple[str, str], type] = {}
    stack: list[type] = [keras.Operation]
    while stack:
        cls = stack.pop()
        stack.extend(cls.__subclasses__())
        if cls.__module__.startswith(_HOME):
            found[cls.__module__, cls.__name__] = cls
    return found


def is_operation(entry: Entry) -> bool:
    """Whether an entry of a Keras 3 model is an operation, not a layer."""
    return str(entry.get("module") or "").startswith(_HOME)


def with_module(entry: Entry, context: BuildContext) -> Entry:
    """Says of an operation in Keras 3's HDF5 file that it is one.

    Keras writes no module there, and finds no operation again: it takes `Add`, as
    which `x + y` is saved, for the layer of that name. A layer's config says whether
    it is trainable; an operation's has its arguments alone.
    """
    config = entry["config"]
    if context.dialect.generation < 3 or entry.get("module"):
        return entry
    if not isinstance(config, Mapping) or "trainable" in config:
        return entry
    name = entry["class_name"]
    cls = _by_name().get(name)
    if cls is None or find_custom(name, context) is not None:
        return entry
    known = {"name", *accepted_keywords(cls)}
    return {**entry, "module": cls.__module__} if config.keys() <= known else entry


@cache
def _by_name() -> dict[str, type]:
    return {name: cls for (_, name), cls in operation_classes().items()}


def build_operation(entry: Entry, context: BuildContext) -> Any:
    """Makes the operation that an entry names.

    Raises:
        ValueError: This Keras has no such operation.
    """
    cls = operation_classes().get((entry["module"], entry["class_name"]))
    if cls is None:
        raise ValueError(
            f"Keras {keras.__version__} has no operation {entry['class_name']!r}, "
            f"which {entry.get('name')!r} of this model is."
        )
    config = {key: plain(value) for key, value in entry["config"].items()}
    return cls.from_config(config)  # type: ignore[attr-defined]
