"""Files → `ModelDescription`. Knows both formats, no live Keras object."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from regraft.errors import FormatError, MismatchError
from regraft.model import metadata as keras_json
from regraft.model.description import (
    LayerWeights,
    ModelDescription,
    ObjectGraph,
    ObjectNode,
    OrderedWeights,
)
from regraft.model.object_graph import read_object_graph
from regraft.options import LoadOptions
from regraft.storage import filesystem, hdf5_file, proto
from regraft.storage.proto import messages
from regraft.storage.saved_model_directory import (
    VARIABLES,
    SavedModelDirectory,
    read_saved_model_directory,
)
from regraft.storage.tensor import StoredTensor
from regraft.storage.tensor_bundle import TensorBundleReader
from regraft.storage.tensor_bundle.entries import index_path

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
EXTRA_KEY = "regraft"
_EXPORTED_CONFIG = "saved_model.json"
_MAX_CONFIG_BYTES = 1 << 28
_KERAS_3 = "3"
_KERAS_IDENTIFIERS = ("_tf_keras_sequential", "_tf_keras_network", "_tf_keras_model")
# What Keras 2 saves with every layer; names that begin with `_` are no one's to call.
_KERAS_FUNCTIONS = (
    "call_and_return_all_conditional_losses",
    "call_and_return_conditional_losses",
    "activity_regularizer_fn",
)


@contextmanager
def open_hdf5(file: Any, options: LoadOptions) -> Iterator[ModelDescription]:
    """Reads a Keras HDF5 file; tensors can be read until the block ends.

    Args:
        file: Path, or an open `h5py.File` or group.
        options: Budget and verification.

    Raises:
        FormatError: The file is broken, or no HDF5 file of Keras.
    """
    with hdf5_file.read_hdf5(
        file, memory_budget_bytes=options.memory_budget_bytes
    ) as found:
        path = str(getattr(file, "filename", file))
        yield _describe_hdf5(path, found)


def _describe_hdf5(path: str, found: hdf5_file.Hdf5ModelFile) -> ModelDescription:
    return ModelDescription(
        path=path,
        format="h5",
        keras_version=found.keras_version,
        tensorflow_version=None,
        backend=found.backend,
        config=_decoded(found.model_config),
        training_config=_decoded(found.training_config),
        weights=None
        if found.layers is None
        else OrderedWeights(
            tuple(LayerWeights(layer.name, layer.weights) for layer in found.layers),
            found.top_level_weights,
        ),
        optimizer_weights=found.optimizer_weights,
        accumulated_gradients=found.accumulated_gradients,
        extra=_still_true(_parse_extra(found.extra.get(EXTRA_KEY), path), found),
    )


def _still_true(
    extra: Mapping[str, Any], found: hdf5_file.Hdf5ModelFile
) -> Mapping[str, Any]:
    """Leaves out Keras 3's words for what a tool has changed in Keras 2's since."""
    sums = extra.get("of")
    if not isinstance(sums, dict):
        return extra
    said = {
        "config": ("model_config", found.model_config),
        "compile_config": ("training_config", found.training_config),
    }
    changed = {
        key
        for key, (place, value) in said.items()
        if place in sums and sums[place] != keras_json.checksum(value)
    }
    return {key: value for key, value in extra.items() if key not in changed}


def _decoded(value: Any) -> Any:
    return None if value is None else keras_json.decode(value)


def _parse_extra(text: Any, path: str) -> Mapping[str, Any]:
    if not text:
        return {}
    value = keras_json.parse_json(text, path=path, object_path=EXTRA_KEY)
    return keras_json.decode(value) if isinstance(value, dict) else {}


def holds_keras_model(path: str) -> bool:
    """Whether a SavedModel directory holds a model that Keras wrote."""
    directory = read_saved_model_directory(path)
    for meta_graph in directory.saved_model.meta_graphs:
        nodes = meta_graph.object_graph_def.nodes
        if len(nodes):
            return nodes[0].user_object.identifier in _KERAS_IDENTIFIERS
    return _exported_config(directory) is not None


def read_saved_model(path: str, options: LoadOptions) -> ModelDescription:
    """Reads a SavedModel directory that Keras wrote.

    Raises:
        FormatError: The directory is broken.
        MismatchError: It holds no Keras model.
    """
    directory = read_saved_model_directory(
        path, memory_budget_bytes=options.memory_budget_bytes
    )
    if directory.variables is not None:
        directory.variables.will_read()
    description = describe_saved_model(directory)
    if description.objects is not None:
        check_values(directory, description.objects, options)
    return description


def describe_saved_model(directory: SavedModelDirectory) -> ModelDescription:
    """Returns the Keras model in a SavedModel directory that was read."""
    path = str(directory.path)
    meta_graph = _keras_meta_graph(directory)
    if meta_graph is None:
        return _describe_export(directory)
    graph = read_objects(directory, meta_graph)
    metadata = graph.root.metadata
    if metadata is None:
        raise MismatchError(_no_keras_model(path, graph.root))
    extra = metadata.get(EXTRA_KEY)
    return ModelDescription(
        path=path,
        format="tf",
        keras_version=metadata.get("keras_version"),
        tensorflow_version=meta_graph.meta_info_def.tensorflow_version or None,
        backend=metadata.get("backend"),
        config=_root_config(metadata),
        training_config=metadata.get("training_config"),
        objects=graph,
        extra=extra if isinstance(extra, dict) else {},
        functions=(directory, meta_graph),
    )


def _root_config(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """`model_config` knows which objects are shared, `config` does not."""
    model_config = metadata.get("model_config")
    if isinstance(model_config, dict) and model_config.get("config"):
        return model_config
    return {
        "class_name": metadata.get("class_name"),
        "config": metadata.get("config"),
        "name": metadata.get("name"),
    }


def _keras_meta_graph(directory: SavedModelDirectory) -> Any:
    for meta_graph in directory.saved_model.meta_graphs:
        if len(meta_graph.object_graph_def.nodes):
            return meta_graph
    return None


def _exported_config(directory: SavedModelDirectory) -> str | None:
    """Path of the config that `export_saved_model` of TensorFlow 1 put beside."""
    path = filesystem.join(directory.assets_path, _EXPORTED_CONFIG)
    return path if filesystem.is_file(path) else None


def _describe_export(directory: SavedModelDirectory) -> ModelDescription:
    """Reads what `tf.keras.experimental.export_saved_model` of TensorFlow 1 wrote.

    Its graphs are a session's, and hold no objects. Beside them stand the model's
    `to_json()` and, as the variables, a checkpoint of its `save_weights`.
    """
    path = str(directory.path)
    config_path = _exported_config(directory)
    if config_path is None or directory.variables is None:
        raise MismatchError(
            f"The SavedModel '{path}' holds no Keras model: it has no object "
            "graph, as TensorFlow 1 writes it. Open it with `regraft.load` to call "
            "its signatures."
        )
    config = _read_config(config_path)
    infos = [graph.meta_info_def for graph in directory.saved_model.meta_graphs]
    found = _describe_checkpoint(directory.variables, path)
    return dataclasses.replace(
        found,
        keras_version=config.get("keras_version"),
        tensorflow_version=next(
            (info.tensorflow_version for info in infos if info.tensorflow_version), None
        ),
        backend=config.get("backend") or "tensorflow",
        config={key: config.get(key) for key in ("class_name", "config")},
    )


def is_config(path: str) -> bool:
    """Whether a file is named as the text of a model's `to_json()`."""
    return path.endswith(".json")


