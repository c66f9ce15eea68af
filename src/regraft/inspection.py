"""What a file holds, read without Keras, a backend, or running anything."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from regraft import dtypes
from regraft.errors import FormatError
from regraft.loading.read import (
    is_config,
    open_hdf5,
    own_functions,
    read_config,
    read_objects,
)
from regraft.model.description import (
    ModelDescription,
    ObjectGraph,
    ObjectNode,
    Variable,
)
from regraft.options import LoadOptions
from regraft.storage.filesystem import is_zip_archive
from regraft.storage.proto import messages
from regraft.storage.saved_model_directory import (
    SavedModelDirectory,
    asset_files,
    is_saved_model_directory,
    read_saved_model_directory,
)
from regraft.storage.tensor import StoredTensor, nbytes


@dataclass(frozen=True)
class TensorInfo:
    """A tensor in the file.

    Attributes:
        name: Path of the variable, or its name in the file.
        dtype: Name of its dtype.
        shape: Length of each dimension; `None` where unknown.
        size_bytes: Size of its values in bytes; 0 where unknown.
        form: `"sparse"`, or what a signature's tensor of several parts is called
            in the file; `"dense"` for all others.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    size_bytes: int = 0
    form: str = "dense"


@dataclass(frozen=True)
class LayerInfo:
    """A layer in the file: its path, name and class."""

    path: str
    name: str
    class_name: str


