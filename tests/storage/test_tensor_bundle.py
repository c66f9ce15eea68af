"""Tensor bundles, read and written."""

from __future__ import annotations

import numpy as np

from regraft.storage.tensor_bundle import TensorBundleReader, TensorBundleWriter


def write(prefix, tensors, **options):
    with TensorBundleWriter(prefix, **options) as writer:
        for key, tensor in tensors.items():
            writer.add(key, tensor)


def test_what_is_written_is_read_again(tmp_path):
    tensors = {
        "b": np.arange(6.0).reshape(2, 3),
        "a/strings": np.array([[b"", b"x" * 300], [b"\0", b"\xff"]], object),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(3, np.int64),
        "flags": np.array([True, False]),
    }
    write(tmp_path / "bundle", tensors)
    reader = TensorBundleReader(tmp_path / "bundle")
    assert sorted(reader) == sorted(tensors)
    for key, expected in tensors.items():
        tensor = reader[key]
        assert tensor.shape == expected.shape
        read = tensor.read()
        assert read.dtype == expected.dtype
        np.testing.assert_array_equal(read, expected)


def test_aligned_tensor_is_a_read_only_view_that_outlives_its_reader(tmp_path):
    write(tmp_path / "bundle", {"pad": np.zeros(3, np.int8), "t": np.arange(5.0)})
    reader = TensorBundleReader(tmp_path / "bundle")
    first, second = reader["t"].read(), reader["t"].read()
    assert np.shares_memory(first, second)
    assert not first.flags.writeable
    assert first.ctypes.data % 64 == 0
    del reader, second
    np.testing.assert_array_equal(first, np.arange(5.0))
