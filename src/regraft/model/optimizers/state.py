"""The state of an optimizer as data, and to and from a live Keras optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from regraft.errors import MismatchError
from regraft.model.dialects.context import Note
from regraft.model.dialects.dialect import KERAS_2
from regraft.model.keras2.optimizers import Keras2Optimizer
from regraft.model.keras2.optimizers_legacy import OptimizerV2
from regraft.model.optimizers.config import describe_optimizer
from regraft.model.optimizers.slots import (
    AROUND_SLOTS,
    AVERAGE,
    AVERAGED,
    AVERAGED_ATTRIBUTE,
    COMMON_SLOTS,
    SLOW,
    SLOW_ATTRIBUTE,
    U_PRODUCT,
    slots_of,
)
from regraft.model.optimizers.style import LEGACY
from regraft.model.values import KerasVariableTensor
from regraft.storage.tensor import ArrayTensor, StoredTensor

Slots = dict[str, tuple[StoredTensor | None, ...]]


@dataclass(frozen=True)
class OptimizerState:
    """What an optimizer remembers between steps.

    Attributes:
        style: `"legacy"` (`OptimizerV2`), `"new"` (since Keras 2.11) or `"keras3"`.
        iterations: Number of steps so far; `None` where the file doesn't say.
        hyperparameters: Those that are variables: `learning_rate`; of a legacy
            optimizer also `decay`, `beta_1`, ….
        slots: By slot name (see `slots.SLOTS`), in the order of the trainable
            variables; `None` for a variable without that slot.
        scalars: `u_product` of Nadam; `loss_scale` and `good_steps` of a loss scale.
        loose: Other variables of a class that Regraft doesn't know, in order.
        optimizer_config: What a training config of Keras 2 says of the optimizer.
    """

    style: str
    iterations: StoredTensor | None = None
    hyperparameters: Mapping[str, StoredTensor] = field(default_factory=dict)
    slots: Slots = field(default_factory=dict)
    scalars: Mapping[str, StoredTensor] = field(default_factory=dict)
    loose: tuple[StoredTensor, ...] = ()
    optimizer_config: Mapping[str, Any] | None = None


def inner_optimizer(optimizer: keras.Optimizer) -> keras.Optimizer:
    """The optimizer that does the steps: inside of a `LossScaleOptimizer`."""
    while isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return optimizer


def _tensor(variable: keras.Variable) -> StoredTensor:
    return KerasVariableTensor(variable)


def base_class_name(optimizer: keras.Optimizer) -> str:
    """Name of the class of Keras whose slots the optimizer has."""
    for cls in type(optimizer).__mro__:
        if slots_of(cls.__name__) is not None:
            return cls.__name__
    return type(optimizer).__name__


def _slot_lists(optimizer: keras.Optimizer) -> dict[str, list[Any]]:
    """Lists of slots by slot name, each in the order the optimizer was built with.

    Of a class without row every list that pairs with the trainable variables is one.
    """
    around = {SLOW_ATTRIBUTE: SLOW, AVERAGED_ATTRIBUTE: AVERAGED}
    named = {**COMMON_SLOTS, **around}
    row = slots_of(base_class_name(optimizer))
    if row is not None:
        named |= {slot.attribute: slot.name for slot in row}
    else:
        named |= {name: name for name in _paired_lists(optimizer) if name not in named}
    lists = {
        name: getattr(optimizer, attribute, None) for attribute, name in named.items()
    }
    return {name: found for name, found in lists.items() if found}


def _paired_lists(optimizer: keras.Optimizer) -> list[str]:
    trainable = optimizer._trainable_variables
    own = {id(variable) for variable in optimizer.variables}
    names = []
    for name, value in vars(optimizer).items():
        if name in ("_variables", "_trainable_variables"):
            continue
        if not isinstance(value, list | tuple) or len(value) != len(trainable):
            continue
        found = [item for item in value if item is not None]
        if found and all(id(item) in own for item in found):
            names.append(name)
    return names


def state_from_keras(
    optimizer: keras.Optimizer, variables: Sequence[keras.Variable] | None = None
) -> OptimizerState:
    """Takes the state out of a live optimizer.

    Args:
        optimizer: Any optimizer of Keras.
        variables: The trainable variables in the order that the slots shall have;
            that of the optimizer itself if not given.
    """
    inner = inner_optimizer(optimizer)
    scalars: dict[str, StoredTensor] = {}
    if optimizer is not inner and optimizer.built:
        scalars["loss_scale"] = _tensor(optimizer.dynamic_scale)
        scalars["good_steps"] = _tensor(optimizer.step_counter)
    product = getattr(inner, "_u_product", None)
    if product is not None:
        scalars[U_PRODUCT] = _tensor(product)
    slots: Slots = {}
    lists = _slot_lists(inner) if inner.built else {}
    indices = _indices(inner, variables) if inner.built else []
    for name, found in lists.items():
        picked = [None if i is None else found[i] for i in indices]
        slots[name] = tuple(
            None if slot is None or _is_placeholder(name, slot) else _tensor(slot)
            for slot in picked
        )
    if AVERAGE in slots and _starts_average_late(inner):
        slots[AVERAGE] = tuple(
            None if i is None else _tensor(inner._trainable_variables[i])
            for i in indices
        )
    return OptimizerState(
        "legacy" if isinstance(inner, OptimizerV2) else "keras3",
        _tensor(inner._iterations),
        _hyperparameters(inner),
        slots,
        scalars,
        tuple(_tensor(variable) for variable in _loose(inner, lists)),
        describe_optimizer(optimizer, KERAS_2, []),
    )


def _starts_average_late(optimizer: keras.Optimizer) -> bool:
    """Whether the average still has no value: Keras 3 begins it at the first step.

    Keras 2 begins it with the variables' values.
    """
    stepped = bool(keras.ops.convert_to_numpy(optimizer._iterations) > 0)
    return not isinstance(optimizer, Keras2Optimizer) and not stepped


def _is_placeholder(name: str, slot: Any) -> bool:
    # Adafactor keeps integers where a variable is too small to be factored.
    return name in ("r", "c") and str(slot.dtype).startswith("int")


def _indices(
    optimizer: keras.Optimizer, variables: Sequence[keras.Variable] | None
) -> list[int | None]:
    if variables is None:
        return list(range(len(optimizer._trainable_variables)))
    places = {id(v): i for i, v in enumerate(optimizer._trainable_variables)}
    return [places.get(id(variable)) for variable in variables]


def _hyperparameters(optimizer: keras.Optimizer) -> dict[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    if isinstance(optimizer._learning_rate, keras.Variable):
        found["learning_rate"] = _tensor(optimizer._learning_rate)
    if isinstance(optimizer, OptimizerV2):
        if not optimizer.has_rate:
            found.clear()
        for name in optimizer.hyperparameters:
            value = getattr(optimizer, name)
            if not callable(value):
                found[name] = ArrayTensor(np.asarray(value, np.float32))
    return found


def _loose(
    optimizer: keras.Optimizer, lists: Mapping[str, list[Any]]
) -> list[keras.Variable]:
    taken = {id(item) for found in lists.values() for item in found}
    taken |= {id(optimizer._iterations), id(optimizer._learning_rate)}
    taken.add(id(getattr(optimizer, "_u_product", None)))
    return [variable for variable in optimizer.variables if id(variable) not in taken]


def linear_without_rate(
    state: OptimizerState, optimizer: keras.Optimizer, notes: list[Note]
) -> OptimizerState:
    """Divides the slot `linear` of an `Ftrl` with a shrinkage by its learning rate.

    Args:
        state: As the file has it.
        optimizer: For which it is.
        notes: Told where the rate changes, for then the steps were others, too.
    """
    inner = inner_optimizer(optimizer)
    linear = state.slots.get("linear")
    shrinks = getattr(inner, "l2_shrinkage_regularization_strength", 0.0)
    if not linear or not shrinks or state.style != LEGACY:
        return state
    steps = 0 if state.iterations is None else int(state.iterations.read())
    rate, decay = inner._learning_rate, getattr(inner, "decay", 0.0)
    if decay or not isinstance(rate, keras.Variable):
        text = (
            "TensorFlow 2.3 to 2.5 stepped otherwise where Ftrl has a shrinkage and a "
            "learning rate that changes"
        )
        notes.append(Note("optimizer", text))
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        last = float(rate(max(steps - 1, 0)))
    else:
        given = state.hyperparameters.get("learning_rate")
        last = float(rate.value) if given is None else float(given.read())
        last /= 1.0 + decay * max(steps - 1, 0)
    if not last:
        return state
    divided = tuple(
        None if tensor is None else ArrayTensor(tensor.read() / np.float32(last))
        for tensor in linear
    )
    return replace(state, slots={**state.slots, "linear": divided})


def plan_restore(
    optimizer: keras.Optimizer,
    variables: Sequence[keras.Variable],
    state: OptimizerState,
    notes: list[Note] | None,
) -> list[tuple[keras.Variable, StoredTensor]]:
    """Pairs the variables of a built optimizer with the values that they had.

    Args:
        optimizer: Built with all trainable variables of the model, in any order;
            not built where `is_unbuilt(state)`.
        variables: The trainable variables in the order of `state.slots`.
        state: What the file holds.
        notes: Told what isn't in the file; the rest starts fresh.

    Raises:
        MismatchError: Something isn't in the file, and `notes` is `None`.
    """
    inner = inner_optimizer(optimizer)
    pairs: list[tuple[keras.Variable, StoredTensor]] = []
    _pair(pairs, inner._iterations, state.iterations)
    if isinstance(inner._learning_rate, keras.Variable):
        _pair(pairs, inner._learning_rate, state.hyperparameters.get("learning_rate"))
    if not optimizer.built:
        return pairs
    if inner is not optimizer:
        _pair(pairs, optimizer.dynamic_scale, state.scalars.get("loss_scale"))
        _pair(pairs, optimizer.step_counter, state.scalars.get("good_steps"))
    if getattr(inner, "_u_product", None) is not None:
        _pair(pairs, inner._u_product, state.scalars.get(U_PRODUCT))
    lists = _slot_lists(inner)
    problems = _pair_slots(pairs, inner, lists, variables, state)
    loose = _loose(inner, lists if state.slots else {})
    if [tuple(v.shape) for v in loose] == [t.shape for t in state.loose]:
        pairs += list(zip(loose, state.loose, strict=True))
    elif loose and _has_stepped(state):
        problems.append(f"{len(loose)} variables of {type(inner).__name__} start fresh")
    if inner is not optimizer and "loss_scale" not in state.scalars:
        # In HDF5 Keras 2 keeps the inner optimizer's weights alone.
        start = float(optimizer.initial_scale)
        problems.append(f"its loss scale starts at {start:g}: the file holds none")
    for problem in problems:
        if notes is None:
            raise MismatchError(f"Optimizer: {problem}.")
        if (note := Note("optimizer", problem)) not in notes:
            notes.append(note)
    return pairs


def _pair(
    pairs: list[tuple[keras.Variable, StoredTensor]],
    variable: keras.Variable,
    tensor: StoredTensor | None,
) -> None:
    if tensor is not None and tuple(tensor.shape) == tuple(variable.shape):
        pairs.append((variable, tensor))


def _pair_slots(
    pairs: list[tuple[keras.Variable, StoredTensor]],
    optimizer: keras.Optimizer,
    lists: Mapping[str, list[Any]],
    variables: Sequence[keras.Variable],
    state: OptimizerState,
) -> list[str]:
    aliases = _names_in_files(base_class_name(optimizer), state.style)
    indices = _indices(optimizer, variables)
    problems: list[str] = []
    if state.loose and not state.slots:
        return problems
    for name, found in lists.items():
        saved = state.slots.get(name, state.slots.get(aliases.get(name, "")))
        if saved is None:
            if _has_stepped(state):
                problems.append(f"the file holds no slot '{name}'; it starts fresh")
            continue
        if len(saved) != len(variables):
            problems.append(
                f"slot '{name}' is kept for {len(saved)} variables, the model trains "
                f"{len(variables)}; it starts fresh"
            )
            continue
        for variable, index, tensor in zip(variables, indices, saved, strict=True):
            slot = None if index is None else found[index]
            if slot is None or _is_placeholder(name, slot):
                continue
            if tensor is None and not _has_stepped(state):
                continue  # as fresh as it is here
            if tensor is None or tuple(tensor.shape) != tuple(slot.shape):
                received = "nothing" if tensor is None else f"shape {tensor.shape}"
                problems.append(
                    f"slot '{name}' of '{variable.path}' starts fresh: expected shape "
                    f"{tuple(slot.shape)}, received {received}"
                )
                continue
            pairs.append((slot, tensor))
    return problems


def slots_of_variables(optimizer: keras.Optimizer) -> dict[int, list[keras.Variable]]:
    """The slots that a built optimizer keeps for each variable, by its id."""
    inner = inner_optimizer(optimizer)
    lists = _slot_lists(inner)
    found: dict[int, list[keras.Variable]] = {}
    for index, variable in enumerate(inner._trainable_variables):
        rows = ((name, slots[index]) for name, slots in lists.items())
        found[id(variable)] = [
            slot
            for name, slot in rows
            if slot is not None and not _is_placeholder(name, slot)
        ]
    return found


def _names_in_files(class_name: str, style: str) -> dict[str, str]:
    """What an object graph calls each slot."""
    rows = slots_of(class_name) or ()
    if style == "legacy":
        names = {slot.name: slot.legacy for slot in rows if slot.legacy}
        return {**AROUND_SLOTS, **names}
    return {slot.name: slot.child for slot in rows}


def is_unbuilt(state: OptimizerState) -> bool:
    """Whether this is an optimizer that has seen no variables yet."""
    kept = state.slots or state.scalars or state.loose
    return state.style != "legacy" and not kept and not _has_stepped(state)


def _has_stepped(state: OptimizerState) -> bool:
    return state.iterations is None or int(np.ravel(state.iterations.read())[0]) > 0


def restore_state(
    optimizer: keras.Optimizer,
    variables: Sequence[keras.Variable],
    state: OptimizerState,
    notes: list[Note] | None = None,
) -> None:
    """Builds an optimizer and gives it every value of a state.

    Args:
        optimizer: Built or not.
        variables: The trainable variables in the order of `state.slots`.
        state: What the file holds.
        notes: Told what isn't in the file.

    Raises:
        MismatchError: Something isn't in the file, and `notes` is `None`.
    """
    if not optimizer.built:
        optimizer.build(list(variables))
    for variable, tensor in plan_restore(optimizer, variables, state, notes):
        variable.assign(np.asarray(tensor.read()).astype(variable.dtype))
