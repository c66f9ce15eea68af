"""Counts of numbers per row as sparse tensors, on the host."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.registry import kernel

_kernel = functools.partial(kernel, host=True, ignored=("T",))

Sparse = tuple[Any, Any, Any]


def _counted(
    rows: Iterable[tuple[int, Any, Any]],
    count: int | None,
    minlength: int,
    maxlength: int,
    binary: bool,
    dtype: str,
) -> Sparse:
    """Counts the numbers of each row.

    Args:
        rows: Its place, its numbers, and their weights, which may be empty.
        count: How many rows there are; `None` for a result of one axis.
        minlength: Least width of the result; -1 for no bound.
        maxlength: Numbers from here on are left out; -1 for no bound.
        binary: Whether a number counts once.
        dtype: Of the counts.
    """
    places: list[Any] = []
    found: list[Any] = []
    width = 0
    for place, numbers, weights in rows:
        if maxlength >= 0:
            weights = weights[numbers < maxlength] if len(weights) else weights
            numbers = numbers[numbers < maxlength]
        distinct, which = np.unique(numbers, return_inverse=True)
        counts: Any
        if binary:
            counts = np.ones(len(distinct))
        else:
            given = weights.astype(np.float64) if len(weights) else None
            counts = np.bincount(which, given, len(distinct))
        width = max(width, int(distinct.max(initial=-1)) + 1)
        column = distinct.astype(np.int64)[:, None]
        if count is not None:
            column = np.concatenate([np.full_like(column, place), column], axis=1)
        places.append(column)
        found.append(counts)
    width = max(width, minlength) if maxlength < 0 else max(maxlength, minlength)
    rank = 1 if count is None else 2
    return (
        np.concatenate([np.zeros((0, rank), np.int64), *places]),
        np.concatenate([np.zeros(0), *found]).astype(values.numpy_dtype(dtype)),
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
    numbers = values_in if batched else values_in[None]
    scales = weights.reshape(numbers.shape) if weights.size else [()] * len(numbers)
    rows = zip(range(len(numbers)), numbers, scales, strict=True)
    count = len(numbers) if batched else None
    return _counted(rows, count, minlength, maxlength, binary_output, output_type)


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
    count = int(dense_shape[0]) if batched else None
    owners = indices[:, 0] if batched else np.zeros(len(indices), np.int64)
    rows = []
    for place in np.unique(owners).tolist():
        chosen = owners == place
        rows.append((place, values_in[chosen], weights[chosen] if weights.size else ()))
    return _counted(rows, count, minlength, maxlength, binary_output, output_type)


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
    rows = [
        (
            place,
            values_in[begin:end],
            weights[begin:end] if weights.size else (),
        )
        for place, (begin, end) in enumerate(itertools.pairwise(splits))
    ]
    return _counted(
        rows, len(splits) - 1, minlength, maxlength, binary_output, output_type
    )
