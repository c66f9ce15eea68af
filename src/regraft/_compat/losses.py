"""What makes up the loss of a step; see `regraft._compat`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras


def average_added_losses(model: keras.Model) -> None:
    """Lets a loss per example, given to `add_loss`, count with its mean.

    Keras 2 shows the mean and takes the gradient of the sum. Keras 3.12 to 3.15: what
    `_aggregate_additional_loss` returns is both.
    """
    add_up = model._aggregate_additional_loss

    def aggregate(loss: Any) -> Any:
        if not len(getattr(loss, "shape", ())):
            return add_up(loss)
        return _mean_with_gradient_of_sum(keras.ops.cast(loss, add_up(loss).dtype))

    model._aggregate_additional_loss = aggregate


def average_losses_per_example(model: keras.Model) -> None:
    """Lets a compiled loss without a reduction count with its mean.

    Keras 2 shows the mean and takes the gradient of the sum. Keras 3.12 to 3.15: the
    object that `compile` makes, `_compile_loss`, returns the loss of each example,
    which shows its mean, but no step can differentiate it.
    """
    compute = model.compute_loss

    @functools.wraps(compute)
    def compute_loss(*arguments: Any, **keywords: Any) -> Any:
        compiled = getattr(model, "_compile_loss", None)
        if compiled is not None and "call" not in vars(compiled):
            compiled.call = functools.partial(_averaged, compiled.call)
        return compute(*arguments, **keywords)

    model.compute_loss = compute_loss


def _averaged(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    loss = call(*arguments, **keywords)
    if not len(getattr(loss, "shape", ())):
        return loss
    return _mean_with_gradient_of_sum(loss)


def _mean_with_gradient_of_sum(loss: Any) -> Any:
    shown = keras.ops.stop_gradient(keras.ops.mean(loss))
    total = keras.ops.sum(loss)
    return shown + (total - keras.ops.stop_gradient(total))


def count_frozen_regularizers(model: keras.Model) -> None:
    """Lets regularizers of frozen weights count in the loss, as in Keras 2.

    Keras 3.12 to 3.15: `losses` asks `_get_regularization_losses`, which leaves out
    what isn't trainable.
    """

    def losses() -> list[Any]:
        found = [v for v in model.weights if v.regularizer is not None]
        return [variable.regularizer(variable) for variable in found]

    model._get_regularization_losses = losses
