"""Computations of several primitives that TensorFlow has one op for.

A lowering returns `None` where TensorFlow's op can't do what is asked for; then the
primitives themselves are lowered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.lowerings.array import transpose
from regraft.graph.tracing.lowerings.elementwise import cast, scalar, unary
from regraft.graph.tracing.lowerings.random import uniform
from regraft.graph.tracing.registry import composite
from regraft.graph.tracing.values import Dim, Value


@composite("batch_normalization")
def batch_normalization(
    g: Graph,
    x: Value,
    mean: Value,
    variance: Value,
    *rest: Value,
    axis: int,
    epsilon: float,
    has_offset: bool,
    has_scale: bool,
) -> Value:
    """`(x - mean) / sqrt(variance + epsilon) * scale + offset`.

    TensorFlow's fused op has no derivative with regard to mean and variance, so it
    serves only where they are what variables hold.
    """
    fits = x.rank == 4 and axis in (1, 3, -1) and x.dtype == "float32"
    if not fits or mean.variable is None or variance.variable is None:
        given = iter(rest)
        offset_value = next(given) if has_offset else None
        scale_value = next(given) if has_scale else None
        return _normalized(
            g, x, mean, variance, offset_value, scale_value, axis % x.rank, epsilon
        )
    channels = int(mean.dims[0])
    zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    offset = rest[0] if has_offset else Value.of(zeros, "float32")
    scale = rest[-1] if has_scale else Value.of(ones, "float32")
    if axis == 1:
        x = transpose(g, x, permutation=(0, 2, 3, 1))
    outputs = g.op(
        "FusedBatchNormV3",
        x,
        scale,
        offset,
        mean,
        variance,
        U="float32",
        epsilon=epsilon,
        is_training=False,
    )
    result: Value = outputs[0].shaped(x.dims)
    return transpose(g, result, permutation=(0, 3, 1, 2)) if axis == 1 else result


def _normalized(
    g: Graph,
    x: Value,
    mean: Value,
    variance: Value,
    offset: Value | None,
    scale: Value | None,
    axis: int,
    epsilon: float,
) -> Value:
    """Multiplies and adds, in the order in which Keras does."""
    lengths = tuple(mean.dims[0] if i == axis else 1 for i in range(x.rank))
    channels = mean.dims if axis == x.rank - 1 else lengths

    def wide(value: Value) -> Value:
        return g.reshape(value, channels)

    shifted = g.op("AddV2", wide(variance), scalar(epsilon, variance), shape=channels)
    factor = g.op("Rsqrt", shifted, shape=channels)
    if scale is not None:
        factor = g.op("Mul", factor, wide(scale), shape=channels)
    product = g.op("Mul", wide(mean), factor, shape=channels)
    if offset is None:
        shift = g.op("Neg", product, shape=channels)
    else:
        shift = g.op("Sub", wide(offset), product, shape=channels)
    scaled = g.op("Mul", x, factor, shape=x.shape)
    return g.op("AddV2", scaled, shift, shape=x.shape)


@composite("softmax", "log_softmax")
def _softmax(g: Graph, x: Value, *, axis: Any, op: str) -> Value | None:
    """Along the last dimension."""
    if axis not in (-1, x.rank - 1) or x.rank < 1:
        return None
    return g.op(op, x, shape=x.shape)


@composite("activation")
def activation(g: Graph, x: Value, *, op: str, **attrs: Any) -> Value:
    """One op of one operand."""
    return unary(g, op, x)


@composite("leaky_relu")
def leaky_relu(g: Graph, x: Value, *, alpha: float) -> Value:
    """`x`, or `alpha * x` where that is negative."""
    return g.op("LeakyRelu", x, alpha=alpha, shape=x.shape)


@composite("gelu")
def gelu(g: Graph, x: Value) -> Value:
    """`x` times the normal distribution's integral up to it.

    It is written with `Erf`, as TensorFlow does: converters know no `Erfc`.
    """
    root = g.op("RealDiv", x, np.sqrt(2.0), shape=x.shape)
    integral = g.op("AddV2", g.op("Erf", root, shape=x.shape), 1.0, shape=x.shape)
    half = g.op("Mul", x, 0.5, shape=x.shape)
    return g.op("Mul", half, integral, shape=x.shape)


@composite("average_pool")
def average_pool(
    g: Graph,
    x: Value,
    *,
    sizes: Sequence[int],
    strides: Sequence[int],
    padding: str,
    channels_first: bool,
) -> Value | None:
    """Means of windows; padding doesn't count."""
    if x.rank not in (3, 4, 5):
        return None
    order = [0, *range(2, x.rank), 1] if channels_first else list(range(x.rank))
    shape = tuple(g.shape_of()[d] for d in order)
    moved = transpose(g, x, permutation=order)
    result = _average(g, moved, list(sizes), list(strides), padding, shape)
    back = [int(i) for i in np.argsort(order)]
    return transpose(g, result, permutation=back)


