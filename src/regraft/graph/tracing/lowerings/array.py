"""Primitives that move elements without looking at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from regraft.graph.tracing.builder import same_shape
from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.lowerings.elementwise import (
    FOLDED_ELEMENTS,
    cast,
)
from regraft.graph.tracing.registry import lowering
from regraft.graph.tracing.values import Dim, Value, is_static, known, same_dim


@lowering("broadcast_in_dim", ignored=("sharding",))
def broadcast_in_dim(
    g: Graph, x: Value, *lengths: Value, broadcast_dimensions: tuple[int, ...]
) -> Value:
    """Repeats a value along new dimensions, or along those of length 1."""
    return repeat(x, g.shape_of(), tuple(broadcast_dimensions))


def repeat(x: Value, shape: tuple[Dim, ...], dimensions: tuple[int, ...]) -> Value:
    """Returns a value repeated to a shape."""
    if same_shape(x.dims, shape):
        return x
    if x.constant is not None and is_static(shape):
        ones = [1] * len(shape)
        for place, dim in zip(dimensions, x.dims, strict=True):
            ones[place] = dim
        if int(np.prod(shape)) <= FOLDED_ELEMENTS and x.constant.ndim:
            filled = np.broadcast_to(x.constant.reshape(ones), shape)
            return Value.of(filled, x.dtype)
    if x.source is not None and x.name is None:
        dimensions = tuple(dimensions[d] for d in x.dimensions)
        x = x.source
    return Value(x.dtype, shape, source=x, dimensions=dimensions)


@lowering("reshape", ignored=("sharding",))
def reshape(g: Graph, x: Value, *lengths: Value, dimensions: Any) -> Value:
    """The same elements in another shape."""
    if dimensions is not None:
        x = transpose(g, x, permutation=dimensions)
    found = reshaped(g, x, g.shape_of())
    if x.wide is not None and found is not x:
        found = replace(found, wide=reshaped(g, x.wide, g.shape_of()))
    return found


def reshaped(g: Graph, x: Value, shape: tuple[Dim, ...]) -> Value:
    """Returns a value in another shape; new lengths of 1 cost nothing."""
    if x.constant is not None and is_static(shape):
        return Value.of(x.constant.reshape(shape), x.dtype)
    if (places := _places(x.dims, shape)) is not None:
        return repeat(x, shape, places)
    if x.source is not None and x.name is None and x.source.rank == 0:
        return repeat(x.source, shape, ())
    if (shorter := _without_ones(x, shape)) is not None:
        return shorter
    source = _reshape_source(g, x)
    return g.reshape(source, shape)


def _reshape_source(g: Graph, x: Value) -> Value:
    """Returns what a value is a reshape of: two in a row are one."""
    producer = g.producer(x)
    if producer is not None and producer[0] == "Reshape" and x.name:
        return Value(x.dtype, x.shape, name=producer[1][0])
    return x


def _places(old: Sequence[Dim], new: Sequence[Dim]) -> tuple[int, ...] | None:
    """Returns where the old dimensions are in a shape that has only ones more."""
    places: list[int] = []
    for place, dim in enumerate(new):
        if len(places) < len(old) and same_dim(dim, old[len(places)]):
            places.append(place)
        elif not same_dim(dim, 1):
            return None
    return tuple(places) if len(places) == len(old) else None


def _without_ones(x: Value, shape: tuple[Dim, ...]) -> Value | None:
    """Returns what a value repeats, if the reshape only undoes new lengths of 1."""
    if x.source is None or x.name is not None:
        return None
    return x.source if same_shape(x.source.dims, shape) else None


@lowering("squeeze")
def squeeze(g: Graph, x: Value, *, dimensions: tuple[int, ...]) -> Value:
    """Drops dimensions of length 1."""
    if x.source is not None and x.name is None:
        if not set(dimensions) & set(x.dimensions):
            kept = [d for d in range(x.rank) if d not in dimensions]
            places = tuple(kept.index(d) for d in x.dimensions)
            return repeat(x.source, g.shape_of(), places)
        return reshaped(g, x, g.shape_of())
    if x.constant is not None:
        return Value.of(np.squeeze(x.constant, tuple(dimensions)), x.dtype)
    return g.op("Squeeze", x, squeeze_dims=dimensions, shape=g.shape_of())


@lowering("expand_dims")
def expand_dims(g: Graph, x: Value, *, dimensions: Any) -> Value:
    """Adds dimensions of length 1."""
    return reshaped(g, x, g.shape_of())


@lowering("transpose")
def transpose(g: Graph, x: Value, *, permutation: Sequence[int]) -> Value:
    """Reorders dimensions."""
    permutation = tuple(map(int, permutation))
    if permutation == tuple(range(len(permutation))):
        return x
    shape = tuple(x.dims[i] for i in permutation)
    if x.constant is not None and x.constant.size <= FOLDED_ELEMENTS:
        return Value.of(x.constant.transpose(permutation), x.dtype)
    if x.source is not None and x.name is None and x.source.rank <= 1:
        places = tuple(permutation.index(d) for d in x.dimensions)
        return repeat(x.source, shape, places)
    perm = np.array(permutation, np.int32)
    return g.op("Transpose", x, perm, shape=shape)


@lowering("concatenate")
def concatenate(g: Graph, *operands: Value, dimension: int) -> Value:
    """Joins arrays along a dimension."""
    if len(operands) == 1:
        return operands[0]
    constants = [c for x in operands if (c := known(x)) is not None]
    if len(constants) == len(operands):
        joined = np.concatenate(constants, dimension)
        if joined.size <= FOLDED_ELEMENTS:
            return Value.of(joined, operands[0].dtype)
    if (stacked := _stack(g, operands, dimension)) is not None:
        return stacked
    return g.op("ConcatV2", list(operands), np.int32(dimension), shape=g.shape_of())


def _stack(g: Graph, operands: Sequence[Value], dimension: int) -> Value | None:
    """Returns `Pack` of arrays to which only the joined dimension was added."""
    inner = []
    for x in operands:
        expected = tuple(d for d in range(x.rank) if d != dimension)
        if x.source is None or x.name is not None or x.dimensions != expected:
            return None
        if not same_shape(x.source.dims, tuple(x.dims[d] for d in expected)):
            return None
        if not same_dim(x.dims[dimension], 1):
            return None
        inner.append(x.source)
    return g.op("Pack", inner, axis=dimension, shape=g.shape_of())


@lowering("stack")
def stack(g: Graph, *operands: Value, axis: int) -> Value:
    """Joins arrays along a new dimension."""
    return g.op("Pack", list(operands), axis=axis, shape=g.shape_of())


@lowering("split")
def split(g: Graph, x: Value, *, sizes: Sequence[int], axis: int) -> list[Value]:
    """Cuts an array into parts along a dimension."""
    sizes = [int(size) for size in sizes]
    if len(set(sizes)) == 1:
        return list(g.op("Split", np.int32(axis), x, num_split=len(sizes)))
    lengths = np.array(sizes, np.int32)
    return list(g.op("SplitV", x, lengths, np.int32(axis), num_split=len(sizes)))


@lowering("rev")
def rev(g: Graph, x: Value, *, dimensions: Sequence[int]) -> Value:
    """Reverses dimensions."""
    if x.constant is not None and x.constant.size <= FOLDED_ELEMENTS:
        return Value.of(np.flip(x.constant, tuple(dimensions)).copy(), x.dtype)
    axes = np.array(dimensions, np.int32)
    return g.op("ReverseV2", x, axes, shape=x.shape)


@lowering("iota", ignored=("sharding",))
def iota(g: Graph, *lengths: Value, dtype: Any, dimension: int) -> Value:
    """Counts along a dimension."""
    shape = g.shape_of()
    length, name = shape[dimension], g.dtype_of()
    if isinstance(length, int) and length <= FOLDED_ELEMENTS:
        line = Value.of(np.arange(length).astype(np.dtype(dtype)), name)
    else:
        count = g.op("Range", np.int32(0), g.dim(length), np.int32(1), shape=(length,))
        line = cast(g, count, name)
    return repeat(line, shape, (dimension,))


@lowering("dim_as_value")
def dim_as_value(g: Graph, *, dim: Dim) -> Value:
    """A symbolic length as a number."""
    return cast(g, g.dim(dim), g.dtype_of())


@lowering("pad")
def pad(g: Graph, x: Value, value: Value, *, padding_config: Any) -> Value:
    """Adds elements around (or cuts them off), and between elements."""
    config = [(low, high, int(interior)) for low, high, interior in padding_config]
    for axis, (_, _, interior) in enumerate(config):
        if interior:
            x = dilated(g, x, value, axis, interior)
    x = cut(g, x, [(low, high) for low, high, _ in config])
    around = [(at_least_zero(low), at_least_zero(high)) for low, high, _ in config]
    return padded(g, x, value, around)


def at_least_zero(length: Dim) -> Dim:
    """Returns a length, or 0 where it is negative."""
    return max(length, 0) if isinstance(length, int) else length


def cut(g: Graph, x: Value, edges: Sequence[tuple[Dim, Dim]]) -> Value:
    """Cuts off as many elements as an edge is negative."""
    cuts = [
        tuple(-e if isinstance(e, int) and e < 0 else 0 for e in edge) for edge in edges
    ]
    if not any(map(any, cuts)):
        return x
    starts = [low for low, _ in cuts]
    limits = [dim - high for dim, (_, high) in zip(x.dims, cuts, strict=True)]
    return sliced(g, x, starts, limits, [1] * x.rank)


def padded(
    g: Graph, x: Value, value: Value, around: Sequence[tuple[Dim, Dim]]
) -> Value:
    """Returns an array with elements added around it."""
    if all(isinstance(e, int) and e == 0 for edge in around for e in edge):
        return x
    shape = tuple(
        dim + low + high for dim, (low, high) in zip(x.dims, around, strict=True)
    )
    paddings = pairs(g, around)
    if value.constant is not None and not value.constant.any():
        return g.op("Pad", x, paddings, shape=shape)
    return g.op("PadV2", x, paddings, value, shape=shape)


def pairs(g: Graph, around: Sequence[tuple[Dim, Dim]]) -> Any:
    """Returns a matrix of a row for each pair of lengths."""
    if all(is_static(edge) for edge in around):
        return np.array(around, np.int32)
    flat = [g.dim(e) for edge in around for e in edge]
    return g.reshape(g.op("Pack", flat, axis=0, shape=(len(flat),)), (len(around), 2))


def dilated(g: Graph, x: Value, value: Value, axis: int, interior: int) -> Value:
    """Puts elements between those along an axis."""
    length = x.dims[axis]
    wide = g.reshape(x, (*x.dims[: axis + 1], 1, *x.dims[axis + 1 :]))
    around = [(0, 0)] * wide.rank
    around[axis + 1] = (0, interior)
    wide = padded(g, wide, value, around)
    grown = length * (1 + interior)
    wide = g.reshape(wide, (*x.dims[:axis], grown, *x.dims[axis + 1 :]))
    limits = [*x.dims[:axis], grown - interior, *x.dims[axis + 1 :]]
    return sliced(g, wide, [0] * x.rank, limits, [1] * x.rank)


@lowering("slice")
def slice_(
    g: Graph,
    x: Value,
    *,
    start_indices: Sequence[Dim],
    limit_indices: Sequence[Dim],
    strides: Sequence[int] | None,
) -> Value:
    """Every n-th element between fixed places."""
    return sliced(
        g, x, start_indices, limit_indices, strides or [1] * len(start_indices)
    )


def sliced(
    g: Graph,
    x: Value,
    starts: Sequence[Dim],
    limits: Sequence[Dim],
    strides: Sequence[int],
) -> Value:
    """Returns part of an array."""
    shape = tuple(
        (limit - start + stride - 1) // stride
        for start, limit, stride in zip(starts, limits, strides, strict=True)
    )
    if same_shape(shape, x.dims) and all(s == 1 for s in strides):
        return x
    if x.constant is not None and x.constant.size <= FOLDED_ELEMENTS:
        part = tuple(map(slice, starts, limits, strides))
        return Value.of(x.constant[part], x.dtype)
    begin_mask = end_mask = 0
    begins, ends = [], []
    for axis, (start, limit) in enumerate(zip(starts, limits, strict=True)):
        if isinstance(start, int) and start == 0:
            begin_mask |= 1 << axis
        if same_dim(limit, x.dims[axis]):
            end_mask |= 1 << axis
            limit = 0
        begins.append(start)
        ends.append(limit)
    return g.op(
        "StridedSlice",
        x,
        g.shape_tensor(tuple(begins)),
        g.shape_tensor(tuple(ends)),
        np.array(strides, np.int32),
        begin_mask=begin_mask,
        end_mask=end_mask,
        shape=shape,
    )


def start_vector(
    g: Graph, starts: Sequence[Value], dims: Sequence[Dim], sizes: Sequence[Dim]
) -> Value:
    """Returns where a window begins, moved so that it lies inside."""
    places = []
    for start, dim, size in zip(starts, dims, sizes, strict=True):
        start = cast(g, start, "int32")
        first = None if start.constant is None else int(start.constant)
        # A window fits into what it lies in, so none moves before the beginning.
        if same_dim(dim, size) or (first is not None and first <= 0):
            places.append(Value.of(np.int32(0), "int32"))
            continue
        if first is not None and isinstance(dim, int) and isinstance(size, int):
            place = min(first, dim - size)
            places.append(Value.of(np.int32(place), "int32"))
            continue
        last = g.dim(dim - size)
        low = g.op("Maximum", start, np.int32(0), shape=())
        places.append(g.op("Minimum", low, last, shape=()))
    if all(place.constant is not None for place in places):
        return Value.of(np.array([p.constant for p in places], np.int32), "int32")
    return g.op("Pack", places, axis=0, shape=(len(places),))


@lowering("dynamic_slice")
def dynamic_slice(
    g: Graph, x: Value, *starts: Value, slice_sizes: Sequence[Dim]
) -> Value:
    """Part of an array from a place that is computed."""
    begin = start_vector(g, starts[: x.rank], x.dims, slice_sizes)
    if begin.constant is not None:
        first = [int(i) for i in begin.constant]
        limits = [s + n for s, n in zip(first, slice_sizes, strict=True)]
        return sliced(g, x, first, limits, [1] * x.rank)
    size = g.shape_tensor(tuple(slice_sizes))
    return g.op("Slice", x, begin, size, shape=g.shape_of())


@lowering("dynamic_update_slice")
def dynamic_update_slice(g: Graph, x: Value, update: Value, *starts: Value) -> Value:
    """An array with a part of it replaced."""
    axes = [a for a in range(x.rank) if not same_dim(x.dims[a], update.dims[a])]
    begin = start_vector(g, starts, x.dims, update.dims)
    return _replace(g, x, update, begin, axes)


def _replace(
    g: Graph, x: Value, update: Value, begin: Value, axes: Sequence[int]
) -> Value:
    """Chooses between the two by place, so that every shape stays static."""
    if not axes:
        return update
    inside: Value | None = None
    for axis in axes:
        places = g.op("Sub", _positions(g, x, axis), _entry(g, begin, axis))
        places = places.shaped((x.dims[axis],))
        length = update.dims[axis]
        last = g.op("Sub", g.dim(length), np.int32(1), shape=())
        near = g.op("Minimum", g.op("Maximum", places, np.int32(0)), last)
        hit = g.op("Equal", places, near).shaped((x.dims[axis],))
        column = [1] * x.rank
        column[axis] = -1
        hit = g.op("Reshape", hit, np.array(column, np.int32))
        inside = hit if inside is None else g.op("LogicalAnd", inside, hit)
        if length != 1:  # one entry is repeated by itself
            dims = (*update.dims[:axis], x.dims[axis], *update.dims[axis + 1 :])
            update = g.op(
                "GatherV2", update, near, np.int32(axis), batch_dims=0, shape=dims
            )
    return g.op("SelectV2", inside, update, x, shape=x.shape)


def _positions(g: Graph, x: Value, axis: int) -> Value:
    return g.op("Range", np.int32(0), g.dim(x.dims[axis]), np.int32(1))


def _entry(g: Graph, vector: Value, index: int) -> Value:
    return g.op(
        "StridedSlice",
        vector,
        np.array([index], np.int32),
        np.array([index + 1], np.int32),
        np.array([1], np.int32),
        shrink_axis_mask=1,
        shape=(),
    )


@lowering("tile")
def tile(g: Graph, x: Value, *, reps: Sequence[int]) -> Value:
    """Repeats a whole array along its dimensions."""
    multiples = g.shape_tensor(tuple(reps))
    return g.op("Tile", x, multiples, shape=g.shape_of())
