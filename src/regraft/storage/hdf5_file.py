"""Keras' HDF5 files: which attribute, group and dataset holds what.

```
/                      attributes keras_version, backend, model_config and
                       training_config (JSON)
/model_weights         attributes layer_names, keras_version, backend
  /<layer>             attribute weight_names
    /<weight name>     dataset; the name may have slashes
  /top_level_model_weights   as a layer: weights that the model owns itself
/optimizer_weights     attribute weight_names; datasets
```

A file of weights alone (`save_weights`) has the content of `/model_weights` at its
root. A list of names that exceeds HDF5's limit of 64 KiB for an attribute is split
into attributes `layer_names0`, `layer_names1`, ….
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regraft import dtypes
from regraft.errors import FormatError, LimitError, UnsupportedError
from regraft.storage import commit, filesystem, hdf5_attributes, hdf5_objects
from regraft.storage.hdf5_safety import SafeFile, require_h5py, typed_errors
from regraft.storage.tensor import StoredTensor

try:
    import h5py
except ImportError:  # `require_h5py` says so where it is needed.
    h5py = None

MODEL_WEIGHTS = "model_weights"
OPTIMIZER_WEIGHTS = "optimizer_weights"
# Regraft's own, see `docs/format.md`.
ACCUMULATED_GRADIENTS = "regraft_accumulated_gradients"
TOP_LEVEL_WEIGHTS = "top_level_model_weights"
LAYER_NAMES = "layer_names"
WEIGHT_NAMES = "weight_names"

# HDF5 holds 64 KiB in an object's header; Keras leaves this much of it to a list.
_MAX_ATTRIBUTE_BYTES = 64512
_MAX_JSON_NESTING = 200

Weights = tuple[tuple[str, StoredTensor], ...]


@dataclass(frozen=True)
class Hdf5Layer:
    """One group of weights.

    Attributes:
        name: The layer's name.
        weights: Name and value of each weight, in the layer's own order.
    """

    name: str
    weights: Weights = ()


@dataclass(frozen=True)
class Hdf5ModelFile:
    """What an HDF5 file of Keras holds.

    Attributes:
        keras_version: Version of the Keras that wrote it.
        backend: Keras' backend then.
        model_config: The model's class and configuration; `None` in a file of
            weights alone.
        training_config: Arguments of `compile`; `None` if it was not compiled.
        layers: All layers in the model's order, those without weights too; `None` in
            a file of the config alone.
        top_level_weights: Weights that the model owns itself.
        optimizer_weights: The optimizer's state; `None` where there is none.
        accumulated_gradients: What the optimizer has summed up for its next step;
            in Regraft's files alone.
        extra: Other attributes of the root.
        weights_only: Whether the file holds the layers' weights alone.
    """

    keras_version: str | None = None
    backend: str | None = None
    model_config: dict[str, Any] | None = None
    training_config: dict[str, Any] | None = None
    layers: tuple[Hdf5Layer, ...] | None = ()
    top_level_weights: Weights = ()
    optimizer_weights: Weights | None = None
    accumulated_gradients: Weights = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    weights_only: bool = False


def is_hdf5_file(path: str | os.PathLike[str]) -> bool:
    """Whether the file at `path` begins as an HDF5 file does."""
    if not filesystem.is_file(path):
        return False
    with filesystem.open_seekable(path) as stream:
        start = 0
        # A user block may come before, of any power of two from 512 on.
        while len(magic := stream.read(8)) == 8:
            if magic == b"\x89HDF\r\n\x1a\n":
                return True
            start = max(512, start * 2)
            stream.seek(start)
    return False


def is_keras3_weights_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is what `save_weights` of Keras 3 writes, not that of Keras 2.

    It lists no layers; its groups are named after attributes: `layers/dense/vars/0`.
    """
    if h5py is None or not is_hdf5_file(path):
        return False
    with _open(path) as (root, name), typed_errors(name):
        file = SafeFile.of(root, name, None)
        if any(str(key).startswith(LAYER_NAMES) for key in root.attrs):
            return False
        groups = ("layers", "vars", "_layer_checkpoint_dependencies")
        return not hdf5_objects.has_child(root, MODEL_WEIGHTS, file) and any(
            hdf5_objects.has_child(root, group, file) for group in groups
        )


