"""`training_config` of Keras 1 and 2 ↔ the arguments of `model.compile`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from regraft._compat import compiled
from regraft.errors import RegraftError
from regraft.model.compile.losses import (
    LossRules,
    build_loss,
    describe_loss,
    resolved_losses,
)
from regraft.model.compile.metrics import build_metric, describe_metric
from regraft.model.compile.outputs import (
    Outputs,
    by_output,
    is_entry,
    metrics_by_output,
    note_other_logits,
    outputs_of,
    remember_output_logits,
    shape_back,
    with_output_name,
    without_output_names,
)
from regraft.model.dialects.context import BuildContext, Note
from regraft.model.dialects.dialect import Dialect
from regraft.model.keras2.layers_merging import makes_masks
from regraft.model.optimizers import (
    build_optimizer,
    describe_optimizer,
)

_PROBLEMS = (RegraftError, ValueError, TypeError, KeyError, AttributeError)


def build_compile_arguments(
    training_config: Mapping[str, Any], model: keras.Model, context: BuildContext
) -> dict[str, Any]:
    """Makes the arguments with which the model computes as its file's Keras did.

    The output layers of the model may get an activation that remembers its logits,
    see `keras2.logits`. A metric or weight that can't be kept becomes a note.

    Args:
        training_config: Of a file of Keras 1 or 2.
        model: The live model that will be compiled.
        context: Of this build.

    Returns:
        Arguments of `model.compile`, with the optimizer.

    Raises:
        ValueError: Nobody knows the optimizer or the loss.
    """
    outputs = outputs_of(model)
    entry = training_config.get("optimizer_config")
    arguments: dict[str, Any] = {}
    arguments["optimizer"] = None if not entry else build_optimizer(entry, context)
    rules = LossRules(
        keras2=context.dialect.generation < 3,
        counts_masked_steps=context.dialect.masked_loss_counts_masked_steps,
        masks=makes_masks(model),
        old_logits=context.dialect.logits_are_of_own_activation,
        positive_cosine=context.dialect.cosine_is_positive,
        old_smoothing=context.dialect.smoothing_counts_second_axis,
    )
    losses, weights = training_config.get("loss"), training_config.get("loss_weights")
    arguments |= _build_losses(losses, weights, outputs, context, rules)
    for key in ("metrics", "weighted_metrics"):
        given = training_config.get(key)
        built = _build_metrics(given, losses, outputs, context, key)
        if built:
            arguments[key] = built
    remember_output_logits(outputs, arguments.get("loss"))
    if training_config.get("sample_weight_mode"):
        context.note("compile", "sample_weight_mode is no argument any more")
    scaled = isinstance(arguments["optimizer"], keras.optimizers.LossScaleOptimizer)
    if model.dtype_policy.name == "mixed_float16" and not scaled:
        # Keras 3 would wrap the optimizer, and undo a fixed scale.
        arguments["auto_scale_loss"] = False
    return arguments


def _build_losses(
    losses: Any,
    weights: Any,
    outputs: Outputs | None,
    context: BuildContext,
    rules: LossRules,
) -> dict[str, Any]:
    if not losses:
        return {}
    if outputs is None:
        losses, weights = _in_order(losses, weights, context)
        built = _map_entries(losses, lambda item: build_loss(item, context, rules))
        return {"loss": built} | ({"loss_weights": weights} if weights else {})
    laid = by_output(losses, outputs, spread=True)
    if laid is None:
        raise ValueError(
            f"loss={losses!r} doesn't fit the outputs {list(outputs.file_names)}."
        )
    found = {
        "loss": shape_back([build_loss(item, context, rules) for item in laid], outputs)
    }
    if weights is None:
        return found
    numbers = by_output(weights, outputs, spread=False)
    if numbers is None:
        text = f"loss_weights={weights!r} doesn't fit the outputs; it is left out"
        context.note("compile", text)
        return found
    filled = [1.0 if number is None else float(number) for number in numbers]
    return {**found, "loss_weights": shape_back(filled, outputs)}


def _in_order(losses: Any, weights: Any, context: BuildContext) -> tuple[Any, Any]:
    """Makes lists of dicts by output, for a model whose outputs have no names."""
    if is_entry(losses) or not isinstance(losses, Mapping):
        return losses, weights
    context.note(
        "compile",
        f"the outputs of this model have no names; {list(losses)} are taken to be "
        "their order",
    )
    if isinstance(weights, Mapping):
        weights = [weights.get(key, 1.0) for key in losses]
    return list(losses.values()), weights


def _said(item: Any) -> str:
    """What a file names, without its config."""
    if not isinstance(item, Mapping):
        return repr(item)
    config = item.get("config")
    name = config.get("name") if isinstance(config, Mapping) else None
    return f"{item.get('class_name')} {name!r}" if name else str(item.get("class_name"))


def _build_metrics(
    metrics: Any,
    losses: Any,
    outputs: Outputs | None,
    context: BuildContext,
    key: str,
) -> Any:
    if not metrics:
        return None

    def build(item: Any, loss: Any = None) -> Any:
        try:
            return build_metric(item, context, loss)
        except _PROBLEMS as error:
            context.note("compile", f"{key}: {_said(item)} is left out: {error}")
            return None

    if outputs is None:
        if is_entry(metrics):
            metrics = [metrics]
        loss = losses if is_entry(losses) else None
        return _map_entries(metrics, lambda item: build(item, loss))
    laid = metrics_by_output(metrics, outputs)
    if laid is None:
        text = f"{key}={metrics!r} doesn't fit the outputs; it is left out"
        context.note("compile", text)
        return None
    beside = by_output(losses, outputs, spread=True) or [None] * outputs.count
    if outputs.count > 1:
        laid = without_output_names(laid, outputs)
    built = [
        [m for m in (build(item, loss) for item in items) if m is not None]
        for items, loss in zip(laid, beside, strict=True)
    ]
    if outputs.count == 1:
        return built[0] or None
    return shape_back(built, outputs) if any(built) else None


def _map_entries(argument: Any, build: Any) -> Any:
    """Builds the entries of a nested argument, keeping its form."""
    if argument is None or is_entry(argument):
        return None if argument is None else build(argument)
    if isinstance(argument, Mapping):
        return {key: _map_entries(item, build) for key, item in argument.items()}
    built = [_map_entries(item, build) for item in argument]
    return [item for item in built if item is not None]


# ---------------------------------------------------------------- Keras 3 → Keras 2


def describe_compile_arguments(
    model: keras.Model, dialect: Dialect, notes: list[Note]
) -> dict[str, Any] | None:
    """The training config with which Keras 2 compiles a model as it is compiled now.

    Args:
        model: A model, compiled or not.
        dialect: Of the file to write.
        notes: Told what Keras 2 has no words for.
    """
    if not getattr(model, "compiled", False):
        return None
    given = compiled.user_compile_arguments(model)
    if model.optimizer is None:
        return None
    outputs = outputs_of(model)
    place = outputs.place if outputs is not None else (lambda key: None)
    built = compiled.built_losses(model)
    losses = resolved_losses(given.get("loss"), built, place, notes)
    loss = _describe(losses, describe_loss, dialect, notes)
    note_other_logits(outputs, losses, notes)
    metrics = {
        key: _describe_metrics(
            given.get(key),
            outputs,
            dialect,
            notes,
            compiled.built_metrics(model, key),
        )
        for key in ("metrics", "weighted_metrics")
    }
    if outputs is not None and outputs.layers and not _has_own_keys(loss, outputs):
        metrics = {key: _in_lists(each, outputs) for key, each in metrics.items()}
    return {
        "loss": _in_file_names(loss, outputs),
        **metrics,
        "loss_weights": _describe_weights(given.get("loss_weights"), outputs),
        # No argument of `compile` since 2.2, but until then no file goes without.
        "sample_weight_mode": None,
        "optimizer_config": describe_optimizer(model.optimizer, dialect, notes),
    }


def _describe(argument: Any, describe: Any, dialect: Dialect, notes: list[Note]) -> Any:
    if isinstance(argument, Mapping):
        return {
            str(key): _describe(item, describe, dialect, notes)
            for key, item in argument.items()
        }
    if isinstance(argument, list | tuple):
        return [_describe(item, describe, dialect, notes) for item in argument]
    return None if argument is None else describe(argument, dialect, notes)


def _describe_metrics(
    metrics: Any,
    outputs: Outputs | None,
    dialect: Dialect,
    notes: list[Note],
    built: list[list[keras.Metric]] | None,
) -> Any:
    if not metrics:
        return None
    described = _describe(metrics, describe_metric, dialect, notes)
    count = outputs.count if outputs is not None else len(built or ())
    if isinstance(described, list) and len(described) == count > 1:
        # An item for each output; Keras 2 would give a flat list to all of them.
        described = [_listed(_without_none(item)) for item in described]
    described = _without_none(described)
    if outputs is None or outputs.count == 1:
        return _in_file_names(described, outputs)

    def of_output(items: Any, place: int | None) -> list[Any]:
        items = _listed(items)
        if place is None:
            return items
        found = built[place] if built and len(built) == outputs.count else []
        if len(found) == len(items):
            # A name such as "accuracy" is a metric since the model saw targets.
            items = [
                describe_metric(metric, dialect, notes)
                if isinstance(item, str)
                else item
                for item, metric in zip(items, found, strict=True)
            ]
        return [with_output_name(item, outputs.file_names[place]) for item in items]

    if not isinstance(described, Mapping) and outputs.keys is not None:
        # Keras 2 takes a list for outputs in a list alone.
        described = dict(zip(outputs.keys, described, strict=False))
    if isinstance(described, Mapping):
        by_key = {
            key: of_output(items, outputs.place(key))
            for key, items in described.items()
        }
        return _in_file_names(by_key, outputs)
    return [of_output(items, place) for place, items in enumerate(described)]


def _has_own_keys(loss: Any, outputs: Outputs) -> bool:
    """Whether a loss is given by keys of outputs that aren't names of their layers."""
    if is_entry(loss) or not isinstance(loss, Mapping):
        return False
    return any(key not in (*outputs.names, *outputs.file_names) for key in loss)


