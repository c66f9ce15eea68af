"""Ops that old graphs hold, under names or in forms that later ones replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.conv import convolve
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.registry import KERNELS, kernel, register

Ints = tuple[int, ...]


def _pad_and_convolve(
    x: Any, paddings: Any, filter: Any, mode: str, strides: Ints, padding: str
) -> Any:
    widths = values.widths_for(x, paddings.tolist())
    padded = xp.pad(x, widths, mode=mode.lower())
    return convolve(padded, filter, strides, padding, (1, 1, 1, 1), "NHWC")


@kernel("FusedPadConv2D", static=("paddings",))
def fused_pad_conv2d(
    input: Any,
    paddings: Any,
    filter: Any,
    *,
    mode: str,
    strides: Ints,
    padding: str,
) -> Any:
    """A convolution of a mirrored image."""
    return _pad_and_convolve(input, paddings, filter, mode, strides, padding)


@kernel("FusedResizeAndPadConv2D", static=("size", "paddings"))
def fused_resize_and_pad_conv2d(
    input: Any,
    size: Any,
    paddings: Any,
    filter: Any,
    *,
    resize_align_corners: bool,
    mode: str,
    strides: Ints,
    padding: str,
) -> Any:
    """A convolution of a resized and mirrored image."""
    resized = KERNELS["ResizeBilinear"].function(
        input, size, align_corners=resize_align_corners, half_pixel_centers=False
    )
    return _pad_and_convolve(resized, paddings, filter, mode, strides, padding)


def _rows(x: Any, i: Any, new: Any) -> Any:
    x, new = values.to_tensor(x), values.to_tensor(new)
    places = ops.reshape(values.cast(values.to_tensor(i), "int32"), (-1, 1))
    return ops.scatter_update(x, places, new)


def _at(x: Any, i: Any) -> Any:
    return ops.take(values.to_tensor(x), values.to_tensor(i), axis=0)


@kernel("InplaceUpdate")
def inplace_update(x: Any, i: Any, v: Any) -> Any:
    """Rows replaced."""
    return _rows(x, i, v)


@kernel("InplaceAdd", limits="each row once")
def inplace_add(x: Any, i: Any, v: Any) -> Any:
    """Rows added to."""
    return _rows(x, i, _at(x, i) + values.to_tensor(v))


@kernel("InplaceSub", limits="each row once")
def inplace_sub(x: Any, i: Any, v: Any) -> Any:
    """Rows subtracted from."""
    return _rows(x, i, _at(x, i) - values.to_tensor(v))


# Boxes that are drawn into images

_COLORS = np.array(
    [
        *([1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0.5, 0, 0.5, 1]),
        *([0.5, 0.5, 0, 1], [0.5, 0, 0, 1], [0, 0, 0.5, 1], [0, 1, 1, 1], [1, 0, 1, 1]),
    ],
    np.float32,
)


def _boxed(images: Any, boxes: Any, colors: Any) -> Any:
    out = np.array(images)
    _, height, width, depth = out.shape
    table = np.ones((len(colors), depth), np.float32)
    if depth > 1:
        table[:, : colors.shape[1]] = colors[:, :depth]
    for image, its_boxes in zip(out, boxes, strict=True):
        for number, box in enumerate(its_boxes):
            color = table[number % len(table)].astype(out.dtype)
            scale = np.array([height - 1, width - 1] * 2, np.float32)
            top, left, bottom, right = (box.astype(np.float32) * scale).astype(np.int64)
            if top > bottom or left > right:
                continue
            if top >= height or bottom < 0 or left >= width or right < 0:
                continue
            rows = slice(max(top, 0), min(bottom, height - 1) + 1)
            columns = slice(max(left, 0), min(right, width - 1) + 1)
            for row in (top, bottom):
                if 0 <= row < height:
                    image[row, columns] = color
            for column in (left, right):
                if 0 <= column < width:
                    image[rows, column] = color
    return out


@kernel("DrawBoundingBoxes", static=("images", "boxes"), ignored=("T",))
def draw_bounding_boxes(images: Any, boxes: Any) -> Any:
    """Images with frames in ten colors."""
    return _boxed(images, boxes, _COLORS)


@kernel("DrawBoundingBoxesV2", static=("images", "boxes", "colors"), ignored=("T",))
def draw_bounding_boxes_v2(images: Any, boxes: Any, colors: Any) -> Any:
    """Images with frames in given colors."""
    return _boxed(images, boxes, colors if colors.size else _COLORS)


# What newer ops do otherwise


@kernel("BatchNormWithGlobalNormalization")
def batch_norm_with_global_normalization(
    t: Any,
    m: Any,
    v: Any,
    beta: Any,
    gamma: Any,
    *,
    variance_epsilon: float,
    scale_after_normalization: bool,
) -> Any:
    """Batch normalization with given statistics."""
    scale = ops.rsqrt(values.to_tensor(v) + variance_epsilon)
    scale = scale * values.to_tensor(gamma) if scale_after_normalization else scale
    return (values.to_tensor(t) - values.to_tensor(m)) * scale + values.to_tensor(beta)


@kernel("QuantizeAndDequantize")
def quantize_and_dequantize(
    input: Any,
    *,
    signed_input: bool,
    num_bits: int,
    range_given: bool,
    input_min: float,
    input_max: float,
) -> Any:
    """Numbers rounded as if they were quantized."""
    return KERNELS["QuantizeAndDequantizeV2"].function(
        input,
        np.float32(input_min),
        np.float32(input_max),
        signed_input=signed_input,
        num_bits=num_bits,
        range_given=range_given,
        round_mode="HALF_TO_EVEN",
        narrow_range=False,
        axis=-1,
    )


# Windows into images


def _glimpse(newer: bool) -> Callable[..., Any]:
    def kernel_function(
        input: Any,
        size: Any,
        offsets: Any,
        *,
        centered: bool,
        normalized: bool,
        uniform_noise: bool,
        noise: str,
    ) -> Any:
        images, places = values.to_tensor(input), values.to_tensor(offsets)
        count, height, width, depth = values.shape_of(images)
        lengths = np.array([height, width], np.float32)
        window = size.astype(np.float32)
        places = places * lengths if normalized else places
        # In the newer op, only what is relative to the middle means a window's.
        halves = centered and (normalized or not newer)
        if centered:
            places = (places / 2 if halves else places) + lengths / 2
        if halves or not newer:
            places = places - window / 2
        places = values.cast(ops.trunc(places), "int32")
        rows, columns = (
            ops.expand_dims(places[:, axis], 1) + np.arange(int(size[axis]))
            for axis in (0, 1)
        )
        inside = ops.logical_and(
            ops.expand_dims(ops.logical_and(rows >= 0, rows < height), 2),
            ops.expand_dims(ops.logical_and(columns >= 0, columns < width), 1),
        )
        if uniform_noise or noise != "zero":
            _refuse_noise(inside)
        rows = ops.expand_dims(ops.clip(rows, 0, height - 1), 2)
        columns = ops.expand_dims(ops.clip(columns, 0, width - 1), 1)
        flat = ops.reshape(rows * width + columns, (count, -1, 1))
        found = ops.take_along_axis(
            ops.reshape(images, (count, height * width, depth)), flat, axis=1
        )
        found = ops.reshape(found, (count, int(size[0]), int(size[1]), depth))
        return ops.where(ops.expand_dims(inside, -1), found, ops.zeros_like(found))

    return kernel_function


def _refuse_noise(inside: Any) -> None:
    if values.is_traced(inside) or not bool(np.all(values.static(inside))):
        raise UnsupportedError(
            "A window that reaches out of its image is filled with noise there. "
            "Only windows inside of their images are known, outside of jit."
        )


for _op, _newer in (("ExtractGlimpse", False), ("ExtractGlimpseV2", True)):
    register(
        _op,
        _glimpse(_newer),
        static=("size",),
        limits="no noise: zeros outside of the image, or windows inside of it",
    )
