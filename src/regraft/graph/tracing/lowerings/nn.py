"""Matrix products, convolutions and pools."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from regraft.errors import UnsupportedError
from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.lowerings.array import (
    at_least_zero,
    cut,
    dilated,
    padded,
    pairs,
    sliced,
    transpose,
)
from regraft.graph.tracing.lowerings.elementwise import cast, scalar
from regraft.graph.tracing.registry import lowering
from regraft.graph.tracing.values import Dim, Value, same_dim


@lowering("dot_general", ignored=("precision", "out_sharding"))
def dot_general(
    g: Graph,
    x: Value,
    y: Value,
    *,
    dimension_numbers: Any,
    preferred_element_type: Any,
) -> Value:
    """Products summed over some dimensions, for each of others."""
    (x_sum, y_sum), (x_batch, _) = dimension_numbers
    dtype = g.dtype_of()
    if "int" in dtype and x.dtype in ("int8", "uint8", "int16", "uint16"):
        x, y = cast(g, x, dtype), cast(g, y, dtype)
    if x.dtype != y.dtype:
        x, y = cast(g, x, dtype), cast(g, y, dtype)
    shape = g.shape_of()
    result = None
    if len(x_sum) == 1 and not x_batch and y.rank == 2:
        result = _dense(g, x, y, x_sum[0], y_sum[0], shape)
    elif len(x_sum) == 1 and len(x_batch) == x.rank - 2 == y.rank - 2 > 0:
        result = _batch_matmul(g, x, y, dimension_numbers, shape)
    if result is None:
        result = _einsum(g, x, y, dimension_numbers, shape)
    return cast(g, result, dtype)


def _dense(
    g: Graph, x: Value, y: Value, x_sum: int, y_sum: int, shape: tuple[Dim, ...]
) -> Value | None:
    """A matrix, or rows of an array, times a matrix."""
    if x.rank == 2:
        return g.op(
            "MatMul", x, y, transpose_a=x_sum == 0, transpose_b=y_sum == 1, shape=shape
        )
    if x.rank < 2 or x_sum != x.rank - 1:
        return None
    if len([d for d in x.dims if not isinstance(d, int)]) > 1 or x.dtype == "int32":
        return g.op("BatchMatMulV2", x, y, adj_y=y_sum == 1, shape=shape)
    rows = np.array([-1, int(x.dims[-1])], np.int32)
    flat = g.op("Reshape", x, rows)
    product = g.op("MatMul", flat, y, transpose_b=y_sum == 1)
    return g.reshape(product, shape)


def _batch_matmul(
    g: Graph, x: Value, y: Value, numbers: Any, shape: tuple[Dim, ...]
) -> Value | None:
    """Matrices times matrices, batch dimensions first."""
    ((x_sum,), (y_sum,)), (x_batch, y_batch) = numbers
    leading = tuple(range(x.rank - 2))
    if tuple(x_batch) != leading or tuple(y_batch) != leading:
        return None
    adj_x, adj_y = x_sum == x.rank - 2, y_sum == y.rank - 1
    return g.op("BatchMatMulV2", x, y, adj_x=adj_x, adj_y=adj_y, shape=shape)


def _einsum(
    g: Graph, x: Value, y: Value, numbers: Any, shape: tuple[Dim, ...]
) -> Value:
    (x_sum, y_sum), (x_batch, y_batch) = numbers
    letters = iter(string.ascii_lowercase)
    x_names = [next(letters) for _ in range(x.rank)]
    y_names = [next(letters) for _ in range(y.rank)]
    for i, j in zip((*x_sum, *x_batch), (*y_sum, *y_batch), strict=True):
        y_names[j] = x_names[i]
    out = [x_names[i] for i in x_batch]
    out += [n for i, n in enumerate(x_names) if i not in (*x_sum, *x_batch)]
    out += [n for i, n in enumerate(y_names) if i not in (*y_sum, *y_batch)]
    equation = f"{''.join(x_names)},{''.join(y_names)}->{''.join(out)}"
    return g.op("Einsum", [x, y], equation=equation, shape=shape)


# Convolutions


@lowering("conv_general_dilated", ignored=("precision", "out_sharding"))
def conv_general_dilated(
    g: Graph,
    x: Value,
    kernel: Value,
    *,
    window_strides: Sequence[int],
    padding: Sequence[tuple[Dim, Dim]],
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int],
    dimension_numbers: Any,
    feature_group_count: int,
    batch_group_count: int,
    preferred_element_type: Any,
) -> Value:
    """A convolution in any layout."""
    if batch_group_count != 1:
        raise UnsupportedError("Convolutions grouped by batch have no TensorFlow op.")
    numbers, dtype = dimension_numbers, g.dtype_of()
    rank = x.rank
    x = transpose(g, x, permutation=_channels_last(numbers.lhs_spec))
    out_features, in_features, *spatial = numbers.rhs_spec
    order = [*spatial, in_features, out_features]
    kernel = _depthwise_source(g, kernel, order, feature_group_count) or transpose(
        g, kernel, permutation=order
    )
    out_order = _channels_last(numbers.out_spec)
    shape = tuple(g.shape_of()[d] for d in out_order)
    window = Window(tuple(window_strides), tuple(rhs_dilation), tuple(padding), shape)
    x = _spread_out(g, x, lhs_dilation)
    result = conv_channels_last(g, x, kernel, window, int(feature_group_count))
    back = [int(i) for i in np.argsort(out_order)]
    if back != list(range(rank)):
        result = transpose(g, result.shaped(shape), permutation=back)
    return cast(g, result, dtype)


def _channels_last(spec: Sequence[int]) -> list[int]:
    batch, features, *spatial = spec
    return [batch, *spatial, features]


def _depthwise_source(
    g: Graph, kernel: Value, order: Sequence[int], groups: int
) -> Value | None:
    """Returns the kernel `[…, channels, multiplier]` that was reshaped for XLA."""
    if groups == 1 or list(order) != list(range(kernel.rank)):
        return None
    producer = g.producer(kernel)
    if producer is None or producer[0] != "Reshape":
        return None
    if not same_dim(kernel.dims[-2], 1):
        return None
    multiplier = int(kernel.dims[-1]) // groups
    shape = (*kernel.dims[:-2], groups, multiplier)
    return Value(kernel.dtype, shape, name=producer[1][0])


class Window:
    """How a window moves over an array whose channels come last.

    Attributes:
        strides: Per spatial dimension.
        dilations: Per spatial dimension.
        padding: Per spatial dimension, before and after.
        shape: Of the result.
    """

    def __init__(
        self,
        strides: tuple[int, ...],
        dilations: tuple[int, ...],
        padding: tuple[tuple[Dim, Dim], ...],
        shape: tuple[Dim, ...],
    ) -> None:
        self.strides = strides
        self.dilations = dilations
        self.padding = padding
        self.shape = shape


def same_padding(
    dims: Sequence[Dim], sizes: Sequence[int], strides: Sequence[int]
) -> list[tuple[Dim, Dim]]:
    """Returns the padding that TensorFlow calls SAME."""
    around = []
    for dim, size, stride in zip(dims, sizes, strides, strict=True):
        out = -(-dim // stride)
        total = (out - 1) * stride + size - dim
        total = max(total, 0) if isinstance(total, int) else _not_negative(total)
        around.append((total // 2, total - total // 2))
    return around


def _not_negative(total: Dim) -> Dim:
    return max(0, total) if isinstance(total, int) else _max_dim(total)


def _max_dim(total: Dim) -> Dim:
    return jax.core.max_dim(total, 0)


def _padding_name(x: Value, sizes: Sequence[int], window: Window) -> str | None:
    """Returns TensorFlow's name of a padding, if it has one."""
    if all(isinstance(e, int) and e == 0 for edge in window.padding for e in edge):
        return "VALID"
    same = same_padding(x.dims[1:-1], sizes, window.strides)
    pairs = zip(window.padding, same, strict=True)
    if all(same_dim(a, b) for p, s in pairs for a, b in zip(p, s, strict=True)):
        return "SAME"
    return None


