"""The variables of a live Keras layer under the names of Keras 2's object graph.

Keras 2 stores a variable as the child of the object that owns it, under the
attribute's name: `kernel`, `cell.recurrent_kernel`, `_query_dense.kernel`; the
layers of a Sequential or Functional model are `layer-0`, `layer-1`, …. Keras 3
mostly has the same attributes, so a walk over them finds the same tree; where it
has not, the class's row says what Keras 2's name is.
"""

from __future__ import annotations

import inspect
import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras

from regraft import _compat
from regraft._compat import is_network as is_network
from regraft._compat.variables import own_variables
from regraft.model.attribute_order import (
    among,
    in_order,
    layers_in,
    places_of_variables,
)
from regraft.model.dialects.layers import row_of

# Attributes that hold the same layers or variables again, or things that are not
# state of the layer itself.
_NOT_STATE: Mapping[str, frozenset[str]] = {
    # `layer` is the configuration of the forward layer, not a layer that is called.
    "Bidirectional": frozenset({"layer"}),
}

_signatures: weakref.WeakKeyDictionary[keras.Layer, inspect.Signature] = (
    weakref.WeakKeyDictionary()
)
_of_methods: weakref.WeakKeyDictionary[Any, inspect.Signature] = (
    weakref.WeakKeyDictionary()
)


def call_signature(layer: keras.Layer) -> inspect.Signature:
    """Returns the signature of a layer's `call`, of the class that was saved."""
    found = _signatures.get(layer)
    if found is None:
        found = getattr(layer, "traced_signature", None) or _signature(layer.call)
        _signatures[layer] = found
    return found


def _signature(method: Any) -> inspect.Signature:
    """Returns the signature of a method: one for all objects that share it."""
    function = getattr(method, "__func__", None)
    if function is None:
        return inspect.signature(method)
    if function not in _of_methods:
        _of_methods[function] = inspect.signature(method)
    return _of_methods[function]


@dataclass(frozen=True, eq=False)
class StateNode:
    """An object that owns variables, directly or through others.

    Attributes:
        kind: `"layer"`; `"network"` (Sequential or Functional, whose children are
            `layer-0`, …); `"list"` or `"dict"`, which only group; `"metric"`.
        owner: The live layer; `None` for lists, dicts and metrics.
        variables: Own variables by child name, in the order they were made.
        children: Objects below by child name, in the order they were made.
        held: Variables that are its own, in lists and dicts of its own or, under an
            attribute, those of an object below (`kernel` of SpectralNormalization), in
            the order they were set.
        aliases: By child name, layers and variables that another object has before this
            one.
    """

    kind: str
    owner: keras.Layer | None
    variables: tuple[tuple[str, keras.Variable], ...]
    children: tuple[tuple[str, StateNode], ...]
    held: tuple[keras.Variable, ...] = ()
    aliases: tuple[tuple[str, keras.Layer | keras.Variable], ...] = ()

    def edges(self, prefix: str = "") -> Iterator[tuple[str, keras.Variable]]:
        """Yields every variable below with its path, such as `cell.kernel`."""
        for name, variable in self.variables:
            yield prefix + name, variable
        for name, child in self.children:
            yield from child.edges(f"{prefix}{name}.")

    def layers(self, prefix: str = "") -> Iterator[tuple[str, keras.Layer]]:
        """Yields every layer with its path, such as `layer-1.cell`, itself first."""
        if self.owner is not None:
            yield prefix, self.owner
        for name, child in self.children:
            yield from child.layers(f"{prefix}.{name}" if prefix else name)


def network_layers(model: keras.Model) -> list[keras.Layer]:
    """Layers of a network in Keras' order; of a Sequential without its input."""
    return list(model.layers)


def top_layers(model: keras.Layer) -> list[keras.Layer]:
    """Layers of any model as Keras 2 lists them, and its HDF5 files.

    Those of a network come first, then what an own class has in the order of its
    attributes; those in a list or dict in its place, and each once. One that is in
    another, too, is listed with both.
    """
    if type(model).__module__.startswith("keras."):
        return network_layers(model)
    held = [
        layer
        for _, value in in_order(model, _attributes(model))
        for layer in layers_in(value)
    ]
    if is_network(model):
        found = [*network_layers(model), *held]
    else:
        found = [*held, *_compat.sublayers(model)]
    return list({id(layer): layer for layer in found}.values())


def own_tree(tree: StateNode) -> StateNode:
    """The tree of what a model itself has: its layers are not part.

    Those in lists and dicts of its own are, and what it holds of its layers under an
    attribute.
    """
    held = tuple((variable.name, variable) for variable in tree.held)
    return StateNode(tree.kind, tree.owner, held, (), tree.held)


def state_tree(layer: keras.Layer) -> StateNode:
    """Returns the tree of a layer's variables; seed generators are not part."""
    return _Walk().layer(layer)


