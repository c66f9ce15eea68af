"""Compiles a loaded model as its file says, with the optimizer's state."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.loading import restore
from regraft.loading.report import LoadReport
from regraft.loading.revived_layer import RevivedModel
from regraft.model.compile import build_compile_arguments, build_keras3_compile
from regraft.model.compile.targets import see_as_keras2
from regraft.model.description import ModelDescription
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.weight_layouts import Placed, RawWeight
from regraft.model.keras2.sparse_rows import clip_single_rows
from regraft.model.optimizers import (
    OptimizerState,
    build_optimizer,
    decays,
    inner_optimizer,
    is_unbuilt,
    linear_without_rate,
    plan_restore,
    slots_of_variables,
    spare_from_decay,
    state_from_hdf5,
    state_from_object_graph,
)
from regraft.model.optimizers.slots import U_PRODUCT
from regraft.model.ordering import is_overwritten, trainable_variables
from regraft.model.state_tree import state_tree
from regraft.storage.tensor import ArrayTensor, StoredTensor


def compile_model(
    model: keras.Model,
    description: ModelDescription,
    plan: restore.RestorePlan,
    context: BuildContext,
    report: LoadReport,
) -> dict[int, int]:
    """Compiles a model and gives its optimizer the file's state.

    What can't be kept becomes a note; the weights are never held back by it.

    Returns:
        How many of the optimizer's slots each variable, by its id, got from the file.
    """
    try:
        arguments = _arguments(model, description, context)
    # Whatever is wrong with the compile arguments, the weights are not held back.
    except Exception as error:
        text = str(error) or type(error).__name__
        context.note("compile", f"the model came back uncompiled: {text}")
        return {}
    if arguments is None:
        if _holds_slots(description):
            text = "the file holds an optimizer's state, but not its class or a loss"
            context.note("compile", f"the model came back uncompiled: {text}")
        return {}
    model.compile(**arguments)
    report.compiled = True
    if (
        isinstance(model, RevivedModel)
        and arguments.get("loss") is None
        and not model.adds_losses
        and not model.losses
    ):
        context.note(
            "compile",
            "the file has no loss, and the model's functions add none: its class took "
            "steps of its own, which are in no function. Steps here train nothing; "
            "compile it with a loss, or pass its class",
        )
    if context.dialect.computes_as_keras2:
        see_as_keras2(model)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return {}
    _clip_rows(optimizer, model, description, context)
    _spare(optimizer, model, description, context)
    in_order = trainable_in_file_order(description, plan)
    given = _restore_optimizer(optimizer, model, description, in_order, plan, context)
    report.optimizer = _summary(optimizer, given)
    return {} if given is None else _slots_given(optimizer, given)


def restore_optimizer(
    model: keras.Model,
    description: ModelDescription,
    plan: restore.RestorePlan,
    context: BuildContext,
) -> None:
    """Gives the optimizer of a compiled model the state that a checkpoint has.

    What can't be given becomes a note. Without one on either side, nothing happens.
    """
    optimizer = getattr(model, "optimizer", None)
    objects = description.objects
    if optimizer is None or objects is None or objects.root.child("optimizer") is None:
        return
    # The file has no list of what is trained; it is that of the model's code.
    variables = trainable_variables(state_tree(model))
    known = plan.node_ids()
    if all(id(variable) in known for variable in variables):
        _restore_optimizer(optimizer, model, description, variables, plan, context)
    else:
        text = "some of the model's weights are not in the file; it keeps its state"
        context.note("optimizer", text)


def _clip_rows(
    optimizer: keras.Optimizer,
    model: keras.Model,
    description: ModelDescription,
    context: BuildContext,
) -> None:
    """Clips gradients of tables as TensorFlow does, or says that they are not."""
    dialect = context.dialect
    inner = inner_optimizer(optimizer)
    names = ("clipvalue", "clipnorm", "global_clipnorm")
    clips = [name for name in names if getattr(inner, name, None) is not None]
    if dialect.generation < 3 and not dialect.tensorflow:
        # The multi-backend Keras made tables' gradients dense to take their norm.
        single = not dialect.theano and "clipvalue" in clips
    else:
        single = dialect.tensorflow or bool(description.extra.get("clips_single_rows"))
    if clips and single and not clip_single_rows(model, optimizer):
        context.note(
            "optimizer",
            "TensorFlow clips the gradient of an Embedding before it adds up what "
            "falls to the same row, here it is clipped after that",
        )


def _spare(
    optimizer: keras.Optimizer,
    model: keras.Model,
    description: ModelDescription,
    context: BuildContext,
) -> None:
    """Spares variables from weight decay again, or says that all decay."""
    if not decays(optimizer):
        return
    spared = description.extra.get("spared_from_decay")
    if spared is None and description.extra.get("keras_version"):
        return
    edges = dict(state_tree(model).edges())
    if isinstance(spared, list) and all(
        isinstance(edge, str) and edge in edges for edge in spared
    ):
        spare_from_decay(optimizer, [edges[edge] for edge in spared])
        return
    context.note(
        "optimizer",
        "its weight decay falls on all weights: the file doesn't say which of them "
        "`exclude_from_weight_decay` took out, if any",
    )


def _holds_slots(description: ModelDescription) -> bool:
    if description.objects is None:
        return False
    node = description.objects.root.child("optimizer")
    return node is not None and bool(node.slot_variables)


def _arguments(
    model: keras.Model, description: ModelDescription, context: BuildContext
) -> dict[str, Any] | None:
    exact = description.extra.get("compile_config")
    if exact:
        return build_keras3_compile(exact, model, context)
    training_config = description.training_config
    if not training_config:
        return None
    arguments = build_compile_arguments(training_config, model, context)
    if "optimizer" not in arguments:
        config = training_config.get("optimizer_config")
        arguments["optimizer"] = build_optimizer(config, context) if config else None
    return arguments


def _restore_optimizer(
    optimizer: keras.Optimizer,
    model: keras.Model,
    description: ModelDescription,
    in_order: Sequence[keras.Variable],
    plan: restore.RestorePlan,
    context: BuildContext,
) -> restore.RestorePlan | None:
    """What the optimizer got from the file; `None` where the file has no state."""
    trained = {id(variable) for variable in model.trainable_variables}
    variables = [variable for variable in in_order if id(variable) in trained]
    state = _read_state(optimizer, description, plan, variables, context)
    if state is None:
        if variables:
            context.note("optimizer", "its state is not in the file; it starts fresh")
        return None
    if context.dialect.ftrl_linear_has_the_rate:
        state = linear_without_rate(state, optimizer, context.notes)
    # Keras hands gradients over by their place in `model.trainable_variables`, which
    # may not be the file's order.
    builds = not is_unbuilt(state)
    if builds and not _compat.builds_deferred(optimizer):
        optimizer.build(model.trainable_variables)
    with _compat.deferred_variables() as values:
        if builds and not optimizer.built:
            optimizer.build(model.trainable_variables)
        pairs = plan_restore(optimizer, variables, state, context.notes)
        found = restore.RestorePlan(
            [
                restore.Assignment(variable, tensor, f"optimizer/{variable.path}")
                for variable, tensor in pairs
            ]
        )
        restore.apply(found, values, path=description.path)
    return found


def _summary(optimizer: keras.Optimizer, given: restore.RestorePlan | None) -> str:
    name = type(optimizer).__name__
    if given is None:
        return f"{name}: fresh"
    values = len(given.assignments)
    return f"{name}: {values} values, iteration {int(optimizer.iterations)}"


def _slots_given(
    optimizer: keras.Optimizer, given: restore.RestorePlan
) -> dict[int, int]:
    if not optimizer.built:
        return {}
    filled = {id(item.variable) for item in given.assignments}
    return {
        key: sum(id(slot) in filled for slot in slots)
        for key, slots in slots_of_variables(optimizer).items()
    }


def trainable_in_file_order(
    description: ModelDescription, plan: restore.RestorePlan
) -> list[keras.Variable]:
    """Trainable variables as the Keras that wrote the file ordered them."""
    live = [item.variable for item in _trained(plan)]
    root = description.objects.root if description.objects is not None else None
    listed = root.child("trainable_variables") if root is not None else None
    if listed is None:
        return live
    by_node = {item.node_id: item.variable for item in plan.assignments}
    ordered = [by_node.get(item.node_id) for item in listed.items()]
    exact = [variable for variable in ordered if variable is not None]
    same = {id(v) for v in exact} == {id(v) for v in live} and len(exact) == len(
        ordered
    )
    return exact if same else live


def _trained(plan: restore.RestorePlan) -> list[restore.Assignment]:
    """What trainable variables get, once each: HDF5 has a shared layer's twice.

    Scales of float8, which training overwrites, have no slots.
    """
    found: dict[int, restore.Assignment] = {}
    for item in plan.assignments:
        if item.variable.trainable and not is_overwritten(item.variable):
            found.setdefault(id(item.variable), item)
    return list(found.values())


def _read_state(
    optimizer: keras.Optimizer,
    description: ModelDescription,
    plan: restore.RestorePlan,
    variables: list[keras.Variable],
    context: BuildContext,
) -> OptimizerState | None:
    if description.objects is not None:
        node = description.objects.root.child("optimizer")
        if node is None:
            return None
        node_ids = plan.node_ids()
        return state_from_object_graph(
            node,
            [node_ids[id(variable)] for variable in variables],
            description.objects.nodes,
            context.notes,
        )
    if description.optimizer_weights is None:
        return None
    config = _optimizer_config(description)
    placed = [item.placed for item in _trained(plan)]
    laid_out = [item for item in placed if item is not None]
    by_name = context.dialect.slots_are_sorted_by_name
    read = functools.partial(
        state_from_hdf5,
        description.optimizer_weights,
        config,
        notes=context.notes,
        counts_steps=type(inner_optimizer(optimizer)) is keras.optimizers.Nadam,
        accumulated=description.accumulated_gradients,
    )
    places = [part.position for item in laid_out for part in item.parts]
    plain = all(item.convert is None for item in laid_out)
    if not by_name and plain and places == sorted(places):
        names = {id(item.variable): _name_in_file(item.parts[0]) for item in laid_out}
        state = read(variables, names=[names.get(id(v), "") for v in variables])
    else:
        raw = _raw_weights(laid_out, by_name=by_name)
        called = [_name_in_file(part) for part in raw]
        state = _laid_out(read(raw, names=called), raw, laid_out)
    return _with_loss_scale(_with_product(state, description), description)


def _with_product(
    state: OptimizerState, description: ModelDescription
) -> OptimizerState:
    """Takes Nadam's product of momenta where the number of steps doesn't tell it."""
    product = description.extra.get(U_PRODUCT)
    if not isinstance(product, float):
        return state
    return replace(
        state, scalars={**state.scalars, U_PRODUCT: ArrayTensor(np.float32(product))}
    )


def _with_loss_scale(
    state: OptimizerState, description: ModelDescription
) -> OptimizerState:
    """Adds the loss scale, which Keras 2 has no place for in HDF5."""
    found = description.extra.get("loss_scale")
    if not isinstance(found, dict):
        return state
    try:
        scale, steps = float(found["loss_scale"]), np.int32(found["good_steps"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return state
    scalars = {
        "loss_scale": ArrayTensor(np.float32(scale)),
        "good_steps": ArrayTensor(steps),
    }
    return replace(state, scalars={**scalars, **state.scalars})


def _raw_weights(placed: Sequence[Placed], *, by_name: bool) -> list[RawWeight]:
    """The file's own trainable weights, in the order of its optimizer."""
    found = {part.position: part for item in placed for part in item.parts}
    if by_name:
        names = {key: _name_in_file(part) for key, part in found.items()}
        return [found[key] for key in sorted(found, key=lambda key: names[key])]
    return [found[position] for position in sorted(found)]


def _name_in_file(weight: RawWeight) -> str:
    """What Keras 2 called the variable, without the layer that heads its list."""
    return weight.path.split("/", 1)[-1]


def _laid_out(
    state: OptimizerState, raw: Sequence[RawWeight], placed: Sequence[Placed]
) -> OptimizerState:
    """What is kept for the file's weights as what is kept for the model's."""
    index = {weight.position: place for place, weight in enumerate(raw)}
    slots: dict[str, tuple[StoredTensor | None, ...]] = {}
    for name, tensors in state.slots.items():
        column: list[StoredTensor | None] = []
        for item in placed:
            parts = [tensors[index[part.position]] for part in item.parts]
            known = [part for part in parts if part is not None]
            whole = len(known) == len(parts)
            column.append(item.lay_out(known) if whole else None)
        slots[name] = tuple(column)
    return replace(state, slots=slots)


def _optimizer_config(description: ModelDescription) -> Mapping[str, Any]:
    training_config = description.training_config or {}
    config = training_config.get("optimizer_config")
    return config if isinstance(config, dict) else {}
