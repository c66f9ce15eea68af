"""The index of a tensor bundle: its header, its entries and their keys.

The empty key holds a `BundleHeaderProto`; every other key names a tensor and holds a
`BundleEntryProto`. A partitioned variable has an entry with slices and no bytes; the
bytes of each slice stand under a key of their own, which begins with a zero byte.

Source: github.com/tensorflow/tensorflow `core/protobuf/tensor_bundle.proto`,
`core/lib/strings/ordered_code.cc`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from regraft import dtypes
from regraft.errors import FormatError, LimitError, UnsupportedError
from regraft.storage import proto
from regraft.storage.proto import messages

HEADER_KEY = b""
SLICE_KEY_START = b"\0"
# TensorFlow's own limit.
MAX_RANK = 254
_BUNDLE_VERSION = 1
_INT64_MAX = 2**63 - 1
_ESCAPES = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}


class Extent(NamedTuple):
    """One dimension of a slice; a length of `None` means all from `start` on."""

    start: int
    length: int | None


@dataclass(frozen=True, slots=True)
class BundleHeader:
    """What the index says about all of the bundle."""

    num_shards: int
    big_endian: bool = False


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """What the index says about one tensor.

    Attributes:
        dtype: Row of the table of dtypes.
        shape: Length of each dimension.
        shard: Number of the data file that holds the bytes.
        offset: Where they begin in that file.
        size: How many they are.
        crc32c: Their masked CRC32C.
        slices: For a partitioned variable, the parts that make it up.
    """

    dtype: dtypes.DType
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc32c: int = 0
    slices: tuple[tuple[Extent, ...], ...] = ()

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def shard_path(prefix: str, shard: int, num_shards: int) -> str:
    """Returns the path of a data file."""
    return f"{prefix}.data-{shard:05d}-of-{num_shards:05d}"


def index_path(prefix: str) -> str:
    """Returns the path of the index."""
    return f"{prefix}.index"


def parse_header(data: bytes, path: str) -> BundleHeader:
    """Returns the header of a bundle.

    Raises:
        FormatError: `data` is no header.
        UnsupportedError: The bundle needs a newer reader.
    """
    header = proto.parse(messages.BundleHeaderProto, data, path=path)
    if header.version.min_consumer > _BUNDLE_VERSION:
        raise UnsupportedError(
            f"The tensor bundle {path!r} needs a reader of version "
            f"{header.version.min_consumer} or newer; this one has {_BUNDLE_VERSION}."
        )
    if header.num_shards < 1:
        raise FormatError(
            "Bundle has no shards",
            path=path,
            expected="num_shards of at least 1",
            received=header.num_shards,
        )
    if header.endianness not in (
        messages.BundleHeaderProto.LITTLE,
        messages.BundleHeaderProto.BIG,
    ):
        raise FormatError(
            "Bundle has an unknown byte order",
            path=path,
            expected="LITTLE (0) or BIG (1)",
            received=header.endianness,
        )
    big_endian = header.endianness == messages.BundleHeaderProto.BIG
    return BundleHeader(header.num_shards, big_endian)


def serialize_header(header: BundleHeader) -> bytes:
    """Returns the value under the empty key."""
    message = messages.BundleHeaderProto(
        num_shards=header.num_shards,
        endianness=int(header.big_endian),
        version=messages.VersionDef(producer=_BUNDLE_VERSION),
    )
    return proto.serialize(message)


def parse_entry(key: str, data: bytes, path: str, num_shards: int) -> BundleEntry:
    """Returns an entry, its numbers checked against one another.

    Raises:
        FormatError: `data` is no entry, or contradicts itself.
    """
    message = proto.parse(messages.BundleEntryProto, data, path=path)
    try:
        entry = BundleEntry(
            dtypes.from_number(message.dtype),
            _shape(message.shape),
            message.shard_id,
            message.offset,
            message.size,
            message.crc32c,
            tuple(_slice(part) for part in message.slices),
        )
        _check_entry(entry, num_shards)
    except FormatError as fault:
        raise type(fault)(
            f"Entry of the bundle is invalid: {fault}", path=path, object_path=key
        ) from None
    return entry


def serialize_entry(entry: BundleEntry) -> bytes:
    """Returns the value under a tensor's key."""
    message = messages.BundleEntryProto(
        dtype=entry.dtype.number,
        shape=messages.TensorShapeProto(),
        shard_id=entry.shard,
        offset=entry.offset,
        size=entry.size,
        crc32c=entry.crc32c,
    )
    # The shape of a scalar is there, and empty.
    message.shape.SetInParent()
    for length in entry.shape:
        message.shape.dim.add(size=length)
    return proto.serialize(message)


