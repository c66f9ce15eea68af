"""The directory of a SavedModel: which file holds what.

| path | holds | |
|---|---|---|
| `saved_model.pb` | `SavedModel` | or `saved_model.pbtxt`, in text format |
| `keras_metadata.pb` | `KerasSavedMetadata` | Keras models since TensorFlow 2.5 |
| `variables/variables.index`, `.data-…` | tensor bundle | absent without variables |
| `assets/` | files that the graph refers to | |
| `fingerprint.pb` | `FingerprintDef` | optional |
| `debug/saved_model_debug_info.pb` | `GraphDebugInfo` | optional |
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from regraft.errors import FormatError, UnsafeFileError, UnsupportedError
from regraft.storage import commit, filesystem, proto
from regraft.storage.fingerprint import fingerprint_of
from regraft.storage.proto import messages
from regraft.storage.tensor import StoredTensor, nbytes
from regraft.storage.tensor_bundle import TensorBundleReader, TensorBundleWriter
from regraft.storage.tensor_bundle.entries import index_path

SAVED_MODEL = "saved_model.pb"
SAVED_MODEL_TEXT = "saved_model.pbtxt"
SAVED_MODEL_CHUNKED = "saved_model.cpb"
KERAS_METADATA = "keras_metadata.pb"
FINGERPRINT = "fingerprint.pb"
VARIABLES = "variables"
ASSETS = "assets"
_ASSET_COLLECTION = "saved_model_assets"
DEBUG = "debug"
DEBUG_INFO = "saved_model_debug_info.pb"

# What belongs to a SavedModel and is replaced with it; other files of a directory,
# such as a README or `assets.extra`, stay.
OWN_NAMES = frozenset(
    {
        SAVED_MODEL,
        SAVED_MODEL_TEXT,
        SAVED_MODEL_CHUNKED,
        KERAS_METADATA,
        FINGERPRINT,
        VARIABLES,
        ASSETS,
        DEBUG,
    }
)

Tensor = StoredTensor | np.ndarray[Any, Any]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SavedModelDirectory:
    """What the files of a SavedModel hold; tensors are read when asked for.

    Attributes:
        path: The directory.
        saved_model: The object graph, the graph and the signatures.
        keras_metadata: Keras' part; `None` where the file is missing.
        variables: The tensors; `None` where the model has none.
        fingerprint: `None` where the file is missing.
        debug_info: `None` where the file is missing.
    """

    path: str
    saved_model: messages.SavedModel
    keras_metadata: messages.KerasSavedMetadata | None
    variables: TensorBundleReader | None
    fingerprint: messages.FingerprintDef | None
    debug_info: messages.GraphDebugInfo | None

    @property
    def assets_path(self) -> str:
        """The directory that holds the assets; it may be missing."""
        return filesystem.join(self.path, ASSETS)

    def asset_path(self, filename: str) -> str:
        """Returns the path of an asset, which lies inside `assets_path`.

        Raises:
            UnsafeFileError: `filename` or a link leads out of the directory.
            FormatError: The file is missing.
        """
        return _asset_path(self.assets_path, filename)

    def read_asset(self, filename: str, *, max_bytes: int | None = None) -> bytes:
        """Returns what an asset holds; `asset_path` says what it raises."""
        return filesystem.read_bytes(self.asset_path(filename), max_bytes=max_bytes)


def asset_files(meta_graph: Any) -> list[Any]:
    """Returns the `AssetFileDef`s of a meta graph, which old builders keep elsewhere.

    Raises:
        FormatError: What a collection of them holds is something else.
    """
    files = list(meta_graph.asset_file_def)
    collections = meta_graph.collection_def
    if files or _ASSET_COLLECTION not in collections:
        return files
    packed = collections[_ASSET_COLLECTION].any_list.value
    return [proto.parse(messages.AssetFileDef, item.value) for item in packed]


def is_saved_model_directory(path: str | os.PathLike[str]) -> bool:
    """Whether the directory `path` holds a SavedModel in any of its forms."""
    return any(
        filesystem.is_file(filesystem.join(path, name))
        for name in (SAVED_MODEL, SAVED_MODEL_TEXT, SAVED_MODEL_CHUNKED)
    )


def read_saved_model_directory(
    path: str | os.PathLike[str],
    *,
    verify: bool = True,
    memory_budget_bytes: int | None = None,
) -> SavedModelDirectory:
    """Reads the messages of a SavedModel, and the index of its tensors.

    Where both `saved_model.pb` and `saved_model.pbtxt` are there, the former counts,
    as in TensorFlow.

    Args:
        path: The directory; local, or one of fsspec.
        verify: Whether to check a tensor's CRC32C when it is first read.
        memory_budget_bytes: The most that all tensors together may take in memory.

    Raises:
        FileNotFoundError: There is no SavedModel at `path`.
        FormatError: A file is not what its format demands.
        UnsupportedError: The SavedModel is one that TensorFlow split in chunks.
    """
    root = os.fspath(path)
    return SavedModelDirectory(
        path=root,
        saved_model=_read_saved_model(root),
        keras_metadata=_read_optional(
            messages.KerasSavedMetadata, filesystem.join(root, KERAS_METADATA)
        ),
        variables=_open_variables(root, verify, memory_budget_bytes),
        fingerprint=_read_optional(
            messages.FingerprintDef, filesystem.join(root, FINGERPRINT)
        ),
        debug_info=_read_optional(
            messages.GraphDebugInfo, filesystem.join(root, DEBUG, DEBUG_INFO)
        ),
    )


def write_saved_model_directory(
    path: str | os.PathLike[str],
    *,
    saved_model: messages.SavedModel,
    keras_metadata: messages.KerasSavedMetadata | None = None,
    tensors: Iterable[tuple[str, Tensor]] | Mapping[str, Tensor] = (),
    assets: Mapping[str, bytes] | None = None,
    fingerprint: messages.FingerprintDef | Literal["compute"] | None = None,
    debug_info: messages.GraphDebugInfo | None = None,
    alignment_bytes: int = 64,
    progress: Progress | None = None,
) -> None:
    """Writes a SavedModel: all of it, or, if anything fails, nothing.

    A local directory is replaced in one step. On a remote file system the model is
    built locally and sent, `saved_model.pb` last: until then there is no SavedModel.

    Args:
        path: The directory; parents that are missing are made. Files in it that are
            no part of a SavedModel stay.
        saved_model: What `saved_model.pb` holds.
        keras_metadata: What `keras_metadata.pb` holds.
        tensors: The tensors by key, read and written one by one.
        assets: Contents of the files in `assets/`.
        fingerprint: What `fingerprint.pb` holds; `"compute"`: the hashes by which
            TensorFlow knows the model again.
        debug_info: What `debug/saved_model_debug_info.pb` holds.
        alignment_bytes: Each tensor begins at a multiple of this in its file.
        progress: Called with `"tensors"`, bytes written and bytes in all.
    """
    pairs = tensors.items() if isinstance(tensors, Mapping) else tensors
    with new_saved_model_directory(
        path, alignment_bytes=alignment_bytes, progress=progress
    ) as writer:
        writer.add_tensors(pairs)
        writer.finish(
            saved_model,
            keras_metadata=keras_metadata,
            assets=assets,
            fingerprint=fingerprint,
            debug_info=debug_info,
        )


@contextlib.contextmanager
def new_saved_model_directory(
    path: str | os.PathLike[str],
    *,
    alignment_bytes: int = 64,
    progress: Progress | None = None,
) -> Iterator[SavedModelWriter]:
    """Writes a SavedModel part by part: all of it, or, if anything fails, nothing.

    Tensors that are added before the rest is made are written meanwhile. For the
    arguments, see `write_saved_model_directory`.
    """
    with _new_directory(path) as root:
        writer = SavedModelWriter(root, alignment_bytes, progress)
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise


class SavedModelWriter:
    """Writes the parts of a SavedModel into a new directory."""

    def __init__(
        self, root: str, alignment_bytes: int, progress: Progress | None
    ) -> None:
        self._root = root
        self._progress = progress
        self._done = 0
        directory = os.path.join(root, VARIABLES)
        os.makedirs(directory)
        self._prefix = os.path.join(directory, VARIABLES)
        self._bundle = TensorBundleWriter(self._prefix, alignment_bytes=alignment_bytes)

    def add_tensors(self, pairs: Iterable[tuple[str, Tensor]]) -> None:
        """Adds tensors by key; they must not change until `finish` has returned."""
        total = 0
        if self._progress is not None:
            pairs = list(pairs)
            total = self._done + sum(map(_size, pairs))
        for pair in pairs:
            self._bundle.add(*pair)
            if self._progress is not None:
                self._done += _size(pair)
                self._progress("tensors", self._done, total)
        self._bundle.flush_soon()

    def finish(
        self,
        saved_model: messages.SavedModel,
        *,
        keras_metadata: messages.KerasSavedMetadata | None = None,
        assets: Mapping[str, bytes] | None = None,
        fingerprint: messages.FingerprintDef | Literal["compute"] | None = None,
        debug_info: messages.GraphDebugInfo | None = None,
    ) -> None:
        """Writes all but the tensors, and waits for these."""
        root = self._root
        content, index = proto.serialize(saved_model), self._bundle.index()
        filesystem.write_bytes(os.path.join(root, SAVED_MODEL), content)
        # The tensors are on their way to the disk meanwhile.
        if fingerprint == "compute":
            fingerprint = fingerprint_of(saved_model, index, content)
        optional: dict[str, messages.Message | None] = {
            KERAS_METADATA: keras_metadata,
            FINGERPRINT: fingerprint,
            os.path.join(DEBUG, DEBUG_INFO): debug_info,
        }
        _write_messages(root, {name: m for name, m in optional.items() if m})
        _write_assets(root, assets or {})
        self._bundle.finish(index)

    def abandon(self) -> None:
        """Lets go of what has been written; the directory is about to be removed."""
        self._bundle.abandon()


def _read_saved_model(root: str) -> messages.SavedModel:
    binary = filesystem.join(root, SAVED_MODEL)
    text = filesystem.join(root, SAVED_MODEL_TEXT)
    chunked = filesystem.join(root, SAVED_MODEL_CHUNKED)
    if filesystem.is_file(binary):
        model = proto.parse(messages.SavedModel, _read(binary), path=binary)
        path = binary
    elif filesystem.is_file(text):
        model = proto.parse_text(messages.SavedModel, _read(text), path=text)
        path = text
    elif filesystem.is_file(chunked):
        raise UnsupportedError(
            f"{chunked!r} is a SavedModel in chunks, which TensorFlow writes with "
            "SaveOptions(experimental_image_format=True). Save it again without that "
            "option."
        )
    else:
        raise FileNotFoundError(
            errno.ENOENT,
            f"No SavedModel there: neither {SAVED_MODEL} nor {SAVED_MODEL_TEXT}",
            root,
        )
    if not model.meta_graphs:
        raise FormatError("SavedModel holds no meta graph", path=path)
    return model


def _read(path: str) -> bytes:
    return filesystem.read_bytes(path, max_bytes=proto.MAX_MESSAGE_BYTES)


def _read_optional(message_class: type[Any], path: str) -> Any:
    if not filesystem.is_file(path):
        return None
    return proto.parse(message_class, _read(path), path=path)


def _open_variables(
    root: str, verify: bool, memory_budget_bytes: int | None
) -> TensorBundleReader | None:
    directory = filesystem.join(root, VARIABLES)
    prefix = filesystem.join(directory, VARIABLES)
    if filesystem.is_file(index_path(prefix)):
        return TensorBundleReader(
            prefix, verify=verify, memory_budget_bytes=memory_budget_bytes
        )
    data = [name for name in filesystem.list_names(directory) if ".data-" in name]
    if data:
        raise FormatError(
            "Index of the variables is missing, though there are data",
            path=index_path(prefix),
            received=", ".join(data),
        )
    return None


def _check_asset_name(filename: str, path: str) -> list[str]:
    """Returns the parts of an asset's name, each a plain name."""
    parts = filename.split("/")
    if (
        "\\" in filename
        or "\0" in filename
        or any(part in ("", ".", "..") or ":" in part for part in parts)
    ):
        raise UnsafeFileError(
            "Name of an asset leads out of its directory",
            path=path,
            expected="a relative path without '..'",
            received=repr(filename),
        )
    return parts


