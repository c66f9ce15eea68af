"""Models that run step by step, because something in them can't be compiled.

Functions of a file may read text, and may make tensors whose shapes follow from
values. Both need the values themselves, which no compiled step has.
"""

from __future__ import annotations

from typing import Any

import keras

from regraft import _compat
from regraft.loading.revived_layer import Revived
from regraft.model.dialects.names import original_name
from regraft.model.mixed_class import mixed_class


class StepByStep:
    """What stands before the class of a model that can't be compiled."""

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Configures the model for training, step by step."""
        base: Any = super()
        base.compile(*args, **{**kwargs, "run_eagerly": True, "jit_compile": False})


def run_step_by_step(model: keras.Model) -> str | None:
    """Makes a model run step by step, if that is the only way.

    Returns:
        Why; `None` where it can be compiled.
    """
    if keras.backend.backend() != "jax":
        # No other backend compiles unless the user asks for it.
        return None
    layers = [model] if isinstance(model, Revived) else _compat.all_layers(model)
    for layer in layers:
        why = getattr(layer, "uncompilable", None)
        if why is not None:
            model.__class__ = mixed_class(StepByStep, type(model))
            model.run_eagerly = True
            whose = "its" if layer is model else f"the {original_name(layer)!r} layer's"
            return (
                f"{whose} functions {why}, so that it runs step by step, not compiled"
            )
    return None