def _spread_out(g: Graph, x: Value, dilation: Sequence[int]) -> Value:
    """Puts zeros between the elements of the spatial dimensions."""
    for axis, step in enumerate(dilation):
        if step != 1:
            x = dilated(g, x, scalar(0, x), axis + 1, step - 1)
    return x


def conv_channels_last(
    g: Graph, x: Value, kernel: Value, window: Window, groups: int
) -> Value:
    """Returns a convolution of an array whose channels come last.

    TensorFlow's CPU kernels have no gradient of dilated and of grouped convolutions,
    and fuse the latter with what follows into an op that refuses groups, unless oneDNN
    stands in for them. So these are written as plain ones.
    """
    if x.rank == 3:
        return _conv_1d(g, x, kernel, window, groups)
    if x.rank not in (4, 5):
        raise UnsupportedError(f"TensorFlow has no convolution of rank {x.rank}.")
    if any(d != 1 for d in window.dilations):
        return _atrous(g, x, kernel, window, groups)
    padding = _padding_name(x, [int(k) for k in kernel.dims[:-2]], window)
    if padding is None:
        around = [(0, 0), *window.padding, (0, 0)]
        x, padding = _cut_and_pad(g, x, around), "VALID"
    if groups == int(x.dims[-1]) and groups > 1 and x.rank == 4:
        return _depthwise(g, x, kernel, window, padding)
    if groups > 1:
        return _grouped(g, x, kernel, window, groups, padding)
    return g.op(
        "Conv2D" if x.rank == 4 else "Conv3D",
        x,
        kernel,
        strides=(1, *window.strides, 1),
        padding=padding,
        shape=window.shape,
    )


