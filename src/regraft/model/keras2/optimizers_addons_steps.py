"""Optimizers of TensorFlow Addons with steps that no class of Keras 3 takes.

Each is written from its paper, with the choices that TensorFlow Addons made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from regraft.errors import UnsupportedError
from regraft.model.keras2.optimizers_addons import (
    AdaptiveMoments,
    looked_up,
)
from regraft.model.keras2.optimizers_legacy import OptimizerV2
from regraft.model.keras2.registration import ADDONS_PACKAGE


def _float32(value: Any) -> float:
    return float(np.float32(value))


class _OwnSteps(OptimizerV2):
    """What the optimizers of this module have in common.

    Their `_update` is given all that it reads as numbers, and slots by variable.
    """

    _slots: tuple[tuple[str, str], ...] = ()  # Attribute and name of each.

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the slots."""
        if self.built:
            return
        super().build(variables)
        for attribute, name in self._slots:
            initial = keras.initializers.Constant(self._initial_value(name))
            made = [
                self.add_variable_from_reference(variable, name, initial)
                for variable in variables
            ]
            setattr(self, attribute, made)

    def _initial_value(self, name: str) -> float:
        del name
        return 0.0

    def _of(self, attribute: str, variable: Any) -> Any:
        return getattr(self, attribute)[self._get_variable_index(variable)]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if config["decay"] == 0.0 and "decay" not in self.hyperparameters:
            del config["decay"]
        return config


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class Yogi(_OwnSteps):
    """`Yogi`: Adam whose second moment goes up and down by what a gradient adds.

    Args:
        beta1: Of the mean of gradients; with 0 there is none.
        beta2: Of the mean of their squares.
        epsilon: Added to the root.
        l1_regularization_strength: Draws variables to 0.
        l2_regularization_strength: Shrinks them.
        initial_accumulator_value: Where the second moment begins.
        activation: `"sign"` or `"tanh"`: which way the second moment goes.
        **arguments: Of any `OptimizerV2`.
    """

    hyperparameters = (
        "decay",
        "beta_1",
        "beta_2",
        "epsilon",
        "l1_regularization_strength",
        "l2_regularization_strength",
    )
    _lazy_slots = ()

    def __init__(
        self,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-3,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        initial_accumulator_value: float = 1e-6,
        activation: str = "sign",
        learning_rate: Any = 0.01,
        **arguments: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **arguments)
        if activation not in ("sign", "tanh"):
            raise UnsupportedError(
                f"Yogi's activation is 'sign' or 'tanh'. Received: {activation!r}."
            )
        self.beta_1, self.beta_2 = _float32(beta1), _float32(beta2)
        self.epsilon = _float32(epsilon)
        self.l1_regularization_strength = _float32(l1_regularization_strength)
        self.l2_regularization_strength = _float32(l2_regularization_strength)
        self.initial_accumulator_value = initial_accumulator_value
        self.activation = activation
        self._slots = (("_velocities", "v"),)
        if self.beta_1 > 0.0:
            self._slots += (("_momentums", "m"),)

    def _initial_value(self, name: str) -> float:
        return self.initial_accumulator_value if name == "v" else 0.0

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta1": self.beta_1,
            "beta2": self.beta_2,
            "epsilon": self.epsilon,
            "l1_regularization_strength": self.l1_regularization_strength,
            "l2_regularization_strength": self.l2_regularization_strength,
            "activation": self.activation,
            "initial_accumulator_value": self.initial_accumulator_value,
        }

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        step = ops.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = ops.cast(self.beta_1, dtype), ops.cast(self.beta_2, dtype)
        mean = gradient
        if self.beta_1 > 0.0:
            momentum = self._of("_momentums", variable)
            self.assign(momentum, beta_1 * momentum + (1.0 - beta_1) * gradient)
            mean = ops.convert_to_tensor(momentum)
        square = ops.square(gradient)
        velocity = self._of("_velocities", variable)
        gap = square - velocity
        way = ops.sign(gap) if self.activation == "sign" else ops.tanh(10.0 * gap)
        self.assign(velocity, velocity + (1.0 - beta_2) * way * square)
        correction = ops.sqrt(1.0 - ops.power(beta_2, step))
        rate = ops.cast(learning_rate, dtype) * correction
        rate = rate / (1.0 - ops.power(beta_1, step))
        rate = rate / (ops.sqrt(velocity) + self.epsilon)
        self.assign(
            variable,
            _shrunk(
                variable - rate * mean,
                rate,
                self.l1_regularization_strength,
                self.l2_regularization_strength,
            ),
        )


