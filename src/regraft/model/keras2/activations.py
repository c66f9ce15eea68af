"""Activations that Keras 2 computed otherwise."""

from __future__ import annotations

from typing import Any

from keras import ops

from regraft.model.keras2.registration import registered


@registered
def linear_fifth_hard_sigmoid(x: Any) -> Any:
    """Keras 1's and 2's `hard_sigmoid`: clip(0.2 x + 0.5, 0, 1)."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)
