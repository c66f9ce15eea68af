"""Tables of LevelDB's format, and snappy blocks in them."""

from __future__ import annotations

import contextlib
import io
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.errors import ChecksumError, FormatError, LimitError, TruncatedError
from regraft.storage import checksum, snappy, sstable
from regraft.storage.proto.wire import write_varint


def write(entries, **options):
    stream = io.BytesIO()
    writer = sstable.TableWriter(stream, **options)
    for key, value in entries:
        writer.add(key, value)
    writer.finish()
    return stream.getvalue()


def read(data):
    return list(sstable.read_table(data, path="t.index"))


def raw_table(blocks, compression=0):
    """A table of raw data blocks, each with the last key that the index names."""
    data = b""
    index = b""
    for last_key, block in blocks:
        handle = write_varint(len(data)) + write_varint(len(block))
        data += block + bytes([compression])
        data += struct.pack("<I", checksum.masked(block + bytes([compression])))
        index += b"\0" + write_varint(len(last_key)) + write_varint(len(handle))
        index += last_key + handle
    index += struct.pack("<II", 0, 1)
    handle = write_varint(len(data)) + write_varint(len(index))
    data += index + b"\0" + struct.pack("<I", checksum.masked(index + b"\0"))
    footer = (b"\0\0" + handle).ljust(40, b"\0") + struct.pack("<Q", sstable.MAGIC)
    return data + footer


def raw_block(*entries):
    content = b"".join(
        write_varint(shared)
        + write_varint(len(end))
        + write_varint(len(value))
        + end
        + value
        for shared, end, value in entries
    )
    return content + struct.pack("<II", 0, 1)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.binary(max_size=40), st.binary(max_size=60), max_size=80),
    st.sampled_from([1, 50, 1000, sstable.BLOCK_BYTES]),
)
def test_what_is_written_is_read_again(entries, block_bytes):
    ordered = sorted(entries.items())
    assert read(write(ordered, block_bytes=block_bytes)) == ordered


def test_empty_table_is_read():
    assert read(write([])) == []


def test_keys_must_come_in_order():
    for keys in ((b"b", b"a"), (b"a", b"a")):
        with pytest.raises(ValueError, match="is not after"):
            write((key, b"") for key in keys)


def test_keys_share_prefixes_between_restarts():
    entries = [(b"layer_with_weights/%06d" % index, b"") for index in range(1600)]
    data = write(entries)
    assert len(data) < 1600 * 10
    assert read(data) == entries


def test_every_truncation_is_a_format_error():
    data = write([(b"key%02d" % index, b"value" * 5) for index in range(50)])
    for length in range(len(data)):
        with pytest.raises(FormatError):
            read(data[:length])


def test_every_changed_byte_is_a_format_error_or_changes_nothing():
    entries = [(b"key%02d" % index, b"value" * 5) for index in range(20)]
    data = write(entries, block_bytes=200)
    for position in range(len(data)):
        for bit in range(8):
            mutant = bytearray(data)
            mutant[position] ^= 1 << bit
            with contextlib.suppress(FormatError):
                # The padding of the footer and the metaindex have no meaning.
                assert read(bytes(mutant)) == entries


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_as_a_block_give_entries_or_a_format_error(block):
    for compression in (0, 1):
        with contextlib.suppress(FormatError):
            read(raw_table([(b"\xff" * 8, block)], compression))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_any_footer_gives_a_format_error(footer):
    data = write([(b"key", b"value")])
    start = len(data) - sstable.FOOTER_BYTES
    with contextlib.suppress(FormatError):
        read(data[:start] + footer.ljust(40, b"\0") + data[-8:])


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", TruncatedError, "Table has no footer"),
        (b"\0" * 100, FormatError, "Expected: 0xdb4775248b80fb57. Received: 0x0"),
        (
            raw_table([(b"z", raw_block((1, b"a", b"")))]),
            FormatError,
            "lengths reach beyond the block",
        ),
        (
            raw_table([(b"z", raw_block((0, b"b", b""), (0, b"a", b"")))]),
            FormatError,
            "Keys of the table are not in order",
        ),
        (
            raw_table([(b"a", raw_block((0, b"b", b"")))]),
            FormatError,
            "Index of the table does not match its block",
        ),
        (
            raw_table([(b"z", struct.pack("<I", 1000))]),
            TruncatedError,
            "shorter than its restarts",
        ),
        (
            raw_table([(b"z", raw_block((0, b"a", b"")))], compression=2),
            FormatError,
            "unknown compression",
        ),
    ],
)
def test_fault_is_named(data, error, message):
    with pytest.raises(FormatError) as caught:
        read(data)
    assert type(caught.value) is error
    assert message in str(caught.value)
    assert caught.value.path == "t.index"


