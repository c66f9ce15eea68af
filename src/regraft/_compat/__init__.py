"""Every use of a private name of Keras or JAX, with the reason.

Each entry says why no public name serves and with which versions it was seen to
work. Nothing else in the package may use a name with a leading underscore, or one
below `keras.src` or `jax._src`, of another package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
from keras.src import backend
from keras.src.backend import get_keras_mask
from keras.src.backend import set_keras_mask as _set_keras_mask
from keras.src.backend.common import symbolic_scope as _symbolic_scope
from keras.src.ops.function import map_graph
from keras.src.trainers import data_adapters
from keras.src.trainers.data_adapters import data_adapter

from regraft._compat.applications import application_layer as application_layer
from regraft._compat.configs import (
    config_of,
    function_arguments,
    function_config,
    hdf5_metadata,
    object_sharing,
    objects_in_scope,
    record_shared,
    serialize,
    shared_object,
)
from regraft._compat.lengths import (
    demanded_of_lengths,
    unfiltered_tracebacks,
    wants_multiples,
)
from regraft._compat.tensors import (
    is_without_gradient,
    keras_history,
    maker,
    set_shape,
)
from regraft._compat.variables import (
    DeferredValues,
    asks_for_values,
    builds_deferred,
    decays_variable,
    deferred_variables,
    seed_states,
    set_path,
)

__all__ = [
    "DeferredValues",
    "asks_for_values",
    "builds_deferred",
    "config_of",
    "decays_variable",
    "deferred_variables",
    "demanded_of_lengths",
    "function_arguments",
    "function_config",
    "hdf5_metadata",
    "is_without_gradient",
    "keras_history",
    "maker",
    "object_sharing",
    "objects_in_scope",
    "record_shared",
    "seed_states",
    "serialize",
    "set_path",
    "set_shape",
    "shared_object",
    "unfiltered_tracebacks",
    "wants_multiples",
]

_VERSION = tuple(map(int, keras.__version__.split(".")[:2]))

# TensorFlow's Keras divides what an activity regularizer gives by the batch size. Keras
# does so since 3.14; 3.12 and 3.13 add it as it is.
AVERAGES_ACTIVITY = _VERSION >= (3, 14)


@contextmanager
def unlocked(layer: keras.Layer) -> Iterator[None]:
    """Lets a built layer take new variables, layers and metrics.

    Keras 3.12 to 3.15: a built layer's tracker is locked.
    """
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


@contextmanager
def kept_losses(model: keras.Model) -> Iterator[None]:
    """Gives all layers the losses of their last call back when the block ends.

    Keras 3.12 to 3.15: each call of a model clears `_losses` and `_loss_ids`.
    """
    kept = [
        (layer, list(layer._losses), set(layer._loss_ids))
        for layer in all_layers(model)
    ]
    try:
        yield
    finally:
        for layer, losses, ids in kept:
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(ids)


def add_metrics(model: keras.Model, metrics: Iterable[keras.Metric]) -> None:
    """Lets a model show metrics beside those that it is compiled with.

    They are no attributes of it, so that nobody takes them for state of its own. Keras
    3.12 to 3.15: `metrics` lists `_metrics` behind what was compiled.
    """
    with unlocked(model):
        model._metrics.extend(metrics)


class _KeptState:
    """Shows a variable as a layer shows the state of its random numbers."""

    def __init__(self, variable: keras.Variable) -> None:
        self.state = variable


def make_metric_variables(metric: keras.Metric, shape: tuple[int, ...]) -> None:
    """Makes the variables of a metric of Keras that waits for its first values.

    Args:
        metric: Of any class; one that doesn't wait stays as it is.
        shape: Of the variable of most axes, of which the last are those of the values.
    """
    if getattr(metric, "_built", True):
        return
    given = (None, shape[-1] if shape else 1)
    if isinstance(metric, keras.metrics.FBetaScore | keras.metrics.R2Score):
        metric._build(given, given)
    elif isinstance(metric, keras.metrics.AUC) and shape[:-1] == (
        metric.num_thresholds,  # else a file could ask for any size
    ):
        metric._build(given)


def keep_recurrent_states(model: keras.Model) -> None:
    """Lets stateful RNNs go on from batch to batch in `predict`, `fit` and `evaluate`.

    Keras 3.12 to 3.15 tracks the states nowhere, so that on JAX a step drops what it
    gives them. Among the random states a step takes them along, while neither
    `weights` nor a saved file counts them.
    """
    if keras.backend.backend() != "jax":
        return
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.RNN):
            layer._seed_generators += map(_KeptState, _untracked_states(layer))


def _untracked_states(layer: keras.layers.RNN) -> list[keras.Variable]:
    """What a stateful RNN keeps between batches, and doesn't count as a variable."""
    if not layer.stateful:
        return []
    known = {id(variable) for variable in layer.variables}
    return [
        state
        for state in keras.tree.flatten(layer.states)
        if state is not None and id(state) not in known
    ]


