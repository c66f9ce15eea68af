"""TensorFlow's `tf.nn` and `tf.image` symbols on `keras.ops`."""

# Functions and arguments are TensorFlow's; its documentation describes them.
# ruff: noqa: D103
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph.runtime.kernels import kinks
from regraft.model.keras2.op_layers_array import integers
from regraft.model.keras2.op_layers_math import axes


def relu6(features: Any) -> Any:
    return ops.relu6(features)


def leaky_relu(features: Any, alpha: float = 0.2) -> Any:
    return kinks.leaky_relu(ops.convert_to_tensor(features), alpha)


def gelu(features: Any, approximate: bool = False) -> Any:
    return ops.gelu(features, approximate=bool(approximate))


def silu(features: Any, beta: float = 1.0) -> Any:
    return features * ops.sigmoid(beta * features)


def selu(features: Any) -> Any:
    return kinks.selu(ops.convert_to_tensor(features))


def crelu(features: Any, axis: int = -1) -> Any:
    return ops.relu(ops.concatenate([features, -features], axis=axis))


def softmax(logits: Any, axis: Any = None, dim: Any = None) -> Any:
    axis = axis if axis is not None else dim
    return ops.softmax(logits, axis=-1 if axis is None else int(axis))


def log_softmax(logits: Any, axis: Any = None, dim: Any = None) -> Any:
    axis = axis if axis is not None else dim
    return ops.log_softmax(logits, axis=-1 if axis is None else int(axis))


def l2_loss(t: Any) -> Any:
    return ops.sum(ops.square(t)) / 2.0


def dropout(
    x: Any,
    rate: Any = None,
    noise_shape: Any = None,
    seed: Any = None,
    keep_prob: Any = None,
) -> Any:
    """Dropout that always drops, as `tf.nn.dropout` does."""
    rate = rate if rate is not None else 1.0 - (keep_prob or 1.0)
    if not rate:
        return x
    return keras.random.dropout(x, float(rate), noise_shape, seed=seed)


def bias_add(value: Any, bias: Any, data_format: str | None = None) -> Any:
    bias = ops.convert_to_tensor(bias, dtype=value.dtype)
    if data_format and data_format.startswith("NC"):
        bias = ops.reshape(bias, (-1, *[1] * (len(value.shape) - 2)))
    return value + bias


def relu_layer(x: Any, weights: Any, biases: Any) -> Any:
    weights = ops.convert_to_tensor(weights, dtype=x.dtype)
    return ops.relu(ops.matmul(x, weights) + ops.convert_to_tensor(biases, x.dtype))


def moments(x: Any, axes_: Any, keepdims: bool = False) -> Any:
    return list(ops.moments(x, axes(axes_), keepdims=bool(keepdims)))


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: float
) -> Any:
    factor = ops.rsqrt(ops.convert_to_tensor(variance) + variance_epsilon)
    if scale is not None:
        factor = factor * ops.convert_to_tensor(scale)
    shift = -ops.convert_to_tensor(mean) * factor
    if offset is not None:
        shift = shift + ops.convert_to_tensor(offset)
    return x * ops.cast(factor, x.dtype) + ops.cast(shift, x.dtype)


def local_response_normalization(
    input: Any,
    depth_radius: int = 5,
    bias: float = 1,
    alpha: float = 1,
    beta: float = 0.5,
) -> Any:
    channels = int(input.shape[-1])
    index = np.arange(channels)
    near = np.abs(index[:, None] - index) <= depth_radius
    sums = ops.matmul(ops.square(input), ops.convert_to_tensor(near, input.dtype))
    return input / ops.power(bias + alpha * sums, beta)


def _layout(data_format: str | None) -> str:
    first = bool(data_format) and str(data_format).startswith("NC")
    return "channels_first" if first else "channels_last"


def _spatial(value: Any, rank: int, layout: str) -> Any:
    counts = integers(value) if value is not None else (1,)
    if len(counts) == 1:
        return counts * rank
    if len(counts) == rank:
        return counts
    return counts[2:] if layout == "channels_first" else counts[1:-1]


def _padding(padding: Any) -> str:
    if not isinstance(padding, str):
        raise UnsupportedError(f"Explicit padding {padding!r} of an op layer.")
    return padding.lower()


