"""What an object graph holds beyond what configs say.

A config makes a layer's own variables. Whoever added a weight to a layer, set a
layer or a metric as an attribute of a model, or gave a model a loss, finds it in the
object graph alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras

from regraft import _compat
from regraft.loading.restore import Assignment, RestorePlan, keeps_tables
from regraft.loading.revive import KERAS_CHILDREN, Reviver
from regraft.loading.revived_layer import Revived, RevivedObject, TracedRegularizer
from regraft.model.compile.metrics import build_metric
from regraft.model.description import ObjectNode, Variable
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.names import original_name
from regraft.model.dialects.registry import is_builtin
from regraft.model.keras2.metrics import make_variables, variable_names
from regraft.model.keras2.regularizers import take_regularizers
from regraft.model.metadata import TensorShape
from regraft.model.state_tree import is_network, variables_outside

_METRIC = "_tf_keras_metric"
# Keras 2's bookkeeping of layers that Keras 3 keeps otherwise, or not at all.
_NOT_ADDED = frozenset({"count", "states", "save_counter"})


@dataclass
class Extras:
    """What was added to layers.

    Attributes:
        changed: Whether any of them has a new attribute.
        metrics: Values of the variables of added metrics.
    """

    changed: bool = False
    metrics: list[Assignment] = field(default_factory=list)


def add_extras(plan: RestorePlan, reviver: Reviver, context: BuildContext) -> Extras:
    """Gives layers what the object graph has besides their configs."""
    known = {item.node_id for item in plan.assignments}
    known |= {node.node_id for _, node in plan.layers}
    extras = Extras()
    for layer, node in list(plan.layers):
        metadata = node.metadata or {}
        _set_input_spec(layer, metadata.get("input_spec"))
        if isinstance(layer, Revived):
            continue
        # A wrapper in Keras 2 says that of the layer inside, which has it already.
        regularized = layer.activity_regularizer or isinstance(
            layer, keras.layers.Wrapper
        )
        if not regularized and metadata.get("activity_regularizer"):
            _regularize(layer, reviver.activity_regularizer(node), context)
        place = original_name(layer)
        _restore_metrics(partial(_attribute, layer), node, context, place, extras)
        plain = is_builtin(type(layer)) or is_network(layer)
        # A class of the caller's sets its own attributes; what a layer with tables
        # keeps besides variables it reads itself.
        if not plain or keeps_tables(layer):
            continue
        for name, child in node.children.items():
            if (
                child.node_id in known
                or name in KERAS_CHILDREN
                or name in _NOT_ADDED
                or name.startswith(("layer-", "layer_with_weights-"))
                or hasattr(layer, name)
            ):
                continue
            if isinstance(child, Variable):
                extras.changed |= _add_weight(layer, name, child, node)
            elif is_network(layer):
                _add_object(layer, name, child, reviver, context, extras)
    return extras


def _regularize(layer: keras.Layer, added: Any, context: BuildContext) -> None:
    """Regularizes the output of a layer, or of a network through its last layer.

    Keras 3 knows no activity regularizer of a network itself.
    """
    target = layer
    if is_network(layer):
        outputs = keras.tree.flatten(layer.outputs)
        last = _compat.keras_history(outputs[0])[0] if len(outputs) == 1 else None
        before = getattr(last, "activity_regularizer", None)
        both = added if before is None else _sum(before, added)
        if both is None or not isinstance(last, keras.Layer):
            context.note(
                f"model '{original_name(layer)}'",
                "its own activity regularizer is left out: Keras 3 has none of models",
            )
            return
        target, added = last, both
    target.activity_regularizer = added


def _sum(one: Any, other: Any) -> Any:
    """One regularizer for two, `None` where there is none."""
    plain = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)
    if not isinstance(one, plain) or not isinstance(other, plain):
        return None
    l1, l2 = (
        sum(float(getattr(item, name, 0.0)) for item in (one, other))
        for name in ("l1", "l2")
    )
    return keras.regularizers.L1L2(l1=l1, l2=l2)


def _add_weight(
    layer: keras.Layer, name: str, variable: Variable, node: ObjectNode
) -> bool:
    """Adds a weight that somebody gave a layer of Keras' own."""
    listed = node.child("variables")
    if variable.value is None or None in variable.shape:
        return False
    if listed is not None and all(item is not variable for item in listed.items()):
        return False
    if variable.dtype in ("string", "resource", "variant"):
        return False
    with _compat.unlocked(layer):
        made = layer.add_weight(
            shape=variable.shape,
            dtype=variable.dtype,
            initializer="zeros",
            trainable=variable.trainable,
            autocast=False,
            name=name.replace("/", "__"),
        )
        setattr(layer, name, made)
    return True


