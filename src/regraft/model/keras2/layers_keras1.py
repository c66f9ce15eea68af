"""Layers that only Keras 1 had (2015 to early 2017), with arguments in new words."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regraft.model.keras2.registration import registered


class _WithObjects(keras.layers.Layer):
    """A layer whose config holds initializers, regularizers and constraints."""

    _objects: tuple[str, ...] = ()
    _plain: tuple[str, ...] = ()

    def _take(self, given: dict[str, Any]) -> None:
        for key in self._objects:
            module = getattr(keras, key.rsplit("_", 1)[1] + "s")
            setattr(self, key, module.get(given[key]))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key in self._plain:
            config[key] = getattr(self, key)
        for key in self._objects:
            module = getattr(keras, key.rsplit("_", 1)[1] + "s")
            config[key] = module.serialize(getattr(self, key))
        return config


@registered
class MaxoutDense(_WithObjects):
    """The largest of several linear layers, unit by unit."""

    _plain = ("units", "nb_feature", "use_bias")
    _objects = (
        "kernel_initializer",
        "kernel_regularizer",
        "bias_regularizer",
        "kernel_constraint",
        "bias_constraint",
    )

    def __init__(
        self,
        units: int,
        nb_feature: int = 4,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = int(units)
        self.nb_feature = int(nb_feature)
        self.use_bias = bool(use_bias)
        self._take(
            {
                "kernel_initializer": kernel_initializer,
                "kernel_regularizer": kernel_regularizer,
                "bias_regularizer": bias_regularizer,
                "kernel_constraint": kernel_constraint,
                "bias_constraint": bias_constraint,
            }
        )

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.nb_feature, input_shape[-1], self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.nb_feature, self.units),
                initializer="zeros",
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def call(self, inputs: Any) -> Any:
        outputs = ops.einsum("bi,kio->bko", inputs, self.kernel)
        if self.bias is not None:
            outputs = outputs + self.bias
        return ops.max(outputs, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.units)


@registered
class Highway(_WithObjects):
    """A linear layer of which a gate lets through as much as it holds back input."""

    _plain = ("use_bias",)
    _objects = (
        "kernel_initializer",
        "kernel_regularizer",
        "bias_regularizer",
        "kernel_constraint",
        "bias_constraint",
    )

    def __init__(
        self,
        kernel_initializer: Any = "glorot_uniform",
        activation: Any = None,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self._take(
            {
                "kernel_initializer": kernel_initializer,
                "kernel_regularizer": kernel_regularizer,
                "bias_regularizer": bias_regularizer,
                "kernel_constraint": kernel_constraint,
                "bias_constraint": bias_constraint,
            }
        )

    def build(self, input_shape: Any) -> None:
        size = int(input_shape[-1])
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, size),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.carry_kernel = self.add_weight(
            name="carry_kernel",
            shape=(size, size),
            initializer=self.kernel_initializer,
        )
        self.bias = self.carry_bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(size,),
                initializer="zeros",
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
            self.carry_bias = self.add_weight(
                name="carry_bias", shape=(size,), initializer="ones"
            )

    def call(self, inputs: Any) -> Any:
        gate = ops.matmul(inputs, self.carry_kernel)
        outputs = ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            gate, outputs = gate + self.carry_bias, outputs + self.bias
        gate = ops.sigmoid(gate)
        return self.activation(outputs) * gate + (1 - gate) * inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["activation"] = keras.activations.serialize(self.activation)
        return config


def _per_unit(input_shape: Any, shared_axes: Any) -> list[int]:
    shape = list(input_shape[1:])
    for axis in shared_axes or ():
        if axis is not None:
            shape[axis - 1] = 1
    return shape


@registered
class ParametricSoftplus(_WithObjects):
    """`alpha * softplus(beta * x)` with an alpha and a beta for each unit."""

    _plain = ("alpha_init", "beta_init", "shared_axes")

    def __init__(
        self,
        alpha_init: float = 0.2,
        beta_init: float = 5.0,
        shared_axes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_init = float(alpha_init)
        self.beta_init = float(beta_init)
        self.shared_axes = shared_axes
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        shape = _per_unit(input_shape, self.shared_axes)
        for name, value in (("alphas", self.alpha_init), ("betas", self.beta_init)):
            initializer = keras.initializers.Constant(value)
            weight = self.add_weight(name=name, shape=shape, initializer=initializer)
            setattr(self, name, weight)

    def call(self, inputs: Any) -> Any:
        return ops.softplus(self.betas * inputs) * self.alphas

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


@registered
class SReLU(_WithObjects):
    """Linear between two thresholds, with a slope of its own beyond either."""

    _plain = ("shared_axes",)
    _names = ("t_left", "a_left", "t_right", "a_right")
    _objects = (
        "t_left_initializer",
        "a_left_initializer",
        "t_right_initializer",
        "a_right_initializer",
    )

    def __init__(
        self,
        t_left_initializer: Any = "zeros",
        a_left_initializer: Any = "glorot_uniform",
        t_right_initializer: Any = "glorot_uniform",
        a_right_initializer: Any = "ones",
        shared_axes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shared_axes = shared_axes
        self.supports_masking = True
        self._take(
            {
                "t_left_initializer": t_left_initializer,
                "a_left_initializer": a_left_initializer,
                "t_right_initializer": t_right_initializer,
                "a_right_initializer": a_right_initializer,
            }
        )

    def build(self, input_shape: Any) -> None:
        shape = _per_unit(input_shape, self.shared_axes)
        for name in self._names:
            initializer = getattr(self, f"{name}_initializer")
            weight = self.add_weight(name=name, shape=shape, initializer=initializer)
            setattr(self, name, weight)

    def call(self, inputs: Any) -> Any:
        left = ops.convert_to_tensor(self.t_left)
        right = left + ops.abs(ops.convert_to_tensor(self.t_right))
        over = ops.relu(inputs - left)
        under = self.a_left * ops.minimum(inputs - left, 0)
        center = ops.minimum(over, right - left) + under
        return left + center + ops.relu(inputs - right) * self.a_right

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def _product(first: Any, second: Any, a: int, b: int) -> Any:
    """Sums the products along axis `a` of one and axis `b` of the other."""
    ranks = len(first.shape), len(second.shape)
    left = ["z", *"abcdefg"[: ranks[0] - 1]]
    right = ["z", *"hijklmn"[: ranks[1] - 1]]
    left[a], right[b] = "x", "x"
    kept = [letter for letter in left + right[1:] if letter != "x"]
    words = "".join(left), "".join(right), "".join(kept)
    found = ops.einsum("{},{}->{}".format(*words), first, second)
    return ops.expand_dims(found, 1) if len(kept) == 1 else found


@registered
class CosineMerge(keras.layers.Layer):
    """The cosine of the angle between two inputs: `Merge(mode="cos")`."""

    def __init__(self, axes: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axes = axes

    def call(self, inputs: Any) -> Any:
        first, second = inputs
        a, b = self.axes if isinstance(self.axes, (list, tuple)) else (self.axes,) * 2
        squares = _product(first, first, a, a) * _product(second, second, b, b)
        length = ops.maximum(ops.sqrt(squares), keras.config.epsilon())
        return ops.expand_dims(_product(first, second, a, b) / length, 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": self.axes}


@registered
class ModalBatchNormalization(keras.layers.BatchNormalization):
    """`BatchNormalization(mode=1)`, by sample, and `mode=2`, by batch always."""

    def __init__(self, mode: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if mode not in (1, 2):
            raise ValueError(f"Invalid mode: {mode!r}.")
        self.mode = mode

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if self.mode == 1:
            axes, epsilon = [-1], self.epsilon
        else:
            rank = len(inputs.shape)
            axes = [axis for axis in range(rank) if axis != self.axis % rank]
            epsilon = 0.0
        mean = ops.mean(inputs, axis=axes, keepdims=True)
        variance = ops.var(inputs, axis=axes, keepdims=True)
        normal = (inputs - mean) / (ops.sqrt(variance + self.epsilon) + epsilon)
        shape = [1] * len(inputs.shape)
        shape[self.axis] = -1
        gamma = ops.reshape(self.gamma, shape)
        return normal * gamma + ops.reshape(self.beta, shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


@registered
class DroppedEmbedding(keras.layers.Embedding):
    """`Embedding(dropout=…)`: in training, whole words are left out of a batch."""

    def __init__(self, *args: Any, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dropout = float(dropout)
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, inputs: Any, training: bool = False) -> Any:
        outputs = super().call(inputs)
        if not training or self.dropout == 0.0:
            return outputs
        kept = keras.random.uniform((self.input_dim,), seed=self.seed_generator)
        scale = ops.cast(kept >= self.dropout, outputs.dtype) / (1.0 - self.dropout)
        rows = ops.take(scale, ops.cast(inputs, "int32"))
        return outputs * ops.expand_dims(rows, -1)

    def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        return super().compute_output_spec(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dropout": self.dropout}
