"""TensorFlow reads our bundles, and we read its."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from regraft.errors import ChecksumError
from regraft.storage import sstable
from regraft.storage.proto import messages
from regraft.storage.tensor_bundle import TensorBundleReader, TensorBundleWriter

pytestmark = pytest.mark.peer


def write(prefix, tensors, **options):
    with TensorBundleWriter(prefix, **options) as writer:
        for key, tensor in tensors.items():
            writer.add(key, tensor)


def read(prefix):
    return {key: tensor.read() for key, tensor in TensorBundleReader(prefix).items()}


def assert_same(received, expected):
    assert sorted(received) == sorted(expected)
    for key, array in expected.items():
        assert received[key].dtype == array.dtype, key
        assert received[key].shape == array.shape, key
        if array.dtype == object:
            np.testing.assert_array_equal(received[key], array, err_msg=key)
        else:
            assert received[key].tobytes() == array.tobytes(), key


def many_tensors(count):
    generator = np.random.default_rng(count)
    tensors = {
        f"model/layer_with_weights-{index}/kernel/.ATTRIBUTES/VARIABLE_VALUE": (
            generator.standard_normal(index % 7).astype(np.float32)
        )
        for index in range(count)
    }
    tensors["_CHECKPOINTABLE_OBJECT_GRAPH"] = np.array(b"\0graph" * 100, object)
    return tensors


@pytest.mark.parametrize("count", [3, 700, 6000])
def test_we_read_what_tensorflow_writes(count, peer, tmp_path):
    tensors = many_tensors(count)
    peer.call("bundles.write", tmp_path / "ckpt", tensors)
    assert_same(read(tmp_path / "ckpt"), tensors)


@pytest.mark.parametrize("count", [3, 700, 6000])
@pytest.mark.parametrize("alignment", [1, 64, 4096])
def test_tensorflow_reads_what_we_write(count, alignment, peer, tmp_path):
    tensors = many_tensors(count)
    write(tmp_path / "ckpt", tensors, alignment_bytes=alignment)
    if count == 6000:
        index = (tmp_path / "ckpt.index").read_bytes()
        assert len(index) > sstable.BLOCK_BYTES
    received = peer.call("bundles.read_whole_checkpoint", tmp_path / "ckpt")
    assert received.pop("_CHECKPOINTABLE_OBJECT_GRAPH") == b"\0graph" * 100
    del tensors["_CHECKPOINTABLE_OBJECT_GRAPH"]
    assert_same(received, tensors)


def test_dense_bundle_is_byte_for_byte_tensorflows(peer, tmp_path):
    tensors = dict(sorted(many_tensors(300).items()))
    peer.call("bundles.write", tmp_path / "theirs", tensors)
    write(tmp_path / "ours", tensors, alignment_bytes=1)
    shard = ".data-00000-of-00001"
    theirs = (tmp_path / f"theirs{shard}").read_bytes()
    assert (tmp_path / f"ours{shard}").read_bytes() == theirs

    def entries(name):
        path = tmp_path / f"{name}.index"
        return dict(sstable.read_table(path.read_bytes()))

    assert entries("ours") == entries("theirs")


def test_every_dtype_goes_both_ways(peer, tmp_path):
    expected = peer.call("bundles.write_every_dtype", tmp_path / "theirs")
    received = read(tmp_path / "theirs")
    assert_same(received, expected)
    reader = TensorBundleReader(tmp_path / "theirs")
    assert reader["qint8"].dtype == "qint8"
    write(tmp_path / "ours", dict(reader.items()))
    assert_same(read(tmp_path / "ours"), expected)
    assert_same(peer.call("bundles.read", tmp_path / "ours"), expected)


def test_shards_are_read(peer, tmp_path):
    tensors = many_tensors(30)
    keys = list(tensors)
    parts = [{key: tensors[key] for key in keys[start::3]} for start in range(3)]
    peer.call("bundles.write_shards", tmp_path / "ckpt", parts)
    assert (tmp_path / "ckpt.data-00002-of-00003").exists()
    assert_same(read(tmp_path / "ckpt"), tensors)


def test_partitioned_variable_is_read_as_one_tensor(peer, tmp_path):
    array = np.arange(70, dtype=np.float32).reshape(10, 7)
    peer.call("bundles.write_partitioned_variable", tmp_path / "ckpt", array, 3)
    reader = TensorBundleReader(tmp_path / "ckpt")
    assert list(reader) == ["partitioned"]
    assert reader["partitioned"].shape == (10, 7)
    np.testing.assert_array_equal(reader["partitioned"].read(), array)


def test_slices_of_any_kind_are_read(peer, tmp_path):
    grid = np.arange(200 * 300, dtype=np.int32).reshape(200, 300)
    words = np.array([b"a", b"bc", b"", b"d"], object)
    tall = np.arange(100_000, dtype=np.int8)
    whole = np.arange(4, dtype=np.float64)
    variables = {
        "grid\xff": (
            grid,
            [
                ((row, rows), (column, columns))
                for row, rows in ((0, 65), (65, 135))
                for column, columns in ((0, 1), (1, 299))
            ],
        ),
        "words": (words, [((0, 1),), ((1, 3),)]),
        "tall": (tall, [((0, 63),), ((63, 1),), ((64, 9000),), ((9064, 90936),)]),
        "whole": (whole, [((0, 4),)]),
    }
    peer.call("bundles.write_slices", tmp_path / "ckpt", variables)
    received = read(tmp_path / "ckpt")
    expected = {key: value[0] for key, value in variables.items()}
    assert_same(received, expected)


def test_tensorflow_finds_the_checksums_it_expects(peer, tmp_path):
    write(tmp_path / "ckpt", {"x": np.arange(4.0), "s": np.array([b"abc"], object)})
    data = tmp_path / "ckpt.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[3] ^= 1
    data.write_bytes(content)
    with pytest.raises(ChecksumError):
        TensorBundleReader(tmp_path / "ckpt")["x"].read()
    with pytest.raises(Exception, match=r"[Cc]hecksum"):
        peer.call("bundles.read", tmp_path / "ckpt")


def our_schemas():
    """The same as `peer.functions.bundles.schemas`, of our pool."""
    from google.protobuf import descriptor_pb2

    found = {}

    def collect(message, name):
        proto = descriptor_pb2.DescriptorProto()
        message.CopyToProto(proto)
        found[name] = {
            field.number: (
                field.name,
                field.type,
                field.label,
                proto.oneof_decl[field.oneof_index].name
                if field.HasField("oneof_index")
                else None,
                field.type_name.rpartition(".")[2],
            )
            for field in proto.field
        }
        for enum in message.enum_types:
            values = {value.name: value.number for value in enum.values}
            found[f"{name}.{enum.name}"] = values
        for nested in message.nested_types:
            collect(nested, f"{name}.{nested.name}")

    for name in messages.__all__:
        thing = getattr(messages, name)
        if isinstance(thing, type) and thing is not messages.Message:
            collect(thing.DESCRIPTOR, name)
        elif hasattr(thing, "items"):
            found[name] = dict(thing.items())
    return found


def test_schemas_are_tensorflows(peer):
    theirs = peer.call("bundles.schemas")
    renamed = {"KerasSavedMetadata": "SavedMetadata", "KerasSavedObject": "SavedObject"}
    ours = our_schemas()
    for name, fields in ours.items():
        if name not in renamed:
            assert fields == theirs["tensorflow"][name], (name, theirs["version"])
            continue
        fields = {
            number: (*field[:4], renamed.get(field[4], field[4]))
            for number, field in fields.items()
        }
        assert fields == theirs["keras"][renamed[name]]
    assert len(ours) > 100


def test_schemas_work_beside_an_imported_tensorflow(peer, vintage):
    source = Path(__file__).resolve().parents[2] / "src"
    for case in ("seed_example", "text_and_tables"):
        path = vintage / "2.21.0" / case / "saved_model" / "saved_model.pb"
        assert peer.call("bundles.parse_beside_tensorflow", source, path)


def test_bfloat16_is_not_rounded(peer, tmp_path):
    values = np.array([1.0, 3.140625, -0.0, np.inf, np.nan]).astype(ml_dtypes.bfloat16)
    write(tmp_path / "ckpt", {"x": values})
    received = peer.call("bundles.read", tmp_path / "ckpt")["x"]
    assert received.tobytes() == values.tobytes()
