"""Configs of the caller's own classes, in the words that their code understands.

Such a class is written for Keras 3, and its config by its ancestor in Keras 2: what
`get_config` of Keras' own class below it said, and the layers, initializers, … that it
holds, which its code makes with Keras' own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from regraft import _compat
from regraft.model.dialects.context import BuildContext, Entry
from regraft.model.dialects.objects import build_object, is_entry
from regraft.model.dialects.registry import builtin_objects, own_function
from regraft.model.keras2.activations import linear_fifth_hard_sigmoid

_KINDS = ("initializers", "regularizers", "constraints")
_ACTIVATIONS = ("activation", "recurrent_activation", "inner_activation")
_SHARED = "shared_object_id"


def in_words_of_keras3(
    config: Mapping[str, Any],
    context: BuildContext,
    build: Callable[[Entry], keras.layers.Layer | None],
) -> dict[str, Any]:
    """Puts what a config of Keras 1 or 2 holds into Keras 3's words.

    Args:
        config: Of a class of the caller's.
        context: Of this build.
        build: Makes the layer that an entry is of, if it is one.
    """
    if context.dialect.generation > 2:
        return dict(config)
    found: dict[str, Any] = {}
    for key, value in config.items():
        function = None if key == "name" else own_function(value, context)
        if function is not None:
            # Keras 2 gives a class the function that its config names.
            found[key] = function
        elif key in _ACTIVATIONS and value == "hard_sigmoid":
            linear = context.dialect.hard_sigmoid_is_linear_fifth
            found[key] = linear_fifth_hard_sigmoid if linear else value
        else:
            found[key] = _translated(value, context, build)
    return found


def _translated(
    value: Any,
    context: BuildContext,
    build: Callable[[Entry], keras.layers.Layer | None],
) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_translated(item, context, build) for item in value)
    if not isinstance(value, Mapping):
        return value
    if is_entry(value):
        made = _made(value, context, build)
        if made is not None:
            words = _compat.serialize(made)
            shared = {_SHARED: value[_SHARED]} if _SHARED in value else {}
            return {**words, **shared}
    return {key: _translated(item, context, build) for key, item in value.items()}


def _made(
    entry: Entry,
    context: BuildContext,
    build: Callable[[Entry], keras.layers.Layer | None],
) -> Any:
    """Returns the object of Keras' own that an entry is of, or a layer."""
    try:
        for kind in _KINDS:
            if builtin_objects(kind).get(entry["class_name"]) is not None:
                return build_object(kind, entry, context, entry["class_name"])
        return build(entry)
    except (ValueError, TypeError, NotImplementedError, KeyError, AttributeError):
        return None  # The class may know what to do with it.
