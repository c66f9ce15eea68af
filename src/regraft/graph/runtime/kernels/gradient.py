"""Gradients that a graph holds as ops of their own, by differentiating the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.conv import convolve, depthwise
from regraft.graph.runtime.kernels.native import raw_native
from regraft.graph.runtime.kernels.nn import pool
from regraft.graph.runtime.registry import kernel, register

Ints = tuple[int, ...]


def pulled(function: Callable[[Any], Any], at: Any, gradient: Any) -> Any:
    """Returns the gradient of `function` at a place."""
    _, back = raw_native("vjp")(function, at)
    (found,) = back(values.to_tensor(gradient))
    return found


def _zeros(shape: Any, like: Any) -> Any:
    lengths = values.checked(values.dims(shape))
    return ops.zeros(lengths, values.device_dtype(values.dtype_of(like)))


@kernel("Conv2DBackpropFilter", static=("filter_sizes",), ignored=("use_cudnn_on_gpu",))
def conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    *,
    strides: Ints,
    padding: str,
    explicit_paddings: Ints,
    data_format: str,
    dilations: Ints,
) -> Any:
    """Gradient of a convolution with respect to its kernel."""

    def forward(kernel: Any) -> Any:
        return convolve(
            input, kernel, strides, padding, dilations, data_format, explicit_paddings
        )

    return pulled(forward, _zeros(filter_sizes, input), out_backprop)


@kernel("Conv3DBackpropFilterV2", static=("filter_sizes",))
def conv3d_backprop_filter_v2(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    *,
    strides: Ints,
    padding: str,
    data_format: str,
    dilations: Ints,
) -> Any:
    """Gradient of a convolution over three axes with respect to its kernel."""

    def forward(kernel: Any) -> Any:
        return convolve(input, kernel, strides, padding, dilations, data_format)

    return pulled(forward, _zeros(filter_sizes, input), out_backprop)


@kernel("DepthwiseConv2dNativeBackpropFilter", static=("filter_sizes",))
def depthwise_conv2d_native_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    *,
    strides: Ints,
    padding: str,
    explicit_paddings: Ints,
    data_format: str,
    dilations: Ints,
) -> Any:
    """Gradient of a depthwise convolution with respect to its kernels."""

    def forward(kernel: Any) -> Any:
        return depthwise(
            input, kernel, strides, padding, explicit_paddings, data_format, dilations
        )

    return pulled(forward, _zeros(filter_sizes, input), out_backprop)


@kernel("MaxPoolGrad")
def max_pool_grad(
    orig_input: Any,
    orig_output: Any,
    grad: Any,
    *,
    ksize: Ints,
    strides: Ints,
    padding: str,
    explicit_paddings: Ints,
    data_format: str,
) -> Any:
    """Gradient of `MaxPool`."""
    del orig_output

    def forward(x: Any) -> Any:
        return pool("max", x, ksize, strides, padding, data_format, explicit_paddings)

    return pulled(forward, values.to_tensor(orig_input), grad)


@kernel("MaxPool3DGrad", ignored=("TInput",))
def max_pool3d_grad(
    orig_input: Any,
    orig_output: Any,
    grad: Any,
    *,
    ksize: Ints,
    strides: Ints,
    padding: str,
    data_format: str,
) -> Any:
    """Gradient of `MaxPool3D`."""
    del orig_output

    def forward(x: Any) -> Any:
        return pool("max", x, ksize, strides, padding, data_format)

    return pulled(forward, values.to_tensor(orig_input), grad)


def _mean_pool_grad(
    orig_input_shape: Any,
    grad: Any,
    *,
    ksize: Ints,
    strides: Ints,
    padding: str,
    data_format: str,
) -> Any:
    """Gradient of a pool of means."""

    def forward(x: Any) -> Any:
        return pool("mean", x, ksize, strides, padding, data_format)

    return pulled(forward, _zeros(orig_input_shape, grad), grad)


for _op in ("AvgPoolGrad", "AvgPool3DGrad"):
    register(_op, _mean_pool_grad, static=("orig_input_shape",))


def fused_batch_norm_grad(
    y_backprop: Any,
    x: Any,
    scale: Any,
    statistics: tuple[Any, Any],
    epsilon: float,
    data_format: str,
    is_training: bool,
) -> tuple[Any, ...]:
    """Gradients of a batch normalization to input, scale and offset, and two empty."""
    x, scale = values.to_tensor(x), values.to_tensor(scale)
    rank = values.rank_of(x)
    channel = 1 if data_format.startswith("NC") else rank - 1
    axes = tuple(i for i in range(rank) if i != channel)
    shape = [-1 if i == channel else 1 for i in range(rank)]
    mean, variance = map(values.to_tensor, statistics)

    def forward(x: Any, scale: Any, offset: Any) -> Any:
        center, spread = mean, variance
        if is_training:
            center = ops.mean(x, axis=axes)
            spread = ops.var(x, axis=axes)
        factor = ops.reshape(scale * ops.rsqrt(spread + epsilon), shape)
        return (x - ops.reshape(center, shape)) * factor + ops.reshape(offset, shape)

    _, back = raw_native("vjp")(forward, x, scale, ops.zeros_like(scale))
    empty = np.zeros(0, np.float32)
    return (*back(values.to_tensor(y_backprop)), empty, empty)


@kernel("FusedBatchNormGradV3")
def fused_batch_norm_grad_v3(
    y_backprop: Any,
    x: Any,
    scale: Any,
    reserve_space_1: Any,
    reserve_space_2: Any,
    reserve_space_3: Any,
    *,
    epsilon: float,
    data_format: str,
    is_training: bool,
) -> tuple[Any, ...]:
    """Gradients of `FusedBatchNormV3` with respect to input, scale and offset."""
    del reserve_space_3
    statistics = reserve_space_1, reserve_space_2
    return fused_batch_norm_grad(
        y_backprop, x, scale, statistics, epsilon, data_format, is_training
    )