def _add_object(
    layer: keras.Layer,
    name: str,
    node: ObjectNode,
    reviver: Reviver,
    context: BuildContext,
    extras: Extras,
) -> None:
    """Adds a layer or a metric that somebody set as an attribute of a model."""
    if node.identifier == _METRIC:
        place = f"{original_name(layer)}.{name}"
        value = _metric(node, context, place, extras.metrics)
    elif node.metadata is not None and node.identifier != "_tf_keras_input_layer":
        value = reviver.attached(node)
    else:
        return
    if value is None:
        return
    with _compat.unlocked(layer):
        setattr(layer, name, value)
    extras.changed = True


def _restore_metrics(
    attributes: Callable[[str], Any],
    node: ObjectNode,
    context: BuildContext,
    place: str,
    extras: Extras,
) -> None:
    """Lets the metrics that a class sets as its own attributes go on.

    Args:
        attributes: What has a name in a layer, list or dict.
        node: Of it in the file.
        context: Takes notes.
        place: For messages.
        extras: Gets their state.
    """
    for name, child in node.children.items():
        if not isinstance(child, ObjectNode) or name in KERAS_CHILDREN:
            continue
        value, inside = attributes(name), f"{place}.{name}"
        if isinstance(value, keras.Metric) and child.identifier == _METRIC:
            extras.metrics += _assignments(value, child, context, inside)
        elif isinstance(value, list | tuple | dict):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            below = {str(key): item for key, item in items}
            _restore_metrics(below.get, child, context, inside, extras)


def _attribute(layer: keras.Layer, name: str) -> Any:
    return getattr(layer, name, None)


def _metric(
    node: ObjectNode, context: BuildContext, place: str, state: list[Assignment]
) -> Any:
    """Returns a live metric, `None` where nobody knows it; adds to its state."""
    metadata = node.metadata or {}
    entry = {"class_name": metadata.get("class_name"), "config": metadata.get("config")}
    try:
        metric = build_metric(entry, context)
    except (ValueError, TypeError) as error:
        context.note(place, f"the metric is left out: {error}")
        return None
    if not isinstance(metric, keras.metrics.Metric):
        return None
    state += _assignments(metric, node, context, place)
    return metric


def _assignments(
    metric: keras.Metric, node: ObjectNode, context: BuildContext, place: str
) -> list[Assignment]:
    pairs = _metric_state(metric, node)
    if pairs is None:
        context.note(place, "the metric starts from zero: it has other variables here")
        return []
    return [
        Assignment(variable, saved.value, place, None, variable.trainable)
        for variable, saved in pairs
        if saved.value is not None
    ]


def _metric_state(
    metric: keras.metrics.Metric, node: ObjectNode
) -> list[tuple[keras.Variable, Variable]] | None:
    """Pairs a metric's variables with those of the file by attribute, then order."""
    # One may be there under two names.
    found = {c.node_id: c for c in _in_order(node) if isinstance(c, Variable)}
    saved = list(found.values())
    if not saved:
        return []  # it had no values yet
    make_variables(metric, [tuple(int(dim or 0) for dim in v.shape) for v in saved])
    live = list(metric.variables)
    if len(live) != len(saved):
        return None
    named = [node.children.get(name) for name in variable_names(metric)]
    by_name = [child for child in named if isinstance(child, Variable)]
    if {child.node_id for child in by_name} == found.keys():
        saved = by_name
    sizes = [_size(tuple(v.shape)) for v in live]
    if sizes != [_size(tuple(v.shape)) for v in saved]:
        return None
    return list(zip(live, saved, strict=True))


def _in_order(node: ObjectNode) -> list[ObjectNode | Variable]:
    api = node.child("keras_api")
    listed = api.child("variables") if api is not None else None
    if listed is None:
        listed = node.child("variables")
    if listed is not None:
        return list(listed.items())
    return list(node.children.values())


