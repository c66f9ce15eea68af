"""Targets as the metrics of Keras 2 see them."""

from __future__ import annotations

from typing import Any

import keras


def give_columns(model: keras.Model) -> None:
    """Lets the metrics of a model see targets of one dimension as a column.

    So does every Keras 1 and 2. Keras 3 gives them as they are, and an elementwise
    metric beside an output of several classes then takes them for a row: it fails, or,
    with as many examples as classes, counts something else.
    """
    if type(model).compute_metrics is not keras.Model.compute_metrics:
        return
    compute = model.compute_metrics

    def compute_metrics(
        x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        columns = keras.tree.map_structure(_column, y)
        found: dict[str, Any] = compute(x, columns, y_pred, sample_weight)
        return found

    model.compute_metrics = compute_metrics


def _column(target: Any) -> Any:
    if len(getattr(target, "shape", None) or ()) != 1:
        return target
    return keras.ops.expand_dims(target, -1)
