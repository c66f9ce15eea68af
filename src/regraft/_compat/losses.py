"""What layers add to the loss of a step; see `regraft._compat`."""

from __future__ import annotations

from typing import Any

import keras


def average_added_losses(model: keras.Model) -> None:
    """Lets a loss per example, given to `add_loss`, count with its mean.

    Keras 2 shows the mean and takes the gradient of the sum. Keras 3.12 to 3.15: what
    `_aggregate_additional_loss` returns is both.
    """
    add_up = model._aggregate_additional_loss

    def aggregate(loss: Any) -> Any:
        total = add_up(loss)
        if not len(getattr(loss, "shape", ())):
            return total
        shown = keras.ops.mean(keras.ops.cast(loss, total.dtype))
        return keras.ops.stop_gradient(shown - total) + total

    model._aggregate_additional_loss = aggregate


def count_frozen_regularizers(model: keras.Model) -> None:
    """Lets regularizers of frozen weights count in the loss, as in Keras 2.

    Keras 3.12 to 3.15: `losses` asks `_get_regularization_losses`, which leaves out
    what isn't trainable.
    """

    def losses() -> list[Any]:
        found = [v for v in model.weights if v.regularizer is not None]
        return [variable.regularizer(variable) for variable in found]

    model._get_regularization_losses = losses