@contextlib.contextmanager
def read_hdf5(
    file: str | os.PathLike[str] | h5py.Group,
    *,
    memory_budget_bytes: int | None = None,
) -> Iterator[Hdf5ModelFile]:
    """Yields what a file holds; tensors can be read until the end of the block.

    Args:
        file: Path (local, or one of fsspec), or a group of an open file.
        memory_budget_bytes: The most that all tensors together may take in memory;
            `None` for a bound that follows from the length of the file.

    Raises:
        FileNotFoundError: There is no such file.
        FormatError: The file is broken or no HDF5 file of Keras; `UnsafeFileError`
            where it refers to other files, `LimitError` where it promises more than
            it holds.
        ImportError: h5py is not installed.
    """
    require_h5py()
    with _open(file) as (root, path):
        safe = SafeFile.of(root, path, memory_budget_bytes)
        yield _read_model(root, safe)


def write_hdf5(file: str | os.PathLike[str] | h5py.Group, model: Hdf5ModelFile) -> None:
    """Writes a file: all of it, or, if anything fails, nothing.

    Args:
        file: Path (local, or one of fsspec); parents that are missing are made. Or a
            group of a file open for writing, in which a model is replaced.
        model: What to write; tensors are read and written one by one.

    Raises:
        UnsupportedError: HDF5 can't hold a tensor's elements or a name that long.
        ValueError: Names collide, or the group can't be written to.
        ImportError: h5py is not installed.
    """
    require_h5py()
    if not isinstance(file, str | os.PathLike):
        _write_model(file, model)
    elif filesystem.is_remote(file):
        with tempfile.TemporaryDirectory() as directory:
            local = os.path.join(directory, "model.h5")
            with h5py.File(local, "w") as root:
                _write_model(root, model)
            filesystem.send(local, file)
    else:
        with (
            commit.replace_file(filesystem.to_local(file)) as new,
            h5py.File(new, "w") as root,
        ):
            _write_model(root, model)


@contextlib.contextmanager
def _open(file: Any) -> Iterator[tuple[Any, str]]:
    """Yields the root group and the path for error texts."""
    if not isinstance(file, str | os.PathLike):
        if not isinstance(file, h5py.Group) or not file:
            raise ValueError(
                f"Expected a path or a group of an open HDF5 file. Received: {file!r}"
            )
        yield file, str(file.file.filename)
        return
    path = os.fspath(file)
    with contextlib.ExitStack() as stack:
        # Never opens a pipe or a device; raises where nothing is there.
        stream = stack.enter_context(filesystem.open_seekable(path))
        with typed_errors(path):
            source = stream if filesystem.is_remote(path) else filesystem.to_local(path)
            root = stack.enter_context(h5py.File(source, "r"))
        yield root, path


def _read_model(root: h5py.Group, file: SafeFile) -> Hdf5ModelFile:
    if hdf5_objects.has_child(root, MODEL_WEIGHTS, file):
        group = hdf5_objects.child_group(root, MODEL_WEIGHTS, file, "")
        place, weights_only = f"/{MODEL_WEIGHTS}", False
    else:
        group, place, weights_only = root, "", True
    attributes = _read_root_attributes(root, file)
    layers: tuple[Hdf5Layer, ...] | None = None
    top_level: Weights = ()
    names = hdf5_attributes.read_names(group, LAYER_NAMES, file, place)
    if names is None and weights_only and attributes.get("model_config") is not None:
        weights_only = False
    else:
        layers, top_level = _read_layers(group, names, file, place)
    versions = {
        name: attributes.pop(name, None)
        or hdf5_attributes.read_attribute(group, name, file, place)
        for name in ("keras_version", "backend")
    }
    return Hdf5ModelFile(
        keras_version=_text(versions["keras_version"], file, "keras_version"),
        backend=_text(versions["backend"], file, "backend"),
        model_config=_json(attributes.pop("model_config", None), file, "model_config"),
        training_config=_json(
            attributes.pop("training_config", None), file, "training_config"
        ),
        layers=layers,
        top_level_weights=top_level,
        optimizer_weights=_read_group(root, OPTIMIZER_WEIGHTS, file),
        accumulated_gradients=_read_group(root, ACCUMULATED_GRADIENTS, file) or (),
        extra={} if weights_only else attributes,
        weights_only=weights_only,
    )