def _asset_path(directory: str, filename: str) -> str:
    parts = _check_asset_name(filename, directory)
    path = filesystem.join(directory, *parts)
    if not filesystem.is_remote(path):
        inside = os.path.realpath(filesystem.to_local(directory))
        path = os.path.realpath(filesystem.to_local(path))
        if os.path.commonpath([inside, path]) != inside:
            raise UnsafeFileError(
                "A link leads out of the directory of assets. If the files are yours, "
                "copy the model with its links resolved (cp -rL)",
                path=os.path.join(directory, *parts),
                received=path,
            )
    if not filesystem.is_file(path):
        raise FormatError("Asset is missing", path=path)
    return path


@contextlib.contextmanager
def _new_directory(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yields a local directory that becomes `path` at the end of the block."""
    if not filesystem.is_remote(path):
        local = filesystem.to_local(path)
        with commit.replace_directory(local, replaces=OWN_NAMES) as new:
            yield new
        return
    with tempfile.TemporaryDirectory() as new:
        yield new
        _send(new, path)


def _send(local: str, path: str | os.PathLike[str]) -> None:
    """Copies a SavedModel to a remote directory, `saved_model.pb` last."""
    for name in (SAVED_MODEL, SAVED_MODEL_TEXT, SAVED_MODEL_CHUNKED):
        filesystem.remove_file(filesystem.join(path, name))
    for name in sorted(OWN_NAMES):
        filesystem.remove_tree(filesystem.join(path, name))
    names = sorted(os.listdir(local), key=lambda name: (name == SAVED_MODEL, name))
    for name in names:
        filesystem.send(os.path.join(local, name), filesystem.join(path, name))


def _write_messages(root: str, files: Mapping[str, messages.Message]) -> None:
    for name, message in files.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        filesystem.write_bytes(path, proto.serialize(message))


def _write_assets(root: str, assets: Mapping[str, bytes]) -> None:
    directory = os.path.join(root, ASSETS)
    # TensorFlow makes this directory in any case.
    os.makedirs(directory)
    for filename, content in assets.items():
        path = os.path.join(directory, *_check_asset_name(filename, directory))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        filesystem.write_bytes(path, content)


def _size(pair: tuple[str, Tensor]) -> int:
    tensor = pair[1]
    return tensor.nbytes if isinstance(tensor, np.ndarray) else nbytes(tensor)
