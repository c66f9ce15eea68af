"""Targets as the losses and metrics of Keras 2 see them."""

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
