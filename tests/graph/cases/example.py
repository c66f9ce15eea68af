"""Rows of `kernels/example.py`."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from graph.cases.case import Case, f32, i64, text, texts


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field_of(number: int, content: bytes) -> bytes:
    """A field of a serialized message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _feature(items: list[Any], kind: type) -> bytes:
    if kind is bytes:
        return field_of(1, b"".join(field_of(1, i) for i in items))
    if kind is float:
        packed = struct.pack(f"<{len(items)}f", *items)
        return field_of(2, field_of(1, packed))
    return field_of(3, field_of(1, b"".join(_varint(i) for i in items)))


def features_of(**features: list[Any]) -> bytes:
    """Serialized `tf.train.Features`."""
    entries = b""
    for name, items in features.items():
        kind = type(items[0]) if items else int
        entry = field_of(1, name.encode()) + field_of(2, _feature(items, kind))
        entries += field_of(1, entry)
    return entries


def feature_lists(**lists: list[list[Any]]) -> bytes:
    """Serialized `tf.train.FeatureLists`."""
    entries = b""
    for name, steps in lists.items():
        kind = next((type(step[0]) for step in steps if step), int)
        value = b"".join(field_of(1, _feature(step, kind)) for step in steps)
        entries += field_of(1, field_of(1, name.encode()) + field_of(2, value))
    return entries


def _example(**features: list[Any]) -> bytes:
    """A serialized `tf.train.Example`."""
    return field_of(1, features_of(**features))


_SERIALIZED = texts(
    [
        _example(a=[1, -2], b=[1.5, 2.5], c=[b"x"], d=[1.0], e=[4, 5]),
        _example(a=[], b=[3.5, 4.5], c=[b"y", b"zz"], d=[2.0, 3.0]),
        _example(a=[7], c=[b"w"]),
    ]
)
_NONE = np.empty(0, object)

ROWS = [
    Case(
        "ParseExampleV2",
        {
            "serialized": _SERIALIZED,
            "names": _NONE,
            "sparse_keys": texts("a", "c"),
            "dense_keys": texts("b", "d"),
            "ragged_keys": texts(["e"]),
            "dense_defaults": [f32(9, 9), f32(0)],
        },
        {
            "num_sparse": 2,
            "sparse_types": ["int64", "string"],
            "ragged_value_types": ["int64"],
            "ragged_split_types": ["int32"],
            "dense_shapes": [[2], [None]],
        },
    ),
    Case(
        "ParseExampleV2",
        {
            "serialized": np.asarray(_SERIALIZED[0], object),
            "names": _NONE,
            "sparse_keys": texts(["a"]),
            "dense_keys": texts(["b"]),
            "ragged_keys": texts(["e"]),
            "dense_defaults": [f32(9, 9)],
        },
        {
            "num_sparse": 1,
            "sparse_types": ["int64"],
            "ragged_value_types": ["int64"],
            "ragged_split_types": ["int32"],
            "dense_shapes": [[2]],
        },
        "scalar",
    ),
    Case(
        "ParseExample",
        {
            "serialized": _SERIALIZED,
            "names": _NONE,
            "sparse_keys": [text("a")],
            "dense_keys": [text("b")],
            "dense_defaults": [f32(9, 9)],
        },
        {"sparse_types": ["int64"], "dense_shapes": [[2]]},
    ),
    Case(
        "ParseSingleExample",
        {
            "serialized": np.asarray(_SERIALIZED[0], object),
            "dense_defaults": [f32(9, 9)],
        },
        {
            "num_sparse": 1,
            "sparse_keys": ["a"],
            "dense_keys": ["b"],
            "sparse_types": ["int64"],
            "dense_shapes": [[2]],
        },
    ),
    *(
        Case("SerializeTensor", {"tensor": tensor}, label=str(tensor.dtype))
        for tensor in (f32([[1, 2], [3, 4]]), i64(7, -8), texts("a", "bc"))
    ),
    *(
        Case(
            "ParseTensor",
            {"serialized": np.asarray(data, object)},
            {"out_type": kind},
            kind,
        )
        for kind, data in (
            (
                "float32",
                b"\x08\x01\x12\x04\x12\x02\x08\x02\x22\x08\0\0\x80\x3f\0\0\0\x40",
            ),
            ("string", b"\x08\x07\x12\x04\x12\x02\x08\x02\x42\x01a\x42\x02bc"),
        )
    ),
]