def conv(
    input: Any,
    filters: Any = None,
    strides: Any = 1,
    padding: Any = "VALID",
    data_format: str | None = None,
    dilations: Any = None,
    filter: Any = None,
    use_cudnn_on_gpu: bool = True,
) -> Any:
    kernel = filters if filters is not None else filter
    kernel = ops.convert_to_tensor(kernel, dtype=input.dtype)
    layout, rank = _layout(data_format), len(input.shape) - 2
    return ops.conv(
        input,
        kernel,
        strides=_spatial(strides, rank, layout),
        padding=_padding(padding),
        data_format=layout,
        dilation_rate=_spatial(dilations, rank, layout),
    )


def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = None,
    dilations: Any = None,
    rate: Any = None,
) -> Any:
    layout = _layout(data_format)
    return ops.depthwise_conv(
        input,
        ops.convert_to_tensor(filter, dtype=input.dtype),
        strides=_spatial(strides, 2, layout),
        padding=_padding(padding),
        data_format=layout,
        dilation_rate=_spatial(dilations or rate, 2, layout),
    )


def _pool(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(
        input: Any = None,
        ksize: Any = 1,
        strides: Any = 1,
        padding: Any = "VALID",
        data_format: str | None = None,
        value: Any = None,
    ) -> Any:
        x = input if input is not None else value
        layout, rank = _layout(data_format), len(x.shape) - 2
        return function(
            x,
            _spatial(ksize, rank, layout),
            strides=_spatial(strides, rank, layout),
            padding=_padding(padding),
            data_format=layout,
        )

    return call


def depth_to_space(input: Any, block_size: int, data_format: str = "NHWC") -> Any:
    _, rows, columns, depth = input.shape
    size = int(block_size)
    inner = int(depth) // size**2
    x = ops.reshape(input, (-1, rows, columns, size, size, inner))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, rows * size, columns * size, inner))


