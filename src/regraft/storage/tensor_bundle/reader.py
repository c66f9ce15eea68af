"""Reads tensor bundles: nothing of a tensor until it is asked for.

Opening a bundle reads and checks its index: every range against the length of its
data file and against every other range. Data files are mapped into memory, and an
aligned tensor is a view of the map, read-only; the view keeps the map alive.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from regraft.errors import ChecksumError, FormatError, LimitError, UnsupportedError
from regraft.storage import checksum, filesystem, sstable, string_tensor
from regraft.storage.tensor_bundle import entries
from regraft.storage.tensor_bundle.entries import BundleEntry

# What the tensors of a bundle may take in all: entries may share their bytes, and
# a few honest bundles do.
_MAX_EXPANSION = 16
_FREE_BYTES = 1 << 30
# Slices of one variable, which are compared in pairs.
_MAX_SLICES = 4096
# Where XLA and NumPy's vector code like arrays to begin.
_ALIGNMENT_BYTES = 64

Array = np.ndarray[Any, Any]


class BundleTensor:
    """A tensor of a bundle, a `StoredTensor`.

    Attributes:
        key: Its key in the bundle.
        dtype: Name of its dtype.
        shape: Length of each dimension.
    """

    def __init__(self, reader: TensorBundleReader, key: str, entry: BundleEntry):
        self._reader = reader
        self._entry = entry
        self.key = key
        self.dtype = entry.dtype.name
        self.shape = entry.shape

    def __repr__(self) -> str:
        return f"<BundleTensor {self.key!r} {self.dtype} {list(self.shape)}>"

    def read(self) -> Array:
        """Returns the values: a read-only view of the data file where possible.

        Raises:
            ChecksumError: The bytes don't match their CRC32C.
            UnsupportedError: The dtype is one that NumPy can't hold.
        """
        return self._reader.read_entry(self.key.encode("utf-8"), self._entry)


class TensorBundleReader(Mapping[str, BundleTensor]):
    """The tensors of a bundle by key; a partitioned variable is one tensor.

    Args:
        prefix: Path of the bundle without `.index`; local, or one of fsspec.
        verify: Whether to check a tensor's CRC32C when it is first read.
        memory_budget_bytes: The most that all tensors together may take in memory;
            `None` for a bound that follows from the length of the data files.

    Raises:
        FileNotFoundError: There is no index at `prefix`.
        FormatError: The index or a data file is not what the format demands.
    """

    def __init__(
        self,
        prefix: str | os.PathLike[str],
        *,
        verify: bool = True,
        memory_budget_bytes: int | None = None,
    ) -> None:
        self.prefix = os.fspath(prefix)
        self._verify = verify
        self._verified: set[tuple[int, int, int]] = set()
        self._index_path = entries.index_path(self.prefix)
        table = _read_index(self._index_path)
        self.header = entries.parse_header(
            table.pop(entries.HEADER_KEY), self._index_path
        )
        self._entries = {
            key: entries.parse_entry(
                _readable(key), value, self._index_path, self.header.num_shards
            )
            for key, value in table.items()
        }
        self._names = _decode_names(self._entries, self._index_path)
        self._shards = self._open_shards()
        self._check_ranges()
        self._check_slices()
        self._check_memory(memory_budget_bytes)

    def __getitem__(self, key: str) -> BundleTensor:
        return BundleTensor(self, key, self._entries[self._names[key]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, key: object) -> bool:
        return key in self._names

    def __repr__(self) -> str:
        return f"<TensorBundleReader {self.prefix!r}: {len(self)} tensors>"

    @property
    def data_bytes(self) -> int:
        """Length of all data files together."""
        return sum(shard.size for shard in self._shards.values())

    def will_read(self) -> None:
        """Begins to bring the data into memory, while the caller goes on.

        Whoever reads all tensors anyway waits less for the disk then.
        """
        for shard in self._shards.values():
            if not filesystem.is_remote(shard.path):
                filesystem.will_read(shard.path, shard.size)

    def read_entry(self, key: bytes, entry: BundleEntry) -> Array:
        """Returns the values of an entry of this bundle."""
        if entry.slices:
            return self._read_slices(key, entry)
        shard = self._shards[entry.shard]
        numpy = entry.dtype.numpy
        if numpy is None:
            raise UnsupportedError(
                f"The tensor {_readable(key)!r} in {shard.path!r} has dtype "
                f"{entry.dtype.name}, whose values can't be read."
            )
        data = shard.read(entry.offset, entry.size)
        try:
            if numpy.hasobject:
                return self._read_strings(data, entry)
            self._check_crc32c(data, entry)
            return _as_array(data, entry, numpy, swap=self.header.big_endian)
        except FormatError as fault:
            raise type(fault)(
                fault.args[0].partition(". ")[0],
                path=shard.path,
                offset_bytes=entry.offset + (fault.offset_bytes or 0),
                object_path=_readable(key),
                expected=fault.expected,
                received=fault.received,
            ) from None

    def _read_strings(self, data: filesystem.ByteArray, entry: BundleEntry) -> Array:
        # TensorFlow stores these alike in both byte orders but for the checksum of
        # the lengths, which nobody ever wrote on a machine of the other kind.
        return string_tensor.read_strings(
            data.tobytes(),
            entry.shape,
            entry.count,
            crc32c=entry.crc32c if self._verify else None,
        )

    def _check_crc32c(self, data: filesystem.ByteArray, entry: BundleEntry) -> None:
        place = (entry.shard, entry.offset, entry.crc32c)
        if not self._verify or place in self._verified:
            return
        received = checksum.masked(data)
        if received != entry.crc32c:
            raise ChecksumError(
                "Tensor does not match its CRC32C",
                expected=f"{entry.crc32c:#010x}",
                received=f"{received:#010x}",
            )
        self._verified.add(place)

    def _read_slices(self, key: bytes, entry: BundleEntry) -> Array:
        whole = _aligned_empty(entry.shape, entry.dtype.numpy)
        for part in entry.slices:
            part_key = entries.slice_key(key, part)
            place = tuple(
                slice(extent.start, extent.start + size)
                for extent, size in zip(
                    part, entries.slice_shape(part, entry.shape), strict=True
                )
            )
            whole[place] = self.read_entry(part_key, self._entries[part_key])
        whole.flags.writeable = False
        return whole

    def _open_shards(self) -> dict[int, filesystem.RandomAccessFile]:
        """Opens the data files that entries refer to."""
        shards = {}
        needed = {entry.shard for entry in self._entries.values() if not entry.slices}
        for shard in sorted(needed):
            path = entries.shard_path(self.prefix, shard, self.header.num_shards)
            try:
                shards[shard] = filesystem.open_random_access(path)
            except FileNotFoundError:
                raise FormatError(
                    "Data file of the bundle is missing",
                    path=path,
                    expected=f"{self.header.num_shards} data files, as the index says",
                ) from None
        return shards

    def _check_ranges(self) -> None:
        """Checks every range against its file and its neighbours."""
        ranges: dict[int, list[tuple[int, int, bytes]]] = defaultdict(list)
        for key, entry in self._entries.items():
            if entry.slices:
                continue
            end = entry.offset + entry.size
            shard = self._shards[entry.shard]
            if end > shard.size:
                raise FormatError(
                    "Tensor lies outside its data file",
                    path=shard.path,
                    offset_bytes=entry.offset,
                    object_path=_readable(key),
                    expected=f"{entry.size} bytes from there",
                    received=f"a file of {shard.size} bytes",
                )
            if entry.size:
                ranges[entry.shard].append((entry.offset, end, key))
        for number, found in ranges.items():
            found.sort()
            for before, after in itertools.pairwise(found):
                # Two keys may share all their bytes, but never a part of them.
                if after[0] < before[1] and after[:2] != before[:2]:
                    raise FormatError(
                        "Tensor overlaps another one, "
                        f"{_readable(before[2])!r} at bytes {before[0]} to {before[1]}",
                        path=self._shards[number].path,
                        offset_bytes=after[0],
                        object_path=_readable(after[2]),
                    )

    def _check_slices(self) -> None:
        for key, entry in self._entries.items():
            if not entry.slices:
                continue
            try:
                self._check_tiles(key, entry)
            except FormatError as fault:
                raise type(fault)(
                    f"Slices of a partitioned variable are invalid: {fault}",
                    path=self._index_path,
                    object_path=_readable(key),
                ) from None

    def _check_tiles(self, key: bytes, entry: BundleEntry) -> None:
        """Checks that the slices are there and cover the variable exactly once."""
        if len(entry.slices) > _MAX_SLICES:
            raise LimitError(
                "too many slices",
                expected=f"at most {_MAX_SLICES}",
                received=len(entry.slices),
            )
        count = 0
        for part in entry.slices:
            shape = entries.slice_shape(part, entry.shape)
            stored = self._entries.get(entries.slice_key(key, part))
            if stored is None or stored.slices:
                raise FormatError("a slice is missing", expected=_shown(part))
            if stored.dtype != entry.dtype or stored.shape != shape:
                raise FormatError(
                    "a slice does not fit",
                    expected=f"{entry.dtype.name} {shape} for {_shown(part)}",
                    received=f"{stored.dtype.name} {stored.shape}",
                )
            count += stored.count
        if count != entry.count:
            raise FormatError(
                "slices do not cover the variable exactly once",
                expected=f"{entry.count} elements",
                received=f"{count} elements",
            )
        _check_disjoint(entry)

    def _check_memory(self, budget_bytes: int | None) -> None:
        if budget_bytes is None:
            budget_bytes = self.data_bytes * _MAX_EXPANSION + _FREE_BYTES
        total = sum(_memory_bytes(self._entries[key]) for key in self._names.values())
        if total > budget_bytes:
            raise LimitError(
                "Tensors of the bundle take too much memory",
                path=self._index_path,
                expected=f"at most {budget_bytes} bytes (memory_budget_bytes)",
                received=f"{total} bytes",
            )


def _read_index(path: str) -> dict[bytes, bytes]:
    try:
        data = filesystem.read_bytes(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT, "No tensor bundle: its index is missing", path
        ) from None
    table = dict(sstable.read_table(data, path=path))
    if entries.HEADER_KEY not in table:
        raise FormatError("Index of the bundle has no header", path=path)
    return table


def _decode_names(found: dict[bytes, BundleEntry], path: str) -> dict[str, bytes]:
    names = {}
    for key in found:
        if key.startswith(entries.SLICE_KEY_START):
            continue
        try:
            names[key.decode("utf-8")] = key
        except UnicodeDecodeError:
            raise FormatError(
                "Key of the bundle is not UTF-8", path=path, received=repr(key)
            ) from None
    return names


def _readable(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


def _shown(part: tuple[entries.Extent, ...]) -> str:
    return str([tuple(extent) for extent in part])


def _memory_bytes(entry: BundleEntry) -> int:
    numpy = entry.dtype.numpy
    if numpy is None:
        return 0
    if numpy.hasobject:
        return entry.size + entry.count * string_tensor.ELEMENT_OVERHEAD_BYTES
    return entry.count * numpy.itemsize


def _check_disjoint(entry: BundleEntry) -> None:
    """Compares each slice with all after it."""
    if not entry.shape:
        return
    starts = np.array([[extent.start for extent in part] for part in entry.slices])
    shapes = [entries.slice_shape(part, entry.shape) for part in entry.slices]
    ends = starts + np.array(shapes)
    for index in range(len(starts) - 1):
        meets = (starts[index] < ends[index + 1 :]) & (
            starts[index + 1 :] < ends[index]
        )
        if meets.all(axis=1).any():
            raise FormatError("slices overlap", received=_shown(entry.slices[index]))


def _as_array(
    data: filesystem.ByteArray,
    entry: BundleEntry,
    numpy: np.dtype[Any],
    *,
    swap: bool,
) -> Array:
    """Returns the elements in the machine's byte order, aligned, read-only."""
    if swap and numpy.itemsize > 1:
        array = _swapped(data, numpy)
    elif data.ctypes.data % numpy.alignment:
        array = _aligned_empty((entry.count,), numpy)
        array.view(np.uint8)[:] = data
    else:
        array = data.view(numpy)
    if numpy == np.bool_ and data.size and data.max() > 1:
        raise FormatError(
            "Tensor of booleans holds other numbers",
            expected="0 or 1",
            received=int(data.max()),
        )
    array.flags.writeable = False
    return array.reshape(entry.shape)


def _swapped(data: filesystem.ByteArray, numpy: np.dtype[Any]) -> Array:
    # The parts of a complex number are swapped one by one.
    width = numpy.itemsize // (2 if numpy.kind == "c" else 1)
    return data.reshape(-1, width)[:, ::-1].reshape(-1).copy().view(numpy)


def _aligned_empty(shape: tuple[int, ...], numpy: np.dtype[Any] | None) -> Array:
    if numpy is None or numpy.hasobject:
        return np.empty(shape, object)
    size = int(np.prod(shape, dtype=object)) * numpy.itemsize
    raw = np.empty(size + _ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT_BYTES
    return raw[start : start + size].view(numpy).reshape(shape)
