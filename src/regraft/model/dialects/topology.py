"""A whole network's config, in any dialect, to a live Keras model.

The network is made by calling its layers, one recorded call after the other, in an
order in which every input is there. Nothing recurses over calls, so that a chain of
any length is fine; only networks inside networks nest.

Two recorded forms of a call are read:

* Keras 1 and 2: `[[layer, node, tensor, keywords], …]`, nested as the layer's first
  argument is, or one such list alone (op layers). Tensors among the keywords are
  `[layer, node, tensor]`.
* Keras 3: `{"args": […], "kwargs": {…}}` with `__keras_tensor__` objects.
"""

from __future__ import annotations

import sys
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras

from regraft._compat import (
    connect_unused,
    fix_training,
    keep_fixed_training,
    keep_operations,
    keras_mask,
    latest_call,
    set_own_trainable,
)
from regraft._compat.ranks import take_inputs_of_other_ranks
from regraft.errors import FormatError, LimitError, UnsupportedError
from regraft.graph.runtime.composites import RaggedTensor, SparseTensor
from regraft.model.dialects import calls, keras1, keras1_topology
from regraft.model.dialects.context import NODE, BuildContext, Entry
from regraft.model.dialects.layers import build_from_row
from regraft.model.dialects.names import (
    remember_name,
    reserve_names,
    stand_in,
    stand_ins,
)
from regraft.model.dialects.objects import is_entry, shared
from regraft.model.dialects.operations import build_operation, is_operation, with_module
from regraft.model.dialects.registry import NETWORKS, find_custom
from regraft.model.keras2.host_layers import InputLayer
from regraft.model.keras2.layers_merging import makes_masks

MAX_NESTING = 50
MAX_LAYERS = 20_000


def build_layer(entry: Entry, context: BuildContext) -> keras.layers.Layer:
    """Makes a live layer or network from its entry in any dialect.

    Args:
        entry: `{"class_name": …, "config": …}`.
        context: Of this build.

    Raises:
        FormatError: The entry is malformed.
        ValueError: Nobody knows the class.
        UnsupportedError: Keras 3 cannot do what the config asks for.
    """
    _check(entry)
    if is_network(entry):
        return build_network(entry, context)
    context.depth += 1
    try:
        if context.depth > MAX_NESTING:
            raise LimitError(f"Layers are nested more than {MAX_NESTING} deep")
        return _once(
            entry, context, lambda: build_from_row(entry, context, build_layer)
        )
    finally:
        context.depth -= 1


def _once(entry: Entry, context: BuildContext, make: Callable[[], Any]) -> Any:
    """Makes a layer, or returns the one made before of the same object."""
    place = entry.get(NODE)
    if not isinstance(place, int):
        return shared(entry, context, make)
    if place not in context.placed_layers:
        context.placed_layers[place] = shared(entry, context, make)
    return context.placed_layers[place]


def is_network(entry: Entry) -> bool:
    """Whether an entry describes a Sequential or Functional model."""
    config = entry.get("config")
    if isinstance(config, (list, tuple)):  # Sequential before Keras 2.2.3
        return entry["class_name"] == "Sequential"
    if not isinstance(config, Mapping) or not isinstance(
        config.get("layers"), (list, tuple)
    ):
        return False
    if entry["class_name"] in NETWORKS or "input_layers" in config:
        return True
    # A registered subclass of Sequential; `layers` alone may be a wrapper's key.
    return all(is_entry(layer) for layer in config["layers"]) and "name" in config


def build_network(entry: Entry, context: BuildContext) -> keras.Model:
    """Makes a live Sequential or Functional model, or a registered subclass.

    Raises:
        FormatError: The recorded calls don't fit together.
        ValueError: Nobody knows a class.
        UnsupportedError: Keras 3 cannot do what a config asks for.
    """
    _check(entry)
    return _once(entry, context, lambda: _build_network(entry, context))


def _check(entry: Any) -> None:
    if not is_entry(entry):
        raise FormatError(
            "Invalid layer entry",
            expected="an object with 'class_name' and 'config'",
            received=type(entry).__name__
            if not isinstance(entry, Mapping)
            else f"keys {sorted(map(str, entry))[:8]}",
        )