def _shrunk(value: Any, rate: Any, l1: float, l2: float) -> Any:
    """What a value becomes that two penalties draw to 0."""
    if l1 > 0.0:
        left = ops.maximum(ops.abs(value) - l1 * rate, 0.0)
        value = ops.sign(value) * left
    return value / (1.0 + l2 * rate) if l1 > 0.0 or l2 > 0.0 else value


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class ProximalAdagrad(_OwnSteps):
    """`Adagrad` whose penalties are no part of the gradient.

    Args:
        initial_accumulator_value: Where sums of squares begin.
        l1_regularization_strength: Draws variables to 0.
        l2_regularization_strength: Shrinks them.
        **arguments: Of any `OptimizerV2`.
    """

    hyperparameters = ("l1_regularization_strength", "l2_regularization_strength")
    _lazy_slots = ()
    _slots = (("_accumulators", "accumulator"),)

    def __init__(
        self,
        *,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        learning_rate: Any = 0.001,
        **arguments: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **arguments)
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = _float32(l1_regularization_strength)
        self.l2_regularization_strength = _float32(l2_regularization_strength)

    def _initial_value(self, name: str) -> float:
        del name
        return self.initial_accumulator_value

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "l1_regularization_strength": self.l1_regularization_strength,
            "l2_regularization_strength": self.l2_regularization_strength,
        }

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = ops.cast(gradient, variable.dtype)
        accumulator = self._of("_accumulators", variable)
        self.assign_add(accumulator, ops.square(gradient))
        rate = ops.cast(learning_rate, variable.dtype) * ops.rsqrt(accumulator)
        self.assign(
            variable,
            _shrunk(
                variable - rate * gradient,
                rate,
                self.l1_regularization_strength,
                self.l2_regularization_strength,
            ),
        )


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class NovoGrad(_OwnSteps):
    """`NovoGrad`: one second moment for all of a variable.

    Its files don't say whether `amsgrad` was on, so that is off, as it is where
    TensorFlow Addons opens them.

    Args:
        beta_1: Of the momentum.
        beta_2: Of the mean of squared norms.
        epsilon: Added to the root.
        weight_decay: How much of a variable goes along with its gradient.
        grad_averaging: Whether gradients after the first count `1 - beta_1` times.
        **arguments: Of any `OptimizerV2`.
    """

    # TensorFlow Addons can't train on where a file has `grad_averaging` as one.
    hyperparameters = ("decay", "beta_1", "beta_2", "weight_decay")
    _lazy_slots = ("_momentums",)
    _slots = (("_momentums", "m"),)

    def __init__(
        self,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float = 0.0,
        grad_averaging: bool = False,
        learning_rate: Any = 0.001,
        **arguments: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **arguments)
        self.beta_1, self.beta_2 = _float32(beta_1), _float32(beta_2)
        self.epsilon = epsilon
        self.weight_decay = _float32(weight_decay)
        self.grad_averaging = bool(grad_averaging)

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the slots; second moments are numbers."""
        if self.built:
            return
        super().build(variables)
        self._spreads = [
            self.add_variable((), "zeros", dtype=variable.dtype, name="v")
            for variable in variables
        ]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if config["decay"] == 0.0:
            del config["decay"]
        return {
            **config,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "weight_decay": self.weight_decay,
            "grad_averaging": self.grad_averaging,
        }

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Does nothing: the decay is a part of each step."""

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        beta_1, beta_2 = ops.cast(self.beta_1, dtype), ops.cast(self.beta_2, dtype)
        first = ops.equal(self.iterations, 0)
        spread = self._of("_spreads", variable)
        norm = ops.sum(ops.square(gradient))
        moved = beta_2 * spread + (1.0 - beta_2) * norm
        self.assign(spread, ops.where(first, norm, moved))
        gradient = gradient / (ops.sqrt(spread) + self.epsilon)
        if self.weight_decay > 0.0:
            gradient = gradient + self.weight_decay * variable
        if self.grad_averaging:
            gradient = gradient * ops.where(first, 1.0, 1.0 - beta_1)
        momentum = self._of("_momentums", variable)
        rate = ops.cast(learning_rate, dtype)
        self.assign(momentum, beta_1 * momentum - rate * gradient)
        self.assign_add(variable, ops.convert_to_tensor(momentum))


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class COCOB(_OwnSteps):
    """`COCOB`, which bets coins and has no learning rate.

    Args:
        alpha: Keeps the first steps small.
        learning_rate: Of no use; Keras wants one.
        **arguments: Of any `OptimizerV2`.
    """

    hyperparameters = ("alpha",)
    has_rate = False
    _slots = (
        ("_largest", "lr"),
        ("_norm_sums", "grad_norm_sum"),
        ("_gradient_sums", "gradients_sum"),
        ("_bets", "tilde_w"),
        ("_rewards", "reward"),
    )

    def __init__(
        self, *, alpha: float = 100.0, learning_rate: Any = 0.001, **arguments: Any
    ) -> None:
        super().__init__(learning_rate=learning_rate, **arguments)
        self.alpha = _float32(alpha)

    def _initial_value(self, name: str) -> float:
        return 1e-8 if name == "lr" else 0.0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = ops.cast(gradient, variable.dtype)
        largest, norms, total, bet, reward = (
            self._of(attribute, variable) for attribute, _ in self._slots
        )
        size = ops.abs(gradient)
        before = ops.convert_to_tensor(bet)
        self.assign(largest, ops.maximum(largest, size))
        self.assign_add(norms, size)
        self.assign_add(total, gradient)
        self.assign(reward, ops.maximum(reward - gradient * before, 0.0))
        scale = ops.maximum(norms + largest, self.alpha * largest)
        now = -total / (largest * scale) * (reward + largest)
        self.assign(variable, variable - before + now)
        self.assign(bet, now)


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class ConditionalGradient(_OwnSteps):
    """`ConditionalGradient`: goes to where a ball of some norm ends.

    Args:
        lambda_: How large the ball is.
        epsilon: Added to a gradient's norm.
        ord: `"fro"` or `"nuclear"`.
        **arguments: Of any `OptimizerV2`.
    """

    hyperparameters = ("lambda_",)
    _lazy_slots = ()
    # Nothing reads it, but files have it.
    _slots = (("_unused", "conditional_gradient"),)

    def __init__(
        self,
        *,
        learning_rate: Any,
        lambda_: float = 0.01,
        epsilon: float = 1e-7,
        ord: str = "fro",
        **arguments: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **arguments)
        if ord not in ("fro", "nuclear"):
            raise UnsupportedError(
                f"ConditionalGradient's norm is 'fro' or 'nuclear'. Received: {ord!r}."
            )
        self.lambda_ = _float32(lambda_)
        self.epsilon = epsilon
        self.ord = ord

    def get_config(self) -> dict[str, Any]:
        names = ("lambda_", "epsilon", "ord")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = ops.cast(gradient, variable.dtype)
        if self.ord == "fro":
            norm = ops.sqrt(ops.sum(ops.square(gradient)))
            end = gradient / (norm + self.epsilon)
        else:
            end = _of_rank_one(gradient)
        rate = ops.cast(learning_rate, variable.dtype)
        self.assign(variable, rate * variable - (1.0 - rate) * self.lambda_ * end)


