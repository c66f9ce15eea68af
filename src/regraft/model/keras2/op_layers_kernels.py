"""TensorFlow's symbols that are one op of a graph, by that op's kernel."""

# Functions and arguments are TensorFlow's; its documentation describes them.
# ruff: noqa: D103
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph.runtime.registry import KERNELS

# Rows of red, green and blue, by columns of the other two systems' axes.
_YIQ = (
    (0.299, 0.59590059, 0.2115),
    (0.587, -0.27455667, -0.52273617),
    (0.114, -0.32134392, 0.31119955),
)
_YUV = (
    (0.299, -0.14714119, 0.61497538),
    (0.587, -0.28886916, -0.51496512),
    (0.114, 0.43601035, -0.10001026),
)


def _run(op: str, *inputs: Any, **attrs: Any) -> Any:
    return KERNELS[op].function(*inputs, **attrs)


def _of_one(op: str) -> Callable[[Any], Any]:
    return lambda x: _run(op, x)


def _of_two(op: str) -> Callable[[Any, Any], Any]:
    def call(x: Any, y: Any) -> Any:
        return _run(op, *_tensors(x, y))

    return call


def _tensors(*values: Any) -> list[Any]:
    """Numbers as tensors of the dtype of the tensor beside them."""
    dtype = next((v.dtype for v in values if hasattr(v, "dtype")), "float32")
    return [
        v if hasattr(v, "dtype") else ops.convert_to_tensor(v, dtype) for v in values
    ]


def erfcinv(x: Any) -> Any:
    return ops.erfinv(1.0 - x)


def extract_patches(
    images: Any, sizes: Any, strides: Any, rates: Any, padding: str
) -> Any:
    """Windows of images, each laid into the depth."""
    if not isinstance(padding, str):
        raise UnsupportedError(f"Explicit padding {padding!r} of an op layer.")
    windows = {"ksizes": sizes, "strides": strides, "rates": rates}
    attrs = {key: tuple(int(n) for n in value) for key, value in windows.items()}
    return _run("ExtractImagePatches", images, **attrs, padding=padding.upper())


def crop_and_resize(
    image: Any,
    boxes: Any,
    box_indices: Any,
    crop_size: Any,
    method: str = "bilinear",
    extrapolation_value: float = 0.0,
) -> Any:
    """Parts of images by relative corners, resized."""
    boxes = ops.convert_to_tensor(boxes, "float32")
    indices = ops.convert_to_tensor(box_indices, "int32")
    size = np.asarray(crop_size, "int32")
    words = {"method": method, "extrapolation_value": float(extrapolation_value)}
    return _run("CropAndResize", image, boxes, indices, size, **words)


def adjust_gamma(image: Any, gamma: float = 1, gain: float = 1) -> Any:
    return gain * image**gamma


def adjust_hue(image: Any, delta: Any) -> Any:
    return _run("AdjustHue", *_tensors(image, delta))


def adjust_saturation(image: Any, saturation_factor: Any) -> Any:
    return _run("AdjustSaturation", *_tensors(image, saturation_factor))


def _mixed(weights: Any) -> Callable[[Any], Any]:
    return lambda images: ops.matmul(images, np.array(weights, images.dtype))


def _scattered(op: str) -> Callable[..., Any]:
    def call(
        tensor: Any, indices: Any, updates: Any, bad_indices_policy: str = ""
    ) -> Any:
        tensor = ops.convert_to_tensor(tensor)
        updates = ops.convert_to_tensor(updates, tensor.dtype)
        return _run(op, tensor, ops.convert_to_tensor(indices), updates)

    return call


def check_numerics(tensor: Any, message: str = "") -> Any:
    """The tensor itself: a compiled step can't raise."""
    return tensor


SYMBOLS: dict[str, Callable[..., Any]] = {
    "math.lgamma": _of_one("Lgamma"),
    "math.digamma": _of_one("Digamma"),
    "math.ndtri": _of_one("Ndtri"),
    "math.erfcinv": erfcinv,
    "math.bessel_i0": _of_one("BesselI0"),
    "math.bessel_i0e": _of_one("BesselI0e"),
    "math.bessel_i1": _of_one("BesselI1"),
    "math.bessel_i1e": _of_one("BesselI1e"),
    "math.special.expint": _of_one("Expint"),
    "math.special.spence": _of_one("Spence"),
    "math.igamma": lambda a, x: _of_two("Igamma")(a, x),
    "math.igammac": lambda a, x: _of_two("Igammac")(a, x),
    "math.zeta": lambda x, q: _of_two("Zeta")(x, q),
    "math.polygamma": lambda a, x: _of_two("Polygamma")(a, x),
    "math.betainc": lambda a, b, x: _run("Betainc", *_tensors(a, b, x)),
    "math.xdivy": _of_two("Xdivy"),
    "math.xlog1py": _of_two("Xlog1py"),
    "math.nextafter": lambda x1, x2: _of_two("NextAfter")(x1, x2),
    "tensor_scatter_nd_add": _scattered("TensorScatterAdd"),
    "tensor_scatter_nd_sub": _scattered("TensorScatterSub"),
    "tensor_scatter_nd_max": _scattered("TensorScatterMax"),
    "tensor_scatter_nd_min": _scattered("TensorScatterMin"),
    "debugging.check_numerics": check_numerics,
    "image.extract_patches": extract_patches,
    "image.crop_and_resize": crop_and_resize,
    "image.rgb_to_hsv": lambda images: _run("RGBToHSV", images),
    "image.hsv_to_rgb": lambda images: _run("HSVToRGB", images),
    "image.rgb_to_yuv": _mixed(_YUV),
    "image.rgb_to_yiq": _mixed(_YIQ),
    "image.adjust_gamma": adjust_gamma,
    "image.adjust_hue": adjust_hue,
    "image.adjust_saturation": adjust_saturation,
}
