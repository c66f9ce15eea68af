"""`TensorShapeProto` and `TensorProto` ↔ `ir`, exact in both directions.

Source: TensorFlow `core/framework/tensor.proto`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from regraft import dtypes
from regraft.errors import FormatError
from regraft.graph import ir
from regraft.storage.proto import messages, wire

# Field that holds unpacked values, per element type.
_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int32": "int_val",
    "uint8": "int_val",
    "int16": "int_val",
    "int8": "int_val",
    "uint16": "int_val",
    "qint8": "int_val",
    "quint8": "int_val",
    "qint32": "int_val",
    "qint16": "int_val",
    "quint16": "int_val",
    "int4": "int_val",
    "uint4": "int_val",
    "int2": "int_val",
    "uint2": "int_val",
    "string": "string_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "float16": "half_val",
    "bfloat16": "half_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "float8_e5m2": "float8_val",
    "float8_e4m3fn": "float8_val",
    "float8_e4m3fnuz": "float8_val",
    "float8_e4m3b11fnuz": "float8_val",
    "float8_e5m2fnuz": "float8_val",
    "resource": "resource_handle_val",
    "variant": "variant_val",
}


def shape_from_proto(proto: Any) -> ir.TensorShape:
    """Reads a `TensorShapeProto`."""
    if proto.unknown_rank:
        return ir.TensorShape(None)
    dims = tuple(None if d.size < 0 else d.size for d in proto.dim)
    names = tuple(d.name for d in proto.dim)
    return ir.TensorShape(dims, names if any(names) else ())


def shape_to_proto(shape: ir.TensorShape, proto: Any = None) -> Any:
    """Writes a `TensorShapeProto`, into `proto` if given."""
    proto = messages.TensorShapeProto() if proto is None else proto
    if shape.dims is None:
        proto.unknown_rank = True
        return proto
    for size in shape.dims:
        proto.dim.add(size=-1 if size is None else size)
    if shape.dim_names:
        for dim, name in zip(proto.dim, shape.dim_names, strict=True):
            dim.name = name
    return proto


def tensor_from_proto(proto: Any) -> ir.TensorValue:
    """Reads a `TensorProto`; packed numbers as a view of its bytes.

    Raises:
        FormatError: The bytes are no whole number of elements.
    """
    dtype = ir.DataType(proto.dtype)
    shape = shape_from_proto(proto.tensor_shape)
    opaque: tuple[bytes, ...] = ()
    name = dtype.name
    packed = bool(proto.tensor_content) and name != "string"
    if packed:
        flat = _unpack(proto.tensor_content, name)
    elif proto.tensor_content:
        flat = _texts(proto.tensor_content, shape)
    elif name in ("resource", "variant"):
        flat = np.empty(0, object)
        values = getattr(proto, _FIELDS[name])
        opaque = tuple(v.SerializeToString(deterministic=True) for v in values)
    else:
        flat = _values(proto, name)
    return ir.TensorValue(dtype, shape, flat, packed, opaque, proto.version_number)


def _unpack(content: bytes, name: str) -> ir.Array:
    numpy = dtypes.BY_NAME[name].numpy if name else None
    if numpy is None or numpy.kind == "O" or len(content) % numpy.itemsize:
        raise FormatError(
            "Invalid tensor constant",
            expected=f"packed elements of {name or 'some dtype'}",
            received=f"{len(content)} bytes",
        )
    return np.frombuffer(content, numpy)


def _texts(content: bytes, shape: ir.TensorShape) -> ir.Array:
    """Reads text in one piece: all lengths, then all bytes."""
    count = math.prod(dim or 0 for dim in shape.dims or ())
    lengths: list[int] = []
    at, end = 0, len(content)
    while len(lengths) < count:
        length, at = wire.read_varint(content, at, end)
        lengths.append(length)
    if sum(lengths) != end - at:
        raise FormatError(
            "Invalid text constant",
            expected=f"{sum(lengths)} bytes of text",
            received=end - at,
        )
    flat = np.empty(count, object)
    for number, length in enumerate(lengths):
        flat[number] = content[at : at + length]
        at += length
    return flat


def _values(proto: Any, name: str) -> ir.Array:
    if not name:
        return np.empty(0, np.float32)
    numpy = dtypes.BY_NAME[name].numpy
    values = getattr(proto, _FIELDS[name])
    if name == "string":
        flat = np.empty(len(values), object)
        flat[:] = list(values)
        return flat
    if _FIELDS[name] == "half_val":
        return np.array(values, np.uint16).view(numpy)
    if _FIELDS[name] == "float8_val":
        return np.frombuffer(values, numpy)
    if name.startswith("complex"):
        part = np.float32 if name == "complex64" else np.float64
        if len(values) % 2:
            raise FormatError("Invalid complex constant", received=len(values))
        return np.array(values, part).view(numpy)
    if numpy is not None and numpy.itemsize < 4 and numpy.kind in "iu":
        return np.array(values, np.int32).astype(numpy)
    return np.array(values, numpy)


def tensor_to_proto(tensor: ir.TensorValue) -> Any:
    """Writes a `TensorProto` the way the value says (packed or not)."""
    proto = messages.TensorProto(
        dtype=tensor.dtype,
        tensor_shape=shape_to_proto(tensor.shape),
        version_number=tensor.version_number,
    )
    name = tensor.dtype.name
    flat = tensor.flat
    if tensor.opaque:
        field = getattr(proto, _FIELDS[name])
        for item in tensor.opaque:
            field.add().ParseFromString(item)
    elif not flat.size:
        return proto
    elif tensor.packed:
        proto.tensor_content = np.ascontiguousarray(flat).tobytes()
    elif _FIELDS[name] == "float8_val":
        proto.float8_val = flat.tobytes()
    else:
        getattr(proto, _FIELDS[name]).extend(_plain(flat, name))
    return proto


def _plain(flat: ir.Array, name: str) -> Any:
    if _FIELDS[name] == "half_val":
        return flat.view(np.uint16).tolist()
    if name.startswith("complex"):
        return flat.view(np.float32 if name == "complex64" else np.float64).tolist()
    if flat.dtype.kind not in "OfiubV":
        return [int(v) for v in flat]
    return flat.tolist()
