"""Keras 3's own compile config, with which it comes back exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import keras

from regraft import _compat
from regraft._compat import compiled
from regraft.model.compile.losses import LossRules, build_loss
from regraft.model.compile.metrics import build_metric
from regraft.model.compile.outputs import outputs_of, remember_output_logits
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.dialect import KERAS_3
from regraft.model.optimizers import build_optimizer

_PLAIN = ("loss_weights", "run_eagerly", "steps_per_execution", "jit_compile")


def describe_keras3_compile(model: keras.Model) -> dict[str, Any] | None:
    """What Keras 3 says of how a model is compiled; `None` if it can't be said.

    Returns:
        A dict of JSON's types.
    """
    if not getattr(model, "compiled", False) or model.optimizer is None:
        return None
    given = compiled.user_compile_arguments(model)
    try:
        config = {
            "optimizer": _serialize(model.optimizer),
            "loss": _serialize(given.get("loss")),
            "metrics": _serialize(given.get("metrics")),
            "weighted_metrics": _serialize(given.get("weighted_metrics")),
        }
        config |= {key: given.get(key) for key in _PLAIN}
        json.dumps(config)
    except (TypeError, ValueError):
        return None
    return config


def _serialize(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _serialize(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_serialize(item) for item in value]
    found = _compat.serialize(value)
    if isinstance(value, keras.losses.Loss | keras.metrics.Metric):
        found["config"] = {**_compat.function_arguments(value), **found["config"]}
    return found


def build_keras3_compile(
    config: Mapping[str, Any], model: keras.Model, context: BuildContext
) -> dict[str, Any]:
    """Makes the arguments of `model.compile` that `describe_keras3_compile` took.

    Names resolve through registries; nothing is imported by a name of the file.

    Raises:
        ValueError: Nobody knows a class or function.
    """
    exact = BuildContext(
        KERAS_3,
        context.custom_objects,
        context.safe_mode,
        context.notes,
        context.revive,
    )
    rules = LossRules(keras2=False)
    arguments: dict[str, Any] = {key: config[key] for key in _PLAIN if key in config}
    entry = config.get("optimizer")
    arguments["optimizer"] = build_optimizer(entry, exact) if entry else None
    loss = config.get("loss")
    arguments["loss"] = _build(loss, lambda item: build_loss(item, exact, rules))
    remember_output_logits(outputs_of(model), arguments["loss"])
    for key in ("metrics", "weighted_metrics"):
        arguments[key] = _build(config.get(key), lambda item: build_metric(item, exact))
    return {key: value for key, value in arguments.items() if value is not None}


def _build(value: Any, build: Any) -> Any:
    if isinstance(value, Mapping) and "class_name" not in value:
        return {key: _build(item, build) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_build(item, build) for item in value]
    return None if value is None else build(value)