def _build_network(entry: Entry, context: BuildContext) -> keras.Model:
    context.depth += 1
    try:
        if context.depth > MAX_NESTING:
            raise LimitError(f"Models are nested more than {MAX_NESTING} deep")
        config = entry["config"]
        if context.dialect.generation == 1 and context.keras1_layout is None:
            context.keras1_layout = keras1.layout_of(config)
        if isinstance(config, (list, tuple)):
            config = {"name": entry.get("name") or "sequential", "layers": config}
        if keras1_topology.begins_with_branches(list(config["layers"])):
            config = keras1_topology.as_graph(
                str(config.get("name") or "sequential"), list(config["layers"])
            )
        custom = _network_class(entry, context)
        if "input_layers" in config:
            model = _Functional(config, context).build(custom, entry)
        else:
            model = _build_sequential(config, context, custom)
    finally:
        context.depth -= 1
    if config.get("trainable") is False:
        set_own_trainable(model, False)
    if context.depth and context.dialect.computes_as_keras2:
        take_inputs_of_other_ranks(model)
    return model


def _network_class(entry: Entry, context: BuildContext) -> type | None:
    name = entry["class_name"]
    for candidate in (entry.get("registered_name"), name):
        if candidate and candidate not in NETWORKS:
            found = find_custom(candidate, context)
            if isinstance(found, type) and issubclass(found, keras.Model):
                return found
    if name not in NETWORKS:
        context.unknown_networks.append(name)
        context.note(
            f"model {entry['config'].get('name')!r}",
            f"its class {name!r} is unknown, so it came back as a plain Keras model; "
            "pass the class in `custom_objects` to get its own methods (`train_step`)",
        )
    return None


# --- Sequential ------------------------------------------------------------------


def _build_sequential(
    config: Mapping[str, Any], context: BuildContext, custom: type | None
) -> keras.Model:
    entries = list(config["layers"])
    for entry in entries:
        _check(entry)
    entries = _with_adapted_shape(entries, context)
    names = [_layer_name(entry, index) for index, entry in enumerate(entries)]
    reserve_names(stand_ins(names))
    layers: list[keras.layers.Layer] = []
    masked = False
    for entry, name, accepted in zip(entries, names, stand_ins(names), strict=True):
        layer = build_layer(_renamed(entry, accepted), context)
        _remember(layer, name, context)
        layers.append(layer)
        if masked and context.dialect.generation < 3:
            calls.expect_masks(layer)
        masked = (masked and calls.hands_on_masks(layer)) or makes_masks(layer)
    name = str(config.get("name") or "sequential")
    shapes = config.get("build_input_shape")
    if custom is None and (features := _feature_inputs(layers, shapes)):
        model = _of_features(layers, features, name)
        _remember(model, name, context)
        return model
    shape = _sequential_input_shape(entries, config)
    if shape is not None and not _has_inputs(layers[0]):
        dtype = _input_dtype(entries[0], layers[0], context)
        entry = f"{names[0]}_input".replace("/", "__")
        if entry in {layer.name for layer in layers}:
            entry += "_1"
        cls: Any = InputLayer if dtype == "string" else keras.layers.InputLayer
        inputs = cls(batch_shape=shape, dtype=dtype, name=entry)
        layers.insert(0, inputs)
    if layers and all(isinstance(la, keras.layers.InputLayer) for la in layers):
        # Keras 3 can't call a chain of nothing.
        layers.append(keras.layers.Identity(name=stand_in("identity", names)))
    cls = custom or keras.Sequential
    try:
        model = cls(name=name.replace("/", "__"), layers=layers)
    except (ValueError, TypeError, NotImplementedError):
        context.stuck = next((la for la in layers if not _was_called(la)), None)
        context.call_failed = context.call_failed or context.stuck is not None
        raise
    except AttributeError as error:
        stuck = next((la for la in layers if not _was_called(la)), None)
        kinds = (RaggedTensor.__name__, SparseTensor.__name__)
        if stuck is None or not any(f"'{kind}' object" in str(error) for kind in kinds):
            raise
        raise UnsupportedError(
            f"Layer {stuck.name!r} is called on a sparse or ragged tensor, for which "
            "networks of Keras 3 have no symbols."
        ) from error
    _remember(model, name, context)
    return model


