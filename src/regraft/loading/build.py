"""`ModelDescription` → live `keras.Model` in the exact same state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.errors import (
    FormatError,
    MismatchError,
    UnknownNameError,
    UnsupportedError,
    plain,
)
from regraft.graph.runtime.context import kept_on_the_host
from regraft.loading import report as reports
from regraft.loading import restore
from regraft.loading.behaviour import let_behave_as_saved
from regraft.loading.constraints import constrain_again
from regraft.loading.extras import add_extras, add_losses
from regraft.loading.frozen import (
    freeze_directions,
    freeze_unknown,
    train_as_saved,
)
from regraft.loading.functions import FunctionStore
from regraft.loading.host_state import HostState, check_vocabularies, fill_stored
from regraft.loading.inner_names import restore_inner_names, restore_paths
from regraft.loading.low_rank import add_low_rank_updates
from regraft.loading.namesakes import find_lookalikes, find_namesakes
from regraft.loading.optimizer import compile_model
from regraft.loading.own_functions import give_functions
from regraft.loading.places import with_nodes
from regraft.loading.revive import MODELS, Reviver
from regraft.loading.revived_layer import Revived, RevivedModel
from regraft.loading.shapes import (
    build_activations,
    build_from_spec,
    is_built,
    stored_shape,
    takes_text,
)
from regraft.loading.shared_in_hdf5 import build_with_shared_layers
from regraft.loading.verify import check_layers, check_tensors
from regraft.loading.whole import difference_of_whole
from regraft.model.description import ModelDescription
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.dialect import OF_TENSORFLOW_2_0_AND_1, Dialect
from regraft.model.dialects.layers import find_layer_class
from regraft.model.dialects.names import (
    LayerFinder,
    original_name,
    remember_name,
)
from regraft.model.dialects.registry import find_custom
from regraft.model.dialects.topology import build_layer, build_network, is_network
from regraft.model.dialects.weight_layouts import writer_of
from regraft.model.keras2.masked_metrics import show_masks_to_metrics
from regraft.model.metadata import has_config
from regraft.model.state_tree import StateNode, state_tree
from regraft.options import LoadOptions


@kept_on_the_host()
def build_model(
    description: ModelDescription,
    *,
    custom_objects: Mapping[str, Any] | None,
    compile: bool,
    safe_mode: bool,
    options: LoadOptions,
) -> keras.Model:
    """Builds the model that a description holds.

    No initializer runs: each variable starts with its value of the file.

    Args:
        description: What was read.
        custom_objects: The caller's classes and functions by name.
        compile: Whether to compile the model as the file says.
        safe_mode: False lets Keras `Lambda` bytecode be loaded.
        options: See `LoadOptions`.

    Raises:
        UnknownNameError: The file names a class that nobody knows.
        MismatchError: It holds weights alone, or no value for a variable, or one of
            another shape.
    """
    if description.config is None:
        raise MismatchError(
            f"No model config found in '{description.path}': it holds weights alone. "
            "Build the model and give it to `regraft.load_weights(model, filepath)`."
        )
    context = BuildContext(
        dialect_of(description),
        custom_objects={**_compat.objects_in_scope(), **(custom_objects or {})},
        safe_mode=safe_mode,
        stored_shape=partial(stored_shape, description),
    )
    model, plan = build_with_shared_layers(
        description, partial(_build_with_values, context=context, options=options)
    )
    finalize(model)
    _find_by_original_names(model)
    let_behave_as_saved(model, description, plan, context, options)
    _restore_random_state(model, description)
    report = reports.LoadReport(description.path, description.written_by)
    slots = {}
    if compile:
        slots = compile_model(model, description, plan, context, report)
    if context.dialect.computes_as_keras2:
        show_masks_to_metrics(model)
    _fill_report(report, model, plan, slots, context)
    if options.verify:
        _verify(report, model, description, plan, options)
    reports.remember(model, report)
    return model


def dialect_of(description: ModelDescription) -> Dialect:
    """The Keras in whose words the config is: Keras 3's where Regraft added them."""
    extra = description.extra
    if extra.get("config"):
        dialect = Dialect.from_keras_version(extra["keras_version"])
        return dataclasses.replace(
            dialect,
            was_keras2=bool(extra.get("computes_as_keras2")),
            summed_activity=bool(extra.get("summed_activity")),
        )
    return writer_in(description)


_IN_A_CALL = "Exception encountered when calling"


