"""Sparse tensors: indices, values, and the shape of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regraft.errors import MismatchError
from regraft.graph.runtime.kernels import hashing, values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.kernels.gather import scatter_nd
from regraft.graph.runtime.registry import kernel


@kernel(
    "SparseToDense",
    static=("output_shape",),
    ignored=("Tindices", "validate_indices"),
)
def sparse_to_dense(
    sparse_indices: Any, output_shape: Any, sparse_values: Any, default_value: Any
) -> Any:
    """A dense tensor with values in some places, a default elsewhere."""
    base = xp.broadcast_to(default_value, values.dims(output_shape))
    rank = values.rank_of(base)
    if values.rank_of(sparse_indices) < 2:
        sparse_indices = xp.reshape(sparse_indices, (-1, rank))
    return scatter_nd(base, sparse_indices, sparse_values, "update")


def _flat(indices: Any, shape: Any) -> Any:
    if not len(shape):
        return np.zeros(len(indices), np.int64)
    return np.ravel_multi_index(tuple(indices.T), tuple(int(n) for n in shape))


@kernel("SparseReshape", static=("input_indices", "input_shape", "new_shape"))
def sparse_reshape(
    input_indices: Any, input_shape: Any, new_shape: Any
) -> tuple[Any, Any]:
    """Indices and shape of the same values in another shape."""
    shape = new_shape.astype(np.int64)
    total = int(np.prod(input_shape))
    if (shape == -1).any():
        known = int(np.prod(shape[shape != -1]))
        shape = np.where(shape == -1, total // max(known, 1), shape)
    flat = _flat(input_indices, input_shape)
    indices = np.stack(np.unravel_index(flat, tuple(shape)), axis=1)
    return indices.astype(np.int64).reshape(-1, len(shape)), shape


@kernel("SparseReorder", static=("input_indices", "input_shape"))
def sparse_reorder(
    input_indices: Any, input_values: Any, input_shape: Any
) -> tuple[Any, Any]:
    """Indices and values in the order of the dense tensor."""
    order = np.argsort(_flat(input_indices, input_shape), kind="stable")
    return input_indices[order], xp.take(input_values, order, axis=0)


@kernel("SparseFillEmptyRows", static=("indices", "dense_shape"))
def sparse_fill_empty_rows(
    indices: Any, values_in: Any, dense_shape: Any, default_value: Any
) -> tuple[Any, Any, Any, Any]:
    """A default in the first place of each row that has no value."""
    count = int(dense_shape[0])
    rows = indices[:, 0]
    empty = ~np.isin(np.arange(count), rows)
    added = np.zeros((int(empty.sum()), indices.shape[1]), indices.dtype)
    added[:, 0] = np.flatnonzero(empty)
    every = np.concatenate([indices, added])
    order = np.argsort(every[:, 0], kind="stable")
    filler = xp.broadcast_to(default_value, (len(added),))
    joined = xp.concatenate([values_in, filler], axis=0)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return every[order], xp.take(joined, order, axis=0), empty, back[: len(indices)]


@kernel("RaggedFillEmptyRows", static=("value_rowids", "nrows"))
def ragged_fill_empty_rows(
    value_rowids: Any, values_in: Any, nrows: Any, default_value: Any
) -> tuple[Any, Any, Any, Any]:
    """A default in each row of ragged ones that has no value."""
    places, found, empty, back = sparse_fill_empty_rows(
        value_rowids[:, None], values_in, nrows.reshape(1), default_value
    )
    return places[:, 0], found, empty, back


@kernel("SparseTensorDenseMatMul", static=("a_shape",), ignored=("Tindices",))
def sparse_tensor_dense_mat_mul(
    a_indices: Any,
    a_values: Any,
    a_shape: Any,
    b: Any,
    *,
    adjoint_a: bool,
    adjoint_b: bool,
) -> Any:
    """Product of a sparse and a dense matrix."""
    rows, columns = a_indices[:, 0:1], a_indices[:, 1]
    height, width = values.dims(a_shape)
    if adjoint_a:
        rows, columns = a_indices[:, 1:2], a_indices[:, 0]
        height, width = width, height
        a_values = _conjugate(a_values)
    if adjoint_b:
        b = _conjugate(xp.swapaxes(b, 0, 1))
    if values.shape_of(b)[0] != width:
        raise MismatchError(
            f"Can't multiply a sparse matrix of {width} columns by a dense one of "
            f"{values.shape_of(b)[0]} rows."
        )
    # As many products as the sparse one has entries: the whole may be huge.
    parts = xp.multiply(xp.expand_dims(a_values, 1), xp.take(b, columns, axis=0))
    numpy = values.numpy_dtype(values.dtype_of(parts))
    shape = values.checked((height, *values.shape_of(b)[1:]))
    return scatter_nd(np.zeros(shape, numpy), rows, parts, "add")


def _conjugate(value: Any) -> Any:
    is_complex = values.dtype_of(value).startswith("complex")
    return xp.conjugate(value) if is_complex else value


@kernel("SparseConcat", static=("indices", "shapes"), ignored=("N",))
def sparse_concat(
    indices: list[Any], values_in: list[Any], shapes: list[Any], *, concat_dim: int
) -> tuple[Any, Any, Any]:
    """Sparse tensors one after the other along an axis."""
    axis = concat_dim % len(shapes[0])
    moved = []
    start = 0
    for index, shape in zip(indices, shapes, strict=True):
        shifted = index.copy()
        shifted[:, axis] += start
        start += int(shape[axis])
        moved.append(shifted)
    whole = np.max(shapes, axis=0)
    whole[axis] = start
    every = np.concatenate(moved)
    order = np.argsort(_flat(every, whole), kind="stable")
    joined = xp.concatenate(values_in, axis=0)
    return every[order], xp.take(joined, order, axis=0), whole


@kernel("SparseSlice", static=("indices", "shape", "start", "size"))
def sparse_slice(
    indices: Any, values_in: Any, shape: Any, start: Any, size: Any
) -> tuple[Any, Any, Any]:
    """A block of a sparse tensor."""
    end = np.minimum(start + size, shape)
    inside = ((indices >= start) & (indices < end)).all(axis=1)
    places = np.flatnonzero(inside)
    found = xp.take(values_in, places, axis=0)
    return indices[places] - start, found, np.maximum(end - start, 0)


@kernel("SparseReduceSum", static=("input_indices", "input_shape", "reduction_axes"))
def sparse_reduce_sum(
    input_indices: Any,
    input_values: Any,
    input_shape: Any,
    reduction_axes: Any,
    *,
    keep_dims: bool,
) -> Any:
    """Sums of a sparse tensor along axes, dense."""
    rank = len(input_shape)
    axes = {axis % rank for axis in values.dims(reduction_axes)}
    left = [axis for axis in range(rank) if axis not in axes]
    lengths = values.checked(values.dims(input_shape[left]))
    numpy = values.numpy_dtype(values.dtype_of(input_values))
    if left:
        base = np.zeros(lengths, numpy)
        found = scatter_nd(base, input_indices[:, left], input_values, "add")
    else:
        found = xp.sum(input_values)
    if not keep_dims:
        return found
    whole = values.dims(input_shape)
    return xp.reshape(found, [1 if a in axes else whole[a] for a in range(rank)])


@kernel(
    "SparseBincount",
    static=("indices", "values_in", "dense_shape", "size", "weights"),
    ignored=("Tidx",),
)
def sparse_bincount(
    indices: Any,
    values_in: Any,
    dense_shape: Any,
    size: Any,
    weights: Any,
    *,
    binary_output: bool,
    T: str,
) -> Any:
    """Counts of a sparse tensor's numbers, per row."""
    count = int(size)
    one = len(dense_shape) == 1
    rows = np.zeros(len(indices), np.int64) if one else indices[:, 0]
    out = np.zeros((1 if one else int(dense_shape[0]), count), values.numpy_dtype(T))
    inside = values_in < count
    scale = weights[inside] if weights.size else np.ones(int(inside.sum()), out.dtype)
    if binary_output:
        out[rows[inside], values_in[inside]] = 1
    else:
        np.add.at(out, (rows[inside], values_in[inside]), scale)
    return out[0] if one else out


