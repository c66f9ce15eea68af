"""Keras 3's own nodes that are no layers: the operations of `keras.ops`."""

from __future__ import annotations

from functools import cache
from typing import Any

import keras

from regraft.model.dialects.calls import plain
from regraft.model.dialects.context import BuildContext, Entry

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
