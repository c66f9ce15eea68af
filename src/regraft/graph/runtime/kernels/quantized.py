"""Arithmetic on quantized numbers, as graphs of TensorFlow 1's quantizer have it.

A quantized number is whole and stands for a real one between two bounds, which
travel beside it as tensors. Sums and products are 32 bits wide.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.nn import pool
from regraft.graph.runtime.kernels.quantize import BITS, half_away
from regraft.graph.runtime.kernels.space import dilated, same_padding, shifts
from regraft.graph.runtime.registry import KERNELS, kernel

Ints = tuple[int, ...]

# The sum of two ranges is as wide as the wider one, times this.
_ROOM_FOR_SUM = 2.0**14
_ROOM_FOR_BIAS = 2.0**17


def _lowest(kind: str) -> float:
    return 0.0 if kind.startswith("qu") else -(2.0 ** (BITS[kind] - 1))


def _steps(kind: str) -> float:
    return 2.0 ** BITS[kind] - 1


def _real(x: Any) -> Any:
    return ops.cast(values.to_tensor(x), "float32")


def _bounds(*items: Any) -> list[Any]:
    """Bounds as scalars; a file may have vectors of one element."""
    return [ops.reshape(_real(item), ()) for item in items]


def _step(low: Any, high: Any, kind: str) -> Any:
    """How far apart the numbers are that two neighbours stand for."""
    return (high - low) / _steps(kind)


def _divisor(step: Any) -> Any:
    """One where a step is nothing; what is divided then isn't used."""
    return ops.where(step == 0, ops.ones_like(step), step)


def _whole(x: Any, low: Any, high: Any, kind: str) -> Any:
    """The quantized numbers for real ones, not yet within the bounds."""
    step = _step(low, high, kind)
    safe = _divisor(step)
    lowest = _lowest(kind)
    if BITS[kind] == 32:
        # Far from zero float32 has no units: what is the middle counts from there.
        found = half_away((x - (low + high) / 2) / safe)
    else:
        found = half_away(x / safe) - half_away(low / safe) + lowest
    return ops.where(step == 0, ops.full_like(found, lowest), found)


def _quantized(x: Any, low: Any, high: Any, kind: str) -> Any:
    lowest = _lowest(kind)
    highest = lowest + _steps(kind)
    if BITS[kind] == 32:
        highest = 2.0**31 - 128  # The largest float32 below.
    return values.cast(ops.clip(_whole(x, low, high, kind), lowest, highest), kind)


def _meant(x: Any, low: Any, high: Any, kind: str) -> Any:
    """The real numbers that quantized ones stand for."""
    x, step = _real(x), _step(low, high, kind)
    if BITS[kind] == 32:
        found = (low + high) / 2 + (x + 0.5) * step
    else:
        safe = _divisor(step)
        found = (half_away(low / safe) + x - _lowest(kind)) * step
    return ops.where(step == 0, low + ops.zeros_like(found), found)


def _centered(x: Any, low: Any, high: Any, kind: str) -> Any:
    """Whole numbers that are 0 where what they stand for is."""
    zero = _whole(ops.zeros_like(low), low, high, kind)
    return values.cast(values.to_tensor(x), "int32") - values.cast(zero, "int32")


def _product_bounds(one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, Any]:
    step = _step(*one) * _step(*other)
    return step * -(2.0**31), step * (2.0**31 - 1)


def _sum_bounds(bounds: list[Any], room: float) -> tuple[Any, Any]:
    low_x, high_x, low_y, high_y = bounds
    widest = ops.maximum(ops.maximum(high_x, -low_x), ops.maximum(high_y, -low_y))
    return -widest * room, widest * room


def _only_to(kind: str, wanted: str) -> None:
    if kind != wanted:
        raise UnsupportedError(f"Quantized numbers as {kind}; TensorFlow has {wanted}.")


# Products


@kernel("QuantizedMatMul", ignored=("Tactivation",))
def quantized_mat_mul(
    a: Any,
    b: Any,
    min_a: Any,
    max_a: Any,
    min_b: Any,
    max_b: Any,
    *,
    T1: str,
    T2: str,
    Toutput: str,
    transpose_a: bool,
    transpose_b: bool,
) -> tuple[Any, Any, Any]:
    """The product of two matrices."""
    _only_to(Toutput, "qint32")
    low_a, high_a, low_b, high_b = _bounds(min_a, max_a, min_b, max_b)
    one, other = (low_a, high_a, T1), (low_b, high_b, T2)
    x, y = _centered(a, *one), _centered(b, *other)
    x = ops.transpose(x) if transpose_a else x
    y = ops.transpose(y) if transpose_b else y
    return (ops.matmul(x, y), *_product_bounds(one, other))