# Crosses of features


def _hashed(item: Any, key: tuple[int, ...], strong: bool) -> int:
    if not isinstance(item, bytes):
        # TensorFlow hashes the lower half of a whole number only.
        item = (int(item) & 0xFFFFFFFF).to_bytes(4, "little")
    return hashing.siphash(item, key) if strong else hashing.fingerprint64(item)


def _columns(
    indices: list[Any], found: list[Any], shapes: list[Any], dense: list[Any]
) -> tuple[int, list[Callable[[int], list[Any]]]]:
    """Returns the number of rows, and per column what each row holds."""
    columns: list[Callable[[int], list[Any]]] = []
    count = max([int(s[0]) for s in shapes] + [len(d) for d in dense], default=0)
    for index, items in zip(indices, found, strict=True):
        rows: list[list[Any]] = [[] for _ in range(count)]
        for row, item in zip(index[:, 0].tolist(), items.tolist(), strict=True):
            rows[row].append(item)
        columns.append(rows.__getitem__)
    columns += [np.asarray(d).tolist().__getitem__ for d in dense]
    return count, columns


def _crossed(count: int, columns: Any, cross: Callable[[list[Any]], Any]) -> Any:
    places = []
    out = []
    widest = 0
    for row in range(count):
        combinations: list[list[Any]] = [[]]
        for column in columns:
            combinations = [[*c, item] for c in combinations for item in column(row)]
        widest = max(widest, len(combinations))
        for place, combination in enumerate(combinations):
            places.append((row, place))
            out.append(cross(combination))
    indices = np.array(places, np.int64).reshape(-1, 2)
    return indices, out, np.array([count, widest], np.int64)


