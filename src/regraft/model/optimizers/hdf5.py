"""An optimizer's state in the order of an HDF5 file.

```
since 2.11   iteration | average of each variable | group of slots | group | …
             where the slots of a group alternate: m, v, m, v, …
             Keras 3: learning rate after the iteration, and after the averages the
             accumulated gradient of each variable; a loss scale's own come first
OptimizerV2  iter | momentum_cache of Nadam | slot of each variable | slot | …
             Ftrl: all slots of a variable | of the next | …
before       iterations, or nothing | …as OptimizerV2, with slots nobody uses
```

The learning rate is in the training config. Nadam's product of momenta is in no
HDF5 file from 2.11 to Keras 3, which has it last; it follows from the number of steps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regraft.model.dialects.context import Note
from regraft.model.optimizers.slots import (
    ACCUMULATED,
    AROUND_SLOTS,
    AVERAGE,
    LEGACY_BY_VARIABLE,
    OTHER_SHAPES,
    U_PRODUCT,
    Slot,
    is_factored,
    plain_name,
    slots_of,
)
from regraft.model.optimizers.state import OptimizerState, Slots
from regraft.model.optimizers.style import (
    AROUND,
    KERAS_3,
    LEGACY,
    NEW,
    Entry,
    around_of,
    inner_entry,
    is_loss_scale,
    style_of,
)
from regraft.storage.tensor import ArrayTensor, StoredTensor

Weights = Sequence[tuple[str, StoredTensor]]
# What Keras 3 calls a variable without a name, as Nadam's product of momenta.
_UNNAMED = re.compile(r"variable(_\d+)?")
_ITERATIONS = re.compile(r"(^|/)(iter|iteration|iterations)(_\d+)?(:0)?$")


def _column(slot: Slot, shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """Indices of the variables that have a slot."""
    if slot.name in ("r", "c"):
        return [i for i, shape in enumerate(shapes) if is_factored(shape)]
    return list(range(len(shapes)))


def slot_order(
    entry: Entry, style: str, shapes: Sequence[tuple[int, ...]]
) -> list[tuple[str, int]]:
    """Slot name and index of the variable of each slot variable, in order."""
    around = around_of(entry)
    entry = inner_entry(entry)
    config = entry.get("config") or {}
    name = plain_name(str(entry["class_name"]))
    rows = slots_of(name) or ()
    if style == LEGACY:
        found = [slot for slot in rows if slot.exists(config)]
        order = [(slot.name, i) for slot in found for i in _column(slot, shapes)]
        if name in LEGACY_BY_VARIABLE:
            order.sort(key=lambda place: place[1])
        if around is not None:
            order = [(AROUND[around].slot, i) for i in range(len(shapes))] + order
        return order
    always = style == NEW and name == "SGD"
    found = [slot for slot in rows if always or slot.exists(config)]
    order = []
    if config.get("use_ema"):
        order += [(AVERAGE, i) for i in range(len(shapes))]
    if style == KERAS_3 and config.get("gradient_accumulation_steps"):
        order += [(ACCUMULATED, i) for i in range(len(shapes))]
    for group in sorted({slot.group for slot in found}):
        members = [slot for slot in found if slot.group == group]
        order += [
            (slot.name, i)
            for i in range(len(shapes))
            for slot in members
            if i in _column(slot, shapes)
        ]
    return order


def state_from_hdf5(
    weights: Weights,
    optimizer_config: Entry,
    variables: Sequence[Any],
    notes: list[Note] | None = None,
    *,
    names: Sequence[str] = (),
    counts_steps: bool = False,
    accumulated: Weights = (),
) -> OptimizerState:
    """Reads the `optimizer_weights` of an HDF5 file.

    Args:
        weights: Names and values in the file's order.
        optimizer_config: `{"class_name": …, "config": …}` of the training config.
        variables: Trainable variables, in Keras 2's order; they need a `shape`, and
            a `path` or `name` for a file with slots of other variables too.
        notes: Told what can't be assigned to a variable.
        names: What the file calls the variables. Slots are called after these, which
            for a layer in a nested model say less than its path in Keras 3.
        counts_steps: Whether Keras 3's Nadam wrote the state, which multiplies its
            product of momenta once per step.
        accumulated: What `accumulated_to_hdf5` wrote.
    """
    style = style_of(optimizer_config) if optimizer_config else LEGACY
    weights = list(weights)
    shapes = [tuple(variable.shape) for variable in variables]
    scalars: dict[str, StoredTensor] = {}
    if style == KERAS_3 and is_loss_scale(optimizer_config):
        scalars, weights = _loss_scale(weights)
    iterations = None
    if (weights and _ITERATIONS.search(weights[0][0])) or _leads(weights, shapes):
        iterations = weights.pop(0)[1]
    hyperparameters: dict[str, StoredTensor] = {}
    if weights and re.search(r"(^|/)learning_rate$", weights[0][0]):
        style = KERAS_3
        hyperparameters["learning_rate"] = weights.pop(0)[1]
    entry = inner_entry(optimizer_config) if optimizer_config else {"class_name": ""}
    if plain_name(str(entry.get("class_name"))) == "Nadam":
        if style == LEGACY and weights and weights[0][1].shape == ():
            scalars[U_PRODUCT] = weights.pop(0)[1]
        elif style == KERAS_3 and weights and _UNNAMED.fullmatch(weights[-1][0]):
            scalars[U_PRODUCT] = weights.pop()[1]
        elif style == KERAS_3 and is_loss_scale(optimizer_config):
            # Within one Keras never multiplies, and doesn't count it as a variable.
            scalars[U_PRODUCT] = ArrayTensor(np.float32(1.0))
        else:
            scalars[U_PRODUCT] = nadam_u_product(
                iterations,
                entry,
                len(shapes),
                per_variable=style == NEW and not counts_steps,
                slowed=style == LEGACY,
            )
    if slots_of(str(entry.get("class_name"))) is None:
        known, rest = _named_slots(weights, variables)
        return OptimizerState(style, iterations, hyperparameters, known, scalars, rest)
    order = slot_order(optimizer_config or entry, style, shapes)
    slots = _aligned(weights, order, shapes)
    if slots is None:
        paths = [_path_of(variable) for variable in variables]
        for called in ([name.removesuffix(":0") for name in names], paths):
            if slots is None and len(called) == len(variables):
                slots = _by_name(weights, entry, style, order, called)
    if slots is None:
        if notes is not None:
            notes.append(
                Note(
                    "optimizer",
                    f"the file's {len(weights)} slots can't be assigned to the "
                    f"{len(shapes)} trainable variables, which need {len(order)}; "
                    "its state starts fresh",
                )
            )
        # So does the count of steps, as in TensorFlow: it says how far moments that
        # began at zero have come.
        return OptimizerState(style, None, hyperparameters)
    if [tuple(tensor.shape) for _, tensor in accumulated] == shapes and shapes:
        slots[ACCUMULATED] = tuple(tensor for _, tensor in accumulated)
    return OptimizerState(style, iterations, hyperparameters, slots, scalars)


def _loss_scale(
    weights: list[tuple[str, StoredTensor]],
) -> tuple[dict[str, StoredTensor], list[tuple[str, StoredTensor]]]:
    """What Keras 3's `LossScaleOptimizer` keeps before what is inside of it.

    That is a count of steps and a rate, neither of which it uses, and:
    """
    own = {"step_counter": "good_steps", "dynamic_scale": "loss_scale"}
    names = [name.rsplit("/", 1)[-1] for name, _ in weights[2:4]]
    if names != list(own):
        return {}, weights
    tensors = (tensor for _, tensor in weights[2:4])
    return dict(zip(own.values(), tensors, strict=True)), weights[4:]


def _named_slots(
    weights: Weights, variables: Sequence[Any]
) -> tuple[Slots, tuple[StoredTensor, ...]]:
    """Slots and other variables of a class without row, as `_unknown` names them."""
    paths = {_path_of(variable): i for i, variable in enumerate(variables)}
    slots: dict[str, list[StoredTensor | None]] = {}
    loose = []
    for name, tensor in weights:
        _, _, rest = name.removesuffix(":0").partition("/")
        slot, _, path = rest.partition("/")
        if path in paths and len(paths) == len(variables):
            slots.setdefault(slot, [None] * len(variables))[paths[path]] = tensor
        else:
            loose.append(tensor)
    return {name: tuple(found) for name, found in slots.items()}, tuple(loose)


def _leads(weights: Weights, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether the first weight is a counter under an unknown name.

    Keras 1 counted in floating point.
    """
    if not weights or weights[0][1].shape != ():
        return False
    return "int" in weights[0][1].dtype or () not in shapes


