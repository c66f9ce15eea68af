"""Counts of numbers per row as sparse tensors, on the host."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.registry import kernel

_kernel = functools.partial(kernel, host=True, ignored=("T",))

Sparse = tuple[Any, Any, Any]


def _counted(
    owners: Any,
    numbers: Any,
    weights: Any,
    count: int | None,
    minlength: int,
    maxlength: int,
    binary: bool,
    dtype: str,
) -> Sparse:
    """Counts the numbers of each row.

    Args:
        owners: The row of each number.
        numbers: A vector of them.
        weights: How much each number counts; empty if all count alike.
        count: How many rows there are; `None` for a result of one axis.
        minlength: Least width of the result; -1 for no bound.
        maxlength: Numbers from here on are left out; -1 for no bound.
        binary: Whether a number counts once.
        dtype: Of the counts.
    """
    pairs = np.stack([owners, numbers], axis=1).astype(np.int64)
    if maxlength >= 0:
        inside = numbers < maxlength
        pairs, weights = pairs[inside], weights[inside] if weights.size else weights
    places, which = np.unique(pairs, axis=0, return_inverse=True)
    if binary:
        counts: Any = np.ones(len(places))
    else:
        given = weights.astype(np.float64) if weights.size else None
        counts = np.bincount(which.reshape(-1), given, len(places))
    width = maxlength if maxlength >= 0 else int(places[:, 1].max(initial=-1)) + 1
    width = max(width, minlength)
    return (
        places[:, 1:] if count is None else places,
        counts.astype(values.numpy_dtype(dtype)),
        np.array([width] if count is None else [count, width], np.int64),
    )


@_kernel("DenseCountSparseOutput")
def dense_count_sparse_output(
    values_in: Any,
    weights: Any,
    *,
    minlength: int,
    maxlength: int,
    binary_output: bool,
    output_type: str,
) -> Sparse:
    """How often each number occurs, per row of a dense tensor."""
    batched = values_in.ndim > 1
    count = len(values_in) if batched else None
    width = values_in.shape[-1]
    return _counted(
        np.repeat(np.arange(1 if count is None else count), width),
        values_in.reshape(-1),
        weights.reshape(-1),
        count,
        *(minlength, maxlength, binary_output, output_type),
    )


@_kernel("SparseCountSparseOutput")
def sparse_count_sparse_output(
    indices: Any,
    values_in: Any,
    dense_shape: Any,
    weights: Any,
    *,
    minlength: int,
    maxlength: int,
    binary_output: bool,
    output_type: str,
) -> Sparse:
    """How often each number occurs, per row of a sparse tensor."""
    batched = len(dense_shape) > 1
    return _counted(
        indices[:, 0] if batched else np.zeros(len(indices), np.int64),
        values_in,
        weights,
        int(dense_shape[0]) if batched else None,
        *(minlength, maxlength, binary_output, output_type),
    )


@_kernel("RaggedCountSparseOutput")
def ragged_count_sparse_output(
    splits: Any,
    values_in: Any,
    weights: Any,
    *,
    minlength: int,
    maxlength: int,
    binary_output: bool,
    output_type: str,
) -> Sparse:
    """How often each number occurs, per row of a ragged tensor."""
    return _counted(
        np.repeat(np.arange(len(splits) - 1), np.diff(splits)),
        values_in,
        weights,
        len(splits) - 1,
        *(minlength, maxlength, binary_output, output_type),
    )
