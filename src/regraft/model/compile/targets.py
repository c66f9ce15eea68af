"""Targets and weights as the losses and metrics of Keras 2 see them."""

from __future__ import annotations

import functools
from typing import Any

import keras


def see_as_keras2(model: keras.Model) -> None:
    """Lets losses and metrics of a model see targets and weights as in Keras 2.

    Targets of one dimension are a column there. Keras 3 gives them as they are, and
    what is elementwise beside an output of several classes then takes them for a row:
    it fails, or, with as many examples as classes, computes something else. A loss sees
    a column beside an output of two dimensions alone.

    Examples may be weighed for some outputs, in a dict by their names. Keras 3 looks
    for all outputs, and by the places of those in lists.
    """
    if type(model).compute_metrics is keras.Model.compute_metrics:
        compute = model.compute_metrics

        @functools.wraps(compute)
        def compute_metrics(
            x: Any, y: Any, y_pred: Any, sample_weight: Any = None
        ) -> dict[str, Any]:
            columns = keras.tree.map_structure(_column, y)
            weights = _by_output(model, y_pred, sample_weight)
            found: dict[str, Any] = compute(x, columns, y_pred, weights)
            return found

        model.compute_metrics = compute_metrics
    if type(model).compute_loss is keras.Model.compute_loss:
        compute_loss = model.compute_loss

        @functools.wraps(compute_loss)
        def loss_as_in_keras2(
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            *rest: Any,
            **keywords: Any,
        ) -> Any:
            columns = _beside(model, y_pred, y)
            weights = _by_output(model, y_pred, sample_weight)
            return compute_loss(x, columns, y_pred, weights, *rest, **keywords)

        model.compute_loss = loss_as_in_keras2


def _named(model: keras.Model, outputs: Any) -> dict[str, Any]:
    """The outputs of a call by their names; none where the model has no names."""
    flat = keras.tree.flatten(outputs)
    if isinstance(outputs, dict):
        return outputs if len(outputs) == len(flat) else {}
    names = getattr(model, "output_names", None) or ()
    named = dict(zip(names, flat, strict=False))
    return named if len(named) == len(names) == len(flat) else {}


def _by_output(model: keras.Model, outputs: Any, weights: Any) -> Any:
    """Weights that a dict names, in the structure of the outputs; `None` for others."""
    named = _named(model, outputs)
    if not isinstance(weights, dict) or not set(weights) <= set(named):
        return weights
    found = {name: weights.get(name) for name in named}
    if isinstance(outputs, dict):
        return found
    return keras.tree.pack_sequence_as(outputs, list(found.values()))


def _beside(model: keras.Model, outputs: Any, targets: Any) -> Any:
    """Targets as columns, where the outputs that they belong to have two dimensions."""

    def beside(target: Any, output: Any) -> Any:
        return _column(target) if len(getattr(output, "shape", ())) == 2 else target

    try:
        keras.tree.assert_same_structure(targets, outputs)
    except (ValueError, TypeError):
        named = _named(model, outputs)
        if not isinstance(targets, dict) or not set(targets) <= set(named):
            return targets
        return {name: beside(one, named[name]) for name, one in targets.items()}
    return keras.tree.map_structure(beside, targets, outputs)


def _column(target: Any) -> Any:
    if len(getattr(target, "shape", None) or ()) != 1:
        return target
    return keras.ops.expand_dims(target, -1)