class _NeedsTraces(Exception):
    """A network can't be made of its layers, though its file holds traces of it."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _build_with_values(
    description: ModelDescription, context: BuildContext, options: LoadOptions
) -> tuple[keras.Model, restore.RestorePlan]:
    _begin_again(context)
    network = None
    try:
        network = _build_deferred(description, context, options)
    except _NeedsTraces as error:
        reason = error.reason
        why = "its layers can't be called as they were: "
        if isinstance(reason, UnknownNameError):
            why = "a layer has no functions of its own: "
        why += _first_line(reason)
    except MismatchError as error:
        if not context.unknown_networks:
            raise
        name = context.unknown_networks[0]
        reason = MismatchError(
            f"{error} Pass {name!r}, its class, in `custom_objects`."
        )
        why = f"its layers have other weights: {_first_line(error)}".rstrip(":")
    if network is not None:
        difference = difference_of_whole(
            network[0], description, network[1], context, options
        )
        if difference is None:
            return network
        why = "made of its layers it computes otherwise: " + difference
    notes = list(context.notes)
    _begin_again(context)
    try:
        model, plan = _build_deferred(description, context, options, from_traces=True)
        if not isinstance(model, RevivedModel):
            raise TypeError("It is a layer.")
    except (ValueError, NotImplementedError, TypeError):
        if network is None:
            raise reason from None
        context.notes[:] = notes
        context.note(f"model {original_name(network[0])!r}", why)
        return network
    context.note(
        f"model {original_name(model)!r}",
        f"runs as a whole from its traced functions, for {why}",
    )
    return model, plan


def _first_line(error: Exception) -> str:
    # Keras puts a line of its own before the message of what fails in a call.
    lines = plain(str(error)).split("\n")
    said = [line for line in lines if line.strip()]
    return next((line for line in said if not line.startswith(_IN_A_CALL)), said[0])


def _begin_again(context: BuildContext) -> None:
    context.notes.clear()
    context.shared_objects.clear()
    context.placed_layers.clear()
    context.original_names.clear()
    context.depth = 0
    context.call_failed = False
    context.stuck = None
    context.unknown_networks.clear()


def _build_deferred(
    description: ModelDescription,
    context: BuildContext,
    options: LoadOptions,
    from_traces: bool = False,
) -> tuple[keras.Model, restore.RestorePlan]:
    while True:
        known = len(context.namesakes)
        try:
            built = _build_once(description, context, options, from_traces)
        except Exception:
            # Layers that don't fit may be others than Keras' of the same name.
            if len(context.namesakes) == known and not _looked_for(
                description, context, options
            ):
                raise
        else:
            if not find_lookalikes(built[1], description, context, options):
                return built
        _begin_again(context)


def _looked_for(
    description: ModelDescription, context: BuildContext, options: LoadOptions
) -> bool:
    reviver = _reviver(description, context, options)
    return reviver is not None and find_namesakes(reviver, context)


def _build_once(
    description: ModelDescription,
    context: BuildContext,
    options: LoadOptions,
    from_traces: bool,
) -> tuple[keras.Model, restore.RestorePlan]:
    try:
        with (
            _compat.object_sharing(recorded=False),
            _compat.deferred_variables() as values,
        ):
            return _build_and_plan(description, context, options, values, from_traces)
    except (TypeError, ValueError) as error:  # Keras' `from_config` makes it the first.
        if not _compat.asks_for_values(error):
            raise
    _begin_again(context)
    values = _compat.DeferredValues()
    with _compat.object_sharing(recorded=False):
        built = _build_and_plan(description, context, options, values, from_traces)
    values.assign_existing()
    return built


def _build_and_plan(
    description: ModelDescription,
    context: BuildContext,
    options: LoadOptions,
    values: _compat.DeferredValues,
    from_traces: bool,
) -> tuple[keras.Model, restore.RestorePlan]:
    reviver = _reviver(description, context, options)
    model = _build_root(description, context, reviver, from_traces)
    _restore_original_names(model, description)
    if not is_built(model):
        store = reviver.store if reviver is not None else None
        build_from_spec(model, description, store)
    build_activations(model)
    tree = state_tree(model)
    if add_low_rank_updates(tree, description):
        tree = state_tree(model)
    constrain_again(tree, description, context)
    train_as_saved(model, tree, description)
    plan = make_plan(description, tree)
    if reviver is not None:
        extras = add_extras(plan, reviver, context)
        if extras.changed:
            plan = make_plan(description, state_tree(model))
        plan.assignments += extras.metrics
    restore_inner_names(plan.layers)
    restore_paths(plan.assignments)
    plan.add_forgotten(model)
    if reviver is not None:
        reviver.bind(plan)
        revived = [(layer, node) for layer, node in reviver.revived]
        give_functions([*plan.layers, *revived], reviver.store)
        add_losses(plan, reviver)
        HostState(reviver.store).fill_all(plan)
    fill_stored(plan)
    check_vocabularies(model)
    if description.is_topology:
        context.note("weights", "the file holds none; all keep their initial values")
    if options.experimental_skip_checkpoint or description.is_topology:
        return model, restore.RestorePlan()
    if plan.missing and options.allow_partial_checkpoint:
        for _, place in plan.missing:
            context.note(place, "has no value in the file; kept its initial value")
    else:
        plan.check(description.path)
    restore.apply(plan, values, path=description.path)
    if description.functions is not None:
        # Checkpoints don't say of a variable whether it is trained.
        plan.freeze_single_variables()
        freeze_directions(plan)
        freeze_unknown(plan, description, context)
    return model, plan


def make_plan(description: ModelDescription, tree: StateNode) -> restore.RestorePlan:
    """Matches a built model's variables with the values of the description."""
    if description.objects is not None:
        return restore.plan_from_objects(tree, description.objects.root)
    if description.weights is None:
        return restore.RestorePlan()
    return restore.plan_from_order(
        tree, description.weights, writer_in(description), path=description.path
    )