def _aligned(
    weights: Weights, order: list[tuple[str, int]], shapes: Sequence[tuple[int, ...]]
) -> Slots | None:
    """Assigns by order, if the file holds what the config promises.

    Multi-backend Keras and TensorFlow 1 also wrote slots that nobody used (momentum
    of plain SGD, `vhat` of Adam without amsgrad): they come last, or are all there is.
    """
    surplus = len(weights) - len(order)
    if surplus < 0 or surplus not in (0, len(shapes)):
        return None
    slots: dict[str, list[StoredTensor | None]] = {}
    for (name, index), (_, tensor) in zip(order, weights, strict=False):
        if name not in OTHER_SHAPES and tuple(tensor.shape) != shapes[index]:
            return None
        slots.setdefault(name, [None] * len(shapes))[index] = tensor
    return {name: tuple(found) for name, found in slots.items()}


def _split_name(name: str, style: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Slot and path of the variable out of a slot variable's name."""
    parts = name.removesuffix(":0").split("/")
    if style == LEGACY:
        return known.get(parts[-1], ""), "/".join(parts[:-1])
    for index, part in enumerate(parts[:2]):
        if part in known:
            return known[part], "/".join(parts[index + 1 :])
    return "", ""


def _by_name(
    weights: Weights,
    entry: Entry,
    style: str,
    order: list[tuple[str, int]],
    paths: Sequence[str],
) -> Slots | None:
    """Assigns by the variable's path in the slot's name, if all are unambiguous."""
    known = {name: name for name, _ in order}
    if style == LEGACY:
        rows = slots_of(str(entry["class_name"])) or ()
        known = {s.legacy: s.name for s in rows if s.legacy and s.name in known}
    if len(set(paths)) != len(paths) or not all(paths):
        return None
    slots: dict[str, list[StoredTensor | None]] = {
        name: [None] * len(paths) for name, _ in order
    }
    for name, tensor in weights:
        slot, path = _split_name(name, style, known)
        matches = [
            i
            for i, p in enumerate(paths)
            if path == p or (style == LEGACY and path.endswith("/" + p))
        ]
        if not slot:
            return None
        if matches:
            longest = max(matches, key=lambda i: len(paths[i]))
            if slots[slot][longest] is not None:
                return None
            slots[slot][longest] = tensor
    return {name: tuple(found) for name, found in slots.items()}


def _path_of(variable: Any) -> str:
    path = getattr(variable, "path", None) or getattr(variable, "name", "")
    return str(path).removesuffix(":0")


def nadam_u_product(
    iterations: StoredTensor | None,
    entry: Entry,
    variable_count: int,
    *,
    per_variable: bool,
    slowed: bool = False,
) -> StoredTensor:
    """The product of Nadam's momenta after so many steps, which no file holds.

    Args:
        iterations: Steps done.
        entry: Config of the optimizer.
        variable_count: Number of trainable variables.
        per_variable: Whether it is Keras 2's, see `keras2.optimizers.Nadam`.
        slowed: Whether `decay` slows the schedule, see `optimizers_legacy.Nadam`.
    """
    steps = 0 if iterations is None else int(np.ravel(iterations.read())[0])
    config = entry.get("config") or {}
    beta_1 = np.float32(config.get("beta_1", 0.9))
    pace = np.float32(1.0)
    if slowed:
        pace = np.float32(config.get("schedule_decay", config.get("decay", 0.004)))
    product = np.float32(1.0)
    for step in range(steps):
        power = np.float32(0.96) ** np.float32(pace * (step + 1))
        momentum = beta_1 * np.float32(1.0 - 0.5 * power)
        times = 1
        if per_variable:
            spared = 0 <= step + 1 - variable_count < variable_count
            times = variable_count - spared
        for _ in range(times):
            product = np.float32(product * momentum)
        if product == 0.0:
            break
    return ArrayTensor(product)


def state_to_hdf5(
    state: OptimizerState,
    optimizer_config: Entry,
    variable_names: Sequence[str],
) -> list[tuple[str, StoredTensor]]:
    """Writes a state in the order in which the config's optimizer reads it.

    Args:
        state: Slots in the order of `variable_names`.
        optimizer_config: What the file's training config will say.
        variable_names: Names of the trainable variables in Keras 2, such as
            `"dense/kernel"`, with or without `":0"`.
    """
    entry = inner_entry(optimizer_config)
    style = style_of(entry)
    config = entry.get("config") or {}
    scope = str(config.get("name") or plain_name(str(entry["class_name"])))
    names = [name.removesuffix(":0") for name in variable_names]
    found: list[tuple[str, StoredTensor]] = []
    if state.iterations is not None:
        head = f"{scope}/iter" if style == LEGACY else "iteration"
        found.append((head, as_int64(state.iterations)))
    if style == KERAS_3 and "learning_rate" in state.hyperparameters:
        found.append((f"{scope}/learning_rate", state.hyperparameters["learning_rate"]))
    if style == LEGACY and U_PRODUCT in state.scalars and state.slots:
        found.append((f"{scope}/momentum_cache", state.scalars[U_PRODUCT]))
    if slots_of(str(entry["class_name"])) is None:
        found += _unknown(state, scope, names)
    else:
        found += _known(state, optimizer_config, style, scope, names)
    if style == KERAS_3:
        product = state.scalars.get(U_PRODUCT)
        return found if product is None else [*found, ("variable", product)]
    return [(f"{name}:0", tensor) for name, tensor in _distinct(found)]


def accumulated_to_hdf5(
    state: OptimizerState, optimizer_config: Entry, variable_names: Sequence[str]
) -> list[tuple[str, StoredTensor]]:
    """What `gradient_accumulation_steps` has summed so far, one tensor per variable.

    Optimizers of Keras 2 accumulate nothing, and refuse a list of weights with more
    than their own: it goes beside that list. Arguments are those of `state_to_hdf5`.
    """
    entry = inner_entry(optimizer_config)
    found = state.slots.get(ACCUMULATED, ())
    within = style_of(entry) == KERAS_3 or slots_of(str(entry["class_name"])) is None
    if within or len(found) != len(variable_names):
        return []
    known = [tensor for tensor in found if tensor is not None]
    if len(known) != len(found):
        return []
    return list(zip(variable_names, known, strict=True))


def as_int64(tensor: StoredTensor) -> StoredTensor:
    """A counter as TensorFlow keeps it; Keras on JAX has int32."""
    return ArrayTensor(np.asarray(tensor.read(), np.int64))


def _known(
    state: OptimizerState, entry: Entry, style: str, scope: str, names: list[str]
) -> list[tuple[str, StoredTensor]]:
    rows = slots_of(str(inner_entry(entry)["class_name"])) or ()
    legacy = {**AROUND_SLOTS, **{row.name: row.legacy for row in rows}}
    shapes = shapes_of(state, len(names))
    found = []
    for slot, index in slot_order(entry, style, shapes):
        tensor = state.slots.get(slot, (None,) * len(names))[index]
        if tensor is None:
            # A reader assigns by order, so nothing may follow what is missing.
            break
        if style == LEGACY:
            name = f"{scope}/{names[index]}/{legacy[slot]}"
        else:
            name = f"{scope}/{slot}/{names[index]}"
        found.append((name, tensor))
    return found


def shapes_of(state: OptimizerState, count: int) -> list[tuple[int, ...]]:
    """Shapes of the variables, as far as the slots tell."""
    shapes: list[tuple[int, ...]] = [()] * count
    for name, found in state.slots.items():
        if name not in OTHER_SHAPES:
            for index, tensor in enumerate(found):
                if tensor is not None:
                    shapes[index] = tuple(tensor.shape)
    return shapes


def _unknown(
    state: OptimizerState, scope: str, names: list[str]
) -> list[tuple[str, StoredTensor]]:
    found = [
        (f"{scope}/{slot}/{names[index]}", tensor)
        for slot, tensors in state.slots.items()
        for index, tensor in enumerate(tensors)
        if tensor is not None
    ]
    loose = enumerate(state.loose)
    return found + [(f"{scope}/variable_{i}", tensor) for i, tensor in loose]


def _distinct(
    found: list[tuple[str, StoredTensor]],
) -> list[tuple[str, StoredTensor]]:
    """Numbers names that come again; datasets need names of their own."""
    seen: dict[str, int] = {}
    distinct = []
    for name, tensor in found:
        again = seen.get(name, 0)
        seen[name] = again + 1
        distinct.append((f"{name}_{again}" if again else name, tensor))
    return distinct
