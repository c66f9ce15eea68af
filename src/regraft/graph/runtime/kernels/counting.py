"""Counts, order statistics, and sets: results whose length depends on values."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.registry import kernel


@kernel("Where", static=("input",))
def where(input: Any) -> Any:
    """Indices of all places that are not zero."""
    return np.argwhere(input).astype(np.int64)


def _unique(x: Any, out_idx: str, axis: int = 0) -> tuple[Any, Any, Any]:
    """Returns distinct rows in the order of their first occurrence."""
    moved = np.moveaxis(x, axis, 0) if x.ndim else x
    rows = moved.tolist() if moved.ndim == 1 else [r.tobytes() for r in moved]
    first: dict[Any, int] = {}
    index = np.empty(len(rows), np.int64)
    kept = []
    for i, row in enumerate(rows):
        if row not in first:
            first[row] = len(first)
            kept.append(i)
        index[i] = first[row]
    numpy = values.numpy_dtype(out_idx)
    counts = np.bincount(index, minlength=len(first)).astype(numpy)
    return np.moveaxis(moved[kept], 0, axis), index.astype(numpy), counts


@kernel("Unique", static=("x",))
def unique(x: Any, *, out_idx: str) -> tuple[Any, Any]:
    """Distinct values, and which of them stands in each place."""
    return _unique(x, out_idx)[:2]


@kernel("UniqueWithCounts", static=("x",))
def unique_with_counts(x: Any, *, out_idx: str) -> tuple[Any, Any, Any]:
    """Distinct values, which of them stands in each place, and how often."""
    return _unique(x, out_idx)


def _axis(axis: Any) -> int:
    return int(axis.reshape(-1)[0]) if axis.size else 0


@kernel("UniqueV2", static=("x", "axis"), ignored=("Taxis",))
def unique_v2(x: Any, axis: Any, *, out_idx: str) -> tuple[Any, Any]:
    """Distinct rows along an axis, and which of them stands in each place."""
    return _unique(x, out_idx, _axis(axis))[:2]


@kernel("UniqueWithCountsV2", static=("x", "axis"), ignored=("Taxis",))
def unique_with_counts_v2(x: Any, axis: Any, *, out_idx: str) -> tuple[Any, Any, Any]:
    """Distinct rows along an axis, which stands in each place, and how often."""
    return _unique(x, out_idx, _axis(axis))


@kernel("ListDiff", static=("x", "y"))
def list_diff(x: Any, y: Any, *, out_idx: str) -> tuple[Any, Any]:
    """Values of `x` that are not in `y`, and where they stand."""
    places = np.flatnonzero(~np.isin(x, y))
    return x[places], places.astype(values.numpy_dtype(out_idx))


@kernel("Bincount", static=("size",))
def bincount(arr: Any, size: Any, weights: Any, *, T: str) -> Any:
    """How often each number occurs, or the sum of its weights."""
    return _bins(xp.reshape(arr, (1, -1)), int(size), weights, False, T)[0]


@kernel("DenseBincount", static=("size",), ignored=("Tidx",))
def dense_bincount(
    input: Any, size: Any, weights: Any, *, binary_output: bool, T: str
) -> Any:
    """How often each number occurs, per row."""
    rank = values.rank_of(input)
    rows = input if rank > 1 else xp.reshape(input, (1, -1))
    out = _bins(rows, int(size), weights, binary_output, T)
    return out if rank > 1 else out[0]


def _bins(rows: Any, size: int, weights: Any, binary: bool, dtype: str) -> Any:
    if 0 in weights.shape:
        weights = np.ones((), values.numpy_dtype(dtype))
    else:
        weights = xp.expand_dims(xp.reshape(weights, values.shape_of(rows)), -1)
    numbers = np.arange(size, dtype=np.int32)
    hit = xp.equal(xp.expand_dims(rows, -1), numbers)
    if binary:
        return values.cast(values.normalized(xp.any(hit, axis=-2)), dtype)
    counted = xp.multiply(values.cast(hit, dtype), weights)
    return values.cast(values.normalized(xp.sum(counted, axis=-2)), dtype)


@kernel("LowerBound")
def lower_bound(sorted_inputs: Any, values_in: Any, *, out_type: str) -> Any:
    """First place in each sorted row where a value could stand."""
    return _bound(sorted_inputs, values_in, out_type, "left")


@kernel("UpperBound")
def upper_bound(sorted_inputs: Any, values_in: Any, *, out_type: str) -> Any:
    """Last place in each sorted row where a value could stand."""
    return _bound(sorted_inputs, values_in, out_type, "right")


def _bound(rows: Any, wanted: Any, dtype: str, side: str) -> Any:
    compare = xp.less if side == "left" else xp.less_equal
    below = compare(xp.expand_dims(rows, -2), xp.expand_dims(wanted, -1))
    counted = xp.sum(values.cast(below, "int32"), axis=-1)
    return values.cast(values.normalized(counted), dtype)


@kernel("Bucketize")
def bucketize(input: Any, *, boundaries: tuple[float, ...]) -> Any:
    """Between which boundaries each value lies."""
    if values.is_host(input):
        edges = np.array(boundaries, np.float32)
        return np.searchsorted(edges, input, side="right").astype(np.int32)
    x = values.cast(input, "float32")
    edges = np.array(boundaries, np.float32)
    return ops.cast(
        ops.searchsorted(edges, ops.reshape(x, (-1,)), side="right"), "int32"
    ).reshape(values.shape_of(x))


@kernel("HistogramFixedWidth", static=("nbins",))
def histogram_fixed_width(
    values_in: Any, value_range: Any, nbins: Any, *, dtype: str
) -> Any:
    """Counts in bins of equal width."""
    count = int(nbins)
    low, high = value_range[0], value_range[1]
    part = (values_in - low) / (high - low)
    places = values.cast(xp.clip(xp.floor(part * count), 0, count - 1), "int32")
    weights = np.zeros(0, values.numpy_dtype(dtype))
    return _bins(xp.reshape(places, (1, -1)), count, weights, False, dtype)[0]


def _top(input: Any, k: int, index_type: str) -> tuple[Any, Any]:
    found, places = ops.top_k(values.to_tensor(input), k)
    return found, values.cast(places, index_type)


@kernel("TopKV2", static=("k",), ignored=("sorted", "Tk"))
def top_k_v2(input: Any, k: Any, *, index_type: str) -> tuple[Any, Any]:
    """The `k` largest values of each row, and where they stand."""
    return _top(input, int(k), index_type)


@kernel("TopK", ignored=("sorted",))
def top_k(input: Any, *, k: int) -> tuple[Any, Any]:
    """The `k` largest values of each row, and where they stand."""
    return _top(input, k, "int32")


@kernel("NthElement", static=("n",))
def nth_element(input: Any, n: Any, *, reverse: bool) -> Any:
    """The n-th smallest (or largest) value of each row."""
    ordered = xp.sort(input, axis=-1)
    place = int(n)
    return ordered[..., -1 - place if reverse else place]


def _in_top(predictions: Any, targets: Any, k: int) -> Any:
    rows = values.to_tensor(predictions)
    targets = ops.cast(values.to_tensor(targets), "int32")
    own = ops.take_along_axis(rows, ops.expand_dims(targets, 1), axis=1)
    larger = ops.sum(ops.cast(rows > own, "int32"), axis=1)
    finite = ops.all(ops.isfinite(own), axis=1)
    return ops.logical_and(larger < k, finite)


@kernel("InTopK")
def in_top_k(predictions: Any, targets: Any, *, k: int) -> Any:
    """Whether a row's target is among its `k` largest values."""
    return _in_top(predictions, targets, k)


@kernel("InTopKV2", static=("k",))
def in_top_k_v2(predictions: Any, targets: Any, k: Any) -> Any:
    """Whether a row's target is among its `k` largest values."""
    return _in_top(predictions, targets, int(k))


@kernel("UnravelIndex", static=("dims",), ignored=("Tidx",))
def unravel_index(indices: Any, dims: Any) -> Any:
    """Flat places as indices, one row per axis."""
    lengths = values.dims(dims)
    parts = []
    rest = indices
    for length in reversed(lengths):
        parts.append(xp.mod(rest, length))
        rest = xp.floor_divide(rest, length)
    return xp.stack(parts[::-1], axis=0)
