"""What tf_keras makes of objects in configs, and what it says of its own."""

from __future__ import annotations

import importlib
import inspect
import json
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src.saving.legacy.saved_model import json_utils

from model import object_cases

# Public names that are no objects of a config.
_NONE = {"get", "serialize", "deserialize", "Reduction", "experimental", "legacy"}


def names() -> dict[str, list[str]]:
    """Every class and function of each kind, by public name."""
    found = {}
    for kind in (
        "activations",
        "initializers",
        "regularizers",
        "constraints",
        "losses",
        "metrics",
        "optimizers",
    ):
        public = vars(getattr(tf_keras, kind))
        found[kind] = sorted(
            name
            for name, value in public.items()
            if callable(value) and not name.startswith("_") and name not in _NONE
        )
    found["legacy"] = sorted(
        n for n, v in vars(tf_keras.optimizers.legacy).items() if isinstance(v, type)
    )
    found["schedules"] = sorted(
        n for n, v in vars(tf_keras.optimizers.schedules).items() if isinstance(v, type)
    )
    return found


def layers() -> list[str]:
    """The class name of every layer that has a public name."""
    modules = (
        tf_keras.layers,
        tf_keras.layers.experimental,
        tf_keras.layers.experimental.preprocessing,
        tf_keras.experimental,
        importlib.import_module("tf_keras.api._v1.keras.layers"),
    )
    base = tf_keras.layers.Layer
    return sorted(
        {
            value.__name__
            for module in modules
            for value in map(module.__getattribute__, dir(module))
            if isinstance(value, type) and issubclass(value, base)
        }
    )


def _module(kind: str) -> Any:
    return (
        tf_keras.optimizers.schedules
        if kind == "schedules"
        else getattr(tf_keras, kind)
    )


def describe(kind: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The entry that a file has of an object, and what it computes."""
    made = getattr(_module(kind), name)
    if inspect.isclass(made):
        made = made(**arguments)
    serialize = _module(kind).serialize
    entry = (
        serialize(made)
        if kind in ("metrics", "schedules")
        else serialize(made, use_legacy_format=True)
    )
    if kind == "metrics":
        entry = {"class_name": name, "config": made.get_config()}
    # As a file has it.
    entry = json.loads(json.dumps(entry, default=json_utils.get_json_type))
    return {"entry": entry, "values": _values(kind, made, name, arguments)}


def rebuild(kind: str, name: str, arguments: dict[str, Any], entry: Any) -> Any:
    """What the object of an entry computes."""
    made = _module(kind).deserialize(entry)
    return _values(kind, made, name, arguments)


def _values(kind: str, made: Any, name: str, arguments: dict[str, Any]) -> Any:
    if kind == "activations":
        return np.asarray(made(tf.constant(object_cases.VECTOR)))
    if kind == "regularizers":
        return np.asarray(made(tf.constant(object_cases.MATRIX)))
    if kind == "constraints":
        return np.asarray(made(tf.constant(object_cases.KERNEL)))
    if kind == "initializers":
        return np.asarray(made((5, 5)))
    if kind == "losses":
        return object_cases.loss_value(made, name, arguments)
    if kind == "schedules":
        return np.array([float(made(step)) for step in object_cases.STEPS])
    for positional, keywords in object_cases.updates(name, arguments):
        made.update_state(*positional, **keywords)
    return np.asarray(made.result())
