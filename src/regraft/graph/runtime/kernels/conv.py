"""Convolutions, forward and transposed."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.nn import (
    _channels_last,
    _restored,
    _spatial,
)
from regraft.graph.runtime.kernels.space import dilated, same_padding, shifts
from regraft.graph.runtime.registry import kernel

Ints = tuple[int, ...]


def _explicit(paddings: Ints, data_format: str) -> list[list[int]]:
    pairs = np.array(paddings).reshape(-1, 2).tolist()
    return list(_spatial(tuple(pairs), data_format))


def _padded(x: Any, padding: str, explicit: Ints, data_format: str) -> tuple[Any, str]:
    """Pads channels-last `x` where the graph says how; returns what is left to do."""
    if padding != "EXPLICIT":
        return x, padding.lower()
    return ops.pad(
        x, values.widths_for(x, [[0, 0], *_explicit(explicit, data_format), [0, 0]])
    ), "valid"


def convolve(
    x: Any,
    kernel: Any,
    strides: Ints,
    padding: str,
    dilations: Ints,
    data_format: str,
    explicit_paddings: Ints = (),
) -> Any:
    """Returns the convolution of any number of spatial axes.

    Fewer input channels in the kernel than in `x` mean groups.
    """
    x = _channels_last(values.to_tensor(x), data_format)
    kernel = values.to_tensor(kernel)
    x, rest = _padded(x, padding, explicit_paddings, data_format)
    steps = _spatial(strides, data_format)
    if values.backend_is_jax_on_cpu() and _is_product(x, kernel):
        # XLA's code for products of matrices is faster than that for convolutions.
        kept = tuple(slice(None, None, step) for step in steps)
        x = x[(slice(None), *kept)] if max(steps) > 1 else x
        weights = ops.reshape(kernel, values.shape_of(kernel)[-2:])
        return _restored(ops.matmul(x, weights), data_format)
    out = ops.conv(
        x,
        kernel,
        strides=steps,
        padding=rest,
        data_format="channels_last",
        dilation_rate=_spatial(dilations, data_format),
    )
    return _restored(out, data_format)


def _is_product(x: Any, kernel: Any) -> bool:
    """Whether each pixel is multiplied with one matrix."""
    *spatial, channels, _ = values.shape_of(kernel)
    return all(n == 1 for n in spatial) and channels == values.shape_of(x)[-1]


@kernel("Conv2D", ignored=("use_cudnn_on_gpu",))
def conv_2d(
    input: Any,
    filter: Any,
    *,
    strides: Ints,
    padding: str,
    explicit_paddings: Ints,
    data_format: str,
    dilations: Ints,
) -> Any:
    """Convolution over two axes."""
    return convolve(
        input, filter, strides, padding, dilations, data_format, explicit_paddings
    )


@kernel("Conv3D")
def conv_3d(
    input: Any,
    filter: Any,
    *,
    strides: Ints,
    padding: str,
    data_format: str,
    dilations: Ints,
) -> Any:
    """Convolution over three axes."""
    return convolve(input, filter, strides, padding, dilations, data_format)


# Depthwise convolution


def _shifted(x: Any, kernel: Any, strides: Ints, dilations: Ints) -> Any:
    """Returns the depthwise convolution as a sum of shifted products.

    XLA's code for the CPU is many times faster for this than for a convolution
    with as many groups as channels.
    """
    *sizes, channels, multiplier = values.shape_of(kernel)
    total: Any = None
    for place, at in shifts(x, sizes, strides, dilations):
        if multiplier == 1:
            part = x[at] * kernel[(*place, slice(None), 0)]
        else:
            part = ops.expand_dims(x[at], -1) * kernel[place]
        total = part if total is None else total + part
    if multiplier == 1:
        return total
    return ops.reshape(total, (*values.shape_of(total)[:3], channels * multiplier))


@kernel("DepthwiseConv2dNative")
def depthwise_conv2d_native(
    input: Any,
    filter: Any,
    *,
    strides: Ints,
    padding: str,
    explicit_paddings: Ints,
    data_format: str,
    dilations: Ints,
) -> Any:
    """A convolution of each channel with kernels of its own."""
    return depthwise(
        input, filter, strides, padding, explicit_paddings, data_format, dilations
    )


def depthwise(
    input: Any,
    filter: Any,
    strides: Ints,
    padding: str,
    explicit_paddings: Ints,
    data_format: str,
    dilations: Ints,
) -> Any:
    """Returns the convolution of each channel with kernels of its own."""
    x = _channels_last(values.to_tensor(input), data_format)
    filter = values.to_tensor(filter)
    steps = _spatial(strides, data_format)
    rates = _spatial(dilations, data_format)
    x, rest = _padded(x, padding, explicit_paddings, data_format)
    if values.backend_is_jax_on_cpu():
        if rest == "same":
            spans = dilated(values.shape_of(filter)[:2], rates)
            x = ops.pad(
                x,
                values.widths_for(x, [[0, 0], *same_padding(x, spans, steps), [0, 0]]),
            )
        out = _shifted(x, filter, steps, rates)
    else:
        out = ops.depthwise_conv(
            x,
            filter,
            strides=steps,
            padding=rest,
            data_format="channels_last",
            dilation_rate=rates,
        )
    return _restored(out, data_format)


# Transposed convolution


def _spread(x: Any, strides: Ints) -> Any:
    """Returns channels-last `x` with zeros between its entries."""
    for axis, step in enumerate(strides, start=1):
        if step == 1:
            continue
        lengths = list(values.shape_of(x))
        x = ops.expand_dims(x, axis + 1)
        widths = [[0, 0]] * len(x.shape)
        widths[axis + 1] = [0, step - 1]
        x = ops.pad(x, values.widths_for(x, widths))
        lengths[axis] = lengths[axis] * step
        x = ops.reshape(x, lengths)
        x = x[(slice(None),) * axis + (slice(0, lengths[axis] - step + 1),)]
    return x


def transposed(
    input_sizes: Any,
    kernel: Any,
    out_backprop: Any,
    strides: Ints,
    padding: str,
    dilations: Ints,
    data_format: str,
    explicit_paddings: Ints = (),
) -> Any:
    """Returns the gradient of a convolution with respect to its input."""
    x = _channels_last(values.to_tensor(out_backprop), data_format)
    kernel = values.to_tensor(kernel)
    lengths = values.dims(input_sizes)
    spatial = (
        _spatial(lengths, data_format) if len(lengths) > len(strides) - 2 else (lengths)
    )
    steps = _spatial(strides, data_format)
    rates = _spatial(dilations, data_format)
    count = len(steps)
    spans = [
        (k - 1) * r + 1
        for k, r in zip(values.shape_of(kernel)[:count], rates, strict=True)
    ]
    if padding == "EXPLICIT":
        before = [pair[0] for pair in _explicit(explicit_paddings, data_format)]
    elif padding == "SAME":
        made = values.shape_of(x)[1:-1]
        before = [
            max((o - 1) * s + span - n, 0) // 2
            for o, s, span, n in zip(made, steps, spans, spatial, strict=True)
        ]
    else:
        before = [0] * count
    spread = _spread(x, steps)
    widths = []
    for axis in range(count):
        left = spans[axis] - 1 - before[axis]
        have = values.shape_of(spread)[axis + 1]
        right = spatial[axis] + spans[axis] - 1 - have - left
        widths.append([left, right])
    spread = _pad_or_crop(spread, widths)
    flipped = ops.flip(kernel, axis=tuple(range(count)))
    groups = _groups(lengths, kernel, data_format)
    swapped = _swapped(flipped, groups)
    out = ops.conv(
        spread,
        swapped,
        strides=1,
        padding="valid",
        data_format="channels_last",
        dilation_rate=rates,
    )
    return _restored(out, data_format)


def _groups(lengths: tuple[Any, ...], kernel: Any, data_format: str) -> int:
    rank = values.rank_of(kernel)
    if len(lengths) != rank:
        return 1
    channels = lengths[1 if data_format.startswith("NC") else -1]
    return int(channels) // int(values.shape_of(kernel)[-2])


def _swapped(kernel: Any, groups: int) -> Any:
    """Returns a kernel with input and output channels exchanged, per group."""
    if groups == 1:
        return ops.swapaxes(kernel, -1, -2)
    *spatial, inner, outer = values.shape_of(kernel)
    parts = ops.reshape(kernel, (*spatial, inner, groups, outer // groups))
    count = len(spatial)
    order = (*range(count), count + 2, count + 1, count)
    moved = ops.transpose(parts, order)
    return ops.reshape(moved, (*spatial, outer // groups, groups * inner))


def _pad_or_crop(x: Any, widths: list[list[Any]]) -> Any:
    """Pads spatial axes; where a width is negative, cuts."""
    pads = [[_positive(low), _positive(high)] for low, high in widths]
    x = ops.pad(x, values.widths_for(x, [[0, 0], *pads, [0, 0]]))
    cut = [slice(None)]
    for low, high in widths:
        start = -low if isinstance(low, int) and low < 0 else 0
        stop = high if isinstance(high, int) and high < 0 else None
        cut.append(slice(start, stop))
    return x[tuple(cut)]


def _positive(width: Any) -> Any:
    return max(width, 0) if isinstance(width, int) else width


@kernel("Conv2DBackpropInput", static=("input_sizes",), ignored=("use_cudnn_on_gpu",))
def conv2d_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    *,
    strides: Ints,
    padding: str,
    explicit_paddings: Ints,
    data_format: str,
    dilations: Ints,
) -> Any:
    """Transposed convolution over two axes."""
    return transposed(
        input_sizes,
        filter,
        out_backprop,
        strides,
        padding,
        dilations,
        data_format,
        explicit_paddings,
    )


@kernel("Conv3DBackpropInputV2", static=("input_sizes",), ignored=("Tshape",))
def conv3d_backprop_input_v2(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    *,
    strides: Ints,
    padding: str,
    data_format: str,
    dilations: Ints,
) -> Any:
    """Transposed convolution over three axes."""
    return transposed(
        input_sizes, filter, out_backprop, strides, padding, dilations, data_format
    )


@kernel("DepthwiseConv2dNativeBackpropInput", static=("input_sizes",))
def depthwise_conv2d_native_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    *,
    strides: Ints,
    padding: str,
    explicit_paddings: Ints,
    data_format: str,
    dilations: Ints,
) -> Any:
    """Gradient of a depthwise convolution with respect to its input."""
    height, width, channels, multiplier = values.shape_of(filter)
    # The same kernels as a convolution with one group per channel.
    grouped = ops.reshape(
        values.to_tensor(filter), (height, width, 1, channels * multiplier)
    )
    return transposed(
        input_sizes,
        grouped,
        out_backprop,
        strides,
        padding,
        dilations,
        data_format,
        explicit_paddings,
    )
