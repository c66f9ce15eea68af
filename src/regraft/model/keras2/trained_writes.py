"""Layers that write into their trained weights while they are called.

`SpectralNormalization` divides its kernel by its norm at each call in training. In
TensorFlow that stays, and the gradient is that of the divided kernel, which the
optimizer moves on from. Where Keras runs on JAX, a step of training forgets what a call
writes into a trained weight, and takes the gradient through the division.

Here a step of training is taken twice over: the first pass finds out what is written,
the second begins with that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from regraft import _compat
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
        if isinstance(layer, keras.layers.SpectralNormalization) and layer.trainable
    ]
    if not found or keras.backend.backend() != "jax":
        return () if keras.backend.backend() == "tensorflow" else found
    if type(model).train_step is not keras.Model.train_step:
        return found
    writes = _Writes(model)
    for layer in found:
        layer.call = _Call(writes, layer)
    model.train_step = writes.train_step
    return ()


def keeps_trained_writes(model: keras.Model) -> bool:
    """Whether `keep_trained_writes` did something."""
    # Keras on NumPy trains nothing.
    step = getattr(model, "train_step", None)
    return isinstance(getattr(step, "__self__", None), _Writes)


@dataclass
class _Pass:
    """One of the two passes.

    Attributes:
        is_second: Whether kernels are divided by now.
        kernels: Of each call, and its value then.
        vectors: What each call wrote beside.
        calls: How many there were in this pass.
    """

    is_second: bool = False
    kernels: list[tuple[keras.Variable, Any]] = field(default_factory=list)
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
            run.kernels.append((layer.kernel, layer.kernel.value))
            run.vectors.append(layer.vector_u.value)
            return outputs
        layer.vector_u.assign(run.vectors[run.calls])
        run.calls += 1
        return ops.cast(layer.layer(inputs), inputs.dtype)


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
            written = {id(variable): value for variable, value in run.kernels}
            begun = [
                written.get(id(variable), value)
                for variable, value in zip(
                    self._model.trainable_variables, trained, strict=False
                )
            ]
            # Beyond the model's own a step may have asked for more gradients.
            begun += trained[len(begun) :]
            run.is_second = True
            return self._train_step((begun, *rest), data)
