"""Gathers and scatters: XLA's general ones, mostly seen as TensorFlow's plain ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from regraft.graph.tracing.builder import same_shape
from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.lowerings.array import padded, reshaped, sliced, transpose
from regraft.graph.tracing.lowerings.elementwise import cast, scalar
from regraft.graph.tracing.registry import lowering
from regraft.graph.tracing.values import Dim, Value, known, same_dim

# A dimension of a result: of the indices ("i") or of the operand ("o"), and which.
_Label = tuple[str, int]


@lowering(
    "gather",
    ignored=("fill_value", "indices_are_sorted", "unique_indices"),
)
def gather(
    g: Graph,
    x: Value,
    indices: Value,
    *,
    dimension_numbers: Any,
    slice_sizes: Sequence[Dim],
    mode: Any,
) -> Value:
    """Parts of an array from computed places.

    Places outside are an error in TensorFlow on a CPU, and zeros on a GPU.
    """
    numbers = dimension_numbers
    if (part := _fixed_window(g, x, indices, numbers, slice_sizes)) is not None:
        return part
    indices = _signed(g, indices)
    indexed = tuple(numbers.start_index_map)
    batching = tuple(numbers.operand_batching_dims)
    single = all(same_dim(slice_sizes[d], 1) for d in indexed)
    whole = all(
        same_dim(slice_sizes[d], x.dims[d])
        for d in range(x.rank)
        if d not in indexed and d not in batching
    )
    if "CLIP" in str(mode):
        indices = _clamped(g, x, indices, indexed, slice_sizes)
    if not (single and whole and (len(indexed) == 1 or not batching)):
        return _gather_windows(g, x, indices, numbers, slice_sizes)
    found, labels = (
        _gather_one(g, x, indices, numbers)
        if len(indexed) == 1
        else _gather_nd(g, x, indices, numbers)
    )
    return _arranged(g, x, found, labels, numbers)


def _clamped(
    g: Graph, x: Value, indices: Value, indexed: Sequence[int], sizes: Sequence[Dim]
) -> Value:
    last = _place(g, [x.dims[d] - sizes[d] for d in indexed], indices)
    zero = Value.of(np.asarray(0, indices.dtype), indices.dtype)
    low = g.op("Maximum", indices, zero, shape=indices.shape)
    return g.op("Minimum", low, last, shape=indices.shape)


def _place(g: Graph, dims: Sequence[Dim], indices: Value) -> Value:
    """Returns a place in an array, of the type of indices."""
    place = g.shape_tensor(tuple(dims))
    return cast(g, place.shaped((len(dims),)), indices.dtype)


def _fixed_window(
    g: Graph, x: Value, indices: Value, numbers: Any, sizes: Sequence[Dim]
) -> Value | None:
    """Returns `x[:, 3]` or `x[:, 1:4]`: one window at a place that is known."""
    count = len(numbers.start_index_map)
    places = known(indices)
    if places is None or places.size != count or numbers.operand_batching_dims:
        return None
    starts = [0] * x.rank
    for axis, place in zip(numbers.start_index_map, places.reshape(-1), strict=True):
        starts[axis] = int(place)
    limits = [start + size for start, size in zip(starts, sizes, strict=True)]
    for axis, (start, limit) in enumerate(zip(starts, limits, strict=True)):
        dim = x.dims[axis]
        inside = isinstance(limit, int) and isinstance(dim, int) and limit <= dim
        unmoved = start == 0 and same_dim(sizes[axis], dim)
        fits = inside or unmoved or (not isinstance(dim, int) and start >= 0)
        if start < 0 or not fits:
            return None
    return reshaped(g, _sliced(g, x, starts, limits), g.shape_of())


def _signed(g: Graph, indices: Value) -> Value:
    """Returns indices of a type that TensorFlow's ops take."""
    wanted = {"uint32": "int64", "uint64": "int64", "int32": "int32", "int64": "int64"}
    return cast(g, indices, wanted.get(indices.dtype, "int32"))


def _sliced(g: Graph, x: Value, starts: Sequence[int], limits: Sequence[Dim]) -> Value:
    return sliced(g, x, starts, limits, [1] * x.rank)


