"""Tensor bundles, read and written."""

from __future__ import annotations

import contextlib
import os
import struct
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.errors import (
    ChecksumError,
    FormatError,
    LimitError,
    MismatchError,
    TruncatedError,
    UnsupportedError,
)
from regraft.storage import checksum, proto, sstable
from regraft.storage.proto import messages
from regraft.storage.tensor import ArrayTensor
from regraft.storage.tensor_bundle import (
    TensorBundleReader,
    TensorBundleWriter,
    entries,
)

SHARD = ".data-00000-of-00001"


def write(prefix, tensors, **options):
    with TensorBundleWriter(prefix, **options) as writer:
        for key, tensor in tensors.items():
            writer.add(key, tensor)


def read(prefix, **options):
    reader = TensorBundleReader(prefix, **options)
    return {key: tensor.read() for key, tensor in reader.items()}


def small_tensors():
    return {
        "b": np.arange(6.0).reshape(2, 3),
        "a/strings": np.array([[b"", b"x" * 300], [b"\0", b"\xff"]], object),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(3, np.int64),
        "flags": np.array([True, False]),
    }


def write_index(prefix, change, data=bytes(1000)):
    """Writes a bundle of one float32 tensor `x` of shape [2], then changes it.

    Args:
        prefix: Where to.
        change: Called with the header, and the entries by key.
        data: Content of the data file.
    """
    header = messages.BundleHeaderProto(num_shards=1)
    header.version.producer = 1
    entry = messages.BundleEntryProto(dtype=1, size=8)
    entry.crc32c = checksum.masked(bytes(8))
    entry.shape.dim.add(size=2)
    table = {b"x": entry}
    change(header, table)
    (prefix.parent / f"{prefix.name}{SHARD}").write_bytes(data)
    with open(f"{prefix}.index", "wb") as stream:
        writer = sstable.TableWriter(stream)
        writer.add(b"", proto.serialize(header))
        for key, value in sorted(table.items()):
            writer.add(key, proto.serialize(value))
        writer.finish()


def test_what_is_written_is_read_again(tmp_path):
    tensors = small_tensors()
    write(tmp_path / "bundle", tensors)
    reader = TensorBundleReader(tmp_path / "bundle")
    assert sorted(reader) == sorted(tensors)
    assert "b" in reader
    assert "c" not in reader
    for key, expected in tensors.items():
        tensor = reader[key]
        assert tensor.shape == expected.shape
        received = tensor.read()
        assert received.dtype == expected.dtype
        assert not received.flags.writeable or received.dtype == object
        np.testing.assert_array_equal(received, expected)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12).filter(
            lambda key: key[0] != "\0" and key.isprintable()
        ),
        st.one_of(
            st.lists(st.binary(max_size=200), max_size=5).map(
                lambda items: np.array([*items, b""], object)[:-1]
            ),
            st.lists(st.floats(width=32, allow_nan=False), max_size=9).map(
                lambda items: np.array(items, np.float32)
            ),
        ),
        max_size=8,
    ),
    st.sampled_from([1, 8, 64]),
)
def test_any_tensors_are_read_again(tmp_path_factory, tensors, alignment):
    prefix = tmp_path_factory.mktemp("bundle") / "bundle"
    write(prefix, tensors, alignment_bytes=alignment)
    received = read(prefix)
    assert sorted(received) == sorted(tensors)
    for key, expected in tensors.items():
        np.testing.assert_array_equal(received[key], expected)


def test_bundle_of_a_bundle_has_the_same_bytes(tmp_path):
    write(tmp_path / "first", small_tensors())
    write(tmp_path / "second", dict(TensorBundleReader(tmp_path / "first").items()))
    write(tmp_path / "third", dict(TensorBundleReader(tmp_path / "second").items()))
    for ending in (".index", SHARD):
        second = (tmp_path / f"second{ending}").read_bytes()
        assert (tmp_path / f"third{ending}").read_bytes() == second


def test_remote_bundle_is_written_and_read():
    write("memory://bundles/b", small_tensors())
    received = read("memory://bundles/b")
    np.testing.assert_array_equal(received["b"], small_tensors()["b"])
    assert received["a/strings"].tolist() == small_tensors()["a/strings"].tolist()


def test_aligned_tensor_is_a_read_only_view_that_outlives_its_reader(tmp_path):
    write(tmp_path / "bundle", {"pad": np.zeros(3, np.int8), "t": np.arange(5.0)})
    reader = TensorBundleReader(tmp_path / "bundle")
    first, second = reader["t"].read(), reader["t"].read()
    assert np.shares_memory(first, second)
    assert not first.flags.writeable
    assert first.ctypes.data % 64 == 0
    del reader, second
    np.testing.assert_array_equal(first, np.arange(5.0))


