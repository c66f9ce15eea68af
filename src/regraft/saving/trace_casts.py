"""What is cast for a layer's call before its function begins.

Keras 3 casts all arguments of a layer to the dtype that it computes in. Keras 2 casts
the first one alone, then calls the function of a layer without its class: TensorFlow
takes no tensor of another dtype than the function was traced with.
"""

from __future__ import annotations

from typing import Any

import keras

from regraft.dtypes import name_of
from regraft.model.dialects.registry import is_builtin
from regraft.model.state_tree import call_signature, is_network
from regraft.saving.trace_operations import is_tensor


def cast_first(
    layer: keras.Layer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns a call's arguments, the first one as Keras 2 hands it to a function."""
    if args:
        return (_cast(layer, args[0]), *args[1:]), kwargs
    first = next(iter(call_signature(layer).parameters), None)
    if first not in kwargs:
        return args, kwargs
    return args, {**kwargs, first: _cast(layer, kwargs[first])}


def casts(layer: keras.Layer) -> bool:
    """Whether a layer casts what it is called with.

    One that runs from a file's functions does it itself, as its class did.
    """
    return bool(getattr(layer, "casts_first", layer.autocast))


def _cast(layer: keras.Layer, given: Any) -> Any:
    """Returns an argument as a layer casts it before its `call`.

    Keras 2 knows no dtype of a subclassed model: it casts to float32, or not at all.
    """
    if is_network(layer):
        leaves = keras.tree.flatten(given)
        if len(leaves) != len(layer.inputs):
            return given
        pairs = zip(leaves, layer.inputs, strict=True)
        cast = [_cast_float(leaf, tensor.dtype) for leaf, tensor in pairs]
        return keras.tree.pack_sequence_as(given, cast)
    own = not isinstance(layer, keras.Model) and not is_builtin(type(layer))
    if not own or not casts(layer):
        return given
    dtype = layer.input_dtype
    return keras.tree.map_structure(lambda leaf: _cast_float(leaf, dtype), given)


def _cast_float(value: Any, dtype: str) -> Any:
    dtypes = (name_of(value.dtype), dtype) if is_tensor(value) else ()
    is_other = len(set(dtypes)) == 2
    if not is_other or not all(map(keras.backend.is_float_dtype, dtypes)):
        return value
    return keras.ops.cast(value, dtype)
