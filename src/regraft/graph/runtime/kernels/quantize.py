"""Quantized numbers, and the rounding to them that training imitates."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels import kinks, values
from regraft.graph.runtime.registry import kernel


def fake_quantized(
    low: Any, high: Any, num_bits: int, narrow_range: bool
) -> tuple[Any, Any, Any]:
    """Returns bounds moved so that zero is on their grid, and the grid's step."""
    low, high = (values.to_tensor(v, "float32") for v in (low, high))
    first, last = int(narrow_range), 2**num_bits - 1
    # XLA multiplies by the inverse of a constant, and one bit more or less moves the
    # grid by a step where its zero is halfway, as between bounds -a and a.
    steps = ops.where(ops.isnan(high), high, float(last - first))
    scale = (high - low) / steps
    zero = first - low / ops.where(scale == 0, ops.ones_like(scale), scale)
    zero = ops.clip(ops.floor(zero + 0.5), first, last)
    return (first - zero) * scale, (last - zero) * scale, scale


def _learned(value: Any, bound: Any) -> Any:
    """Returns `value`, whose gradient is that of `bound`."""
    bound = values.to_tensor(bound, "float32")
    return value + (bound - ops.stop_gradient(bound))


def _fake(x: Any, low: Any, high: Any, num_bits: int, narrow_range: bool) -> Any:
    """Rounds to a grid whose zero is exact; gradients pass where it is inside."""
    x, given = values.to_tensor(x), (low, high)
    low, high, scale = map(
        ops.stop_gradient, fake_quantized(low, high, num_bits, narrow_range)
    )
    # A bound's gradient is that of what is outside of it, however far it was moved.
    clipped = kinks.clip(x, _learned(low, given[0]), _learned(high, given[1]))
    inverse = 1.0 / ops.where(scale == 0, ops.ones_like(scale), scale)
    rounded = ops.floor(clipped * inverse + 0.5) * scale
    # The rounding itself has no gradient; that of the clipping stands for it.
    out = clipped + ops.stop_gradient(rounded - clipped)
    return ops.where(scale == 0, ops.zeros_like(out), out)


@kernel("FakeQuantWithMinMaxArgs")
def fake_quant_with_min_max_args(
    inputs: Any, *, min: float, max: float, num_bits: int, narrow_range: bool
) -> Any:
    """Numbers rounded as if they were quantized."""
    low, high = np.float32(min), np.float32(max)
    return _fake(inputs, low, high, num_bits, narrow_range)


@kernel("FakeQuantWithMinMaxVars")
def fake_quant_with_min_max_vars(
    inputs: Any, min: Any, max: Any, *, num_bits: int, narrow_range: bool
) -> Any:
    """Numbers rounded as if they were quantized between learned bounds."""
    return _fake(inputs, min, max, num_bits, narrow_range)


@kernel("FakeQuantWithMinMaxVarsPerChannel")
def fake_quant_with_min_max_vars_per_channel(
    inputs: Any, min: Any, max: Any, *, num_bits: int, narrow_range: bool
) -> Any:
    """Numbers rounded as if they were quantized, with bounds per channel."""
    return _fake(inputs, min, max, num_bits, narrow_range)


def _per_axis(x: Any, bound: Any, axis: int) -> Any:
    if axis < 0:
        return bound
    shape = [-1 if i == axis else 1 for i in range(values.rank_of(x))]
    return ops.reshape(bound, shape)


def _quantize_dequantize(
    x: Any,
    low: Any,
    high: Any,
    signed_input: bool,
    num_bits: int,
    range_given: bool,
    round_mode: str,
    narrow_range: bool,
    axis: int,
) -> Any:
    x = values.to_tensor(x)
    if range_given:
        low, high = values.to_tensor(low), values.to_tensor(high)
    else:
        axes = tuple(i for i in range(values.rank_of(x)) if axis < 0 or i != axis)
        low, high = ops.min(x, axis=axes), ops.max(x, axis=axes)
    first = (
        (-(2 ** (num_bits - 1)) + int(narrow_range))
        if signed_input
        else (int(narrow_range) * 0)
    )
    last = 2 ** (num_bits - 1) - 1 if signed_input else 2**num_bits - 1
    one = ops.ones_like(low)
    large = float("inf")
    from_low = ops.where(first * low > 0, first / ops.where(low == 0, one, low), large)
    from_high = ops.where(
        last * high > 0, last / ops.where(high == 0, one, high), large
    )
    scale = ops.minimum(from_low, from_high)
    smaller = from_low < from_high
    high = ops.where(smaller, last / scale, high)
    low = ops.where(smaller, low, first / scale)
    scale, low, high = (_per_axis(x, v, axis) for v in (scale, low, high))
    clipped = ops.clip(x, low, high) if range_given else x
    rounded = clipped * scale
    rounded = (
        ops.round(rounded)
        if round_mode == "HALF_TO_EVEN"
        else (ops.floor(rounded + 0.5))
    )
    return rounded / scale


