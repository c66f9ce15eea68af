"""The part of a model that runs on the host before each step: its host layers.

A layer runs here if it only needs the model's inputs, through operations without
variables. Whatever else there is runs in the compiled step.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.model.keras2.composite_rows import CompositeRows
from regraft.model.keras2.host_layers import HostLayer
from regraft.model.keras2.host_values import Array, device_array, is_text, seen


def host_layers(model: keras.Layer) -> list[HostLayer]:
    """Returns the host layers of a model, each once."""
    return [
        layer for layer in _compat.all_layers(model) if isinstance(layer, HostLayer)
    ]


def graph_of(layer: Any) -> keras.Model | None:
    """Returns the Functional graph that a layer runs; `None` if it has none."""
    if isinstance(layer, keras.Sequential):
        return _compat.functional_of(layer)
    if isinstance(layer, keras.Model) and hasattr(layer, "operations"):
        return layer
    return None


class _Unknown:
    """A tensor that only the compiled step makes."""


_UNKNOWN = _Unknown()


class _Values(dict[int, Any]):
    """Values by `id` of the tensor; a call's `fill_in` asks for all it needs."""

    def __missing__(self, key: int) -> Any:
        return _UNKNOWN

    def get(self, key: int, default: Any = None) -> Any:
        return self[key]


@dataclass(frozen=True)
class _Plan:
    """What of a graph may run on the host.

    Attributes:
        calls: Host layers, graphs inside, and calls that lead to such, in order.
        read: Tensors that the other calls read.
    """

    calls: tuple[Any, ...]
    read: tuple[keras.KerasTensor, ...]


_plans: weakref.WeakKeyDictionary[keras.Model, dict[bool, _Plan]] = (
    weakref.WeakKeyDictionary()
)


def _plan(model: keras.Model, whole: bool) -> _Plan:
    plans = _plans.setdefault(model, {})
    if whole not in plans:
        plans[whole] = _make_plan(model, whole)
    return plans[whole]


def _make_plan(model: keras.Model, whole: bool) -> _Plan:
    """Plans a graph.

    Args:
        model: The graph.
        whole: Whether its outputs lead to a host layer.
    """
    needed = {id(tensor) for tensor in model.outputs} if whole else set()
    chosen, read = [], []
    for call in reversed(_compat.calls_in_order(model)):
        tensors = _tensors(call)
        if _has_host_layers(call.operation) or any(
            id(tensor) in needed for tensor in call.output_tensors
        ):
            chosen.append(call)
            needed.update(id(tensor) for tensor in tensors)
        else:
            read += tensors
    return _Plan(tuple(reversed(chosen)), tuple(read))


def _has_host_layers(operation: Any) -> bool:
    if isinstance(operation, HostLayer):
        return True
    return graph_of(operation) is not None and bool(host_layers(operation))


_HELD = (np.ndarray, CompositeRows)