def _indices_without_vector(g: Graph, indices: Value) -> Value:
    """Drops the last dimension, which has length 1."""
    return reshaped(g, indices, indices.dims[:-1])


def _gather_one(
    g: Graph, x: Value, indices: Value, numbers: Any
) -> tuple[Value, list[_Label]]:
    """Gathers along one dimension with GatherV2."""
    (axis,) = numbers.start_index_map
    batching = list(numbers.operand_batching_dims)
    places = list(numbers.start_indices_batching_dims)
    indices = _indices_without_vector(g, indices)
    free = [d for d in range(indices.rank) if d not in places]
    if not batching:
        found = g.op("GatherV2", x, indices, np.int32(axis))
        labels: list[_Label] = [("o", d) for d in range(axis)]
        labels += [("i", d) for d in free]
        return found, labels + [("o", d) for d in range(axis + 1, x.rank)]
    others = [d for d in range(x.rank) if d != axis and d not in batching]
    count = len(batching)
    x = transpose(g, x, permutation=[*batching, axis, *others])
    indices = transpose(g, indices, permutation=[*places, *free])
    found = g.op("GatherV2", x, indices, np.int32(count), batch_dims=count)
    labels = [("i", d) for d in (*places, *free)] + [("o", d) for d in others]
    return found, labels


def _gather_nd(
    g: Graph, x: Value, indices: Value, numbers: Any
) -> tuple[Value, list[_Label]]:
    """Gathers along several dimensions at once with GatherNd."""
    indexed = list(numbers.start_index_map)
    others = [d for d in range(x.rank) if d not in indexed]
    moved = transpose(g, x, permutation=[*indexed, *others])
    found = g.op("GatherNd", moved, indices)
    labels: list[_Label] = [("i", d) for d in range(indices.rank - 1)]
    return found, labels + [("o", d) for d in others]


def _arranged(
    g: Graph, x: Value, found: Value, labels: list[_Label], numbers: Any
) -> Value:
    """Brings the dimensions of a gathered array into the order that is asked for."""
    shape = g.shape_of()
    wanted = _labels(x.rank, len(shape), numbers)
    present = [label for label in wanted if label in labels]
    by_label = dict(zip(wanted, shape, strict=True))
    found = found.shaped(tuple(by_label[label] for label in labels))
    order = [labels.index(label) for label in present]
    return reshaped(g, transpose(g, found, permutation=order), shape)


def _labels(rank: int, result_rank: int, numbers: Any) -> list[_Label]:
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    windows = iter([d for d in range(rank) if d not in gone])
    batches = iter(range(result_rank))
    return [
        ("o", next(windows)) if d in numbers.offset_dims else ("i", next(batches))
        for d in range(result_rank)
    ]


def _gather_windows(
    g: Graph, x: Value, indices: Value, numbers: Any, sizes: Sequence[Dim]
) -> Value:
    """Gathers windows: computes the place of every single element."""
    shape = g.shape_of()
    labels = _labels(x.rank, len(shape), numbers)
    if "int" in indices.dtype:
        indices = _clamped(g, x, indices, numbers.start_index_map, sizes)
    grid = _grid(
        g,
        indices,
        labels,
        shape,
        x.rank,
        numbers.start_index_map,
        dict(
            zip(
                numbers.operand_batching_dims,
                numbers.start_indices_batching_dims,
                strict=True,
            )
        ),
    )
    return g.op("GatherNd", x, grid, shape=shape)


def _grid(
    g: Graph,
    indices: Value,
    labels: Sequence[_Label],
    shape: tuple[Dim, ...],
    rank: int,
    indexed: Sequence[int],
    batching: dict[int, int],
) -> Value:
    """Returns for each element of `shape` its place in an operand."""
    batch_places = [p for p, (kind, _) in enumerate(labels) if kind == "i"]
    columns = []
    for dim in range(rank):
        parts = []
        if dim in indexed:
            column = list(indexed).index(dim)
            parts.append(_column(g, indices, column, shape, batch_places))
        if ("o", dim) in labels:
            parts.append(_count(g, shape, labels.index(("o", dim)), indices.dtype))
        if dim in batching:
            place = batch_places[batching[dim]]
            parts.append(_count(g, shape, place, indices.dtype))
        total = parts[0] if parts else Value.of(np.asarray(0, "int32"), indices.dtype)
        for part in parts[1:]:
            total = g.op("AddV2", total, part)
        columns.append(g.op("BroadcastTo", total, g.shape_tensor(shape)))
    return g.op("Pack", columns, axis=len(shape), shape=(*shape, rank))


