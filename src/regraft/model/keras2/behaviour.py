"""What a model of a Keras 2 file goes on doing after it was saved in Keras 3's words.

Regraft writes a SavedModel in both: for itself it reads Keras 3's, which describe the
layers exactly, but have no words for how Keras 2 ran them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from regraft import _compat
from regraft._compat import calls, losses, ranks, results
from regraft.errors import FormatError
from regraft.model.keras2.carried_outputs import carry_outputs
from regraft.model.keras2.regularizers import SummedOverBatch

_MARK = "_regraft_computes_as_keras2"


def compute_as_keras2(model: keras.Model) -> None:
    """Gives a loaded model, built as Keras 2 built it, what else Keras 2 did."""
    setattr(model, _MARK, True)
    losses.average_added_losses(model)
    losses.average_losses_per_example(model)
    losses.count_frozen_regularizers(model)
    ranks.take_inputs_of_other_ranks(model)
    calls.run_steps_as_one_call(model)
    _compat.keep_recurrent_states(model)
    carry_outputs(model)
    results.order_results(model)


def computes_as_keras2(model: keras.Model) -> bool:
    """Whether a model came from a file of Keras 2, at some time."""
    return bool(getattr(model, _MARK, False))


def sums_activity(model: keras.Model) -> bool:
    """Whether activity regularizers sum over the batch, in configs or beside them."""
    return any(
        isinstance(getattr(layer, "activity_regularizer", None), SummedOverBatch)
        for layer in _compat.all_layers(model)
    )


def fixed_trainings(model: keras.Model) -> list[list[Any]]:
    """Lists the calls that keep their `training`, as `base(x, training=False)` does.

    Returns:
        For each `[network, layer, call, training]`: the network counted among those of
        the model, the layer by its name, the call counted among those of the layer.
    """
    found: list[list[Any]] = []
    for place, network in enumerate(_networks(model)):
        recorded = _compat.recorded_calls(network)
        for operation in network.operations:
            for index, call in enumerate(recorded[id(operation)]):
                fixed = _compat.fixed_training(call)
                if fixed is not None:
                    found.append([place, operation.name, index, fixed])
    return found


def fix_trainings(model: keras.Model, listed: Iterable[Iterable[Any]]) -> None:
    """Lets calls keep the `training` that `fixed_trainings` listed.

    Raises:
        FormatError: The list is of another model.
    """
    listed = list(listed)
    networks = _networks(model) if listed else []
    for entry in listed:
        try:
            place, name, index, training = entry
            network = networks[place]
            (operation,) = [o for o in network.operations if o.name == name]
            call = _compat.recorded_calls(network)[id(operation)][index]
        except (IndexError, TypeError, ValueError) as error:
            raise FormatError(
                "A call that keeps its `training` is none of the model's",
                received=entry,
            ) from error
        _compat.fix_training(call, bool(training))
    for network in networks:
        _compat.keep_fixed_training(network)


def _networks(model: keras.Model) -> list[Any]:
    return [
        layer
        for layer in _compat.all_layers(model)
        if _compat.is_network(layer) and not isinstance(layer, keras.Sequential)
    ]
