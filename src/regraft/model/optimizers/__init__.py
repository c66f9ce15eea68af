"""Optimizers of Keras 1 to 3: configs, state, and state in files."""

from __future__ import annotations

from regraft.model.optimizers.config import build_optimizer, describe_optimizer
from regraft.model.optimizers.decay import (
    decays,
    spare_from_decay,
    spared_from_decay,
)
from regraft.model.optimizers.hdf5 import (
    accumulated_to_hdf5,
    state_from_hdf5,
    state_to_hdf5,
)
from regraft.model.optimizers.object_graph import (
    describe_optimizer_state,
    state_from_object_graph,
)
from regraft.model.optimizers.state import (
    OptimizerState,
    inner_optimizer,
    is_unbuilt,
    linear_without_rate,
    plan_restore,
    restore_state,
    slots_of_variables,
    state_from_keras,
)

__all__ = [
    "OptimizerState",
    "accumulated_to_hdf5",
    "build_optimizer",
    "decays",
    "describe_optimizer",
    "describe_optimizer_state",
    "inner_optimizer",
    "is_unbuilt",
    "linear_without_rate",
    "plan_restore",
    "restore_state",
    "slots_of_variables",
    "spare_from_decay",
    "spared_from_decay",
    "state_from_hdf5",
    "state_from_keras",
    "state_from_object_graph",
    "state_to_hdf5",
]