def _read_layers(
    group: h5py.Group, names: list[str] | None, file: SafeFile, place: str
) -> tuple[tuple[Hdf5Layer, ...], Weights]:
    if names is None:
        raise FormatError(
            "Not an HDF5 file of Keras' models: it has no list of layers. (A file "
            "'….weights.h5' of Keras 3 is read by a model's own load_weights)",
            path=file.path,
            object_path=place or "/",
            expected=f"an attribute '{LAYER_NAMES}'",
        )
    layers = tuple(
        Hdf5Layer(
            name,
            _read_weights(
                hdf5_objects.child_group(group, name, file, place),
                file,
                f"{place}/{name}",
            ),
        )
        for name in names
    )
    if TOP_LEVEL_WEIGHTS in names or not hdf5_objects.has_child(
        group, TOP_LEVEL_WEIGHTS, file
    ):
        return layers, ()
    top_level = hdf5_objects.child_group(group, TOP_LEVEL_WEIGHTS, file, place)
    return layers, _read_weights(top_level, file, f"{place}/{TOP_LEVEL_WEIGHTS}")


def _read_weights(group: h5py.Group, file: SafeFile, place: str) -> Weights:
    names = hdf5_attributes.read_names(group, WEIGHT_NAMES, file, place)
    if names is None:
        with typed_errors(file.path, place):
            empty = len(group) == 0
        if empty:
            return ()
        raise FormatError(
            "Group has weights, but no list of them",
            path=file.path,
            object_path=place,
            expected=f"an attribute '{WEIGHT_NAMES}'",
        )
    return tuple(
        (name, hdf5_objects.child_tensor(group, name, file, place)) for name in names
    )


def _read_group(root: h5py.Group, name: str, file: SafeFile) -> Weights | None:
    if not hdf5_objects.has_child(root, name, file):
        return None
    group = hdf5_objects.child_group(root, name, file, "")
    return _read_weights(group, file, f"/{name}")


def _read_root_attributes(root: h5py.Group, file: SafeFile) -> dict[str, Any]:
    with typed_errors(file.path, "/"):
        names = [
            name
            for name in root.attrs
            if not name.startswith((LAYER_NAMES, WEIGHT_NAMES))
        ]
    return {
        name: hdf5_attributes.read_attribute(root, name, file, "") for name in names
    }


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _text(value: Any, file: SafeFile, name: str) -> str | None:
    value = _single(value)
    if value is None or isinstance(value, str):
        return value
    raise FormatError(
        "Attribute is not a text",
        path=file.path,
        object_path=f"@{name}",
        received=repr(value),
    )


def _json(value: Any, file: SafeFile, name: str) -> dict[str, Any] | None:
    text = _text(value, file, name)
    if text is None:
        return None
    path, place = file.path, f"@{name}"
    try:
        parsed = json.loads(text)
    except RecursionError:
        raise LimitError(
            "JSON is nested too deep", path=path, object_path=place
        ) from None
    except ValueError as error:
        raise FormatError(
            f"Attribute is not JSON: {error}", path=path, object_path=place
        ) from None
    if _nesting(parsed) > _MAX_JSON_NESTING:
        raise LimitError(
            "JSON is nested too deep",
            expected=f"at most {_MAX_JSON_NESTING} levels",
            path=path,
            object_path=place,
        )
    if parsed is None:
        # Keras writes this for a model that has no configuration.
        return None
    if not isinstance(parsed, dict):
        raise FormatError(
            "JSON is not an object",
            received=type(parsed).__name__,
            path=path,
            object_path=place,
        )
    return parsed


def _nesting(value: Any) -> int:
    """Returns how many levels of containers there are; stops at one too many."""
    level = [value]
    depth = 0
    while level and depth <= _MAX_JSON_NESTING:
        level = [
            item
            for container in level
            if isinstance(container, dict | list)
            for item in (
                container.values() if isinstance(container, dict) else container
            )
        ]
        depth += 1
    return depth


def _write_model(root: h5py.Group, model: Hdf5ModelFile) -> None:
    with _write_errors(str(root.file.filename)):
        _remove_model(root)
        group = root
        if not model.weights_only:
            _write_attributes(root, model)
        if model.layers is not None:
            if not model.weights_only:
                group = root.create_group(MODEL_WEIGHTS)
            _write_layers(group, model, model.layers)
        if model.optimizer_weights is not None:
            optimizer = root.create_group(OPTIMIZER_WEIGHTS)
            _write_weights(optimizer, model.optimizer_weights)
        if model.accumulated_gradients:
            accumulated = root.create_group(ACCUMULATED_GRADIENTS)
            _write_weights(accumulated, model.accumulated_gradients)
        root.file.flush()


@contextlib.contextmanager
def _write_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, RuntimeError, TypeError) as error:
        if isinstance(error, NotImplementedError):
            raise
        raise ValueError(f"Can't write to the HDF5 file {path!r}: {error}") from error