@dataclass(frozen=True)
class SignatureInfo:
    """A signature: its name, inputs and outputs."""

    name: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        path: The file or directory.
        format: `"SavedModel"`, `"HDF5"` or `"JSON"`.
        keras_version: Of the Keras that wrote it; `None` where not said.
        tensorflow_version: Of the TensorFlow that wrote it; `None` where not said.
        model_class: Class of the model; `None` where there is no Keras model.
        tags: Of each meta graph of a SavedModel.
        layers: Layers in the order of the file.
        variables: Variables of the model.
        optimizer: Class of the optimizer; `None` without one.
        optimizer_variables: Its variables.
        signatures: What can be served.
        callables: Names of further functions that `regraft.load` returns.
        functions: Number of functions in a SavedModel.
        ops: How often each op occurs in a SavedModel's graphs.
        assets: Names of a SavedModel's asset files.
    """

    path: str
    format: str
    keras_version: str | None = None
    tensorflow_version: str | None = None
    model_class: str | None = None
    tags: tuple[tuple[str, ...], ...] = ()
    layers: tuple[LayerInfo, ...] = ()
    variables: tuple[TensorInfo, ...] = ()
    optimizer: str | None = None
    optimizer_variables: tuple[TensorInfo, ...] = ()
    signatures: tuple[SignatureInfo, ...] = ()
    callables: tuple[str, ...] = ()
    functions: int = 0
    ops: Mapping[str, int] = field(default_factory=dict)
    assets: tuple[str, ...] = ()


def inspect(path: str | os.PathLike[str]) -> Contents:
    """Returns what a SavedModel directory, an HDF5 file or a model's JSON holds.

    Neither Keras nor a backend is imported, no value is read and nothing is run.

    Args:
        path: The directory or file.

    Raises:
        OSError: There is no such file or directory.
        FormatError: It is broken, or something else, such as a `.keras` file.
    """
    target = os.fspath(path)
    if is_saved_model_directory(target):
        return _inspect_saved_model(read_saved_model_directory(target))
    if not os.path.exists(target):
        raise FileNotFoundError(f"No file or directory found at '{target}'.")
    if os.path.isdir(target):
        raise FormatError("The directory holds no SavedModel", path=target)
    if is_zip_archive(target):
        raise FormatError(
            "This is a zip archive, as `.keras` files are: only SavedModel directories "
            "and HDF5 files can be inspected. `load_model` gives a `.keras` file to "
            "Keras' own loader",
            path=target,
        )
    if is_config(target):
        return _inspect_description(read_config(target), "JSON")
    with open_hdf5(target, LoadOptions()) as description:
        return _inspect_description(description, "HDF5")


# --------------------------------------------------------------- HDF5 and JSON


def _inspect_description(description: ModelDescription, kind: str) -> Contents:
    weights = description.weights
    found = (
        []
        if weights is None
        else [
            _tensor(f"{layer.name}/{name}", tensor)
            for layer in weights.layers
            for name, tensor in layer.weights
        ]
    )
    config = description.config or {}
    return Contents(
        description.path,
        kind,
        keras_version=description.keras_version,
        model_class=config.get("class_name"),
        layers=tuple(_config_layers(config, "")),
        variables=tuple(found),
        optimizer=_optimizer(description.training_config),
        optimizer_variables=tuple(
            _tensor(name, tensor)
            for name, tensor in description.optimizer_weights or ()
        ),
    )


def _config_layers(config: Any, prefix: str) -> Iterator[LayerInfo]:
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else inner
    for entry in layers if isinstance(layers, list) else ():
        if not isinstance(entry, dict):
            continue
        own = entry.get("config")
        name = entry.get("name") or (own.get("name") if isinstance(own, dict) else "")
        place = f"{prefix}{name}"
        yield LayerInfo(place, str(name), str(entry.get("class_name")))
        yield from _config_layers(entry, f"{place}/")


def _optimizer(training_config: Any) -> str | None:
    config = training_config.get("optimizer_config") if training_config else None
    return str(config.get("class_name")) if isinstance(config, dict) else None


def _tensor(name: str, tensor: StoredTensor) -> TensorInfo:
    return TensorInfo(name, tensor.dtype, tensor.shape, nbytes(tensor))


# ------------------------------------------------------------------- SavedModel


def _inspect_saved_model(directory: SavedModelDirectory) -> Contents:
    meta_graphs = directory.saved_model.meta_graphs
    main = next(
        (m for m in meta_graphs if len(m.object_graph_def.nodes)), meta_graphs[0]
    )
    common = Contents(
        path=str(directory.path),
        format="SavedModel",
        tensorflow_version=main.meta_info_def.tensorflow_version or None,
        tags=tuple(tuple(m.meta_info_def.tags) for m in meta_graphs),
        signatures=tuple(_signatures(main)),
        functions=len(main.graph_def.library.function),
        ops=_ops(meta_graphs),
        assets=tuple(asset.filename for asset in asset_files(main)),
    )
    if not len(main.object_graph_def.nodes):
        return dataclasses.replace(common, variables=tuple(_bundle(directory)))
    graph = read_objects(directory, main)
    metadata = graph.root.metadata or {}
    optimizer = graph.root.child("optimizer")
    owned = _owned_by(optimizer, graph) if optimizer is not None else {}
    return dataclasses.replace(
        common,
        keras_version=metadata.get("keras_version"),
        model_class=metadata.get("class_name"),
        layers=tuple(_graph_layers(graph.root)),
        callables=tuple(own_functions(graph.root)),
        variables=tuple(_graph_variables(graph, owned)),
        optimizer=_optimizer(metadata.get("training_config")),
        optimizer_variables=tuple(
            _variable(name, variable) for name, variable in owned.values()
        ),
    )


def _bundle(directory: SavedModelDirectory) -> Iterator[TensorInfo]:
    for name, tensor in (directory.variables or {}).items():
        yield _tensor(name, tensor)


def _walk(root: ObjectNode) -> Iterator[tuple[str, ObjectNode | Variable]]:
    """Yields every object once, with its shortest path, breadth first."""
    seen = {root.node_id}
    queue: list[tuple[str, ObjectNode]] = [("", root)]
    for path, node in queue:  # the queue grows while it is walked
        for name, child in node.children.items():
            if child.node_id in seen:
                continue
            seen.add(child.node_id)
            place = f"{path}.{name}" if path else name
            yield place, child
            if isinstance(child, ObjectNode):
                queue.append((place, child))


def _graph_layers(root: ObjectNode) -> Iterator[LayerInfo]:
    for place, node in _walk(root):
        if isinstance(node, ObjectNode) and node.metadata is not None:
            if node.identifier == "_tf_keras_metric":
                continue
            yield LayerInfo(
                place,
                str(node.metadata.get("name")),
                str(node.metadata.get("class_name")),
            )


def _owned_by(
    optimizer: ObjectNode, graph: ObjectGraph
) -> dict[int, tuple[str, Variable]]:
    found = {
        node.node_id: (place, node)
        for place, node in _walk(optimizer)
        if isinstance(node, Variable)
    }
    for slot in optimizer.slot_variables:
        node = graph.nodes[slot.slot_variable_node_id]
        if isinstance(node, Variable):
            found.setdefault(node.node_id, (node.name, node))
    return found


def _graph_variables(
    graph: ObjectGraph, owned: Mapping[int, Any]
) -> Iterator[TensorInfo]:
    for place, node in _walk(graph.root):
        if isinstance(node, Variable) and node.node_id not in owned:
            yield _variable(place, node)


def _variable(place: str, variable: Variable) -> TensorInfo:
    size = 0 if variable.value is None else nbytes(variable.value)
    return TensorInfo(place, variable.dtype, variable.shape, size)


def _ops(meta_graphs: Any) -> dict[str, int]:
    found: Counter[str] = Counter()
    for meta_graph in meta_graphs:
        found.update(node.op for node in meta_graph.graph_def.node)
        for function in meta_graph.graph_def.library.function:
            found.update(node.op for node in function.node_def)
    return dict(sorted(found.items()))


def _signatures(meta_graph: Any) -> Iterator[SignatureInfo]:
    for name, signature in sorted(meta_graph.signature_def.items()):
        if name != "__saved_model_init_op":
            yield SignatureInfo(
                name, tuple(_infos(signature.inputs)), tuple(_infos(signature.outputs))
            )


def _infos(tensors: Any) -> Iterator[TensorInfo]:
    for name, info in sorted(tensors.items()):
        form = {"coo_sparse": "sparse", "composite_tensor": "composite"}.get(
            info.WhichOneof("encoding"), "dense"
        )
        shape, number = info.tensor_shape, info.dtype
        if form == "composite":
            # It says so in its type, whose state begins with both.
            spec = info.composite_tensor.type_spec
            form = spec.type_spec_class_name or form
            state = spec.type_state.tuple_value.values
            shape, number = (
                (state[0].tensor_shape_value, state[1].tensor_dtype_value)
                if len(state) > 1
                else (messages.TensorShapeProto(unknown_rank=True), 0)
            )
        dims = (
            None
            if shape.unknown_rank
            else tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim)
        )
        dtype = dtypes.from_number(number).name if number else "unknown"
        yield TensorInfo(name, dtype, dims, form=form)
