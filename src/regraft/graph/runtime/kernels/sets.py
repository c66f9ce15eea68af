"""Sets in the last axis of tensors, and how far sequences are from one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.registry import kernel

Place = tuple[int, ...]
Groups = dict[Place, list[Any]]
Sparse = tuple[Any, Any, Any]

_OPERATIONS: dict[str, Callable[[set[Any], set[Any]], set[Any]]] = {
    "a-b": lambda a, b: a - b,
    "b-a": lambda a, b: b - a,
    "intersection": lambda a, b: a & b,
    "union": lambda a, b: a | b,
}


def _sparse_groups(indices: Any, items: Any) -> Groups:
    """Returns what stands in each row, by the row's place."""
    found: Groups = {}
    for index, item in zip(indices.tolist(), items.tolist(), strict=True):
        found.setdefault(tuple(index[:-1]), []).append(item)
    return found


def _dense_groups(x: Any) -> Groups:
    rows = x.reshape(-1, x.shape[-1])
    places = np.ndindex(*x.shape[:-1])
    return {place: row.tolist() for place, row in zip(places, rows, strict=True)}


def _combined(one: Groups, other: Groups, shape: Any, how: str, dtype: Any) -> Sparse:
    operation = _OPERATIONS[how]
    indices, items = [], []
    longest = 0
    for place in sorted(one.keys() | other.keys()):
        row = sorted(operation(set(one.get(place, ())), set(other.get(place, ()))))
        indices += [(*place, i) for i in range(len(row))]
        items += row
        longest = max(longest, len(row))
    out = np.empty(len(items), dtype)
    out[:] = items
    rank = len(shape)
    return (
        np.array(indices, np.int64).reshape(-1, rank),
        out,
        np.array([*shape[:-1], longest], np.int64),
    )


@kernel("DenseToDenseSetOperation", host=True, ignored=("validate_indices",))
def dense_to_dense_set_operation(set1: Any, set2: Any, *, set_operation: str) -> Sparse:
    """Differences, intersections or unions of rows."""
    one, other = _dense_groups(set1), _dense_groups(set2)
    return _combined(one, other, set1.shape, set_operation, set1.dtype)


@kernel("DenseToSparseSetOperation", host=True, ignored=("validate_indices",))
def dense_to_sparse_set_operation(
    set1: Any,
    set2_indices: Any,
    set2_values: Any,
    set2_shape: Any,
    *,
    set_operation: str,
) -> Sparse:
    """Differences, intersections or unions of rows, the second ones sparse."""
    del set2_shape
    other = _sparse_groups(set2_indices, set2_values)
    one = _dense_groups(set1)
    return _combined(one, other, set1.shape, set_operation, set1.dtype)


@kernel("SparseToSparseSetOperation", host=True, ignored=("validate_indices",))
def sparse_to_sparse_set_operation(
    set1_indices: Any,
    set1_values: Any,
    set1_shape: Any,
    set2_indices: Any,
    set2_values: Any,
    set2_shape: Any,
    *,
    set_operation: str,
) -> Sparse:
    """Differences, intersections or unions of sparse rows."""
    del set2_shape
    one = _sparse_groups(set1_indices, set1_values)
    other = _sparse_groups(set2_indices, set2_values)
    shape = [int(n) for n in set1_shape]
    return _combined(one, other, shape, set_operation, set1_values.dtype)


@kernel("SetSize", host=True, ignored=("validate_indices",))
def set_size(set_indices: Any, set_values: Any, set_shape: Any) -> Any:
    """How many different entries each row has."""
    out = np.zeros(values.checked([int(n) for n in set_shape[:-1]]), np.int32)
    for place, row in _sparse_groups(set_indices, set_values).items():
        out[place] = len(set(row))
    return out


def _distance(one: list[Any], other: list[Any]) -> int:
    """Returns how many entries are added, removed or replaced at least."""
    before = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        row = [i]
        for j, b in enumerate(other, start=1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (a != b)))
        before = row
    return before[-1]


@kernel("EditDistance", host=True)
def edit_distance(
    hypothesis_indices: Any,
    hypothesis_values: Any,
    hypothesis_shape: Any,
    truth_indices: Any,
    truth_values: Any,
    truth_shape: Any,
    *,
    normalize: bool,
) -> Any:
    """Levenshtein distances between rows."""
    shape = np.maximum(hypothesis_shape, truth_shape)[:-1]
    out = np.zeros(values.checked([int(n) for n in shape]), np.float32)
    found = _sparse_groups(hypothesis_indices, hypothesis_values)
    truth = _sparse_groups(truth_indices, truth_values)
    for place in np.ndindex(*out.shape):
        one, other = found.get(place, []), truth.get(place, [])
        distance = float(_distance(one, other))
        if normalize and other:
            distance /= len(other)
        elif normalize and one:
            distance = float("inf")
        out[place] = distance
    return out