def test_unaligned_tensor_is_an_aligned_copy(tmp_path):
    tensors = {"pad": np.zeros(3, np.int8), "t": np.arange(5.0)}
    write(tmp_path / "bundle", tensors, alignment_bytes=1)
    received = TensorBundleReader(tmp_path / "bundle")["t"].read()
    assert received.flags.aligned
    assert not received.flags.writeable
    assert received.ctypes.data % 64 == 0
    np.testing.assert_array_equal(received, np.arange(5.0))


def test_writer_holds_one_tensor_at_a_time(tmp_path):
    class Lazy:
        dtype = "float32"
        shape = (1 << 20,)

        def read(self):
            return np.ones(self.shape, np.float32)

    tracemalloc.start()
    write(tmp_path / "bundle", {f"t{index}": Lazy() for index in range(8)})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * (4 << 20)


def test_large_array_is_written_without_a_copy(tmp_path):
    array = np.ones(4 << 20, np.float32)
    tracemalloc.start()
    write(tmp_path / "bundle", {"t": array})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    write(tmp_path / "bundle", {"t": np.ones(4 << 20, np.float32)})
    tracemalloc.start()
    tensor = TensorBundleReader(tmp_path / "bundle")["t"]
    assert tensor.read().sum() == 4 << 20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("order", ["C", "F", "strided", "big-endian"])
def test_arrays_of_any_memory_order_are_written(order, tmp_path):
    array = np.arange(24, dtype=np.int32).reshape(4, 6)
    given_array = {
        "C": array,
        "F": np.asfortranarray(array),
        "strided": np.repeat(array, 2, axis=1)[:, ::2],
        "big-endian": array.astype(">i4"),
    }[order]
    write(tmp_path / "bundle", {"t": given_array})
    np.testing.assert_array_equal(read(tmp_path / "bundle")["t"], array)


@pytest.mark.parametrize(
    "dtype", ["int16", "float32", "float64", "complex64", "complex128", "bfloat16"]
)
def test_big_endian_bundle_is_read(dtype, tmp_path):
    numpy = np.dtype(getattr(ml_dtypes, dtype, dtype))
    array = np.array([1, 2, 300]).astype(numpy) * numpy.type(1 + (numpy.kind == "c"))
    if numpy.kind == "c":
        array = array * (1 + 2j)
    width = numpy.itemsize // (2 if numpy.kind == "c" else 1)
    swapped = array.view(np.uint8).reshape(-1, width)[:, ::-1].tobytes()

    def change(header, table):
        header.endianness = 1
        entry = table[b"x"]
        entry.dtype = {
            "int16": 5, "float32": 1, "float64": 2,
            "complex64": 8, "complex128": 18, "bfloat16": 14,
        }[dtype]  # fmt: skip
        entry.shape.dim[0].size = 3
        entry.size = len(swapped)
        entry.crc32c = checksum.masked(swapped)

    write_index(tmp_path / "bundle", change, swapped)
    received = read(tmp_path / "bundle")["x"]
    assert received.dtype == array.astype(numpy).dtype
    np.testing.assert_array_equal(received, array.astype(numpy))


def test_two_keys_may_share_all_their_bytes(tmp_path):
    def change(header, table):
        table[b"y"] = table[b"x"]

    write_index(tmp_path / "bundle", change)
    received = read(tmp_path / "bundle")
    assert np.shares_memory(received["x"], received["y"])


def test_tensor_without_values_is_listed_but_not_read(tmp_path):
    def change(header, table):
        table[b"x"].dtype = messages.DT_VARIANT

    write_index(tmp_path / "bundle", change)
    tensor = TensorBundleReader(tmp_path / "bundle")["x"]
    assert tensor.dtype == "variant"
    with pytest.raises(UnsupportedError, match="dtype variant"):
        tensor.read()
    with (
        TensorBundleWriter(tmp_path / "new") as writer,
        pytest.raises(UnsupportedError, match="can't be stored"),
    ):
        writer.add("x", tensor)


# Indices that lie. Each row changes the header and the entries of a good one.


def set_entry(**fields):
    def change(header, table):
        for name, value in fields.items():
            setattr(table[b"x"], name, value)

    return change


