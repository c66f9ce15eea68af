"""`LinearModel` and `WideDeepModel`, which Keras 2 has ready-made."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regraft.model.keras2.registration import registered


@registered
class LinearModel(keras.Model):
    """A sum of dense layers, one for each input, and a bias.

    Args:
        units: Number of outputs.
        activation: Of the sum.
        use_bias: Whether there is a bias.
        kernel_initializer: Of all kernels.
        bias_initializer: Of the bias.
        kernel_regularizer: Of each kernel.
        bias_regularizer: Of the bias.
    """

    def __init__(
        self,
        units: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "zeros",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.dense_layers: list[keras.layers.Layer] = []
        self.bias: Any = None

    def build(self, input_shape: Any) -> None:
        if isinstance(input_shape, dict):
            inputs = [(name, input_shape[name]) for name in sorted(input_shape)]
        elif all(isinstance(item, (list, tuple)) for item in input_shape):
            inputs = [(None, shape) for shape in input_shape]
        else:
            inputs = [(None, input_shape)]
        for name, shape in inputs:
            layer = keras.layers.Dense(
                self.units,
                use_bias=False,
                kernel_initializer=self.kernel_initializer,
                kernel_regularizer=self.kernel_regularizer,
                dtype=self.dtype_policy,
                name=name,
            )
            layer.build(shape)
            self.dense_layers.append(layer)
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                name="bias",
            )
        self.built = True

    def call(self, inputs: Any) -> Any:
        if isinstance(inputs, dict):
            inputs = [inputs[layer.name] for layer in self.dense_layers]
        elif not isinstance(inputs, (list, tuple)):
            inputs = [inputs]
        parts = [
            layer(value) for layer, value in zip(self.dense_layers, inputs, strict=True)
        ]
        result = parts[0]
        for part in parts[1:]:
            result = ops.add(result, part)
        if self.bias is not None:
            result = ops.add(result, self.bias)
        return self.activation(result)

    def get_config(self) -> dict[str, Any]:
        return {
            **keras.layers.Layer.get_config(self),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }


@registered
class WideDeepModel(keras.Model):
    """The sum of a linear and a deep model.

    Args:
        linear_model: Computes the wide part.
        dnn_model: Computes the deep part.
        activation: Of the sum.
    """

    def __init__(
        self,
        linear_model: keras.Model,
        dnn_model: keras.Model,
        activation: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.linear_model = linear_model
        self.dnn_model = dnn_model
        self.activation = keras.activations.get(activation)

    def call(self, inputs: Any, training: Any = None) -> Any:
        pair = isinstance(inputs, (list, tuple)) and len(inputs) == 2
        wide, deep = inputs if pair else (inputs, inputs)
        return keras.tree.map_structure(
            lambda one, other: self.activation(ops.add(one, other)),
            self.linear_model(wide),
            self.dnn_model(deep, training=training),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **keras.layers.Layer.get_config(self),
            "linear_model": keras.saving.serialize_keras_object(self.linear_model),
            "dnn_model": keras.saving.serialize_keras_object(self.dnn_model),
            "activation": keras.activations.serialize(self.activation),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        parts = {
            name: keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
            for name in ("linear_model", "dnn_model")
        }
        return cls(**{**config, **parts})