@kernel("QuantizedMul")
def quantized_mul(
    x: Any,
    y: Any,
    min_x: Any,
    max_x: Any,
    min_y: Any,
    max_y: Any,
    *,
    T1: str,
    T2: str,
    Toutput: str,
) -> tuple[Any, Any, Any]:
    """Products one by one."""
    _only_to(Toutput, "qint32")
    low_x, high_x, low_y, high_y = _bounds(min_x, max_x, min_y, max_y)
    one, other = (low_x, high_x, T1), (low_y, high_y, T2)
    found = _centered(x, *one) * _centered(y, *other)
    return (found, *_product_bounds(one, other))


@kernel("QuantizedConv2D")
def quantized_conv2d(
    input: Any,
    filter: Any,
    min_input: Any,
    max_input: Any,
    min_filter: Any,
    max_filter: Any,
    *,
    Tinput: str,
    Tfilter: str,
    out_type: str,
    strides: Ints,
    padding: str,
    dilations: Ints,
) -> tuple[Any, Any, Any]:
    """A convolution of images in NHWC."""
    _only_to(out_type, "qint32")
    low_x, high_x, low_f, high_f = _bounds(min_input, max_input, min_filter, max_filter)
    one, other = (low_x, high_x, Tinput), (low_f, high_f, Tfilter)
    x, weight = _centered(input, *one), _centered(filter, *other)
    sizes, steps, rates = values.shape_of(weight)[:2], strides[1:3], dilations[1:3]
    widths = [[0, 0]] * 4
    if padding == "SAME":
        widths = [[0, 0], *same_padding(x, dilated(sizes, rates), steps), [0, 0]]
    # What is outside stands for zero, which is 0 by now.
    x = ops.pad(x, widths)
    total = None
    for place, at in shifts(x, sizes, steps, rates):
        found = ops.matmul(x[at], weight[place])
        total = found if total is None else total + found
    return (total, *_product_bounds(one, other))


# Sums


def _sum(
    x: Any, y: Any, bounds: list[Any], kinds: tuple[str, str, str], room: float
) -> tuple[Any, Any, Any]:
    _only_to(kinds[2], "qint32")
    low, high = _sum_bounds(bounds, room)
    one = _quantized(_meant(x, bounds[0], bounds[1], kinds[0]), low, high, kinds[2])
    other = _quantized(_meant(y, bounds[2], bounds[3], kinds[1]), low, high, kinds[2])
    return one + other, low, high


@kernel("QuantizedBiasAdd")
def quantized_bias_add(
    input: Any,
    bias: Any,
    min_input: Any,
    max_input: Any,
    min_bias: Any,
    max_bias: Any,
    *,
    T1: str,
    T2: str,
    out_type: str,
) -> tuple[Any, Any, Any]:
    """The sum with a number per channel."""
    bounds = _bounds(min_input, max_input, min_bias, max_bias)
    return _sum(input, bias, bounds, (T1, T2, out_type), _ROOM_FOR_BIAS)


@kernel("QuantizedAdd", limits="exact where TensorFlow's own takes whole steps")
def quantized_add(
    x: Any,
    y: Any,
    min_x: Any,
    max_x: Any,
    min_y: Any,
    max_y: Any,
    *,
    T1: str,
    T2: str,
    Toutput: str,
) -> tuple[Any, Any, Any]:
    """Sums one by one."""
    bounds = _bounds(min_x, max_x, min_y, max_y)
    return _sum(x, y, bounds, (T1, T2, Toutput), _ROOM_FOR_SUM)


# Activations


def _clipped(x: Any, low: Any, high: Any, kind: str, most: float | None) -> Any:
    zero = _quantized(ops.zeros_like(low), low, high, kind)
    x = ops.maximum(values.to_tensor(x), zero)
    if most is None:
        return x
    return ops.minimum(x, _quantized(ops.full_like(low, most), low, high, kind))


@kernel("QuantizedRelu")
def quantized_relu(
    features: Any, min_features: Any, max_features: Any, *, Tinput: str, out_type: str
) -> tuple[Any, Any, Any]:
    """Nothing below what stands for zero."""
    _only_to(out_type, Tinput)
    low, high = _bounds(min_features, max_features)
    return _clipped(features, low, high, Tinput, None), low, high


@kernel("QuantizedRelu6")
def quantized_relu6(
    features: Any, min_features: Any, max_features: Any, *, Tinput: str, out_type: str
) -> tuple[Any, Any, Any]:
    """Nothing below what stands for 0, nor above what stands for 6."""
    _only_to(out_type, Tinput)
    low, high = _bounds(min_features, max_features)
    return _clipped(features, low, high, Tinput, 6.0), low, high


# Images


@kernel("QuantizedMaxPool", ignored=("T",))
def quantized_max_pool(
    input: Any,
    min_input: Any,
    max_input: Any,
    *,
    ksize: Ints,
    strides: Ints,
    padding: str,
) -> tuple[Any, Any, Any]:
    """The largest number of each window."""
    found = pool("max", _real(input), ksize, strides, padding, "NHWC")
    dtype = values.dtype_of(values.to_tensor(input))
    return ops.cast(found, dtype), *_bounds(min_input, max_input)


