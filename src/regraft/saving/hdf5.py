"""A described model → a Keras HDF5 file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.model import metadata as keras_json
from regraft.model.compile.names import FUNCTIONS
from regraft.model.dialects.names import original_name
from regraft.model.optimizers import (
    accumulated_to_hdf5,
    inner_optimizer,
    state_from_keras,
    state_to_hdf5,
)
from regraft.model.optimizers.slots import U_PRODUCT
from regraft.model.ordering import (
    ordered_by_keras_3,
    ordered_variables,
    trainable_variables,
)
from regraft.model.state_tree import (
    network_layers,
    own_tree,
    state_tree,
    state_tree_with_metrics,
    top_layers,
)
from regraft.model.values import KerasVariableTensor
from regraft.options import SaveOptions
from regraft.saving.bilingual import (
    bilingual,
    bilingual_loss,
    bilingual_optimizer,
)
from regraft.saving.describe import SavedModelParts
from regraft.saving.layer_metadata import KERAS_2_VERSION
from regraft.storage.hdf5_file import Hdf5Layer, Hdf5ModelFile, write_hdf5
from regraft.storage.tensor import ArrayTensor, StoredTensor

EXTRA_KEY = "regraft"
Weights = tuple[tuple[str, StoredTensor], ...]


def write_model(file: Any, parts: SavedModelParts, options: SaveOptions) -> None:
    """Writes a model into an HDF5 file.

    Args:
        file: Path, or an `h5py.File` open for writing.
        parts: The described model.
        options: See `SaveOptions`; `dialect` decides whose words are written.

    Raises:
        NotImplementedError: The model is subclassed: HDF5 has no place for its code.
    """
    if parts.tree.kind != "network":
        raise NotImplementedError(
            f"Saving '{parts.model.name}' to HDF5 needs a Functional or Sequential "
            f"model, and {type(parts.model).__name__} is a subclassed one: HDF5 holds "
            "a model's configuration, not its code. Save it as a SavedModel "
            "(`save_format='tf'`), or its weights alone with `regraft.save_weights`."
        )
    training_config = _training_config(parts)
    keras3 = options.dialect == "keras3"
    words = _keras3_words(parts) if keras3 else None
    words = words or _keras2_words(
        parts, training_config, both=options.dialect == "both"
    )
    write_hdf5(
        file,
        Hdf5ModelFile(
            **words,
            layers=tuple(
                _layers(parts, _keras3_variables if keras3 else _keras2_variables)
            ),
            top_level_weights=_weights(ordered_variables(own_tree(parts.tree))),
            **_optimizer_state(parts, words["training_config"]),
            extra={
                EXTRA_KEY: keras_json.dump(
                    {**parts.extra, **_scalars(parts), "of": _checksums(words)}
                )
            },
        ),
    )


def write_weights(file: Any, model: keras.Model) -> None:
    """Writes the weights of any model into an HDF5 file, as `save_weights` of Keras 2.

    Args:
        file: Path, or an `h5py.File` open for writing.
        model: Built.

    Raises:
        ValueError: Two of its layers have the same name.
    """
    write_hdf5(
        file,
        Hdf5ModelFile(
            keras_version=KERAS_2_VERSION,
            backend="tensorflow",
            layers=tuple(
                _layer(original_name(layer), layer, _keras2_variables)
                for layer in top_layers(model)
            ),
            top_level_weights=_weights(ordered_variables(own_tree(state_tree(model)))),
            weights_only=True,
        ),
    )


def _scalars(parts: SavedModelParts) -> dict[str, Any]:
    """Keeps what Keras 2 has no place for: it writes the inner optimizer's slots.

    Nadam's product of momenta follows from the number of steps, but where Keras 3
    accumulates gradients.
    """
    optimizer = getattr(parts.model, "optimizer", None)
    if parts.training_config is None or optimizer is None or not optimizer.built:
        return {}
    found: dict[str, Any] = {}
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        scale, steps = optimizer.dynamic_scale, optimizer.step_counter
        found["loss_scale"] = {
            "loss_scale": float(scale.value),
            "good_steps": int(steps.value),
        }
    inner = inner_optimizer(optimizer)
    if inner.gradient_accumulation_steps and hasattr(inner, "_u_product"):
        found[U_PRODUCT] = float(inner._u_product.value)
    return found


def _checksums(words: Mapping[str, Any]) -> dict[str, int]:
    """Says of which words ours are: those that a tool has changed since hold alone."""
    return {
        key: keras_json.checksum(words[key])
        for key in ("model_config", "training_config")
    }


def _training_config(parts: SavedModelParts) -> dict[str, Any] | None:
    if parts.training_config is None:
        return None
    found = dict(parts.training_config)
    found["loss"] = bilingual_loss(found.get("loss"))
    if found.get("optimizer_config"):
        found["optimizer_config"] = bilingual_optimizer(
            found["optimizer_config"],
            sparse_gradients=any(
                isinstance(layer, keras.layers.Embedding)
                for layer in _compat.all_layers(parts.model)
            ),
            bfloat16=any(
                variable.dtype == "bfloat16"
                for variable in parts.model.trainable_variables
            ),
        )
    return found


def _keras2_words(
    parts: SavedModelParts, training_config: Mapping[str, Any] | None, *, both: bool
) -> dict[str, Any]:
    entry = {key: parts.entry[key] for key in ("class_name", "config")}
    return {
        "keras_version": KERAS_2_VERSION,
        "backend": "tensorflow",
        "model_config": bilingual(_plain_json(entry), both=both),
        "training_config": _plain_json(training_config),
    }


def _keras3_words(parts: SavedModelParts) -> dict[str, Any]:
    metadata = _compat.hdf5_metadata(
        parts.model, include_optimizer=parts.training_config is not None
    )
    return {
        "keras_version": metadata["keras_version"],
        "backend": metadata["backend"],
        "model_config": metadata["model_config"],
        "training_config": _whole_words(metadata.get("training_config")),
    }


def _whole_words(training_config: Any) -> Any:
    """Spells short names such as `"mse"` out: Keras 3's own loader knows none."""
    if not isinstance(training_config, Mapping):
        return training_config
    named = ("loss", "metrics", "weighted_metrics")
    spelled = {key: _spelled(training_config.get(key)) for key in named}
    return {**training_config, **spelled}


