"""Layers whose config can't be written: what their traces say stands for it.

Keras makes a config of a constructor's arguments only if these are plain; others need
`get_config`, which many classes lack, above all those of layers inside of others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from regraft import _compat
from regraft.errors import RegraftError, UnsupportedError
from regraft.model.dialects.context import Note
from regraft.model.dialects.describe_topology import describe_layer
from regraft.model.dialects.dialect import KERAS_2
from regraft.model.dialects.registry import is_builtin
from regraft.model.metadata import NO_CONFIG, encode


@contextmanager
def traces_for_configs(model: keras.Model, notes: list[Note]) -> Iterator[None]:
    """Lets a model be described whose layers' configs can't all be written.

    Args:
        model: The live model.
        notes: Filled with which classes that are, and why.
    """
    without: list[keras.Layer] = []
    reasons: dict[str, str] = {}
    with _plain_configs(model):
        for layer, reason in _unwritable(model):
            without.append(layer)
            vars(layer)["get_config"] = _StandIn(layer, {NO_CONFIG: True})
            reasons.setdefault(type(layer).__name__, reason)
        if without:
            notes.append(Note(f"model {model.name!r}", _told(without, reasons)))
        try:
            yield
        finally:
            _take_back(without)


@contextmanager
def _plain_configs(model: keras.Model) -> Iterator[None]:
    """Lets Keras' own layers that take no arguments of their own give their config.

    Keras can't if one was given a dtype policy, or another object: `Identity`.
    """
    without = [layer for layer in _compat.all_layers(model) if _lacks_config(layer)]
    for layer in without:
        # Past Keras' own setting of attributes, which would track it.
        vars(layer)["get_config"] = _StandIn(layer, {})
    try:
        yield
    finally:
        _take_back(without)


@contextmanager
def configs_needed(model: keras.Model) -> Iterator[None]:
    """Lets a model be described by its configs alone, as `_plain_configs` does.

    Raises:
        UnsupportedError: The config of a layer can't be written, with which and why.
            It is the user's own code that fails.
    """
    with _plain_configs(model):
        try:
            yield
        except RegraftError:
            raise
        except Exception as error:
            for layer, reason in _unwritable(model):
                raise UnsupportedError(_needed(layer, reason)) from error
            raise


def _take_back(layers: list[keras.Layer]) -> None:
    for layer in layers:
        del vars(layer)["get_config"]


def _lacks_config(layer: keras.Layer) -> bool:
    cls = type(layer)
    if cls.get_config is not keras.Layer.get_config or not is_builtin(cls):
        return False
    try:
        layer.get_config()
    except NotImplementedError:
        return True
    return False


def _is_known(cls: type) -> bool:
    """Whether a class has a config if the layers inside have: Keras' networks, too."""
    return is_builtin(cls) or cls.__module__.startswith("keras.")


def _unwritable(model: keras.Model) -> Iterator[tuple[keras.Layer, str]]:
    """Yields the layers whose config can't be written, and why.

    Inner ones first: the config of an outer one may hold theirs. Each is looked at when
    it is asked for, so that what was done about those inside of it counts.
    """
    for layer in reversed(_compat.all_layers(model)):
        reason = None if _is_known(type(layer)) else _why_not(layer)
        if reason is not None:
            yield layer, reason


def _needed(layer: keras.Layer, reason: str) -> str:
    return (
        f"The config of layer '{layer.name}' of class {type(layer).__name__} can't be "
        f"written: {reason}. Mend its `get_config`, or save a SavedModel with "
        "`save_traces=True`, which needs none."
    )


def _told(without: list[keras.Layer], reasons: dict[str, str]) -> str:
    counts = Counter(type(layer).__name__ for layer in without)
    listed = ", ".join(f"{name} ({counts[name]})" for name in sorted(counts))
    name, reason = min(reasons.items())
    return (
        "these layers have no config that can be written, so that their traced "
        f"functions alone will bring them back: {listed}. Of {name}: {reason}"
    )


class _StandIn:
    """A `get_config` that knows what every layer has."""

    def __init__(self, layer: keras.Layer, further: dict[str, Any]) -> None:
        self._layer = layer
        self._further = further

    def __call__(self) -> dict[str, Any]:
        layer = self._layer
        return {
            "name": layer.name,
            "trainable": bool(layer.trainable),
            "dtype": keras.dtype_policies.serialize(layer.dtype_policy),
            **self._further,
        }


def _why_not(layer: keras.Layer) -> str | None:
    """Returns why the config of a layer can't be written; `None` if it can."""
    try:
        keras.saving.serialize_keras_object(layer)
        encode(describe_layer(layer, KERAS_2, [])["config"])
    # It is the user's own code that runs, and all that matters is that it fails.
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None
