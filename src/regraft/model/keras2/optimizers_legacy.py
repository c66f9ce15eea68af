"""`OptimizerV2`: the optimizers of Keras 2 before 2.11, and `legacy.*` since.

They are Keras 3's optimizers with the arithmetic of those years, which differs in

* `decay`: the learning rate is divided by `1 + decay * iterations`;
* epsilon, which RMSprop and Adagrad add to the root, not under it;
* Nadam's momentum schedule, whose exponent is `decay * step`;
* clipping: by value first, then by norm, then by global norm; up to 2.4 by norm
  first;
* sparse gradients: an `Embedding` has a gradient for the rows that it looked up.
  Momentum, Adamax, Adadelta, Ftrl and RMSprop with momentum leave the other rows and
  their slots alone, Nadam moves the slots but not the rows. A dense gradient
  doesn't name its rows, so a row counts as looked up if any of its gradient isn't
  zero.
* hyperparameters, which are float32 (`1 - beta_2` isn't 0.001).

Each can be the inner one of TensorFlow Addons' `Lookahead`, which goes part of the
way back to a slow copy of the variables every few steps, or of its `SWA` and
`MovingAverage`, see `optimizers_averages`.

`get_config` gives Keras 2's config.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from regraft.model.keras2.optimizers import ValueOf
from regraft.model.keras2.optimizers_averages import describe_average, make_average
from regraft.model.keras2.registration import PACKAGE

_PACKAGE = f"{PACKAGE}Legacy"
_FLOAT32 = (
    "beta_1",
    "beta_2",
    "rho",
    "momentum",
    "beta",
    "learning_rate_power",
    "l1_regularization_strength",
    "l2_regularization_strength",
)
# Keras 3 has these, `OptimizerV2` has not.
_LATER = {
    "weight_decay": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


def _float32(value: Any) -> float:
    return float(np.float32(value))


class OptimizerV2(keras.optimizers.Optimizer):
    """What the optimizers of this module have in common.

    Args:
        decay: Divides the learning rate by `1 + decay * iterations`.
        clipnorm: Largest norm of each gradient, after `clipvalue`.
        clipvalue: Largest absolute value in a gradient.
        global_clipnorm: Largest norm of all gradients together, after the others.
        norm_first: Whether `clipnorm` comes before `clipvalue`.
        sparse_rows: Whether tables of `Embedding` layers get sparse gradients, as
            they do in TensorFlow.
        sync_period: After how many steps variables go back to the slow copy; `None`:
            there is none.
        slow_step_size: How far the slow copy goes with them.
        average: Which average of each variable is kept, see `make_average`; `None`:
            none.
        **arguments: Of the Keras 3 optimizer.
    """

    # Lists of slots, by attribute; those that stay as they are in rows without
    # gradient. None: nothing of the row changes without gradient anyway.
    _lazy_slots: tuple[str, ...] | None = None
    # Those that are variables in Keras 2, besides the learning rate.
    hyperparameters: tuple[str, ...] = ("decay",)
    # Whether a learning rate is one of them.
    has_rate = True

    def __init__(
        self,
        *,
        decay: float = 0.0,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        norm_first: bool = False,
        sparse_rows: bool = True,
        sync_period: int | None = None,
        slow_step_size: float = 0.5,
        average: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        for name in _FLOAT32:
            if hasattr(self, name):
                setattr(self, name, _float32(getattr(self, name)))
        self.decay = _float32(decay)
        # Keras 3's constructor takes one of them only.
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.norm_first = norm_first
        self.sparse_rows = sparse_rows
        self.sync_period = sync_period
        self.slow_step_size = _float32(slow_step_size)
        self.average = None if average is None else make_average(average)

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the slots, the slow copy and the averages among them."""
        if self.built:
            return
        super().build(variables)
        if self.sync_period is not None:
            self._slow = [
                self.add_variable_from_reference(variable, "slow", ValueOf(variable))
                for variable in variables
            ]
        if self.average is not None:
            self._averages = [
                self.add_variable_from_reference(
                    variable,
                    "average",
                    ValueOf(variable) if self.average.starts_at_value else "zeros",
                )
                for variable in variables
            ]

    def assign_average_vars(self, var_list: Sequence[Any]) -> None:
        """Gives variables their averages, as TensorFlow Addons' method does.

        Args:
            var_list: Variables of a model; those without an average stay as they are.
        """
        for variable in var_list:
            if self.average is not None and self._has_index(variable):
                average = self._averages[self._get_variable_index(variable)]
                variable.assign(average)

    def _has_index(self, variable: Any) -> bool:
        return any(each is variable for each in self._trainable_variables)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name, default in _LATER.items():
            if config.get(name, default) == default:
                config.pop(name, None)
        for name in ("clipnorm", "clipvalue", "global_clipnorm"):
            if config[name] is None:
                del config[name]
        if self.norm_first:
            config["norm_first"] = True
        if not self.sparse_rows:
            config["sparse_rows"] = False
        if self.sync_period is not None:
            config["sync_period"] = self.sync_period
            config["slow_step_size"] = self.slow_step_size
        if self.average is not None:
            config["average"] = describe_average(self.average)
        return {**config, "decay": self.decay}

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        limit = self.clipvalue
        if limit is not None and not self.norm_first:
            grads = [ops.clip(g, -limit, limit) for g in grads]
        if self.clipnorm is not None:
            grads = [_clip_to_norm(g, _norm([g]), self.clipnorm) for g in grads]
        if limit is not None and self.norm_first:
            grads = [ops.clip(g, -limit, limit) for g in grads]
        if self.global_clipnorm is not None:
            norm = _norm(grads)
            grads = [_clip_to_norm(g, norm, self.global_clipnorm) for g in grads]
        return list(grads)

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Any
    ) -> None:
        super()._backend_update_step(
            grads, trainable_variables, self._decayed(learning_rate)
        )

    def _decayed(self, learning_rate: Any) -> Any:
        if self.decay == 0.0:
            return learning_rate
        steps = ops.cast(self._iterations, "float32")
        return ops.divide(learning_rate, 1.0 + self.decay * steps)

    def _has_sparse_gradient(self, variable: Any) -> bool:
        # A regularizer's gradient is dense, and makes their sum dense.
        return (
            self.sparse_rows
            and variable.name == "embeddings"
            and getattr(variable, "regularizer", None) is None
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self._lazy_slots is None or not self._has_sparse_gradient(variable):
            self._update(gradient, variable, learning_rate)
            self._after_step(variable)
            return
        index = self._get_variable_index(variable)
        changed = [variable]
        for name in self._lazy_slots:
            slots = getattr(self, name, None)
            if slots:
                changed.append(slots[index])
        before = [ops.copy(ops.convert_to_tensor(item)) for item in changed]
        self._update(gradient, variable, learning_rate)
        axes = tuple(range(1, len(variable.shape)))
        looked_up = ops.any(ops.not_equal(gradient, 0), axis=axes, keepdims=True)
        for item, old in zip(changed, before, strict=True):
            item.assign(ops.where(looked_up, ops.convert_to_tensor(item), old))
        self._after_step(variable)

    def _after_step(self, variable: Any) -> None:
        if self.sync_period is not None:
            self._look_ahead(variable, self.sync_period)
        if self.average is not None:
            average = self._averages[self._get_variable_index(variable)]
            value = ops.convert_to_tensor(variable)
            before = ops.convert_to_tensor(average)
            self.assign(average, self.average.moved(before, value, self.iterations))

    def _look_ahead(self, variable: Any, period: int) -> None:
        copy = self._slow[self._get_variable_index(variable)]
        slow, fast = ops.convert_to_tensor(copy), ops.convert_to_tensor(variable)
        step = ops.cast(self.slow_step_size, fast.dtype)
        back = slow + step * (fast - slow)
        now = ops.equal((self.iterations + 1) % period, 0)
        self.assign(copy, ops.where(now, back, slow))
        self.assign(variable, ops.where(now, back, fast))

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient, variable, learning_rate)


