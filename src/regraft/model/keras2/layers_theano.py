"""Convolutions and poolings whose `"same"` is Theano's.

Theano pads as much before as after and crops the result at its end; TensorFlow puts
what is odd after, and pads by what the strides leave over. Kernels of even size and
strides above one tell them apart.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from regraft.model.keras2.registration import registered


def _axes(inputs: Any, data_format: str) -> range:
    rank = len(inputs.shape)
    return range(2, rank) if data_format == "channels_first" else range(1, rank - 1)


def _padded(inputs: Any, axes: range, before: list[int], value: float = 0.0) -> Any:
    widths = [(0, 0)] * len(inputs.shape)
    for axis, width in zip(axes, before, strict=True):
        widths[axis] = (width, width)
    return ops.pad(inputs, widths, constant_values=value)


def _cropped(outputs: Any, axes: range, lengths: list[int]) -> Any:
    parts = [slice(None)] * len(outputs.shape)
    for axis, length in zip(axes, lengths, strict=True):
        parts[axis] = slice(0, length)
    return outputs[tuple(parts)]


def _per_axis(value: Any, axes: range) -> list[int]:
    return [value] * len(axes) if isinstance(value, int) else list(value)


class _SymmetricSame(keras.layers.Layer):
    """Put before a convolution in a class' bases."""

    padding: str
    data_format: str
    kernel_size: Any
    strides: Any
    dilation_rate: Any

    def call(self, inputs: Any) -> Any:
        if self.padding != "same":
            return super().call(inputs)
        axes = _axes(inputs, self.data_format)
        strides = _per_axis(self.strides, axes)
        sizes = [
            (size - 1) * dilation + 1
            for size, dilation in zip(
                _per_axis(self.kernel_size, axes),
                _per_axis(self.dilation_rate, axes),
                strict=True,
            )
        ]
        lengths = [
            -(-ops.shape(inputs)[axis] // stride)
            for axis, stride in zip(axes, strides, strict=True)
        ]
        padded = _padded(inputs, axes, [size // 2 for size in sizes])
        self.padding = "valid"
        try:
            outputs = super().call(padded)
        finally:
            self.padding = "same"
        return _cropped(outputs, axes, lengths)


@registered
class Conv1D(_SymmetricSame, keras.layers.Conv1D):
    """Conv1D with Theano's padding."""


@registered
class Conv2D(_SymmetricSame, keras.layers.Conv2D):
    """Conv2D with Theano's padding."""


@registered
class Conv3D(_SymmetricSame, keras.layers.Conv3D):
    """Conv3D with Theano's padding."""


@registered
class SeparableConv2D(_SymmetricSame, keras.layers.SeparableConv2D):
    """SeparableConv2D with Theano's padding."""


@registered
class DepthwiseConv2D(_SymmetricSame, keras.layers.DepthwiseConv2D):
    """DepthwiseConv2D with Theano's padding."""


@registered
class ConvLSTM2D(keras.layers.ConvLSTM2D):
    """ConvLSTM2D with Theano's padding, of inputs and of states."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cell = self.cell
        conv = {
            "data_format": cell.data_format,
            "rank": len(cell.kernel_size),
            "size": cell.kernel_size,
        }

        def input_conv(x: Any, w: Any, b: Any = None, padding: str = "valid") -> Any:
            outputs = _convolved(
                x, w, cell.strides, padding, cell.dilation_rate, **conv
            )
            if b is None:
                return outputs
            if cell.data_format == "channels_first":
                b = ops.reshape(b, (1, -1, *[1] * conv["rank"]))
            return outputs + b

        def recurrent_conv(x: Any, w: Any) -> Any:
            return _convolved(x, w, 1, "same", 1, **conv)

        cell.input_conv, cell.recurrent_conv = input_conv, recurrent_conv


def _convolved(
    x: Any,
    kernel: Any,
    strides: Any,
    padding: str,
    dilation: Any,
    *,
    data_format: str,
    rank: int,
    size: Any,
) -> Any:
    lengths = None
    axes = _axes(x, data_format)
    if padding == "same":
        lengths = [
            -(-ops.shape(x)[axis] // stride)
            for axis, stride in zip(axes, _per_axis(strides, axes), strict=True)
        ]
        x = _padded(x, axes, [length // 2 for length in size])
    outputs = ops.conv(
        x,
        kernel,
        strides=strides,
        padding="valid",
        data_format=data_format,
        dilation_rate=dilation,
    )
    return outputs if lengths is None else _cropped(outputs, axes, lengths)


class _SymmetricPool(keras.layers.Layer):
    """Put before a pooling in a class' bases."""

    padding: str
    data_format: str
    pool_size: Any
    strides: Any
    counts_padding = False
    _average = False

    def call(self, inputs: Any) -> Any:
        if self.padding != "same":
            return super().call(inputs)
        axes = _axes(inputs, self.data_format)
        strides = _per_axis(self.strides, axes)
        before = [
            size - 2 if size > 2 and size % 2 else size - 1
            for size in _per_axis(self.pool_size, axes)
        ]
        lengths = [
            -(-ops.shape(inputs)[axis] // stride)
            for axis, stride in zip(axes, strides, strict=True)
        ]
        self.padding = "valid"
        try:
            if self._average and not self.counts_padding:
                # Of the values alone, not of what was padded.
                sums = super().call(_padded(inputs, axes, before))
                ones = _padded(ops.ones_like(inputs), axes, before)
                outputs = sums / super().call(ones)
            else:
                filler = 0.0 if self._average else -math.inf
                outputs = super().call(_padded(inputs, axes, before, filler))
        finally:
            self.padding = "same"
        return _cropped(outputs, axes, lengths)


@registered
class MaxPooling1D(_SymmetricPool, keras.layers.MaxPooling1D):
    """MaxPooling1D with Theano's padding."""


@registered
class MaxPooling2D(_SymmetricPool, keras.layers.MaxPooling2D):
    """MaxPooling2D with Theano's padding."""


@registered
class MaxPooling3D(_SymmetricPool, keras.layers.MaxPooling3D):
    """MaxPooling3D with Theano's padding."""


class _SymmetricAverage(_SymmetricPool):
    """Averages what a window covers of the input, or of the padded input.

    Args:
        counts_padding: Whether what was padded counts as zeros.
    """

    _average = True

    def __init__(self, *args: Any, counts_padding: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.counts_padding = counts_padding

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.counts_padding:
            config["counts_padding"] = True
        return config


@registered
class AveragePooling1D(_SymmetricAverage, keras.layers.AveragePooling1D):
    """AveragePooling1D with Theano's padding."""


@registered
class AveragePooling2D(_SymmetricAverage, keras.layers.AveragePooling2D):
    """AveragePooling2D with Theano's padding."""


@registered
class AveragePooling3D(_SymmetricAverage, keras.layers.AveragePooling3D):
    """AveragePooling3D with Theano's padding."""


CLASSES: dict[str, type[keras.layers.Layer]] = {
    cls.__name__: cls
    for cls in (
        Conv1D,
        Conv2D,
        Conv3D,
        SeparableConv2D,
        DepthwiseConv2D,
        ConvLSTM2D,
        MaxPooling1D,
        MaxPooling2D,
        MaxPooling3D,
        AveragePooling1D,
        AveragePooling2D,
        AveragePooling3D,
    )
}
