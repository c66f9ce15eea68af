"""Groups and datasets of an HDF5 file that nobody vouches for.

HDF5 can do more than hold arrays: links lead to other places and other files, a
dataset's bytes may lie in other files or be computed from them, its values may be
pointers, and a shape may promise what no byte backs. Everything is looked at here
before it is followed or allocated.
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from regraft import dtypes
from regraft.errors import (
    FormatError,
    LimitError,
    TruncatedError,
    UnsafeFileError,
    UnsupportedError,
)
from regraft.storage.hdf5_attributes import read_attribute
from regraft.storage.hdf5_safety import SafeFile, typed_errors

try:
    import h5py
except ImportError:  # `hdf5_safety.require_h5py` says so where it is needed.
    h5py = None

# Deflate, shuffle, Fletcher32, szip, nbit, scale-offset; LZF, which h5py brings.
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
# Texts of variable length are read in pieces of about this.
_TEXT_BYTES_AT_ONCE = 1 << 26
# Where XLA and NumPy's vector code like arrays to begin.
_ALIGNMENT_BYTES = 64
_LINK_NAMES = {1: "a soft link", 64: "an external link"}
_KIND_NAMES = {"GroupID": "a group", "DatasetID": "a dataset"}

# h5py has no element types for these and stores them as opaque bytes; the attribute
# says which it was, as in Keras' own files.
DTYPE_ATTRIBUTE = "dtype"

Array = np.ndarray[Any, Any]


class Hdf5Tensor:
    """A dataset, a `StoredTensor`; it can be read while its file is open.

    Attributes:
        dtype: Name of its dtype.
        shape: Length of each dimension.
    """

    def __init__(
        self,
        file: SafeFile,
        dataset: h5py.h5d.DatasetID,
        stored: np.dtype[Any],
        shape: tuple[int, ...],
        place: str,
    ) -> None:
        self._file = file
        self._dataset = dataset
        self._stored = stored
        self._place = place
        self.shape = shape
        self.dtype = _dtype_name(file, dataset, stored, place)

    def __repr__(self) -> str:
        return f"<Hdf5Tensor {self._place!r} {self.dtype} {list(self.shape)}>"

    def read(self) -> Array:
        """Returns the values, in memory of their own.

        Raises:
            FormatError: The file is broken there.
            ValueError: The file is closed.
        """
        if not self._dataset.valid:
            raise ValueError(
                f"The HDF5 file {self._file.path!r} is closed; its tensor "
                f"{self._place!r} can't be read any more."
            )
        numpy = dtypes.from_name(self.dtype).numpy
        with typed_errors(self._file.path, self._place):
            if numpy is None or numpy.hasobject:
                return self._read_strings()
            native = self._stored.newbyteorder("=")
            array = _aligned_empty(self.shape, native)
            if array.size:
                self._dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
            return array if native == numpy else array.view(numpy)

    def _read_strings(self) -> Array:
        dataset = h5py.Dataset(self._dataset)
        if not self.shape:
            return np.array(self._counted(dataset[()]), object)
        array = np.empty(self.shape, object)
        row = max(math.prod(self.shape[1:]), 1)
        longest = max((text.size for text in self._file.long_texts), default=1)
        # Each element gets a copy of its text, and all may point to the same one.
        step = max(_TEXT_BYTES_AT_ONCE // (longest * row), 1)
        for start in range(0, self.shape[0], step):
            values = dataset[start : start + step]
            copies = [self._counted(value) for value in values.flat]
            array[start : start + step].reshape(-1)[:] = copies
        return array

    def _counted(self, value: str | bytes) -> bytes:
        text = value.encode("utf-8") if isinstance(value, str) else bytes(value)
        self._file.take(len(text), self._place)
        return text


def split_path(name: str, file: SafeFile, place: str) -> list[str]:
    """Returns the components of a name from the file, each a plain one.

    Raises:
        UnsafeFileError: The name is absolute, or has a component such as `..`.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UnsafeFileError(
            "Name in an HDF5 file leads elsewhere",
            path=file.path,
            object_path=place,
            expected="a relative path of plain names",
            received=repr(name),
        )
    return parts


