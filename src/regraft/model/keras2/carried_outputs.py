"""What a recurrent layer gives at a masked step, around cells that aren't Keras' own.

Keras 2 gives the output of the last step again. Keras 3 on JAX takes the first state
for that, which it is in Keras' own cells. Here the output is a state of its own, and
the first, wherever a cell may be another.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from regraft import _compat


def carry_outputs(model: keras.Model) -> None:
    """Lets the recurrent layers of a model repeat outputs as in Keras 2.

    Args:
        model: Built.
    """
    for layer in _compat.all_layers(model):
        if isinstance(layer, keras.layers.RNN) and not _is_known(layer.cell):
            layer.inner_loop = functools.partial(_carrying, layer, layer.inner_loop)


def _is_known(cell: Any) -> bool:
    if type(cell) is keras.layers.StackedRNNCells:
        return all(map(_is_known, cell.cells))
    return type(cell).__module__.startswith("keras.")


def _carrying(
    layer: keras.layers.RNN,
    inner_loop: Callable[..., Any],
    sequences: Any,
    initial_state: Any,
    mask: Any,
    training: Any = False,
) -> Any:
    cell = layer.cell
    size: Any = getattr(cell, "output_size", None)
    if mask is None or not _is_shape(size):
        return inner_loop(sequences, initial_state, mask, training=training)
    states = list(initial_state) if _is_list(initial_state) else [initial_state]
    shape = (size,) if isinstance(size, int) else tuple(size)
    dtype = getattr(cell, "compute_dtype", layer.compute_dtype)
    before = ops.zeros((ops.shape(sequences)[0], *shape), dtype=dtype)
    # Not a layer's: what stands here for a moment is none of its parts.
    vars(layer)["cell"] = _Carrying(cell, training)
    try:
        last, outputs, states = inner_loop(
            sequences, [before, *states], mask, training=training
        )
    finally:
        vars(layer)["cell"] = cell
    return last, outputs, states[1:]


class _Carrying:
    """A cell whose first state is the output of the step before."""

    def __init__(self, cell: Any, training: Any) -> None:
        self._cell = cell
        taken = inspect.signature(cell.call).parameters
        self._keywords = {"training": training} if "training" in taken else {}

    def __call__(self, inputs: Any, states: Any) -> Any:
        outputs, after = self._cell(inputs, list(states)[1:], **self._keywords)
        after = list(after) if _is_list(after) else [after]
        return outputs, [outputs, *after]


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_shape(size: Any) -> bool:
    return isinstance(size, int) or (
        _is_list(size) and all(isinstance(length, int) for length in size)
    )