def writer_in(description: ModelDescription) -> Dialect:
    """The Keras that wrote the file, in whose order and layout its weights are."""
    layers = description.weights.layers if description.weights is not None else ()
    found = writer_of(
        description.keras_version,
        description.backend,
        [name for layer in layers for name, _ in layer.weights],
    )
    wrote = str(description.tensorflow_version)
    if wrote.startswith(("2.0.", "2.1.")):
        found = dataclasses.replace(found, version=OF_TENSORFLOW_2_0_AND_1)
    elif wrote.startswith("2.3."):
        # It calls its Keras as 2.4 does, and computes as 2.2, whose is 2.3.0.
        found = dataclasses.replace(found, version=(2, 3, 1))
    return dataclasses.replace(found, tensorflow_1=_is_tensorflow_1(found, description))


def _is_tensorflow_1(found: Dialect, description: ModelDescription) -> bool:
    """TensorFlow 1.14 to 2.0 call their Keras `2.2.4-tf`.

    A SavedModel names its TensorFlow; in a config the initializers of TensorFlow 1
    say their dtype, which those of 2 do not.
    """
    if not found.tensorflow or found.version > (2, 2, 4):
        return False
    if found.version < (2, 2, 4):
        return True
    if description.tensorflow_version is not None:
        return description.tensorflow_version.startswith("1.")
    return _has_old_initializer(description.config)


def _has_old_initializer(config: Any) -> bool:
    pending = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            for key, value in item.items():
                inner = value.get("config") if isinstance(value, Mapping) else None
                named = str(key).endswith("_initializer")
                if named and isinstance(inner, Mapping) and "dtype" in inner:
                    return True
                pending.append(value)
        elif isinstance(item, list | tuple):
            pending.extend(item)
    return False


def _reviver(
    description: ModelDescription, context: BuildContext, options: LoadOptions
) -> Reviver | None:
    if description.functions is None or description.objects is None:
        return None
    directory, meta_graph = description.functions
    store = FunctionStore(directory, meta_graph, description.objects, options)
    reviver = Reviver(store, context)
    context.revive = reviver.revive
    context.fill = HostState(store).fill_new
    return reviver


def _build_root(
    description: ModelDescription,
    context: BuildContext,
    reviver: Reviver | None,
    from_traces: bool,
) -> keras.Model:
    config = description.extra.get("config") or description.config or {}
    root = description.objects.root if description.objects is not None else None
    if from_traces and reviver is not None and root is not None:
        return reviver.root(root)
    if is_network(config):
        try:
            network = build_network(
                config if root is None else with_nodes(config, root), context
            )
            _check_text(network, description)
            return network
        except (ValueError, TypeError, NotImplementedError) as error:
            if reviver is None or root is None or not reviver.has_traces(root):
                raise
            called = context.call_failed or isinstance(
                error, UnsupportedError | UnknownNameError
            )
            if (
                not called
                or isinstance(error, FormatError)
                or _compat.asks_for_values(error)
            ):
                raise
            raise _NeedsTraces(error) from error
    if (
        reviver is not None
        and root is not None
        and root.identifier in MODELS
        and (reviver.has_traces(root) or find_layer_class(config, context) is None)
        and not (
            has_config(config.get("config"))
            and any(
                find_custom(str(config[key]), context)
                for key in ("registered_name", "class_name")
                if config.get(key)
            )
        )
    ):
        return reviver.root(root)
    layer = build_layer(config, context)
    if not isinstance(layer, keras.Model):
        raise MismatchError(
            f"'{description.path}' holds a layer of class {type(layer).__name__}, "
            "which is no model."
        )
    return layer


