"""Optimizers of TensorFlow Addons that many files name (`Addons>AdamW`).

They are `OptimizerV2`s, from a package that ended with Keras 2. A weight decay is
a number or a schedule, and what it leaves out is told by names of variables.

`Lookahead` is no class here: it is what any `OptimizerV2` does between its steps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from regraft.errors import UnsupportedError
from regraft.model.keras2.optimizers_legacy import OptimizerV2
from regraft.model.keras2.registration import ADDONS_PACKAGE

# What may stand in a pattern of names: a search for anything else may take forever.
_PLAIN = re.compile(r"\^?[\w /:.-]*\$?")
Schedule = keras.optimizers.schedules.LearningRateSchedule


class Addon(OptimizerV2):
    """What the optimizers of this module have in common.

    Args:
        weight_decay: How much of a variable a step takes away, or a schedule of it.
        exclude_from_weight_decay: Patterns of names of variables that don't decay.
        **arguments: Of the optimizer below.
    """

    def __init__(
        self,
        *,
        weight_decay: Any = 0.0,
        exclude_from_weight_decay: Sequence[str] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        if not callable(weight_decay):
            weight_decay = float(np.float32(weight_decay))
        self.weight_decay = weight_decay
        self.spared_from_decay = _patterns(exclude_from_weight_decay)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        rate = self.weight_decay
        if isinstance(rate, Schedule):
            rate = keras.optimizers.schedules.serialize(rate)
        config["weight_decay"] = rate
        config["exclude_from_weight_decay"] = self.spared_from_decay
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Makes the optimizer, whose decay may be a schedule."""
        config = dict(config)
        if isinstance(config.get("weight_decay"), dict):
            config["weight_decay"] = keras.optimizers.schedules.deserialize(
                config["weight_decay"], custom_objects=custom_objects
            )
        return super().from_config(config, custom_objects=custom_objects)

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Does nothing: Keras 3 would scale the decay by the learning rate."""

    def _decay(self, variable: Any) -> Any:
        rate = self.weight_decay
        if callable(rate):
            rate = rate(self.iterations)
        return ops.cast(rate, variable.dtype)

    def _decays(self, variable: Any) -> bool:
        if isinstance(self.weight_decay, float) and self.weight_decay == 0.0:
            return False
        return not _matches(variable, self.spared_from_decay)


def _patterns(found: Sequence[str] | None) -> list[str] | None:
    if found is None:
        return None
    for pattern in found:
        if not isinstance(pattern, str) or not _PLAIN.fullmatch(pattern):
            raise UnsupportedError(
                f"Only plain parts of names tell what a weight decay leaves out. "
                f"Received: {pattern!r}."
            )
    return list(found)


def _matches(variable: Any, patterns: Sequence[str] | None) -> bool:
    name = f"{variable.path}:0"
    return any(re.search(pattern, name) for pattern in patterns or ())


class _Decoupled(Addon):
    """Takes a part of each variable away before the step of the class below."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self._decays(variable):
            part = self._decay(variable) * variable
            if self._has_sparse_gradient(variable):
                part = ops.where(looked_up(gradient), part, ops.zeros_like(part))
            self.assign_sub(variable, part)
        super().update_step(gradient, variable, learning_rate)


def looked_up(gradient: Any) -> Any:
    """Which rows of a table have a gradient."""
    axes = tuple(range(1, len(gradient.shape)))
    return ops.any(ops.not_equal(gradient, 0), axis=axes, keepdims=True)


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class AdamW(_Decoupled, keras.optimizers.Adam):
    """`Adam` with a decay of its own, which no learning rate scales."""

    hyperparameters = ("decay", "beta_1", "beta_2", "weight_decay")


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class SGDW(_Decoupled, keras.optimizers.SGD):
    """`SGD` with a decay of its own, which no learning rate scales."""

    hyperparameters = ("decay", "momentum", "weight_decay")
    _lazy_slots = ("momentums",)

    def _decays(self, variable: Any) -> bool:
        # Steps of tables without momentum go past the class that takes a part away.
        past = self.momentum == 0.0 and self._has_sparse_gradient(variable)
        return super()._decays(variable) and not past


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class LazyAdam(OptimizerV2, keras.optimizers.Adam):
    """`Adam` that rests in rows that weren't looked up."""

    hyperparameters = ("decay", "beta_1", "beta_2")
    _lazy_slots = ("_momentums", "_velocities")

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if self.amsgrad:
            raise UnsupportedError("LazyAdam with `amsgrad=True` is not supported.")


