"""Ragged tensors: values with the places where rows end."""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.errors import MismatchError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.registry import kernel


def _splits(kind: str, tensor: Any, row_count: int | None) -> Any:
    """Returns where rows end, for any way of saying it."""
    if kind == "ROW_SPLITS":
        return tensor.astype(np.int64)
    if kind == "ROW_LENGTHS":
        return np.concatenate([[0], np.cumsum(tensor)])
    if kind == "VALUE_ROWIDS":
        count = row_count if row_count is not None else int(tensor.max(initial=-1)) + 1
        return np.concatenate([[0], np.cumsum(np.bincount(tensor, minlength=count))])
    if kind == "ROW_LIMITS":
        return np.concatenate([[0], tensor])
    raise MismatchError(f"Row partition of kind '{kind}'.")


def _all_splits(kinds: tuple[str, ...], tensors: list[Any]) -> list[Any]:
    first: int | None = None
    out: list[Any] = []
    for kind, tensor in zip(kinds, tensors, strict=True):
        if kind == "FIRST_DIM_SIZE":
            first = int(tensor)
            continue
        # As many rows as the partition before has values.
        count = int(out[-1][-1]) if out else first
        out.append(_splits(kind, tensor, count))
    return out


def dense_places(splits: list[Any], lengths: list[int]) -> Any:
    """Returns, per place of the dense form, which value stands there; -1 if none."""
    places = np.arange(len(splits[0]) - 1)[: lengths[0]]
    full = np.full(lengths[0], -1, np.int64)
    full[: len(places)] = places
    places = full
    for partition, width in zip(splits, lengths[1:], strict=True):
        known = places >= 0
        safe = np.where(known, places, 0)
        if len(partition) < 2:
            return np.full((*places.shape, *lengths[-1:]), -1, np.int64)
        start = partition[safe][..., None]
        end = partition[safe + 1][..., None]
        inner = start + np.arange(width)
        places = np.where(known[..., None] & (inner < end), inner, -1)
    return places


@kernel(
    "RaggedTensorToTensor",
    static=("shape", "row_partition_tensors"),
    ignored=("Tindex", "Tshape", "num_row_partition_tensors"),
)
def ragged_tensor_to_tensor(
    shape: Any,
    flat_values: Any,
    default_value: Any,
    row_partition_tensors: list[Any],
    *,
    row_partition_types: tuple[str, ...],
) -> Any:
    """A ragged tensor as a dense one, filled with a default."""
    splits = _all_splits(row_partition_types, row_partition_tensors)
    widths = [len(splits[0]) - 1]
    widths += [int(np.diff(s).max(initial=0)) for s in splits]
    if shape.ndim:
        asked = shape.tolist()[: len(widths)]
        widths = [w if a < 0 else a for w, a in zip(widths, asked, strict=False)]
    places = dense_places(splits, widths)
    count = values.shape_of(flat_values)[0]
    rest = values.shape_of(flat_values)[1:]
    if not count:
        return xp.broadcast_to(default_value, (*places.shape, *rest))
    taken = xp.take(flat_values, np.maximum(places, 0), axis=0)
    mask = (places >= 0).reshape(*places.shape, *(1,) * len(rest))
    return xp.where(mask, taken, default_value)


@kernel(
    "RaggedTensorToSparse",
    static=("rt_nested_splits",),
    ignored=("RAGGED_RANK", "Tsplits"),
)
def ragged_tensor_to_sparse(
    rt_nested_splits: list[Any], rt_dense_values: Any
) -> tuple[Any, Any, Any]:
    """A ragged tensor as a sparse one."""
    widths = [len(rt_nested_splits[0]) - 1]
    widths += [int(np.diff(s).max(initial=0)) for s in rt_nested_splits]
    places = dense_places(list(rt_nested_splits), widths)
    inner = values.shape_of(rt_dense_values)[1:]
    indices = np.argwhere(places >= 0)
    if inner:
        grid = np.indices(inner).reshape(len(inner), -1).T
        indices = np.concatenate(
            [np.repeat(indices, len(grid), 0), np.tile(grid, (len(indices), 1))], axis=1
        )
    dense = np.array([*widths, *inner], np.int64)
    return indices.astype(np.int64), xp.reshape(rt_dense_values, (-1,)), dense


@kernel("RaggedRange", static=("starts", "limits", "deltas"), ignored=("T",))
def ragged_range(
    starts: Any, limits: Any, deltas: Any, *, Tsplits: str
) -> tuple[Any, Any]:
    """A range per row."""
    rows = [
        np.arange(a, b, d, dtype=starts.dtype)
        for a, b, d in np.broadcast(starts, limits, deltas)
    ]
    splits = np.cumsum([0, *map(len, rows)]).astype(values.numpy_dtype(Tsplits))
    return splits, np.concatenate([np.zeros(0, starts.dtype), *rows])


@kernel(
    "RaggedGather",
    static=("params_nested_splits", "indices"),
    ignored=("Tindices", "Tsplits", "PARAMS_RAGGED_RANK", "OUTPUT_RAGGED_RANK"),
)
def ragged_gather(
    params_nested_splits: list[Any], params_dense_values: Any, indices: Any
) -> tuple[list[Any], Any]:
    """Rows of a ragged tensor."""
    out: list[Any] = []
    shape = indices.shape
    for width in shape[1:]:
        out.append(np.arange(0, int(np.prod(shape[:-1])) * width + 1, width))
    rows = indices.reshape(-1).astype(np.int64)
    for splits in params_nested_splits:
        lengths = splits[rows + 1] - splits[rows]
        out.append(np.concatenate([[0], np.cumsum(lengths)]).astype(splits.dtype))
        parts = [np.arange(splits[r], splits[r + 1]) for r in rows]
        rows = np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)
    return out, xp.take(params_dense_values, rows, axis=0)


@kernel(
    "RaggedBincount",
    static=("splits", "values_in", "size", "weights"),
    ignored=("Tidx",),
)
def ragged_bincount(
    splits: Any, values_in: Any, size: Any, weights: Any, *, binary_output: bool, T: str
) -> Any:
    """Counts of numbers per row of a ragged tensor."""
    count = int(size)
    rows = np.repeat(np.arange(len(splits) - 1), np.diff(splits))
    out = np.zeros((len(splits) - 1, count), values.numpy_dtype(T))
    inside = values_in < count
    scale = weights[inside] if weights.size else np.ones(inside.sum(), out.dtype)
    if binary_output:
        out[rows[inside], values_in[inside]] = 1
    else:
        np.add.at(out, (rows[inside], values_in[inside]), scale)
    return out