def space_to_depth(input: Any, block_size: int, data_format: str = "NHWC") -> Any:
    _, rows, columns, depth = input.shape
    size = int(block_size)
    x = ops.reshape(input, (-1, rows // size, size, columns // size, size, depth))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, rows // size, columns // size, size * size * depth))


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: Any = None,
    max_norm: Any = None,
    validate_indices: Any = None,
) -> Any:
    if max_norm is not None:
        raise UnsupportedError("tf.nn.embedding_lookup with max_norm.")
    return ops.take(ops.convert_to_tensor(params), ids, axis=0)


def sigmoid_cross_entropy_with_logits(labels: Any = None, logits: Any = None) -> Any:
    logits = ops.convert_to_tensor(logits)
    softened = ops.log1p(ops.exp(-ops.abs(logits)))
    return ops.relu(logits) - logits * labels + softened


def softmax_cross_entropy_with_logits(
    labels: Any, logits: Any, axis: int | None = -1, dim: Any = None
) -> Any:
    axis = axis if axis is not None else dim or -1
    return -ops.sum(labels * ops.log_softmax(logits, axis=axis), axis=axis)


def sparse_softmax_cross_entropy_with_logits(labels: Any, logits: Any) -> Any:
    chosen = ops.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return softmax_cross_entropy_with_logits(chosen, logits)


_METHODS = {
    "bilinear": "bilinear",
    "nearest": "nearest",
    "bicubic": "bicubic",
    "lanczos3": "lanczos3",
    "lanczos5": "lanczos5",
    "0": "bilinear",
    "1": "nearest",
    "2": "bicubic",
}


def image_resize(
    images: Any,
    size: Any,
    method: Any = "bilinear",
    preserve_aspect_ratio: bool = False,
    antialias: bool = False,
) -> Any:
    interpolation = _METHODS.get(str(method).lower())
    if interpolation is None or preserve_aspect_ratio:
        raise UnsupportedError(
            f"tf.image.resize with method={method!r}, "
            f"preserve_aspect_ratio={preserve_aspect_ratio}."
        )
    if interpolation != "nearest":
        images = ops.cast(images, "float32")
    return ops.image.resize(
        images,
        integers(size),
        interpolation=interpolation,
        antialias=bool(antialias),
        data_format="channels_last",
    )


def _corner_aligned(length: int, target: int, align: bool) -> Any:
    """Source positions of TensorFlow 1's resize, which had no half-pixel centers."""
    if align and target > 1:
        return np.arange(target) * ((length - 1) / (target - 1))
    return np.arange(target) * (length / target)


def resize_v1(
    images: Any, size: Any, align_corners: bool = False, half_pixel_centers: Any = False
) -> Any:
    if half_pixel_centers:
        return image_resize(images, size)
    images = ops.cast(images, "float32")
    for axis, target in zip((1, 2), integers(size), strict=True):
        length = int(images.shape[axis])
        at = _corner_aligned(length, target, bool(align_corners))
        low = np.floor(at).astype("int32")
        high = np.minimum(low + 1, length - 1)
        form = [-1 if index == axis else 1 for index in range(4)]
        part = np.reshape((at - low).astype("float32"), form)
        below = ops.take(images, low, axis=axis)
        images = below + (ops.take(images, high, axis=axis) - below) * part
    return images


def resize_nearest_v1(
    images: Any, size: Any, align_corners: bool = False, half_pixel_centers: Any = False
) -> Any:
    if half_pixel_centers:
        return image_resize(images, size, "nearest")
    for axis, target in zip((1, 2), integers(size), strict=True):
        length = int(images.shape[axis])
        at = _corner_aligned(length, target, bool(align_corners))
        at = np.round(at) if align_corners else np.floor(at)
        nearest = np.minimum(at.astype("int32"), length - 1)
        images = ops.take(images, nearest, axis=axis)
    return images


def resize_images_v1(
    images: Any,
    size: Any,
    method: Any = 0,
    align_corners: bool = False,
    preserve_aspect_ratio: bool = False,
) -> Any:
    kind = _METHODS.get(str(method).lower())
    if kind == "nearest":
        return resize_nearest_v1(images, size, align_corners)
    if kind == "bilinear":
        return resize_v1(images, size, align_corners)
    raise UnsupportedError(f"tf.compat.v1.image.resize_images with method={method!r}.")


def rgb_to_grayscale(images: Any) -> Any:
    weights = ops.convert_to_tensor([0.2989, 0.5870, 0.1140], dtype=images.dtype)
    return ops.sum(images * weights, axis=-1, keepdims=True)


def grayscale_to_rgb(images: Any) -> Any:
    return ops.repeat(images, 3, axis=-1)


def adjust_contrast(images: Any, contrast_factor: float) -> Any:
    mean = ops.mean(images, axis=(-3, -2), keepdims=True)
    return (images - mean) * contrast_factor + mean


def central_crop(image: Any, central_fraction: float) -> Any:
    parts = [slice(None)] * len(image.shape)
    for axis in (-3, -2):
        length = int(image.shape[axis])
        start = int((length - length * central_fraction) / 2)
        parts[axis] = slice(start, length - start)
    return image[tuple(parts)]


def crop_to_bounding_box(
    image: Any,
    offset_height: int,
    offset_width: int,
    target_height: int,
    target_width: int,
) -> Any:
    rows = slice(offset_height, offset_height + target_height)
    columns = slice(offset_width, offset_width + target_width)
    return image[..., rows, columns, :]


def pad_to_bounding_box(
    image: Any,
    offset_height: int,
    offset_width: int,
    target_height: int,
    target_width: int,
) -> Any:
    height, width = int(image.shape[-3]), int(image.shape[-2])
    below = target_height - offset_height - height
    right = target_width - offset_width - width
    widths = [(0, 0)] * (len(image.shape) - 3)
    widths += [(offset_height, below), (offset_width, right), (0, 0)]
    return ops.pad(image, widths)


def per_image_standardization(image: Any) -> Any:
    image = ops.cast(image, "float32")
    where = (-3, -2, -1)
    mean = ops.mean(image, axis=where, keepdims=True)
    count = int(np.prod([int(image.shape[axis]) for axis in where]))
    deviation = ops.std(image, axis=where, keepdims=True)
    return (image - mean) / ops.maximum(deviation, 1.0 / np.sqrt(count))


def rot90(image: Any, k: int = 1) -> Any:
    return ops.rot90(image, k=int(k), axes=(-3, -2))


_SAME_NAME: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "elu": ops.elu,
    "selu": selu,
    "softsign": ops.softsign,
    "softplus": ops.softplus,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
}


