"""Metrics that see the masks of outputs in training, as those of Keras 2 do.

A mask travels beside its tensor. Where Keras runs on JAX, a step of training takes the
outputs out of the function whose gradient it takes, and their masks stay behind: the
loss has seen them, the metrics of `evaluate` do, those of `fit` count every step.

Here the masks leave that function along with the outputs.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras

from regraft import _compat


class _Masked(NamedTuple):
    """Outputs on their way to the metrics, as JAX lets them through."""

    outputs: Any
    masks: list[Any]


def show_masks_to_metrics(model: keras.Model) -> None:
    """Lets the metrics of `fit` see the masks of outputs.

    Args:
        model: Whose methods do by now what else they shall; those of a class that takes
            steps of its own are left alone.
    """
    if (
        keras.backend.backend() != "jax"
        or type(model).train_step is not keras.Model.train_step
    ):
        return
    loss, metrics = model.compute_loss_and_updates, model.compute_metrics

    @functools.wraps(loss)
    def compute_loss_and_updates(
        *arguments: Any, training: bool = False, **keywords: Any
    ) -> Any:
        found, (plain, outputs, *state) = loss(
            *arguments, training=training, **keywords
        )
        masks = [_compat.keras_mask(leaf) for leaf in keras.tree.flatten(outputs)]
        if training and any(mask is not None for mask in masks):
            outputs = _Masked(outputs, masks)
        return found, (plain, outputs, *state)

    @functools.wraps(metrics)
    def compute_metrics(
        x: Any, y: Any, y_pred: Any, *rest: Any, **keywords: Any
    ) -> Any:
        if isinstance(y_pred, _Masked):
            y_pred, masks = y_pred
            for leaf, mask in zip(keras.tree.flatten(y_pred), masks, strict=True):
                if mask is not None:
                    _compat.set_keras_mask(leaf, mask)
        return metrics(x, y, y_pred, *rest, **keywords)

    model.compute_loss_and_updates = compute_loss_and_updates
    model.compute_metrics = compute_metrics
