"""From a name in a file to a class or function. Nothing is ever imported by name.

A name is looked for, in this order, among the caller's `custom_objects`, among what
is registered with Keras, and among what Keras or Regraft offer. Files spell one
class as `Pkg>X`, `Custom>X` or plainly `X`, and callers do the same, so that each
spelling finds the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cache
from types import MappingProxyType
from typing import Any

import keras

from regraft.model.dialects.context import BuildContext
from regraft.model.keras2.registration import PACKAGE

KINDS = ("initializers", "regularizers", "constraints", "activations")


def _spellings(name: str) -> Iterator[str]:
    plain = name.rpartition(">")[2]
    yield name
    yield plain
    yield f"Custom>{plain}"


def find_custom(name: str, context: BuildContext) -> Any:
    """Returns what the caller or a registration calls `name`, else `None`."""
    sources: tuple[Mapping[str, Any], ...] = (
        context.custom_objects,
        keras.saving.get_custom_objects(),
    )
    for source in sources:
        for spelling in _spellings(name):
            if spelling in source:
                return source[spelling]
    plain = name.rpartition(">")[2]
    for key, value in context.custom_objects.items():
        if key.rpartition(">")[2] == plain:
            return value
    return keras.saving.get_registered_object(name)


def make_custom(cls: Any, config: Mapping[str, Any], context: BuildContext) -> Any:
    """Makes an object of a caller's class, whose code asks Keras for what is in it."""
    with scope_of(config, context):
        return cls.from_config(dict(config))


def scope_of(config: Any, context: BuildContext) -> AbstractContextManager[Any]:
    """Lets Keras find a caller's objects under the names that a config has for them.

    A class of the caller's makes what its config names with Keras' own functions
    (`keras.regularizers.get`, `keras.layers.deserialize`), which know one spelling.
    """
    known = dict(context.custom_objects)
    for name in names_in(config):
        if name not in known and (found := find_custom(name, context)) is not None:
            known[name] = found
    return keras.saving.custom_object_scope(known)


def names_in(config: Any) -> set[str]:
    """Returns all texts in a config: any of them may be a name."""
    found = set()
    pending = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            found.add(item)
        elif isinstance(item, Mapping):
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            pending.extend(item)
    return found


def own_function(name: Any, context: BuildContext) -> Any:
    """Returns the caller's function of a name, `None` if it is another text."""
    found = find_custom(name, context) if isinstance(name, str) else None
    return found if inspect.isfunction(found) else None


# Keras' own networks, under all names that they had in files.
NETWORKS = frozenset({"Sequential", "Functional", "Model", "Container", "Graph"})


@cache
def builtin_layers() -> Mapping[str, type[keras.layers.Layer]]:
    """Keras' own layer classes by class name and by every public name."""
    found: dict[str, type[keras.layers.Layer]] = {}
    for name, value in vars(keras.layers).items():
        if isinstance(value, type) and issubclass(value, keras.layers.Layer):
            found[name] = found[value.__name__] = value
    return MappingProxyType(found)


@cache
def builtin_objects(kind: str) -> Mapping[str, Any]:
    """Keras' own classes and functions of a `KINDS` by any public name."""
    module = getattr(keras, kind)
    skipped = {"get", "serialize", "deserialize"}
    return MappingProxyType(
        {
            name: value
            for name, value in vars(module).items()
            if callable(value) and not name.startswith("_") and name not in skipped
        }
    )


def is_builtin(cls: Callable[..., Any]) -> bool:
    """Whether a class is Keras' or Regraft's, not a user's."""
    name = cls.__name__
    if builtin_layers().get(name) is cls:
        return True
    return keras.saving.get_registered_name(cls).startswith(PACKAGE + ">")
