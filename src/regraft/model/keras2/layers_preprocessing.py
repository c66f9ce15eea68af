"""Preprocessing layers that Keras 2 had and Keras 3 has not."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph.runtime.kernels.image import (
    resize_area,
    resize_bicubic,
    scale_and_translate,
)
from regraft.model.keras2.registration import registered


class _RandomByItself(keras.layers.Layer):
    """Is random unless its call says otherwise, and no other layer with it.

    In a call of a model that says nothing of training, Keras 3's random layers are
    random too, but then all layers after them train: `BatchNormalization` moves its
    statistics, `Dropout` drops.
    """

    def call(self, data: Any, training: bool | None = None) -> Any:
        return super().call(data, training=True if training is None else training)


class _RandomSize(keras.layers.Layer):
    """Stretches images along one axis by a random factor while training.

    Every step would have another size, which no compiled step can have: in training
    it works when run eagerly (`compile(run_eagerly=True)`) only.
    """

    axis: int

    def __init__(
        self,
        factor: Any,
        interpolation: str = "bilinear",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.factor = factor
        self.interpolation = interpolation
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if training is not None and not training:
            return inputs
        pair = isinstance(self.factor, (list, tuple))
        low, high = self.factor if pair else (-self.factor, self.factor)
        scale = keras.random.uniform((), 1 + low, 1 + high, seed=self.generator)
        size = [int(inputs.shape[-3]), int(inputs.shape[-2])]
        try:
            size[self.axis] = int(float(scale) * size[self.axis])
        except Exception as error:
            raise UnsupportedError(
                f"{type(self).__name__} gives every step another size, so that it "
                "trains only with `compile(run_eagerly=True)`."
            ) from error
        return ops.image.resize(
            inputs, size, self.interpolation, data_format="channels_last"
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = list(input_shape)
        shape[self.axis - 3 if self.axis == 0 else -2] = None
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key in ("factor", "interpolation", "seed"):
            config[key] = getattr(self, key)
        return config


@registered
class RandomHeight(_RandomSize):
    """Stretches images up and down by a random factor while training."""

    axis = 0


@registered
class RandomWidth(_RandomSize):
    """Stretches images sideways by a random factor while training."""

    axis = 1


@registered
class RandomFlip(_RandomByItself, keras.layers.RandomFlip):
    """Mirrors images at random, by itself."""


@registered
class RandomRotation(_RandomByItself, keras.layers.RandomRotation):
    """Turns images at random, by itself."""


@registered
class RandomTranslation(_RandomByItself, keras.layers.RandomTranslation):
    """Shifts images at random, by itself."""


@registered
class RandomZoom(_RandomByItself, keras.layers.RandomZoom):
    """Zooms images at random, by itself."""


@registered
class RandomContrast(_RandomByItself, keras.layers.RandomContrast):
    """Changes the contrast of images at random, by itself."""


@registered
class RandomBrightness(_RandomByItself, keras.layers.RandomBrightness):
    """Changes the brightness of images at random, by itself."""


@registered
class RandomCrop(_RandomByItself, keras.layers.RandomCrop):
    """Random crop that, out of training, gives the central part of the image.

    Args:
        resize_first: True for the Keras before 2.7, which resized the shorter side
            and then cropped; later ones crop first.
    """

    def __init__(self, *args: Any, resize_first: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.resize_first = resize_first

    def call(self, data: Any, training: bool | None = None) -> Any:
        if training is None or training or isinstance(data, dict):
            return super().call(data, training=training)
        first = self.data_format == "channels_first"
        axes = (-2, -1) if first else (-3, -2)
        wanted = (self.height, self.width)
        if self.resize_first:
            data = self._resized(data, self._covering(data, axes))
            return ops.cast(_center(data, axes, wanted), self.compute_dtype)
        height, width = (int(data.shape[axis]) for axis in axes)
        kept = (
            max(min(height, int(width * self.height / self.width)), 1),
            max(min(width, int(height * self.width / self.height)), 1),
        )
        data = self._resized(_center(data, axes, kept), wanted)
        return ops.cast(data, self.compute_dtype)

    def _covering(self, data: Any, axes: tuple[int, int]) -> tuple[int, int]:
        """The size in which the shorter side just fits."""
        height, width = (int(data.shape[axis]) for axis in axes)
        if height / width > self.height / self.width:
            return int(self.width * height / width), self.width
        return self.height, int(self.height * width / height)

    def _resized(self, data: Any, size: tuple[int, int]) -> Any:
        return ops.image.resize(data, size, data_format=self.data_format)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.resize_first:
            config["resize_first"] = True
        return config


def _center(data: Any, axes: tuple[int, int], size: tuple[int, int]) -> Any:
    parts = [slice(None)] * len(data.shape)
    for axis, length in zip(axes, size, strict=True):
        start = int((int(data.shape[axis]) - length) / 2)
        parts[axis] = slice(start, start + length)
    return data[tuple(parts)]


# Ways of TensorFlow's `tf.image.resize` that Keras 3 has not, or not so: TensorFlow's
# cubic weights are of a table of 1024 steps (4e-4 of the values).
ONLY_TENSORFLOW = ("area", "bicubic", "gaussian", "mitchellcubic")


@registered
class Rescaling(keras.layers.Rescaling):
    """Rescaling of float64 data by what Keras 2 rounded to float32.

    It cast Python's numbers with `tf.cast`, which makes tensors of float32 first.
    """

    def call(self, inputs: Any) -> Any:
        data = ops.cast(inputs, self.compute_dtype)
        return data * _as_float32(self.scale) + _as_float32(self.offset)


def _as_float32(given: Any) -> Any:
    rounded = np.asarray(given, "float32")
    return float(rounded) if rounded.ndim == 0 else rounded.astype("float64")


@registered
class Resizing(keras.layers.Resizing):
    """Resizing in one of the ways that only TensorFlow has, `ONLY_TENSORFLOW`."""

    def transform_images(
        self, images: Any, transformation: Any = None, training: bool = True
    ) -> Any:
        if self.interpolation not in ONLY_TENSORFLOW:
            return super().transform_images(images, transformation, training)
        found = ops.expand_dims(images, 0) if len(images.shape) == 3 else images
        if self.crop_to_aspect_ratio:
            found = self._cropped(found)
        found = ops.cast(self._resized(found), images.dtype)
        return found[0] if len(images.shape) == 3 else found

    def _cropped(self, images: Any) -> Any:
        _, height, width, _ = ops.shape(images)
        rows = min(height, int(float(width * self.height) / self.width))
        columns = min(width, int(float(height * self.width) / self.height))
        top, left = int((height - rows) / 2), int((width - columns) / 2)
        return images[:, top : top + rows, left : left + columns]

    def _resized(self, images: Any) -> Any:
        size = (self.height, self.width)
        given = tuple(ops.shape(images)[1:3])
        if given == size:
            return images
        if self.interpolation == "area":
            return resize_area(images, size, align_corners=False)
        if self.interpolation == "bicubic":
            ways = {"align_corners": False, "half_pixel_centers": True}
            return resize_bicubic(images, size, **ways)
        return scale_and_translate(
            images,
            size,
            [out / of for out, of in zip(size, given, strict=True)],
            (0.0, 0.0),
            kernel_type=self.interpolation,
            antialias=False,
        )
