"""Arithmetic of sparse tensors with each other and with dense ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.kernels.gather import scatter_nd
from regraft.graph.runtime.registry import kernel, register_table


def _united(a_indices: Any, b_indices: Any, shape: Any) -> tuple[Any, Any, Any]:
    """Returns all places in order, and the number of the place of each entry."""
    every = np.concatenate([a_indices, b_indices])
    lengths = tuple(int(n) for n in shape)
    flat = np.ravel_multi_index(tuple(every.T), lengths) if len(every) else every[:, 0]
    places, numbers = np.unique(flat, return_inverse=True)
    indices = (
        np.stack(np.unravel_index(places, lengths), axis=1)
        if len(places)
        else np.zeros((0, len(lengths)), np.int64)
    )
    return (
        indices.astype(np.int64),
        numbers[: len(a_indices)],
        numbers[len(a_indices) :],
    )


@kernel("SparseAdd", static=("a_indices", "a_shape", "b_indices", "b_shape", "thresh"))
def sparse_add(
    a_indices: Any,
    a_values: Any,
    a_shape: Any,
    b_indices: Any,
    b_values: Any,
    b_shape: Any,
    thresh: Any,
) -> tuple[Any, Any, Any]:
    """The sum; entries smaller than `thresh` are left out."""
    del b_shape
    indices, first, second = _united(a_indices, b_indices, a_shape)
    dtype = values.numpy_dtype(values.dtype_of(a_values))
    total = scatter_nd(
        np.zeros(len(indices), dtype),
        np.concatenate([first, second])[:, None],
        xp.concatenate([a_values, b_values], axis=0),
        "add",
    )
    if thresh > 0:
        kept = np.abs(values.static(total)) >= thresh
        indices, total = indices[kept], values.static(total)[kept]
    return indices, total, a_shape


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def kernel_function(
        a_indices: Any,
        a_values: Any,
        a_shape: Any,
        b_indices: Any,
        b_values: Any,
        b_shape: Any,
    ) -> tuple[Any, Any]:
        del b_shape
        indices, first, second = _united(a_indices, b_indices, a_shape)
        dtype = values.numpy_dtype(values.dtype_of(a_values))
        parts = [
            scatter_nd(np.zeros(len(indices), dtype), at[:, None], found, "update")
            for at, found in ((first, a_values), (second, b_values))
        ]
        return indices, choose(*parts)

    return kernel_function


register_table(
    {
        "SparseSparseMaximum": _extreme(lambda x, y: xp.maximum(x, y)),
        "SparseSparseMinimum": _extreme(lambda x, y: xp.minimum(x, y)),
    },
    static=("a_indices", "a_shape", "b_indices", "b_shape"),
)


@kernel("SparseTensorDenseAdd", static=("a_shape",), ignored=("Tindices",))
def sparse_tensor_dense_add(a_indices: Any, a_values: Any, a_shape: Any, b: Any) -> Any:
    """The dense sum."""
    del a_shape
    return scatter_nd(b, a_indices, a_values, "add")


def _with_dense(combine: Callable[..., Any]) -> Callable[..., Any]:
    def kernel_function(
        sp_indices: Any, sp_values: Any, sp_shape: Any, dense: Any
    ) -> Any:
        lengths = tuple(int(n) for n in sp_shape)
        flat = xp.reshape(xp.broadcast_to(dense, lengths), (-1,))
        places = np.ravel_multi_index(tuple(sp_indices.T), lengths)
        return combine(sp_values, xp.take(flat, places, axis=0))

    return kernel_function


register_table(
    {
        "SparseDenseCwiseAdd": _with_dense(lambda x, y: xp.add(x, y)),
        "SparseDenseCwiseMul": _with_dense(lambda x, y: xp.multiply(x, y)),
        "SparseDenseCwiseDiv": _with_dense(lambda x, y: xp.divide(x, y)),
    },
    static=("sp_indices", "sp_shape"),
)


@kernel("SparseSoftmax", static=("sp_indices", "sp_shape"))
def sparse_softmax(sp_indices: Any, sp_values: Any, sp_shape: Any) -> Any:
    """The softmax over the entries of each row."""
    lengths = tuple(int(n) for n in sp_shape[:-1])
    flat = np.ravel_multi_index(tuple(sp_indices[:, :-1].T), lengths)
    _, rows = np.unique(flat, return_inverse=True)
    count = int(rows.max()) + 1 if rows.size else 0
    dtype = values.numpy_dtype(values.dtype_of(sp_values))
    lowest = np.full(count, -np.inf, dtype)
    largest = scatter_nd(lowest, rows[:, None], sp_values, "max")
    powers = xp.exp(xp.subtract(sp_values, xp.take(largest, rows, axis=0)))
    total = scatter_nd(np.zeros(count, dtype), rows[:, None], powers, "add")
    return xp.divide(powers, xp.take(total, rows, axis=0))


@kernel("SparseReduceMax", static=("input_indices", "input_shape", "reduction_axes"))
def sparse_reduce_max(
    input_indices: Any,
    input_values: Any,
    input_shape: Any,
    reduction_axes: Any,
    *,
    keep_dims: bool,
) -> Any:
    """The largest entries along axes, dense; 0 where there are none."""
    rank = len(input_shape)
    axes = [int(axis) % rank for axis in reduction_axes.reshape(-1)]
    lengths = [1 if i in axes else int(n) for i, n in enumerate(input_shape)]
    places = np.where(np.isin(np.arange(rank), axes), 0, input_indices)
    flat = np.ravel_multi_index(tuple(places.T), tuple(lengths))
    dtype = values.numpy_dtype(values.dtype_of(input_values))
    count = int(np.prod(values.checked(tuple(lengths))))
    empty = ~np.isin(np.arange(count), flat)
    lowest = -np.inf if dtype.kind == "f" else np.iinfo(dtype).min
    found = scatter_nd(
        np.full(count, lowest, dtype), flat[:, None], input_values, "max"
    )
    out = xp.where(empty, np.zeros((), dtype), found)
    kept = [n for i, n in enumerate(lengths) if keep_dims or i not in axes]
    return xp.reshape(out, tuple(kept))


@kernel("SparseSplit", static=("split_dim", "indices", "shape"))
def sparse_split(
    split_dim: Any, indices: Any, values_in: Any, shape: Any, *, num_split: int
) -> tuple[list[Any], list[Any], list[Any]]:
    """Parts along an axis; the first ones are longer where it doesn't divide."""
    axis = int(split_dim) % len(shape)
    base, longer = divmod(int(shape[axis]), num_split)
    sizes = [base + (number < longer) for number in range(num_split)]
    places, found, shapes = [], [], []
    start = 0
    for size in sizes:
        inside = (indices[:, axis] >= start) & (indices[:, axis] < start + size)
        moved = indices[inside].copy()
        moved[:, axis] -= start
        places.append(moved)
        found.append(xp.take(values_in, np.flatnonzero(inside), axis=0))
        part = np.array(shape, np.int64)
        part[axis] = size
        shapes.append(part)
        start += size
    return places, found, shapes
