"""An optimizer's state in the object graph of a SavedModel.

```
since 2.11   optimizer/_iterations, _learning_rate | _current_learning_rate
                       _variables/0, /1, …        iterations, then as in HDF5
                       _momentums/0, /1, …        the same nodes, by slot
                       _model_variables_moving_average/0, …, _u_product
OptimizerV2  optimizer/iter, learning_rate, decay, beta_1, …, momentum_cache
                       slot records: (variable's node, slot name, slot's node)
Lookahead    optimizer/iter, sync_period, slow_step_size; the slot `slow`;
             lh_base_optimizer/learning_rate, … and the slots of the inner one
SWA          optimizer/iter; the slot `average`; awg_optimizer/learning_rate, … and
             the slots of the inner one; MovingAverage as well
mixed        the same and optimizer/loss_scale/current_loss_scale, good_steps;
             up to 2.2 the optimizer proper is the child base_optimizer, which
             is empty afterwards
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regraft.model.description import ObjectNode, Variable
from regraft.model.dialects.context import Note
from regraft.model.optimizers.hdf5 import as_int64, shapes_of, slot_order
from regraft.model.optimizers.slots import (
    AROUND_SLOTS,
    COMMON_SLOTS,
    U_PRODUCT,
    slots_of,
)
from regraft.model.optimizers.state import OptimizerState, Slots
from regraft.model.optimizers.style import (
    AROUND,
    INNER_CHILDREN,
    LEGACY,
    NEW,
    Entry,
    around_of,
    inner_entry,
    style_of,
)
from regraft.storage.tensor import ArrayTensor, StoredTensor

_ITERATIONS = ("_iterations", "iter", "iterations")
_PRODUCTS = ("_u_product", "momentum_cache")
_RATES = ("_learning_rate", "learning_rate")
_NOT_HYPERPARAMETERS = {*_ITERATIONS, *_PRODUCTS, *_RATES, "_current_learning_rate"}
_NOT_SLOTS = {"_variables", "_index_dict", "loss_scale", "_trainable_variables"}

# Those of `OptimizerV2` that are variables.
_LEGACY_HYPERPARAMETERS = (
    "decay",
    "momentum",
    "beta_1",
    "beta_2",
    "rho",
    "learning_rate_power",
    "l1_regularization_strength",
    "l2_regularization_strength",
    "beta",
)

Tree = dict[str, Any]
SlotRecord = tuple[int, str, StoredTensor]


def state_from_object_graph(
    node: ObjectNode,
    trainable_ids: Sequence[int],
    nodes: Sequence[ObjectNode | Variable] | None = None,
    notes: list[Note] | None = None,
) -> OptimizerState:
    """Reads the node of an optimizer.

    Slots keep the names that they have in the graph; `plan_restore` knows them.

    Args:
        node: Of the optimizer.
        trainable_ids: Node ids of the trainable variables, in Keras 2's order.
        nodes: All nodes of the graph, in which slot records are looked up.
        notes: Told what can't be assigned to a variable.
    """
    scalars: dict[str, StoredTensor] = {}
    scale = node.child("loss_scale")
    if scale is not None:
        _put(scalars, "loss_scale", scale, ("current_loss_scale",))
        _put(scalars, "good_steps", scale, ("good_steps",))
    records = node.slot_variables
    base = node.child("base_optimizer")
    if base is not None:
        records = records + base.slot_variables
        # Of later versions it is empty, and all is of the node around it.
        node = base if base.children else node
    iterations: dict[str, StoredTensor] = {}
    _put(iterations, "iterations", node, _ITERATIONS)
    for child in INNER_CHILDREN & node.children.keys():
        inner = node.child(child)
        if inner is not None:
            records = records + inner.slot_variables
            node = inner
    _put(scalars, U_PRODUCT, node, _PRODUCTS)
    hyperparameters: dict[str, StoredTensor] = {}
    _put(hyperparameters, "learning_rate", node, _RATES)
    legacy = "iter" in node.children or bool(records)
    if legacy:
        for name in node.children:
            if name not in _NOT_HYPERPARAMETERS:
                _put(hyperparameters, name, node, (name,))
        slots = _recorded(records, trainable_ids, nodes or ())
        lists = {key: node.children[key] for key in COMMON_SLOTS & node.children.keys()}
    else:
        slots, lists = {}, node.children
    slots |= _listed(lists, trainable_ids, nodes or (), notes)
    return OptimizerState(
        LEGACY if legacy else NEW,
        iterations.get("iterations"),
        hyperparameters,
        slots,
        scalars,
        () if slots else _loose(node),
    )


def _put(
    found: dict[str, StoredTensor], name: str, node: ObjectNode, children: Sequence[str]
) -> None:
    for child in children:
        variable = node.variable(child)
        if variable is not None and variable.value is not None:
            found.setdefault(name, variable.value)


def _recorded(
    records: Sequence[Any],
    trainable_ids: Sequence[int],
    nodes: Sequence[ObjectNode | Variable],
) -> Slots:
    places = {node_id: index for index, node_id in enumerate(trainable_ids)}
    slots: dict[str, list[StoredTensor | None]] = {}
    for record in records:
        index = places.get(record.original_variable_node_id)
        if index is None or not 0 <= record.slot_variable_node_id < len(nodes):
            continue
        slot = nodes[record.slot_variable_node_id]
        if isinstance(slot, Variable):
            found = slots.setdefault(record.slot_name, [None] * len(trainable_ids))
            found[index] = slot.value
    return {name: tuple(found) for name, found in slots.items()}


def _listed(
    lists: Mapping[str, Any],
    trainable_ids: Sequence[int],
    nodes: Sequence[ObjectNode | Variable],
    notes: list[Note] | None,
) -> Slots:
    slots: Slots = {}
    for name, child in lists.items():
        if not isinstance(child, ObjectNode) or name in _NOT_SLOTS:
            continue
        items = {
            int(index): item
            for index, item in child.children.items()
            if isinstance(item, Variable) and index.isdecimal()
        }
        if not items:
            continue
        aligned = _aligned(items, trainable_ids, nodes)
        if aligned is None:
            if notes is not None:
                text = (
                    f"the file's {len(items)} slots '{name}' can't be assigned to the "
                    f"{len(trainable_ids)} trainable variables; they start fresh"
                )
                notes.append(Note("optimizer", text))
            continue
        slots[COMMON_SLOTS.get(name, name)] = aligned
    return slots


def _aligned(
    items: Mapping[int, Variable],
    trainable_ids: Sequence[int],
    nodes: Sequence[ObjectNode | Variable],
) -> tuple[StoredTensor | None, ...] | None:
    """Values by trainable variable: in order, else by the path in the slot's name."""
    count = len(trainable_ids)
    named = _named(items, trainable_ids, nodes)
    in_order = max(items) + 1 == count
    if in_order and (named is None or None in named):
        found = [items.get(index) for index in range(count)]
        return tuple(None if item is None else item.value for item in found)
    return named