def child_group(group: h5py.Group, name: str, file: SafeFile, place: str) -> h5py.Group:
    """Returns a group below another.

    Raises:
        FormatError: It is missing, or no group; `UnsafeFileError` where a link leads
            elsewhere.
    """
    found = _follow(group.id, name, file, place)
    _check_kind(found, h5py.h5g.GroupID, "a group", file, f"{place}/{name}")
    return h5py.Group(found)


def child_tensor(
    group: h5py.Group, name: str, file: SafeFile, place: str
) -> Hdf5Tensor:
    """Returns a dataset below a group, which was checked but not read.

    Keras on Theano named optimizer weights `/iterations`, which HDF5 takes as a path
    from the file's root: there it wrote them, and there they are looked for.

    Raises:
        FormatError: It is missing, no dataset, or promises more than it holds;
            `UnsafeFileError` where it or a link refers to something else.
        UnsupportedError: Its elements or filters are of a kind no Keras writes.
    """
    start = group.id
    if name.startswith("/"):
        with typed_errors(file.path, name):
            start = h5py.h5o.open(start, b"/")
        name, place = name[1:], ""
    here = f"{place}/{name}"
    found = _follow(start, name, file, place)
    _check_kind(found, h5py.h5d.DatasetID, "a dataset", file, here)
    with typed_errors(file.path, here):
        return _checked_tensor(found, file, here)


def has_child(group: h5py.Group, name: str, file: SafeFile) -> bool:
    """Whether a group has a link of a name, whatever it leads to."""
    with typed_errors(file.path, name):
        return name in group.keys()  # noqa: SIM118  # `in group` follows links.


def _follow(group: Any, name: str, file: SafeFile, place: str) -> Any:
    """Goes from name to name; only along links that own what they lead to."""
    found = group
    here = place
    *groups, last = split_path(name, file, place)
    for part in groups:
        here = f"{here}/{part}"
        if here not in file.groups:
            file.groups[here] = _open_child(found, part, file, here)
        found = file.groups[here]
        _check_kind(found, h5py.h5g.GroupID, "a group", file, here)
    return _open_child(found, last, file, f"{here}/{last}")


def _open_child(group: Any, name: str, file: SafeFile, place: str) -> Any:
    encoded = name.encode("utf-8")
    with typed_errors(file.path, place):
        if not group.links.exists(encoded):
            raise FormatError(
                "Object is missing",
                path=file.path,
                object_path=place,
                expected="what a list of names in the file promises",
            )
        kind = int(group.links.get_info(encoded).type)
        if kind != h5py.h5l.TYPE_HARD:
            raise UnsafeFileError(
                "Link in an HDF5 file leads elsewhere. If the file is yours, copy "
                "it with its links resolved (h5repack)",
                path=file.path,
                object_path=place,
                expected="a hard link",
                received=_LINK_NAMES.get(kind, f"a link of type {kind}"),
            )
        return h5py.h5o.open(group, encoded)


def _check_kind(
    found: Any, kind: type[Any], expected: str, file: SafeFile, place: str
) -> None:
    if not isinstance(found, kind):
        raise FormatError(
            "Object is of another kind",
            path=file.path,
            object_path=place,
            expected=expected,
            received=_KIND_NAMES.get(type(found).__name__, type(found).__name__),
        )


def _checked_tensor(dataset: Any, file: SafeFile, place: str) -> Hdf5Tensor:
    plist = dataset.get_create_plist()
    _check_layout(plist, file, place)
    stored = dataset.get_type()
    numpy = stored.dtype
    _check_type(stored, numpy, file, place)
    _check_filters(plist, place, file)
    if dataset.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        raise FormatError("Dataset has no shape", path=file.path, object_path=place)
    shape = tuple(map(int, dataset.shape))
    _check_stored(dataset, plist, shape, stored.get_size(), file, place)
    file.take(math.prod(shape) * stored.get_size(), place)
    return Hdf5Tensor(file, dataset, numpy, shape, place)


