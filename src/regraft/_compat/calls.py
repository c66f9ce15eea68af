"""How the layers of a model are called in a step; see `regraft._compat`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable
from typing import Any

import keras
from keras.src.backend.common import global_state

from regraft._compat import all_layers


def run_steps_as_one_call(model: keras.Model) -> None:
    """Lets the layers of a step know that it is a call of the model around them.

    A layer of one's own that isn't handed `training` takes the model's, and one that is
    called several times adds its losses at each call, as in Keras 2.

    Keras 3.12 to 3.15 on JAX: `stateless_call` enters no call context, so that each
    layer takes its own call for the outermost, begins it with `_clear_losses`, which
    drops what its calls before have added, and finds no `training` in it. One context
    for the whole step would not do: nobody takes out of it again what one layer is
    handed, and the layers after it would find that.
    """
    run = model.stateless_call
    loss: Any = getattr(model, "compute_loss_and_updates", None)
    of_step: bool | None = None

    def compute_loss_and_updates(*arguments: Any, **keywords: Any) -> Any:
        # Only what takes `training` is handed it by a step.
        nonlocal of_step
        of_step = keywords.get("training")
        try:
            return loss(*arguments, **keywords)
        finally:
            of_step = None

    def stateless_call(*arguments: Any, **keywords: Any) -> Any:
        model._clear_losses()
        layers = all_layers(model)
        training = keywords.get("training", of_step)
        for layer in layers:
            begin = functools.partial(_begin_call, layer, training)
            vars(layer).update(_clear_losses=_keep_losses, _get_call_context=begin)
        try:
            return run(*arguments, **keywords)
        finally:
            for layer in layers:
                vars(layer).pop("_clear_losses", None)
                vars(layer).pop("_get_call_context", None)

    model.stateless_call = stateless_call
    if loss is not None:
        model.compute_loss_and_updates = compute_loss_and_updates


def _begin_call(layer: keras.Layer, training: bool | None) -> Any:
    """Returns the context of a call, which an outermost one has from the model."""
    outermost = global_state.get_global_attribute("current_call_ctx") is None
    context = type(layer)._get_call_context(layer)
    if outermost:
        context.set_value("training", training)
    return context


def _keep_losses() -> None:
    """Stands for `_clear_losses` where a step has cleared them already."""


def name_keywords(layer: keras.Layer, names: Iterable[str]) -> None:
    """Lets Keras know arguments of a layer's call that its signature leaves unnamed.

    Keras 3.12 to 3.15: what comes by `**keywords` is one argument, in which tensors and
    other values can't be together (`Layer._call_signature`).
    """
    parameters = layer._call_signature.parameters
    new = {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in names
        if name not in parameters
    }
    ordered = sorted([*parameters.values(), *new.values()], key=lambda p: p.kind)
    layer._call_signature = inspect.Signature(ordered)
