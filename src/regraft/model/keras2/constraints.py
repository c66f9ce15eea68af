"""Constraints that Keras 3 doesn't have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from regraft.model.keras2.registration import registered


@registered
class RadialConstraint(keras.constraints.Constraint):
    """Keras 2's `RadialConstraint`: all weights of a ring of a 2-D kernel are equal."""

    def __call__(self, w: Any) -> Any:
        if len(w.shape) != 4 or w.shape[0] != w.shape[1]:
            raise ValueError(
                "RadialConstraint needs a square 2-D kernel, of shape (size, size, "
                f"channels, filters). Received: {tuple(w.shape)}"
            )
        size = int(w.shape[0])
        flat = ops.reshape(w, (size * size, *w.shape[2:]))
        places = _sources(size).reshape(-1) * (size + 1)
        return ops.reshape(ops.take(flat, places, axis=0), w.shape)


def _sources(size: int) -> np.ndarray[Any, Any]:
    """Where on the diagonal each place's ring takes its value from.

    Keras 2 takes the middle from one before the middle of the diagonal, and each
    ring around it from the next; of an even size it leaves one place out.
    """
    middle = size // 2
    offsets = np.abs(np.arange(size) - (size - 1) / 2)
    rings = np.floor(np.maximum(offsets[:, None], offsets[None, :])).astype(int)
    skipped = (rings > 0) & (size % 2 == 0)
    return np.maximum(middle - 1 + rings + skipped, 0)


CONSTRAINTS: Mapping[str, Any] = {
    "RadialConstraint": RadialConstraint,
    "radial_constraint": RadialConstraint,
}
