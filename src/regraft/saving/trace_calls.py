"""Calls of Keras layers while a model is traced: each one is a function of its own.

`LayerCalls` stands in for `keras.Layer.__call__`. A layer's call becomes a pure
function whose operands are the tensors it is called with, the masks that travel with
them, and the values of its variables; its results are the outputs, their masks,
losses, and new values of variables.
"""

from __future__ import annotations

import contextvars
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jax
import keras

from regraft import _compat
from regraft.dtypes import name_of
from regraft.errors import UnsupportedError
from regraft.graph.tracing.function_graph import CalledFunction
from regraft.graph.tracing.tracer import Call, Tracing
from regraft.model.state_tree import call_signature
from regraft.saving.trace_casts import cast_first
from regraft.saving.trace_operations import is_tensor, tensors_alone
from regraft.saving.trace_twins import likeness

POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)

SEED_STATE = "seed_generator_state"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A tensor in the structure of arguments or results; `index` is its place."""

    index: int


@dataclass(eq=False)
class LayerCall:
    """A layer's call that was traced.

    Attributes:
        layer: The layer.
        training: What `training` was.
        args: Positional arguments with a `Leaf` for each tensor.
        kwargs: Keyword arguments likewise.
        tensors: Shape and dtype of each tensor.
        outputs: Structure of the output with a `Leaf` for each tensor.
        output_count: How many tensors the output has.
        losses: Places of the losses of `add_loss` among the results.
        activity_losses: Places of the activity regularizer's losses.
        label: Name of the traced function.
    """

    layer: keras.Layer
    training: bool
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    tensors: tuple[jax.ShapeDtypeStruct, ...]
    outputs: Any = None
    output_count: int = 0
    losses: tuple[int, ...] = ()
    activity_losses: tuple[int, ...] = ()
    label: str = ""


class _Scope(keras.StatelessScope):
    """A scope inside of another: what it doesn't know, the outer one does."""

    def __init__(self, outer: _Scope | None) -> None:
        super().__init__(collect_losses=True)
        self.outer = outer
        self.updated: dict[int, keras.Variable] = {}

    def know(self, variable: keras.Variable, value: Any) -> None:
        self.state_mapping[id(variable)] = value

    def get_current_value(self, variable: keras.Variable) -> Any:
        found = self.state_mapping.get(id(variable))
        if found is None and self.outer is not None:
            return self.outer.get_current_value(variable)
        return found

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        self.updated[id(update[0])] = update[0]
        super().add_update(update)


_calls: contextvars.ContextVar[LayerCalls | None] = contextvars.ContextVar(
    "layer_calls", default=None
)


