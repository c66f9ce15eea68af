"""Sorting and the largest elements."""

from __future__ import annotations

import numpy as np

from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.lowerings.array import transpose
from regraft.graph.tracing.lowerings.elementwise import cast, unary
from regraft.graph.tracing.registry import lowering
from regraft.graph.tracing.values import Value


@lowering("top_k")
def top_k(g: Graph, x: Value, *, k: int, axis: int) -> list[Value]:
    """The `k` largest elements and their places."""
    last = x.rank - 1
    order = [d for d in range(x.rank) if d != axis] + [axis]
    moved = x if axis in (last, -1) else transpose(g, x, permutation=order)
    values, indices = g.op("TopKV2", moved, g.dim(k), sorted=True)
    found = [values, indices]
    if moved is not x:
        back = [int(i) for i in np.argsort(order)]
        found = [
            transpose(
                g, v.shaped(tuple(g.shape_of()[d] for d in order)), permutation=back
            )
            for v in found
        ]
    return [found[0], cast(g, found[1].shaped(g.shape_of(1)), g.dtype_of(1))]


@lowering("sort", ignored=("is_stable",))
def sort(g: Graph, *operands: Value, dimension: int, num_keys: int) -> list[Value]:
    """Sorts along a dimension, upwards; further operands follow the keys.

    TensorFlow's TopKV2 sorts downwards and keeps the order of equal elements, so the
    keys are turned around.
    """
    last = operands[0].rank - 1
    order = [d for d in range(last + 1) if d != dimension] + [dimension]
    moved = [transpose(g, x, permutation=order) for x in operands]
    for key in reversed(range(num_keys)):
        _, places = g.op("TopKV2", _downwards(g, moved[key]), _length(g, moved[key]))
        moved = [_follow(g, x, places, last) for x in moved]
    back = [int(i) for i in np.argsort(order)]
    return [transpose(g, x, permutation=back) for x in moved]


def _length(g: Graph, x: Value) -> Value:
    return g.dim(x.dims[-1])


def _downwards(g: Graph, x: Value) -> Value:
    if x.dtype == "bool":
        return g.op("Neg", cast(g, x, "int32"), shape=x.shape)
    # Inverting the bits turns the order of integers around without overflow.
    return unary(g, "Invert" if "int" in x.dtype else "Neg", x)


def _follow(g: Graph, x: Value, places: Value, last: int) -> Value:
    return g.op("GatherV2", x, places, np.int32(last), batch_dims=last, shape=x.shape)
