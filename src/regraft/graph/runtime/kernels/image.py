"""Images: resizing, cropping, warping, colours, and boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.registry import kernel, register

Taps = tuple[Any, Any]  # Indices [out, taps] and weights [out, taps].


def _scale(inside: int, outside: int, align_corners: bool) -> Any:
    if align_corners and outside > 1:
        return np.float32((inside - 1) / (outside - 1))
    return np.float32(inside / outside)


def _places(inside: int, outside: int, align: bool, half: bool) -> Any:
    numbers = np.arange(outside, dtype=np.float32)
    scale = _scale(inside, outside, align)
    if half:
        return (numbers + np.float32(0.5)) * scale - np.float32(0.5)
    return numbers * scale


def _bilinear_taps(inside: int, outside: int, align: bool, half: bool) -> Taps:
    place = _places(inside, outside, align, half)
    low = np.floor(place)
    part = (place - low).astype(np.float32)
    index = np.stack([np.maximum(low, 0), np.minimum(low + 1, inside - 1)], axis=1)
    return index.astype(np.int32), np.stack([1 - part, part], axis=1)


def _nearest_taps(inside: int, outside: int, align: bool, half: bool) -> Taps:
    numbers = np.arange(outside, dtype=np.float32)
    scale = _scale(inside, outside, align)
    if align:
        place = np.floor(numbers * scale + np.float32(0.5))
    else:
        place = np.floor((numbers + np.float32(0.5 if half else 0)) * scale)
    index = np.clip(place, 0, inside - 1).astype(np.int32)[:, None]
    return index, np.ones((outside, 1), np.float32)


# TensorFlow looks bicubic weights up in a table of so many steps.
_STEPS = 1024


def _bicubic_weights(part: Any, a: float) -> Any:
    def near(x: Any) -> Any:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return np.stack(
        [far(part + 1), near(part), near(1 - part), far(2 - part)], axis=1
    ).astype(np.float32)


def _bicubic_taps(inside: int, outside: int, align: bool, half: bool) -> Taps:
    place = _places(inside, outside, align, half)
    low = np.floor(place)
    part = np.rint((place - low) * _STEPS) / _STEPS
    weights = _bicubic_weights(part, -0.5 if half else -0.75)
    index = low[:, None] + np.arange(-1, 3)
    if half:
        weights = np.where((index >= 0) & (index < inside), weights, 0)
        weights /= weights.sum(axis=1, keepdims=True)
    return np.clip(index, 0, inside - 1).astype(np.int32), weights.astype(np.float32)


def _area_taps(inside: int, outside: int, align: bool, half: bool) -> Taps:
    del half
    scale = _scale(inside, outside, align)
    first = np.arange(outside, dtype=np.float32) * scale
    last = first + scale
    count = int(np.ceil(scale)) + 1
    index = np.floor(first)[:, None] + np.arange(count)
    overlap = np.minimum(index + 1, last[:, None]) - np.maximum(index, first[:, None])
    weights = np.maximum(overlap, 0) / scale
    return np.clip(index, 0, inside - 1).astype(np.int32), weights.astype(np.float32)


def _along(x: Any, axis: int, taps: Taps) -> Any:
    index, weights = taps
    shape = [-1 if i == axis else 1 for i in range(4)]
    total: Any = None
    for tap in range(index.shape[1]):
        part = ops.take(x, index[:, tap], axis=axis)
        if index.shape[1] > 1:
            part = part * weights[:, tap].reshape(shape)
        total = part if total is None else total + part
    return total


def _resize(
    images: Any, size: Any, method: Callable[..., Taps], align: bool, half: bool
) -> Any:
    x = values.to_tensor(images)
    lengths = values.shape_of(x)
    if not all(isinstance(n, int) for n in lengths[1:3]):
        raise UnsupportedError("Resizing images whose size is a symbol.")
    if method is not _nearest_taps:
        x = values.cast(x, "float32")
    for axis, outside in ((1, int(size[0])), (2, int(size[1]))):
        x = _along(x, axis, method(lengths[axis], outside, align, half))
    return x


def _resizing(method: Callable[..., Taps]) -> Callable[..., Any]:
    def kernel_function(
        images: Any, size: Any, *, align_corners: bool, half_pixel_centers: bool
    ) -> Any:
        return _resize(images, size, method, align_corners, half_pixel_centers)

    return kernel_function


register("ResizeBilinear", _resizing(_bilinear_taps), static=("size",))
register("ResizeNearestNeighbor", _resizing(_nearest_taps), static=("size",))
resize_bicubic = _resizing(_bicubic_taps)
register("ResizeBicubic", resize_bicubic, static=("size",))


@kernel("ResizeArea", static=("size",))
def resize_area(images: Any, size: Any, *, align_corners: bool) -> Any:
    """Images resized by the mean of the area that each pixel covers."""
    return _resize(images, size, _area_taps, align_corners, False)


# Scaling with a kernel


def _lanczos(radius: float) -> Callable[[Any], Any]:
    def weight(x: Any) -> Any:
        return np.where(x > radius, 0, np.sinc(x) * np.sinc(x / radius))

    return weight


def _gaussian(x: Any) -> Any:
    return np.where(x >= 1.5, 0, np.exp(-x * x / (2 * 0.5 * 0.5)))


def _cubic(b: float, c: float) -> Callable[[Any], Any]:
    """Mitchell and Netravali's family."""

    def weight(x: Any) -> Any:
        near = (12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + 6 - 2 * b
        far = (
            (-b - 6 * c) * x**3
            + (6 * b + 30 * c) * x**2
            + (-12 * b - 48 * c) * x
            + 8 * b
            + 24 * c
        )
        return np.where(x < 1, near, np.where(x < 2, far, 0)) / 6

    return weight


# Weight by distance, and how far it reaches.
_KERNELS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "lanczos1": (_lanczos(1), 1.0),
    "lanczos3": (_lanczos(3), 3.0),
    "lanczos5": (_lanczos(5), 5.0),
    "gaussian": (_gaussian, 1.5),
    "box": (lambda x: np.where(x < 0.5, 1.0, np.where(x == 0.5, 0.5, 0.0)), 0.5),
    "triangle": (lambda x: np.maximum(1 - x, 0), 1.0),
    "keyscubic": (_cubic(0.0, 0.5), 2.0),
    "mitchellcubic": (_cubic(1 / 3, 1 / 3), 2.0),
}


