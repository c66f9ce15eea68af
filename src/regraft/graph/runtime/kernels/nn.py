"""Activations, normalizations, losses, and pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph.runtime.kernels import kinks, values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.kernels.space import same_padding, shifts
from regraft.graph.runtime.registry import kernel, register, register_table


def _on_device(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda features: function(values.to_tensor(features))


register_table(
    {
        "Elu": _on_device(ops.elu),
        "LogSoftmax": _on_device(lambda x: ops.log_softmax(x, axis=-1)),
        "Relu": lambda features: kinks.relu(features),
        "Relu6": lambda features: kinks.relu6(features),
        "Selu": lambda features: kinks.selu(features),
        "Sigmoid": _on_device(ops.sigmoid),
        "Softmax": _on_device(lambda x: ops.softmax(x, axis=-1)),
        "Softplus": _on_device(ops.softplus),
        "Softsign": _on_device(ops.softsign),
    }
)


@kernel("LeakyRelu")
def leaky_relu(features: Any, *, alpha: float) -> Any:
    """The features, negative ones times `alpha`."""
    return kinks.leaky_relu(features, alpha)


def _channel_shape(rank: int, channels: Any, data_format: str) -> list[Any]:
    axis = 1 if data_format.startswith("NC") else rank - 1
    return [channels if i == axis else 1 for i in range(rank)]


@kernel("BiasAdd")
def bias_add(value: Any, bias: Any, *, data_format: str) -> Any:
    """A number per channel added."""
    channels = values.shape_of(bias)[0]
    if data_format.startswith("NC"):
        shape = _channel_shape(values.rank_of(value), channels, data_format)
        bias = xp.reshape(bias, shape)
    return xp.add(value, bias)


@kernel("BiasAddV1")
def bias_add_v1(value: Any, bias: Any) -> Any:
    """A number per channel added, channels last."""
    return xp.add(value, bias)


@kernel("BiasAddGrad")
def bias_add_grad(out_backprop: Any, *, data_format: str) -> Any:
    """The sum over all axes but the channels."""
    rank = values.rank_of(out_backprop)
    channel = 1 if data_format.startswith("NC") else rank - 1
    return xp.sum(out_backprop, axis=tuple(i for i in range(rank) if i != channel))


@kernel("L2Loss")
def l2_loss(t: Any) -> Any:
    """Half the sum of squares."""
    return xp.sum(xp.square(t)) / 2


@kernel("SoftmaxCrossEntropyWithLogits")
def softmax_cross_entropy_with_logits(features: Any, labels: Any) -> tuple[Any, Any]:
    """Loss per row, and its gradient."""
    logits, labels = values.to_tensor(features), values.to_tensor(labels)
    logs = ops.log_softmax(logits, axis=-1)
    return -ops.sum(labels * logs, axis=-1), ops.exp(logs) - labels


@kernel("SparseSoftmaxCrossEntropyWithLogits", ignored=("Tlabels",))
def sparse_softmax_cross_entropy_with_logits(
    features: Any, labels: Any
) -> tuple[Any, Any]:
    """Loss per row for labels as class numbers, and its gradient."""
    logits, labels = values.to_tensor(features), values.to_tensor(labels)
    classes = values.shape_of(logits)[-1]
    hot = ops.one_hot(labels, classes, dtype=values.dtype_of(logits))
    return softmax_cross_entropy_with_logits(logits, hot)


# Normalization


def _statistics(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    mean = ops.mean(x, axis=axes)
    return mean, ops.mean(ops.square(x), axis=axes) - ops.square(mean)


def _fused(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any,
    variance: Any,
    epsilon: float,
    exponential_avg_factor: float,
    data_format: str,
    is_training: bool,
) -> tuple[Any, ...]:
    x = values.to_tensor(x)
    rank = values.rank_of(x)
    lengths = values.shape_of(x)
    channel = 1 if data_format.startswith("NC") else rank - 1
    axes = tuple(i for i in range(rank) if i != channel)
    wide = values.cast(x, values.dtype_of(scale))
    shape = _channel_shape(rank, lengths[channel], data_format)
    new_mean, new_variance = mean, variance
    if is_training:
        used_mean = ops.mean(wide, axis=axes)
        centered = wide - ops.reshape(used_mean, shape)
        used_variance = ops.mean(ops.square(centered), axis=axes)
        count: Any = 1
        for i in axes:
            count = count * lengths[i]
        new_mean, new_variance = used_mean, _unbiased(used_variance, count)
        if exponential_avg_factor != 1.0:
            f = exponential_avg_factor
            new_mean = values.to_tensor(mean) * (1 - f) + used_mean * f
            new_variance = values.to_tensor(variance) * (1 - f) + new_variance * f
    else:
        used_mean, used_variance = values.to_tensor(mean), values.to_tensor(variance)
    factor = values.to_tensor(scale) * ops.rsqrt(used_variance + epsilon)
    y = (wide - ops.reshape(used_mean, shape)) * ops.reshape(factor, shape)
    y = y + ops.reshape(values.to_tensor(offset), shape)
    return (
        values.cast(y, values.dtype_of(x)),
        new_mean,
        new_variance,
        (used_mean),
        used_variance,
    )


def _unbiased(variance: Any, count: Any) -> Any:
    """TensorFlow's fused op hands on the variance with N/(N-1)."""
    if isinstance(count, int):
        return variance * (count / max(count - 1, 1))
    count = ops.cast(ops.convert_to_tensor(count), variance.dtype)
    return variance * (count / ops.maximum(count - 1, 1))


