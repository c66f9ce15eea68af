"""Layers that `tf.keras.applications` brought along for its own models."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regraft.model.keras2.registration import registered


@registered
class CustomScaleLayer(keras.layers.Layer):
    """a + scale * b, of InceptionResNetV2."""

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs: Any) -> Any:
        return inputs[0] + inputs[1] * self.scale

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


@registered
class LayerScale(keras.layers.Layer):
    """gamma * x with a learned gamma, of ConvNeXt."""

    def __init__(self, init_values: float, projection_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.init_values = init_values
        self.projection_dim = projection_dim

    def build(self, input_shape: Any) -> None:
        self.gamma = self.add_weight(
            name="gamma",
            shape=(self.projection_dim,),
            initializer=keras.initializers.Constant(self.init_values),
        )

    def call(self, x: Any) -> Any:
        return x * self.gamma

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["init_values"] = self.init_values
        config["projection_dim"] = self.projection_dim
        return config


@registered
class StochasticDepth(keras.layers.Layer):
    """Drops whole samples' branches in training, of ConvNeXt."""

    def __init__(self, drop_path_rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drop_path_rate = drop_path_rate
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, x: Any, training: Any = None) -> Any:
        if not training:
            return x
        kept = 1 - self.drop_path_rate
        shape = (ops.shape(x)[0], *[1] * (len(x.shape) - 1))
        noise = keras.random.uniform(shape, 0, 1, x.dtype, seed=self.seed_generator)
        return (x / kept) * ops.floor(kept + noise)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "drop_path_rate": self.drop_path_rate}