@kernel("QuantizedAvgPool", ignored=("T",))
def quantized_avg_pool(
    input: Any,
    min_input: Any,
    max_input: Any,
    *,
    ksize: Ints,
    strides: Ints,
    padding: str,
) -> tuple[Any, Any, Any]:
    """The mean of each window, rounded."""
    found = pool("mean", _real(input), ksize, strides, padding, "NHWC")
    dtype = values.dtype_of(values.to_tensor(input))
    return ops.cast(ops.round(found), dtype), *_bounds(min_input, max_input)


@kernel(
    "QuantizedResizeBilinear",
    static=("size",),
    limits="exact where TensorFlow's own is up to two steps off",
)
def quantized_resize_bilinear(
    images: Any,
    size: Any,
    min: Any,
    max: Any,
    *,
    T: str,
    align_corners: bool,
    half_pixel_centers: bool,
) -> tuple[Any, Any, Any]:
    """Images of another size."""
    low, high = _bounds(min, max)
    found = KERNELS["ResizeBilinear"].function(
        _real(images),
        size,
        align_corners=align_corners,
        half_pixel_centers=half_pixel_centers,
    )
    return (found if T == "float32" else values.cast(half_away(found), T)), low, high


# Bounds


def _requantized(x: Any, old: list[Any], low: Any, high: Any, kinds: Any) -> Any:
    """Numbers between other bounds."""
    meant = _meant(x, old[0], old[1], kinds[0])
    if kinds != ("qint32", "quint8"):
        return _quantized(meant, low, high, kinds[1])
    # TensorFlow rounds here what is counted from the lower bound.
    step = _step(low, high, kinds[1])
    found = ops.clip(ops.floor((meant - low) / _divisor(step) + 0.5), 0, 255)
    return values.cast(ops.where(step == 0, ops.zeros_like(found), found), kinds[1])


@kernel("QuantizedConcat", static=("concat_dim",), ignored=("N",))
def quantized_concat(
    concat_dim: Any,
    values_in: list[Any],
    input_mins: list[Any],
    input_maxes: list[Any],
    *,
    T: str,
) -> tuple[Any, Any, Any]:
    """Tensors one after the other, between the widest of their bounds."""
    lows, highs = _bounds(*input_mins), _bounds(*input_maxes)
    low = ops.minimum(ops.min(ops.stack(lows)), 0.0)
    high = ops.max(ops.stack(highs))
    parts = []
    for x, first, last in zip(values_in, lows, highs, strict=True):
        moved = _quantized(_meant(x, first, last, T), low, high, T)
        same = ops.logical_and(first == low, last == high)
        parts.append(ops.where(same, values.to_tensor(x), moved))
    return ops.concatenate(parts, int(concat_dim)), low, high


@kernel("QuantizedReshape", static=("shape",), ignored=("T", "Tshape"))
def quantized_reshape(
    tensor: Any, shape: Any, input_min: Any, input_max: Any
) -> tuple[Any, Any, Any]:
    """The same numbers in another shape."""
    found = ops.reshape(values.to_tensor(tensor), values.dims(shape))
    return found, *_bounds(input_min, input_max)


def _used(x: Any, low: Any, high: Any, kind: str) -> tuple[Any, Any]:
    """The bounds of what is there; zero is between them."""
    x = values.to_tensor(x)
    found = _meant(ops.stack([ops.min(x), ops.max(x)]), low, high, kind)
    return ops.minimum(found[0], ops.zeros_like(low)), found[1]


@kernel("RequantizationRange")
def requantization_range(
    input: Any, input_min: Any, input_max: Any, *, Tinput: str
) -> tuple[Any, Any]:
    """The bounds of the numbers that are there."""
    low, high = _bounds(input_min, input_max)
    return _used(input, low, high, Tinput)


@kernel("Requantize")
def requantize(
    input: Any,
    input_min: Any,
    input_max: Any,
    requested_output_min: Any,
    requested_output_max: Any,
    *,
    Tinput: str,
    out_type: str,
) -> tuple[Any, Any, Any]:
    """The numbers between other bounds."""
    old = _bounds(input_min, input_max)
    low, high = _bounds(requested_output_min, requested_output_max)
    return _requantized(input, old, low, high, (Tinput, out_type)), low, high


@kernel("QuantizeDownAndShrinkRange")
def quantize_down_and_shrink_range(
    input: Any, input_min: Any, input_max: Any, *, Tinput: str, out_type: str
) -> tuple[Any, Any, Any]:
    """The numbers between the bounds of those that are there."""
    old = _bounds(input_min, input_max)
    low, high = _used(input, old[0], old[1], Tinput)
    return _requantized(input, old, low, high, (Tinput, out_type)), low, high
