"""TensorFlow's array symbols on `keras.ops`, under TensorFlow's argument names."""

# Functions and arguments are TensorFlow's; its documentation describes them.
# ruff: noqa: D103
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from regraft.errors import LimitError, UnsupportedError
from regraft.graph.runtime.kernels import values
from regraft.model.keras2.host_values import device_dtype
from regraft.model.keras2.op_layers_math import same_dtype

# The most results that one operation has.
MAX_RESULTS = 2**16


def integers(value: Any) -> tuple[Any, ...]:
    """A shape, axis list or count as Python integers, or names of unknown lengths.

    Raises:
        UnsupportedError: The value depends on the data, which no compiled
            computation can have for a shape.
    """
    if isinstance(value, (list, tuple)):
        return tuple(item for part in value for item in integers(part))
    if isinstance(value, values.SymbolicArray) or values.is_symbol(value):
        return values.dims(np.asarray(value))
    if not hasattr(value, "dtype"):
        return (int(value),)
    try:
        return tuple(int(item) for item in np.asarray(value).ravel())
    except Exception as error:
        raise UnsupportedError(
            "A shape of this model depends on the values of a tensor, so that it "
            "cannot be compiled."
        ) from error


def static_shape(x: Any) -> Any:
    """The shape as a NumPy vector, so that shapes computed from it stay concrete."""
    return values.integers(tuple(x.shape))


def shape(input: Any, out_type: str = "int32") -> Any:
    return values.cast(static_shape(input), out_type)


def size(input: Any, out_type: str = "int32") -> Any:
    return values.integers([math.prod(input.shape)], out_type).reshape(())


def rank(input: Any) -> Any:
    return np.asarray(len(input.shape), dtype="int32")


def reshape(tensor: Any, shape: Any) -> Any:
    return ops.reshape(tensor, integers(shape))


def transpose(a: Any, perm: Any = None, conjugate: bool = False) -> Any:
    return ops.transpose(a, None if perm is None else integers(perm))


def expand_dims(input: Any, axis: Any = None, dim: Any = None) -> Any:
    (position,) = integers(axis if axis is not None else dim)
    return ops.expand_dims(input, position)


def squeeze(input: Any, axis: Any = None, squeeze_dims: Any = None) -> Any:
    axis = axis if axis is not None else squeeze_dims
    if axis is None or not integers(axis):
        return ops.squeeze(input)
    return ops.squeeze(input, axis=integers(axis))


def concat(values: Any, axis: Any) -> Any:
    (position,) = integers(axis)
    return ops.concatenate(list(values), axis=position)


def stack(values: Any, axis: int = 0) -> Any:
    like = next((value for value in values if hasattr(value, "dtype")), None)
    if like is not None:
        values = [same_dtype(like, value)[1] for value in values]
    return ops.stack(list(values), axis=int(axis))


def unstack(value: Any, num: int | None = None, axis: int = 0) -> Any:
    _check_count(num or value.shape[int(axis)])
    return list(ops.unstack(value, num=num, axis=int(axis)))


def split(value: Any, num_or_size_splits: Any, axis: Any = 0, num: Any = None) -> Any:
    (position,) = integers(axis)
    sizes = num_or_size_splits
    if isinstance(sizes, (list, tuple)) or getattr(sizes, "shape", None):
        lengths = list(integers(sizes))
        if -1 in lengths:
            known = sum(length for length in lengths if length >= 0)
            lengths[lengths.index(-1)] = value.shape[position] - known
        points = [int(point) for point in np.cumsum(lengths)[:-1]]
        return list(ops.split(value, points, axis=position))
    _check_count(int(sizes))
    return list(ops.split(value, int(sizes), axis=position))


def _check_count(count: Any) -> None:
    """Refuses more results than any network has, which a few bytes can ask for."""
    if isinstance(count, int) and count > MAX_RESULTS:
        raise LimitError(
            f"An operation has more than {MAX_RESULTS} results", received=count
        )