def _was_called(layer: keras.layers.Layer) -> bool:
    try:
        return layer.output is not None
    except (AttributeError, ValueError):
        return False


def _with_adapted_shape(entries: list[Any], context: BuildContext) -> list[Any]:
    """Says the lengths of the inputs of a chain that `Normalization` begins.

    `adapt` of Keras 2 builds the layer on its data, and notes of their shape the rank
    alone, which is then the model's input shape. Its moments have the lengths.
    """
    index = next((i for i, entry in enumerate(entries) if not _is_input(entry)), None)
    if index is None or entries[index]["class_name"] != "Normalization":
        return entries
    config = entries[index]["config"]
    ask = context.stored_shape
    mean = None if ask is None else ask(entries[index], "mean")
    shape = _sequential_input_shape(entries, {})
    if mean is None or not shape or not isinstance(config, Mapping):
        return entries
    axes = config.get("axis", -1)
    axes = axes if isinstance(axes, (list, tuple)) else [axes]
    if not all(isinstance(axis, int) for axis in axes):
        return entries
    kept = sorted(axis % len(shape) for axis in axes)
    lengths = dict(zip(kept, mean, strict=False))
    known = [
        lengths.get(axis) if length is None else length
        for axis, length in enumerate(shape)
    ]
    return [
        {**entry, "config": {**entry["config"], "batch_input_shape": tuple(known)}}
        if i <= index and isinstance(entry["config"], Mapping)
        else entry
        for i, entry in enumerate(entries)
    ]


def _is_input(entry: Entry) -> bool:
    return bool(entry["class_name"] == "InputLayer")


def _feature_inputs(
    layers: list[keras.layers.Layer], shapes: Any
) -> dict[str, keras.layers.InputLayer]:
    """Inputs for the features that a chain's first layer reads, if it reads such."""
    make = getattr(layers[0], "feature_inputs", None) if layers else None
    return {} if make is None else make(shapes)


def _of_features(
    layers: list[keras.layers.Layer],
    features: Mapping[str, keras.layers.InputLayer],
    name: str,
) -> keras.Model:
    """A network of a chain that begins with a dict, which Keras 3 gives no graph."""
    inputs = {key: item.output for key, item in features.items()}
    outputs: Any = inputs
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name=name.replace("/", "__"))


def _has_inputs(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, (keras.layers.InputLayer, keras.Model)) and bool(
        getattr(layer, "inputs", None) or isinstance(layer, keras.layers.InputLayer)
    )


def _sequential_input_shape(entries: list[Any], config: Mapping[str, Any]) -> Any:
    first = entries[0]["config"] if entries else None
    shape = first.get("batch_input_shape") if isinstance(first, Mapping) else None
    # A deferred Sequential was built on the first data it saw.
    shape = shape or config.get("build_input_shape")
    if isinstance(shape, Mapping):
        shape = shape.get("items") or shape.get("config", {}).get("items")
    if not isinstance(shape, (list, tuple)):
        return None
    flat = all(length is None or isinstance(length, int) for length in shape)
    return tuple(shape) if flat else None


def _input_dtype(
    entry: Entry, layer: keras.layers.Layer, context: BuildContext
) -> str | None:
    if entry["config"].get("input_dtype"):  # Keras 1
        return str(entry["config"]["input_dtype"])
    if context.dialect.dtype_is_of_inputs:
        dtype = entry["config"].get("dtype")
        return dtype if isinstance(dtype, str) else layer.variable_dtype
    return layer.variable_dtype


# --- Functional ------------------------------------------------------------------


@dataclass
class _Call:
    """One recorded call of a layer that waits for its inputs."""

    layer: str
    index: int
    data: Any
    missing: set[tuple[str, int]] = field(default_factory=set)


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


