"""Reading a checkpoint the way a main graph's own restore op does."""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.errors import FormatError, MismatchError
from regraft.graph.runtime.context import Context
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.registry import kernel


@kernel("RestoreV2", static=("prefix", "tensor_names", "shape_and_slices"))
def restore_v2(
    ctx: Context,
    prefix: Any,
    tensor_names: Any,
    shape_and_slices: Any,
    *,
    dtypes: tuple[str, ...],
) -> list[Any]:
    """Tensors of the SavedModel's own checkpoint, whatever the prefix says."""
    del prefix
    out = []
    for name, part, dtype in zip(
        tensor_names.tolist(), shape_and_slices.tolist(), dtypes, strict=True
    ):
        key = name.decode()
        stored = ctx.resources.tensors.get(key)
        if stored is None:
            raise MismatchError(f"The checkpoint has no tensor '{key}'.")
        array = stored.read()
        if array.dtype != values.numpy_dtype(dtype):
            raise MismatchError(
                f"Tensor '{key}' of the checkpoint is {array.dtype}, not {dtype}."
            )
        out.append(array[_slices(part.decode(), array.shape)] if part else array)
    return out


def _slices(text: str, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Reads `"full shape start,length:…"`; `-` is a whole axis."""
    parts = text.split()[-1].split(":")
    if len(parts) != len(shape):
        raise FormatError("Invalid slice of a checkpoint's tensor", received=text)
    out = []
    for part in parts:
        if part == "-":
            out.append(slice(None))
            continue
        start, _, length = part.partition(",")
        if not (start.isdigit() and length.isdigit()):
            raise FormatError("Invalid slice of a checkpoint's tensor", received=text)
        out.append(slice(int(start), int(start) + int(length)))
    return tuple(out)


@kernel("ShardedFilename", host=True)
def sharded_filename(basename: Any, shard: Any, num_shards: Any) -> Any:
    """Name of one file of a checkpoint."""
    name = f"{basename.item().decode()}-{int(shard):05d}-of-{int(num_shards):05d}"
    return np.array(name.encode(), object)
