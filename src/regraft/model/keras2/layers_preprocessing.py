"""Preprocessing layers that Keras 2 had and Keras 3 has not."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regraft.errors import UnsupportedError
from regraft.model.keras2.registration import registered


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

    def call(self, inputs: Any, training: bool = True) -> Any:
        if not training:
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
class RandomCrop(keras.layers.RandomCrop):
    """Random crop that, out of training, resizes the largest central crop."""

    def call(self, data: Any, training: bool = True) -> Any:
        if training or isinstance(data, dict):
            return super().call(data, training=training)
        first = self.data_format == "channels_first"
        rows, columns = (-2, -1) if first else (-3, -2)
        height, width = int(data.shape[rows]), int(data.shape[columns])
        kept = {
            rows: max(min(height, int(width * self.height / self.width)), 1),
            columns: max(min(width, int(height * self.width / self.height)), 1),
        }
        parts = [slice(None)] * len(data.shape)
        for axis, length in ((rows, height), (columns, width)):
            start = int((length - kept[axis]) / 2)
            parts[axis] = slice(start, start + kept[axis])
        resized = ops.image.resize(
            data[tuple(parts)], (self.height, self.width), data_format=self.data_format
        )
        return ops.cast(resized, self.compute_dtype)
