"""Builds a model that has no variables yet, from the input specs of its file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from regraft import _compat
from regraft.errors import MismatchError
from regraft.loading.functions import FunctionStore
from regraft.loading.revived_layer import Revived
from regraft.loading.run_trace import symbolic
from regraft.model.description import ModelDescription, ObjectNode, Variable
from regraft.model.dialects.context import NODE, Entry, Shape
from regraft.model.metadata import TensorShape, TypeSpec

_ACTIVATIONS = ("activation", "recurrent_activation")


def is_built(model: keras.Model) -> bool:
    """Whether a model's variables exist."""
    if isinstance(model, Revived):
        return True
    if isinstance(model, keras.Sequential) or hasattr(model, "operations"):
        return bool(model.built)
    return bool(model.built and model.variables)


def build_from_spec(
    model: keras.Model,
    description: ModelDescription,
    store: FunctionStore | None = None,
) -> None:
    """Calls a model symbolically on inputs as the file describes them.

    Of a chain that was called before it was trained, TensorFlow 2.1 tells in its
    functions alone what with.

    A file that doesn't describe its inputs leaves the model as it is: its
    variables are made, and restored from nothing, at its first call.

    Raises:
        MismatchError: The model can't be called on inputs as the file has them.
    """
    arguments, keywords = _specs(description)
    if not arguments and store is not None and isinstance(model, keras.Sequential):
        arguments = _traced_inputs(description, store)
    if not arguments:
        return
    if (first := _first_layer(model, arguments, keywords)) is not None:
        _compat.begin_with(model, first)
        arguments = [first.output]
    try:
        model(
            *(_symbolic(spec) for spec in arguments),
            **{name: _symbolic(spec) for name, spec in keywords.items()},
        )
    except Exception as error:
        raise MismatchError(
            f"Cannot build '{model.name}' of class {type(model).__name__}: calling it "
            f"on the inputs that '{description.path}' describes failed with "
            f"{type(error).__name__}: {str(error).rstrip('.')}. Pass a class whose "
            f"`call` takes them in `custom_objects={{{type(model).__name__!r}: …}}`, "
            "or open the file with `regraft.load` to call its signatures."
        ) from error