def _in_lists(metrics: Any, outputs: Outputs) -> Any:
    """Lays metrics of a network with a dict of outputs out in lists.

    tf_keras writes them so too: while it loads a network it pairs metrics with a list
    of its outputs, and can't do so with a part of their keys. Where a loss has such
    keys it puts all of that off, and wants a dict then.
    """
    if outputs.keys is None or not isinstance(metrics, Mapping):
        return metrics
    laid = by_output(metrics, outputs, spread=False)
    return metrics if laid is None else [_listed(items) for items in laid]


def _listed(items: Any) -> list[Any]:
    return [items] if is_entry(items) else list(items or [])


def _without_none(described: Any) -> Any:
    if isinstance(described, list):
        return [_without_none(item) for item in described if item is not None]
    if isinstance(described, Mapping) and "class_name" not in described:
        return {key: _without_none(item) for key, item in described.items()}
    return described


def _describe_weights(weights: Any, outputs: Outputs | None) -> Any:
    if isinstance(weights, int | float):
        return [float(weights)]
    if isinstance(weights, Mapping):
        return _in_file_names(
            {str(key): float(value) for key, value in weights.items()}, outputs
        )
    return None if weights is None else [float(value) for value in weights]


def _in_file_names(argument: Any, outputs: Outputs | None) -> Any:
    """Replaces keys that are stand-ins for the names that the file has."""
    if outputs is None or not isinstance(argument, Mapping) or is_entry(argument):
        return argument
    names = dict(zip(outputs.names, outputs.file_names, strict=True))
    return {names.get(key, key): item for key, item in argument.items()}