class LayerCalls:
    """Traces layers' calls.

    Attributes:
        tracing: Where the functions go.
        records: All calls that were traced.
        failed: The innermost layer whose call raised.
        is_training: What `training` is where nobody says.
    """

    def __init__(
        self,
        tracing: Tracing,
        untrained: Mapping[int, keras.Layer] | None = None,
        operations: Mapping[int, keras.Layer] | None = None,
    ) -> None:
        self.tracing = tracing
        self._operations = operations or {}
        self.failed: keras.Layer | None = None
        self._untrained = untrained or {}
        self.records: list[LayerCall] = []
        self._known: dict[Any, _TracedCall] = {}
        self._likenesses: dict[int, Any] = {}
        self._kinds: dict[Any, int] = {}
        self._by_training: dict[int, bool] = {}
        self._scope: _Scope | None = None
        self.is_training = False

    @contextmanager
    def activate(self, training: bool) -> Iterator[None]:
        """Makes every call of a layer in this block a traced one."""
        original, operate = keras.Layer.__call__, keras.Operation.__call__
        token = _calls.set(self)
        self.is_training = training

        def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
            here = _calls.get()
            if here is None:
                return original(layer, *args, **kwargs)
            return here.call(original, layer, args, kwargs)

        def run(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            here = _calls.get()
            layer = None if here is None else here._operations.get(id(operation))
            if here is None or layer is None:
                return operate(operation, *args, **kwargs)
            alone, tensors = tensors_alone(operate, operation, args, kwargs)
            return here.call(alone, layer, (tensors,), {})

        keras.Layer.__call__, keras.Operation.__call__ = call, run
        try:
            yield
        finally:
            keras.Layer.__call__, keras.Operation.__call__ = original, operate
            _calls.reset(token)

    @contextmanager
    def scope(self) -> Iterator[_Scope]:
        """A scope in which variables have the values that the block sets."""
        before = self._scope
        scope = _Scope(before)
        self._scope = scope
        try:
            with scope:
                yield scope
        finally:
            self._scope = before

    @contextmanager
    def anew(self) -> Iterator[None]:
        """Makes calls in this block leave records of their own, known or not."""
        known, self._known = self._known, {}
        try:
            yield
        finally:
            self._known = known

    def call(
        self,
        original: Callable[..., Any],
        layer: keras.Layer,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Calls a layer, as a function of its own where that is possible."""
        outer = self._scope
        if outer is None or _is_cell(layer) or not layer.built:
            return original(layer, *args, **kwargs)
        if id(layer) in self._untrained and self.training_of(kwargs):
            return self._in_inference(layer, args, kwargs)
        args, kwargs = cast_first(layer, *_with_masks(layer, args, kwargs))
        tensors: list[Any] = []
        args = _replaced(args, tensors)
        done = {key: _replaced(kwargs[key], tensors) for key in _ordered(layer, kwargs)}
        kwargs = {key: done[key] for key in kwargs}
        if not tensors:
            return original(layer, *args, **kwargs)
        fresh = _TracedCall(self, original, layer, args, kwargs, tensors, outer)
        alike = self._likeness(layer)
        depends = self._depends_on_training(layer)
        if depends and alike is None:
            return fresh.run()
        how = fresh.key(), fresh.training if depends else None
        own = self._known.get((id(layer), how))
        again = None
        if own is not None:
            again = fresh.repeat(own)
        elif alike is not None and (twin := self._known.get((alike, how))) is not None:
            again = fresh.follow(twin)
        output = fresh.run() if again is None else again[0]
        self._known.setdefault((id(layer), how), fresh)
        if alike is not None:
            self._known.setdefault((alike, how), fresh)
        return output

    def uncalled(self, layers: Iterable[keras.Layer]) -> Iterator[keras.Layer]:
        """Yields layers of which no call was traced, nor is one in the meantime."""
        called: set[int] = set()
        seen = 0
        for layer in layers:
            called.update(id(record.layer) for record in self.records[seen:])
            seen = len(self.records)
            if id(layer) not in called:
                yield layer

    def release(self) -> None:
        """Lets go of all that was traced, which holds on to itself in circles."""
        self.records.clear()
        self._known.clear()
        self.tracing.release()

    def _in_inference(
        self, layer: keras.Layer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Calls a layer that can't be traced in training."""
        self.is_training = False
        try:
            return layer(*args, **{**kwargs, "training": False})
        finally:
            self.is_training = True

    def _likeness(self, layer: keras.Layer) -> Any:
        if id(layer) not in self._likenesses:
            found = likeness(layer)
            # A number in its place is compared and hashed sooner.
            number = self._kinds.setdefault(found, len(self._kinds))
            self._likenesses[id(layer)] = None if found is None else ("alike", number)
        return self._likenesses[id(layer)]

    def _depends_on_training(self, layer: keras.Layer) -> bool:
        found = self._by_training.get(id(layer))
        if found is None:
            found = self._by_training[id(layer)] = any(
                "training" in call_signature(each).parameters
                for each in _compat.all_layers(layer)
            )
        return found

    def training_of(self, kwargs: Mapping[str, Any]) -> bool:
        """Returns what `training` is in a call with these arguments."""
        given = kwargs.get("training")
        return self.is_training if given is None else bool(given)


class _TracedCall:
    """One call on its way."""

    def __init__(
        self,
        calls: LayerCalls,
        original: Callable[..., Any],
        layer: keras.Layer,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tensors: list[Any],
        outer: _Scope,
    ) -> None:
        self._calls = calls
        self._original = original
        self._tensors = tensors
        self._outer = outer
        self._masks = [_compat.keras_mask(tensor) for tensor in tensors]
        self._variables = kept_variables(layer)
        specs = tuple(jax.ShapeDtypeStruct(t.shape, t.dtype) for t in tensors)
        training = calls.training_of(kwargs)
        self._record = LayerCall(layer, training, args, kwargs, specs)
        self._updated: list[keras.Variable] = []
        self._masked: list[int] = []
        self._counts: list[int] = []

    def run(self) -> Any:
        record = self._record
        try:
            results, label = self._calls.tracing.function(
                node_name(record.layer.name),
                self._pure,
                self._operands(),
                inputs=range(len(self._tensors)),
                input_names=_names(record),
                roles=self._roles,
            )
        except Exception:
            self._calls.failed = self._calls.failed or record.layer
            raise
        record.label = label
        self._calls.records.append(record)
        return self._spread(results)

    def key(self) -> Any:
        """Returns what tells this call from another one of such a layer."""
        record = self._record
        specs = tuple((str(t.shape), name_of(t.dtype)) for t in record.tensors)
        masked = tuple(mask is not None for mask in self._masks)
        kwargs = {k: v for k, v in record.kwargs.items() if k != "training"}
        return specs, masked, str(record.args), str(kwargs)

    @property
    def training(self) -> bool:
        """What `training` is."""
        return self._record.training

    def repeat(self, known: _TracedCall) -> tuple[Any] | None:
        """Returns the output of a call that was traced before, in a tuple."""
        results = self._calls.tracing.repeat(known._record.label, self._operands())
        if results is None:
            return None
        self._record = known._record
        self._updated = known._updated
        self._masked = known._masked
        self._counts = known._counts
        return (self._spread(results),)

    def follow(self, twin: _TracedCall) -> tuple[Any] | None:
        """Returns the output by the trace of a layer that computes the same."""
        known = twin._record
        results, label = self._calls.tracing.follow(
            known.label, node_name(self._record.layer.name), self._operands()
        )
        self._record = replace(known, layer=self._record.layer, label=label)
        self._calls.records.append(self._record)
        places = {id(variable): i for i, variable in enumerate(twin._variables)}
        self._updated = [self._variables[places[id(v)]] for v in twin._updated]
        self._masked = twin._masked
        self._counts = twin._counts
        return (self._spread(results),)

    def _operands(self) -> list[Any]:
        masks = [mask for mask in self._masks if mask is not None]
        values = [_value(self._outer, variable) for variable in self._variables]
        return [*self._tensors, *masks, *values]

    def _pure(self, *operands: Any) -> list[Any]:
        """The layer's call without side effects."""
        record = self._record
        count = len(self._tensors)
        values = iter(operands[count:])
        tensors = list(operands[:count])
        for tensor, mask in zip(tensors, self._masks, strict=True):
            if mask is not None:
                _compat.set_keras_mask(tensor, next(values))
        with self._calls.scope() as scope:
            for variable, value in zip(self._variables, values, strict=True):
                scope.know(variable, value)
            args, kwargs = restored((record.args, record.kwargs), tensors)
            with _without_activity_regularizer(record.layer) as regularizer:
                output = self._original(record.layer, *args, **kwargs)
            activity = _activity_losses(regularizer, output)
        return self._flat(scope, output, activity)

    def _flat(self, scope: _Scope, output: Any, activity: list[Any]) -> list[Any]:
        """Lists the results and remembers which is which."""
        record = self._record
        leaves: list[Any] = []
        record.outputs = _replaced(output, leaves)
        record.output_count = len(leaves)
        masks = [_compat.keras_mask(leaf) for leaf in leaves]
        self._masked = [i for i, mask in enumerate(masks) if mask is not None]
        kept = [mask for mask in masks if mask is not None]
        losses = list(scope.losses)
        self._updated = [v for v in scope.updated.values() if v.name != SEED_STATE]
        updates = [scope.get_current_value(v) for v in self._updated]
        groups = [leaves, kept, losses, activity, updates]
        self._counts = [len(group) for group in groups]
        first = len(leaves) + len(kept)
        record.losses = tuple(range(first, first + len(losses)))
        first += len(losses)
        record.activity_losses = tuple(range(first, first + len(activity)))
        return [jax.numpy.asarray(value) for group in groups for value in group]

    def _roles(self) -> tuple[Sequence[int], Mapping[int, int]]:
        first = sum(self._counts[:4])
        masks = sum(mask is not None for mask in self._masks)
        before = len(self._tensors) + masks
        places = {id(v): before + i for i, v in enumerate(self._variables)}
        updates = {
            first + i: places[id(variable)]
            for i, variable in enumerate(self._updated)
            if id(variable) in places
        }
        return range(self._record.output_count), updates

    def _spread(self, results: list[Any]) -> Any:
        """Gives the results back to the caller, as the layer itself would."""
        values = iter(results)
        leaves, masks, losses, activity, updates = (
            [next(values) for _ in range(count)] for count in self._counts
        )
        for index, mask in zip(self._masked, masks, strict=True):
            _compat.set_keras_mask(leaves[index], mask)
        for loss in (*losses, *activity):
            self._outer.add_loss(loss)
        for variable, value in zip(self._updated, updates, strict=True):
            self._outer.add_update((variable, value))
        return restored(self._record.outputs, leaves)


def node_name(name: str) -> str:
    """Returns a name as nodes of a graph may have it: they begin with no underscore."""
    found = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return found if found[:1] not in ("", "_") else f"private{found}"


def _value(scope: _Scope, variable: keras.Variable) -> Any:
    value = scope.get_current_value(variable)
    return variable.value if value is None else value


def _is_cell(layer: keras.Layer) -> bool:
    """Whether a layer is called in each step of a loop; it stays part of the loop."""
    return hasattr(layer, "state_size") and not isinstance(layer, keras.layers.RNN)


@contextmanager
def _without_activity_regularizer(layer: keras.Layer) -> Iterator[Any]:
    regularizer = layer.activity_regularizer
    layer.activity_regularizer = None
    try:
        yield regularizer
    finally:
        layer.activity_regularizer = regularizer


def _activity_losses(regularizer: Any, output: Any) -> list[Any]:
    """Returns the losses of an activity regularizer, as Keras adds them."""
    losses = []
    for tensor in keras.tree.flatten(output) if regularizer is not None else ():
        loss = regularizer(tensor)
        if tensor.ndim and _compat.AVERAGES_ACTIVITY:
            size = keras.ops.cast(keras.ops.shape(tensor)[0], loss.dtype)
            loss = keras.ops.divide_no_nan(loss, size)
        losses.append(loss)
    return losses


def _with_masks(
    layer: keras.Layer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Passes masks that travel with tensors as the arguments that they become."""
    signature = call_signature(layer)
    parameters = signature.parameters
    known = {key: value for key, value in kwargs.items() if key in parameters}
    try:
        bound = signature.bind(*args, **known).arguments
    except TypeError:
        return args, kwargs
    tensors = {
        name: value
        for name, value in bound.items()
        if name in parameters and any(map(is_tensor, keras.tree.flatten(value)))
    }
    if len(tensors) == 1:
        names = {"mask": next(iter(tensors))}
    else:
        names = {f"{name}_mask": name for name in tensors}
    kwargs = dict(kwargs)
    for mask_name, name in names.items():
        if mask_name in parameters and bound.get(mask_name) is None:
            mask = keras.tree.map_structure(_compat.keras_mask, tensors[name])
            if any(m is not None for m in keras.tree.flatten(mask)):
                kwargs[mask_name] = mask
    return args, kwargs


def _ordered(layer: keras.Layer, names: Iterable[str]) -> list[str]:
    """Returns keywords as TensorFlow orders them: by parameter, others by name.

    What can be given by position is, however it was given.
    """
    parameters = call_signature(layer).parameters.values()
    places = {p.name: i for i, p in enumerate(parameters) if p.kind in POSITIONAL}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))


def _replaced(structure: Any, tensors: list[Any]) -> Any:
    """Returns a structure with `Leaf`s for tensors, which are appended to a list.

    The order is TensorFlow's: entries of dicts by sorted keys.
    """
    if is_tensor(structure):
        tensors.append(structure)
        return Leaf(len(tensors) - 1)
    if isinstance(structure, dict):
        done = {key: _replaced(structure[key], tensors) for key in sorted(structure)}
        return {key: done[key] for key in structure}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(_replaced(item, tensors) for item in structure))
    if isinstance(structure, list | tuple):
        return type(structure)(_replaced(item, tensors) for item in structure)
    return structure


def restored(structure: Any, tensors: Sequence[Any]) -> Any:
    """Returns a structure with tensors where its `Leaf`s are."""
    if isinstance(structure, Leaf):
        return tensors[structure.index]
    if isinstance(structure, dict):
        return {key: restored(item, tensors) for key, item in structure.items()}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(restored(item, tensors) for item in structure))
    if isinstance(structure, list | tuple):
        return type(structure)(restored(item, tensors) for item in structure)
    return structure


def _names(record: LayerCall) -> list[str]:
    """Returns names for the tensors: of the parameter, counted if it has several."""
    signature = call_signature(record.layer)
    kwargs = {k: v for k, v in record.kwargs.items() if k in signature.parameters}
    try:
        bound = signature.bind(*record.args, **kwargs).arguments
    except TypeError:
        return ["args"] * len(record.tensors)
    names = ["args"] * len(record.tensors)
    for name, value in bound.items():
        leaves = [x for x in keras.tree.flatten(value) if isinstance(x, Leaf)]
        for leaf in leaves:
            names[leaf.index] = node_name(name).lower()
    return names


def check_standalone(record: LayerCall, call: Call, called: CalledFunction) -> None:
    """Refuses a function that needs more than its arguments and variables."""
    others = set(called.operands) - set(call.mark.inputs) - called.variables
    if others or called.lengths:
        raise UnsupportedError(
            f"Layer '{record.layer.name}' uses tensors that are none of its "
            "arguments, so it has no function of its own."
        )


def distinct_calls(
    records: Sequence[LayerCall], takes_training: bool
) -> list[LayerCall]:
    """Returns one call per argument shapes and training, training first."""
    chosen: dict[Any, LayerCall] = {}
    for record in records:
        shapes = tuple((_generic(t.shape), name_of(t.dtype)) for t in record.tensors)
        key = (
            shapes,
            record.training if takes_training else False,
            str(record.args),
            str({**record.kwargs, "training": None}),
        )
        chosen.setdefault(key, record)
    return sorted(chosen.values(), key=lambda r: not r.training)


def _generic(shape: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(d if isinstance(d, int) else None for d in shape)


def kept_variables(layer: keras.Layer) -> list[keras.Variable]:
    """Returns what a layer keeps between calls, without states of random numbers."""
    return [v for v in _compat.kept_variables(layer) if v.name != SEED_STATE]
