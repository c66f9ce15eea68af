"""A live network to its entry in Keras 2's words, and to Keras 3's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from regraft import _compat
from regraft.model.dialects import describe_operations
from regraft.model.dialects.context import IN_KERAS_2, Note
from regraft.model.dialects.describe import (
    Entry,
    class_name,
    describe_plain_layer,
)
from regraft.model.dialects.dialect import KERAS_2, Dialect
from regraft.model.dialects.names import ORIGINAL, original_name
from regraft.model.dialects.registry import builtin_layers
from regraft.model.dialects.rows import ROWS
from regraft.model.state_tree import call_signature

_IDENTITY = "shared_object_id"

# What the classes of operations are called that only their functions say.
OPERATION = "Operation>"


def describe_layer(
    layer: keras.layers.Layer, dialect: Dialect, notes: list[Note]
) -> Entry:
    """Returns `{"class_name": …, "config": …}` of a layer or network.

    Args:
        layer: A live layer.
        dialect: The Keras 2 to write for.
        notes: Filled with what Keras 2 cannot say.
    """
    if isinstance(layer, keras.Model) and _is_network(layer):
        return describe_network(layer, dialect, notes)
    return describe_plain_layer(layer, dialect, notes, describe_layer)


def describe_network(model: keras.Model, dialect: Dialect, notes: list[Note]) -> Entry:
    """Returns `{"class_name": …, "config": …}` of a Sequential or Functional model.

    Raises:
        NotImplementedError: The model is a subclass without a graph of its own and
            without `get_config`.
    """
    if isinstance(model, keras.Sequential):
        config = _sequential(model, dialect, notes)
    elif _is_network(model):
        config = _Functional(model, dialect, notes).config()
    else:
        return describe_plain_layer(model, dialect, notes, describe_layer)
    if not model.trainable:
        config["trainable"] = False
    return {"class_name": _network_class(model), "config": config}


def describe_keras3(model: keras.Model) -> Entry:
    """Returns Keras 3's own serialization of a model, with the files' names in it."""
    names = {
        layer.name: getattr(layer, ORIGINAL)
        for layer in _compat.all_layers(model)
        if hasattr(layer, ORIGINAL)
    }
    with _compat.object_sharing():
        entry: Entry = _counted(keras.saving.serialize_keras_object(model))
    if _mark_firsts(entry):
        entry = _counted(entry)
    classes = {
        (type(layer).__name__, layer.name): layer.saved_class_name
        for layer in _compat.all_layers(model)
        if hasattr(layer, "saved_class_name")
    }
    entry = _with_saved_classes(entry, classes) if classes else entry
    return {**entry, "original_names": names} if names else entry


def _with_saved_classes(value: Any, classes: Mapping[tuple[str, str], str]) -> Any:
    """Names the classes of an earlier file, where layers run from its functions."""
    if isinstance(value, list | tuple):
        return type(value)(_with_saved_classes(item, classes) for item in value)
    if not isinstance(value, Mapping):
        return value
    found = {key: _with_saved_classes(item, classes) for key, item in value.items()}
    config = value.get("config")
    name = config.get("name") if isinstance(config, Mapping) else None
    saved = classes.get((str(value.get("class_name")), str(name)))
    if saved is not None:
        found["class_name"] = found["registered_name"] = saved
        if saved in builtin_layers() or saved in ROWS:
            # Keras knows the class, only not what its config names.
            found |= {"module": IN_KERAS_2, "registered_name": None}
    return found


def _counted(config: Any) -> Any:
    """Counts shared objects in the order of a config: Keras takes their addresses."""
    numbers: dict[int, int] = {}

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            if str(value.get("class_name")).endswith("Policy"):
                # Policies are equal or not; whether they are one says nothing.
                value = {key: item for key, item in value.items() if key != _IDENTITY}
            return {
                key: numbers.setdefault(item, len(numbers))
                if key == _IDENTITY
                else walk(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return type(value)(walk(item) for item in value)
        return value

    return walk(config)


def _mark_firsts(entry: Entry) -> bool:
    """Gives the first of two entries of one object the identity of the second.

    Keras gives it when it comes to the second; what a wrapper holds was copied by then.

    Returns:
        Whether there was one. Where several entries could be it, none is marked.
    """
    lonely: dict[int, Any] = {}
    nameless: dict[str, list[dict[str, Any]]] = {}
    entries = list(_objects(entry))
    for value in entries:
        identity = value.get(_IDENTITY)
        if identity is not None:
            lonely[identity] = None if identity in lonely else value
    second = {i: value for i, value in lonely.items() if value is not None}
    if not second:
        return False
    for value in entries:
        if _IDENTITY not in value:
            nameless.setdefault(_described(value), []).append(value)
    marked = False
    for identity, value in second.items():
        firsts = nameless.get(_described(value), [])
        if len(firsts) == 1:
            firsts[0][_IDENTITY] = identity
            marked = True
    return marked


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yields the entries of objects in a config, outer ones first."""
    if isinstance(value, dict):
        if "class_name" in value and "config" in value:
            yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _objects(item)


