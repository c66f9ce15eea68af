"""`tf.train.Example`s, parsed on the host.

An `Example` holds `Features`, a map from name to a list of bytes, float32 or int64.
Source: TensorFlow `core/example/{example,feature}.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from regraft.errors import MismatchError
from regraft.graph import ir
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.registry import kernel
from regraft.graph.tensor_serde import tensor_from_proto, tensor_to_proto
from regraft.storage import proto
from regraft.storage.proto import messages

Features = dict[bytes, list[Any]]
# Names and dtypes of what is asked for, and the shapes of dense features.
SparseKeys = tuple[Sequence[bytes], Sequence[str]]
DenseKeys = tuple[Sequence[bytes], Sequence[str], Sequence[ir.TensorShape]]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError


def fields_of(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Yields number, wire type and value of each field of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, kind, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
        if kind == _LENGTH:
            size, at = _varint(data, at)
        if size < 0 or at + size > len(data):
            raise IndexError
        yield tag >> 3, kind, data[at : at + size]
        at += size


def items_of(data: bytes) -> list[Any]:
    """Returns the values of a `Feature`."""
    found: list[Any] = []
    for number, _, content in fields_of(data):
        for _, kind, value in fields_of(content):
            if number == 1:
                found.append(value)
            elif number == 2:
                found += struct.unpack(f"<{len(value) // 4}f", value)
            elif kind == _VARINT:
                found.append(value)
            else:
                at = 0
                while at < len(value):
                    item, at = _varint(value, at)
                    found.append(item)
        if number == 3:
            found = [v - (1 << 64) if v >= 1 << 63 else v for v in found]
    return found


def features_in(data: bytes) -> Features:
    """Returns what serialized `Features` hold."""
    found: Features = {}
    for _, _, entry in fields_of(data):
        parts = {number: value for number, _, value in fields_of(entry)}
        found[parts.get(1, b"")] = items_of(parts.get(2, b""))
    return found


def parse_example(data: bytes) -> Features:
    """Returns the features of a serialized `Example`.

    Raises:
        MismatchError: It is none.
    """
    found: Features = {}
    try:
        for _, _, features in fields_of(data):
            found.update(features_in(features))
    except (IndexError, TypeError, struct.error):
        raise MismatchError(
            f"Invalid tf.train.Example: {data[:20]!r}… of {len(data)} bytes."
        ) from None
    return found


def array_of(items: Sequence[Any], dtype: str) -> Any:
    """Returns values of a feature as a vector.

    Raises:
        MismatchError: They are of another type.
    """
    out = np.empty(len(items), values.numpy_dtype(dtype))
    try:
        out[:] = list(items)
    except (TypeError, ValueError):
        raise MismatchError(f"A feature holds no {dtype}.") from None
    return out


def sparse_features(
    rows: list[list[Any]], dtype: str, batched: bool
) -> tuple[Any, Any, Any]:
    """Returns a feature of each row as indices, values and shape."""
    found = array_of([item for row in rows for item in row], dtype)
    if not batched:
        places = np.arange(len(found), dtype=np.int64)[:, None]
        return places, found, np.array([len(found)], np.int64)
    indices = [(i, j) for i, row in enumerate(rows) for j in range(len(row))]
    shape = [len(rows), max((len(row) for row in rows), default=0)]
    return (
        np.array(indices, np.int64).reshape(-1, 2),
        found,
        np.array(shape, np.int64),
    )


def dense_features(
    key: bytes,
    parsed: list[Features],
    default: Any,
    dtype: str,
    shape: ir.TensorShape,
    batched: bool,
) -> Any:
    """Returns a feature of each row in one tensor, with a default for what lacks it.

    Raises:
        MismatchError: A row has none, or too many or too few values.
    """
    dims = shape.dims or ()
    rows = [features.get(key, []) for features in parsed]
    if dims[:1] == (None,):
        inner = tuple(d or 0 for d in dims[1:])
        width = int(np.prod(inner, dtype=np.int64))
        longest = max((len(row) // max(width, 1) for row in rows), default=0)
        filler = (
            default.reshape(-1)[0]
            if default.size
            else (b"" if dtype == "string" else 0)
        )
        full = [row + [filler] * (longest * width - len(row)) for row in rows]
        dims = (longest, *inner)
    else:
        full = []
        for row in rows:
            if not row and not default.size:
                raise MismatchError(f"An Example has no feature {key!r}.")
            full.append(row or default.reshape(-1).tolist())
    known = tuple(int(d or 0) for d in dims)
    count = int(np.prod(known, dtype=np.int64))
    for row in full:
        if len(row) != count:
            raise MismatchError(
                f"Feature {key!r} has {len(row)} values, expected {count}."
            )
    out = (
        np.stack([array_of(row, dtype).reshape(known) for row in full])
        if full
        else (np.empty((0, *known), values.numpy_dtype(dtype)))
    )
    return out if batched else out[0]


def ragged_features(
    rows: list[list[Any]], dtype: str, split_dtype: str, batched: bool
) -> tuple[Any, Any]:
    """Returns a feature of each row as values and where rows end."""
    found = array_of([item for row in rows for item in row], dtype)
    if not batched:
        return found, np.zeros(0, values.numpy_dtype(split_dtype))
    splits = np.cumsum([0, *map(len, rows)])
    return found, splits.astype(values.numpy_dtype(split_dtype))


def columns_of(rows: Iterable[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """Returns `count` lists: the first results of all rows, and so on."""
    return [list(column) for column in zip(*rows, strict=True)] or [[]] * count


def features_of(
    parsed: list[Features],
    sparse: SparseKeys,
    dense: DenseKeys,
    defaults: Sequence[Any],
    batched: bool,
) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Returns indices, values and shapes of sparse features, and dense ones."""
    found = (
        sparse_features([features.get(key, []) for features in parsed], dtype, batched)
        for key, dtype in zip(*sparse, strict=True)
    )
    filled = [
        dense_features(key, parsed, default, dtype, shape, batched)
        for key, dtype, shape, default in zip(*dense, defaults, strict=True)
    ]
    indices, items, shapes = columns_of(found, 3)
    return indices, items, shapes, filled


