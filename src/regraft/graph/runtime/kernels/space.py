"""Blocks of space moved into batch or depth and back; patches; diagonals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.registry import kernel


@kernel(
    "SpaceToBatchND",
    static=("block_shape", "paddings"),
    ignored=("Tblock_shape", "Tpaddings"),
)
def space_to_batch_nd(input: Any, block_shape: Any, paddings: Any) -> Any:
    """Blocks of the spatial axes, after padding, moved into the batch axis."""
    blocks = block_shape.tolist()
    count = len(blocks)
    rank = values.rank_of(input)
    widths = [[0, 0], *paddings.tolist(), *[[0, 0]] * (rank - 1 - count)]
    padded = xp.pad(input, values.widths_for(input, widths))
    lengths = values.shape_of(padded)
    split: list[Any] = [lengths[0]]
    for length, block in zip(lengths[1:], blocks, strict=False):
        split += [length // block, block]
    split += lengths[1 + count :]
    inner = [2 + 2 * i for i in range(count)]
    outer = [1 + 2 * i for i in range(count)]
    rest = range(1 + 2 * count, len(split))
    moved = xp.transpose(xp.reshape(padded, split), (*inner, 0, *outer, *rest))
    batch = lengths[0]
    for block in blocks:
        batch = batch * block
    spatial = [n // b for n, b in zip(lengths[1:], blocks, strict=False)]
    return xp.reshape(moved, (batch, *spatial, *lengths[1 + count :]))


@kernel(
    "BatchToSpaceND",
    static=("block_shape", "crops"),
    ignored=("Tblock_shape", "Tcrops"),
)
def batch_to_space_nd(input: Any, block_shape: Any, crops: Any) -> Any:
    """Undoes `SpaceToBatchND`, cropping instead of padding."""
    blocks = block_shape.tolist()
    count = len(blocks)
    lengths = values.shape_of(input)
    batch = lengths[0] // int(np.prod(blocks))
    parts = xp.reshape(input, (*blocks, batch, *lengths[1:]))
    order = [count]
    for i in range(count):
        order += [count + 1 + i, i]
    order += range(2 * count + 1, count + len(lengths))
    spatial = [n * b for n, b in zip(lengths[1:], blocks, strict=False)]
    whole = xp.reshape(
        xp.transpose(parts, tuple(order)), (batch, *spatial, *lengths[1 + count :])
    )
    cuts = [
        slice(first, length - last)
        for (first, last), length in zip(crops.tolist(), spatial, strict=True)
    ]
    return whole[(slice(None), *cuts)]


@kernel("SpaceToBatch", static=("paddings",), ignored=("Tpaddings",))
def space_to_batch(input: Any, paddings: Any, *, block_size: int) -> Any:
    """`SpaceToBatchND` of two axes with one block size."""
    return space_to_batch_nd(input, np.array([block_size] * 2), paddings)


@kernel("BatchToSpace", static=("crops",), ignored=("Tidx",))
def batch_to_space(input: Any, crops: Any, *, block_size: int) -> Any:
    """`BatchToSpaceND` of two axes with one block size."""
    return batch_to_space_nd(input, np.array([block_size] * 2), crops)


def _channels_last(x: Any, data_format: str) -> Any:
    return xp.transpose(x, (0, 2, 3, 1)) if data_format == "NCHW" else x


def _restored(x: Any, data_format: str) -> Any:
    return xp.transpose(x, (0, 3, 1, 2)) if data_format == "NCHW" else x


@kernel("DepthToSpace")
def depth_to_space(input: Any, *, block_size: int, data_format: str) -> Any:
    """Channels spread into blocks of space."""
    x = _channels_last(input, data_format)
    n, h, w, c = values.shape_of(x)
    b = block_size
    x = xp.reshape(x, (n, h, w, b, b, c // (b * b)))
    x = xp.transpose(x, (0, 1, 3, 2, 4, 5))
    return _restored(xp.reshape(x, (n, h * b, w * b, c // (b * b))), data_format)


@kernel("SpaceToDepth")
def space_to_depth(input: Any, *, block_size: int, data_format: str) -> Any:
    """Blocks of space stacked into channels."""
    x = _channels_last(input, data_format)
    n, h, w, c = values.shape_of(x)
    b = block_size
    x = xp.reshape(x, (n, h // b, b, w // b, b, c))
    x = xp.transpose(x, (0, 1, 3, 2, 4, 5))
    return _restored(xp.reshape(x, (n, h // b, w // b, c * b * b)), data_format)


@kernel("ExtractImagePatches")
def extract_image_patches(
    images: Any,
    *,
    ksizes: tuple[int, ...],
    strides: tuple[int, ...],
    rates: tuple[int, ...],
    padding: str,
) -> Any:
    """Windows of the image, laid into its depth."""
    x = images
    sizes, steps, rates = ksizes[1:3], strides[1:3], rates[1:3]
    if padding == "SAME":
        spans = dilated(sizes, rates)
        x = xp.pad(x, [[0, 0], *same_padding(x, spans, steps), [0, 0]])
    patches = [x[at] for _, at in shifts(x, sizes, steps, rates)]
    return xp.concatenate(patches, axis=-1)


@kernel("ExtractVolumePatches")
def extract_volume_patches(
    input: Any, *, ksizes: tuple[int, ...], strides: tuple[int, ...], padding: str
) -> Any:
    """Windows of the volume, laid into its depth."""
    x = input
    spans, steps = ksizes[1:4], strides[1:4]
    if padding == "SAME":
        x = xp.pad(x, [[0, 0], *same_padding(x, spans, steps), [0, 0]])
    windows = [x[at] for _, at in shifts(x, spans, steps)]
    return xp.concatenate(windows, axis=-1)


@kernel("Dilation2D")
def dilation2d(
    input: Any,
    filter: Any,
    *,
    strides: tuple[int, ...],
    rates: tuple[int, ...],
    padding: str,
) -> Any:
    """The largest sum of image and filter in each window."""
    x = input
    sizes, steps, rates = values.shape_of(filter)[:2], strides[1:3], rates[1:3]
    if padding == "SAME":
        low = np.asarray(-np.inf, values.numpy_dtype(values.dtype_of(x)))
        pads = same_padding(x, dilated(sizes, rates), steps)
        x = xp.pad(x, [[0, 0], *pads, [0, 0]], constant_values=low)
    out: Any = None
    for place, at in shifts(x, sizes, steps, rates):
        part = xp.add(x[at], filter[place])
        out = part if out is None else xp.maximum(out, part)
    return out


def dilated(sizes: Sequence[int], rates: Sequence[int]) -> list[int]:
    """Returns what windows span whose entries are so far from one another."""
    return [(size - 1) * rate + 1 for size, rate in zip(sizes, rates, strict=True)]


def shifts(
    x: Any, sizes: Sequence[int], steps: Sequence[int], rates: Sequence[int] = ()
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Yields each place in a window, and where all windows have their entry of it.

    Args:
        x: Channels last, padded.
        sizes: Of the windows, per spatial axis.
        steps: From one window to the next.
        rates: From one entry of a window to the next; 1 if none are given.
    """
    rates = rates or [1] * len(sizes)
    lengths = values.shape_of(x)[1 : 1 + len(sizes)]
    counts = [
        (length - span) // step * step + 1
        for length, span, step in zip(
            lengths, dilated(sizes, rates), steps, strict=True
        )
    ]
    for place in np.ndindex(*sizes):
        firsts = [at * rate for at, rate in zip(place, rates, strict=True)]
        along = [
            slice(first, first + count, step)
            for first, count, step in zip(firsts, counts, steps, strict=True)
        ]
        yield place, (slice(None), *along)