def _described(entry: Mapping[str, Any]) -> str:
    """What makes an object, whatever it shares with others."""
    plain = _without_identities([entry["class_name"], entry["config"]])
    return json.dumps(plain, sort_keys=True, default=str)


def _without_identities(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_identities(v) for k, v in value.items() if k != _IDENTITY}
    if isinstance(value, list | tuple):
        return [_without_identities(item) for item in value]
    return value


def _is_network(model: keras.Model) -> bool:
    if isinstance(model, keras.Sequential):
        return True
    return hasattr(model, "operations") and hasattr(model, "inputs")


def _network_class(model: keras.Model) -> str:
    name = class_name(type(model))
    return "Functional" if name in ("Model", "Functional") else name


def _sequential(model: keras.Sequential, dialect: Dialect, notes: list[Note]) -> Entry:
    layers = list(model.layers)
    functional = _compat.functional_of(model)
    if functional is not None:
        first = functional.layers[0]
        inputs = isinstance(first, keras.layers.InputLayer)
        if inputs and (not layers or layers[0] is not first):
            layers.insert(0, first)
    return {
        "name": original_name(model),
        "layers": [describe_layer(layer, dialect, notes) for layer in layers],
    }


def has_own_node(layer: Any) -> bool:
    """Whether Keras 2 counts a layer's creation as its node 0."""
    if isinstance(layer, keras.Sequential):
        return _compat.functional_of(layer) is not None
    return isinstance(layer, keras.Model) and _is_network(layer)


def _ends(recorded: Mapping[int, list[Any]]) -> list[Any]:
    """The outputs of calls that no call takes, as those that only add a loss."""
    every = [call for calls in recorded.values() for call in calls]
    taken = {
        id(_compat.keras_history(tensor)[1])
        for call in every
        for tensor in keras.tree.flatten([call.arguments.args, call.arguments.kwargs])
        if isinstance(tensor, keras.KerasTensor)
    }
    return [t for call in every if id(call) not in taken for t in call.output_tensors]


