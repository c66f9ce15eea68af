"""Groups, datasets and attributes of an HDF5 file that nobody vouches for.

HDF5 can do more than hold arrays: links lead to other places and other files, a
dataset's bytes may lie in other files or be computed from them, its values may be
pointers, and a shape may promise what no byte backs. Everything is looked at here
before it is followed or allocated, and h5py's own exceptions end here.
"""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from regraft import dtypes
from regraft.errors import (
    FormatError,
    LimitError,
    RegraftError,
    TruncatedError,
    UnsafeFileError,
    UnsupportedError,
)
from regraft.storage import hdf5_heaps

try:
    import h5py
except ImportError:  # `require_h5py` says so where it is needed.
    h5py = None

# What the datasets of a file may take in memory in all, without a caller's budget:
# compressed ones take less in the file.
_MAX_EXPANSION = 16
_FREE_BYTES = 1 << 30
# Elements that attributes of variable length may have, each a pointer to text that
# others may share.
_MAX_ATTRIBUTE_ELEMENTS = 1 << 20
# Deflate, shuffle, Fletcher32, szip, nbit, scale-offset; LZF, which h5py brings.
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
# Texts of variable length are read in pieces of about this.
_TEXT_BYTES_AT_ONCE = 1 << 26
# Where XLA and NumPy's vector code like arrays to begin.
_ALIGNMENT_BYTES = 64

# h5py has no element types for these and stores them as opaque bytes; the attribute
# says which it was, as in Keras' own files.
DTYPE_ATTRIBUTE = "dtype"

Array = np.ndarray[Any, Any]


def require_h5py() -> None:
    """Does nothing where h5py is there.

    Raises:
        ImportError: h5py is not installed.
    """
    if h5py is None:
        raise ImportError(
            "HDF5 files need h5py, which is not installed. Install it with "
            "`pip install h5py`."
        )


@contextlib.contextmanager
def typed_errors(path: str, object_path: str | None = None) -> Iterator[None]:
    """Turns what h5py raises about a broken file into a `FormatError`."""
    try:
        yield
    except RegraftError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError, BlockingIOError):
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        RecursionError,
        RuntimeError,
        SystemError,
        TypeError,
        ValueError,
    ) as error:
        kind = TruncatedError if "truncated" in str(error) else FormatError
        raise kind(
            f"HDF5 file can't be read: {type(error).__name__}: {error}",
            path=path,
            object_path=object_path,
        ) from None


@dataclass
class SafeFile:
    """A file that is being read, with the memory that its tensors may still take.

    Attributes:
        path: Where it is, for error texts.
        size: Its length in bytes.
        budget_bytes: What its tensors may take in all.
        used_bytes: What those seen so far take.
        root: Its root group.
        long_texts: Texts of variable length that no list of names may point to.
    """

    path: str
    size: int
    budget_bytes: int
    root: h5py.Group
    long_texts: list[hdf5_heaps.HeapObject]
    used_bytes: int = field(default=0)

    @classmethod
    def of(cls, root: h5py.Group, path: str, budget_bytes: int | None) -> SafeFile:
        """Returns the file of a group.

        Raises:
            FormatError: A heap of the file is broken.
        """
        with typed_errors(path):
            size = int(root.file.id.get_filesize())
        if budget_bytes is None:
            budget_bytes = _default_budget_bytes(size)
        with _content(root.file, path) as content:
            long_texts = hdf5_heaps.long_texts(content, path)
        return cls(path, size, budget_bytes, root, long_texts)

    def copies_bytes(self, pointers: int) -> int:
        """Returns the most that reading so many pointers to texts may take."""
        short = pointers * hdf5_heaps.LONG_TEXT_BYTES
        if pointers == 1 or not self.long_texts:
            return short
        with _content(self.root.file, self.path) as content:
            return short + sum(
                text.size * hdf5_heaps.count_pointers(content, text.pointer)
                for text in self.long_texts
            )

    def take(self, length: int, object_path: str) -> None:
        """Counts what a tensor takes in memory.

        Raises:
            LimitError: All tensors together take too much.
        """
        self.used_bytes += length
        if self.used_bytes > self.budget_bytes:
            raise LimitError(
                "Tensors of the file take too much memory",
                path=self.path,
                object_path=object_path,
                expected=f"at most {self.budget_bytes} bytes (memory_budget_bytes)",
                received=f"{self.used_bytes} bytes",
            )


def _default_budget_bytes(file_size: int) -> int:
    return file_size * _MAX_EXPANSION + _FREE_BYTES


@contextlib.contextmanager
def _content(file: h5py.File, path: str) -> Iterator[hdf5_heaps.Content]:
    """Yields all bytes of a file: a memory map where it is on a disk."""
    name = file.filename
    on_disk = file.driver in ("sec2", "stdio") and isinstance(name, str)
    if on_disk and file.id.get_filesize():
        with open(name, "rb") as stream:
            # Closed when nothing refers to it: arrays may outlive this block.
            yield mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return
    with typed_errors(path):
        image = file.id.get_file_image()
    yield image


