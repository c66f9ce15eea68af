"""Targets and weights as the losses and metrics of Keras 2 see them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras


def give_columns(model: keras.Model) -> None:
    """Lets losses and metrics of a model see targets of one dimension as a column.

    So does every Keras 1 and 2. Keras 3 gives them as they are, and what is elementwise
    beside an output of several classes then takes them for a row: it fails, or, with as
    many examples as classes, computes something else. A loss sees a column beside an
    output of two dimensions alone.
    """
    if type(model).compute_metrics is keras.Model.compute_metrics:
        compute = model.compute_metrics

        @functools.wraps(compute)
        def compute_metrics(
            x: Any, y: Any, y_pred: Any, sample_weight: Any = None
        ) -> dict[str, Any]:
            columns = keras.tree.map_structure(_column, y)
            found: dict[str, Any] = compute(x, columns, y_pred, sample_weight)
            return found

        model.compute_metrics = compute_metrics
    if type(model).compute_loss is keras.Model.compute_loss:
        compute_loss = model.compute_loss

        @functools.wraps(compute_loss)
        def loss_of_columns(
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            *rest: Any,
            **keywords: Any,
        ) -> Any:
            columns = _beside(y, y_pred, getattr(model, "output_names", None))
            return compute_loss(x, columns, y_pred, *rest, **keywords)

        model.compute_loss = loss_of_columns


def take_weights_by_name(model: keras.Model) -> None:
    """Lets examples be weighed for some outputs, in a dict by their names.

    Keras 3 looks for all outputs, and by the places of those in lists.
    """
    if type(model).compute_metrics is keras.Model.compute_metrics:
        compute = model.compute_metrics

        @functools.wraps(compute)
        def compute_metrics(
            x: Any, y: Any, y_pred: Any, sample_weight: Any = None
        ) -> dict[str, Any]:
            weights = _by_output(model, y_pred, sample_weight)
            found: dict[str, Any] = compute(x, y, y_pred, weights)
            return found

        model.compute_metrics = compute_metrics
    if type(model).compute_loss is keras.Model.compute_loss:
        compute_loss = model.compute_loss

        @functools.wraps(compute_loss)
        def weighted_loss(
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            *rest: Any,
            **keywords: Any,
        ) -> Any:
            weights = _by_output(model, y_pred, sample_weight)
            return compute_loss(x, y, y_pred, weights, *rest, **keywords)

        model.compute_loss = weighted_loss


def _by_output(model: keras.Model, outputs: Any, weights: Any) -> Any:
    """Weights that a dict names, in the structure of the outputs; `None` for others."""
    if not isinstance(weights, dict):
        return weights
    if isinstance(outputs, dict):
        names = list(outputs)
    else:
        names = list(getattr(model, "output_names", None) or ())
    flat = keras.tree.flatten(outputs)
    if len(names) != len(flat) or not set(weights) <= set(names):
        return weights
    found = [weights.get(name) for name in names]
    if isinstance(outputs, dict):
        return dict(zip(names, found, strict=True))
    return keras.tree.pack_sequence_as(outputs, found)


def _beside(targets: Any, outputs: Any, names: Sequence[str] | None) -> Any:
    """Targets as columns, where the outputs that they belong to have two dimensions.

    Args:
        targets: In the structure of the outputs, or by the names of these.
        outputs: Of a call of the model.
        names: Of the outputs in their order, if the model has them.
    """

    def beside(target: Any, output: Any) -> Any:
        return _column(target) if len(getattr(output, "shape", ())) == 2 else target

    try:
        keras.tree.assert_same_structure(targets, outputs)
    except (ValueError, TypeError):
        by_name = dict(zip(names or (), keras.tree.flatten(outputs), strict=False))
        if not isinstance(targets, dict) or not set(targets) <= set(by_name):
            return targets
        return {name: beside(one, by_name[name]) for name, one in targets.items()}
    return keras.tree.map_structure(beside, targets, outputs)


def _column(target: Any) -> Any:
    if len(getattr(target, "shape", None) or ()) != 1:
        return target
    return keras.ops.expand_dims(target, -1)
