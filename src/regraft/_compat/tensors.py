"""Symbolic tensors; see `regraft._compat`."""

from __future__ import annotations

from typing import Any

import keras
from keras.src.backend import get_keras_mask, set_keras_mask


def keras_history(tensor: keras.KerasTensor) -> tuple[keras.Operation, Any, int]:
    """Returns the operation, call and output index that made a symbolic tensor.

    Keras 3.12 to 3.15: `_keras_history` is the one record of it.
    """
    operation, node_index, tensor_index = tensor._keras_history
    return operation, operation._inbound_nodes[node_index], tensor_index


def maker(tensor: keras.KerasTensor) -> keras.Operation | None:
    """Returns the operation that made a symbolic tensor, `None` where none did."""
    history = getattr(tensor, "_keras_history", None)
    return None if history is None else history.operation


def set_shape(tensor: keras.KerasTensor, shape: tuple[int | None, ...]) -> None:
    """Sets the shape of a symbolic tensor.

    Keras 3.12 to 3.15: `shape` can't be set, and another tensor has another history.
    """
    tensor._shape = shape


def is_without_gradient(error: ValueError) -> bool:
    """Whether a gradient was asked for through a loop of unknown length.

    JAX 0.4 to 0.10: only the message tells.
    """
    return "Reverse-mode differentiation does not work for lax.while_loop" in str(error)


def as_float(value: Any, dtype: str) -> Any:
    """Returns a tensor of floats in a dtype, with its mask; all else as it is.

    Keras 3.12 to 3.15: a layer casts all that it is called with, or nothing, and the
    policy's own cast leaves a mask behind.
    """
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return value
    before = keras.backend.standardize_dtype(value.dtype)
    if before == dtype or not keras.backend.is_float_dtype(before):
        return value
    if isinstance(value, keras.KerasTensor):
        found = keras.KerasTensor(value.shape, dtype=dtype)
    else:
        found = keras.ops.cast(value, dtype)
    if (mask := get_keras_mask(value)) is not None:
        set_keras_mask(found, mask)
    return found
