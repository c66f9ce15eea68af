"""A checkpoint of TensorFlow: a tensor bundle, and which of a directory is the last.

```
<prefix>.index                 keys, and where each tensor is
<prefix>.data-00000-of-00001   the tensors
checkpoint                     `CheckpointState` as text: the name of the last prefix
```
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

from regraft.options import Progress
from regraft.storage import commit, filesystem
from regraft.storage.tensor import StoredTensor, nbytes
from regraft.storage.tensor_bundle.entries import index_path, shard_path
from regraft.storage.tensor_bundle.writer import TensorBundleWriter

_STATE = "checkpoint"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def write_checkpoint(
    prefix: str | os.PathLike[str],
    tensors: Sequence[tuple[str, StoredTensor]],
    *,
    alignment_bytes: int = 64,
    progress: Progress | None = None,
) -> None:
    """Writes a checkpoint: all of it, or, if anything fails, nothing.

    One of the same prefix is replaced file by file, the data first: of a crash between
    two, the tensors' checksums tell.

    Args:
        prefix: Of the names of its files (local, or one of fsspec); directories that
            are missing are made.
        tensors: Keys and values.
        alignment_bytes: Each tensor begins at a multiple of this.
        progress: Called with `"tensors"`, and how many bytes of how many are written.
    """
    directory, name = os.path.split(os.fspath(prefix))
    names = (shard_path(name, 0, 1), index_path(name), _STATE)
    if filesystem.is_remote(prefix):
        with tempfile.TemporaryDirectory() as new:
            _write(new, name, tensors, alignment_bytes, progress)
            filesystem.make_directory(directory)
            for file in names:
                filesystem.send(
                    os.path.join(new, file), filesystem.join(directory, file)
                )
        return
    with commit.replace_files(filesystem.to_local(directory), names) as new:
        _write(new, name, tensors, alignment_bytes, progress)


def _write(
    directory: str,
    name: str,
    tensors: Sequence[tuple[str, StoredTensor]],
    alignment_bytes: int,
    progress: Progress | None,
) -> None:
    done, total = 0, sum(nbytes(tensor) for _, tensor in tensors)
    with TensorBundleWriter(
        os.path.join(directory, name), alignment_bytes=alignment_bytes
    ) as bundle:
        for key, tensor in tensors:
            bundle.add(key, tensor)
            done += nbytes(tensor)
            if progress is not None:
                progress("tensors", done, total)
    quoted = f'"{name.translate(_ESCAPES)}"'
    state = f"model_checkpoint_path: {quoted}\nall_model_checkpoint_paths: {quoted}\n"
    filesystem.write_bytes(os.path.join(directory, _STATE), state.encode("utf-8"))