def _atrous(g: Graph, x: Value, kernel: Value, window: Window, groups: int) -> Value:
    """A dilated convolution: a plain one over every n-th place of each dimension.

    The places that are n apart become an example of the batch, and go back.
    """
    steps = window.dilations
    x = cut(g, x, [(0, 0), *window.padding, (0, 0)])
    edges = [(at_least_zero(low), at_least_zero(high)) for low, high in window.padding]
    batch, *dims, channels = x.dims
    dims = [dim + low + high for dim, (low, high) in zip(dims, edges, strict=True)]
    rest = [-dim % step for dim, step in zip(dims, steps, strict=True)]
    counts = [(d + r) // n for d, r, n in zip(dims, rest, steps, strict=True)]
    block = np.array(steps, np.int32)
    around = [(low, high + r) for (low, high), r in zip(edges, rest, strict=True)]
    each = batch * int(np.prod(steps))
    apart = g.op(
        "SpaceToBatchND",
        x,
        block,
        pairs(g, around),
        shape=(each, *counts, channels),
    )
    sizes = [int(k) for k in kernel.dims[:-2]]
    inner = [n - k + 1 for n, k in zip(counts, sizes, strict=True)]
    ones = (1,) * len(steps)
    plain = Window(ones, ones, ((0, 0),) * len(steps), (each, *inner, window.shape[-1]))
    result = conv_channels_last(g, apart, kernel, plain, groups)
    full = [dim - (k - 1) * n for dim, k, n in zip(dims, sizes, steps, strict=True)]
    shape = (batch, *full, window.shape[-1])
    crops = pairs(g, [(0, r) for r in rest])
    result = g.op("BatchToSpaceND", result, block, crops, shape=shape)
    if any(stride != 1 for stride in window.strides):
        start = [0] * len(shape)
        result = sliced(g, result, start, list(shape), [1, *window.strides, 1])
    return result.shaped(window.shape)


def _cut_and_pad(g: Graph, x: Value, around: Sequence[tuple[Dim, Dim]]) -> Value:
    x = cut(g, x, around)
    edges = [(at_least_zero(a), at_least_zero(b)) for a, b in around]
    return padded(g, x, scalar(0, x), edges)


def _conv_1d(g: Graph, x: Value, kernel: Value, window: Window, groups: int) -> Value:
    """A convolution along one dimension is one over an image of height 1."""
    wide = g.op("ExpandDims", x, np.int32(1), shape=(x.dims[0], 1, *x.dims[1:]))
    kernel = g.op("ExpandDims", kernel, np.int32(0), shape=(1, *kernel.dims))
    batch, *rest = window.shape
    stride = window.strides[0]
    # TensorFlow wants equal strides; the height has one place only.
    wider = Window(
        (stride, stride),
        (1, *window.dilations),
        ((0, 0), *window.padding),
        (batch, 1, *rest),
    )
    result = conv_channels_last(g, wide, kernel, wider, groups)
    return g.op("Squeeze", result, squeeze_dims=(1,), shape=window.shape)


def _depthwise(
    g: Graph, x: Value, kernel: Value, window: Window, padding: str
) -> Value:
    """Each channel on its own."""
    channels = int(x.dims[-1])
    if int(kernel.dims[-2]) != channels:
        multiplier = int(kernel.dims[-1]) // channels
        kernel = g.reshape(kernel, (*kernel.dims[:-2], channels, multiplier))
    if len(set(window.strides)) > 1:
        return _uneven_depthwise(g, x, kernel, window, padding)
    return g.op(
        "DepthwiseConv2dNative",
        x,
        kernel,
        strides=(1, *window.strides, 1),
        padding=padding,
        shape=window.shape,
    )


def _uneven_depthwise(
    g: Graph, x: Value, kernel: Value, window: Window, padding: str
) -> Value:
    """Takes every n-th place of a result: the op wants equal strides."""
    if padding == "SAME":
        x = _cut_and_pad(g, x, [(0, 0), *window.padding, (0, 0)])
    dense = g.op(
        "DepthwiseConv2dNative", x, kernel, strides=(1, 1, 1, 1), padding="VALID"
    )
    full = [
        dim - int(size) + 1
        for dim, size in zip(x.dims[1:-1], kernel.dims[:-2], strict=True)
    ]
    dense = dense.shaped((window.shape[0], *full, window.shape[-1]))
    limits = list(dense.dims)
    return sliced(g, dense, [0] * 4, limits, [1, *window.strides, 1])


def _grouped(
    g: Graph, x: Value, kernel: Value, window: Window, groups: int, padding: str
) -> Value:
    """Groups of channels one by one."""
    parts = g.op("Split", np.int32(x.rank - 1), x, num_split=groups)
    kernels = g.op("Split", np.int32(x.rank - 1), kernel, num_split=groups)
    out = [
        g.op(
            "Conv2D" if x.rank == 4 else "Conv3D",
            part,
            k,
            strides=(1, *window.strides, 1),
            padding=padding,
        )
        for part, k in zip(parts, kernels, strict=True)
    ]
    return g.op("ConcatV2", out, np.int32(x.rank - 1), shape=window.shape)


# Pools


def _pool(primitive: str, kind: str) -> None:
    @lowering(primitive)
    def lower(
        g: Graph,
        x: Value,
        *,
        window_dimensions: Sequence[int],
        window_strides: Sequence[int],
        padding: Sequence[tuple[Dim, Dim]],
        base_dilation: Sequence[int],
        window_dilation: Sequence[int],
    ) -> Value:
        if any(d != 1 for d in (*base_dilation, *window_dilation)):
            raise UnsupportedError("TensorFlow has no pools with gaps.")
        return pool(g, x, kind, window_dimensions, window_strides, padding)


def pool(
    g: Graph,
    x: Value,
    kind: str,
    sizes: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[Dim, Dim]],
) -> Value:
    """Reduces windows of an array in any layout.

    Args:
        g: Graph.
        x: Array.
        kind: `"max"`, `"min"` or `"sum"`.
        sizes: Length of the window per dimension.
        strides: Its steps.
        padding: Elements added before and after; they don't count.
    """
    if kind == "min":
        negative = g.op("Neg", x, shape=x.shape)
        largest = pool(g, negative, "max", sizes, strides, padding)
        return g.op("Neg", largest, shape=g.shape_of())
    if x.dtype not in ("float32", "float64", "bfloat16", "float16"):
        # A sum of few small integers is exact in float64.
        wide = cast(g, x, "float64")
        result = pool(g, wide, kind, sizes, strides, padding)
        return cast(g, result, x.dtype)
    if x.dtype == "float16" and x.rank == 5:  # TensorFlow pools none on a CPU.
        result = pool(g, cast(g, x, "float32"), kind, sizes, strides, padding)
        return cast(g, result, x.dtype)
    pooled = [
        d
        for d in range(x.rank)
        if sizes[d] != 1 or strides[d] != 1 or padding[d] != (0, 0)
    ]
    shape = g.shape_of()
    if any(d == 0 for d in shape):
        # No window fits, which TensorFlow refuses.
        return g.op("Fill", g.shape_tensor(shape), scalar(0, x), shape=shape)
    order = _pool_order(x.rank, pooled)
    if order is None:
        return _pool_one_by_one(g, x, kind, sizes, strides, padding, pooled)
    moved = transpose(g, x, permutation=order)
    result = _pool_channels_last(
        g,
        moved,
        kind,
        [int(sizes[d]) for d in order[1:-1]],
        Window(
            tuple(int(strides[d]) for d in order[1:-1]),
            (1,) * (x.rank - 2),
            tuple(padding[d] for d in order[1:-1]),
            tuple(shape[d] for d in order),
        ),
    )
    back = [int(i) for i in np.argsort(order)]
    return transpose(g, result, permutation=back)


