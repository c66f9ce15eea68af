"""Learning rate schedules of Keras 2 and TensorFlow Addons that Keras 3 lacks."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from regraft.model.keras2.registration import registered


@registered
class LinearCosineDecay(keras.optimizers.schedules.LearningRateSchedule):
    """`tf.keras.experimental.LinearCosineDecay`: a line that a cosine waves around.

    Args:
        initial_learning_rate: Rate at step 0.
        decay_steps: Number of steps until the rate stays.
        num_periods: Number of half waves of the cosine.
        alpha: Added to the line.
        beta: Added to the product.
        name: Of the operation.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        num_periods: float = 0.5,
        alpha: float = 0.0,
        beta: float = 0.001,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.num_periods = num_periods
        self.alpha = alpha
        self.beta = beta
        self.name = name

    def __call__(self, step: Any) -> Any:
        done = ops.minimum(ops.cast(step, "float32") / self.decay_steps, 1.0)
        line = self.alpha + 1.0 - done
        wave = 0.5 * (1.0 + ops.cos(math.pi * 2.0 * self.num_periods * done))
        return self.initial_learning_rate * (line * wave + self.beta)

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "num_periods": self.num_periods,
            "alpha": self.alpha,
            "beta": self.beta,
            "name": self.name,
        }


class _Cyclical(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises from its lowest value to its highest and falls again.

    Those of TensorFlow Addons differ in how high each cycle goes.

    Args:
        initial_learning_rate: The lowest rate.
        maximal_learning_rate: The highest of the first cycle.
        step_size: Steps of half a cycle.
        scale_mode: `"cycle"` counts cycles, anything else steps.
        name: Of the operation.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        maximal_learning_rate: float,
        step_size: float,
        scale_mode: str = "cycle",
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.initial_learning_rate = initial_learning_rate
        self.maximal_learning_rate = maximal_learning_rate
        self.step_size = step_size
        self.scale_mode = scale_mode
        self.name = name

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        cycle = ops.floor(1.0 + step / (2.0 * self.step_size))
        place = ops.abs(step / self.step_size - 2.0 * cycle + 1.0)
        height = self._scale(cycle if self.scale_mode == "cycle" else step)
        span = self.maximal_learning_rate - self.initial_learning_rate
        part = ops.maximum(0.0, 1.0 - place)
        return self.initial_learning_rate + span * part * height

    def _scale(self, count: Any) -> Any:
        """How high the cycle goes."""
        return 1.0

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "maximal_learning_rate": self.maximal_learning_rate,
            "step_size": self.step_size,
            "scale_mode": self.scale_mode,
        }


@registered
class TriangularCyclicalLearningRate(_Cyclical):
    """Cycles of one height."""


@registered
class Triangular2CyclicalLearningRate(_Cyclical):
    """Each cycle goes half as high as the one before."""

    def _scale(self, count: Any) -> Any:
        return 1.0 / ops.power(2.0, count - 1.0)


@registered
class ExponentialCyclicalLearningRate(_Cyclical):
    """The height falls by `gamma` with each step or cycle."""

    def __init__(
        self,
        initial_learning_rate: float,
        maximal_learning_rate: float,
        step_size: float,
        scale_mode: str = "iterations",
        gamma: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(
            initial_learning_rate, maximal_learning_rate, step_size, scale_mode, name
        )
        self.gamma = gamma

    def _scale(self, count: Any) -> Any:
        return ops.power(self.gamma, count)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma}


ADDONS: dict[str, type[keras.optimizers.schedules.LearningRateSchedule]] = {
    f"Addons>{cls.__name__}": cls
    for cls in (
        TriangularCyclicalLearningRate,
        Triangular2CyclicalLearningRate,
        ExponentialCyclicalLearningRate,
    )
}
