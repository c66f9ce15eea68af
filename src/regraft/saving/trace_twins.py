"""Layers that compute the same: one of them is traced for all.

A network repeats a few blocks many times. Two layers of one class of Keras whose
attributes are equal compute the same function of their inputs and variables, so that
one trace serves both, each with its own variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from regraft import _compat
from regraft.dtypes import name_of
from regraft.model.dialects.names import ORIGINAL

_PLAIN = (bool, int, float, complex, str, bytes, type(None))

# Whose code depends on nothing but a layer's attributes.
_PACKAGES = ("keras.", "regraft.model.keras2.")

# What tells layers apart without a difference for their `call`. An attribute that is
# not known is compared, so that at worst a layer is traced once more.
_ENDINGS = ("_initializer", "_constraint", "_regularizer")
_BOOKKEEPING = frozenset(
    {
        *("name", "_name", "_path", "_parent_path", "_tracker", "_lock", "_called"),
        *("_inbound_nodes", "_outbound_nodes", "_auto_config", "_build_shapes_dict"),
        *("_call_signature", "_call_context_args", "_call_has_context_arg"),
        *("_input_spec", "_loss_ids", "_losses", "_losses_override", "_metrics"),
        *("_layers", "_seed_generators", "seed_generator", "built", "build"),
        *("_trainable_variables", "_non_trainable_variables", "quantize"),
        *("call_signature_parameters", ORIGINAL),
    }
)


def likeness(layer: keras.Layer) -> Any:
    """Returns what is equal for layers that compute the same.

    `None` for a layer of which that can't be told: one of a caller's class, or one
    with layers inside.
    """
    if not type(layer).__module__.startswith(_PACKAGES) or _compat.sublayers(layer):
        return None
    places = {id(variable): i for i, variable in enumerate(layer.variables)}
    regularizer = layer.activity_regularizer
    return (
        type(layer),
        None if regularizer is None else id(regularizer),
        tuple((tuple(v.shape), name_of(v.dtype)) for v in layer.variables),
        tuple(
            (name, _comparable(value, places))
            for name, value in sorted(vars(layer).items())
            if name not in _BOOKKEEPING and not name.endswith(_ENDINGS)
        ),
    )


def _comparable(value: Any, places: Mapping[int, int]) -> Any:
    """Returns something hashable; another object is equal to itself alone."""
    if isinstance(value, _PLAIN):
        return type(value), repr(value)
    if isinstance(value, keras.Variable):
        return "variable", places.get(id(value), id(value))
    if isinstance(value, keras.DTypePolicy):
        return type(value), value.name
    if isinstance(value, list | tuple):
        return "list", tuple(_comparable(item, places) for item in value)
    if isinstance(value, dict):
        items = ((repr(k), _comparable(v, places)) for k, v in value.items())
        return "dict", tuple(sorted(items, key=lambda item: item[0]))
    return id(value)
