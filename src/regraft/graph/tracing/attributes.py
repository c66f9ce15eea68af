"""What attributes and constants of nodes are: types of numbers, keys to compare by."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from regraft import dtypes
from regraft.graph import ir
from regraft.graph.tracing.values import Array


def guess(item: Any) -> str:
    """Returns the dtype of a constant that nobody named."""
    array = np.asarray(item)
    if isinstance(item, np.ndarray | np.generic):
        return dtypes.from_numpy(array.dtype).name
    return {"f": "float32", "i": "int32", "b": "bool", "c": "complex64"}[
        array.dtype.kind
    ]


def splat(array: Array) -> Array:
    """Returns one element for an array of equal ones, which TensorFlow repeats."""
    flat = array.reshape(-1)
    raw = flat.view(np.uint8).reshape(flat.size, -1) if flat.size > 1 else flat
    return flat[:1] if flat.size > 1 and (raw == raw[0]).all() else flat


def freeze(attrs: Mapping[str, ir.AttrValue]) -> Any:
    """Returns attributes as a key of a dict."""
    return tuple(sorted((name, hashable(value)) for name, value in attrs.items()))


def hashable(value: Any) -> Any:
    """Returns an attribute's value as part of a key."""
    if isinstance(value, ir.TensorValue):
        flat = value.flat
        content = tuple(flat.tolist()) if flat.dtype == object else flat.tobytes()
        return value.dtype, value.shape, content
    if isinstance(value, ir.FunctionRef):
        return value.name
    if isinstance(value, tuple):
        return tuple(map(hashable, value))
    return type(value).__name__, value


@functools.lru_cache(4096)
def handle(name: str, dtype: str, shape: tuple[int, ...]) -> ir.ArgDef:
    """Returns an argument that is a variable: most functions have the same ones."""
    data = ((ir.DataType.of(dtype), ir.TensorShape(shape)),)
    return ir.ArgDef(name, ir.DataType.of("resource"), handle_data=data)
