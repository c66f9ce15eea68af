"""TensorFlow's symbols on lengths that have a name instead of a value.

While a model is traced for any batch, `tf.shape(x)` holds such names. What is computed
of them, as a shape for `tf.reshape`, stays integers and names; anything else gets them
as a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from regraft.graph.runtime.kernels import values as kernel_values
from regraft.model.keras2 import op_layers_array, op_layers_math, op_layers_nn

SymbolicArray = kernel_values.SymbolicArray


def are_in(leaves: list[Any]) -> bool:
    """Whether lengths that have only names are among these."""
    return any(isinstance(leaf, SymbolicArray) for leaf in leaves)


def call(target: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Calls the function of a symbol where some of its arguments are lengths.

    Args:
        target: What `SYMBOLS` has for the symbol.
        args: Its positional arguments, of which all tensors may be lengths.
        kwargs: Its keyword arguments.
    """
    here = _ON_LENGTHS.get(target)
    if here is not None:
        dtype = _dtype((args, kwargs))
        if dtype is not None:
            return _finished(here(*args, **kwargs), dtype)
    if target in _TAKE_SHAPES:
        return target(*args, **kwargs)
    return target(*_replaced(list(args)), **_replaced(kwargs))


def _dtype(arguments: Any) -> str | None:
    """The dtype of the lengths, if all tensors are lengths or known integers."""
    found: set[str] = set()
    for leaf in _leaves(arguments):
        if isinstance(leaf, SymbolicArray):
            found.add(leaf.tf_dtype)
        elif isinstance(leaf, np.ndarray) and leaf.dtype.kind in "iu":
            found.add(kernel_values.dtype_of(leaf))
        elif _is_number_of_data(leaf):
            return None
    return found.pop() if len(found) == 1 else None


def _is_number_of_data(leaf: Any) -> bool:
    if isinstance(leaf, float):
        return True
    return hasattr(leaf, "dtype") and not kernel_values.is_symbol(leaf)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _replaced(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_replaced(item) for item in value)
    return kernel_values.to_tensor(value) if isinstance(value, SymbolicArray) else value


def _finished(result: Any, dtype: str) -> Any:
    if isinstance(result, list):
        return [_finished(item, dtype) for item in result]
    if not isinstance(result, np.ndarray):
        return kernel_values.integers([result], dtype).reshape(())
    return kernel_values.integers(result.ravel().tolist(), dtype).reshape(result.shape)


def _plain(value: Any) -> Any:
    """An object array of integers and names: what NumPy computes elementwise."""
    if not isinstance(value, np.ndarray):
        return value
    array = np.empty(value.shape, object)
    array[...] = value
    return array


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: function(_plain(x), _plain(y))


def _stack(values: Any, axis: int = 0) -> Any:
    return np.stack([np.asarray(_plain(item), object) for item in values], int(axis))


def _concat(values: Any, axis: Any) -> Any:
    (position,) = op_layers_array.integers(axis)
    return np.concatenate([np.asarray(_plain(v), object) for v in values], position)


def _unstack(value: Any, num: int | None = None, axis: int = 0) -> Any:
    return list(np.moveaxis(_plain(value), int(axis), 0))


def _product(
    input_tensor: Any, axis: Any = None, keepdims: bool | None = False, **_: Any
) -> Any:
    axes = op_layers_math.axes(axis)
    return np.prod(_plain(input_tensor), axis=axes, keepdims=bool(keepdims))


def _getitem(tensor: Any, slice_spec: Any, var: Any = None) -> Any:
    return op_layers_array.getitem(_plain(tensor), slice_spec)


def _by_name() -> dict[str, Callable[..., Any]]:
    times, plus = _elementwise(np.multiply), _elementwise(np.add)
    return {
        "__operators__.add": plus,
        "__operators__.radd": lambda y, x: plus(x, y),
        "math.add": plus,
        "math.subtract": _elementwise(np.subtract),
        "math.multiply": times,
        "math.floordiv": _elementwise(np.floor_divide),
        "math.floormod": _elementwise(np.mod),
        "math.reduce_prod": _product,
        "__operators__.getitem": _getitem,
        "stack": _stack,
        "concat": _concat,
        "unstack": _unstack,
        "identity": lambda input: _plain(input),
    }


_KNOWN = {
    **op_layers_array.SYMBOLS,
    **op_layers_math.SYMBOLS,
    **op_layers_nn.SYMBOLS,
}
_ON_LENGTHS = {
    _KNOWN[name]: function for name, function in _by_name().items() if name in _KNOWN
}
# Their shapes, counts and bounds may be names.
_TAKE_SHAPES = frozenset(
    _KNOWN[name]
    for name in (
        "reshape",
        "tile",
        "broadcast_to",
        "zeros",
        "ones",
        "fill",
        "slice",
        "strided_slice",
        "__operators__.getitem",
        "range",
        "repeat",
        "eye",
        "cast",
        "pad",
        "one_hot",
        "sequence_mask",
        "scatter_nd",
        "image.resize",
    )
    if name in _KNOWN
)
