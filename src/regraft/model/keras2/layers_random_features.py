"""`RandomFourierFeatures`: a kernel method's map as a layer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from regraft.model.keras2.registration import registered

KERNELS = ("gaussian", "laplacian")


class RandomKernel(keras.initializers.Initializer):
    """What the kernel of one of `KERNELS` is drawn from, which is no Keras object."""

    def __init__(self, name: str) -> None:
        if name not in KERNELS:
            raise ValueError(f"Invalid kernel: {name!r}. Expected one of {KERNELS}.")
        self.name = name

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        if self.name == "gaussian":
            return keras.random.normal(shape, dtype=dtype)
        return ops.tan(keras.random.uniform(shape, -np.pi / 2, np.pi / 2, dtype))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


def random_kernel(value: Any) -> Any:
    """The initializer of a name of `KERNELS`, in any case; anything else as it is."""
    if isinstance(value, str) and value.lower() in KERNELS:
        return RandomKernel(value.lower())
    return value


@registered
class RandomFourierFeatures(keras.layers.Layer):
    """cos(x @ kernel / scale + bias), over a random kernel and a random bias.

    Only the scale is trained, and that where `trainable` says so. Computes in float32.

    Args:
        output_dim: Number of features.
        kernel_initializer: A name of `KERNELS`, or an initializer.
        scale: Its value at first, or `None` for the kernel's usual one.
    """

    def __init__(
        self,
        output_dim: int,
        kernel_initializer: Any = "gaussian",
        scale: float | None = None,
        trainable: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)
        super().__init__(trainable=trainable, **kwargs)
        self.output_dim = output_dim
        self.kernel_initializer = keras.initializers.get(
            random_kernel(kernel_initializer)
        )
        self.scale = scale

    def build(self, input_shape: Any) -> None:
        """Draws the kernel and the bias."""
        length = input_shape[-1]
        self.unscaled_kernel = self.add_weight(
            name="unscaled_kernel",
            shape=(length, self.output_dim),
            dtype="float32",
            initializer=self.kernel_initializer,
            trainable=False,
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(self.output_dim,),
            dtype="float32",
            initializer=keras.initializers.RandomUniform(0.0, 2 * np.pi),
            trainable=False,
        )
        if self.scale is None:
            gaussian = self._kernel_name() == "gaussian"
            self.scale = float(np.sqrt(length / 2)) if gaussian else 1.0
        self.kernel_scale = self.add_weight(
            name="kernel_scale",
            shape=(1,),
            dtype="float32",
            initializer=keras.initializers.Constant(self.scale),
            constraint="non_neg",
        )
        self.built = True

    def _kernel_name(self) -> str | None:
        drawn = self.kernel_initializer
        return drawn.name if isinstance(drawn, RandomKernel) else None

    def call(self, inputs: Any) -> Any:
        kernel = self.unscaled_kernel / self.kernel_scale
        return ops.cos(ops.matmul(ops.cast(inputs, "float32"), kernel) + self.bias)

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor((*inputs.shape[:-1], self.output_dim), "float32")

    def get_config(self) -> dict[str, Any]:
        name = self._kernel_name()
        return {
            **super().get_config(),
            "output_dim": self.output_dim,
            "kernel_initializer": name
            or keras.initializers.serialize(self.kernel_initializer),
            "scale": self.scale,
        }
