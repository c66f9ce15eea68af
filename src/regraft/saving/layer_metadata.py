"""Keras 2's metadata of a layer or model: the JSON of `keras_metadata.pb`.

Source: docs/format.md, "Keras metadata".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from regraft import _compat
from regraft.model.dialects.describe import old_words, trains, under_names_of_their_own
from regraft.model.dialects.describe_topology import OPERATION, describe_layer
from regraft.model.dialects.dialect import KERAS_2_WITH_FUNCTIONS
from regraft.model.dialects.keras2_arguments import KERAS_2_ARGUMENTS
from regraft.model.dialects.layers import is_regraft
from regraft.model.dialects.names import original_name
from regraft.model.dialects.registry import is_builtin
from regraft.model.keras2.host_layers import file_dtype
from regraft.model.metadata import TensorShape, TypeSpec, has_config
from regraft.model.state_tree import is_network
from regraft.saving.trace_casts import casts
from regraft.saving.trace_specs import expects_training

# The Keras whose words a SavedModel of ours speaks.
KERAS_2_VERSION = "2.21.0"
TENSORFLOW_VERSION = "2.21.0"

_RNN_CLASSES = frozenset(
    {"RNN", "SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}
)
# Layers that cast their inputs in Keras 2, where Keras 3 leaves it to their calls.
_CASTING = frozenset({"GroupNormalization", "LayerNormalization"})
# Layers that must not: TensorFlow sorts no halves into bins, and tf_keras doesn't find
# its own SpectralNormalization by name, so that it runs the traces of ours.
_NOT_CASTING = frozenset({"Discretization", "SpectralNormalization"})
# Layers whose state outside of variables Keras 2 only rebuilds from their config.
_CONFIG_ONLY = frozenset(
    {
        "Normalization",
        "Discretization",
        "StringLookup",
        "IntegerLookup",
        "TextVectorization",
        "Hashing",
        "HashedCrossing",
        "CategoryEncoding",
    }
)


def identifier(layer: keras.Layer | None, class_name: str) -> str:
    """Returns the identifier that an object graph gives a layer of this class."""
    if class_name == "InputLayer":
        return "_tf_keras_input_layer"
    if isinstance(layer, keras.Sequential):
        return "_tf_keras_sequential"
    if is_network(layer):
        return "_tf_keras_network"
    if isinstance(layer, keras.Model):
        return "_tf_keras_model"
    is_rnn = class_name in _RNN_CLASSES and not _has_own_cell(layer)
    return "_tf_keras_rnn_layer" if is_rnn else "_tf_keras_layer"


def _has_own_cell(layer: keras.Layer | None) -> bool:
    """Whether a class is missing where the user's aren't: Keras 2 then runs functions.

    It does so for every kind of layer but one that says it is recurrent.
    """
    cell = getattr(layer, "cell", None)
    cells = [cell, *getattr(cell, "cells", ())]
    return any(one is not None and not is_builtin(type(one)) for one in cells)


def _casts(layer: keras.Layer | None, class_name: str) -> bool:
    """Whether Keras 2 casts a layer's inputs to its dtype before it calls it."""
    if layer is None or class_name in _CASTING:
        return not class_name.startswith(OPERATION)
    if class_name in _NOT_CASTING:
        return False
    if is_network(layer):
        return _takes_float32(layer)
    # Keras 2 lacks the class: its traces cast what they are given.
    from_traces = is_builtin(type(layer)) and class_name not in KERAS_2_ARGUMENTS
    return casts(layer) and not from_traces


def _takes_float32(model: keras.Model) -> bool:
    """Whether what comes into a network may be cast to float32.

    Keras 2 does so where it lacks the network's class, whatever its policy is.
    """
    floats = {t.dtype for t in model.inputs if keras.backend.is_float_dtype(t.dtype)}
    return floats <= {"float32"}


_NETWORKS = ("Functional", "Model", "Sequential")