def set_shape(*sizes):
    def change(header, table):
        del table[b"x"].shape.dim[:]
        for size in sizes:
            table[b"x"].shape.dim.add(size=size)

    return change


def set_header(**fields):
    def change(header, table):
        for name, value in fields.items():
            setattr(header, name, value)

    return change


def unknown_rank(header, table):
    table[b"x"].shape.unknown_rank = True


def overlap(header, table):
    table[b"y"] = messages.BundleEntryProto()
    table[b"y"].CopyFrom(table[b"x"])
    table[b"y"].offset = 4


def key_of_no_text(header, table):
    table[b"\xff"] = table[b"x"]


def slices(*parts, full=(4,)):
    """Makes `x` a partitioned variable whose slices are all there."""

    def change(header, table):
        stored = table.pop(b"x")
        whole = table[b"x"] = messages.BundleEntryProto(dtype=1)
        for size in full:
            whole.shape.dim.add(size=size)
        for start, length in parts:
            extent = whole.slices.add().extent.add(start=start)
            extent.length = length
            part = messages.BundleEntryProto()
            part.CopyFrom(stored)
            part.shape.dim[0].size = length
            part.size = 4 * max(length, 0)
            part.offset = 8 * len(whole.slices)
            key = entries.slice_key(b"x", (entries.Extent(start, length),))
            table[key] = part

    return change


def slice_is_missing(header, table):
    slices((0, 2), (2, 2))(header, table)
    del table[entries.slice_key(b"x", (entries.Extent(2, 2),))]


def slice_of_another_dtype(header, table):
    slices((0, 2), (2, 2))(header, table)
    table[entries.slice_key(b"x", (entries.Extent(2, 2),))].dtype = 3


def slice_of_slices(header, table):
    slices((0, 4))(header, table)
    key = entries.slice_key(b"x", (entries.Extent(0, 4),))
    table[key].slices.add().extent.add()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (set_entry(offset=993), FormatError, "Tensor lies outside its data file"),
        (set_entry(offset=2**62), FormatError, "Tensor lies outside its data file"),
        (set_entry(offset=-1), FormatError, "position is negative"),
        (set_entry(size=-8), FormatError, "position is negative"),
        (set_entry(size=12), FormatError, "size does not match the shape"),
        (set_entry(dtype=2), FormatError, "Expected: 16 bytes for float64"),
        (set_entry(dtype=99), FormatError, "Invalid DataType"),
        (set_entry(dtype=0), FormatError, "Invalid DataType"),
        (set_entry(shard_id=1), FormatError, "no such shard"),
        (set_entry(shard_id=-1), FormatError, "no such shard"),
        (set_shape(-2), FormatError, "dimension is negative"),
        (set_shape(-1, -2), FormatError, "dimension is negative"),
        (set_shape(2**62, 2**62), LimitError, "too many elements"),
        (set_shape(0, 2**62, 2**62), LimitError, "too many elements"),
        (set_shape(2**32, 2**30), FormatError, "size does not match the shape"),
        (set_shape(*[1] * 300), FormatError, "no rank that a tensor can have"),
        (unknown_rank, FormatError, "no rank that a tensor can have"),
        (set_header(num_shards=0), FormatError, "Bundle has no shards"),
        (set_header(num_shards=-1), FormatError, "Bundle has no shards"),
        (set_header(num_shards=2), FormatError, "Data file of the bundle is missing"),
        (set_header(endianness=2), FormatError, "unknown byte order"),
        (overlap, FormatError, "overlaps another one, 'x' at bytes 0 to 8"),
        (key_of_no_text, FormatError, "Key of the bundle is not UTF-8"),
        (slices((0, 2), (2, 3)), FormatError, "slice does not lie in the tensor"),
        (slices((0, 2), (-1, 2)), FormatError, "slice does not lie in the tensor"),
        (slices((0, 2), (1, 2)), FormatError, "slices overlap"),
        (slices((0, 2)), FormatError, "do not cover the variable"),
        (slices((0, 2), (2, 2), full=(4, 1)), FormatError, "slice does not lie"),
        (slice_is_missing, FormatError, "a slice is missing"),
        (slice_of_another_dtype, FormatError, "a slice does not fit"),
        (slice_of_slices, FormatError, "a slice is missing"),
    ],
)
def test_index_that_lies_is_a_format_error(change, error, message, tmp_path):
    write_index(tmp_path / "bundle", change)
    with pytest.raises(FormatError) as caught:
        TensorBundleReader(tmp_path / "bundle")
    assert type(caught.value) is error
    assert message in str(caught.value)
    assert caught.value.path is not None