def _features(function: Callable[[Any], Any]) -> Callable[..., Any]:
    def call(features: Any) -> Any:
        return function(features)

    return call


SYMBOLS: dict[str, Callable[..., Any]] = {
    **{f"nn.{name}": _features(function) for name, function in _SAME_NAME.items()},
    "nn.relu6": relu6,
    "nn.leaky_relu": leaky_relu,
    "nn.gelu": gelu,
    "nn.silu": silu,
    "nn.swish": silu,
    "nn.crelu": crelu,
    "compat.v1.nn.crelu": crelu,
    "nn.softmax": softmax,
    "compat.v1.nn.softmax": softmax,
    "nn.log_softmax": log_softmax,
    "compat.v1.nn.log_softmax": log_softmax,
    "nn.l2_loss": l2_loss,
    "nn.dropout": dropout,
    "compat.v1.nn.dropout": dropout,
    "nn.bias_add": bias_add,
    "compat.v1.nn.relu_layer": relu_layer,
    "nn.moments": lambda x, axes, shift=None, keepdims=False: moments(
        x, axes, keepdims
    ),
    "nn.batch_normalization": batch_normalization,
    "nn.local_response_normalization": local_response_normalization,
    "nn.lrn": local_response_normalization,
    "nn.conv1d": conv,
    "nn.conv2d": conv,
    "nn.conv3d": conv,
    "nn.convolution": conv,
    "compat.v1.nn.conv2d": conv,
    "nn.depthwise_conv2d": depthwise_conv2d,
    "compat.v1.nn.depthwise_conv2d": depthwise_conv2d,
    "nn.max_pool": _pool(ops.max_pool),
    "nn.max_pool1d": _pool(ops.max_pool),
    "nn.max_pool2d": _pool(ops.max_pool),
    "nn.max_pool3d": _pool(ops.max_pool),
    "compat.v1.nn.max_pool": _pool(ops.max_pool),
    "nn.avg_pool": _pool(ops.average_pool),
    "nn.avg_pool1d": _pool(ops.average_pool),
    "nn.avg_pool2d": _pool(ops.average_pool),
    "nn.avg_pool3d": _pool(ops.average_pool),
    "compat.v1.nn.avg_pool": _pool(ops.average_pool),
    "nn.depth_to_space": depth_to_space,
    "nn.space_to_depth": space_to_depth,
    "nn.embedding_lookup": embedding_lookup,
    "compat.v1.nn.embedding_lookup": embedding_lookup,
    "nn.sigmoid_cross_entropy_with_logits": sigmoid_cross_entropy_with_logits,
    "compat.v1.nn.sigmoid_cross_entropy_with_logits": (
        sigmoid_cross_entropy_with_logits
    ),
    "nn.softmax_cross_entropy_with_logits": softmax_cross_entropy_with_logits,
    "compat.v1.nn.softmax_cross_entropy_with_logits_v2": (
        softmax_cross_entropy_with_logits
    ),
    "nn.sparse_softmax_cross_entropy_with_logits": (
        sparse_softmax_cross_entropy_with_logits
    ),
    "compat.v1.nn.sparse_softmax_cross_entropy_with_logits": (
        sparse_softmax_cross_entropy_with_logits
    ),
    "image.resize": image_resize,
    "compat.v1.image.resize_bilinear": resize_v1,
    "compat.v1.image.resize_nearest_neighbor": resize_nearest_v1,
    "compat.v1.image.resize_images": resize_images_v1,
    "compat.v1.image.resize": resize_images_v1,
    "image.flip_left_right": lambda image: ops.flip(image, axis=-2),
    "image.flip_up_down": lambda image: ops.flip(image, axis=-3),
    "image.rgb_to_grayscale": rgb_to_grayscale,
    "image.grayscale_to_rgb": grayscale_to_rgb,
    "image.adjust_brightness": lambda image, delta: image + delta,
    "image.adjust_contrast": adjust_contrast,
    "image.central_crop": central_crop,
    "image.crop_to_bounding_box": crop_to_bounding_box,
    "image.pad_to_bounding_box": pad_to_bounding_box,
    "image.per_image_standardization": per_image_standardization,
    "image.rot90": rot90,
    "image.transpose": lambda image: ops.swapaxes(image, -3, -2),
}