def layer_metadata(
    layer: keras.Layer | None, entry: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the metadata of a layer.

    Args:
        layer: The live layer; `None` for an operation that Keras 2 has as a layer.
        entry: `{"class_name", "config"}` in Keras 2's dialect.
    """
    config = entry["config"]
    class_name = entry["class_name"]
    if class_name == "InputLayer":
        keys = ("name", "dtype", "sparse", "ragged", "batch_input_shape")
        kept = {key: config[key] for key in keys if key in config}
        return {"class_name": class_name, **kept, "config": config}
    found = {
        "name": config.get("name", getattr(layer, "name", None)),
        "trainable": layer is None or trains(layer),
        "expects_training_arg": _expects_training(layer),
        "dtype": _dtype(layer, config),
        "batch_input_shape": config.get("batch_input_shape"),
        "stateful": bool(getattr(layer, "stateful", False)),
        "must_restore_from_config": class_name in _CONFIG_ONLY,
        "preserve_input_structure_in_config": False,
        "autocast": _casts(layer, class_name),
        "class_name": class_name,
        "config": config if has_config(config) else None,
    }
    shape = build_input_shape(layer)
    if shape is not None:
        found["build_input_shape"] = shape
    if layer is not None and not is_builtin(type(layer)) and layer.input_spec:
        found["input_spec"] = _input_spec(layer.input_spec)
    return found


def _dtype(layer: keras.Layer | None, config: Mapping[str, Any]) -> Any:
    """Returns the dtype policy that Keras 2 gives a layer.

    What the config of a class of one's own says may be another thing, as the dtype of
    its variables.
    """
    own = layer is not None and not is_builtin(type(layer))
    first, second = config.get("dtype"), _policy(layer)
    return (second or first) if own else (first or second)


def _policy(layer: keras.Layer | None) -> Any:
    """Returns the dtype policy of a layer whose config doesn't say it."""
    if layer is None:
        return "float32"
    policy = keras.dtype_policies.serialize(layer.dtype_policy)
    return old_words("dtype", policy, layer.name, [])


def _input_spec(spec: Any) -> Any:
    if isinstance(spec, keras.InputSpec):
        shape = None if spec.shape is None else list(spec.shape)
        config = {
            "dtype": spec.dtype,
            "shape": shape,
            "ndim": spec.ndim,
            "max_ndim": spec.max_ndim,
            "min_ndim": spec.min_ndim,
            "axes": {str(axis): dim for axis, dim in (spec.axes or {}).items()},
        }
        return {"class_name": "InputSpec", "config": config}
    if isinstance(spec, Mapping):
        return {str(key): _input_spec(item) for key, item in spec.items()}
    if isinstance(spec, list | tuple):
        return [_input_spec(item) for item in spec]
    return None


def model_metadata(
    model: keras.Model,
    entry: Mapping[str, Any],
    training_config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the metadata of a model, which adds its input specs.

    Args:
        model: The live model.
        entry: `{"class_name", "config"}` in Keras 2's dialect.
        training_config: Keras 2's compile arguments, of the root alone.
    """
    found = layer_metadata(model, entry)
    found.pop("stateful")
    if entry["class_name"] in _NETWORKS and not is_network(model):
        # One that runs as a whole; Keras 2 would make a network of its config.
        found["config"] = None
    spec = save_spec(model)
    full: Any = None if spec is None else ([spec], {})
    found |= {
        "is_graph_network": is_network(model),
        "full_save_spec": _saved_spec(model, "full_save_spec") or full,
        "save_spec": spec,
        "keras_version": KERAS_2_VERSION,
        "backend": "tensorflow",
        "model_config": {"class_name": entry["class_name"], "config": found["config"]},
    }
    if training_config is not None:
        found["training_config"] = training_config
    return found


def _expects_training(layer: keras.Layer | None) -> bool:
    """Whether a layer's functions take `training`, as their traces have it."""
    return layer is not None and expects_training(layer, _compat.all_layers(layer))


def is_rebuilt(layer: keras.Layer) -> bool:
    """Whether Keras 2 makes a layer of a traced model from its config, if it can.

    It can't where the config holds one of a class that it lacks: a cell in a stack.
    """
    classes = set(map(type, _compat.all_layers(layer)))
    known = all(is_builtin(cls) or is_regraft(cls) for cls in classes)
    if not known or is_network(layer) or build_input_shape(layer) is None:
        return False
    entry = describe_layer(layer, KERAS_2_WITH_FUNCTIONS, [])
    name = under_names_of_their_own(entry, True)["class_name"]
    # tf_keras doesn't find its own SpectralNormalization by name.
    return name in KERAS_2_ARGUMENTS and name != "SpectralNormalization"


def build_input_shape(layer: keras.Layer | None) -> Any:
    """Returns the shapes that a layer was called or built with, `None` if neither.

    tf_keras rebuilds a layer from its config only if it is told these.
    """
    if layer is None:
        return None
    saved = _saved_spec(layer, "build_input_shape")
    if saved is not None:
        return saved
    found = layer.get_build_config() or {}
    if "input_shape" in found:
        return _shapes(found["input_shape"])
    try:
        of_model = is_network(layer)
        inputs = layer.input if of_model else _compat.first_inputs(layer)
    except (AttributeError, ValueError):  # never called symbolically
        inputs = None
    if inputs is not None:
        return _tensor_shapes(inputs)
    shapes = found.get("shapes_dict")
    return [_shapes(shape) for shape in shapes.values()] if shapes else None


def _saved_spec(layer: keras.Layer, key: str) -> Any:
    """What a file says that a layer was called with, of which its traces are left."""
    return getattr(layer, "saved_specs", {}).get(key)


def _tensor_shapes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tensor_shapes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tensor_shapes(item) for item in value]
    return TensorShape(tuple(value.shape))


def _shapes(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {key: _shapes(item) for key, item in shape.items()}
    if isinstance(shape, TensorShape):  # as a file has it
        return shape
    if shape is None or all(dim is None or isinstance(dim, int) for dim in shape):
        return TensorShape(None if shape is None else tuple(shape))
    return [_shapes(item) for item in shape]


def save_spec(model: keras.Model) -> Any:
    """Returns the nested input specs of a model, `None` where nothing is known."""
    if is_network(model):
        try:
            return _specs(model.input)
        except (AttributeError, ValueError):
            return None
    saved = _saved_spec(model, "save_spec")
    if saved is not None:
        return saved
    shape = build_input_shape(model)
    if isinstance(shape, list) and len(shape) == 1:
        shape = shape[0]
    return None if shape is None else _shape_specs(shape, model)


def _specs(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _specs(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_specs(item) for item in value)
    shape, dtype = TensorShape(value.shape), file_dtype(value)
    # The tensor's own name counts the tensors of the process.
    source = _compat.keras_history(value)[0]
    name = original_name(source) if isinstance(source, keras.Layer) else value.name
    return TypeSpec("tf.TensorSpec", (shape, dtype, name))


def _shape_specs(shape: Any, model: keras.Model) -> Any:
    if isinstance(shape, dict):
        return {key: _shape_specs(item, model) for key, item in shape.items()}
    if isinstance(shape, list):
        return [_shape_specs(item, model) for item in shape]
    return TypeSpec("tf.TensorSpec", (shape, model.input_dtype, "input_1"))