def _fused_batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any,
    variance: Any,
    *,
    epsilon: float,
    exponential_avg_factor: float,
    data_format: str,
    is_training: bool,
) -> tuple[Any, ...]:
    """Normalized values, new mean and variance, and what a gradient would need."""
    return _fused(
        x,
        scale,
        offset,
        mean,
        variance,
        epsilon,
        exponential_avg_factor,
        data_format,
        is_training,
    )


def _fused_batch_norm_v3(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any,
    variance: Any,
    *,
    epsilon: float,
    exponential_avg_factor: float,
    data_format: str,
    is_training: bool,
) -> tuple[Any, ...]:
    """As `FusedBatchNormV2`, with one more value for a gradient."""
    out = _fused(
        x,
        scale,
        offset,
        mean,
        variance,
        epsilon,
        exponential_avg_factor,
        data_format,
        is_training,
    )
    return (*out, np.zeros(0, np.float32))


for _op in ("FusedBatchNorm", "FusedBatchNormV2"):
    register(_op, _fused_batch_norm)
register("FusedBatchNormV3", _fused_batch_norm_v3)


@kernel("LRN")
def lrn(
    input: Any, *, depth_radius: int, bias: float, alpha: float, beta: float
) -> Any:
    """Each value divided by the squares of its neighbours in depth."""
    x = values.to_tensor(input)
    width = 2 * depth_radius + 1
    depth = values.shape_of(x)[-1]
    squares = ops.pad(ops.square(x), [[0, 0]] * 3 + [[depth_radius, depth_radius]])
    total = sum(squares[..., i : i + depth] for i in range(width))
    return x * ops.power(bias + alpha * total, -beta)


# Pools


def _layout(data_format: str) -> str:
    return "channels_first" if data_format.startswith("NC") else "channels_last"


def _spatial(numbers: tuple[Any, ...], data_format: str) -> tuple[Any, ...]:
    return numbers[2:] if data_format.startswith("NC") else numbers[1:-1]


def _channels_last(x: Any, data_format: str) -> Any:
    if not data_format.startswith("NC"):
        return x
    rank = values.rank_of(x)
    return ops.transpose(x, (0, *range(2, rank), 1))


def _restored(x: Any, data_format: str) -> Any:
    if not data_format.startswith("NC"):
        return x
    rank = values.rank_of(x)
    return ops.transpose(x, (0, rank - 1, *range(1, rank - 1)))


def _check_channels(ksize: tuple[int, ...], data_format: str) -> None:
    if ksize[0] != 1 or ksize[1 if data_format.startswith("NC") else -1] != 1:
        raise UnsupportedError("Pooling over the batch or channels.")


def pool(
    how: str,
    x: Any,
    ksize: tuple[int, ...],
    strides: tuple[int, ...],
    padding: str,
    data_format: str,
    explicit_paddings: tuple[int, ...] = (),
) -> Any:
    """Returns the largest or mean value of each window."""
    _check_channels(ksize, data_format)
    x = _channels_last(values.to_tensor(x), data_format)
    window = _spatial(ksize, data_format)
    steps = _spatial(strides, data_format)
    if padding == "EXPLICIT":
        pairs = np.array(explicit_paddings).reshape(-1, 2).tolist()
        widths = _spatial(tuple(pairs), data_format)
        low = _lowest(values.dtype_of(x))
        around = values.widths_for(x, [[0, 0], *widths, [0, 0]])
        x = ops.pad(x, around, constant_values=low)
        padding = "VALID"
    if how == "max" and _gains_by_shifts(x, window):
        return _restored(_largest_of_shifted(x, window, steps, padding), data_format)
    function = ops.max_pool if how == "max" else ops.average_pool
    out = function(
        x, window, steps, padding=padding.lower(), data_format="channels_last"
    )
    return _restored(out, data_format)


# Windows of more values have slow gradients as shifts.
_SMALL_WINDOW = 9


def _gains_by_shifts(x: Any, window: tuple[int, ...]) -> bool:
    """Whether XLA's code for the CPU is faster for shifts than for windows."""
    lengths = values.shape_of(x)[1:3]
    return (
        len(window) == 2
        and window[0] * window[1] <= _SMALL_WINDOW
        and all(isinstance(n, int) for n in lengths)
        and all(n >= size for n, size in zip(lengths, window, strict=True))
        and values.backend_is_jax_on_cpu()
        # TensorFlow has an op for the largest value of windows.
        and not kinks.are_plain()
    )


