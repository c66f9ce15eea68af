"""Primitives that reduce along dimensions, or accumulate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.lowerings.elementwise import cast
from regraft.graph.tracing.registry import lowering
from regraft.graph.tracing.values import Value


def _reduction(primitive: str, op: str) -> None:
    @lowering(primitive, ignored=("out_sharding",))
    def lower(g: Graph, x: Value, *, axes: Sequence[int]) -> Value:
        if not axes:
            return x
        return g.op(op, x, np.array(axes, np.int32), shape=g.shape_of())


for _primitive, _op in {
    "reduce_sum": "Sum",
    "reduce_prod": "Prod",
    "reduce_max": "Max",
    "reduce_min": "Min",
}.items():
    _reduction(_primitive, _op)


def _logical(primitive: str, logical: str, bitwise: str) -> None:
    @lowering(primitive, ignored=("out_sharding",))
    def lower(g: Graph, x: Value, *, axes: Sequence[int]) -> Value:
        places = np.array(axes, np.int32)
        if x.dtype == "bool":
            return g.op(logical, x, places, shape=g.shape_of())
        return _fold_bits(g, x, axes, bitwise)


def _fold_bits(g: Graph, x: Value, axes: Sequence[int], op: str) -> Value:
    """Combines slices one by one; lengths must be fixed."""
    for axis in sorted(axes, reverse=True):
        parts = g.op("Unpack", x, num=int(x.dims[axis]), axis=axis)
        shape = (*x.dims[:axis], *x.dims[axis + 1 :])
        x = parts[0]
        for part in parts[1:]:
            x = g.op(op, x, part)
        x = x.shaped(shape)
    return x


_logical("reduce_and", "All", "BitwiseAnd")
_logical("reduce_or", "Any", "BitwiseOr")


@lowering("reduce_xor", ignored=("out_sharding",))
def reduce_xor(g: Graph, x: Value, *, axes: Sequence[int]) -> Value:
    """Exclusive or; of booleans whether an odd number is true."""
    if x.dtype != "bool":
        return _fold_bits(g, x, axes, "BitwiseXor")
    count = g.op("Sum", cast(g, x, "int32"), np.array(axes, np.int32))
    odd = g.op("FloorMod", count, np.int32(2))
    return g.op("Equal", odd, np.int32(1), shape=g.shape_of())


def _arg(primitive: str, op: str) -> None:
    @lowering(primitive)
    def lower(g: Graph, x: Value, *, axes: Sequence[int], index_dtype: Any) -> Value:
        dtype = str(np.dtype(index_dtype))
        kind = dtype if dtype in ("int32", "int64") else "int32"
        if x.dtype == "bool":
            x = cast(g, x, "int32")
        result = g.op(op, x, np.int32(axes[0]), output_type=kind, shape=g.shape_of())
        return cast(g, result, dtype)


_arg("argmax", "ArgMax")
_arg("argmin", "ArgMin")


def _cumulative(primitive: str, op: str) -> None:
    @lowering(primitive)
    def lower(g: Graph, x: Value, *, axis: int, reverse: bool) -> Value:
        return g.op(op, x, np.int32(axis), reverse=reverse, shape=x.shape)


_cumulative("cumsum", "Cumsum")
_cumulative("cumprod", "Cumprod")
_cumulative("cumlogsumexp", "CumulativeLogsumexp")


def _running(primitive: str, op: str, worst: str) -> None:
    """Largest or smallest so far, which TensorFlow has no op for.

    Each place reduces over all places with those that come later masked; that costs
    the square of the length.
    """

    @lowering(primitive)
    def lower(g: Graph, x: Value, *, axis: int, reverse: bool) -> Value:
        length, rank = x.dims[axis], x.rank
        count = g.op("Range", np.int32(0), g.dim(length), np.int32(1))
        rows = g.op("ExpandDims", count, np.int32(1))
        seen = g.op("GreaterEqual" if not reverse else "LessEqual", rows, count)
        seen = g.reshape(
            seen.shaped((length, length)),
            (length, length, *[1] * (rank - axis - 1)),
        )
        wide = g.op("ExpandDims", x, np.int32(axis))
        info: Any = np.iinfo(x.dtype) if "int" in x.dtype else None
        limit = getattr(info, worst) if info else {"min": -np.inf, "max": np.inf}[worst]
        masked = g.op("SelectV2", seen, wide, limit)
        return g.op(op, masked, np.array([axis + 1], np.int32), shape=x.shape)


_running("cummax", "Max", "min")
_running("cummin", "Min", "max")