def _average(
    g: Graph,
    x: Value,
    sizes: list[int],
    strides: list[int],
    padding: str,
    shape: tuple[Dim, ...],
) -> Value:
    if x.rank == 3:
        wide = g.op("ExpandDims", x, np.int32(1), shape=(x.dims[0], 1, *x.dims[1:]))
        result = _average(
            g, wide, [1, *sizes], [1, *strides], padding, (shape[0], 1, *shape[1:])
        )
        return g.op("Squeeze", result, squeeze_dims=(1,), shape=shape)
    if x.dtype == "float16" and x.rank == 5:  # TensorFlow pools none on a CPU.
        wide = cast(g, x, "float32")
        result = _average(g, wide, sizes, strides, padding, shape)
        return cast(g, result, x.dtype)
    return g.op(
        "AvgPool" if x.rank == 4 else "AvgPool3D",
        x,
        ksize=(1, *sizes, 1),
        strides=(1, *strides, 1),
        padding=padding,
        shape=shape,
    )


@composite("mean")
def mean(g: Graph, x: Value, *, axes: Sequence[int] | None, keepdims: bool) -> Value:
    """Mean along dimensions."""
    places = range(x.rank) if axes is None else [a % x.rank for a in axes]
    if not places:
        return x
    return g.op(
        "Mean", x, np.array(places, np.int32), keep_dims=keepdims, shape=g.shape_of()
    )


@composite("moments")
def moments(
    g: Graph, x: Value, *, axes: Sequence[int], keepdims: bool
) -> list[Value] | None:
    """Mean and variance."""
    if x.dtype != "float32":
        return None
    places = np.array([a % x.rank for a in axes], np.int32)
    wide = g.op("Mean", x, places, keep_dims=True)
    square = g.op("SquaredDifference", x, g.op("StopGradient", wide))
    shape = g.shape_of()
    average = wide
    if not keepdims:
        average = g.op("Squeeze", wide, squeeze_dims=sorted(map(int, places)))
    variance = g.op("Mean", square, places, keep_dims=keepdims, shape=shape)
    return [average.shaped(shape), variance]


@composite("einsum")
def einsum(g: Graph, *operands: Value, equation: str) -> Value | None:
    """Sums of products; TensorFlow knows no broadcasting of two ellipses in it."""
    if len(operands) > 2 or len({x.dtype for x in operands}) > 1:
        return None
    return g.op("Einsum", list(operands), equation=equation, shape=g.shape_of())


@composite("dot_product_attention")
def dot_product_attention(
    g: Graph,
    query: Value,
    key: Value,
    value: Value,
    *rest: Value,
    scale: float,
    has_bias: bool,
    has_mask: bool,
) -> Value | None:
    """Attention over `[batch, length, heads, depth]`."""
    if query.dtype not in ("float32", "float64"):
        return None
    batch, length, heads, _ = query.dims
    scores = (batch, heads, length, key.dims[1])
    scaled = g.op("Mul", query, scalar(scale, query), shape=query.shape)
    product = g.op("Einsum", [key, scaled], equation="aecd,abcd->acbe", shape=scores)
    if has_bias:
        product = g.op("AddV2", product, rest[0], shape=scores)
    if has_mask:
        lowest = -0.7 * float(np.finfo(query.dtype).max)
        product = g.op("SelectV2", rest[-1], product, scalar(lowest, query))
    weights = g.op("Softmax", product, shape=scores)
    return g.op(
        "Einsum", [weights, value], equation="acbe,aecd->abcd", shape=g.shape_of()
    )


@composite("take")
def take(g: Graph, x: Value, indices: Value, *, axis: int) -> Value | None:
    """Rows of a variable, as an embedding looks them up."""
    if x.variable is None or axis != 0 or indices.dtype not in ("int32", "int64"):
        return None
    if x.variable.held != x.dtype:  # What is gathered would be of another dtype.
        return None
    return g.gather_variable(x, indices)


@composite("one_hot")
def one_hot(g: Graph, x: Value, *, num_classes: int, axis: int) -> Value:
    """One where the class is, else zero."""
    dtype = g.dtype_of()
    one, zero = (np.asarray(n, np.dtype("float32")) for n in (1, 0))
    values = [cast(g, Value.of(n, "float32"), dtype) for n in (one, zero)]
    if "int" not in x.dtype:
        x = cast(g, x, "int32")
    return g.op(
        "OneHot", x, np.int32(num_classes), *values, axis=axis, shape=g.shape_of()
    )


@composite("conv_transpose")
def conv_transpose(
    g: Graph,
    x: Value,
    kernel: Value,
    *,
    strides: Sequence[int],
    padding: str,
    dilations: Sequence[int],
) -> Value | None:
    """The derivative of a convolution; channels last."""
    shape = g.shape_of()
    if x.rank == 3:
        return _conv_transpose_1d(g, x, kernel, strides, padding, dilations, shape)
    if x.rank not in (4, 5) or any(d != 1 for d in dilations):
        return None
    op = "Conv2DBackpropInput" if x.rank == 4 else "Conv3DBackpropInputV2"
    return g.op(
        op,
        g.shape_tensor(shape),
        kernel,
        x,
        strides=(1, *strides, 1),
        padding=padding,
        shape=shape,
    )