def _hash_of(hash_key: int, num_buckets: int) -> Callable[[list[Any]], int]:
    """Returns what hashes a combination of values, in their order."""

    def cross(combination: list[Any]) -> int:
        joined = hash_key & 0xFFFFFFFFFFFFFFFF
        for item in combination:
            part = (
                hashing.fingerprint64(item)
                if isinstance(item, bytes)
                else int(item) & 0xFFFFFFFFFFFFFFFF
            )
            joined = hashing.fingerprint_cat64(joined, part)
        return joined % (num_buckets or 2**63 - 1)

    return cross


def _joined_by(separator: bytes) -> Callable[[list[Any]], bytes]:
    def cross(combination: list[Any]) -> bytes:
        return separator.join(
            item if isinstance(item, bytes) else str(item).encode()
            for item in combination
        )

    return cross


@kernel("SparseCrossHashed", host=True, ignored=("N", "sparse_types", "dense_types"))
def sparse_cross_hashed(
    indices: list[Any],
    values_in: list[Any],
    shapes: list[Any],
    dense_inputs: list[Any],
    num_buckets: Any,
    strong_hash: Any,
    salt: Any,
) -> tuple[Any, Any, Any]:
    """Hashes of all combinations of the columns' values, per row."""
    count, columns = _columns(indices, values_in, shapes, dense_inputs)
    buckets = int(num_buckets)
    key = tuple(int(s) & 0xFFFFFFFFFFFFFFFF for s in salt.reshape(-1))

    strong = bool(strong_hash.item())

    def cross(combination: list[Any]) -> int:
        joined, *rest = (_hashed(item, key, strong) for item in combination)
        for part in rest:
            joined = hashing.fingerprint_cat64(joined, part)
        return joined % (buckets or 2**63 - 1)

    places, found, shape = _crossed(count, columns, cross)
    return places, np.array(found, np.int64), shape


@kernel(
    "SparseCross",
    host=True,
    ignored=("N", "sparse_types", "dense_types", "out_type", "internal_type"),
)
def sparse_cross(
    indices: list[Any],
    values_in: list[Any],
    shapes: list[Any],
    dense_inputs: list[Any],
    *,
    hashed_output: bool,
    num_buckets: int,
    hash_key: int,
) -> tuple[Any, Any, Any]:
    """All combinations of the columns' values per row, as text or hashed."""
    if not hashed_output:
        sep = np.array(b"_X_", object)
        return sparse_cross_v2(indices, values_in, shapes, dense_inputs, sep)
    count, columns = _columns(indices, values_in, shapes, dense_inputs)

    cross = _hash_of(hash_key, num_buckets)
    places, found, shape = _crossed(count, columns, cross)
    return places, np.array(found, np.int64), shape


@kernel("SparseCrossV2", host=True, ignored=("N", "sparse_types", "dense_types"))
def sparse_cross_v2(
    indices: list[Any],
    values_in: list[Any],
    shapes: list[Any],
    dense_inputs: list[Any],
    sep: Any,
) -> tuple[Any, Any, Any]:
    """All combinations of the columns' values as text, per row."""
    count, columns = _columns(indices, values_in, shapes, dense_inputs)

    places, found, shape = _crossed(count, columns, _joined_by(sep.item()))
    out = np.empty(len(found), object)
    out[:] = found
    return places, out, shape


@kernel(
    "RaggedCross",
    host=True,
    ignored=(
        *("Nsparse", "ragged_values_types", "ragged_splits_types"),
        *("sparse_values_types", "dense_types"),
    ),
)
def ragged_cross(
    ragged_values: list[Any],
    ragged_row_splits: list[Any],
    sparse_indices: list[Any],
    sparse_values: list[Any],
    sparse_shape: list[Any],
    dense_inputs: list[Any],
    *,
    input_order: str,
    hashed_output: bool,
    num_buckets: int,
    hash_key: int,
    out_values_type: str,
    out_row_splits_type: str,
) -> tuple[Any, Any]:
    """All combinations of the columns' values per row, ragged."""
    count, others = _columns(sparse_indices, sparse_values, sparse_shape, dense_inputs)
    ragged: list[Callable[[int], list[Any]]] = []
    for found, splits in zip(ragged_values, ragged_row_splits, strict=True):
        count = max(count, len(splits) - 1)
        rows = [part.tolist() for part in np.split(found, splits[1:-1])]
        ragged.append(rows.__getitem__)
    sparse = len(sparse_indices)
    waiting = {"R": ragged, "S": others[:sparse], "D": others[sparse:]}
    columns = [waiting[kind].pop(0) for kind in input_order]
    cross = _hash_of(hash_key, num_buckets) if hashed_output else _joined_by(b"_X_")
    places, crossed, _ = _crossed(count, columns, cross)
    sizes = np.bincount(places[:, 0], minlength=count)
    splits_out = np.concatenate([[0], np.cumsum(sizes)])
    out = np.empty(len(crossed), values.numpy_dtype(out_values_type))
    out[:] = crossed
    return out, splits_out.astype(values.numpy_dtype(out_row_splits_type))