def _spelled(value: Any) -> Any:
    if isinstance(value, str):
        return FUNCTIONS.get(value, value)
    if isinstance(value, list):
        return [_spelled(item) for item in value]
    if isinstance(value, Mapping) and "class_name" not in value:
        return {key: _spelled(item) for key, item in value.items()}
    return value


def _plain_json(value: Any) -> Any:
    """JSON has no tuples: an HDF5 file spells them as lists."""
    if value is None:
        return None
    text = json.dumps(keras_json.plain(value), default=keras_json.encode)
    return json.loads(text)


def _layers(parts: SavedModelParts, variables_of: VariablesOf) -> Iterator[Hdf5Layer]:
    """Yields one entry per layer of the config, with or without weights.

    Those that an own class of a network has besides follow, as in Keras 2.
    """
    live = {original_name(layer): layer for layer in network_layers(parts.model)}
    entries: Sequence[Mapping[str, Any]] = parts.entry["config"]["layers"]
    for entry in entries:
        name = entry.get("name") or entry["config"]["name"]
        if isinstance(parts.model, keras.Sequential) and name not in live:
            continue  # a Sequential's input layer is not among its layers
        layer = live.get(name)
        yield Hdf5Layer(name) if layer is None else _layer(name, layer, variables_of)
    known = {id(layer) for layer in live.values()}
    for layer in top_layers(parts.model):
        if id(layer) not in known:
            yield _layer(original_name(layer), layer, variables_of)


# Of a layer by itself: what it shares with one before it is written with both.
VariablesOf = Callable[[keras.Layer], list[keras.Variable]]


def _keras2_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The metrics that a model in it holds are layers for Keras 2."""
    return ordered_variables(state_tree_with_metrics(layer))


def _keras3_variables(layer: keras.Layer) -> list[keras.Variable]:
    return ordered_by_keras_3(state_tree(layer))


def _layer(name: str, layer: keras.Layer, variables_of: VariablesOf) -> Hdf5Layer:
    weights = _weights(variables_of(layer))
    return Hdf5Layer(name, weights or _token_weights(name, layer))


def _token_weights(name: str, layer: keras.Layer) -> Weights:
    """What Keras 2 has as a variable of a layer that weighs its tokens."""
    idf = getattr(layer, "idf", None)
    if idf is None:
        return ()
    return ((f"{name}/Variable:0", ArrayTensor(idf.astype("float32"))),)


def _weights(variables: Sequence[keras.Variable]) -> Weights:
    """Names the weights as Keras 2 does, `dense/kernel:0`; a name comes once."""
    taken: set[str] = set()
    found = []
    for variable in variables:
        name, number = variable.path, 0
        while name in taken:
            number += 1
            name = f"{variable.path}_{number}"
        taken.add(name)
        found.append((f"{name}:0", _readable(KerasVariableTensor(variable))))
    return tuple(found)


class _InFloat32:
    """A tensor of a float that HDF5 has no type for, which few readers know."""

    dtype = "float32"

    def __init__(self, tensor: StoredTensor) -> None:
        self._tensor = tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self._tensor.shape

    def read(self) -> np.ndarray[Any, Any]:
        return self._tensor.read().astype(self.dtype)


def _readable(tensor: StoredTensor) -> StoredTensor:
    no_type = tensor.dtype == "bfloat16" or tensor.dtype.startswith("float8")
    return _InFloat32(tensor) if no_type else tensor


def _optimizer_state(
    parts: SavedModelParts, training_config: Mapping[str, Any] | None
) -> dict[str, Any]:
    optimizer = getattr(parts.model, "optimizer", None)
    if training_config is None or optimizer is None or not optimizer.built:
        return {}
    variables = trainable_variables(parts.tree)
    state = state_from_keras(optimizer, variables)
    config = training_config.get("optimizer_config") or {}
    paths = [variable.path for variable in variables]
    found = {
        "optimizer_weights": state_to_hdf5(state, config, paths),
        "accumulated_gradients": accumulated_to_hdf5(state, config, paths),
    }
    return {
        key: tuple((name, _readable(tensor)) for name, tensor in tensors)
        for key, tensors in found.items()
    }
