"""Gradients of what resizes, pads, normalizes and rounds, as ops of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.gradient import fused_batch_norm_grad, pulled
from regraft.graph.runtime.kernels.image import crop_and_resize, scale_and_translate
from regraft.graph.runtime.kernels.nn import lrn
from regraft.graph.runtime.kernels.quantize import fake_quantized
from regraft.graph.runtime.kernels.space import dilation2d
from regraft.graph.runtime.registry import KERNELS, kernel, register

Ints = tuple[int, ...]


def _resize_grad(op: str) -> Callable[..., Any]:
    resize = KERNELS[op].function

    def kernel_function(
        grads: Any,
        original_image: Any,
        *,
        align_corners: bool,
        half_pixel_centers: bool,
    ) -> Any:
        size = values.shape_of(grads)[1:3]
        shape = values.shape_of(original_image)

        def forward(x: Any) -> Any:
            return resize(
                x,
                size,
                align_corners=align_corners,
                half_pixel_centers=half_pixel_centers,
            )

        found = pulled(forward, ops.zeros(shape, "float32"), grads)
        return values.cast(found, values.dtype_of(original_image))

    return kernel_function


for _op in ("ResizeBilinear", "ResizeBicubic"):
    register(f"{_op}Grad", _resize_grad(_op))


@kernel("ResizeNearestNeighborGrad", static=("size",))
def resize_nearest_neighbor_grad(
    grads: Any, size: Any, *, align_corners: bool, half_pixel_centers: bool
) -> Any:
    """Gradient of `ResizeNearestNeighbor`."""
    resize = KERNELS["ResizeNearestNeighbor"].function
    batch, height, width, depth = values.shape_of(grads)
    shape = (batch, int(size[0]), int(size[1]), depth)

    def forward(x: Any) -> Any:
        return resize(
            x,
            (height, width),
            align_corners=align_corners,
            half_pixel_centers=half_pixel_centers,
        )

    return pulled(forward, ops.zeros(shape, values.dtype_of(grads)), grads)


@kernel("ScaleAndTranslateGrad", static=("scale", "translation"), ignored=("T",))
def scale_and_translate_grad(
    grads: Any,
    original_image: Any,
    scale: Any,
    translation: Any,
    *,
    kernel_type: str,
    antialias: bool,
) -> Any:
    """Gradient of `ScaleAndTranslate`."""
    size = values.shape_of(grads)[1:3]

    def forward(x: Any) -> Any:
        return scale_and_translate(
            x, size, scale, translation, kernel_type=kernel_type, antialias=antialias
        )

    shape = values.shape_of(original_image)
    return pulled(forward, ops.zeros(shape, "float32"), grads)


@kernel("CropAndResizeGradImage", static=("image_size",))
def crop_and_resize_grad_image(
    grads: Any, boxes: Any, box_ind: Any, image_size: Any, *, T: str, method: str
) -> Any:
    """Gradient of `CropAndResize` with respect to the images."""
    size = values.shape_of(grads)[1:3]

    def forward(x: Any) -> Any:
        return crop_and_resize(
            x, boxes, box_ind, size, method=method, extrapolation_value=0.0
        )

    shape = values.checked(values.dims(image_size))
    return values.cast(pulled(forward, ops.zeros(shape, "float32"), grads), T)


@kernel("CropAndResizeGradBoxes")
def crop_and_resize_grad_boxes(
    grads: Any, image: Any, boxes: Any, box_ind: Any, *, method: str
) -> Any:
    """Gradient of `CropAndResize` with respect to the boxes."""
    size = values.shape_of(grads)[1:3]

    def forward(corners: Any) -> Any:
        return crop_and_resize(
            image, corners, box_ind, size, method=method, extrapolation_value=0.0
        )

    return pulled(forward, values.to_tensor(boxes), grads)


@kernel("MirrorPadGrad", static=("paddings",), ignored=("Tpaddings",))
def mirror_pad_grad(input: Any, paddings: Any, *, mode: str) -> Any:
    """Gradient of `MirrorPad`."""
    widths = paddings.tolist()
    pairs = zip(values.shape_of(input), widths, strict=True)
    shape = tuple(length - sum(width) for length, width in pairs)

    def forward(x: Any) -> Any:
        return ops.pad(x, widths, mode=mode.lower())

    return pulled(forward, ops.zeros(shape, values.dtype_of(input)), input)


@kernel("LRNGrad")
def lrn_grad(
    input_grads: Any,
    input_image: Any,
    output_image: Any,
    *,
    depth_radius: int,
    bias: float,
    alpha: float,
    beta: float,
) -> Any:
    """Gradient of `LRN`."""
    del output_image

    def forward(x: Any) -> Any:
        return lrn(x, depth_radius=depth_radius, bias=bias, alpha=alpha, beta=beta)

    return pulled(forward, values.to_tensor(input_image), input_grads)


def _dilation_grad(of_filter: bool) -> Callable[..., Any]:
    def kernel_function(
        input: Any,
        filter: Any,
        out_backprop: Any,
        *,
        strides: Ints,
        rates: Ints,
        padding: str,
    ) -> Any:
        def forward(x: Any) -> Any:
            image, window = (input, x) if of_filter else (x, filter)
            return dilation2d(
                values.to_tensor(image),
                values.to_tensor(window),
                strides=strides,
                rates=rates,
                padding=padding,
            )

        at = values.to_tensor(filter if of_filter else input)
        return pulled(forward, at, out_backprop)

    return kernel_function


register("Dilation2DBackpropInput", _dilation_grad(False))
register("Dilation2DBackpropFilter", _dilation_grad(True))


@kernel("FusedBatchNormGrad", "FusedBatchNormGradV2")
def fused_batch_norm_grad_v2(
    y_backprop: Any,
    x: Any,
    scale: Any,
    reserve_space_1: Any,
    reserve_space_2: Any,
    *,
    epsilon: float,
    data_format: str,
    is_training: bool,
) -> tuple[Any, ...]:
    """Gradients of `FusedBatchNorm` with respect to input, scale and offset."""
    return fused_batch_norm_grad(
        y_backprop,
        x,
        scale,
        (reserve_space_1, reserve_space_2),
        epsilon,
        data_format,
        is_training,
    )


# Numbers rounded as if they were quantized


@kernel("FakeQuantWithMinMaxArgsGradient")
def fake_quant_with_min_max_args_gradient(
    gradients: Any,
    inputs: Any,
    *,
    min: float,
    max: float,
    num_bits: int,
    narrow_range: bool,
) -> Any:
    """Gradient of `FakeQuantWithMinMaxArgs`: that of clipping."""
    x = values.to_tensor(inputs)
    low, high, _ = fake_quantized(min, max, num_bits, narrow_range)
    return ops.where((x >= low) & (x <= high), values.to_tensor(gradients), 0.0)


def _bounded(
    gradients: Any,
    inputs: Any,
    low: Any,
    high: Any,
    num_bits: int,
    narrow_range: bool,
    axes: Any,
) -> tuple[Any, Any, Any]:
    x, given = values.to_tensor(inputs), values.to_tensor(gradients)
    low, high, _ = fake_quantized(low, high, num_bits, narrow_range)
    below, above = x < low, x > high
    return (
        ops.where(below | above, 0.0, given),
        ops.sum(ops.where(below, given, 0.0), axis=axes),
        ops.sum(ops.where(above, given, 0.0), axis=axes),
    )


@kernel("FakeQuantWithMinMaxVarsGradient")
def fake_quant_with_min_max_vars_gradient(
    gradients: Any,
    inputs: Any,
    min: Any,
    max: Any,
    *,
    num_bits: int,
    narrow_range: bool,
) -> tuple[Any, Any, Any]:
    """Gradients of `FakeQuantWithMinMaxVars` to its input and its bounds."""
    return _bounded(gradients, inputs, min, max, num_bits, narrow_range, None)


@kernel("FakeQuantWithMinMaxVarsPerChannelGradient")
def fake_quant_with_min_max_vars_per_channel_gradient(
    gradients: Any,
    inputs: Any,
    min: Any,
    max: Any,
    *,
    num_bits: int,
    narrow_range: bool,
) -> tuple[Any, Any, Any]:
    """Gradients of `FakeQuantWithMinMaxVarsPerChannel`, per channel."""
    axes = tuple(range(values.rank_of(inputs) - 1))
    return _bounded(gradients, inputs, min, max, num_bits, narrow_range, axes)