def test_wrong_checksum_is_named():
    data = bytearray(write([(b"key", b"value")]))
    data[4] ^= 1
    with pytest.raises(ChecksumError, match=r"Expected: 0x.* Received: 0x.* byte 0"):
        read(bytes(data))


def test_keys_that_multiply_are_a_limit_error():
    # Each entry adds a byte to a key of 300 KB: 30 GB of keys from 700 KB.
    start = (0, b"k" * 300_000, b"")
    more = [(300_000 + index, b"k", b"") for index in range(100_000)]
    data = raw_table([(b"z", raw_block(start, *more))])
    with pytest.raises(LimitError, match="Keys of the table are too long"):
        read(data)


def test_overlapping_blocks_are_a_format_error():
    block = raw_block((0, b"a", b""))
    data = raw_table([(b"a", block)])
    index = data.rindex(block) + len(block)
    del index
    doubled = raw_table([(b"a", block), (b"b", block)])
    handles = doubled.rindex(b"b" + write_varint(len(block) + 5))
    mutant = bytearray(doubled)
    mutant[handles + 1] = 0
    size = struct.calcsize("<II")
    start = 2 * (len(block) + 5)
    end = len(doubled) - sstable.FOOTER_BYTES - 5
    assert end - start > size
    crc32c = checksum.masked(bytes(mutant[start : end + 1]))
    mutant[end + 1 : end + 5] = struct.pack("<I", crc32c)
    with pytest.raises(FormatError, match="Blocks of the table overlap"):
        read(bytes(mutant))


def compress(data, seed=0):
    """A snappy stream with every kind of element."""
    chooser = random.Random(seed)
    output = bytearray(write_varint(len(data)))
    position = 0
    while position < len(data):
        copy = find_copy(data, position)
        if copy is not None and chooser.random() < 0.8:
            offset, length = copy
            kind = chooser.choice([1, 2, 3])
            if kind == 1 and length >= 4 and offset < 2048:
                length = min(length, 11)
                output.append(1 | length - 4 << 2 | offset >> 8 << 5)
                output.append(offset & 255)
            else:
                width = 2 if kind < 3 and offset < 65536 else 4
                output.append((2 if width == 2 else 3) | length - 1 << 2)
                output += offset.to_bytes(width, "little")
        else:
            length = min(chooser.choice([1, 30, 61, 300, 70_000]), len(data) - position)
            if length <= 60:
                output.append(length - 1 << 2)
            else:
                width = (length - 1).bit_length() + 7 >> 3
                output.append(59 + width << 2)
                output += (length - 1).to_bytes(width, "little")
            output += data[position : position + length]
        position += length
    return bytes(output)


def find_copy(data, position):
    start = data.rfind(data[position : position + 4], 0, position + 3)
    if start < 0 or start >= position or position + 4 > len(data):
        return None
    length = 4
    while (
        length < 64
        and position + length < len(data)
        and data[start + length] == data[position + length]
    ):
        length += 1
    return position - start, length


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([b"ab", b"abcabc", b"\0" * 50, b"xyz"]), max_size=60),
    st.integers(0, 1000),
)
def test_snappy_stream_is_decompressed(pieces, seed):
    data = b"".join(pieces)
    assert snappy.decompress(compress(data, seed)) == data


def test_long_snappy_literals_are_decompressed():
    data = random.Random(1).randbytes(200_000) * 2
    assert snappy.decompress(compress(data)) == data


def test_compressed_block_is_read():
    entries = [(0, b"key", b"value" * 100)]
    data = raw_table([(b"z", compress(raw_block(*entries)))], compression=1)
    assert read(data) == [(b"key", b"value" * 100)]


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"", TruncatedError),
        (write_varint(1 << 40) + b"\0a", LimitError),
        (write_varint(5) + b"\0a", TruncatedError),
        (write_varint(1) + b"\x04ab", FormatError),
        (write_varint(4) + b"\x01\x01", FormatError),
        (write_varint(4) + b"\x01", TruncatedError),
        (write_varint(4) + b"\xf4\xff", TruncatedError),
        (write_varint(4) + b"\x0ca", TruncatedError),
    ],
)
def test_broken_snappy_stream_is_a_format_error(stream, error):
    with pytest.raises(FormatError) as caught:
        snappy.decompress(stream, path="t", offset_bytes=7)
    assert type(caught.value) is error
    assert (caught.value.path, caught.value.offset_bytes) == ("t", 7)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_give_a_bounded_stream_or_a_format_error(data):
    with contextlib.suppress(FormatError):
        assert len(snappy.decompress(data)) <= 22 * len(data)