def _kernel_matrix(
    inside: int, outside: int, scale: float, shift: float, name: str, antialias: bool
) -> Any:
    """Returns how much of each entry inside goes into each outside."""
    weight, radius = _KERNELS[name]
    step = 1 / scale
    wide = max(step, 1.0) if antialias else 1.0
    center = (np.arange(outside) + 0.5) * step - step * shift
    place = np.arange(inside)
    distance = np.abs(place + 0.5 - center[:, None])
    first = np.ceil(center - radius * wide - 0.5)[:, None]
    last = np.floor(center + radius * wide - 0.5)[:, None]
    matrix = np.where((place >= first) & (place <= last), weight(distance / wide), 0)
    total = matrix.sum(axis=1, keepdims=True)
    matrix = np.where(np.abs(total) > 1e-35, matrix / np.where(total, total, 1), 0)
    matrix[(center < 0) | (center > inside)] = 0
    return matrix.astype(np.float32)


@kernel("ScaleAndTranslate", static=("size", "scale", "translation"))
def scale_and_translate(
    images: Any,
    size: Any,
    scale: Any,
    translation: Any,
    *,
    kernel_type: str,
    antialias: bool,
) -> Any:
    """Images scaled and moved, weighed by a kernel."""
    x = values.cast(values.to_tensor(images), "float32")
    for axis, name in ((1, "ah,nhwc->nawc"), (2, "bw,nhwc->nhbc")):
        matrix = _kernel_matrix(
            values.shape_of(x)[axis],
            int(size[axis - 1]),
            float(scale[axis - 1]),
            float(translation[axis - 1]),
            kernel_type,
            antialias,
        )
        x = ops.einsum(name, matrix, x)
    return x


# Reading at any place


def _pixels(images: Any, batch: Any, row: Any, column: Any) -> Any:
    """Returns pixels by whole indices, which must lie inside."""
    n, h, w, c = values.shape_of(images)
    flat = ops.reshape(images, (n * h * w, c))
    return ops.take(flat, (batch * h + row) * w + column, axis=0)


def _rounded(place: Any) -> Any:
    """Rounds halves away from zero, not to even."""
    return ops.sign(place) * ops.floor(ops.abs(place) + 0.5)