def _size(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return tuple(dim for dim in shape if dim != 1)


# ---------------------------------------------------------------------- specs


def _set_input_spec(layer: keras.Layer, spec: Any) -> None:
    """Gives a revived layer the spec of its inputs; others have their own."""
    if spec is None or not isinstance(layer, Revived):
        return
    if layer.takes_composites:
        return  # it counts inputs, of which Keras sees the parts here
    try:
        layer.input_spec = _input_spec(spec, layer.compute_dtype)  # type: ignore[attr-defined]
    except (TypeError, ValueError, KeyError, AttributeError):
        return  # it says less than the layer's traces do


def _input_spec(spec: Any, computes_in: str) -> Any:
    if isinstance(spec, Mapping) and spec.get("class_name") == "InputSpec":
        config = spec["config"]
        shape = config.get("shape")
        if isinstance(shape, TensorShape):
            shape = shape.dims
        dtype = config.get("dtype")
        if "float" in str(dtype) and dtype != computes_in:
            dtype = None  # Keras 2 looks before it casts, Keras 3 after that
        axes = {int(k): v for k, v in (config.get("axes") or {}).items()}
        return keras.InputSpec(
            dtype=dtype,
            shape=None if shape is None else tuple(shape),
            ndim=config.get("ndim") if shape is None else None,
            max_ndim=config.get("max_ndim"),
            min_ndim=config.get("min_ndim"),
            axes=axes,
        )
    if isinstance(spec, Mapping):
        return {key: _input_spec(item, computes_in) for key, item in spec.items()}
    return [_input_spec(item, computes_in) for item in spec]


# --------------------------------------------------------------------- losses


def add_losses(plan: RestorePlan, reviver: Reviver) -> None:
    """Attaches traced losses of weights, and of models, to variables.

    What a config's regularizers make is there already.
    """
    hidden = _within_objects(plan)
    take_regularizers(hidden.values())
    own_of = {id(layer): _own_losses(node) for layer, node in plan.layers}
    silent = {key for key, own in own_of.items() if own is None}
    owned = {c.node_id for own in own_of.values() if own for c in own.items()}
    for layer, node in plan.layers:
        if id(layer) in hidden:
            continue
        own = own_of[id(layer)]
        if own is None:
            own = node.child("regularization_losses")
            if own is not None and not isinstance(layer, Revived):
                continue  # it may list those of the layers below
        listed = [c for c in (own.items() if own is not None else ())]
        # Those of the layer, and of such below it as list no losses themselves.
        variables = variables_outside(
            layer, layer.variables, lambda child: id(child) not in silent
        )
        if id(layer) not in silent and isinstance(layer, Revived):
            # Those of a layer that was never called, whose weights are here.
            rest = (node.child("regularization_losses") or node).items()
            here = set(map(id, variables))
            listed += [
                child
                for child in rest
                if child.node_id not in owned
                and any(id(v) in here for v in _captured(child, reviver))
            ]
        missing = len(listed) - sum(v.regularizer is not None for v in variables)
        if missing > 0:
            _attach(listed, variables, layer, reviver)


def _within_objects(plan: RestorePlan) -> dict[int, keras.layers.Layer]:
    """Layers that only objects hold which are no layers, by their ids.

    Keras 2 looks for what layers add to the loss in layers alone.
    """
    if not plan.layers:
        return {}
    root, _ = plan.layers[0]
    shown = {id(layer) for layer in _compat.all_layers(root, but=RevivedObject)}
    everything = _compat.all_layers(root)
    return {id(layer): layer for layer in everything if id(layer) not in shown}


def _own_losses(node: ObjectNode) -> ObjectNode | None:
    api = node.child("keras_api")
    return api.child("layer_regularization_losses") if api is not None else None


def _captured(child: Any, reviver: Reviver) -> list[keras.Variable]:
    """The variables that the function of a loss is of."""
    function = reviver.store.function(child)
    return [
        variable
        for node_id in (function.traces[0].concrete.bound_inputs if function else ())
        if (variable := reviver.store.live_variable(node_id)) is not None
    ]


def _attach(
    listed: list[Any],
    own: list[keras.Variable],
    layer: keras.Layer,
    reviver: Reviver,
) -> None:
    done = {id(v) for v in own if v.regularizer is not None}
    for child in listed:
        function = reviver.store.function(child)
        if function is None:
            continue
        captured = _captured(child, reviver)
        first = next((v for v in captured if id(v) in done), None)
        if first is not None and len(captured) == 1:
            done.discard(id(first))  # its config's regularizer
            continue
        free = [v for v in captured if v.regularizer is None and v.trainable]
        free += [v for v in layer.trainable_variables if v.regularizer is None]
        if free:
            free[0].regularizer = TracedRegularizer(function)
        elif captured:
            before = captured[0].regularizer
            captured[0].regularizer = TracedRegularizer(function, before=before)