def _parsed(serialized: Any) -> tuple[list[Features], bool]:
    """Returns the features of each Example, and whether there may be several."""
    rows = [parse_example(item) for item in serialized.reshape(-1).tolist()]
    return rows, bool(serialized.ndim)


@kernel("ParseExample", host=True, ignored=("Nsparse", "Ndense"))
def parse_example_v1(
    serialized: Any,
    names: Any,
    sparse_keys: list[Any],
    dense_keys: list[Any],
    dense_defaults: list[Any],
    *,
    sparse_types: tuple[str, ...],
    Tdense: tuple[str, ...],
    dense_shapes: tuple[ir.TensorShape, ...],
) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Features of serialized Examples: sparse, and dense."""
    del names
    parsed, batched = _parsed(serialized)
    return features_of(
        parsed,
        ([k.item() for k in sparse_keys], sparse_types),
        ([k.item() for k in dense_keys], Tdense, dense_shapes),
        dense_defaults,
        batched,
    )


@kernel("ParseExampleV2", host=True, ignored=("num_sparse",))
def parse_example_v2(
    serialized: Any,
    names: Any,
    sparse_keys: Any,
    dense_keys: Any,
    ragged_keys: Any,
    dense_defaults: list[Any],
    *,
    sparse_types: tuple[str, ...],
    Tdense: tuple[str, ...],
    dense_shapes: tuple[ir.TensorShape, ...],
    ragged_value_types: tuple[str, ...],
    ragged_split_types: tuple[str, ...],
) -> tuple[list[Any], ...]:
    """Features of serialized Examples: sparse, dense, and ragged."""
    del names
    parsed, batched = _parsed(serialized)
    found = features_of(
        parsed,
        (sparse_keys.tolist(), sparse_types),
        (dense_keys.tolist(), Tdense, dense_shapes),
        dense_defaults,
        batched,
    )
    ragged = (
        ragged_features(
            [features.get(key, []) for features in parsed], dtype, split_dtype, batched
        )
        for key, dtype, split_dtype in zip(
            ragged_keys.tolist(), ragged_value_types, ragged_split_types, strict=True
        )
    )
    return (*found, *columns_of(ragged, 2))


@kernel("ParseSingleExample", host=True, ignored=("num_sparse",))
def parse_single_example(
    serialized: Any,
    dense_defaults: list[Any],
    *,
    sparse_keys: tuple[str, ...],
    dense_keys: tuple[str, ...],
    sparse_types: tuple[str, ...],
    Tdense: tuple[str, ...],
    dense_shapes: tuple[ir.TensorShape, ...],
) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Features of one serialized Example: sparse, and dense."""
    parsed, batched = _parsed(serialized)
    return features_of(
        parsed,
        ([k.encode() for k in sparse_keys], sparse_types),
        ([k.encode() for k in dense_keys], Tdense, dense_shapes),
        dense_defaults,
        batched,
    )


# Single tensors


@kernel("ParseTensor", host=True)
def parse_tensor(serialized: Any, *, out_type: str) -> Any:
    """The tensor of a serialized `TensorProto`."""
    found = tensor_from_proto(proto.parse(messages.TensorProto, serialized.item()))
    array = found.numpy()
    if values.dtype_of(array) != out_type:
        raise MismatchError(
            f"A serialized tensor is of {values.dtype_of(array)}, expected {out_type}."
        )
    return array


@kernel("SerializeTensor", host=True)
def serialize_tensor(tensor: Any) -> Any:
    """A tensor as a serialized `TensorProto`."""
    message = tensor_to_proto(ir.TensorValue.from_numpy(tensor))
    return message.SerializeToString(deterministic=True)