class _Functional:
    """The building of one Functional model."""

    def __init__(self, config: Mapping[str, Any], context: BuildContext) -> None:
        self.config = config
        self.context = context
        self.layers: dict[str, Any] = {}
        self.tensors: dict[tuple[str, int], list[Any]] = {}
        self.offsets: dict[str, int] = {}
        self.kinds: dict[str, Any] = {}
        self._masked: set[int] = set()

    def build(self, custom: type | None, entry: Entry) -> keras.Model:
        entries = list(self.config["layers"])
        names = []
        for index, layer in enumerate(entries):
            _check(layer)
            names.append(_layer_name(layer, index))
        for name, layer in zip(names, entries, strict=True):
            self.kinds[name] = layer["config"]
        self.offsets = calls.node_offsets(entries, names, self.config, self.context)
        reserve_names(stand_ins(names))
        self._make_layers(entries, names)
        self._run(self._recorded_calls(entries, names))
        inputs = self._struct("input_layers")
        outputs = self._struct("output_layers")
        if self.context.dialect.generation < 3:
            inputs, outputs = calls.single(inputs), calls.single(outputs)
        name = self.config.get("name") or "model"
        cls = custom or keras.Model
        connect_unused(keras.tree.flatten(inputs))
        model = _construct(cls, inputs, outputs, name.replace("/", "__"), self.config)
        keep_fixed_training(model)
        if self.context.dialect.computes_as_keras2 and hasattr(model, "output_names"):
            # A layer that makes several outputs gave each a name of its own.
            model.output_names = stand_ins(model.output_names)
        self._keep_all(model)
        _remember(model, name, self.context)
        return model

    def _keep_all(self, model: keras.Model) -> None:
        """Keeps calls that lead to no output, as those of `AddLoss`."""
        if not hasattr(model, "operations"):
            return
        run = {id(operation) for operation in model.operations}
        rest = [
            tensor
            for (name, _), tensors in self.tensors.items()
            if id(self.layers[name]) not in run
            for tensor in tensors
        ]
        if rest:
            keep_operations(model, rest, self.layers.values())

    def _make_layers(self, entries: list[Any], names: list[str]) -> None:
        for entry, name, accepted in zip(entries, names, stand_ins(names), strict=True):
            if name in self.layers:
                raise FormatError("A model has a layer name twice", received=name)
            entry = with_module(_renamed(entry, accepted), self.context)
            entry = calls.told_of_masks(entry, self.context)
            if is_operation(entry):
                layer = build_operation(entry, self.context)
            else:
                layer = build_layer(entry, self.context)
                _remember(layer, name, self.context)
            self.layers[name] = layer
            if isinstance(layer, keras.layers.InputLayer):
                self.tensors[name, 0] = [layer.output]

    def _recorded_calls(self, entries: list[Any], names: list[str]) -> list[_Call]:
        recorded = []
        for entry, name in zip(entries, names, strict=True):
            for position, data in enumerate(entry.get("inbound_nodes") or ()):
                if isinstance(self.layers[name], keras.layers.InputLayer):
                    continue
                index = position + self.offsets[name]
                call = _Call(name, index, data)
                call.missing = calls.references(data, self.layers)
                if position:
                    call.missing.add((name, index - 1))
                call.missing -= self.tensors.keys()
                recorded.append(call)
        return recorded

    def _run(self, recorded: list[_Call]) -> None:
        waiting: dict[tuple[str, int], list[_Call]] = defaultdict(list)
        for call in recorded:
            for reference in call.missing:
                waiting[reference].append(call)
        ready = deque(call for call in recorded if not call.missing)
        done = 0
        while ready:
            call = ready.popleft()
            key = (call.layer, call.index)
            self.tensors[key] = self._call(call)
            done += 1
            for other in waiting.pop(key, ()):
                other.missing.discard(key)
                if not other.missing:
                    ready.append(other)
        if done != len(recorded):
            stuck = next(call for call in recorded if call.missing)
            raise FormatError(
                f"Layer {stuck.layer!r} is called on a tensor that nothing makes",
                received=sorted(stuck.missing)[0],
            )

    def _call(self, call: _Call) -> list[Any]:
        layer = self.layers[call.layer]
        args, keywords = calls.arguments(layer, call.data, self.tensors, self.layers)
        given = keras.tree.flatten([args, keywords])
        if not any(map(_is_symbolic, given)):
            # Keras 2 forgets all that an operation takes as `*args`, and the first
            # argument may be none of its tensors: `tf.einsum("ij,jk->ik", a, b)`.
            raise UnsupportedError(
                f"The config of model {self.config.get('name')!r} doesn't say what "
                f"layer {call.layer!r} is called on: the Keras that wrote it lost that."
            )
        calls.refuse_sparse(layer, given, call.layer)
        masked = self.context.dialect.generation < 3 and any(
            keras_mask(tensor) is not None or id(tensor) in self._masked
            for tensor in given
        )
        if masked:
            calls.expect_masks(layer)
        try:
            outputs = calls.invoke(layer, args, keywords, masked=masked)
            self._keep_training(layer, keywords)
        except Exception as error:
            self.context.call_failed = True
            self.context.stuck = layer
            error.add_note(
                f"While calling layer {call.layer!r} (call {call.index}) of model "
                f"{self.config.get('name')!r}."
            )
            raise
        if _has_composites(outputs):
            raise UnsupportedError(
                f"Layer {call.layer!r} gives sparse or ragged tensors, for which "
                "networks of Keras 3 have no symbols."
            )
        made = keras.tree.flatten(outputs)
        network = isinstance(layer, keras.Model)
        if (masked and calls.hands_on_masks(layer)) or (network and makes_masks(layer)):
            # A network's symbols have no masks; what it gives in a run may have.
            self._masked.update(map(id, made))
        return made

    def _keep_training(self, layer: Any, keywords: Mapping[str, Any]) -> None:
        fixed = keywords.get("training")
        if not self.context.dialect.call_keeps_training:
            return
        if isinstance(fixed, (bool, int)) and isinstance(layer, keras.layers.Layer):
            fix_training(latest_call(layer), bool(fixed))

    def _struct(self, key: str) -> Any:
        data = self.config.get(key)
        tensors = self.tensors
        if self.context.dialect.generation == 3:
            tensors = self._counted_from_one()
        found = calls.tensors_of(data, tensors, self.layers)
        ends = keras.tree.flatten(found)
        if not ends or not all(isinstance(end, keras.KerasTensor) for end in ends):
            raise FormatError(f"A model has no {key}", received=data)
        return found

    def _counted_from_one(self) -> dict[tuple[str, int], list[Any]]:
        """Tensors by the indices that Keras 3 uses for inputs and outputs.

        There, and only there, it counts a Functional model's creation as a call.
        """
        return {
            (name, index + ("input_layers" in self.kinds[name])): tensors
            for (name, index), tensors in self.tensors.items()
        }


