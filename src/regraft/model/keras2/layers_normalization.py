"""Normalization over several axes, which Keras 3 doesn't have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from regraft.errors import UnsupportedError
from regraft.model.keras2 import layers
from regraft.model.keras2.registration import PACKAGE


# Files call it as that of one axis.
@keras.saving.register_keras_serializable(PACKAGE, "BatchNormalizationOverAxes")
class BatchNormalization(layers.BatchNormalization):
    """`BatchNormalization(axis=[…])`: moments for each place along several axes.

    Its weights have the rank of its inputs, with a length of 1 along the other axes.
    TensorFlow's fused kernel knows one axis alone, so no variance is corrected here.

    Args:
        axis: Several axes, of which none is the batch's.
    """

    def __init__(self, axis: Sequence[int], **keywords: Any) -> None:
        keywords["correction"] = "never"
        super().__init__(axis=-1, **keywords)
        if getattr(self, "renorm", False):
            raise UnsupportedError(
                f"BatchNormalization {self.name!r} renormalizes along several axes "
                f"({list(axis)}), which can't be rebuilt. Pass a class that does in "
                "`custom_objects={'BatchNormalization': …}`."
            )
        self.axis = list(axis)

    def build(self, input_shape: Any) -> None:
        rank = len(input_shape)
        lengths = {axis % rank: input_shape[axis] for axis in self.axis}
        shape = [lengths.get(axis, 1) for axis in range(rank)]
        self._reduction_axes = [axis for axis in range(rank) if axis not in lengths]
        if self.scale:
            self.gamma = self._trained("gamma", shape)
        if self.center:
            self.beta = self._trained("beta", shape)
        for name in ("moving_mean", "moving_variance"):
            weight = self.add_weight(
                shape=shape,
                name=name,
                initializer=getattr(self, f"{name}_initializer"),
                trainable=False,
                autocast=False,
            )
            setattr(self, name, weight)
        self.input_spec = keras.InputSpec(ndim=rank, axes=lengths)
        self.built = True

    def _trained(self, name: str, shape: Sequence[int]) -> Any:
        return self.add_weight(
            shape=shape,
            name=name,
            initializer=getattr(self, f"{name}_initializer"),
            regularizer=getattr(self, f"{name}_regularizer"),
            constraint=getattr(self, f"{name}_constraint"),
            autocast=False,
        )

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean = ops.cast(self.moving_mean, x.dtype)
        variance = ops.cast(self.moving_variance, x.dtype)
        if training and (self.trainable or self.when_frozen != "infers"):
            moments = self._weighted(x, None if self.ignores_mask else mask)
            if self.trainable or self.when_frozen == "moves":
                kept = self.momentum
                self.moving_mean.assign(mean * kept + moments[0] * (1.0 - kept))
                self.moving_variance.assign(variance * kept + moments[1] * (1.0 - kept))
            mean, variance = moments
        factor = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            factor = factor * ops.cast(self.gamma, x.dtype)
        x = (x - mean) * factor
        if self.center:
            x = x + ops.cast(self.beta, x.dtype)
        return ops.cast(x, self.compute_dtype)

    def _weighted(self, x: Any, mask: Any) -> tuple[Any, Any]:
        """Mean and variance of what a mask keeps, with the rank of the inputs."""
        axes = self._reduction_axes
        if mask is None:
            mean, variance = ops.moments(x, axes=axes, keepdims=True)
            return mean, variance
        weights = ops.broadcast_to(ops.expand_dims(mask, -1), ops.shape(x))
        weights = ops.cast(weights, x.dtype)
        count = ops.sum(weights, axes, keepdims=True)
        mean = ops.divide_no_nan(ops.sum(weights * x, axes, keepdims=True), count)
        squares = ops.sum(weights * ops.square(x - mean), axes, keepdims=True)
        return mean, ops.divide_no_nan(squares, count)

    def get_config(self) -> dict[str, Any]:
        # Keras' own wants one axis.
        return {**super().get_config(), "axis": list(self.axis)}