class Hdf5Tensor:
    """A dataset, a `StoredTensor`; it can be read while its file is open.

    Attributes:
        dtype: Name of its dtype.
        shape: Length of each dimension.
    """

    def __init__(self, file: SafeFile, dataset: h5py.Dataset, place: str) -> None:
        self._file = file
        self._dataset = dataset
        self._place = place
        self._stored: np.dtype[Any] = dataset.dtype
        self.shape: tuple[int, ...] = tuple(map(int, dataset.shape))
        self.dtype = _dtype_name(file, dataset, place)

    def __repr__(self) -> str:
        return f"<Hdf5Tensor {self._place!r} {self.dtype} {list(self.shape)}>"

    def read(self) -> Array:
        """Returns the values, in memory of their own.

        Raises:
            FormatError: The file is broken there.
            ValueError: The file is closed.
        """
        if not self._dataset:
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
                self._dataset.read_direct(array)
            return array if native == numpy else array.view(numpy)

    def _read_strings(self) -> Array:
        if not self.shape:
            return np.array(self._counted(self._dataset[()]), object)
        array = np.empty(self.shape, object)
        row = max(math.prod(self.shape[1:]), 1)
        longest = max((text.size for text in self._file.long_texts), default=1)
        # Each element gets a copy of its text, and all may point to the same one.
        step = max(_TEXT_BYTES_AT_ONCE // (longest * row), 1)
        for start in range(0, self.shape[0], step):
            values = self._dataset[start : start + step]
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
    found = _follow(group, name, file, place)
    if not isinstance(found, h5py.Group):
        raise FormatError(
            "Object is not a group",
            path=file.path,
            object_path=f"{place}/{name}",
            received=type(found).__name__,
        )
    return found


def child_tensor(
    group: h5py.Group, name: str, file: SafeFile, place: str
) -> Hdf5Tensor:
    """Returns a dataset below a group, which was checked but not read.

    Raises:
        FormatError: It is missing, no dataset, or promises more than it holds;
            `UnsafeFileError` where it or a link refers to something else.
        UnsupportedError: Its elements or filters are of a kind no Keras writes.
    """
    found = _follow(group, name, file, place)
    here = f"{place}/{name}"
    if not isinstance(found, h5py.Dataset):
        raise FormatError(
            "Object is not a dataset",
            path=file.path,
            object_path=here,
            received=type(found).__name__,
        )
    with typed_errors(file.path, here):
        _check_dataset(found, file, here)
        return Hdf5Tensor(file, found, here)


def has_child(group: h5py.Group, name: str, file: SafeFile) -> bool:
    """Whether a group has a link of a name, whatever it leads to."""
    with typed_errors(file.path, name):
        return name in group.keys()  # noqa: SIM118  # `in group` follows links.


def _follow(group: h5py.Group, name: str, file: SafeFile, place: str) -> Any:
    """Goes from name to name; only along links that own what they lead to."""
    found: Any = group
    here = place
    for part in split_path(name, file, place):
        here = f"{here}/{part}"
        with typed_errors(file.path, here):
            if not isinstance(found, h5py.Group):
                raise FormatError(
                    "Object is not a group", path=file.path, object_path=here
                )
            kind = _link_type(found, part)
            if kind is None:
                raise FormatError("Object is missing", path=file.path, object_path=here)
            if kind != h5py.h5l.TYPE_HARD:
                raise UnsafeFileError(
                    "Link in an HDF5 file leads elsewhere. If the file is yours, copy "
                    "it with its links resolved (h5repack)",
                    path=file.path,
                    object_path=here,
                    expected="a hard link",
                    received=_LINK_NAMES.get(kind, f"a link of type {kind}"),
                )
            found = found[part]
    return found


_LINK_NAMES = {1: "a soft link", 64: "an external link"}


def _link_type(group: h5py.Group, name: str) -> int | None:
    encoded = name.encode("utf-8")
    if not group.id.links.exists(encoded):
        return None
    return int(group.id.links.get_info(encoded).type)


def _check_dataset(dataset: h5py.Dataset, file: SafeFile, place: str) -> None:
    plist = dataset.id.get_create_plist()
    _check_layout(dataset, plist, file, place)
    _check_type(dataset, file, place)
    _check_filters(plist, place, file)
    if dataset.shape is None:
        raise FormatError("Dataset has no shape", path=file.path, object_path=place)
    length = math.prod(dataset.shape) * dataset.id.get_type().get_size()
    _check_stored(dataset, plist, length, file, place)
    file.take(length, place)


def _check_layout(dataset: Any, plist: Any, file: SafeFile, place: str) -> None:
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


def _check_type(dataset: Any, file: SafeFile, place: str) -> None:
    stored = dataset.id.get_type()
    kind = stored.get_class()
    if kind in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING):
        return
    numpy = dataset.dtype
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
    dataset: Any, plist: Any, length: int, file: SafeFile, place: str
) -> None:
    """Checks that the file holds what the shape promises."""
    stored = int(dataset.id.get_storage_size())
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
            -(-size // part) for size, part in zip(dataset.shape, chunk, strict=True)
        )
        file.take(math.prod(chunk) * dataset.id.get_type().get_size(), place)
        held = int(dataset.id.get_num_chunks()) if needed else 0
        enough = held >= needed
        received = f"{held} of {needed} chunks"
    if not enough:
        raise LimitError(
            "Dataset promises more than it holds",
            path=file.path,
            object_path=place,
            expected=f"{length} bytes for shape {tuple(dataset.shape)}",
            received=received,
        )


