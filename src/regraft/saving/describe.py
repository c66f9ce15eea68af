"""Live `keras.Model` → what both formats write: configs, weights, compile arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from regraft import _compat
from regraft._compat.variables import own_variables
from regraft.model.compile import describe_compile_arguments, describe_keras3_compile
from regraft.model.dialects.context import Note
from regraft.model.dialects.describe_topology import describe_keras3, describe_network
from regraft.model.dialects.dialect import KERAS_2, KERAS_2_WITH_FUNCTIONS
from regraft.model.dialects.names import original_name
from regraft.model.dialects.registry import builtin_layers, is_builtin
from regraft.model.keras2.behaviour import (
    computes_as_keras2,
    fixed_trainings,
    sums_activity,
)
from regraft.model.keras2.regularizers import repeats_regularizers
from regraft.model.keras2.sparse_rows import clips_single_rows
from regraft.model.keras2.trained_writes import keeps_trained_writes
from regraft.model.optimizers import spared_from_decay
from regraft.model.state_tree import StateNode, is_network, state_tree

_MODELS = ("Sequential", "Functional", "Model")
_ALL_DECAY = (
    "what `exclude_from_weight_decay` took out of weight decay stays out of it where "
    "Regraft loads the file; Keras 2 and 3 have no words for it, and decay all weights"
)
_REPEATED = (
    "regularizers of layers that several networks share count once per network where "
    "Regraft loads the file, as before TensorFlow 2.2; Keras 2 counts them once"
)
_CONSTRAINED = (
    "tf_keras has no class of the layers that own {}, and applies no constraint to "
    "them in training; Regraft does"
)


@dataclass(frozen=True)
class SavedModelParts:
    """What a model is, ready for a format.

    Attributes:
        model: The live model.
        entry: `{"class_name", "config"}` in Keras 2's dialect.
        training_config: Keras 2's compile arguments; `None` if not compiled.
        tree: Its variables under Keras 2's names.
        extra: What only Keras 3 has words for.
        notes: What did not go over exactly.
    """

    model: keras.Model
    entry: Mapping[str, Any]
    training_config: Mapping[str, Any] | None
    tree: StateNode
    extra: Mapping[str, Any]
    notes: list[Note] = field(default_factory=list)


def describe(
    model: keras.Model, *, include_optimizer: bool, traced: bool = False
) -> SavedModelParts:
    """Describes a built model.

    Args:
        model: The model.
        include_optimizer: Whether compile arguments and the optimizer go along.
        traced: Whether layers have functions beside their configs.

    Raises:
        NotImplementedError: A layer has no config.
    """
    notes: list[Note] = []
    config = {**describe_keras3(model)}
    # It has a place of its own, and goes along only with the optimizer.
    config.pop("compile_config", None)
    extra: dict[str, Any] = {"keras_version": keras.__version__, "config": config}
    seeds = [[int(n) for n in state] for state in _seed_states(model)]
    if seeds:
        extra["random_state"] = seeds
    tree = state_tree(model)
    trainable = {edge: bool(variable.trainable) for edge, variable in tree.edges()}
    frozen = not all(layer.trainable for layer in _compat.all_layers(model))
    if frozen or not all(trainable.values()):
        # A layer made with `trainable=False` still trains what it makes later inside,
        # and a variable can be frozen by itself.
        extra["trainable"] = trainable
    low_rank = {
        place: [layer.lora_rank, layer.lora_alpha]
        for place, layer in tree.layers()
        if getattr(layer, "lora_enabled", False)
    }
    if low_rank:
        # Layers of the user's own classes don't know what was added inside of them.
        extra["low_rank"] = low_rank
    notes += _name_clashes(model)
    if constrained := _constrained_here(tree):
        extra["constraints"] = {
            edge: keras.constraints.serialize(variable.constraint)
            for edge, variable in constrained.items()
        }
        if traced:
            paths = ", ".join(repr(v.path) for v in constrained.values())
            text = _CONSTRAINED.format(paths)
            notes.append(Note(f"model {original_name(model)!r}", text))
    if computes_as_keras2(model):
        extra["computes_as_keras2"] = True
    if sums_activity(model):
        extra["summed_activity"] = True
    if fixed := fixed_trainings(model):
        extra["fixed_trainings"] = fixed
    if keeps_trained_writes(model):
        extra["keeps_trained_writes"] = True
    if repeats_regularizers(model):
        extra["repeats_regularizers"] = True
        notes.append(Note(f"model {original_name(model)!r}", _REPEATED))
    training_config = None
    if include_optimizer and model.compiled:
        training_config = describe_compile_arguments(model, KERAS_2, notes)
        exact = describe_keras3_compile(model)
        if exact:
            extra["compile_config"] = exact
        if clips_single_rows(model):
            extra["clips_single_rows"] = True
        if spared := spared_from_decay(model.optimizer, tree.edges()):
            extra["spared_from_decay"] = spared
            notes.append(Note("optimizer", _ALL_DECAY))
    return SavedModelParts(
        model,
        describe_network(model, KERAS_2_WITH_FUNCTIONS if traced else KERAS_2, notes),
        training_config,
        tree,
        extra,
        notes,
    )


def _clashes(cls: type) -> bool:
    """Whether a class of the user's, that is not registered, has Keras' name."""
    if is_builtin(cls) or cls.__module__.startswith(("keras.", "regraft.")):
        return False
    if keras.saving.get_registered_name(cls) != cls.__name__:
        return False
    return cls.__name__ in (*builtin_layers(), *_MODELS)


def _constrained_here(tree: StateNode) -> dict[str, keras.Variable]:
    """Returns the trained weights of the user's own layers that have a constraint.

    A layer without its class has it from no config, and functions know of none.
    """
    owned = {
        id(variable)
        for _, layer in tree.layers()
        if not is_builtin(type(layer))
        for kind in own_variables(layer)
        for variable in kind
    }
    return {
        edge: variable
        for edge, variable in tree.edges()
        if id(variable) in owned and variable.trainable and variable.constraint
    }


def _name_clashes(model: keras.Model) -> list[Note]:
    """Says of each such class once which layers are of it."""
    layers: dict[type, list[str]] = {}
    for layer in _compat.all_layers(model):
        if _clashes(type(layer)):
            layers.setdefault(type(layer), []).append(layer.name)
    return [
        Note(
            f"layer '{names[0]}'"
            + (f" and {len(names) - 1} more" if names[1:] else ""),
            f"its class has the same name '{cls.__name__}' as a built-in Keras object, "
            "so that loaders take one for the other; rename it, or register it with "
            "`keras.saving.register_keras_serializable`",
        )
        for cls, names in layers.items()
    ]


def _seed_states(model: keras.Model) -> list[Any]:
    return [
        keras.ops.convert_to_numpy(variable.value)
        for variable in _compat.seed_states(model)
    ]


def check_built(model: keras.Model) -> None:
    """Checks that all variables of a model exist.

    Layers that a model's call doesn't reach have none.

    Raises:
        ValueError: They don't, with what to do.
    """
    if model.built and (
        is_network(model)
        or all(layer.built for layer in model.layers)
        or _compat.was_called(model)
    ):
        return
    if isinstance(model, keras.Sequential):
        raise ValueError(
            f"Model '{model.name}' cannot be saved because its input shape is not "
            "known: it has not been built. Give its first layer an `keras.Input`, "
            "call the model on data, or call `model.build(input_shape)`."
        )
    raise ValueError(
        f"Model '{model.name}' cannot be saved because it has not been built: its "
        "input shape is not available. Call the model on data, with `model(x)`, "
        "`model.predict(x)` or `model.fit(x, y)`, as opposed to `model.call(x)`, or "
        "call `model.build(input_shape)`."
    )
