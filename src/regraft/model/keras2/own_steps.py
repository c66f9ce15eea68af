"""What steps of training share that do more than Keras' on JAX."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras


class Current(threading.local):
    """The step that a thread is in, and whose it is."""

    _step: Any = None
    _owner: object = None

    def of(self, owner: object) -> Any:
        """Returns the step that an owner is taking; `None` if it takes none."""
        return self._step if self._owner is owner else None

    @contextmanager
    def taking(self, owner: object, step: Any) -> Iterator[None]:
        """Makes a step the one that its owner is taking."""
        self._step, self._owner = step, owner
        try:
            yield
        finally:
            self._step = self._owner = None


def look_ahead(loss: Callable[..., Any], state: Any, data: Any) -> None:
    """Computes a step's loss before the step, for what its layers do meanwhile.

    Args:
        loss: As `keras.Model.compute_loss_and_updates`.
        state: As a step on JAX gets it.
        data: A batch.
    """
    trained, others, optimizer_variables, metrics = state
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    loss(
        *(trained, others, metrics, x, y, weight),
        training=True,
        optimizer_variables=optimizer_variables,
    )