def _sample(images: Any, batch: Any, y: Any, x: Any, method: str, outside: Any) -> Any:
    """Returns interpolated pixels; those outside count as `outside`."""
    h, w = values.shape_of(images)[1:3]

    def read(row: Any, column: Any) -> Any:
        inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
        safe_row = ops.cast(ops.clip(row, 0, h - 1), "int32")
        safe_column = ops.cast(ops.clip(column, 0, w - 1), "int32")
        found = _pixels(images, batch, safe_row, safe_column)
        return ops.where(ops.expand_dims(inside, -1), found, outside)

    if method.lower() == "nearest":
        return read(_rounded(y), _rounded(x))
    top, left = ops.floor(y), ops.floor(x)
    down, right = ops.expand_dims(y - top, -1), ops.expand_dims(x - left, -1)
    upper = read(top, left) * (1 - right) + read(top, left + 1) * right
    lower = read(top + 1, left) * (1 - right) + read(top + 1, left + 1) * right
    return upper * (1 - down) + lower * down


@kernel("CropAndResize", static=("crop_size",))
def crop_and_resize(
    image: Any,
    boxes: Any,
    box_ind: Any,
    crop_size: Any,
    *,
    method: str,
    extrapolation_value: float,
) -> Any:
    """Parts of images by relative corners, resized."""
    images = values.cast(values.to_tensor(image), "float32")
    boxes = values.to_tensor(boxes)
    height, width = (int(n) for n in crop_size)
    h, w = values.shape_of(images)[1:3]

    def line(first: Any, last: Any, length: int, count: int) -> Any:
        if count > 1:
            step = (last - first) * (length - 1) / (count - 1)
            numbers = np.arange(count, dtype=np.float32)
            return (
                ops.expand_dims(first * (length - 1), 1)
                + ops.expand_dims(step, 1) * numbers
            )
        return ops.expand_dims(0.5 * (first + last) * (length - 1), 1)

    y = line(boxes[:, 0], boxes[:, 2], h, height)
    x = line(boxes[:, 1], boxes[:, 3], w, width)
    count = values.shape_of(boxes)[0]
    y = ops.broadcast_to(ops.expand_dims(y, 2), (count, height, width))
    x = ops.broadcast_to(ops.expand_dims(x, 1), (count, height, width))
    batch = ops.reshape(values.to_tensor(box_ind), (count, 1, 1))
    inside = (y >= 0) & (y <= h - 1) & (x >= 0) & (x <= w - 1)
    # Half a pixel rounds up here, not to even.
    places = (ops.floor(y + 0.5), ops.floor(x + 0.5)) if method == "nearest" else (y, x)
    found = _sample(images, batch, *places, method, 0.0)
    return ops.where(ops.expand_dims(inside, -1), found, extrapolation_value)


def _mapped(place: Any, length: int, mode: str) -> Any:
    """Returns where a place outside is read, by the fill mode."""
    if mode == "REFLECT":
        double = 2 * length
        place = ops.where(place < 0, -place - 1, place)
        place = place - double * ops.floor(place / double)
        return ops.clip(
            ops.where(place >= length, double - place - 1, place), 0, length - 1
        )
    if mode == "WRAP":
        if length <= 1:
            return place * 0
        span = length - 1
        wrapped = place + length * (ops.trunc(-place / span) + 1)
        back = place - length * ops.trunc(place / span)
        place = ops.where(place < 0, wrapped, ops.where(place > span, back, place))
        return ops.clip(place, 0, span)
    if mode == "NEAREST":
        return ops.clip(place, 0, length - 1)
    return place


def _projected(
    images: Any,
    transforms: Any,
    output_shape: Any,
    fill_value: Any,
    interpolation: str,
    fill_mode: str,
) -> Any:
    images = values.to_tensor(images)
    n, h, w, _ = values.shape_of(images)
    height, width = (int(v) for v in output_shape)
    t = ops.broadcast_to(values.to_tensor(transforms), (n, 8))
    t = ops.reshape(t, (n, 8, 1, 1))
    x = np.arange(width, dtype=np.float32).reshape(1, 1, -1)
    y = np.arange(height, dtype=np.float32).reshape(1, -1, 1)
    below = t[:, 6] * x + t[:, 7] * y + 1
    from_x = (t[:, 0] * x + t[:, 1] * y + t[:, 2]) / below
    from_y = (t[:, 3] * x + t[:, 4] * y + t[:, 5]) / below
    from_x = _mapped(from_x, w, fill_mode)
    from_y = _mapped(from_y, h, fill_mode)
    batch = ops.reshape(ops.arange(n, dtype="int32"), (n, 1, 1))
    fill = values.cast(values.to_tensor(fill_value), values.dtype_of(images))
    return _sample(images, batch, from_y, from_x, interpolation, fill)


