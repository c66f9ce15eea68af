"""Models that run step by step, because something in them can't be compiled.

Functions of a file may read text, and may make tensors whose shapes follow from
values. Both need the values themselves, which no compiled step has. So do gradients
through loops that go on until their values say so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
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


def train_through_loops(model: keras.Model) -> None:
    """Lets a model's training run step by step once no compiled step has gradients."""
    if keras.backend.backend() != "jax":
        return
    layers = [model] if isinstance(model, Revived) else _compat.all_layers(model)
    revived = [layer for layer in layers if isinstance(layer, Revived)]
    if revived and not isinstance(model, StepByStep):
        model.make_train_function = _Trainings(model, revived).make


class _Trainings:
    """What makes the function that trains a model."""

    def __init__(self, model: keras.Model, revived: list[Any]) -> None:
        self._model = model
        self._revived = revived
        self._make = model.make_train_function

    def make(self, force: bool = False) -> None:
        """Makes the function, in place of Keras' method of this purpose."""
        model = self._model
        if model.train_function is not None and not force:
            return
        self._make(force=force)
        is_compiled = not model.run_eagerly and model.jit_compile
        if is_compiled and any(layer.has_loops for layer in self._revived):
            model.train_function = _Training(model.train_function, self.step_by_step)

    def step_by_step(self) -> Callable[..., Any]:
        """Makes the function anew, not compiled."""
        model = self._model
        before = model.train_function
        model.run_eagerly = True
        try:
            self._make(force=True)
            return model.train_function
        finally:
            model.run_eagerly = False
            model.train_function = before


class _Training:
    """Trains compiled, unless it finds out that this can't be.

    Args:
        compiled: What takes a state and batches, and returns logs and the new state.
        make: Makes the like that runs step by step.
    """

    def __init__(
        self, compiled: Callable[..., Any], make: Callable[[], Callable[..., Any]]
    ) -> None:
        self._function = compiled
        self._make = make
        self._is_known = False

    def __call__(self, state: Any, batches: Iterable[Any]) -> Any:
        if self._is_known:
            return self._function(state, batches)
        taken: list[Any] = []
        try:
            results = self._function(state, _noted(batches, taken))
        except ValueError as error:
            if not _compat.is_without_gradient(error):
                raise
            # It was found while the step was traced: nothing has changed.
            self._function = self._make()
            results = self._function(state, itertools.chain(taken, batches))
        self._is_known = True
        return results


def _noted(batches: Iterable[Any], taken: list[Any]) -> Iterator[Any]:
    for batch in batches:
        taken.append(batch)
        yield batch