def _named(
    items: Mapping[int, Variable],
    trainable_ids: Sequence[int],
    nodes: Sequence[ObjectNode | Variable],
) -> tuple[StoredTensor | None, ...] | None:
    """Values by trainable variable, as the paths in the slots' names say.

    What a step of the user's own hands to the optimizer is in an order of its own.
    """
    if not nodes:
        return None
    paths = [_path(nodes[node_id]) for node_id in trainable_ids]
    if len(set(paths)) != len(paths):
        return None
    slots: dict[str, StoredTensor | None] = {}
    for item in items.values():
        parts = _path(item).split("/")
        matches = [p for p in paths if p in ("/".join(parts[1:]), "/".join(parts[2:]))]
        if len(matches) > 1 or (matches and matches[0] in slots):
            return None
        if matches:
            slots[matches[0]] = item.value
    return tuple(slots.get(path) for path in paths) if slots else None


def _path(node: ObjectNode | Variable) -> str:
    return node.name.removesuffix(":0") if isinstance(node, Variable) else ""


def _loose(node: ObjectNode) -> tuple[StoredTensor, ...]:
    listed = node.child("_variables")
    if listed is None:
        return ()
    counter = node.variable("_iterations")
    return tuple(
        item.value
        for item in listed.items()
        if isinstance(item, Variable) and item is not counter and item.value is not None
    )


