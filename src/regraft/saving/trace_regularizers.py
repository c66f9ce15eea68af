"""Which layer of a traced model counts the regularizer of a weight."""

from __future__ import annotations

from collections.abc import Container, Iterable

import keras

from regraft.model.state_tree import variables_outside
from regraft.saving.layer_metadata import is_rebuilt


def regularized(weights: Iterable[keras.Variable]) -> list[keras.Variable]:
    """Returns the weights that have a regularizer."""
    return [w for w in weights if getattr(w, "regularizer", None) is not None]


def counted_here(
    layer: keras.Layer, weights: Iterable[keras.Variable], traced: Container[int]
) -> list[keras.Variable]:
    """Returns the regularized weights of a layer that no layer inside it counts.

    A layer may call those inside it where that leaves no traces. Keras 2 makes them
    from their configs if it can, with regularizers that count once more.

    Args:
        layer: A layer that has traces.
        weights: Of it and of those inside it.
        traced: Ids of the layers that have traces.
    """
    wanted = regularized(weights)
    if not wanted:
        return []
    return variables_outside(
        layer, wanted, lambda child: id(child) in traced or is_rebuilt(child)
    )