def tile(input: Any, multiples: Any) -> Any:
    return ops.tile(input, integers(multiples))


def repeat(input: Any, repeats: Any, axis: int | None = None) -> Any:
    counts = integers(repeats)
    return ops.repeat(input, counts[0] if len(counts) == 1 else list(counts), axis=axis)


def pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0
) -> Any:
    flat = integers(paddings)
    widths = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
    if mode.upper() == "CONSTANT":
        _, value = same_dtype(tensor, constant_values)
        return ops.pad(tensor, widths, mode="constant", constant_values=value)
    return ops.pad(tensor, widths, mode=mode.lower())


def reverse(tensor: Any, axis: Any) -> Any:
    return ops.flip(tensor, axis=integers(axis))


def roll(input: Any, shift: Any, axis: Any) -> Any:
    for amount, position in zip(integers(shift), integers(axis), strict=True):
        input = ops.roll(input, amount, axis=position)
    return input


def slice_(input_: Any, begin: Any, size: Any) -> Any:
    parts = tuple(
        slice(start, None if length == -1 else start + length)
        for start, length in zip(integers(begin), integers(size), strict=True)
    )
    return input_[parts]


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
) -> Any:
    starts, stops = _items(begin), _items(end)
    steps = integers(strides) if strides is not None else (1,) * len(starts)
    spec: list[Any] = []
    for index, (start, stop, step) in enumerate(zip(starts, stops, steps, strict=True)):
        bit = 1 << index
        if ellipsis_mask & bit:
            spec.append(Ellipsis)
        elif new_axis_mask & bit:
            spec.append(None)
        elif shrink_axis_mask & bit:
            spec.append(start)
        else:
            first = None if begin_mask & bit else _bound(start)
            last = None if end_mask & bit else _bound(stop)
            spec.append(slice(first, last, step))
    if not hasattr(input_, "dtype"):
        input_ = ops.convert_to_tensor(input_)
    return input_[tuple(spec)]


def _items(vector: Any) -> list[Any]:
    """The integers of a vector; as tensors those that depend on the data."""
    if isinstance(vector, (list, tuple)):
        return list(vector)
    try:
        return list(integers(vector))
    except UnsupportedError:
        return [vector[i] for i in range(vector.shape[0])]


def getitem(tensor: Any, slice_spec: Any, var: Any = None) -> Any:
    parts = slice_spec if isinstance(slice_spec, (list, tuple)) else [slice_spec]
    if hasattr(slice_spec, "dtype") and str(slice_spec.dtype) == "bool":
        raise UnsupportedError("The size of a boolean selection depends on the data.")
    return tensor[tuple(_subscript(part) for part in parts)]


def _subscript(part: Any) -> Any:
    if isinstance(part, dict) and part.keys() == {"start", "stop", "step"}:
        return slice(*(_bound(part[key]) for key in ("start", "stop", "step")))
    if isinstance(part, dict) and part.get("class_name") == "__ellipsis__":
        return Ellipsis
    if part == "..." if isinstance(part, str) else False:
        return Ellipsis
    # A place that is counted from an unknown length.
    return values.to_tensor(part) if isinstance(part, values.SymbolicArray) else part


def _bound(value: Any) -> int | None:
    return None if value is None else integers(value)[0]


def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    axis: Any = None,
    batch_dims: int = 0,
) -> Any:
    position = int(axis) if axis is not None else int(batch_dims)
    indices = ops.convert_to_tensor(indices)
    if batch_dims == 0:
        return ops.take(params, indices, axis=position)
    return _batched_gather(params, indices, position, int(batch_dims))


def _batched_gather(params: Any, indices: Any, axis: int, batch_dims: int) -> Any:
    batch_dims %= len(params.shape)
    axis %= len(params.shape)
    return ops.vectorized_map(
        lambda pair: gather(pair[0], pair[1], None, axis - 1, batch_dims - 1),
        (params, indices),
    )