def describe_optimizer_state(
    state: OptimizerState,
    variables: Sequence[Any],
    optimizer_config: Entry | None = None,
) -> tuple[Tree, list[SlotRecord]]:
    """What tf_keras restores an optimizer from.

    A tensor that stands in two places of the tree is one object, and should become
    one node.

    Args:
        state: Slots in the order of `variables`.
        variables: The trainable variables, in Keras 2's order.
        optimizer_config: What the training config says; that of the state else.

    Returns:
        The optimizer's children (tensor, list or dict by name), and its slots as
        (index of the variable, slot name, value). Of one around another (`AROUND`)
        all but its own are slots of its child.
    """
    entry = optimizer_config or state.optimizer_config or {"class_name": ""}
    inner = inner_entry(entry)
    if style_of(inner) == LEGACY:
        tree, records = _legacy_tree(state, inner)
        around = around_of(entry)
        if around is not None:
            tree = _tree_around(tree, around, entry.get("config") or {})
    else:
        tree, records = _new_tree(state, inner, len(variables)), []
    if "loss_scale" in state.scalars:
        tree["loss_scale"] = {
            "current_loss_scale": state.scalars["loss_scale"],
            "good_steps": as_int64(state.scalars["good_steps"]),
        }
    return tree, records


def _legacy_tree(state: OptimizerState, entry: Entry) -> tuple[Tree, list[SlotRecord]]:
    tree: Tree = {}
    if state.iterations is not None:
        tree["iter"] = as_int64(state.iterations)
    tree |= _legacy_hyperparameters(state, entry.get("config") or {})
    if U_PRODUCT in state.scalars:
        tree["momentum_cache"] = state.scalars[U_PRODUCT]
    for child, slot in COMMON_SLOTS.items():
        if slot in state.slots:
            tree[child] = _present(state.slots[slot])
    names = {s.name: s.legacy for s in slots_of(str(entry["class_name"])) or ()}
    names |= AROUND_SLOTS
    records = [
        (index, names[slot] or slot, tensor)
        for slot, found in state.slots.items()
        if slot in names
        for index, tensor in enumerate(found)
        if tensor is not None
    ]
    return tree, records


def _tree_around(inner: Tree, around: str, config: Mapping[str, Any]) -> Tree:
    tree: Tree = {
        AROUND[around].child: {k: item for k, item in inner.items() if k != "iter"}
    }
    if around == "Lookahead":
        tree["sync_period"] = ArrayTensor(np.int64(config["sync_period"]))
        tree["slow_step_size"] = ArrayTensor(np.float32(config["slow_step_size"]))
    return {**tree, "iter": inner["iter"]} if "iter" in inner else tree


def _legacy_hyperparameters(
    state: OptimizerState, config: Mapping[str, Any]
) -> dict[str, StoredTensor]:
    found = dict(state.hyperparameters)
    for name in _LEGACY_HYPERPARAMETERS:
        value = config.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.setdefault(name, ArrayTensor(np.float32(value)))
    return found


def _new_tree(state: OptimizerState, entry: Entry, count: int) -> Tree:
    tree: Tree = {}
    listed: list[StoredTensor] = []
    if state.iterations is not None:
        iterations = as_int64(state.iterations)
        tree["_iterations"] = iterations
        listed.append(iterations)
    if "learning_rate" in state.hyperparameters:
        tree["_learning_rate"] = state.hyperparameters["learning_rate"]
    rows = slots_of(str(entry["class_name"]))
    if rows is None:
        tree |= {name: _present(found) for name, found in state.slots.items()}
        listed += [t for found in state.slots.values() for t in found if t is not None]
        listed += state.loose
        return {**tree, "_variables": listed}
    if U_PRODUCT in state.scalars:
        tree["_u_product"] = state.scalars[U_PRODUCT]
    children = {slot.name: slot.child for slot in rows}
    children |= {name: child for child, name in COMMON_SLOTS.items()}
    for name, found in state.slots.items():
        if name in children:
            tree[children[name]] = _with_placeholders(name, found)
    nothing: tuple[StoredTensor | None, ...] = (None,) * count
    for slot, index in slot_order(entry, NEW, shapes_of(state, count)):
        tensor = state.slots.get(slot, nothing)[index]
        if tensor is None:
            break  # Readers go by the place in the list.
        listed.append(tensor)
    return {**tree, "_variables": listed}


def _present(found: Sequence[StoredTensor | None]) -> dict[str, StoredTensor]:
    return {str(i): tensor for i, tensor in enumerate(found) if tensor is not None}


def _with_placeholders(
    name: str, found: Sequence[StoredTensor | None]
) -> dict[str, StoredTensor]:
    """A list of slots as children; Adafactor has numbers where it has no slot."""
    if name in ("r", "c"):
        found = [ArrayTensor(np.int32(0)) if t is None else t for t in found]
    return _present(found)