def _conv_transpose_1d(
    g: Graph,
    x: Value,
    kernel: Value,
    strides: Sequence[int],
    padding: str,
    dilations: Sequence[int],
    shape: tuple[Dim, ...],
) -> Value | None:
    if any(d != 1 for d in dilations):
        return None
    wide = g.op("ExpandDims", x, np.int32(1))
    flat = g.op("ExpandDims", kernel, np.int32(0))
    stride = int(strides[0])
    result = g.op(
        "Conv2DBackpropInput",
        g.shape_tensor((shape[0], 1, *shape[1:])),
        flat,
        wide,
        strides=(1, 1, stride, 1),
        padding=padding,
    )
    return g.op("Squeeze", result, squeeze_dims=(1,), shape=shape)


@composite("resize")
def resize(g: Graph, x: Value, *, interpolation: str) -> Value | None:
    """Resizes images, channels last."""
    if x.rank != 4:
        return None
    op = {"nearest": "ResizeNearestNeighbor", "bilinear": "ResizeBilinear"}
    if interpolation not in op:
        return None
    target = g.shape_tensor(g.shape_of()[1:3])
    result = g.op(op[interpolation], x, target, half_pixel_centers=True)
    return cast(g, result, g.dtype_of()).shaped(g.shape_of())


# Random numbers


@composite("dropout")
def dropout(g: Graph, x: Value, *, rate: float, noise_shape: tuple[Dim, ...]) -> Value:
    """Zeros a share of the elements and scales the others up."""
    noise = uniform(g, noise_shape, "float32")
    kept = g.op("GreaterEqual", noise, np.float32(rate), shape=noise_shape)
    larger = g.op("RealDiv", x, scalar(1.0 - rate, x), shape=x.shape)
    return g.op("SelectV2", kept, larger, scalar(0, x), shape=x.shape)


def _drawn(
    g: Graph, value: Any, shape: tuple[Dim, ...], scale: Value, shift: Value
) -> Value:
    value = g.op("Mul", value, scale, shape=shape)
    return g.op("AddV2", value, shift, shape=shape)


def _kind(dtype: str) -> str:
    """Returns a dtype that TensorFlow draws numbers of."""
    return dtype if dtype.startswith(("float", "bfloat")) else "float32"


@composite("random_uniform")
def random_uniform(g: Graph, low: Value, high: Value) -> Value:
    """Uniform numbers."""
    shape, dtype = g.shape_of(), g.dtype_of()
    low, high = cast(g, low, dtype), cast(g, high, dtype)
    span = g.op("Sub", high, low)
    return _drawn(g, uniform(g, shape, _kind(dtype)), shape, span, low)


def _normal(name: str, op: str) -> Callable[..., Value]:
    @composite(name)
    def lower(g: Graph, mean: Value, stddev: Value) -> Value:
        shape, dtype = g.shape_of(), g.dtype_of()
        drawn = g.op(op, g.shape_tensor(shape), dtype=_kind(dtype), shape=shape)
        return _drawn(g, drawn, shape, cast(g, stddev, dtype), cast(g, mean, dtype))

    return lower


_normal("random_normal", "RandomStandardNormal")
_normal("random_truncated_normal", "TruncatedNormal")


@composite("random_integers")
def random_integers(g: Graph, low: Value, high: Value) -> Value:
    """Uniform integers."""
    shape = g.shape_of()
    drawn = g.op(
        "RandomUniformInt",
        g.shape_tensor(shape),
        cast(g, low, "int64"),
        cast(g, high, "int64"),
        Tout="int64",
        shape=shape,
    )
    return cast(g, drawn, g.dtype_of())


@composite("random_categorical")
def random_categorical(g: Graph, logits: Value, *, num_samples: int) -> Value:
    """Classes drawn by their logits."""
    drawn = g.op(
        "Multinomial",
        logits,
        np.int32(num_samples),
        output_dtype="int32",
        shape=g.shape_of(),
    )
    return cast(g, drawn, g.dtype_of())


@composite("matrix")
def matrix(g: Graph, *operands: Value, op: str) -> Value | list[Value] | None:
    """One op on matrices that JAX computes in several steps."""
    ranks = {x.rank for x in operands}
    if len(ranks) > 1 or any(x.dtype not in ("float32", "float64") for x in operands):
        return None
    if len(g.out) > 1:
        return list(g.op(op, *operands))
    return g.op(op, *operands, shape=g.shape_of())


@composite("qr")
def qr(g: Graph, x: Value, *, full_matrices: bool) -> list[Value]:
    """Orthogonal times upper triangular matrix."""
    return list(g.op("Qr", x, full_matrices=full_matrices))


@composite("random_shuffle")
def random_shuffle(g: Graph, x: Value, *, axis: int) -> Value | None:
    """Shuffles along the first dimension."""
    return g.op("RandomShuffle", x, shape=x.shape) if axis == 0 else None