def _column(
    g: Graph,
    indices: Value,
    column: int,
    shape: tuple[Dim, ...],
    places: Sequence[int],
) -> Value:
    """Returns one number of each index vector, where the batch dimensions are."""
    starts = [0] * (indices.rank - 1) + [column]
    limits = [*indices.dims[:-1], column + 1]
    numbers = reshaped(g, _sliced(g, indices, starts, limits), indices.dims[:-1])
    lengths: list[Dim] = [1] * len(shape)
    for place, length in zip(places, indices.dims[:-1], strict=True):
        lengths[place] = length
    return g.reshape(
        Value(numbers.dtype, numbers.shape, name=g.tensor(numbers)), tuple(lengths)
    )


def _count(g: Graph, shape: tuple[Dim, ...], place: int, dtype: str) -> Value:
    count = g.op(
        "Range", np.int32(0), g.dim(shape[place]), np.int32(1), shape=(shape[place],)
    )
    lengths: list[Dim] = [1] * len(shape)
    lengths[place] = shape[place]
    return g.reshape(cast(g, count, dtype), tuple(lengths))


def _scatter(primitive: str, op: str) -> None:
    @lowering(
        primitive,
        ignored=(
            "indices_are_sorted",
            "unique_indices",
            "update_jaxpr",
            "update_consts",
        ),
    )
    def lower(
        g: Graph,
        x: Value,
        indices: Value,
        updates: Value,
        *,
        dimension_numbers: Any,
        mode: Any,
    ) -> Value:
        numbers = dimension_numbers
        indices = _signed(g, indices)
        whole = x.dims
        if "FILL" in str(mode) and numbers.scatter_dims_to_operand_dims:
            x, indices = _with_room(g, x, indices, updates, numbers)
        if _is_plain(x, indices, updates, numbers):
            grid = indices
        else:
            grid = _scatter_grid(g, x, indices, updates, numbers, mode)
        if updates.rank == 0:
            # TensorFlow's op wants a list of places.
            grid = g.reshape(grid, (1, *grid.dims))
            updates = g.reshape(updates, (1,))
        if x.dtype == "bool":
            wide = [cast(g, v, "int32") for v in (x, updates)]
            result = g.op(op, wide[0], grid, wide[1], shape=x.shape)
            result = cast(g, result, "bool")
        elif op == _PRODUCT:
            result = _scatter_product(g, x, grid, updates)
        else:
            result = g.op(op, x, grid, updates, shape=x.shape)
        return _sliced(g, result, [0] * x.rank, whole) if x.dims != whole else result


def _with_room(
    g: Graph, x: Value, indices: Value, updates: Value, numbers: Any
) -> tuple[Value, Value]:
    """Gives what falls outside of an array a place behind it.

    JAX leaves it out, TensorFlow fails on a CPU.
    """
    indexed = list(numbers.scatter_dims_to_operand_dims)
    sizes = _window_sizes(x, updates, numbers)
    places = known(indices)
    if places is not None and _fits_all(x, places, indexed, sizes):
        return x, indices
    zero = scalar(0, indices)
    last = _place(g, [x.dims[d] - sizes[d] for d in indexed], indices)
    fits = g.op(
        "LogicalAnd",
        g.op("GreaterEqual", indices, zero, shape=indices.shape),
        g.op("LessEqual", indices, last, shape=indices.shape),
        shape=indices.shape,
    )
    fits = g.op(
        "All", fits, np.int32(-1), keep_dims=True, shape=(*indices.dims[:-1], 1)
    )
    zeros: list[Dim] = [0] * (len(indexed) - 1)
    behind = _place(g, [x.dims[indexed[0]], *zeros], indices)
    indices = g.op("SelectV2", fits, indices, behind, shape=indices.shape)
    room: list[tuple[Dim, Dim]] = [(0, 0)] * x.rank
    room[indexed[0]] = (0, sizes[indexed[0]])
    return padded(g, x, scalar(0, x), room), indices


