"""Rows dealt out to several tensors, and put together again."""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.errors import MismatchError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.registry import kernel


@kernel("DynamicPartition", static=("partitions",))
def dynamic_partition(data: Any, partitions: Any, *, num_partitions: int) -> list[Any]:
    """Rows by the number of the tensor that each goes to."""
    if partitions.size and not (
        partitions.min() >= 0 and partitions.max() < num_partitions
    ):
        raise MismatchError(
            f"DynamicPartition deals rows out to {num_partitions} tensors, received "
            f"the number {partitions.max()} (lowest {partitions.min()})."
        )
    row = values.shape_of(data)[partitions.ndim :]
    rows = xp.reshape(data, (partitions.size, *row))
    flat = partitions.reshape(-1)
    return [
        xp.take(rows, np.flatnonzero(flat == number), axis=0)
        for number in range(num_partitions)
    ]


@kernel("DynamicStitch", "ParallelDynamicStitch", static=("indices",))
def dynamic_stitch(indices: list[Any], data: list[Any]) -> Any:
    """Rows in their places; of several for one place the last."""
    flat = np.concatenate([index.reshape(-1) for index in indices])
    if flat.size and flat.min() < 0:
        raise MismatchError(f"DynamicStitch received the index {flat.min()}.")
    row = values.shape_of(data[0])[indices[0].ndim :]
    rows = xp.concatenate(
        [
            xp.reshape(part, (index.size, *row))
            for index, part in zip(indices, data, strict=True)
        ],
        axis=0,
    )
    count = int(flat.max()) + 1 if flat.size else 0
    values.checked((count, *row))
    source = np.full(count, -1, np.int64)
    source[flat] = np.arange(len(flat))
    if (source >= 0).all():
        return xp.take(rows, source, axis=0)
    # Nobody says what stands in the places that no index names.
    padded = xp.concatenate([xp.zeros_like(rows[:1]), rows], axis=0)
    return xp.take(padded, source + 1, axis=0)
