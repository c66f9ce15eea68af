"""Gradients of `Embedding` tables that are clipped as TensorFlow clips them.

TensorFlow's gradient of a table is a row for each id that was looked up, not yet added
up: an id that a batch has twice has two. That is what `clipvalue` cuts, and whose norm
`clipnorm` and `global_clipnorm` take. Keras 3 has the sum alone.

Here each lookup adds zeros to what it found, whose gradient is that of the single rows.
A step of training finds out first which lookups there are, then takes the gradients of
their zeros along with those of the weights. Only where Keras runs on JAX is a step a
function that can be asked for more gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from regraft import _compat
from regraft.model.keras2.own_steps import Current, look_ahead


def clip_single_rows(model: keras.Model, optimizer: keras.Optimizer) -> bool:
    """Lets an optimizer clip the single rows of each table's gradient.

    Args:
        model: Compiled with the optimizer, which clips gradients.
        optimizer: Of one of Keras' classes, or Regraft's.

    Returns:
        Whether it does now, if there is a table at all: not where one can't be
        followed, or a class of the user's has a step of its own.
    """
    tables = [layer for layer in _compat.all_layers(model) if _is_table(layer)]
    if not tables:
        return True
    steps = type(model)
    if (
        keras.backend.backend() != "jax"
        or isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        or steps.train_step is not keras.Model.train_step
        or steps.compute_loss_and_updates is not keras.Model.compute_loss_and_updates
        or not set(map(id, tables)) <= set(map(id, _called(model)))
        or any(type(layer).call is not keras.layers.Embedding.call for layer in tables)
    ):
        return False
    clipping = _Clipping(model, optimizer)
    for layer in tables:
        layer.call = _LookUp(clipping, layer)
    optimizer.stateless_apply = clipping.stateless_apply
    optimizer._clip_gradients = clipping.clip_gradients
    model.compute_loss_and_updates = clipping.compute_loss_and_updates
    model.train_step = clipping.train_step
    return True


def clips_single_rows(model: keras.Model) -> bool:
    """Whether `clip_single_rows` was asked for, and the optimizer is still there."""
    step = getattr(vars(model).get("train_step"), "__self__", None)
    return isinstance(step, _Clipping) and step.optimizer is model.optimizer


def _is_table(layer: keras.layers.Layer) -> bool:
    """Whether a layer's gradient is of rows; a regularizer's is of the whole table."""
    return (
        isinstance(layer, keras.layers.Embedding)
        and layer.trainable
        and layer.embeddings_regularizer is None
    )


def _called(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers that a model calls itself, or models in it.

    What other layers call may be in a loop, which a step can't look into.
    """
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _called(layer)


@dataclass
class _Step:
    """One step of training.

    Attributes:
        tables: The variable of each lookup, in the order of their calls.
        ids: Of each lookup.
        zeros: What each adds.
        adds: Whether they do, or are being found out.
        calls: How many were done.
        gradients: Of the zeros.
    """

    tables: list[Any] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)
    zeros: Sequence[Any] = ()
    adds: bool = False
    calls: int = 0
    gradients: Sequence[Any] = ()


class _LookUp:
    """The `call` of one `Embedding`."""

    def __init__(self, clipping: _Clipping, layer: keras.layers.Embedding) -> None:
        self._clipping = clipping
        self._layer = layer
        self._call = layer.call

    def __call__(self, inputs: Any) -> Any:
        found = self._call(inputs)
        step = self._clipping.current
        table = self._layer.embeddings
        if step is None or not isinstance(table, keras.Variable) or not table.trainable:
            return found
        if step.adds:
            step.calls += 1
            return found + step.zeros[step.calls - 1]
        step.tables.append(table)
        step.ids.append(inputs)
        step.zeros = [*step.zeros, ops.zeros(found.shape, found.dtype)]
        return found


_current = Current()


class _Clipping:
    """What a model and its optimizer do instead of their classes' methods.

    Attributes:
        optimizer: The one that clips.
    """

    def __init__(self, model: keras.Model, optimizer: keras.Optimizer) -> None:
        self._model = model
        self.optimizer = optimizer
        self._train_step = model.train_step
        self._loss = model.compute_loss_and_updates
        self._apply = optimizer.stateless_apply
        self._clip = optimizer._clip_gradients

    @property
    def current(self) -> _Step | None:
        """The step being taken."""
        found: _Step | None = _current.of(self)
        return found

    def train_step(self, state: Any, data: Any) -> Any:
        """Takes a step."""
        if self._model.optimizer is not self.optimizer:
            return self._train_step(state, data)
        trained, *rest = state
        step = _Step()
        with _current.taking(self, step):
            look_ahead(self._loss, state, data)
            step.adds = True
            return self._train_step(([*trained, *step.zeros], *rest), data)

    def compute_loss_and_updates(
        self, trainable_variables: Any, *arguments: Any, **keywords: Any
    ) -> Any:
        """Computes the loss; at the end of the variables are the zeros of lookups."""
        step = self.current
        if step is None or not step.adds:
            return self._loss(trainable_variables, *arguments, **keywords)
        count = len(trainable_variables) - len(step.tables)
        step.zeros, step.calls = trainable_variables[count:], 0
        return self._loss(trainable_variables[:count], *arguments, **keywords)

    def stateless_apply(
        self, optimizer_variables: Any, grads: Any, trainable_variables: Any
    ) -> Any:
        """Steps; at the end of the gradients are those of rows."""
        step = self.current
        if step is None:
            return self._apply(optimizer_variables, grads, trainable_variables)
        count = len(grads) - len(step.tables)
        step.gradients = grads[count:]
        return self._apply(
            optimizer_variables, grads[:count], trainable_variables[:count]
        )

    def clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """Clips gradients, those of tables as single rows, and adds these up then."""
        step = self.current
        if step is None:
            return list(self._clip(grads))
        rows: dict[int, list[Any]] = {}
        ids: dict[int, list[Any]] = {}
        for table, looked_up, gradient in zip(
            step.tables, step.ids, step.gradients, strict=True
        ):
            index = self.optimizer._get_variable_index(table)
            single = ops.reshape(gradient, (-1, table.shape[-1]))
            rows.setdefault(index, []).append(ops.cast(single, table.dtype))
            flat = ops.cast(ops.reshape(looked_up, (-1, 1)), "int32")
            ids.setdefault(index, []).append(flat)
        apart = list(grads)
        for index, parts in rows.items():
            apart[index] = ops.concatenate(parts)
        clipped = list(self._clip(apart))
        for index, parts in ids.items():
            shape = grads[index].shape
            clipped[index] = ops.scatter(ops.concatenate(parts), clipped[index], shape)
        return clipped
