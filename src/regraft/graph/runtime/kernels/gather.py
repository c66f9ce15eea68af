"""Rows and entries taken by index, and put back by index; segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from keras import ops

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.registry import kernel, register, register_table


def gather(params: Any, indices: Any, axis: int, batch_dims: int) -> Any:
    """Returns entries of `params` along an axis, per batch of both."""
    if not batch_dims:
        return xp.take(params, indices, axis=axis)
    rank = values.rank_of(params)
    moved = xp.moveaxis(params, axis, batch_dims)
    lengths = values.shape_of(moved)
    wanted = values.shape_of(indices)
    batch: Any = 1
    for length in lengths[:batch_dims]:
        batch = batch * length
    count = lengths[batch_dims]
    rest = lengths[batch_dims + 1 :]
    flat = xp.reshape(moved, (batch * count, *rest))
    rows = xp.reshape(indices, (batch, -1))
    first = _arange(batch) * count
    places = xp.add(values.cast(rows, "int32"), xp.expand_dims(first, 1))
    taken = xp.take(flat, places, axis=0)
    inner = wanted[batch_dims:]
    taken = xp.reshape(taken, (*lengths[:batch_dims], *inner, *rest))
    # The axes between the batch and `axis` stand behind those of the indices now.
    before = axis - batch_dims
    at = list(range(batch_dims, batch_dims + len(inner)))
    total = rank - 1 + len(inner)
    order = [
        *range(batch_dims),
        *range(batch_dims + len(inner), batch_dims + len(inner) + before),
        *at,
        *range(batch_dims + len(inner) + before, total - batch_dims),
    ]
    order += [i for i in range(len(values.shape_of(taken))) if i not in order]
    return xp.transpose(taken, tuple(order))


def _arange(count: Any) -> Any:
    if isinstance(count, int):
        return np.arange(count, dtype=np.int32)
    return ops.arange(count, dtype="int32")


@kernel("GatherV2", static=("axis",), ignored=("Taxis", "Tindices"))
def gather_v2(params: Any, indices: Any, axis: Any, *, batch_dims: int) -> Any:
    """Entries of `params` along an axis."""
    rank = values.rank_of(params)
    if batch_dims < 0:
        batch_dims += values.rank_of(indices)
    return gather(params, indices, values.scalar(axis) % max(rank, 1), batch_dims)


@kernel("Gather", ignored=("validate_indices", "Tindices"))
def gather_v1(params: Any, indices: Any) -> Any:
    """Rows of `params`."""
    return gather(params, indices, 0, 0)


def _flat_places(indices: Any, lengths: tuple[Any, ...]) -> Any:
    """Returns full indices as places in the flattened leading axes."""
    places: Any = None
    for i, length in enumerate(lengths):
        part = values.cast(indices[..., i], "int32")
        places = part if places is None else xp.add(xp.multiply(places, length), part)
    if places is None:
        return np.zeros(values.shape_of(indices)[:-1], np.int32)
    return places


def gather_nd(params: Any, indices: Any) -> Any:
    """Returns entries (or slices) of `params` by their leading indices."""
    depth = values.shape_of(indices)[-1]
    lengths = values.shape_of(params)
    if all(isinstance(n, int) for n in lengths[:depth]):
        head = int(np.prod(lengths[:depth], dtype=np.int64))
    else:
        head = -1
    flat = xp.reshape(params, (head, *lengths[depth:]))
    return xp.take(flat, _flat_places(indices, lengths[:depth]), axis=0)


@kernel("GatherNd", ignored=("Tindices", "bad_indices_policy"))
def gather_nd_op(params: Any, indices: Any) -> Any:
    """Entries (or slices) of `params` by their leading indices."""
    return gather_nd(params, indices)


# Scatter


def _combine_host(how: str, out: Any, places: Any, updates: Any) -> Any:
    if how == "update":
        out[places] = updates
        return out
    function = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.divide,
        "min": np.minimum,
        "max": np.maximum,
    }[how]
    function.at(out, places, updates)
    return out


def _combine_device(how: str, flat: Any, places: Any, updates: Any) -> Any:
    index = ops.expand_dims(places, -1)
    if how == "update":
        return ops.scatter_update(flat, index, updates)
    if how in ("add", "sub"):
        sign = updates if how == "add" else -updates
        return ops.add(flat, ops.scatter(index, sign, ops.shape(flat)))
    count = ops.shape(flat)[0]
    if how in ("min", "max"):
        sign = 1 if how == "max" else -1
        found = sign * ops.segment_max(sign * updates, places, num_segments=count)
        hit = ops.segment_sum(ops.ones_like(updates), places, num_segments=count) > 0
        best = ops.maximum(flat, found) if how == "max" else ops.minimum(flat, found)
        return ops.where(hit, best, flat)
    product = _product_device(updates, places, count)
    return flat * product if how == "mul" else flat / product


def _scatter_flat(base: Any, places: Any, updates: Any, depth: int, how: str) -> Any:
    lengths = values.shape_of(base)
    head: Any = 1
    for length in lengths[:depth]:
        head = head * length
    rest = lengths[depth:]
    updates = xp.broadcast_to(updates, (*values.shape_of(places), *rest))
    if values.is_host([base, places, updates]):
        flat = np.array(base).reshape(head, *rest)
        rows = updates.reshape(-1, *rest)
        return _combine_host(how, flat, places.reshape(-1), rows).reshape(lengths)
    flat = ops.reshape(values.to_tensor(base), (head, *rest))
    rows = ops.reshape(values.to_tensor(updates), (-1, *rest))
    spots = ops.reshape(values.to_tensor(places), (-1,))
    return ops.reshape(_combine_device(how, flat, spots, rows), lengths)


def scatter(base: Any, indices: Any, updates: Any, how: str) -> Any:
    """Returns `base` with rows changed."""
    return _scatter_flat(base, values.cast(indices, "int32"), updates, 1, how)


def scatter_nd(base: Any, indices: Any, updates: Any, how: str) -> Any:
    """Returns `base` with entries (or slices) changed, by leading indices."""
    depth = int(values.shape_of(indices)[-1])
    places = _flat_places(indices, values.shape_of(base)[:depth])
    return _scatter_flat(base, places, updates, depth, how)


@kernel("ScatterNd", static=("shape",), ignored=("bad_indices_policy",))
def scatter_nd_op(indices: Any, updates: Any, shape: Any) -> Any:
    """Zeros of `shape` with the updates added in their places."""
    dtype = values.dtype_of(updates)
    lengths = values.checked(values.dims(shape))
    zeros = np.zeros(lengths, values.numpy_dtype(dtype))
    if dtype == "string":
        zeros[...] = b""
        return scatter_nd(zeros, indices, updates, "update")
    return scatter_nd(zeros, indices, updates, "add")


def _tensor_scatter(how: str) -> Callable[..., Any]:
    def kernel_function(tensor: Any, indices: Any, updates: Any) -> Any:
        return scatter_nd(tensor, indices, updates, how)

    return kernel_function


register_table(
    {
        "ScatterNdNonAliasingAdd": _tensor_scatter("add"),
        "TensorScatterAdd": _tensor_scatter("add"),
        "TensorScatterMax": _tensor_scatter("max"),
        "TensorScatterMin": _tensor_scatter("min"),
        "TensorScatterSub": _tensor_scatter("sub"),
        "TensorScatterUpdate": _tensor_scatter("update"),
    },
    ignored=("Tindices", "bad_indices_policy"),
)


# Segments


def _lowest(dtype: str) -> Any:
    numpy = np.dtype(values.numpy_dtype(dtype))
    if numpy.kind in "iu":
        return np.iinfo(numpy).min
    return -np.inf if numpy.kind == "f" and numpy.itemsize > 8 else _finfo(dtype).min


def _finfo(dtype: str) -> Any:
    return ml_dtypes.finfo(values.numpy_dtype(dtype))


def _segments(how: str, data: Any, segment_ids: Any, count: int) -> Any:
    """Combines the rows of each segment; rows with a negative id are dropped."""
    rank = values.rank_of(segment_ids)
    rest = values.shape_of(data)[rank:]
    rows = xp.reshape(data, (-1, *rest))
    ids = values.cast(xp.reshape(segment_ids, (-1,)), "int32")
    dtype = values.dtype_of(data)
    start = {"add": 0, "mul": 1}.get(how)
    if start is None:
        lowest = _lowest(dtype)
        top = np.iinfo(values.numpy_dtype(dtype)).max if "int" in dtype else -lowest
        start = lowest if how == "max" else top
    base = np.full((count + 1, *rest), start, values.numpy_dtype(dtype))
    ids = xp.where(xp.less(ids, 0), np.int32(count), ids)
    if how == "mul" and not values.is_host([rows, ids]):
        out = _product_device(rows, ids, count)
    else:
        out = _scatter_flat(base, ids, rows, 1, how)
    return out[:count]


def _product_device(rows: Any, ids: Any, count: int) -> Any:
    hits = ops.equal(ops.expand_dims(ids, 0), ops.expand_dims(ops.arange(count), 1))
    hits = ops.reshape(hits, (*ops.shape(hits), *(1,) * (len(rows.shape) - 1)))
    return ops.prod(ops.where(hits, ops.expand_dims(rows, 0), 1), axis=1)


def _unsorted(how: str) -> Callable[..., Any]:
    def kernel_function(data: Any, segment_ids: Any, num_segments: Any) -> Any:
        return _segments(how, data, segment_ids, int(num_segments))

    return kernel_function


_HOW = {"Sum": "add", "Prod": "mul", "Max": "max", "Min": "min"}
register_table(
    {f"UnsortedSegment{op}": _unsorted(how) for op, how in _HOW.items()},
    static=("num_segments",),
    ignored=("Tindices", "Tnumsegments"),
)


def _count_of(ids: Any) -> int:
    return int(ids[-1]) + 1 if ids.size else 0


def _sorted(how: str) -> Callable[..., Any]:
    def kernel_function(data: Any, segment_ids: Any) -> Any:
        count = _count_of(segment_ids)
        out = _segments(how, data, segment_ids, count)
        empty = ~np.isin(np.arange(count), segment_ids)
        mask = empty.reshape(-1, *(1,) * (values.rank_of(out) - 1))
        # A segment that no row belongs to: 1 for products, 0 else.
        filler = np.asarray(how == "mul", values.numpy_dtype(values.dtype_of(data)))
        return xp.where(mask, filler, out) if empty.any() else out

    return kernel_function


def _mean(data: Any, segment_ids: Any, power: float = 1.0) -> Any:
    count = _count_of(segment_ids)
    total = _segments("add", data, segment_ids, count)
    sizes = np.bincount(segment_ids, minlength=count).clip(1) ** power
    sizes = sizes.reshape(-1, *(1,) * (values.rank_of(total) - 1))
    dtype = values.numpy_dtype(values.dtype_of(data))
    return xp.divide(total, sizes.astype(dtype))


register_table(
    {f"Segment{op}": _sorted(how) for op, how in _HOW.items()},
    static=("segment_ids",),
    ignored=("Tindices",),
)


@kernel("SegmentMean", static=("segment_ids",), ignored=("Tindices",))
def segment_mean(data: Any, segment_ids: Any) -> Any:
    """Mean of the rows of each segment."""
    return _mean(data, segment_ids)


def _sparse(function: Callable[..., Any]) -> Callable[..., Any]:
    def kernel_function(data: Any, indices: Any, segment_ids: Any) -> Any:
        return function(xp.take(data, indices, axis=0), segment_ids)

    return kernel_function


def _sparse_counted(how: str) -> Callable[..., Any]:
    def kernel_function(
        data: Any, indices: Any, segment_ids: Any, num_segments: Any
    ) -> Any:
        rows = xp.take(data, indices, axis=0)
        count = int(num_segments)
        total = _segments("add", rows, segment_ids, count)
        if how == "Sum":
            return total
        sizes = np.bincount(segment_ids, minlength=count).clip(1)
        sizes = sizes.reshape(-1, *(1,) * (values.rank_of(total) - 1))
        dtype = values.numpy_dtype(values.dtype_of(data))
        return xp.divide(
            total, (sizes if how == "Mean" else np.sqrt(sizes)).astype(dtype)
        )

    return kernel_function


register_table(
    {
        f"SparseSegment{how}WithNumSegments": _sparse_counted(how)
        for how in ("Sum", "Mean", "SqrtN")
    },
    static=("segment_ids", "num_segments"),
    ignored=("Tidx", "Tsegmentids", "Tnumsegments", "sparse_gradient"),
)

for _op, _function in (
    ("Sum", _sorted("add")),
    ("Mean", _mean),
    ("SqrtN", lambda data, ids: _mean(data, ids, 0.5)),
):
    register(
        f"SparseSegment{_op}",
        _sparse(_function),
        static=("segment_ids",),
        ignored=("Tidx", "Tsegmentids", "sparse_gradient"),
    )