def _remove_model(root: h5py.Group) -> None:
    """Makes room in a file that the caller opened."""
    for name in (MODEL_WEIGHTS, OPTIMIZER_WEIGHTS, ACCUMULATED_GRADIENTS):
        if name in root.keys():  # noqa: SIM118  # `in root` follows links.
            del root[name]
    for name in ("model_config", "training_config"):
        if name in root.attrs:
            del root.attrs[name]


def _write_attributes(root: h5py.Group, model: Hdf5ModelFile) -> None:
    for name in ("keras_version", "backend"):
        value = getattr(model, name)
        if value is not None:
            root.attrs[name] = value
    for name in ("model_config", "training_config"):
        value = getattr(model, name)
        if value is not None:
            root.attrs[name] = json.dumps(value).encode("utf-8")
    for name, value in model.extra.items():
        root.attrs[name] = value


def _write_layers(
    group: h5py.Group, model: Hdf5ModelFile, layers: Sequence[Hdf5Layer]
) -> None:
    taken: set[str] = set()
    for layer in layers:
        _check_name(layer.name)
        if layer.name in taken:
            raise ValueError(
                f"Two layers are named {layer.name!r}: an HDF5 file can't hold both."
            )
        taken.add(layer.name)
    _write_names(group, LAYER_NAMES, [layer.name for layer in layers])
    for name in ("backend", "keras_version"):
        value = getattr(model, name)
        if value is not None:
            group.attrs[name] = value.encode("utf-8")
    # In this order a layer `a` comes before a layer `a/b`.
    for layer in sorted(layers, key=lambda layer: layer.name):
        _write_weights(group.require_group(layer.name), layer.weights)
    if TOP_LEVEL_WEIGHTS not in group:
        _write_weights(group.create_group(TOP_LEVEL_WEIGHTS), model.top_level_weights)


def _write_weights(group: h5py.Group, weights: Weights) -> None:
    for name, _ in weights:
        _check_name(name)
    _write_names(group, WEIGHT_NAMES, [name for name, _ in weights])
    for name, tensor in weights:
        _write_tensor(group, name, tensor)


def _check_name(name: str) -> None:
    if any(part in ("", ".", "..") or "\0" in part for part in name.split("/")):
        raise ValueError(
            "An HDF5 file can't hold a layer or weight of that name. "
            f"Expected: plain names with single slashes between. Received: {name!r}"
        )


def _write_tensor(group: h5py.Group, name: str, tensor: StoredTensor) -> None:
    dtype = dtypes.from_name(tensor.dtype)
    array = np.asarray(tensor.read())
    if dtype.numpy is None:
        raise UnsupportedError(f"HDF5 can't hold {name!r} of dtype {dtype.name}.")
    if dtype.numpy.hasobject:
        if any(b"\0" in bytes(item) for item in array.flat):
            raise UnsupportedError(
                f"HDF5 can't hold the strings of {name!r}: one has a zero byte."
            )
        group.create_dataset(name, data=array, dtype=h5py.string_dtype())
    elif issubclass(array.dtype.type, np.number | np.bool_):
        group.create_dataset(name, data=array)
    else:
        # h5py has no type for bfloat16 and smaller ones. Readers that know them
        # take these bytes as they are.
        opaque = np.ascontiguousarray(array).view(f"V{array.dtype.itemsize}")
        dataset = group.create_dataset(name, data=opaque.reshape(array.shape))
        dataset.attrs[hdf5_objects.DTYPE_ATTRIBUTE] = dtype.name


def _write_names(group: h5py.Group, name: str, names: Sequence[str]) -> None:
    """Writes a list of names as Keras does, split where it is too long."""
    encoded = [item.encode("utf-8") for item in names]
    longest = max(encoded, key=len, default=b"")
    if len(longest) > _MAX_ATTRIBUTE_BYTES:
        raise UnsupportedError(
            f"HDF5 can't hold a name of {len(longest)} bytes in a list "
            f"({_MAX_ATTRIBUTE_BYTES} at most): {longest[:50]!r}…"
        )
    chunks = 1
    array = np.array(encoded)
    parts = [array]
    while any(part.nbytes > _MAX_ATTRIBUTE_BYTES for part in parts):
        chunks += 1
        parts = np.array_split(array, chunks)
    if chunks == 1:
        group.attrs[name] = encoded
    for index, part in enumerate(parts if chunks > 1 else ()):
        group.attrs[f"{name}{index}"] = part