def _of_rank_one(matrix: Any) -> Any:
    """The product of a matrix' first singular vectors."""
    shape = tuple(matrix.shape)
    if len(shape) > 2:
        raise UnsupportedError(
            "ConditionalGradient with the norm 'nuclear' takes matrices and vectors. "
            f"Received a variable of shape {shape}."
        )
    rows = ops.reshape(matrix, (1,) * (2 - len(shape)) + shape)
    left, _, right = ops.svd(rows, full_matrices=False)
    return ops.reshape(ops.matmul(left[:, :1], right[:1]), shape)


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class AdaBelief(AdaptiveMoments):
    """`AdaBelief`: the second moment is of how far gradients are from their mean.

    Args:
        rectify: Whether it waits as `RectifiedAdam` does.
        epsilon: Added to the second moment and to its root.
        **arguments: Of `RectifiedAdam`.
    """

    def __init__(
        self, *, rectify: bool = True, epsilon: float = 1e-14, **arguments: Any
    ) -> None:
        super().__init__(epsilon=epsilon or 1e-7, **arguments)
        self.rectify = bool(rectify)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rectify": self.rectify}

    def _added_to_second(self, gradient: Any, first: Any, variable: Any) -> Any:
        beta_2 = ops.cast(self.beta_2, variable.dtype)
        added = (1.0 - beta_2) * ops.square(gradient - first) + self.epsilon
        if self._has_sparse_gradient(variable):
            added = ops.where(looked_up(gradient), added, ops.zeros_like(added))
        return added

    def _trust(self, length: Any, longest: Any) -> tuple[Any, Any]:
        if self.rectify:
            return super()._trust(length, longest)
        return ops.ones_like(length, "bool"), ops.ones_like(length)


CLASSES: dict[str, type[OptimizerV2]] = {
    cls.__name__: cls
    for cls in (
        Yogi,
        ProximalAdagrad,
        NovoGrad,
        COCOB,
        ConditionalGradient,
        AdaBelief,
    )
}