def _window_sizes(x: Value, updates: Value, numbers: Any) -> list[Dim]:
    """Returns how much of each dimension of an array one update covers."""
    gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    sizes: list[Dim] = [1] * x.rank
    kept = [d for d in range(x.rank) if d not in gone]
    for dim, place in zip(kept, numbers.update_window_dims, strict=True):
        sizes[dim] = updates.dims[place]
    return sizes


def _fits_all(
    x: Value, places: np.ndarray, indexed: Sequence[int], sizes: Sequence[Dim]
) -> bool:
    """Whether windows at places that are known are inside of an array."""
    for column, dim in enumerate(indexed):
        room, numbers = x.dims[dim] - sizes[dim], places[..., column]
        if not isinstance(room, int) or (numbers < 0).any() or (numbers > room).any():
            return False
    return True


# TensorFlow's scatters don't multiply, but its segments do.
_PRODUCT = "UnsortedSegmentProd"


def _scatter_product(g: Graph, x: Value, grid: Value, updates: Value) -> Value:
    """Multiplies parts of an array, as products over places counted in one row."""
    depth = int(grid.dims[-1])
    total: Any = Value.of(np.int32(0), "int32")
    for axis in range(depth):
        column = _index_column(g, grid, axis)
        if axis:
            length = g.dim(x.dims[axis])
            total = g.op("AddV2", g.op("Mul", total, length), column)
        else:
            total = column
    count = g.dim(1)
    for dim in x.dims[:depth]:
        count = g.op("Mul", count, g.dim(dim), shape=())
    product = g.op(_PRODUCT, updates, total, count)
    whole = g.op("Reshape", product, g.shape_tensor(x.dims), shape=x.shape)
    return g.op("Mul", x, whole, shape=x.shape)


def _index_column(g: Graph, grid: Value, axis: int) -> Value:
    starts = [0] * (grid.rank - 1) + [axis]
    limits = [*grid.dims[:-1], axis + 1]
    column = _sliced(g, grid, starts, limits)
    return cast(g, reshaped(g, column, grid.dims[:-1]), "int32")


def _is_plain(x: Value, indices: Value, updates: Value, numbers: Any) -> bool:
    """Whether whole leading rows are scattered, as TensorFlow's op does it."""
    count = indices.dims[-1]
    batch = indices.rank - 1
    leading = tuple(range(int(count)))
    return bool(
        tuple(numbers.scatter_dims_to_operand_dims) == leading
        and tuple(numbers.inserted_window_dims) == leading
        and not numbers.operand_batching_dims
        and tuple(numbers.update_window_dims) == tuple(range(batch, updates.rank))
        and same_shape(updates.dims[batch:], x.dims[int(count) :])
    )


def _scatter_grid(
    g: Graph, x: Value, indices: Value, updates: Value, numbers: Any, mode: Any
) -> Value:
    gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    windows = iter([d for d in range(x.rank) if d not in gone])
    batches = iter(range(updates.rank))
    labels: list[_Label] = [
        ("o", next(windows))
        if d in numbers.update_window_dims
        else ("i", next(batches))
        for d in range(updates.rank)
    ]
    if "CLIP" in str(mode):
        sizes = _window_sizes(x, updates, numbers)
        indexed = numbers.scatter_dims_to_operand_dims
        indices = _clamped(g, x, indices, indexed, sizes)
    return _grid(
        g,
        indices,
        labels,
        updates.dims,
        x.rank,
        numbers.scatter_dims_to_operand_dims,
        dict(
            zip(
                numbers.operand_batching_dims,
                numbers.scatter_indices_batching_dims,
                strict=True,
            )
        ),
    )


for _primitive, _op in {
    "scatter": "TensorScatterUpdate",
    "scatter-add": "TensorScatterAdd",
    "scatter_add": "TensorScatterAdd",
    "scatter-sub": "TensorScatterSub",
    "scatter_sub": "TensorScatterSub",
    "scatter-min": "TensorScatterMin",
    "scatter_min": "TensorScatterMin",
    "scatter-max": "TensorScatterMax",
    "scatter_max": "TensorScatterMax",
    "scatter-mul": _PRODUCT,
    "scatter_mul": _PRODUCT,
}.items():
    _scatter(_primitive, _op)