def test_slices_that_fit_are_read(tmp_path):
    write_index(tmp_path / "bundle", slices((0, 2), (2, 2)))
    assert read(tmp_path / "bundle")["x"].tolist() == [0, 0, 0, 0]


def test_too_many_slices_are_a_limit_error(tmp_path):
    count = 5000
    parts = [(index, 1) for index in range(count)]

    def change(header, table):
        slices(*parts, full=(count,))(header, table)
        for entry in table.values():
            entry.crc32c = 0

    write_index(tmp_path / "bundle", change, bytes(8 * count + 100))
    with pytest.raises(LimitError, match="too many slices"):
        TensorBundleReader(tmp_path / "bundle")


def test_newer_format_is_unsupported(tmp_path):
    def change(header, table):
        header.version.min_consumer = 2

    write_index(tmp_path / "bundle", change)
    with pytest.raises(UnsupportedError, match="reader of version 2"):
        TensorBundleReader(tmp_path / "bundle")


def test_index_without_a_header_is_a_format_error(tmp_path):
    with open(tmp_path / "bundle.index", "wb") as stream:
        writer = sstable.TableWriter(stream)
        writer.add(b"x", b"")
        writer.finish()
    with pytest.raises(FormatError, match="has no header"):
        TensorBundleReader(tmp_path / "bundle")


def test_missing_bundle_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.index"):
        TensorBundleReader(tmp_path / "nothing")


def test_wrong_checksum_names_everything(tmp_path):
    write(tmp_path / "bundle", {"a": np.zeros(1), "b/kernel": np.arange(4.0)})
    data = tmp_path / f"bundle{SHARD}"
    content = bytearray(data.read_bytes())
    content[64] ^= 1
    data.write_bytes(content)
    reader = TensorBundleReader(tmp_path / "bundle")
    reader["a"].read()
    with pytest.raises(ChecksumError) as caught:
        reader["b/kernel"].read()
    error = caught.value
    assert (error.object_path, error.offset_bytes) == ("b/kernel", 64)
    assert error.path == str(data)
    assert error.expected.startswith("0x")
    assert error.received.startswith("0x")
    TensorBundleReader(tmp_path / "bundle", verify=False)["b/kernel"].read()


def test_checksum_is_computed_once(tmp_path, monkeypatch):
    write(tmp_path / "bundle", {"a": np.zeros(100)})
    tensor = TensorBundleReader(tmp_path / "bundle")["a"]
    tensor.read()
    monkeypatch.setattr(checksum, "masked", None)
    tensor.read()


def test_boolean_that_is_neither_is_a_format_error(tmp_path):
    def change(header, table):
        table[b"x"].dtype = messages.DT_BOOL
        table[b"x"].size = 2
        table[b"x"].crc32c = checksum.masked(b"\x01\x02")

    write_index(tmp_path / "bundle", change, b"\x01\x02")
    with pytest.raises(FormatError, match="booleans holds other numbers"):
        read(tmp_path / "bundle")


def string_entry(content, count):
    def change(header, table):
        entry = table[b"x"]
        entry.dtype = messages.DT_STRING
        entry.shape.dim[0].size = count
        entry.size = len(content)

    return change


@pytest.mark.parametrize(
    ("content", "count", "error", "message"),
    [
        (b"\x01\x00\x00\x00\x00a", 100, TruncatedError, "too short for its elements"),
        (b"\x05\x00\x00\x00\x00a", 1, FormatError, "do not add up to its size"),
        (b"\x00\x00\x00\x00\x00a", 1, FormatError, "do not add up to its size"),
        (b"\xff" * 11 + b"a" * 4, 1, FormatError, "more than 64 bits"),
        (b"\x01\x00\x00\x00\x00a", 1, ChecksumError, "Lengths of a string tensor"),
        (
            b"\x01" + struct.pack("<I", checksum.masked(b"\1\0\0\0")) + b"a",
            1,
            ChecksumError,
            "Tensor does not match its CRC32C",
        ),
    ],
)
def test_string_tensor_that_lies_is_a_format_error(
    content, count, error, message, tmp_path
):
    write_index(tmp_path / "bundle", string_entry(content, count), content)
    reader = TensorBundleReader(tmp_path / "bundle")
    with pytest.raises(FormatError) as caught:
        reader["x"].read()
    assert type(caught.value) is error
    assert message in str(caught.value)
    assert caught.value.object_path == "x"