def _norm(gradients: Sequence[Any]) -> Any:
    squares = [ops.sum(ops.square(gradient)) for gradient in gradients]
    return ops.sqrt(ops.sum(ops.stack(squares)))


def _clip_to_norm(gradient: Any, norm: Any, limit: float) -> Any:
    scale = ops.divide(limit, ops.maximum(norm, limit))
    return ops.multiply(gradient, ops.cast(scale, gradient.dtype))


@keras.saving.register_keras_serializable(_PACKAGE)
class SGD(OptimizerV2, keras.optimizers.SGD):
    """`SGD` whose momentum rests in rows that weren't looked up."""

    hyperparameters = ("decay", "momentum")
    _lazy_slots = ("momentums",)


@keras.saving.register_keras_serializable(_PACKAGE)
class Adam(OptimizerV2, keras.optimizers.Adam):
    """`Adam`; sparse gradients move all rows, as dense ones do."""

    hyperparameters = ("decay", "beta_1", "beta_2")


@keras.saving.register_keras_serializable(_PACKAGE)
class Adamax(OptimizerV2, keras.optimizers.Adamax):
    """`Adamax` that rests in rows that weren't looked up."""

    hyperparameters = ("decay", "beta_1", "beta_2")
    _lazy_slots = ("_m", "_u")


