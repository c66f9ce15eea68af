"""Variables that an optimizer spares from weight decay.

`exclude_from_weight_decay` of Keras 2 (TensorFlow 2.11 on) and of Keras 3 tells an
optimizer so; its config doesn't say it.
"""

from __future__ import annotations

from collections.abc import Iterable

import keras

from regraft import _compat
from regraft.model.keras2.optimizers_legacy import OptimizerV2
from regraft.model.optimizers.state import inner_optimizer


def decays(optimizer: keras.Optimizer) -> bool:
    """Whether an optimizer makes weights smaller in each step, but for some.

    Those of TensorFlow Addons say in their configs which they spare.
    """
    inner = inner_optimizer(optimizer)
    if isinstance(inner, OptimizerV2):
        return False
    return bool(getattr(inner, "weight_decay", None))


def spared_from_decay(
    optimizer: keras.Optimizer, edges: Iterable[tuple[str, keras.Variable]]
) -> list[str]:
    """Returns the edges of the trainable variables that don't decay."""
    if not decays(optimizer):
        return []
    inner = inner_optimizer(optimizer)
    return [
        edge
        for edge, variable in edges
        if variable.trainable and not _compat.decays_variable(inner, variable)
    ]


def spare_from_decay(
    optimizer: keras.Optimizer, variables: list[keras.Variable]
) -> None:
    """Spares variables from the decay of an optimizer that isn't built yet."""
    inner_optimizer(optimizer).exclude_from_weight_decay(var_list=variables)
