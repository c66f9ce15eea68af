"""Learning rate schedules that Keras 3 doesn't have."""

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