def read_config(path: str) -> ModelDescription:
    """Reads what `model.to_json()` of any Keras gives: a topology, no weights.

    Raises:
        FormatError: The file is broken, or holds something else.
    """
    config = _read_config(path)
    # Keras 3 leaves its version out, but says where classes are.
    said = _KERAS_3 if "module" in config else None
    return ModelDescription(
        path=path,
        format="json",
        keras_version=config.get("keras_version") or said,
        tensorflow_version=None,
        backend=config.get("backend"),
        config=config,
        training_config=None,
    )


def _read_config(path: str) -> dict[str, Any]:
    data = filesystem.read_bytes(path, max_bytes=_MAX_CONFIG_BYTES)
    config = keras_json.parse_json(data, path=path, object_path="model")
    if not isinstance(config, dict) or "class_name" not in config:
        raise FormatError(
            "Invalid model config",
            path=path,
            expected="an object with a 'class_name'",
            received=type(config).__name__,
        )
    found: dict[str, Any] = keras_json.decode(config)
    return found


def _no_keras_model(path: str, root: ObjectNode) -> str:
    if root.identifier in _KERAS_IDENTIFIERS:
        own = own_functions(root)
        return (
            f"Unable to create a Keras model from '{path}': it holds one, but its "
            "metadata is missing (`keras_metadata.pb` is absent or empty). Get an "
            "intact copy, or open it with `regraft.load` to call its "
            + (f"functions: {', '.join(own)}." if own else "signatures.")
        )
    return (
        f"Unable to create a Keras model from the SavedModel '{path}': it was not "
        "written by Keras. Open it with `regraft.load` to call its signatures."
    )


