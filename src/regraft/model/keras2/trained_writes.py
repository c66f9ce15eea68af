"""Layers that write into their trained weights while they are called.

`SpectralNormalization` divides its kernel by its norm at each call in training. In
TensorFlow that stays, and the gradient is that of the divided kernel, which the
optimizer moves on from. Where Keras runs on JAX, a step of training forgets what a call
writes into a trained weight, and takes the gradient through the division.

Here a step of training is taken twice over: the first pass finds out what is written,
the second begins with that. Layers that run from their functions write themselves what
they write, and read it as variables of TensorFlow's are read: they are called with the
same weights in both passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from regraft import _compat
from regraft._compat.variables import stored_value
from regraft.model.keras2.own_steps import Current, look_ahead


def keep_trained_writes(model: keras.Model) -> Sequence[keras.layers.Layer]:
    """Lets a model's steps keep what its layers write into trained weights.

    Args:
        model: Built.

    Returns:
        Layers of which they can't.
    """
    found = [
        layer
        for layer in _compat.all_layers(model)
        if (isinstance(layer, keras.layers.SpectralNormalization) and layer.trainable)
        or any(variable.trainable for variable in _written(layer))
    ]
    if not found or keras.backend.backend() != "jax":
        return () if keras.backend.backend() == "tensorflow" else found
    if type(model).train_step is not keras.Model.train_step:
        return found
    writes = _Writes(model)
    for layer in found:
        is_built_in = isinstance(layer, keras.layers.SpectralNormalization)
        layer.call = (_Call if is_built_in else _FunctionCall)(writes, layer)
    model.train_step = writes.train_step
    return ()


def keeps_trained_writes(model: keras.Model) -> bool:
    """Whether `keep_trained_writes` did something."""
    # Keras on NumPy trains nothing.
    step = getattr(model, "train_step", None)
    return isinstance(getattr(step, "__self__", None), _Writes)


def _written(layer: keras.layers.Layer) -> Sequence[keras.Variable]:
    """The weights that a layer's functions write, where it has functions."""
    return getattr(layer, "written_weights", ())


@dataclass
class _Pass:
    """One of the two passes.

    Attributes:
        is_second: Whether kernels are divided by now.
        kernels: Of each call, and its value then.
        weights: What functions have written, each with its last value.
        vectors: What each call wrote beside.
        calls: How many there were in this pass.
    """

    is_second: bool = False
    kernels: list[tuple[keras.Variable, Any]] = field(default_factory=list)
    weights: list[tuple[keras.Variable, Any]] = field(default_factory=list)
    vectors: list[Any] = field(default_factory=list)
    calls: int = 0


_current = Current()


class _Call:
    """The `call` of one layer."""

    def __init__(
        self, writes: _Writes, layer: keras.layers.SpectralNormalization
    ) -> None:
        self._writes = writes
        self._layer = layer
        self._call = layer.call

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        run: _Pass | None = _current.of(self._writes)
        layer = self._layer
        if run is None or not training or not layer.kernel.trainable:
            return self._call(inputs, training=training)
        if not run.is_second:
            outputs = self._call(inputs, training=training)
            run.kernels.append((layer.kernel, stored_value(layer.kernel)))
            run.vectors.append(stored_value(layer.vector_u))
            return outputs
        layer.vector_u.assign(run.vectors[run.calls])
        run.calls += 1
        return ops.cast(layer.layer(inputs), inputs.dtype)


class _FunctionCall:
    """The `call` of a layer that runs from its functions."""

    def __init__(self, writes: _Writes, layer: keras.layers.Layer) -> None:
        self._writes = writes
        self._layer = layer
        self._call = layer.call

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        run: _Pass | None = _current.of(self._writes)
        before = [stored_value(variable) for variable in _written(self._layer)]
        outputs = self._call(*arguments, **keywords)
        if run is not None and not run.is_second:
            run.weights += [
                (variable, now)
                for variable, old in zip(_written(self._layer), before, strict=True)
                if variable.trainable and (now := stored_value(variable)) is not old
            ]
        return outputs


class _Writes:
    """The step of one model."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._train_step = model.train_step

    def train_step(self, state: Any, data: Any) -> Any:
        """Takes a step."""
        trained, *rest = state
        run = _Pass()
        with _current.taking(self, run):
            look_ahead(self._model.compute_loss_and_updates, state, data)
            kept = {id(variable): value for variable, value in run.weights}
            written = {id(variable): value for variable, value in run.kernels} | kept
            begun = [
                written.get(id(variable), value)
                for variable, value in zip(
                    self._model.trainable_variables, trained, strict=False
                )
            ]
            # Beyond the model's own a step may have asked for more gradients.
            begun += trained[len(begun) :]
            run.is_second = True
            if not kept:
                return self._train_step((begun, *rest), data)
            places = {
                i: trained[i]
                for i, variable in enumerate(self._model.trainable_variables)
                if id(variable) in kept
            }
            with self._called_with(places):
                return self._train_step((begun, *rest), data)

    @contextmanager
    def _called_with(self, places: Mapping[int, Any]) -> Iterator[None]:
        """Lets the model be called with other weights than a step begins with.

        Gradients are those of the weights that the step begins with.

        Args:
            places: Weights by their place among those that are trained.
        """
        loss = self._model.compute_loss_and_updates

        def with_them(trained: Sequence[Any], *arguments: Any, **keywords: Any) -> Any:
            given = list(trained)
            for place, value in places.items():
                begun = given[place]
                given[place] = value + (begun - ops.stop_gradient(begun))
            return loss(given, *arguments, **keywords)

        self._model.compute_loss_and_updates = with_them
        try:
            yield
        finally:
            self._model.compute_loss_and_updates = loss