@kernel("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV4")
def quantize_and_dequantize_v2(
    input: Any,
    input_min: Any,
    input_max: Any,
    *,
    signed_input: bool,
    num_bits: int,
    range_given: bool,
    round_mode: str,
    narrow_range: bool,
    axis: int,
) -> Any:
    """Numbers rounded as if they were quantized."""
    return _quantize_dequantize(
        input,
        input_min,
        input_max,
        signed_input,
        num_bits,
        range_given,
        round_mode,
        narrow_range,
        axis,
    )


@kernel("QuantizeAndDequantizeV3", static=("num_bits",))
def quantize_and_dequantize_v3(
    input: Any,
    input_min: Any,
    input_max: Any,
    num_bits: Any,
    *,
    signed_input: bool,
    range_given: bool,
    narrow_range: bool,
    axis: int,
) -> Any:
    """Numbers rounded as if they were quantized to a number of bits."""
    return _quantize_dequantize(
        input,
        input_min,
        input_max,
        signed_input,
        int(num_bits),
        range_given,
        "HALF_TO_EVEN",
        narrow_range,
        axis,
    )


# Real numbers from quantized ones

BITS = {"qint8": 8, "quint8": 8, "qint16": 16, "quint16": 16, "qint32": 32}


@kernel("Dequantize")
def dequantize(
    input: Any,
    min_range: Any,
    max_range: Any,
    *,
    T: str,
    mode: str,
    narrow_range: bool,
    axis: int,
    dtype: str,
) -> Any:
    """The real numbers that quantized ones stand for."""
    bits = BITS[T]
    signed = not T.startswith("qu")
    lowest = -(2.0 ** (bits - 1)) if signed else 0.0
    highest = lowest + 2.0**bits - 1
    x = ops.cast(values.to_tensor(input), "float32")
    low = _per_axis(x, values.to_tensor(min_range), axis)
    high = _per_axis(x, values.to_tensor(max_range), axis)
    if mode == "MIN_COMBINED":
        half = 2.0 ** (bits - 1) if signed else 0.0
        out = (x + half) * ((high - low) / (highest - lowest)) + low
    elif mode == "MIN_FIRST":
        scale = (high - low) / (highest - lowest)
        # The range is moved so that zero is exact.
        first = ops.where(high == low, low, half_away(low / scale) * scale)
        out = first + (x - lowest) * scale
    elif signed:
        down = low / (lowest + float(narrow_range))
        out = x * ops.maximum(down, high / highest)
    else:
        out = x * (high / highest)
    return ops.cast(out, values.device_dtype(dtype))


def half_away(x: Any) -> Any:
    """Returns whole numbers; halves are moved away from zero."""
    return ops.sign(x) * ops.floor(ops.abs(x) + 0.5)


@kernel("QuantizeV2")
def quantize_v2(
    input: Any,
    min_range: Any,
    max_range: Any,
    *,
    T: str,
    mode: str,
    round_mode: str,
    narrow_range: bool,
    axis: int,
    ensure_minimum_range: float,
) -> tuple[Any, Any, Any]:
    """Quantized numbers, and the bounds that they stand between."""
    bits = BITS[T]
    signed = not T.startswith("qu")
    lowest = -(2.0 ** (bits - 1)) if signed else 0.0
    highest = lowest + 2.0**bits - 1
    x, low, high = (
        ops.cast(values.to_tensor(v), "float32") for v in (input, min_range, max_range)
    )
    # Zero is between the bounds, and they are apart.
    low = ops.minimum(low, ops.zeros_like(low))
    apart = ops.maximum(ops.maximum(ops.abs(low), ops.abs(high)), 1.0)
    high = ops.maximum(high, low + apart * ensure_minimum_range)
    high = ops.maximum(high, ops.zeros_like(high))
    around = half_away if round_mode == "HALF_AWAY_FROM_ZERO" else ops.round
    if mode == "SCALED":
        # Zero is exact, and for signed numbers in the middle.
        high = ops.maximum(high, -low) if signed else high
        low = -high if signed else ops.zeros_like(high)
        factor = (highest - lowest - float(narrow_range)) / (high - low)
        inside = ops.clip(x, _per_axis(x, low, axis), _per_axis(x, high, axis))
        scaled = around(inside * _per_axis(x, factor, axis))
    elif mode == "MIN_FIRST":
        factor = (highest - lowest) / (high - low)
        above = (x - _per_axis(x, low, axis)) * _per_axis(x, factor, axis)
        scaled = half_away(above) + lowest
    else:
        factor = (highest - lowest) / (high - low)
        wide = _per_axis(x, high, axis), _per_axis(x, low, axis)
        x = ops.clip(x, wide[1], wide[0])
        scaled = (x - wide[1]) * _per_axis(x, factor, axis)
        scaled = half_away(scaled + lowest) if signed else half_away(scaled)
    return values.cast(ops.clip(scaled, lowest, highest), T), low, high