def same_padding(x: Any, spans: Any, strides: Any) -> list[list[Any]]:
    """Returns the padding per spatial axis of what TensorFlow calls SAME.

    Args:
        x: Input with channels last.
        spans: Length of the window per axis, dilation included.
        strides: Steps per axis.
    """
    out = []
    for length, span, step in zip(values.shape_of(x)[1:], spans, strides, strict=False):
        if isinstance(length, int):
            total = max((-(-length // step) - 1) * step + span - length, 0)
        else:
            # A symbolic length: exact for steps of 1, which is all that can be said.
            total = span - 1 if step == 1 else span - step
        out.append([total // 2, total - total // 2])
    return out


# Diagonals


@kernel("Diag")
def diag(diagonal: Any) -> Any:
    """A tensor of twice the rank with the input on its diagonal."""
    lengths = values.shape_of(diagonal)
    count = int(np.prod(lengths))
    flat = xp.reshape(diagonal, (count,))
    mask = np.eye(count, dtype=bool)
    zero = np.zeros((), values.numpy_dtype(values.dtype_of(diagonal)))
    return xp.reshape(xp.where(mask, flat, zero), (*lengths, *lengths))


@kernel("DiagPart")
def diag_part(input: Any) -> Any:
    """The diagonal of a tensor whose shape is some shape twice."""
    lengths = values.shape_of(input)
    half = lengths[: len(lengths) // 2]
    count = int(np.prod(half))
    return xp.reshape(xp.diagonal(xp.reshape(input, (count, count))), half)


def _bands(k: Any) -> tuple[int, int]:
    flat = np.asarray(k).reshape(-1)
    return int(flat[0]), int(flat[-1])


def _offset(length: int, longest: int, align: str, diagonal: int) -> int:
    """Where a diagonal begins in its row of the packed form."""
    upper, lower = align.split("_")
    side = upper if diagonal >= 0 else lower
    return longest - length if side == "RIGHT" else 0


def _diagonals(
    rows: int, columns: int, low: int, high: int, align: str
) -> tuple[Any, Any]:
    """Returns, per place of the packed form, its row and column; -1 outside."""
    lengths = {
        d: max(min(rows + min(d, 0), columns - max(d, 0)), 0)
        for d in range(low, high + 1)
    }
    longest = max(lengths.values())
    count = high - low + 1
    row = np.full((count, longest), -1)
    column = np.full((count, longest), -1)
    for d, length in lengths.items():
        start = _offset(length, longest, align, d)
        places = np.arange(length)
        row[high - d, start : start + length] = places - min(d, 0)
        column[high - d, start : start + length] = places + max(d, 0)
    return row, column


def _diag_part(input: Any, k: Any, padding: Any, align: str) -> Any:
    low, high = _bands(k)
    rows, columns = values.shape_of(input)[-2:]
    row, column = _diagonals(rows, columns, low, high, align)
    flat = xp.reshape(input, (*values.shape_of(input)[:-2], rows * columns))
    places = np.maximum(row * columns + column, 0).reshape(-1)
    taken = xp.take(flat, places, axis=-1)
    taken = xp.reshape(taken, (*values.shape_of(flat)[:-1], *row.shape))
    out = xp.where(row >= 0, taken, padding)
    return out[..., 0, :] if low == high else out


@kernel("MatrixDiagPart", "BatchMatrixDiagPart")
def matrix_diag_part(input: Any) -> Any:
    """Main diagonals of the innermost matrices."""
    return xp.diagonal(input, axis1=-2, axis2=-1)


@kernel("MatrixDiagPartV2", static=("k",))
def matrix_diag_part_v2(input: Any, k: Any, padding_value: Any) -> Any:
    """Diagonals `k` of the innermost matrices, to the left."""
    return _diag_part(input, k, padding_value, "LEFT_LEFT")


@kernel("MatrixDiagPartV3", static=("k",))
def matrix_diag_part_v3(input: Any, k: Any, padding_value: Any, *, align: str) -> Any:
    """Diagonals `k` of the innermost matrices."""
    return _diag_part(input, k, padding_value, align)


def _set_diag(base: Any, diagonal: Any, k: Any, align: str) -> Any:
    low, high = _bands(k)
    rows, columns = values.shape_of(base)[-2:]
    row, column = _diagonals(rows, columns, low, high, align)
    if low == high:
        diagonal = xp.expand_dims(diagonal, -2)
    # For every place of the matrix, where its value stands in the packed form.
    source = np.full((rows, columns), -1)
    inside = row >= 0
    source[row[inside], column[inside]] = np.arange(row.size).reshape(row.shape)[inside]
    lead = values.shape_of(diagonal)[:-2]
    flat = xp.reshape(diagonal, (*lead, row.size))
    taken = xp.take(flat, np.maximum(source, 0).reshape(-1), axis=-1)
    taken = xp.reshape(taken, (*lead, rows, columns))
    return xp.where(source >= 0, taken, base)


@kernel("MatrixSetDiag", "BatchMatrixSetDiag")
def matrix_set_diag(input: Any, diagonal: Any) -> Any:
    """The input with other main diagonals."""
    return _set_diag(input, diagonal, 0, "LEFT_LEFT")


@kernel("MatrixSetDiagV2", static=("k",))
def matrix_set_diag_v2(input: Any, diagonal: Any, k: Any) -> Any:
    """The input with other diagonals `k`, given to the left."""
    return _set_diag(input, diagonal, k, "LEFT_LEFT")


@kernel("MatrixSetDiagV3", static=("k",))
def matrix_set_diag_v3(input: Any, diagonal: Any, k: Any, *, align: str) -> Any:
    """The input with other diagonals `k`."""
    return _set_diag(input, diagonal, k, align)


def _matrix_diag(
    diagonal: Any, k: Any, num_rows: Any, num_cols: Any, padding: Any, align: str
) -> Any:
    low, high = _bands(k)
    shape = values.shape_of(diagonal)
    longest = shape[-1]
    rows, columns = int(num_rows), int(num_cols)
    least_rows = longest + max(-high, 0)
    least_columns = longest + max(low, 0)
    if rows < 0 and columns < 0:
        rows = columns = max(least_rows, least_columns)
    rows = least_rows if rows < 0 else rows
    columns = least_columns if columns < 0 else columns
    lead = shape[:-1] if low == high else shape[:-2]
    base = xp.broadcast_to(padding, (*lead, rows, columns))
    return _set_diag(base, diagonal, k, align)


@kernel("MatrixDiag", "BatchMatrixDiag")
def matrix_diag(diagonal: Any) -> Any:
    """Matrices with these main diagonals."""
    zero = np.zeros((), values.numpy_dtype(values.dtype_of(diagonal)))
    return _matrix_diag(diagonal, 0, -1, -1, zero, "LEFT_LEFT")


@kernel("MatrixDiagV2", static=("k", "num_rows", "num_cols"))
def matrix_diag_v2(
    diagonal: Any, k: Any, num_rows: Any, num_cols: Any, padding_value: Any
) -> Any:
    """Matrices with these diagonals `k`, given to the left."""
    return _matrix_diag(diagonal, k, num_rows, num_cols, padding_value, "LEFT_LEFT")


@kernel("MatrixDiagV3", static=("k", "num_rows", "num_cols"))
def matrix_diag_v3(
    diagonal: Any,
    k: Any,
    num_rows: Any,
    num_cols: Any,
    padding_value: Any,
    *,
    align: str,
) -> Any:
    """Matrices with these diagonals `k`."""
    return _matrix_diag(diagonal, k, num_rows, num_cols, padding_value, align)


@kernel(
    "MatrixBandPart",
    "BatchMatrixBandPart",
    static=("num_lower", "num_upper"),
    ignored=("Tindex",),
)
def matrix_band_part(input: Any, num_lower: Any, num_upper: Any) -> Any:
    """The input with zeros outside a band around the main diagonals."""
    rows, columns = values.shape_of(input)[-2:]
    below, above = values.scalar(num_lower), values.scalar(num_upper)
    if isinstance(rows, int) and isinstance(columns, int):
        distance = np.arange(rows)[:, None] - np.arange(columns)[None, :]
    else:
        distance = ops.expand_dims(ops.arange(rows), 1) - ops.arange(columns)
    band = xp.logical_and(
        (distance <= below) | (below < 0), (-distance <= above) | (above < 0)
    )
    zero = np.zeros((), values.numpy_dtype(values.dtype_of(input)))
    return xp.where(band, input, zero)


# Layouts by name


def _moved(src_format: str, dst_format: str) -> list[int]:
    """Returns where each axis of the source stands in the destination."""
    return [dst_format.index(letter) for letter in src_format]


@kernel("DataFormatDimMap")
def data_format_dim_map(x: Any, *, src_format: str, dst_format: str) -> Any:
    """Axes of one layout as axes of another."""
    places = np.array(_moved(src_format, dst_format), np.int32)
    dtype = values.dtype_of(x)
    return values.cast(xp.take(places, xp.mod(x, len(places)), axis=0), dtype)


@kernel("DataFormatVecPermute")
def data_format_vec_permute(x: Any, *, src_format: str, dst_format: str) -> Any:
    """Numbers (or pairs) per axis of one layout in the order of another."""
    count = values.shape_of(x)[0]
    if count == len(src_format) - 2:
        # The spatial axes alone.
        src_format, dst_format = (
            "".join(c for c in name if c not in "NC")
            for name in (src_format, dst_format)
        )
    order = [src_format.index(letter) for letter in dst_format]
    return xp.take(x, np.array(order, np.int32), axis=0)