def gather_nd(
    params: Any, indices: Any, batch_dims: int = 0, bad_indices_policy: str = ""
) -> Any:
    indices = ops.convert_to_tensor(indices)
    if batch_dims:
        return ops.vectorized_map(
            lambda pair: gather_nd(pair[0], pair[1], batch_dims - 1), (params, indices)
        )
    return params[tuple(ops.moveaxis(indices, -1, 0))]


def boolean_mask(tensor: Any, mask: Any, name: Any = None, axis: Any = None) -> Any:
    kept = np.asarray(mask)
    if kept.ndim != 1:
        raise UnsupportedError("Only a vector can select by a boolean mask.")
    return ops.take(tensor, np.flatnonzero(kept), axis=int(axis or 0))


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None or y is None:
        raise UnsupportedError("The size of tf.where's result depends on the data.")
    return ops.where(condition, *same_dtype(x, y))


def cast(x: Any, dtype: str) -> Any:
    if isinstance(x, values.SymbolicArray):
        return values.cast(x, dtype)
    return ops.cast(x, device_dtype(dtype))


def saturate_cast(value: Any, dtype: str) -> Any:
    if "int" in dtype:
        limits = np.iinfo(dtype)
        value = ops.clip(value, limits.min, limits.max)
    return ops.cast(value, dtype)


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: str | None = None,
) -> Any:
    axis = -1 if axis is None else axis
    (count,) = integers(depth)
    kind = dtype or "float32"
    on, off = ops.cast(1 if on_value is None else on_value, kind), off_value or 0
    chosen = ops.one_hot(indices, count, axis=axis, dtype="bool")
    return ops.where(chosen, on, ops.cast(off, kind))


def ones_like(
    input: Any = None, dtype: Any = None, tensor: Any = None, layout: Any = None
) -> Any:
    return ops.ones_like(input if input is not None else tensor, dtype=dtype)


def zeros_like(
    input: Any = None, dtype: Any = None, tensor: Any = None, layout: Any = None
) -> Any:
    return ops.zeros_like(input if input is not None else tensor, dtype=dtype)


def zeros(shape: Any, dtype: str = "float32", layout: Any = None) -> Any:
    return ops.zeros(integers(shape), dtype=dtype)


def ones(shape: Any, dtype: str = "float32", layout: Any = None) -> Any:
    return ops.ones(integers(shape), dtype=dtype)


def fill(dims: Any, value: Any, layout: Any = None) -> Any:
    value = ops.convert_to_tensor(value)
    return ops.full(integers(dims), value, dtype=value.dtype)


def broadcast_to(input: Any, shape: Any) -> Any:
    return ops.broadcast_to(input, integers(shape))


def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None) -> Any:
    if limit is None:
        start, limit = 0, start
    bounds = [integers(part)[0] for part in (start, limit, delta)]
    if any(map(values.is_symbol, bounds)):
        return ops.arange(*bounds, dtype=dtype or "int32")
    return np.arange(*bounds, dtype=dtype or "int32")


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING") -> Any:
    result = ops.sort(values, axis=axis)
    return ops.flip(result, axis=axis) if direction == "DESCENDING" else result


def argsort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False
) -> Any:
    if direction == "DESCENDING":
        values = ops.negative(values)
    return ops.cast(ops.argsort(values, axis=axis), "int32")


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: str = "bool") -> Any:
    if maxlen is None:
        raise UnsupportedError("The size of a sequence mask depends on the data.")
    (length,) = integers(maxlen)
    steps = ops.arange(length, dtype=lengths.dtype)
    return ops.cast(steps < ops.expand_dims(lengths, -1), dtype)


def searchsorted(
    sorted_sequence: Any, values: Any, side: str = "left", out_type: str = "int32"
) -> Any:
    compare = ops.less if side == "left" else ops.less_equal
    below = compare(ops.expand_dims(sorted_sequence, -2), ops.expand_dims(values, -1))
    return ops.sum(ops.cast(below, out_type), axis=-1)