def read_objects(directory: SavedModelDirectory, meta_graph: Any) -> ObjectGraph:
    """Returns the object graph of a meta graph, with the values of its variables."""
    path = str(directory.path)
    saved = meta_graph.object_graph_def
    tensors: Mapping[str, StoredTensor] = (
        {} if directory.variables is None else directory.variables
    )
    checkpoint = None
    if OBJECT_GRAPH_KEY in tensors:
        checkpoint = proto.parse(
            messages.TrackableObjectGraph,
            tensors[OBJECT_GRAPH_KEY].read().item(),
            path=f"{path} ({OBJECT_GRAPH_KEY})",
        )
    return read_object_graph(
        saved, checkpoint, tensors, _metadata_texts(directory, saved), path=path
    )


def check_values(
    directory: SavedModelDirectory, graph: ObjectGraph, options: LoadOptions
) -> None:
    """Refuses a SavedModel that came without its folder of values, if they matter.

    Raises:
        FormatError: There are variables, and no file of their values.
    """
    count = sum(1 for _ in graph.variables())
    may_lack = options.experimental_skip_checkpoint or options.allow_partial_checkpoint
    if directory.variables is not None or not count or may_lack:
        return
    folder = filesystem.join(directory.path, VARIABLES)
    beside = [
        name
        for name in filesystem.list_names(directory.path)
        if name.startswith(f"{VARIABLES}.")
    ]
    raise FormatError(
        f"The values of the {count} variables are missing: there is no file "
        f"'{VARIABLES}.index' in the folder '{VARIABLES}'. "
        + (
            f"Put {' and '.join(beside)}, which lie beside the folder, into it"
            if f"{VARIABLES}.index" in beside
            else "A SavedModel is a directory: copy it with all its folders"
        ),
        path=index_path(filesystem.join(folder, VARIABLES)),
    )


def own_functions(node: ObjectNode) -> list[str]:
    """Names of an object's functions that can be called, but for those of Keras."""
    return sorted(
        name
        for name, child in node.children.items()
        if isinstance(child, ObjectNode) and child.kind == "function"
        if child.message.function.concrete_functions
        if not name.startswith("_") and name not in _KERAS_FUNCTIONS
    )


def read_checkpoint(prefix: str, options: LoadOptions) -> ModelDescription:
    """Reads a checkpoint that `model.save_weights(prefix)` of Keras 2 wrote.

    Raises:
        FormatError: The checkpoint is broken, or holds no objects.
    """
    tensors = TensorBundleReader(
        prefix, memory_budget_bytes=options.memory_budget_bytes
    )
    tensors.will_read()
    return _describe_checkpoint(tensors, prefix)


def _describe_checkpoint(tensors: TensorBundleReader, prefix: str) -> ModelDescription:
    if OBJECT_GRAPH_KEY not in tensors:
        raise FormatError(
            "The checkpoint names no objects, as one of TensorFlow 1's Saver",
            path=prefix,
        )
    checkpoint = proto.parse(
        messages.TrackableObjectGraph,
        tensors[OBJECT_GRAPH_KEY].read().item(),
        path=f"{prefix} ({OBJECT_GRAPH_KEY})",
    )
    # A checkpoint doesn't say what its objects are; the root alone is known.
    saved = messages.SavedObjectGraph()
    saved.nodes.add().user_object.identifier = "_tf_keras_network"
    return ModelDescription(
        path=prefix,
        format="tf",
        keras_version=None,
        tensorflow_version=None,
        backend="tensorflow",
        config=None,
        training_config=None,
        objects=read_object_graph(saved, checkpoint, tensors, {}, path=prefix),
    )


def _metadata_texts(directory: SavedModelDirectory, saved: Any) -> dict[int, str]:
    """Keras' metadata by node id; a node is found by its path, as Keras does."""
    if directory.keras_metadata is None:
        return {}
    texts = {}
    for node in directory.keras_metadata.nodes:
        node_id = _resolve(saved, node.node_path)
        if node_id is None:
            node_id = node.node_id
        if not 0 <= node_id < len(saved.nodes):
            raise FormatError(
                "Keras metadata names an object that isn't there",
                path=directory.path,
                object_path=node.node_path,
                received=node.node_id,
            )
        texts[node_id] = node.metadata
    return texts


def _resolve(saved: Any, node_path: str) -> int | None:
    """Follows `root.layer-2.cell` from the root; `None` if it leads nowhere."""
    node_id = 0
    for name in node_path.split(".")[1:]:
        children = {
            child.local_name: child.node_id for child in saved.nodes[node_id].children
        }
        found = children.get(name)
        if found is None or not 0 <= found < len(saved.nodes):
            return None
        node_id = found
    return node_id if node_path else None