def test_budget_bounds_all_tensors_together(tmp_path):
    write(tmp_path / "bundle", {"a": np.zeros(10), "b": np.zeros(10)})
    TensorBundleReader(tmp_path / "bundle", memory_budget_bytes=160)
    with pytest.raises(LimitError, match="memory_budget_bytes"):
        TensorBundleReader(tmp_path / "bundle", memory_budget_bytes=159)


def test_many_keys_of_the_same_bytes_are_a_limit_error(tmp_path):
    def change(header, table):
        table[b"x"].shape.dim[0].size = 250_000
        table[b"x"].size = 1_000_000
        for index in range(2000):
            table[b"y%d" % index] = table[b"x"]

    write_index(tmp_path / "bundle", change, bytes(1_000_000))
    with pytest.raises(LimitError, match="memory_budget_bytes"):
        TensorBundleReader(tmp_path / "bundle")


@pytest.mark.parametrize("key", ["", "\0x"])
def test_key_that_is_none_is_not_written(key, tmp_path):
    with (
        TensorBundleWriter(tmp_path / "bundle") as writer,
        pytest.raises(ValueError, match="Not a key"),
    ):
        writer.add(key, np.zeros(1))


def test_key_is_written_once(tmp_path):
    with TensorBundleWriter(tmp_path / "bundle") as writer:
        writer.add("x", np.zeros(1))
        with pytest.raises(ValueError, match="already"):
            writer.add("x", np.zeros(1))


def test_tensor_that_differs_from_what_it_declares_is_not_written(tmp_path):
    class Lying(ArrayTensor):
        shape = (3,)

    class LyingDtype(ArrayTensor):
        dtype = "int32"

    with TensorBundleWriter(tmp_path / "bundle") as writer:
        with pytest.raises(MismatchError, match="another shape"):
            writer.add("x", Lying(np.zeros(2)))
        with pytest.raises(MismatchError, match="another dtype"):
            writer.add("x", LyingDtype(np.zeros(2)))
        with pytest.raises(TypeError, match="`bytes` or `str`"):
            writer.add("x", np.array([1.5, None], object))


def test_failing_block_leaves_no_bundle(tmp_path):
    def fail():
        with TensorBundleWriter(tmp_path / "bundle") as writer:
            writer.add("x", np.zeros(1))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert os.listdir(tmp_path) == []


def test_every_truncation_is_a_format_error(tmp_path):
    write(tmp_path / "bundle", small_tensors())
    for ending in (".index", SHARD):
        path = tmp_path / f"bundle{ending}"
        data = path.read_bytes()
        for length in range(len(data)):
            path.write_bytes(data[:length])
            with pytest.raises(FormatError):
                read(tmp_path / "bundle")
        path.write_bytes(data)


def test_every_changed_byte_is_a_format_error_or_changes_nothing(tmp_path):
    write(tmp_path / "bundle", small_tensors())
    for ending in (".index", SHARD):
        path = tmp_path / f"bundle{ending}"
        data = path.read_bytes()
        for position in range(len(data)):
            mutant = bytearray(data)
            mutant[position] ^= 1 << position % 8
            path.write_bytes(mutant)
            with contextlib.suppress(FormatError):
                for key, array in read(tmp_path / "bundle").items():
                    np.testing.assert_array_equal(array, small_tensors()[key])
        path.write_bytes(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_as_an_entry_give_tensors_or_a_typed_error(tmp_path_factory, value):
    prefix = tmp_path_factory.getbasetemp() / "any-entry"
    header = messages.BundleHeaderProto(num_shards=1)
    with open(f"{prefix}.index", "wb") as stream:
        writer = sstable.TableWriter(stream)
        writer.add(b"", proto.serialize(header))
        writer.add(b"x", value)
        writer.finish()
    with open(f"{prefix}{SHARD}", "wb") as stream:
        stream.write(bytes(64))
    with contextlib.suppress(FormatError, UnsupportedError):
        read(prefix)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (0, b"\x80"),
        (-1, b"\x7f"),
        (63, b"\xbf"),
        (-64, b"\x40"),
        (64, b"\xc0\x40"),
        (-65, b"\x3f\xbf"),
        (8191, b"\xdf\xff"),
        (8192, b"\xe0\x20\x00"),
    ],
)
def test_slice_key_orders_numbers(number, code):
    key = entries.slice_key(b"a\xff\0", (entries.Extent(number, None),))
    assert key == b"\0a\xff\0\0\xff\0\1\1\1" + code + b"\x7f"
