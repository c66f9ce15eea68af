"""Metrics that see the masks of outputs, as those of Keras 2 do.

A mask travels beside its tensor. Where Keras runs on JAX, a step of training takes the
outputs out of the function whose gradient it takes, and their masks stay behind: the
loss has seen them, the metrics of `evaluate` do, those of `fit` count every step. Here
the masks leave that function along with the outputs.

Of metrics, Keras 3 lets those see a mask that are the mean of a function; Keras 2 gives
it to every other one too, as the weights of the samples. Where there are weights of
whole examples, Keras 3 fails to join them with a mask of steps.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, NamedTuple

import keras
from keras import ops

from regraft import _compat
from regraft._compat.results import compiled_metrics


class _Masked(NamedTuple):
    """Outputs on their way to the metrics, as JAX lets them through."""

    outputs: Any
    masks: list[Any]


def show_masks_to_metrics(model: keras.Model) -> None:
    """Lets all metrics of `evaluate` and `fit` see the masks of outputs.

    Args:
        model: Whose methods do by now what else they shall; those of a class that takes
            steps of its own are left alone.
    """
    if type(model).train_step is not keras.Model.train_step:
        return
    _weigh_by_masks(model)
    if keras.backend.backend() == "jax":
        _take_masks_along(model)


def _weigh_by_masks(model: keras.Model) -> None:
    metrics = model.compute_metrics
    # Kept, so that no other one gets the id of one that is gone.
    weighed: dict[int, keras.metrics.Metric] = {}

    @functools.wraps(metrics)
    def compute_metrics(
        x: Any, y: Any, y_pred: Any, *rest: Any, **keywords: Any
    ) -> Any:
        outputs = keras.tree.flatten(y_pred)
        if any(_compat.keras_mask(output) is not None for output in outputs):
            for metric in compiled_metrics(model, y, y_pred):
                if id(metric) not in weighed:
                    weighed[id(metric)] = metric
                    _weigh_by_mask(metric)
        return metrics(x, y, y_pred, *rest, **keywords)

    model.compute_metrics = compute_metrics


def _weigh_by_mask(metric: keras.metrics.Metric) -> None:
    update = metric.update_state
    if "sample_weight" not in inspect.signature(update).parameters:
        return
    sees_masks = isinstance(metric, keras.metrics.MeanMetricWrapper)

    @functools.wraps(update)
    def update_state(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        mask = _compat.keras_mask(y_pred)
        if mask is not None:
            weights, mask = _of_one_rank(sample_weight, mask, metric.dtype)
            # Those that see masks only lack the rank that Keras 3 asks for.
            sample_weight = weights if sees_masks else weights * mask
        return update(y_true, y_pred, sample_weight=sample_weight)

    metric.update_state = update_state


def _of_one_rank(sample_weight: Any, mask: Any, dtype: Any) -> tuple[Any, Any]:
    mask = ops.cast(mask, dtype)
    if sample_weight is None:
        return ops.ones_like(mask), mask
    weights = ops.cast(sample_weight, dtype)
    rank = max(len(mask.shape), len(weights.shape))
    found = [
        ops.reshape(one, (*ops.shape(one), *(1,) * (rank - len(one.shape))))
        for one in (weights, mask)
    ]
    return found[0], found[1]


def _take_masks_along(model: keras.Model) -> None:
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
