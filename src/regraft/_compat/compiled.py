"""What `model.compile` was given and made; see `regraft._compat`."""

from __future__ import annotations

from typing import Any

import keras


def user_compile_arguments(model: keras.Model) -> dict[str, Any]:
    """Returns what `model.compile` was called with, as live objects.

    Keras 3.12 to 3.15: `get_compile_config()` has them serialized, which loses
    functions that aren't registered.
    """
    return dict(model._compile_config.config)


def built_metrics(model: keras.Model, key: str) -> list[list[keras.Metric]] | None:
    """Returns the metrics that Keras made of a compile argument, per output.

    Keras 3.12 to 3.15: `model.metrics` doesn't tell which output each is of.

    Args:
        model: A compiled model.
        key: `"metrics"` or `"weighted_metrics"`.

    Returns:
        A list for each output; `None` before the model saw targets.
    """
    metrics = getattr(model, "_compile_metrics", None)
    if metrics is None or not metrics.built:
        return None
    flat = metrics._flat_metrics if key == "metrics" else metrics._flat_weighted_metrics
    return [list(item.metrics) if item else [] for item in flat]


def output_keys(model: keras.Model) -> tuple[str, ...] | None:
    """Returns the keys of the outputs of a model that is code, in Keras' order.

    Keras 3.12 to 3.15: no attribute of the model names them, but its metrics do since
    they saw outputs.

    Args:
        model: A model that isn't a network and has no `output_names`.

    Returns:
        `None` where the outputs are no dict, or before the model saw targets.
    """
    metrics = getattr(model, "_compile_metrics", None)
    names = getattr(metrics, "_resolved_output_names", None)
    return tuple(names) if names and all(isinstance(n, str) for n in names) else None


def built_losses(model: keras.Model) -> dict[tuple[Any, ...], keras.losses.Loss]:
    """Returns the losses that Keras made of a compile argument, by paths of outputs.

    Keras 3.12 to 3.15: no attribute of the model names what `"ce"` became.

    Args:
        model: A compiled model.

    Returns:
        A loss for each path of keys and indices; none before the model saw targets.
    """
    made = getattr(getattr(model, "_compile_loss", None), "_flat_losses", None)
    return {tuple(each.path): each.loss for each in made or ()}