def _pool_order(rank: int, pooled: Sequence[int]) -> list[int] | None:
    """Returns a permutation to channels last; `None` where the window is elsewhere."""
    if rank not in (3, 4, 5) or len(pooled) > rank - 2:
        return None
    if not {0, rank - 1} & set(pooled):
        return list(range(rank))
    if not {0, 1} & set(pooled):
        return [0, *range(2, rank), 1]
    return None


def _pool_one_by_one(
    g: Graph,
    x: Value,
    kind: str,
    sizes: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[Dim, Dim]],
    pooled: Sequence[int],
) -> Value:
    """Pools dimension after dimension, as the middle one of three."""
    for axis in pooled:
        before = _product(x.dims[:axis])
        after = _product(x.dims[axis + 1 :])
        low, high = padding[axis]
        length = (x.dims[axis] + low + high - sizes[axis]) // strides[axis] + 1
        flat = g.reshape(x, (before, x.dims[axis], after))
        window = Window(
            (int(strides[axis]),), (1,), (padding[axis],), (before, length, after)
        )
        result = _pool_channels_last(g, flat, kind, [int(sizes[axis])], window)
        x = g.reshape(result, (*x.dims[:axis], length, *x.dims[axis + 1 :]))
    return x


def _product(dims: Sequence[Dim]) -> Dim:
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def _pool_channels_last(
    g: Graph, x: Value, kind: str, sizes: Sequence[int], window: Window
) -> Value:
    if x.rank == 3:
        wide = g.op("ExpandDims", x, np.int32(1), shape=(x.dims[0], 1, *x.dims[1:]))
        batch, *rest = window.shape
        wider = Window(
            (1, *window.strides), (1, 1), ((0, 0), *window.padding), (batch, 1, *rest)
        )
        result = _pool_channels_last(g, wide, kind, [1, *sizes], wider)
        return g.op("Squeeze", result, squeeze_dims=(1,), shape=window.shape)
    padding = _padding_name(x, sizes, window)
    if padding is None or (kind == "sum" and padding == "SAME"):
        outside = scalar(-np.inf if kind == "max" else 0, x)
        around = [(0, 0), *window.padding, (0, 0)]
        x, padding = padded(g, x, outside, around), "VALID"
    name = ("MaxPool" if kind == "max" else "AvgPool") + ("3D" if x.rank == 5 else "")
    result = g.op(
        name,
        x,
        ksize=(1, *sizes, 1),
        strides=(1, *window.strides, 1),
        padding=padding,
        shape=window.shape,
    )
    if kind == "max":
        return result
    count = scalar(float(np.prod(sizes)), x)
    return g.op("Mul", result, count, shape=window.shape)


_pool("reduce_window_max", "max")
_pool("reduce_window_min", "min")
_pool("reduce_window_sum", "sum")