def kept_variables(layer: keras.Layer) -> list[keras.Variable]:
    """Returns what a layer keeps between calls: variables, and states of RNNs.

    Keras 3.12 to 3.15 tracks such states nowhere.
    """
    states = [
        state
        for inner in all_layers(layer)
        if isinstance(inner, keras.layers.RNN)
        for state in _untracked_states(inner)
    ]
    return [*layer.variables, *states]


def is_network(layer: Any) -> bool:
    """Whether a layer is a graph of layers: a built Sequential or a Functional."""
    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and hasattr(layer, "operations")
    )


def sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """Returns the layers that a layer tracks, in the order they were set.

    Keras 3.12 to 3.15: `Layer._flatten_layers` is the only walk that also finds
    layers in lists and dicts, and cells of recurrent layers.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def all_layers(
    layer: keras.Layer, but: type | tuple[type, ...] = ()
) -> list[keras.Layer]:
    """Returns a layer and all below it, each once, outer ones first.

    Args:
        layer: Where to begin.
        but: Classes left out, with what they alone hold.
    """
    found = {}
    pending = [layer]
    while pending:
        current = pending.pop(0)
        if id(current) not in found:
            found[id(current)] = current
            below = sublayers(current)
            pending.extend(child for child in below if not isinstance(child, but))
    return list(found.values())


# Keras' own saver and loader, as they were before `regraft.install()` hooked them.
keras_save_model = keras.saving.save_model
keras_load_model = keras.saving.load_model
keras_load_weights = keras.Model.load_weights
keras_save_weights = keras.Model.save_weights


def recorded_calls(model: keras.Model) -> dict[int, list[Any]]:
    """Returns the calls that make up a Functional model, by `id` of the operation.

    Keras 3.12 to 3.15: an operation knows all calls it ever took part in
    (`_inbound_nodes`); which of them belong to a model only `_nodes_by_depth` tells.
    Each call has `arguments.args`, `arguments.kwargs` and `output_tensors`.
    """
    own = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    return {
        id(operation): [n for n in operation._inbound_nodes if id(n) in own]
        for operation in model.operations
    }


def connect_unused(inputs: list[keras.KerasTensor]) -> None:
    """Lets a model have inputs that no layer takes, as Keras 2 does.

    Keras before 3.14 refuses a tensor that nothing was ever called on (seen with 3.12
    and 3.13); a call that is no part of the model is enough for it.
    """
    if _VERSION >= (3, 14):
        return
    for tensor in inputs:
        operation = maker(tensor)
        if operation is not None and not operation._outbound_nodes:
            keras.layers.Identity(name="unused")(tensor)


def without_own_masks(call: Any) -> tuple[list[Any], dict[str, Any]]:
    """Returns the arguments of a recorded call without the masks Keras put there.

    Keras 3.12 to 3.15: a call whose inputs carry masks (`_keras_mask`) is sometimes
    recorded with them as keyword arguments, as if the user had given them.
    """
    args, keywords = list(call.arguments.args), dict(call.arguments.kwargs)
    tensors = keras.tree.flatten([args, keywords])
    own = {id(getattr(tensor, "_keras_mask", None)) for tensor in tensors}
    kept = {
        key: value
        for key, value in keywords.items()
        if not key.endswith("mask")
        or not all(id(mask) in own for mask in keras.tree.flatten(value))
    }
    return args, kept


def first_inputs(layer: keras.Layer) -> Any:
    """Returns what a layer was first called with, without masks; `None` if never.

    Keras 3.12 to 3.15: `layer.input` counts the masks among a layer's inputs.
    """
    if not layer._inbound_nodes:
        return None
    args, keywords = without_own_masks(layer._inbound_nodes[0])
    given = [value for key, value in keywords.items() if not key.endswith("mask")]
    tensors = [
        tensor
        for tensor in keras.tree.flatten([args, given])
        if isinstance(tensor, keras.KerasTensor)
    ]
    return tensors[0] if len(tensors) == 1 else tensors


def functional_of(model: keras.Sequential) -> keras.Model | None:
    """Returns the graph that a built Sequential runs, `None` before it is built.

    Keras 3.12 to 3.15: `Sequential.layers` leaves the InputLayer out.
    """
    return model._functional


def structures(model: keras.Model) -> tuple[Any, Any]:
    """Returns a Functional model's inputs and outputs as the user nested them.

    Keras 3.12 to 3.15: `inputs` and `outputs` are flat lists.
    """
    return model._inputs_struct, model._outputs_struct


def keep_operations(
    model: keras.Model,
    tensors: list[keras.KerasTensor],
    order: Iterable[keras.Operation],
) -> None:
    """Lets a Functional model run what its outputs don't need, too.

    Keras 3.12 to 3.15: a model runs just what leads to its outputs, so that a layer
    that only adds a loss would be lost; its plan can be made for more tensors.

    Args:
        model: The model.
        tensors: What else it shall compute.
        order: Its layers, as they shall be listed.
    """
    nodes, nodes_by_depth, operations, operations_by_depth = map_graph(
        model._inputs, [*model._outputs, *tensors]
    )
    place = {id(operation): index for index, operation in enumerate(order)}
    listed = iter(
        sorted(
            (operation for operation in operations if id(operation) in place),
            key=lambda operation: place[id(operation)],
        )
    )
    with unlocked(model):
        model._nodes = nodes
        model._nodes_by_depth = nodes_by_depth
        model._operations = [
            next(listed) if id(operation) in place else operation
            for operation in operations
        ]
        model._operations_by_depth = operations_by_depth


def set_own_trainable(layer: keras.Layer, trainable: bool) -> None:
    """Sets a layer's own flag and leaves those of the layers inside it.

    Keras 3.12 to 3.15: the `trainable` property sets all layers below as well.
    """
    inner = [(sub, sub.trainable) for sub in all_layers(layer)[1:]]
    layer.trainable = trainable
    for sub, flag in inner:
        sub._trainable = flag


def keras_mask(tensor: Any) -> Any | None:
    """Returns the mask that a layer gave a tensor, `None` without.

    Keras 3.12 to 3.15: where the tensor takes no attributes (JAX tracers) the mask is
    in a table that only this function reads.
    """
    return get_keras_mask(tensor)


@contextmanager
def replaced_backend_functions(
    replacements: dict[str, dict[str, Callable[[Any], Any]]],
) -> Iterator[None]:
    """Replaces functions of Keras' backend while the block runs.

    Keras 3.12 to 3.15: `keras.ops` and layers look the functions of their backend up
    in its modules `nn`, `numpy`, `math` and so on at each call. No public hook
    tells which operation a computation came from.

    Args:
        replacements: Per module and function, what makes the new one of the old one.
    """
    before = []
    try:
        for module_name, functions in replacements.items():
            module = getattr(backend, module_name)
            for name, make in functions.items():
                if (old := getattr(module, name, None)) is not None:
                    before.append((module, name, old))
                    setattr(module, name, make(old))
        yield
    finally:
        for module, name, old in before:
            setattr(module, name, old)


@contextmanager
def lengths_without_errors() -> Iterator[None]:
    """Lets JAX take a named length for what it is while the block runs.

    JAX 0.7 to 0.10: for each named length in a shape an error is raised, and caught
    where it then holds on to itself and so to every frame below: a save leaves all
    that it made to the garbage collector, which takes a tenth of its time.
    """
    import jax

    module: Any = jax._src.core
    original = module._canonicalize_dimension

    def canonical(length: Any) -> Any:
        if getattr(length, "dimension_as_value", None) is not None:
            return length
        return original(length)

    module._canonicalize_dimension = canonical
    try:
        yield
    finally:
        module._canonicalize_dimension = original


def set_keras_mask(tensor: Any, mask: Any) -> None:
    """Lets a mask travel with a tensor; see `keras_mask`."""
    _set_keras_mask(tensor, mask)


def evaluated_now() -> AbstractContextManager[Any]:
    """Computes concrete values at once, also while a JAX step is being traced.

    JAX 0.4 to 0.10: under a trace even operations on constants are recorded; Keras
    has no name for the way out.
    """
    if keras.backend.backend() != "jax":
        return nullcontext()
    import jax

    return jax.ensure_compile_time_eval()


def was_called(layer: keras.Layer) -> bool:
    """Whether a layer has been called.

    Keras 3.12 to 3.15: `built` is also true where `build` gave up; only a private flag
    tells.
    """
    return bool(getattr(layer, "_called", False))


def begin_with(model: keras.Sequential, layer: keras.layers.InputLayer) -> None:
    """Puts an input layer before the layers of a chain that is not built yet.

    Keras 3.12 to 3.15: there is no other way to say the name and the dtype of an input
    afterwards; `build` puts one of its own into the same private list.
    """
    model._layers = [layer, *model._layers]


def mark_called(layer: keras.Layer) -> None:
    """Makes `was_called` true of a layer that comes from a file."""
    layer._called = True


def was_recorded(tensor: Any) -> bool:
    """Whether a symbolic tensor took part in a recorded call; see `source_name`."""
    return getattr(tensor, "_keras_history", None) is not None


def source_name(tensor: Any) -> str:
    """Returns the name of the layer or operation that made a symbolic tensor.

    Keras 3.12 to 3.15: only the private history of a tensor says it; the tensor's
    own name is another one.
    """
    history = getattr(tensor, "_keras_history", None)
    # A tensor that no layer made stands for an argument, under the argument's name.
    return str(tensor.name if history is None else history.operation.name)


_FIXED = "_regraft_training"


class _Fixed:
    """A layer in one recorded call, whose `training` no caller overrides."""

    # Keras hands its own `training` to a layer that lists it here.
    _call_context_args: frozenset[str] = frozenset()

    def __init__(self, layer: keras.Layer, training: bool) -> None:
        self._layer = layer
        self._training = training

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["training"] = self._training
        return self._layer(*args, **kwargs)


def fix_training(call: Any, training: bool) -> None:
    """Marks a recorded call as one that keeps its `training`."""
    setattr(call, _FIXED, training)


def latest_call(layer: keras.Layer) -> Any:
    """Returns the latest recorded call of a layer."""
    return layer._inbound_nodes[-1]


def fixed_training(call: Any) -> bool | None:
    """Returns the `training` that a recorded call keeps, `None` for none."""
    return getattr(call, _FIXED, None)


def keep_fixed_training(model: keras.Model) -> None:
    """Makes a Functional model respect the calls that keep their `training`.

    Keras 3.12 to 3.15: a Functional model overrides the `training` that a layer was
    called with by its own, which Keras 2 did not (`base(x, training=False)` keeps a
    frozen base in inference). `_get_operation_for_node` is what it asks for the
    layer to run; in this one model the answer is the layer with `training` fixed.
    """
    calls = [call for found in recorded_calls(model).values() for call in found]
    if all(fixed_training(call) is None for call in calls):
        return
    original = model._get_operation_for_node

    def operation_of(call: Any) -> Any:
        operation, training = original(call), fixed_training(call)
        return operation if training is None else _Fixed(operation, training)

    model._get_operation_for_node = operation_of


# Keras 3.12 to 3.15: `fit`, `evaluate` and `predict` take data through an adapter, and
# an adapter of one's own is the one way to give them batches that are made on the way.
DataAdapter = data_adapter.DataAdapter
get_data_adapter = data_adapters.get_data_adapter


def calls_in_order(model: keras.Model) -> list[Any]:
    """Returns the calls that make up a Functional model, in the order they run.

    Keras 3.12 to 3.15: see `recorded_calls`. Each call has `operation`,
    `arguments.fill_in(values by id of the tensor)` and `output_tensors`.
    """
    return [
        node
        for depth in sorted(model._nodes_by_depth, reverse=True)
        for node in model._nodes_by_depth[depth]
        if not node.is_input
    ]


def is_traced(value: Any) -> bool:
    """Whether a tensor stands for a value that is not there yet.

    JAX 0.4 to 0.10: only a tracer's class says it.
    """
    if keras.backend.backend() != "jax":
        return False
    import jax

    return isinstance(value, jax.core.Tracer)


def in_symbolic_scope() -> bool:
    """Whether Keras runs a call for the shapes of its results alone.

    Keras 3.12 to 3.15: `keras.SymbolicScope` is public, to ask for it is not.
    """
    return bool(_symbolic_scope.in_symbolic_scope())


def call_host(
    function: Callable[..., Any], shape: Any, dtype: str, arguments: list[Any]
) -> Any:
    """Calls a function of NumPy arrays from inside of a compiled step.

    Keras 3.12 to 3.15: Keras has no name for it. No gradient flows through it.
    """
    import jax

    result = jax.ShapeDtypeStruct(tuple(shape), dtype)
    stopped = [jax.lax.stop_gradient(argument) for argument in arguments]
    return jax.pure_callback(function, result, *stopped, vmap_method="sequential")


def set_input_dtype(layer: keras.layers.InputLayer, dtype: str) -> None:
    """Changes the dtype of an input that is part of a model.

    Keras 3.12 to 3.15: the layer and its tensor each have it as `_dtype`. With the
    dtype of the file, JAX warns at each call that it has no 64-bit numbers.
    """
    layer._dtype = dtype
    layer.output._dtype = dtype