def _shape(message: messages.TensorShapeProto) -> tuple[int, ...]:
    if message.unknown_rank or len(message.dim) > MAX_RANK:
        raise FormatError(
            "shape has no rank that a tensor can have",
            expected=f"at most {MAX_RANK} dimensions",
            received="unknown" if message.unknown_rank else len(message.dim),
        )
    return tuple(dimension.size for dimension in message.dim)


def _slice(message: messages.TensorSliceProto) -> tuple[Extent, ...]:
    return tuple(
        Extent(
            extent.start,
            extent.length if extent.WhichOneof("has_length_hack") else None,
        )
        for extent in message.extent
    )


def _check_entry(entry: BundleEntry, num_shards: int) -> None:
    if any(length < 0 for length in entry.shape):
        raise FormatError("dimension is negative", received=entry.shape)
    if math.prod(max(length, 1) for length in entry.shape) > _INT64_MAX:
        raise LimitError("shape has too many elements", received=entry.shape)
    if entry.slices:
        for part in entry.slices:
            _check_slice(part, entry.shape)
        return
    if not 0 <= entry.shard < num_shards:
        raise FormatError(
            "no such shard",
            expected=f"a number from 0 to {num_shards - 1}",
            received=entry.shard,
        )
    if entry.offset < 0 or entry.size < 0:
        raise FormatError(
            "position is negative",
            received=f"offset {entry.offset}, size {entry.size}",
        )
    numpy = entry.dtype.numpy
    # Strings, resources and variants have elements of any size.
    if numpy is None or numpy.hasobject:
        return
    if entry.size != entry.count * numpy.itemsize:
        raise FormatError(
            "size does not match the shape",
            expected=f"{entry.count * numpy.itemsize} bytes for {entry.dtype.name} "
            f"of shape {entry.shape}",
            received=f"{entry.size} bytes",
        )


def _check_slice(part: tuple[Extent, ...], shape: tuple[int, ...]) -> None:
    if len(part) != len(shape) or not all(map(_lies_in, part, shape)):
        raise FormatError(
            "slice does not lie in the tensor",
            expected=f"a part of shape {shape}",
            received=[tuple(extent) for extent in part],
        )


def _lies_in(extent: Extent, size: int) -> bool:
    if extent.length is None:
        return extent.start == 0
    return extent.start >= 0 and 0 <= extent.length <= size - extent.start


def slice_shape(part: tuple[Extent, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape of a slice of a tensor of `shape`."""
    return tuple(
        size if extent.length is None else extent.length
        for extent, size in zip(part, shape, strict=True)
    )


def slice_key(name: bytes, part: tuple[Extent, ...]) -> bytes:
    """Returns the key under which the bytes of a slice stand."""
    pieces = [_unsigned(0), _string(name), _unsigned(len(part))]
    for extent in part:
        pieces.append(_signed(extent.start))
        pieces.append(_signed(-1 if extent.length is None else extent.length))
    return b"".join(pieces)


def _unsigned(value: int) -> bytes:
    content = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(content)]) + content


def _string(value: bytes) -> bytes:
    escaped = b"".join(_ESCAPES.get(byte, bytes([byte])) for byte in value)
    return escaped + b"\0\1"


def _signed(value: int) -> bytes:
    """Two's complement whose leading bits, one per byte, are inverted."""
    length = (value if value >= 0 else ~value).bit_length() // 7 + 1
    inverted = ((1 << length) - 1) << 7 * length
    return ((value & (1 << 8 * length) - 1) ^ inverted).to_bytes(length, "big")