@kernel("ImageProjectiveTransformV2", static=("output_shape",))
def image_projective_transform_v2(
    images: Any,
    transforms: Any,
    output_shape: Any,
    *,
    interpolation: str,
    fill_mode: str,
) -> Any:
    """Images warped by projections."""
    zero = np.float32(0)
    return _projected(
        images, transforms, output_shape, np.asarray(zero), interpolation, fill_mode
    )


@kernel("ImageProjectiveTransformV3", static=("output_shape",))
def image_projective_transform_v3(
    images: Any,
    transforms: Any,
    output_shape: Any,
    fill_value: Any,
    *,
    interpolation: str,
    fill_mode: str,
) -> Any:
    """Images warped by projections, a value where nothing is."""
    return _projected(
        images, transforms, output_shape, fill_value, interpolation, fill_mode
    )


# Colours


@kernel("AdjustContrastv2")
def adjust_contrast_v2(images: Any, contrast_factor: Any) -> Any:
    """Differences from each channel's mean, times a factor."""
    x = values.to_tensor(images)
    mean = ops.mean(x, axis=(-3, -2), keepdims=True)
    return (x - mean) * values.to_tensor(contrast_factor) + mean


@kernel("RGBToHSV")
def rgb_to_hsv(images: Any) -> Any:
    """Hue, saturation and value of colours."""
    x = values.to_tensor(images)
    red, green, blue = (x[..., i] for i in range(3))
    value = ops.max(x, axis=-1)
    span = value - ops.min(x, axis=-1)
    saturation = ops.where(value > 0, span / ops.where(value > 0, value, 1), 0)
    part = 1 / (6 * ops.where(span > 0, span, 1))
    hue = ops.where(
        red == value,
        part * (green - blue),
        ops.where(
            green == value,
            part * (blue - red) + 2 / 6,
            part * (red - green) + 4 / 6,
        ),
    )
    hue = ops.where(span > 0, hue, 0)
    hue = ops.where(hue < 0, hue + 1, hue)
    return ops.stack([hue, saturation, value], axis=-1)


@kernel("HSVToRGB")
def hsv_to_rgb(images: Any) -> Any:
    """Colours of hue, saturation and value."""
    x = values.to_tensor(images)
    hue, saturation, value = (x[..., i] for i in range(3))
    rest = 1 - saturation
    parts = [(rest + saturation * c) * value for c in _pure_colour(hue)]
    return ops.stack(parts, axis=-1)


def _pure_colour(hue: Any) -> tuple[Any, Any, Any]:
    """Red, green and blue of the brightest colours."""
    turn = hue * 6
    return (
        ops.clip(ops.abs(turn - 3) - 1, 0, 1),
        ops.clip(2 - ops.abs(turn - 2), 0, 1),
        ops.clip(2 - ops.abs(turn - 4), 0, 1),
    )


@kernel("AdjustHue")
def adjust_hue(images: Any, delta: Any) -> Any:
    """Colours with their hue turned."""
    x = values.to_tensor(images)
    hue = rgb_to_hsv(x)[..., 0] + values.to_tensor(delta)
    # Between the same bounds: saturation has no meaning where none is above zero.
    low = ops.min(x, axis=-1)
    span = ops.max(x, axis=-1) - low
    parts = [low + span * c for c in _pure_colour(hue - ops.floor(hue))]
    return ops.stack(parts, axis=-1)


@kernel("AdjustSaturation")
def adjust_saturation(images: Any, scale: Any) -> Any:
    """Colours with their saturation scaled."""
    hsv = rgb_to_hsv(images)
    part = ops.clip(hsv[..., 1:2] * values.to_tensor(scale), 0, 1)
    return hsv_to_rgb(ops.concatenate([hsv[..., :1], part, hsv[..., 2:]], axis=-1))