def _check_text(network: keras.Model, description: ModelDescription) -> None:
    """Refuses a network that was called with text and can't be called with it here.

    Text goes through the layers of a network whose inputs are known.

    Raises:
        UnsupportedError: It can't be.
    """
    if not isinstance(network, keras.Sequential) or network.built:
        return
    # Before TensorFlow 2.5 the file says the shapes of the inputs, not their dtypes.
    text = takes_text(description) or any(
        isinstance(layer, Revived) and layer.reads_text for layer in network.layers
    )
    if text and description.functions is not None:
        raise UnsupportedError(
            f"Model '{network.name}' reads text, its config has no inputs, and the "
            "file no traced functions. Save it with `save_traces=True`, or with an "
            "`Input` for each feature."
        )


def _restore_random_state(model: keras.Model, description: ModelDescription) -> None:
    """Lets dropout and noise go on where they were when Regraft saved the model."""
    saved = description.extra.get("random_state")
    live = _compat.seed_states(model)
    if not isinstance(saved, list) or len(saved) != len(live):
        return
    for variable, state in zip(live, saved, strict=True):
        variable.assign(np.asarray(state, "uint32").reshape(variable.shape))


def _restore_original_names(model: keras.Model, description: ModelDescription) -> None:
    """Gives layers the names of an earlier file, which a config of Keras 3 has not."""
    names = (description.extra.get("config") or {}).get("original_names")
    if not isinstance(names, dict):
        return
    for layer in _compat.all_layers(model):
        name = names.get(layer.name)
        if isinstance(name, str):
            remember_name(layer, name)


def _find_by_original_names(model: keras.Model) -> None:
    """Lets `get_layer` find layers under the names that the file has."""
    for layer in _compat.all_layers(model):
        if isinstance(layer, keras.Model) and any(
            original_name(below) != below.name for below in layer.layers
        ):
            layer.get_layer = LayerFinder(layer)


def finalize(model: keras.Model) -> None:
    """Lets layers compute what they derive from their values (`Normalization`)."""
    for layer in _compat.all_layers(model):
        # Of its class: a function of the file may have any name.
        if callable(getattr(type(layer), "finalize_state", None)):
            layer.finalize_state()


def _fill_report(
    report: reports.LoadReport,
    model: keras.Model,
    plan: restore.RestorePlan,
    slots: Mapping[int, int],
    context: BuildContext,
) -> None:
    filled = {id(item.variable) for item in plan.assignments}
    report.layers += [
        reports.LayerReport(
            name=original_name(layer),
            class_name=getattr(layer, "saved_class_name", type(layer).__name__),
            source=_source(layer),
            reason=_reason(layer),
            weights=sum(id(v) in filled for v in layer.variables),
            slots=sum(slots.get(id(v), 0) for v in layer.variables),
        )
        for layer in _compat.all_layers(model)
        if layer is not model
    ]
    report.notes += [f"{note.object_path}: {note.text}" for note in context.notes]
    report.unused += plan.unused


def _verify(
    report: reports.LoadReport,
    model: keras.Model,
    description: ModelDescription,
    plan: restore.RestorePlan,
    options: LoadOptions,
) -> None:
    report.tensors_checked = check_tensors(description)
    found = check_layers(model, description, plan, options)
    below = [layer for layer in _compat.all_layers(model) if layer is not model]
    report.layers[:] = [
        dataclasses.replace(entry, checks=found.get(id(layer), ()))
        for layer, entry in zip(below, report.layers, strict=True)
    ]
    report.checks = found.get(id(model), ())


def _reason(layer: keras.Layer) -> str:
    """Why a layer was not made of its config; `""` if it was."""
    if not isinstance(layer, Revived):
        return ""
    return f"nobody knows its {layer.lacks or 'class'}"


def _is_revived(layer: keras.Layer) -> bool:
    return isinstance(layer, Revived)


def _source(layer: keras.Layer) -> str:
    if _is_revived(layer):
        return reports.FROM_TRACES
    module = type(layer).__module__
    if module.startswith(("keras.", "regraft.")):
        return reports.FROM_CONFIG
    return reports.FROM_CLASS