def _check_layout(plist: Any, file: SafeFile, place: str) -> None:
    received = None
    if plist.get_external_count():
        received = "bytes in external files"
    elif plist.get_layout() not in (
        h5py.h5d.COMPACT,
        h5py.h5d.CONTIGUOUS,
        h5py.h5d.CHUNKED,
    ):
        received = "a virtual dataset"
    if received is not None:
        raise UnsafeFileError(
            "Dataset refers to other datasets or files",
            path=file.path,
            object_path=place,
            expected="bytes of its own",
            received=received,
        )


def _check_type(stored: Any, numpy: np.dtype[Any], file: SafeFile, place: str) -> None:
    kind = stored.get_class()
    if kind in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING):
        return
    if kind == h5py.h5t.OPAQUE and numpy.kind == "V" and numpy.itemsize <= 2:
        return
    # h5py spells booleans as an enum and complex numbers as a pair.
    if numpy.kind in "bc":
        return
    raise UnsupportedError(
        f"The dataset {place!r} in {file.path!r} has elements of type {numpy}, which "
        "no tensor has."
    )


def _check_filters(plist: Any, place: str, file: SafeFile) -> None:
    for index in range(plist.get_nfilters()):
        number = plist.get_filter(index)[0]
        if number not in _FILTERS:
            raise UnsupportedError(
                f"The dataset {place!r} in {file.path!r} is stored through filter "
                f"{number}, a plugin. Repack the file without it (h5repack -f NONE)."
            )


def _check_stored(
    dataset: Any,
    plist: Any,
    shape: tuple[int, ...],
    itemsize: int,
    file: SafeFile,
    place: str,
) -> None:
    """Checks that the file holds what the shape promises."""
    length = math.prod(shape) * itemsize
    stored = int(dataset.get_storage_size())
    if stored > file.size:
        raise TruncatedError(
            "Dataset is longer than its file",
            path=file.path,
            object_path=place,
            expected=f"at most {file.size} bytes",
            received=f"{stored} bytes",
        )
    if plist.get_layout() != h5py.h5d.CHUNKED:
        enough = stored >= length
        received = f"{stored} bytes"
    else:
        chunk = plist.get_chunk()
        needed = math.prod(
            -(-size // part) for size, part in zip(shape, chunk, strict=True)
        )
        file.take(math.prod(chunk) * itemsize, place)
        held = int(dataset.get_num_chunks()) if needed else 0
        enough = held >= needed
        received = f"{held} of {needed} chunks"
    if not enough:
        raise LimitError(
            "Dataset promises more than it holds",
            path=file.path,
            object_path=place,
            expected=f"{length} bytes for shape {shape}",
            received=received,
        )


def _dtype_name(file: SafeFile, dataset: Any, numpy: np.dtype[Any], place: str) -> str:
    if numpy.kind != "V":
        return dtypes.from_numpy(numpy).name
    named = read_attribute(h5py.Dataset(dataset), DTYPE_ATTRIBUTE, file, place)
    if isinstance(named, str) and named in dtypes.BY_NAME:
        declared = dtypes.BY_NAME[named]
        if declared.numpy is not None and declared.numpy.itemsize == numpy.itemsize:
            return declared.name
    if numpy.itemsize == np.dtype(ml_dtypes.bfloat16).itemsize:
        # The only two-byte type that h5py stores as opaque bytes.
        return "bfloat16"
    return "uint8"


def _aligned_empty(shape: tuple[int, ...], numpy: np.dtype[Any]) -> Array:
    size = math.prod(shape) * numpy.itemsize
    raw = np.empty(size + _ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT_BYTES
    return raw[start : start + size].view(numpy).reshape(shape)