class HostPass:
    """One pass over a batch.

    Attributes:
        results: Of each host layer's calls, in order; `None` for one that needs what
            only the compiled step makes.
        used: `id`s of the arrays that the compiled step reads.
    """

    def __init__(self) -> None:
        self.results: dict[int, list[Array | list[Array] | None]] = {}
        self.used: set[int] = set()
        self._sources: dict[int, list[Any]] = {}
        self._kept: list[Any] = []

    def network(
        self, model: keras.Model, inputs: list[Any], whole: bool = False
    ) -> list[Any]:
        """Returns the outputs of a graph; what isn't known is no array."""
        plan = _plan(model, whole)
        values = _Values()
        for tensor, value in zip(model.inputs, inputs, strict=True):
            values[id(tensor)] = ranked(value, len(tensor.shape))
        leading = {id(t) for call in plan.calls for t in _tensors(call)}
        for call in plan.calls:
            args, kwargs = call.arguments.fill_in(values)
            leads = whole or any(id(t) in leading for t in call.output_tensors)
            found = self._call(call.operation, args, kwargs, leads)
            if found is not None:
                for tensor, value in zip(call.output_tensors, found, strict=True):
                    values[id(tensor)] = value
        self.reads(values[id(tensor)] for tensor in plan.read)
        return [values[id(tensor)] for tensor in model.outputs]

    def _call(
        self, operation: Any, args: Any, kwargs: Any, leads: bool
    ) -> list[Any] | None:
        leaves = keras.tree.flatten([args, kwargs])
        known = not any(leaf is _UNKNOWN for leaf in leaves)
        if isinstance(operation, HostLayer):
            made = operation.compute(args[0]) if known else None
            self.results.setdefault(id(operation), []).append(made)
            if known:
                return None if operation.finishes_on_device else [made]
        graph = graph_of(operation)
        if graph is not None:
            return self.network(graph, _flat_arguments(graph, args[0]), leads)
        sparse = any(isinstance(leaf, CompositeRows) for leaf in leaves)
        found = None
        if known and not sparse:
            found = _evaluated(operation, args, kwargs)
        if found is None:
            self.reads(leaves)
            return None
        # The step computes it again, from its inputs, if it reads it.
        self._sources.update((id(value), leaves) for value in found)
        self._kept += [*found, *leaves]
        return found

    def reads(self, leaves: Iterable[Any]) -> None:
        """Notes what the compiled step reads."""
        pending = [leaf for leaf in leaves if isinstance(leaf, _HELD)]
        while pending:
            leaf = pending.pop()
            if id(leaf) not in self.used:
                self.used.add(id(leaf))
                self._kept.append(leaf)
                pending += [
                    source
                    for source in self._sources.get(id(leaf), ())
                    if isinstance(source, _HELD)
                ]


def _tensors(call: Any) -> list[keras.KerasTensor]:
    leaves = keras.tree.flatten(
        [list(call.arguments.args), dict(call.arguments.kwargs)]
    )
    return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]


def _flat_arguments(graph: keras.Model, given: Any) -> list[Any]:
    if isinstance(given, Mapping) and not isinstance(
        _compat.structures(graph)[0], Mapping
    ):
        return [given[tensor.name] for tensor in graph.inputs]
    return list(keras.tree.flatten(given))


def ranked(value: Any, rank: int) -> Any:
    """Adds or takes the last axis of one, as Keras does."""
    if not isinstance(value, np.ndarray) or value.ndim == rank:
        return value
    if value.ndim == rank - 1:
        return value[..., None]
    if value.ndim == rank + 1 and value.shape[-1] == 1:
        return value[..., 0]
    return value


# Operations that only move values: handles may stand for the values.
_MOVERS = frozenset(
    {
        *("Reshape", "Flatten", "Permute", "RepeatVector", "Concatenate", "Identity"),
        *("Squeeze", "ExpandDims", "Transpose", "Stack", "GetItem", "SlicingOpLambda"),
        *("Cropping1D", "Split", "Unstack", "Tile", "Repeat", "Ravel", "BroadcastTo"),
    }
)


def _evaluated(operation: Any, args: Any, kwargs: Any) -> list[Any] | None:
    """Computes an operation without variables; `None` if that can't be done."""
    if isinstance(operation, keras.Layer) and operation.variables:
        return None

    def given(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return keras.ops.convert_to_tensor(device_array(value, operation.name))

    wide = [
        leaf
        for leaf in keras.tree.flatten([args, kwargs])
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "iu"
    ]
    if type(operation).__name__ in _MOVERS and wide and len(args) == 1:
        moved = keras.tree.map_structure(_as_words, args)
        out = operation(*keras.tree.map_structure(given, moved), **kwargs)
        return [_as_numbers(seen(leaf)) for leaf in keras.tree.flatten(out)]
    out = operation(
        *keras.tree.map_structure(given, args),
        **keras.tree.map_structure(given, kwargs),
    )
    return [seen(leaf) for leaf in keras.tree.flatten(out)]


def _as_words(value: Any) -> Any:
    """Whole numbers as text, so that handles stand for all of their digits."""
    if not isinstance(value, np.ndarray) or is_text(value):
        return value
    words = np.empty(value.shape, object)
    words.reshape(-1)[:] = [b"%d" % item for item in value.reshape(-1).tolist()]
    return words


def _as_numbers(words: Array) -> Array:
    numbers = np.zeros(words.shape, "int64")
    numbers.reshape(-1)[:] = [int(word or 0) for word in words.reshape(-1).tolist()]
    return numbers
