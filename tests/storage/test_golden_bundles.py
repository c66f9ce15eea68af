"""Bundles that TensorFlow wrote, read; `golden/make.py` tells what they are."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from regraft.storage import sstable
from regraft.storage.tensor_bundle import TensorBundleReader

ARCHIVE = Path(__file__).parent / "golden" / "bundles.tar.xz"
BUNDLES = ["dtypes", "shards", "partitioned", "grid", "blocks"]


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    directory = tmp_path_factory.mktemp("golden")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(directory, filter="data")
    return directory


@pytest.mark.parametrize("name", BUNDLES)
def test_golden_bundle_is_read(name, golden):
    about = json.loads((golden / "about.json").read_text())[name]
    reader = TensorBundleReader(golden / name)
    assert sorted(reader) == sorted(about)
    with np.load(golden / "expected.npz") as arrays:
        for key, (dtype, shape, *strings) in about.items():
            received = reader[key].read()
            assert list(received.shape) == shape
            if strings:
                assert [item.hex() for item in received.flat] == strings[0]
                continue
            assert received.dtype == np.dtype(getattr(ml_dtypes, dtype, dtype))
            if name == "blocks":
                assert f"-{received[()]}/" in key
            else:
                assert received.tobytes() == arrays[f"{name}:{key}"].tobytes()


def test_golden_index_has_several_blocks(golden):
    assert (golden / "blocks.index").stat().st_size > sstable.BLOCK_BYTES
    assert (golden / "shards.data-00002-of-00003").exists()