def scatter_nd(
    indices: Any, updates: Any, shape: Any, bad_indices_policy: str = ""
) -> Any:
    return ops.scatter(ops.convert_to_tensor(indices), updates, integers(shape))


def tensor_scatter_nd_update(
    tensor: Any, indices: Any, updates: Any, bad_indices_policy: str = ""
) -> Any:
    updates = ops.convert_to_tensor(updates, dtype=tensor.dtype)
    return ops.scatter_update(tensor, ops.convert_to_tensor(indices), updates)


def unravel_index(indices: Any, dims: Any) -> Any:
    return ops.stack(ops.unravel_index(indices, integers(dims)), axis=0)


def identity(input: Any) -> Any:
    return input


def stop_gradient(input: Any) -> Any:
    return ops.stop_gradient(input)


def meshgrid(*tensors: Any, indexing: str = "xy") -> Any:
    return list(ops.meshgrid(*tensors, indexing=indexing))


def ensure_shape(x: Any, shape: Any) -> Any:
    return x


def linspace(start: Any, stop: Any, num: int, axis: int = 0) -> Any:
    return ops.linspace(start, stop, int(num), axis=axis)


def eye(
    num_rows: Any,
    num_columns: Any = None,
    batch_shape: Any = None,
    dtype: str = "float32",
) -> Any:
    columns = None if num_columns is None else integers(num_columns)[0]
    result = ops.eye(integers(num_rows)[0], columns, dtype=dtype)
    if batch_shape is None:
        return result
    return ops.broadcast_to(result, (*integers(batch_shape), *result.shape))


SYMBOLS: dict[str, Callable[..., Any]] = {
    "shape": shape,
    "compat.v1.shape": shape,
    "size": size,
    "compat.v1.size": size,
    "rank": rank,
    "reshape": reshape,
    "compat.v1.reshape": reshape,
    "transpose": transpose,
    "compat.v1.transpose": transpose,
    "expand_dims": expand_dims,
    "compat.v1.expand_dims": expand_dims,
    "squeeze": squeeze,
    "compat.v1.squeeze": squeeze,
    "concat": concat,
    "compat.v1.concat": concat,
    "stack": stack,
    "unstack": unstack,
    "split": split,
    "tile": tile,
    "repeat": repeat,
    "pad": pad,
    "compat.v1.pad": pad,
    "reverse": reverse,
    "roll": roll,
    "slice": slice_,
    "strided_slice": strided_slice,
    "__operators__.getitem": getitem,
    "gather": gather,
    "compat.v1.gather": gather,
    "gather_nd": gather_nd,
    "compat.v1.gather_nd": gather_nd,
    "boolean_mask": boolean_mask,
    "compat.v1.boolean_mask": boolean_mask,
    "where": where,
    "compat.v1.where": where,
    "cast": cast,
    "compat.v1.to_float": lambda x: ops.cast(x, "float32"),
    "compat.v1.to_int32": lambda x: ops.cast(x, "int32"),
    "compat.v1.to_int64": lambda x: cast(x, "int64"),
    "dtypes.cast": cast,
    "dtypes.saturate_cast": saturate_cast,
    "saturate_cast": saturate_cast,
    "bitcast": lambda input, type: ops.view(input, dtype=type),
    "one_hot": one_hot,
    "ones_like": ones_like,
    "compat.v1.ones_like": ones_like,
    "zeros_like": zeros_like,
    "compat.v1.zeros_like": zeros_like,
    "zeros": zeros,
    "ones": ones,
    "fill": fill,
    "eye": eye,
    "linspace": linspace,
    "range": range_,
    "broadcast_to": broadcast_to,
    "sort": sort,
    "argsort": argsort,
    "sequence_mask": sequence_mask,
    "searchsorted": searchsorted,
    "scatter_nd": scatter_nd,
    "tensor_scatter_nd_update": tensor_scatter_nd_update,
    "unravel_index": unravel_index,
    "identity": identity,
    "stop_gradient": stop_gradient,
    "meshgrid": meshgrid,
    "ensure_shape": ensure_shape,
}