@keras.saving.register_keras_serializable(_PACKAGE)
class Nadam(OptimizerV2, keras.optimizers.Nadam):
    """`Nadam` whose `decay` (0.004) slows the momentum's schedule down.

    Its slots move in all rows, variables in rows that were looked up.
    """

    hyperparameters = ("decay", "beta_1", "beta_2")
    _lazy_slots = ()

    def __init__(self, *, decay: float = 0.004, **arguments: Any) -> None:
        super().__init__(decay=decay, **arguments)

    def _momentum(self, step: Any, dtype: str) -> Any:
        power = ops.power(ops.cast(0.96, dtype), self.decay * ops.cast(step, dtype))
        return ops.cast(self.beta_1, dtype) * (1.0 - 0.5 * power)

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Any
    ) -> None:
        product = self._u_product
        momentum = self._momentum(self.iterations + 1, product.dtype)
        product.assign(product * momentum)
        # Neither Keras 3's schedule nor the decayed learning rate.
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            self.update_step(gradient, variable, learning_rate)

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        now = self._momentum(self.iterations + 1, dtype)
        following = self._momentum(self.iterations + 2, dtype)
        product = ops.cast(self._u_product, dtype)
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        beta_1, beta_2 = ops.cast(self.beta_1, dtype), ops.cast(self.beta_2, dtype)
        self.assign(m, beta_1 * m + (1.0 - beta_1) * gradient)
        self.assign(v, beta_2 * v + (1.0 - beta_2) * ops.square(gradient))
        step = ops.cast(self.iterations + 1, dtype)
        mean = (1.0 - now) * (gradient / (1.0 - product)) + following * (
            m / (1.0 - product * following)
        )
        root = ops.sqrt(v / (1.0 - ops.power(beta_2, step)))
        rate = ops.cast(learning_rate, dtype)
        self.assign_sub(variable, rate * mean / (root + self.epsilon))


@keras.saving.register_keras_serializable(_PACKAGE)
class RMSprop(OptimizerV2, keras.optimizers.RMSprop):
    """`RMSprop`; without momentum, epsilon is outside the root."""

    hyperparameters = ("decay", "rho", "momentum")

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if self.momentum > 0:
            self._lazy_slots = ("_velocities", "_momentums", "_average_gradients")

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.momentum > 0:
            super()._update(gradient, variable, learning_rate)
            return
        gradient = ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        velocity = self._velocities[index]
        rho = ops.cast(self.rho, variable.dtype)
        self.assign(velocity, rho * velocity + (1.0 - rho) * ops.square(gradient))
        spread = ops.convert_to_tensor(velocity)
        if self.centered:
            average = self._average_gradients[index]
            self.assign(average, rho * average + (1.0 - rho) * gradient)
            spread = spread - ops.square(average)
        rate = ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, rate * gradient / (ops.sqrt(spread) + self.epsilon))


@keras.saving.register_keras_serializable(_PACKAGE)
class Adagrad(OptimizerV2, keras.optimizers.Adagrad):
    """`Adagrad` with epsilon outside the root."""

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = ops.cast(gradient, variable.dtype)
        accumulator = self._accumulators[self._get_variable_index(variable)]
        self.assign_add(accumulator, ops.square(gradient))
        rate = ops.cast(learning_rate, variable.dtype)
        self.assign_sub(
            variable, rate * gradient / (ops.sqrt(accumulator) + self.epsilon)
        )


@keras.saving.register_keras_serializable(_PACKAGE)
class Adadelta(OptimizerV2, keras.optimizers.Adadelta):
    """`Adadelta` that rests in rows that weren't looked up."""

    hyperparameters = ("decay", "rho")
    _lazy_slots = ("_accumulated_grads", "_accumulated_delta_vars")


@keras.saving.register_keras_serializable(_PACKAGE)
class Ftrl(OptimizerV2, keras.optimizers.Ftrl):
    """`Ftrl` that rests in rows that weren't looked up."""

    hyperparameters = (
        "decay",
        "learning_rate_power",
        "l1_regularization_strength",
        "l2_regularization_strength",
        "beta",
    )

    _lazy_slots = ("_accumulators", "_linears")


CLASSES: dict[str, type[OptimizerV2]] = {
    cls.__name__: cls
    for cls in (SGD, Adam, Adamax, Nadam, RMSprop, Adagrad, Adadelta, Ftrl)
}
