"""What layers add to the loss of a step; see `regraft._compat`."""

from __future__ import annotations

from typing import Any

import keras

from regraft._compat import all_layers


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


def count_losses_of_all_calls(model: keras.Model) -> None:
    """Lets a layer that is called several times add its losses at each call of a step.

    Keras 3.12 to 3.15 on JAX: `stateless_call` enters no call context, so that each
    layer takes its own call for the outermost, and begins it with `_clear_losses`,
    which drops what its calls before have added.
    """
    run = model.stateless_call

    def stateless_call(*arguments: Any, **keywords: Any) -> Any:
        model._clear_losses()
        layers = all_layers(model)
        for layer in layers:
            vars(layer)["_clear_losses"] = _keep_losses
        try:
            return run(*arguments, **keywords)
        finally:
            for layer in layers:
                vars(layer).pop("_clear_losses", None)

    model.stateless_call = stateless_call


def _keep_losses() -> None:
    """Stands for `_clear_losses` where a step has cleared them already."""