def _construct(
    cls: type, inputs: Any, outputs: Any, name: str, config: Mapping[str, Any]
) -> keras.Model:
    with _deep_enough(len(config["layers"])):
        return _constructed(cls, inputs, outputs, name, config)


@contextmanager
def _deep_enough(layers: int) -> Iterator[None]:
    """Makes room for Keras, which follows a graph by calling itself."""
    if layers > MAX_LAYERS:
        raise LimitError(f"A model has more than {MAX_LAYERS} layers", received=layers)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 3 * layers + 1000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _constructed(
    cls: type, inputs: Any, outputs: Any, name: str, config: Mapping[str, Any]
) -> keras.Model:
    if cls is keras.Model:
        with warnings.catch_warnings():
            # Keras 2 never asked that keys be the names of the inputs.
            warnings.filterwarnings("ignore", "When providing `inputs` as a dict")
            return keras.Model(inputs, outputs, name=name)
    known = {"name", "trainable", "layers", "input_layers", "output_layers"}
    extra = {key: value for key, value in config.items() if key not in known}
    make: Any = cls
    model: keras.Model = make(inputs=inputs, outputs=outputs, name=name, **extra)
    return model


# --- names -----------------------------------------------------------------------


def _layer_name(entry: Entry, index: int) -> str:
    config = entry["config"]
    name = entry.get("name")
    if name is None and isinstance(config, Mapping):
        name = config.get("name")
    if name is None:
        return f"{entry['class_name'].lower()}_{index}"
    return str(name)


def _renamed(entry: Entry, name: str) -> Entry:
    config = entry["config"]
    if not isinstance(config, Mapping):
        return {**entry, "name": name}
    return {**entry, "name": name, "config": {**config, "name": name}}


def _remember(layer: keras.layers.Layer, name: str, context: BuildContext) -> None:
    if layer.name != name:
        remember_name(layer, name)
        context.original_names[layer.name] = name


def _has_composites(value: Any) -> bool:
    """Whether something is made of several tensors that count as one in a config."""
    if isinstance(value, SparseTensor | RaggedTensor):
        return True
    if isinstance(value, Mapping):
        return any(map(_has_composites, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_composites, value))