def state_tree_with_metrics(
    layer: keras.Layer, holders: type[keras.Layer] = keras.Model
) -> StateNode:
    """Returns the tree of a layer's variables and of metrics in it.

    Args:
        layer: The layer.
        holders: The class of those, it or below, whose metrics are part.
    """
    return _Walk(holders).layer(layer)


class _Walk:
    """One walk; an object that comes again belongs to where it came first."""

    def __init__(self, holders: type[keras.Layer] | tuple[()] = ()) -> None:
        self._holders = holders
        self._holder: keras.Layer | None = None
        self._seen: set[int] = set()
        self._open: set[int] = set()

    def layer(self, layer: keras.Layer) -> StateNode:
        around, self._holder = self._holder, layer
        try:
            return self._walk(layer)
        finally:
            self._holder = around

    def _walk(self, layer: keras.Layer) -> StateNode:
        self._seen.add(id(layer))
        self._open.add(id(layer))
        children: list[tuple[str, StateNode]] = []
        network = is_network(layer)
        if network:
            children += [
                (f"layer-{index}", self.layer(child))
                for index, child in enumerate(network_layers(layer))
                if id(child) not in self._seen
            ]
        variables = []
        held = []
        aliases: list[tuple[str, keras.Layer | keras.Variable]] = []
        groups = []
        for name, value in in_order(layer, _attributes(layer)):
            if isinstance(value, keras.Variable):
                held.append(value)
                if id(value) not in self._seen:
                    self._seen.add(id(value))
                    variables.append((name, value))
                else:
                    aliases.append((name, value))
            elif self._is_alias(value):
                aliases.append((name, value))
            elif (child := self._object(value)) is not None:
                children.append((name, child))
                groups.append(grouped(child))
                held += groups[-1]
        taken = {name for name, _ in (*variables, *children, *aliases)}
        for value in self._without_a_name(layer):
            name = _free_name(value.name, taken)
            if isinstance(value, keras.Layer):
                children.append((name, self.layer(value)))
            else:
                self._seen.add(id(value))
                held.append(value)
                variables.append((name, value))
        self._open.discard(id(layer))
        places = places_of_variables(layer, groups)
        last = len(places)
        held.sort(key=lambda v: places.get(id(v), last))
        variables.sort(key=lambda item: places.get(id(item[1]), last))
        return StateNode(
            "network" if network else "layer",
            layer,
            tuple(variables),
            tuple(children),
            tuple({id(v): v for v in held}.values()),
            tuple(aliases),
        )

    def _without_a_name(self, layer: keras.Layer) -> list[Any]:
        """Returns what a layer owns, but no attribute of it has.

        Such as a weight that a function or an object of no Keras class holds, or whose
        attribute was set again; and layers in a set.
        """
        other = {id(layer.__dict__.get(name)) for name in _skipped(layer)}
        trained, others = own_variables(layer)
        owned = (*trained, *others, *_compat.sublayers(layer))
        return [v for v in owned if id(v) not in self._seen and id(v) not in other]

    def _is_alias(self, value: Any) -> bool:
        """Whether it is a layer that stands elsewhere, and not around this place."""
        here = isinstance(value, keras.Layer) and id(value) in self._seen
        return here and id(value) not in self._open

    def _object(self, value: Any) -> StateNode | None:
        if isinstance(value, keras.Layer):
            return None if id(value) in self._seen else self.layer(value)
        if isinstance(value, list | tuple):
            return self._group("list", enumerate(value))
        if isinstance(value, dict):
            return self._group("dict", value.items())
        counts = isinstance(self._holder, self._holders)
        if isinstance(value, keras.Metric) and counts:
            return self._metric(value)
        return None

    def _metric(self, metric: keras.Metric) -> StateNode | None:
        if id(metric) in self._seen:
            return None
        self._seen.add(id(metric))
        variables = tuple((v.name, v) for v in metric.variables)
        return StateNode("metric", None, variables, ())

    def _group(self, kind: str, items: Any) -> StateNode | None:
        variables, children, aliases = [], [], []
        for key, value in items:
            if isinstance(value, keras.Variable):
                if id(value) not in self._seen:
                    self._seen.add(id(value))
                    variables.append((str(key), value))
                else:
                    aliases.append((str(key), value))
            elif self._is_alias(value):
                aliases.append((str(key), value))
            elif (child := self._object(value)) is not None:
                children.append((str(key), child))
        if not variables and not children and not aliases:
            return None
        own, below = tuple(variables), tuple(children)
        return StateNode(kind, None, own, below, aliases=tuple(aliases))


def grouped(tree: StateNode) -> list[keras.Variable]:
    """Variables in a list or dict and in those in it, in Keras 2's order."""
    if tree.owner is not None or tree.kind == "metric":
        return []
    found = [(name, [variable]) for name, variable in tree.variables]
    found += [(k, [v]) for k, v in tree.aliases if isinstance(v, keras.Variable)]
    found += [(name, grouped(child)) for name, child in tree.children]
    found.sort(key=lambda item: item[0] if tree.kind == "dict" else int(item[0]))
    return [variable for _, below in found for variable in below]