class _Moments(Addon, keras.optimizers.Adam):
    """Moves Adam's moments and leaves the rest to the class above."""

    def _moved(self, gradient: Any, variable: Any) -> tuple[Any, Any]:
        """Both moments after a step, without their bias."""
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        index = self._get_variable_index(variable)
        first, second = self._momentums[index], self._velocities[index]
        beta_1, beta_2 = ops.cast(self.beta_1, dtype), ops.cast(self.beta_2, dtype)
        step = ops.cast(self.iterations + 1, dtype)
        self.assign(first, beta_1 * first + (1.0 - beta_1) * gradient)
        added = self._added_to_second(gradient, first, variable)
        self.assign(second, beta_2 * second + added)
        spread = second
        if self.amsgrad:
            spread = self._velocity_hats[index]
            self.assign(spread, ops.maximum(spread, second))
        return (
            first / (1.0 - ops.power(beta_1, step)),
            spread / (1.0 - ops.power(beta_2, step)),
        )

    def _added_to_second(self, gradient: Any, first: Any, variable: Any) -> Any:
        """What a step adds to the second moment, once the first has moved."""
        return (1.0 - ops.cast(self.beta_2, variable.dtype)) * ops.square(gradient)


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class LAMB(_Moments):
    """`LAMB`: Adam's step, as long as the variable itself.

    Args:
        exclude_from_layer_adaptation: Patterns of names of variables whose step
            keeps its length; those of `exclude_from_weight_decay` without.
        **arguments: Of Adam and its decay.
    """

    hyperparameters = ("decay", "beta_1", "beta_2", "weight_decay")

    def __init__(
        self,
        *,
        exclude_from_layer_adaptation: Sequence[str] | None = None,
        epsilon: float = 1e-6,
        **arguments: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **arguments)
        spared = _patterns(exclude_from_layer_adaptation)
        self.spared_from_scaling = spared or self.spared_from_decay

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("amsgrad")
        return {**config, "exclude_from_layer_adaptation": self.spared_from_scaling}

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        first, second = self._moved(gradient, variable)
        update = first / (ops.sqrt(second) + self.epsilon)
        if self._decays(variable):
            update = update + self._decay(variable) * variable
        rate = ops.cast(learning_rate, variable.dtype)
        if not _matches(variable, self.spared_from_scaling):
            length = ops.sqrt(ops.sum(ops.square(variable)))
            step = ops.sqrt(ops.sum(ops.square(update)))
            some = ops.logical_and(length > 0, step > 0)
            rate = rate * ops.where(some, length / ops.where(some, step, 1.0), 1.0)
        self.assign_sub(variable, rate * update)


class AdaptiveMoments(_Moments):
    """Momentum alone until the second moment is known well enough.

    Args:
        sma_threshold: From which length of the average on it is.
        total_steps: Steps after which the rate stays at `min_lr`; 0 keeps the rate.
        warmup_proportion: Part of them in which it rises.
        min_lr: What the rate falls to.
        **arguments: Of Adam and its decay.
    """

    hyperparameters = (
        "decay",
        "beta_1",
        "beta_2",
        "weight_decay",
        "sma_threshold",
        "total_steps",
        "warmup_proportion",
        "min_lr",
    )
    _lazy_slots = ()

    def __init__(
        self,
        *,
        sma_threshold: float = 5.0,
        total_steps: int = 0,
        warmup_proportion: float = 0.1,
        min_lr: float = 0.0,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.sma_threshold = float(np.float32(sma_threshold))
        self.total_steps = int(total_steps)
        self.warmup_proportion = float(np.float32(warmup_proportion))
        self.min_lr = float(np.float32(min_lr))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("exclude_from_weight_decay")
        names = ("sma_threshold", "total_steps", "warmup_proportion", "min_lr")
        return {**config, **{name: getattr(self, name) for name in names}}

    def _warmed_up(self, learning_rate: Any, step: Any) -> Any:
        if self.total_steps <= 0:
            return learning_rate
        rising = self.total_steps * self.warmup_proportion
        falling = max(self.total_steps - rising, 1.0)
        slope = (self.min_lr - learning_rate) / falling
        return ops.where(
            step <= rising,
            learning_rate * (step / rising if rising else 1.0),
            learning_rate + slope * ops.minimum(step - rising, falling),
        )

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        first, second = self._moved(gradient, variable)
        dtype = variable.dtype
        step = ops.cast(self.iterations + 1, dtype)
        beta_2 = ops.cast(self.beta_2, dtype)
        power = ops.power(beta_2, step)
        longest = 2.0 / (1.0 - beta_2) - 1.0
        length = longest - 2.0 * step * power / (1.0 - power)
        trusted, factor = self._trust(length, longest)
        update = ops.where(
            trusted, factor * first / (ops.sqrt(second) + self.epsilon), first
        )
        if self._decays(variable):
            update = update + self._decay(variable) * variable
        rate = self._warmed_up(ops.cast(learning_rate, dtype), step)
        self.assign_sub(variable, rate * update)

    def _trust(self, length: Any, longest: Any) -> tuple[Any, Any]:
        """Whether an average of a length is long enough, and what then scales it."""
        trusted = length >= self.sma_threshold
        # Where it isn't trusted the root may be of a negative number.
        ratio = (length - 4.0) / (longest - 4.0) * (length - 2.0) / (longest - 2.0)
        return trusted, ops.sqrt(ops.where(trusted, ratio * longest / length, 1.0))


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class RectifiedAdam(AdaptiveMoments):
    """`RectifiedAdam`: Adam that waits for its second moment."""


CLASSES: dict[str, type[OptimizerV2]] = {
    cls.__name__: cls for cls in (AdamW, SGDW, LazyAdam, LAMB, RectifiedAdam)
}