def _largest_of_shifted(
    x: Any, window: tuple[int, ...], steps: tuple[int, ...], padding: str
) -> Any:
    """Returns the largest value of each window, as that of shifted images.

    XLA fuses them with what stands before, padding too. Twice as fast as its windows
    for 3x3 at a stride of 2, four times at a stride of 1; so are the gradients, which
    belong to the first of equals either way.
    """
    if padding == "SAME":
        around = values.widths_for(x, [[0, 0], *same_padding(x, window, steps), [0, 0]])
        x = ops.pad(x, around, constant_values=_lowest(values.dtype_of(x)))
    found: Any = None
    for _, at in shifts(x, window, steps):
        part = x[at]
        found = part if found is None else kinks.maximum(found, part)
    return found


def _lowest(dtype: str) -> float:
    return float("-inf") if "float" in dtype else float(np.iinfo(dtype).min)


@kernel("MaxPool")
def max_pool(
    input: Any,
    *,
    ksize: tuple[int, ...],
    strides: tuple[int, ...],
    padding: str,
    explicit_paddings: tuple[int, ...],
    data_format: str,
) -> Any:
    """The largest value of each window."""
    return pool("max", input, ksize, strides, padding, data_format, explicit_paddings)


@kernel("MaxPoolV2", static=("ksize", "strides"))
def max_pool_v2(
    input: Any, ksize: Any, strides: Any, *, padding: str, data_format: str
) -> Any:
    """The largest value of each window."""
    sizes, steps = values.dims(ksize), values.dims(strides)
    return pool("max", input, sizes, steps, padding, data_format)


def _pooling(how: str) -> Callable[..., Any]:
    def kernel_function(
        input: Any,
        *,
        ksize: tuple[int, ...],
        strides: tuple[int, ...],
        padding: str,
        data_format: str,
    ) -> Any:
        return pool(how, input, ksize, strides, padding, data_format)

    return kernel_function


register("MaxPool3D", _pooling("max"))
register("AvgPool", _pooling("mean"))
register("AvgPool3D", _pooling("mean"))


@kernel("MaxPoolWithArgmax")
def max_pool_with_argmax(
    input: Any,
    *,
    ksize: tuple[int, ...],
    strides: tuple[int, ...],
    padding: str,
    include_batch_in_index: bool,
    Targmax: str,
) -> tuple[Any, Any]:
    """The largest value of each window, and its place in the flattened input."""
    x = values.to_tensor(input)
    lengths = values.shape_of(x)
    n, h, w, c = lengths
    places = np.arange(h * w * c, dtype=np.int32).reshape(1, h, w, c)
    places = np.broadcast_to(places, (1, h, w, c))
    widths = [[0, 0]] * 4
    if padding == "SAME":
        spatial = same_padding(x, ksize[1:3], strides[1:3])
        widths = [[0, 0], *spatial, [0, 0]]
    padded = ops.pad(x, widths, constant_values=_lowest(values.dtype_of(x)))
    marks = np.pad(places, widths, constant_values=-1)
    best: Any = None
    at: Any = None
    for _, window in shifts(padded, ksize[1:3], strides[1:3]):
        value = padded[window]
        mark = ops.broadcast_to(ops.convert_to_tensor(marks[window]), ops.shape(value))
        if best is None:
            best, at = value, mark
        else:
            better = value > best
            best = ops.where(better, value, best)
            at = ops.where(better, mark, at)
    if include_batch_in_index:
        first = ops.reshape(ops.arange(n, dtype="int32") * (h * w * c), (n, 1, 1, 1))
        at = at + first
    return best, values.cast(at, Targmax)


# Gradients that graphs hold as ops of their own

register_table(
    {
        "ReluGrad": lambda gradients, features: xp.where(
            xp.greater(features, 0), gradients, xp.zeros_like(gradients)
        ),
        "Relu6Grad": lambda gradients, features: xp.where(
            xp.logical_and(xp.greater(features, 0), xp.less(features, 6)),
            gradients,
            xp.zeros_like(gradients),
        ),
        "EluGrad": lambda gradients, outputs: xp.where(
            xp.less(outputs, 0), gradients * (outputs + 1), gradients
        ),
        "SeluGrad": lambda gradients, outputs: xp.where(
            xp.less(outputs, 0),
            gradients * (outputs + 1.7580993408473766),
            gradients * 1.0507009873554805,
        ),
        "SoftplusGrad": lambda gradients, features: (
            gradients / (xp.exp(xp.negative(features)) + 1)
        ),
        "SoftsignGrad": lambda gradients, features: (
            gradients / xp.square(1 + xp.abs(features))
        ),
    }
)


@kernel("LeakyReluGrad")
def leaky_relu_grad(gradients: Any, features: Any, *, alpha: float) -> Any:
    """Gradient of `LeakyRelu`."""
    return xp.where(xp.greater(features, 0), gradients, gradients * alpha)