def _attributes(layer: keras.Layer) -> Iterator[tuple[str, Any]]:
    """Yields a layer's own attributes by Keras 2's name, in the order they were set."""
    renamed = row_of(type(layer)).edges
    skipped = _skipped(layer)
    kept_off = vars(layer).get(_KEPT_OFF, {})
    for name, value in _own_items(layer):
        if name in skipped or isinstance(value, keras.Optimizer):
            continue
        # What a property keeps was never set.
        if isinstance(getattr(type(layer), name, None), cached_property):
            continue
        name = kept_off.get(name, name)
        name = _public_name(layer, name) if isinstance(value, keras.Variable) else name
        yield renamed.get(name, name), value


def _skipped(layer: keras.Layer) -> frozenset[str]:
    """Returns the attributes that are not state of a layer itself."""
    return _internal_names() | _NOT_STATE.get(type(layer).__name__, frozenset())


def _free_name(name: str, taken: set[str]) -> str:
    """Returns a name that nothing else has, and notes that it is taken."""
    numbered = (f"{name}_{i}" for i in itertools.count(1))
    while name in taken:
        name = next(numbered)
    taken.add(name)
    return name


# Among a layer's attributes: by their own name, what its file calls some of them.
_KEPT_OFF = "_regraft_kept_off"


def set_child(layer: keras.Layer, name: str, value: Any) -> None:
    """Sets an attribute that a file names, off that name where Keras uses it otherwise.

    Args:
        layer: To have it.
        name: By which its tree of variables has it.
        value: A variable, a layer, or a list or dict of them.
    """
    if name in _internal_names() or hasattr(type(layer), name):
        # Beside Keras' tracking, which would show it as state.
        vars(layer).setdefault(_KEPT_OFF, {})[f"saved_{name}"] = name
        name = f"saved_{name}"
    setattr(layer, name, value)


def own_metrics(layer: keras.Layer) -> list[tuple[str, Any]]:
    """Returns the attributes of a layer that are metrics, or lists or dicts of such."""
    return [
        (name, value)
        for name, value in _own_items(layer)
        if name not in _internal_names() and has_metrics(value)
    ]


def has_metrics(value: Any) -> bool:
    """Whether a value is a metric, or a list or dict with one inside."""
    if isinstance(value, list | tuple | dict):
        items = value.values() if isinstance(value, dict) else value
        return any(map(has_metrics, items))
    return isinstance(value, keras.Metric)


def _own_items(layer: keras.Layer) -> Iterable[tuple[str, Any]]:
    """Returns the attributes of a layer; PyTorch's modules keep layers apart."""
    own = vars(layer).items()
    if keras.backend.backend() == "torch":
        return among(layer, own, layer.named_children())
    return own


def _public_name(layer: keras.Layer, name: str) -> str:
    """`kernel` for a `_kernel` that the layer shows as the property `kernel`."""
    public = name.lstrip("_")
    return public if isinstance(getattr(type(layer), public, None), property) else name


_INTERNAL: frozenset[str] = frozenset()


def _internal_names() -> frozenset[str]:
    """Attributes that Keras itself gives every layer or model."""
    global _INTERNAL
    if not _INTERNAL:
        # Keras 3.12 refuses a model whose output is its input.
        # Named, so that the names of the user's next layers don't count them.
        layer = keras.layers.Layer(name="sample")
        inputs, same = keras.Input((1,), name="x"), keras.layers.Identity(name="same")
        sequential = keras.Sequential([inputs, same], name="sample")
        functional = _compat.functional_of(sequential)
        samples = layer, keras.Model(name="sample"), functional, sequential
        _INTERNAL = frozenset(
            name for sample in samples for name, _ in _own_items(sample)
        )
    return _INTERNAL


def nearest_layers(
    layer: keras.Layer, is_wanted: Callable[[keras.Layer], bool]
) -> Iterator[keras.Layer]:
    """Yields, on each way down from a layer, the first one that is wanted."""
    seen = {id(layer)}
    pending = _compat.sublayers(layer)
    while pending:
        child = pending.pop()
        if id(child) in seen:
            continue
        seen.add(id(child))
        if is_wanted(child):
            yield child
        else:
            pending += _compat.sublayers(child)


def variables_outside(
    layer: keras.Layer,
    variables: Iterable[keras.Variable],
    is_wanted: Callable[[keras.Layer], bool],
) -> list[keras.Variable]:
    """Returns those of a layer's variables that no `nearest_layers` below it has."""
    nearest = nearest_layers(layer, is_wanted)
    below = {id(v) for child in nearest for v in child.variables}
    return [variable for variable in variables if id(variable) not in below]
