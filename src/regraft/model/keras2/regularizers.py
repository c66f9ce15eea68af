"""Regularizers that Keras 2 computed otherwise."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regraft.model.keras2.registration import registered


@registered
class SummedOverBatch(keras.regularizers.Regularizer):
    """An activity regularizer that sums over a batch, not averages.

    The multi-backend Keras did so before 2.3. Keras 3 divides what an activity
    regularizer gives by the number of samples, which is undone here.

    Args:
        regularizer: What it does to each output.
    """

    def __init__(self, regularizer: Any) -> None:
        self.regularizer = keras.regularizers.get(regularizer)

    def __call__(self, x: Any) -> Any:
        loss = self.regularizer(x)
        return loss * ops.cast(ops.shape(x)[0], loss.dtype)

    def get_config(self) -> dict[str, Any]:
        return {"regularizer": keras.regularizers.serialize(self.regularizer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SummedOverBatch:
        return cls(keras.regularizers.deserialize(config["regularizer"]))
