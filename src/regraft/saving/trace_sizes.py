"""Keras' functions for images, sound and pools, for sizes with a name but no number.

Keras computes these with Python's numbers, which named sizes are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import export

from regraft.graph.tracing.tracer import Tracing
from regraft.saving.trace_marks import Function


def is_known(sizes: Sequence[Any]) -> bool:
    """Whether all sizes are numbers."""
    return all(isinstance(size, int) for size in sizes)


def _between(least: int, size: Any, most: Any) -> Any:
    return jax.core.max_dim(jax.core.min_dim(size, most), least)


def _part(x: Any, axis: int, start: Any, size: Any) -> Any:
    """Returns `size` places of an axis; past the end its last one again."""
    places = jnp.arange(size) + jnp.asarray(start, "int32")
    return jnp.take(x, jnp.minimum(places, x.shape[axis] - 1), axis=axis)


def aspect_crop(images: Any, size: Sequence[int], axes: tuple[int, int]) -> Any:
    """Cuts the middle out of images that has the ratio of sides of `size`."""
    height, width = (images.shape[axis] for axis in axes)
    cut = (
        _between(1, width * size[0] // size[1], height),
        _between(1, height * size[1] // size[0], width),
    )
    for axis, whole, part in zip(axes, (height, width), cut, strict=True):
        images = _part(images, axis, (whole - part) // 2, part)
    return images


def aspect_pad(
    images: Any, size: Sequence[int], axes: tuple[int, int], value: float
) -> Any:
    """Widens images on both sides to the ratio of sides of `size`."""
    height, width = (images.shape[axis] for axis in axes)
    padded = (width * size[0] // size[1], height * size[1] // size[0])
    for axis, whole, wanted in zip(axes, (height, width), padded, strict=True):
        shape = list(images.shape)
        shape[axis] = (jax.core.max_dim(whole, wanted) - whole) // 2
        border = jnp.full(shape, value, images.dtype)
        images = jnp.concatenate([border, images, border], axis=axis)
    return images


def adaptive_pool(reduce: Callable[[Any, Any, int], Any]) -> Function:
    """Returns the mark of a pool whose windows follow from the output's size.

    Args:
        reduce: Reduces an axis of an array by which places each window holds.
    """

    def mark(
        tracing: Tracing,
        original: Function,
        inputs: Any,
        output_size: Sequence[int],
        data_format: str | None = None,
    ) -> Any:
        first = data_format == "channels_first"
        axes = range(2, inputs.ndim) if first else range(1, inputs.ndim - 1)
        if is_known([inputs.shape[axis] for axis in axes]):
            return original(inputs, output_size, data_format)
        for axis, count in zip(axes, output_size, strict=True):
            length = jnp.asarray(inputs.shape[axis], "int32")
            window = jnp.arange(count, dtype="int32")[:, None]
            place = jnp.arange(inputs.shape[axis], dtype="int32")
            # From the floor of where it begins to the ceiling of where it ends.
            begins = window * length // count <= place
            ends = place < -(-(window + 1) * length // count)
            inputs = reduce(inputs, begins & ends, axis)
        return inputs

    return mark


def average(x: Any, windows: Any, axis: int) -> Any:
    """Returns the mean of the places of each window."""
    shares = windows / jnp.sum(windows, axis=1, keepdims=True)
    found = jnp.matmul(shares.astype(x.dtype), jnp.moveaxis(x, axis, -2))
    return jnp.moveaxis(found, -2, axis)


def largest(x: Any, windows: Any, axis: int) -> Any:
    """Returns the largest of the places of each window."""
    places = jnp.moveaxis(x, axis, -1)[..., None, :]
    found = jnp.max(jnp.where(windows, places, -jnp.inf), axis=-1)
    return jnp.moveaxis(found, -1, axis)


def arange(
    tracing: Tracing,
    original: Function,
    start: Any,
    stop: Any = None,
    step: Any = None,
    dtype: Any = None,
) -> Any:
    """Counts to a named length, with steps that are whole numbers in floats, too."""
    given = (start, stop, step)
    whole = [int(x) if isinstance(x, float) and x.is_integer() else x for x in given]
    if export.is_symbolic_dim(start) or export.is_symbolic_dim(stop):
        if dtype is None and any(isinstance(x, float) for x in given):
            dtype = keras.config.floatx()
        start, stop, step = whole
    return original(start, stop, step, dtype)


def one_hot(x: Any, count: Any, axis: int, dtype: Any) -> Any:
    """Returns which of `count` places each number names."""
    x = jnp.asarray(x)
    named = x[..., None] == jnp.arange(count, dtype=x.dtype)
    return jnp.moveaxis(named.astype(dtype or jnp.float_), -1, axis)


def _mirrored(x: Any, axis: int, before: int, after: int, mode: str) -> Any:
    """Widens an axis by its own mirror image, as often as that takes."""
    length = jnp.asarray(x.shape[axis], "int32")
    places = jnp.arange(x.shape[axis] + before + after, dtype="int32") - before
    if mode == "reflect":
        turn = jnp.maximum(2 * length - 2, 1)
        place = places % turn
        place = jnp.minimum(place, turn - place)
    else:
        place = places % (2 * length)
        place = jnp.minimum(place, 2 * length - 1 - place)
    return jnp.take(x, jnp.minimum(place, length - 1), axis=axis)


def pad(
    tracing: Tracing,
    original: Function,
    x: Any,
    pad_width: Any,
    mode: str = "constant",
    constant_values: Any = None,
) -> Any:
    """Mirrors what JAX only mirrors if it knows that there is enough of it."""
    if mode not in ("reflect", "symmetric"):
        return original(x, pad_width, mode, constant_values)
    x = jnp.asarray(x)
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    pads = {axis: width for axis, width in enumerate(widths) if any(width)}
    if is_known([x.shape[axis] for axis in pads]):
        return original(x, pad_width, mode, constant_values)
    for axis, (before, after) in pads.items():
        x = _mirrored(x, axis, before, after, mode)
    return x


def stft(
    tracing: Tracing,
    original: Function,
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """Transforms the windows of a sequence, of which JAX wants to know how many."""
    x = jnp.asarray(x)
    sizes = (sequence_length, sequence_stride, fft_length)
    if is_known(x.shape[-1:]):
        return original(x, *sizes, window, center)
    if center:
        x = _mirrored(x, x.ndim - 1, fft_length // 2, fft_length // 2, "reflect")
    count = (x.shape[-1] - fft_length) // sequence_stride + 1
    begins = jnp.arange(count, dtype="int32")[:, None] * sequence_stride
    frames = jnp.take(x, begins + np.arange(fft_length, dtype="int32"), axis=-1)
    # Each is a sequence of one window.
    return tuple(part[..., 0, :] for part in original(frames, *sizes, window, False))


def random_crop(layer: Any, images: Any) -> Any:
    """Cuts a place out of images that a layer's random numbers choose.

    Where they are not larger than that on both sides, it is the place from which the
    middle of the same ratio begins, and what is missing is made by resizing.
    """
    axes = (layer.height_axis % images.ndim, layer.width_axis % images.ndim)
    size = (layer.height, layer.width)
    sides = [images.shape[axis] for axis in axes]
    backend = layer.backend

    def chosen(images: Any) -> Any:
        for axis, side, part in zip(axes, sides, size, strict=True):
            room = jnp.asarray(side, "float32") - (part - 1)
            seed = layer.generator
            start = backend.random.uniform((), 0.0, 1.0, seed=seed) * room
            images = _part(images, axis, jnp.floor(start).astype("int32"), part)
        return images

    def middle(images: Any) -> Any:
        other = (sides[1] * size[0] // size[1], sides[0] * size[1] // size[0])
        for axis, side, part, same in zip(axes, sides, size, other, strict=True):
            start = (side - _between(1, same, side)) // 2
            images = _part(images, axis, start, jax.core.min_dim(part, side - start))
        done = backend.image.resize(images, size, data_format=layer.data_format)
        return done.astype(images.dtype)

    images = jnp.asarray(images, layer.compute_dtype)
    if is_known(sides):
        fits = all(s > p for s, p in zip(sides, size, strict=True))
        return chosen(images) if fits else middle(images)
    larger = [jnp.asarray(s, "int32") > p for s, p in zip(sides, size, strict=True)]
    return jax.lax.cond(larger[0] & larger[1], chosen, middle, images)