def _dtype_name(file: SafeFile, dataset: h5py.Dataset, place: str) -> str:
    numpy = dataset.dtype
    if numpy.kind != "V":
        return dtypes.from_numpy(numpy).name
    named = read_attribute(dataset, DTYPE_ATTRIBUTE, file, place)
    if isinstance(named, str) and named in dtypes.BY_NAME:
        declared = dtypes.BY_NAME[named]
        if declared.numpy is not None and declared.numpy.itemsize == numpy.itemsize:
            return declared.name
    if numpy.itemsize == np.dtype(ml_dtypes.bfloat16).itemsize:
        # The only two-byte type that h5py stores as opaque bytes.
        return "bfloat16"
    return "uint8"


def read_attribute(
    owner: h5py.Group | h5py.Dataset, name: str, file: SafeFile, place: str
) -> Any:
    """Returns an attribute: text as `str`, arrays as `list`, `None` if missing.

    Raises:
        FormatError: It can't be read, or is longer than its file.
        UnsupportedError: Its type is none that Keras writes.
    """
    here = f"{place}@{name}"
    with typed_errors(file.path, here):
        if name not in owner.attrs:
            return None
        _check_attribute(owner, name, file, here)
        return _plain(owner.attrs[name], file, here)


def _check_attribute(owner: Any, name: str, file: SafeFile, place: str) -> None:
    attribute = owner.attrs.get_id(name)
    stored = attribute.get_type()
    kind = stored.get_class()
    numpy = attribute.dtype
    if kind not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING) and (
        numpy.kind != "b"
    ):
        raise UnsupportedError(
            f"The attribute {place!r} in {file.path!r} has type {numpy}, which no "
            "Keras writes."
        )
    count = math.prod(attribute.shape or ())
    limit = min(file.size // stored.get_size(), _MAX_ATTRIBUTE_ELEMENTS)
    text_bytes = 0
    if kind == h5py.h5t.STRING and stored.is_variable_str():
        text_bytes = file.copies_bytes(count)
    if count > limit:
        raise LimitError(
            "Attribute is too long",
            path=file.path,
            object_path=place,
            expected=f"at most {limit} elements",
            received=f"{count} elements",
        )
    if text_bytes > _default_budget_bytes(file.size):
        raise LimitError(
            "Texts of an attribute take too much memory",
            path=file.path,
            object_path=place,
            expected=f"at most {_default_budget_bytes(file.size)} bytes",
            received=f"up to {text_bytes} bytes",
        )


def _plain(value: Any, file: SafeFile, place: str) -> Any:
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray):
        return [_plain(item, file, place) for item in value.ravel()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if isinstance(value, str):
        # h5py smuggles bytes that are not UTF-8 through as surrogates.
        value.encode("utf-8")
    return value


def read_names(
    owner: h5py.Group, name: str, file: SafeFile, place: str
) -> list[str] | None:
    """Returns a list of names, which may be split into `<name>0`, `<name>1`, ….

    Raises:
        FormatError: It is no list of names.
    """
    whole = read_attribute(owner, name, file, place)
    if whole is not None:
        return _check_names(whole, file, f"{place}@{name}")
    names: list[str] | None = None
    with typed_errors(file.path, f"{place}@{name}"):
        count = len(owner.attrs)
    for index in range(count):
        part = read_attribute(owner, f"{name}{index}", file, place)
        if part is None:
            break
        names = (names or []) + _check_names(part, file, f"{place}@{name}{index}")
    return names


def _check_names(value: Any, file: SafeFile, place: str) -> list[str]:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        raise FormatError(
            "Attribute is not a list of names",
            path=file.path,
            object_path=place,
            received=repr(names[:3]),
        )
    return names


def _aligned_empty(shape: tuple[int, ...], numpy: np.dtype[Any]) -> Array:
    size = math.prod(shape) * numpy.itemsize
    raw = np.empty(size + _ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT_BYTES
    return raw[start : start + size].view(numpy).reshape(shape)