class _Functional:
    """The describing of one Functional model."""

    def __init__(self, model: keras.Model, dialect: Dialect, notes: list[Note]) -> None:
        self.model = model
        self.dialect = dialect
        self.notes = notes
        self.recorded = self._needed(_compat.recorded_calls(model))
        self.indices: dict[int, int] = {}
        for operation in model.operations:
            first = int(has_own_node(operation))
            for index, call in enumerate(self.recorded[id(operation)]):
                self.indices[id(call)] = index + first

    def _needed(self, recorded: dict[int, list[Any]]) -> dict[int, list[Any]]:
        """Leaves out the calls that only make masks, which Keras makes by itself."""
        needed: set[int] = set()
        stack = keras.tree.flatten(_compat.structures(self.model))
        stack += _ends(recorded)
        while stack:
            tensor = stack.pop()
            if not isinstance(tensor, keras.KerasTensor):
                continue
            _, call, _ = _compat.keras_history(tensor)
            if id(call) not in needed:
                needed.add(id(call))
                stack.extend(keras.tree.flatten(_compat.without_own_masks(call)))
        return {
            operation: [call for call in calls if id(call) in needed]
            for operation, calls in recorded.items()
        }

    def config(self) -> Entry:
        layers = [
            self._layer(operation)
            for operation in self.model.operations
            if self.recorded[id(operation)]
        ]
        inputs, outputs = _compat.structures(self.model)
        return {
            "name": original_name(self.model),
            "layers": layers,
            "input_layers": self._ends(inputs),
            "output_layers": self._ends(outputs),
        }

    def _ends(self, structure: Any) -> Any:
        ends = self._map(structure, self.reference)
        return [ends] if isinstance(structure, keras.KerasTensor) else ends

    def _map(self, value: Any, convert: Any) -> Any:
        if isinstance(value, keras.KerasTensor):
            return convert(value)
        if isinstance(value, Mapping):
            return {key: self._map(item, convert) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._map(item, convert) for item in value]
        return value

    def reference(self, tensor: keras.KerasTensor) -> list[Any]:
        operation, call, position = _compat.keras_history(tensor)
        return [original_name(operation), self.indices[id(call)], position]

    def _layer(self, operation: Any) -> Entry:
        name = original_name(operation)
        calls = self.recorded[id(operation)]
        if isinstance(operation, keras.layers.InputLayer):
            entry = describe_layer(operation, self.dialect, self.notes)
            return {**entry, "name": name, "inbound_nodes": []}
        if isinstance(operation, keras.layers.Layer):
            entry = describe_layer(operation, self.dialect, self.notes)
            nodes = [self._node(operation, call) for call in calls]
        else:
            entry, nodes = self._operation(operation, calls)
        return {**entry, "name": name, "inbound_nodes": nodes}

    def _operation(self, operation: Any, calls: list[Any]) -> tuple[Entry, list[Any]]:
        found = self.said(operation)
        if found is None and self.dialect.runs_functions:
            return self._with_function(operation, calls)
        if found is None:
            self.notes.append(_unsaid(operation, "it is in Keras 3's words"))
            entry = keras.saving.serialize_keras_object(operation)
            return entry, [self._keras3_node(call) for call in calls]
        config = {
            "name": original_name(operation),
            "trainable": True,
            "dtype": "float32",
            "function": found[0].symbol,
        }
        entry = {"class_name": found[0].class_name, "config": config}
        return entry, [self._flat(f.first, f.keywords) for f in found]

    def said(self, operation: Any) -> list[describe_operations.OpCall] | None:
        """Returns the calls of an operation in Keras 2's words, `None` without."""
        found = [
            describe_operations.describe(operation, *_compat.without_own_masks(call))
            for call in self.recorded[id(operation)]
        ]
        said = [call for call in found if call is not None]
        one = len({(call.class_name, call.symbol) for call in said}) == 1
        return said if one and len(said) == len(found) else None

    def _with_function(
        self, operation: Any, calls: list[Any]
    ) -> tuple[Entry, list[Any]]:
        """An operation as a layer of a class that Keras 2 runs by its function.

        It is called with tensors alone; all else is in the function.
        """
        self.notes.append(_unsaid(operation, "its function runs there"))
        name = type(operation).__name__
        config = {
            "name": original_name(operation),
            "trainable": True,
            "dtype": "float32",
        }
        nodes = []
        for call in calls:
            leaves = keras.tree.flatten(_compat.without_own_masks(call))
            tensors = [x for x in leaves if isinstance(x, keras.KerasTensor)]
            nodes.append(self._with_keywords(tensors, {}))
        return {"class_name": f"{OPERATION}{name}", "config": config}, nodes

    def _keras3_node(self, call: Any) -> Entry:
        def tensor(value: keras.KerasTensor) -> Entry:
            history = self.reference(value)
            config = {
                "shape": list(value.shape),
                "dtype": value.dtype,
                "keras_history": history,
            }
            return {"class_name": "__keras_tensor__", "config": config}

        args, keywords = _compat.without_own_masks(call)
        return {"args": self._map(args, tensor), "kwargs": self._map(keywords, tensor)}

    def _node(self, layer: Any, call: Any) -> Any:
        first, keywords = _first_and_rest(layer, *_compat.without_own_masks(call))
        # Keras notes the `training` that it chose itself, and overrides any.
        keywords.pop("training", None)
        fixed = _compat.fixed_training(call)
        if fixed is not None:
            keywords["training"] = fixed
        if getattr(layer, "preserves_input_structure", False):
            return self._flat(first, keywords)
        node = self._with_keywords(first, self._keywords(keywords))
        return [node] if isinstance(first, keras.KerasTensor) else node

    def _flat(self, first: Any, keywords: Mapping[str, Any]) -> Any:
        return self._with_keywords(first, self._keywords(keywords))

    def _with_keywords(self, value: Any, keywords: Entry) -> Any:
        if isinstance(value, keras.KerasTensor):
            return [*self.reference(value), keywords]
        if isinstance(value, Mapping):
            return {k: self._with_keywords(v, keywords) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._with_keywords(item, keywords) for item in value]
        return ["_CONSTANT_VALUE", -1, _json(value), keywords]

    def _keywords(self, keywords: Mapping[str, Any]) -> Entry:
        def convert(value: Any) -> Any:
            if isinstance(value, keras.KerasTensor):
                return self.reference(value)
            if isinstance(value, Mapping):
                return {key: convert(item) for key, item in value.items()}
            if isinstance(value, (list, tuple)):
                return [convert(item) for item in value]
            return _json(value)

        return {key: convert(value) for key, value in keywords.items()}


def _unsaid(operation: Any, instead: str) -> Note:
    name = type(operation).__name__
    return Note(
        f"operation {operation.name!r}",
        f"Keras 2 has no equal of the operation {name}, so {instead}",
    )


def unsaid_operations(model: keras.Model) -> list[Any]:
    """Returns the operations of a model that Keras 2 has no words for."""
    found = []
    for each in (model, *_compat.all_layers(model)):
        if isinstance(each, keras.Sequential) or not (
            isinstance(each, keras.Model) and _is_network(each)
        ):
            continue
        network = _Functional(each, KERAS_2, [])
        found += [
            operation
            for operation in each.operations
            if not isinstance(operation, keras.layers.Layer)
            and network.recorded[id(operation)]
            and network.said(operation) is None
        ]
    return found


def _first_and_rest(
    layer: Any, args: list[Any], keywords: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Splits a call into the first argument and all others by keyword."""
    keywords = dict(keywords)
    names = list(call_signature(layer).parameters)
    if not args and names and names[0] in keywords:
        args = [keywords.pop(names[0])]
    rest = dict(zip(names[1:], args[1:], strict=False))
    rest.update(keywords)
    kept = {key: value for key, value in rest.items() if value is not None}
    return args[0] if args else [], kept


def _json(value: Any) -> Any:
    if isinstance(value, slice):
        return {"start": value.start, "stop": value.stop, "step": value.step}
    if value is Ellipsis:
        return {"class_name": "__ellipsis__"}
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return keras.ops.convert_to_numpy(value).tolist()
    return value