def _first_layer(
    model: keras.Model, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> keras.layers.InputLayer | None:
    """Returns what a chain begins with that had no graph of layers in Keras 2.

    The batch that it was called with first is one of many, unless a state has its size.
    """
    if not isinstance(model, keras.Sequential) or len(arguments) > 1 or keywords:
        return None
    spec = arguments[0]
    if not isinstance(spec, TypeSpec) or not spec.shape or not spec.label:
        return None
    layers = _compat.all_layers(model)
    if spec.dtype == "string" or any(getattr(x, "stateful", False) for x in layers):
        return None
    if "/" in spec.label or spec.label in {layer.name for layer in layers}:
        return None
    shape = (None, *spec.shape[1:])
    return keras.layers.InputLayer(batch_shape=shape, dtype=spec.dtype, name=spec.label)


def build_activations(model: keras.Model) -> None:
    """Builds layers that are another layer's activation.

    Keras 3 makes their variables when they are called first, where the layer around
    them says its output's shape without a call.
    """
    for layer in _compat.all_layers(model):
        for name in _ACTIVATIONS:
            inner = getattr(layer, name, None)
            if not isinstance(inner, keras.Layer) or inner.built:
                continue
            shape = _inner_shape(layer)
            if shape is not None:
                inner.build(shape)


def _inner_shape(layer: keras.Layer) -> Shape | None:
    """The shape of what a built layer's activation is called on."""
    if hasattr(layer, "state_size"):
        return (None, layer.units) if hasattr(layer, "units") else None
    shape = (layer.get_build_config() or {}).get("input_shape")
    return None if shape is None else tuple(layer.compute_output_shape(shape))


def takes_text(description: ModelDescription) -> bool:
    """Whether the file says that the model was called with text."""
    leaves = keras.tree.flatten(_specs(description))
    return any(isinstance(x, TypeSpec) and x.dtype == "string" for x in leaves)


def stored_shape(
    description: ModelDescription, entry: Entry, weight: str
) -> Shape | None:
    """Returns the shape that a layer's weight has in the file; `None` if unknown.

    Args:
        description: Of the file.
        entry: The layer's config; in a SavedModel it says which object it is.
        weight: The name of the layer's attribute.
    """
    if description.objects is not None:
        place = entry.get(NODE)
        node = description.objects.nodes[place] if isinstance(place, int) else None
        found = node.children.get(weight) if isinstance(node, ObjectNode) else None
        return found.shape if isinstance(found, Variable) else None
    layers = description.weights.layers if description.weights is not None else ()
    config = entry["config"]
    name = config.get("name") if isinstance(config, Mapping) else None
    for layer in layers:
        for path, tensor in layer.weights if layer.name == name else ():
            if path.rpartition("/")[2].partition(":")[0] == weight:
                return tuple(tensor.shape)
    return None


def _specs(description: ModelDescription) -> tuple[list[Any], dict[str, Any]]:
    metadata: Any = {}
    if description.objects is not None:
        metadata = description.objects.root.metadata or {}
    full = metadata.get("full_save_spec")
    if isinstance(full, tuple) and len(full) == 2 and full[0]:
        return list(full[0]), dict(full[1])
    for key in ("save_spec", "build_input_shape"):
        if metadata.get(key) is not None:
            return [metadata[key]], {}
    config = (description.config or {}).get("config")
    shape = config.get("build_input_shape") if isinstance(config, dict) else None
    return ([shape] if shape is not None else []), {}


def _traced_inputs(description: ModelDescription, store: FunctionStore) -> list[Any]:
    """Symbolic tensors for what the first trace of a model's call takes first."""
    if description.objects is None:
        return []
    function = store.function(description.objects.root.child("__call__"))
    if function is None:
        return []
    found = function.traces[0].arguments(function.argument_names)
    return [symbolic(first) for first in list(found.values())[:1]]


def saved_specs(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a layer's metadata say that it was called and built with, by key."""
    keys = ("save_spec", "full_save_spec", "build_input_shape")
    return {key: metadata[key] for key in keys if metadata.get(key) is not None}


def _symbolic(spec: Any) -> Any:
    """A `KerasTensor` for every tensor of a nested spec; other values as they are."""
    if isinstance(spec, TypeSpec):
        return keras.KerasTensor(
            spec.shape or (None,), dtype=spec.dtype or "float32", name=spec.label
        )
    if isinstance(spec, TensorShape):
        return keras.KerasTensor(spec.dims or (None,), dtype=keras.config.floatx())
    if isinstance(spec, dict):
        return {name: _symbolic(item) for name, item in spec.items()}
    if isinstance(spec, list | tuple) and _is_shape(spec):
        return keras.KerasTensor(tuple(spec), dtype=keras.config.floatx())
    if isinstance(spec, list | tuple):
        return type(spec)(_symbolic(item) for item in spec)
    return spec


def _is_shape(spec: Any) -> bool:
    return bool(spec) and all(dim is None or isinstance(dim, int) for dim in spec)


def build_shapes(
    layer: keras.Layer, metadata: Mapping[str, Any], config: Mapping[str, Any]
) -> list[Any]:
    """Returns the shapes to build a layer for; none where the file has none.

    An attention's are in its config, by the names that `build` has for them.
    """
    parameters = inspect.signature(layer.build).parameters
    names = [name for name in parameters if name.endswith("_shape")]
    if len(names) > 1 and config.get(names[0]) is not None:
        return [_plain_shape(config.get(name)) for name in names]
    if (shape := metadata.get("build_input_shape")) is None:
        return []
    plain = _plain_shape(shape)
    are_several = isinstance(plain, list) and isinstance(next(iter(plain), 0), Sequence)
    return plain[: len(names)] if are_several and len(names) > 1 else [plain]


def _plain_shape(shape: Any) -> Any:
    if isinstance(shape, TensorShape):
        return shape.dims
    if isinstance(shape, list):
        return [_plain_shape(item) for item in shape]
    return shape
