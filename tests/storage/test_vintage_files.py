"""Every file of the vintage corpus is read, written, and read again."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.storage import proto
from regraft.storage.hdf5_file import read_hdf5, write_hdf5
from regraft.storage.proto import messages
from regraft.storage.saved_model_directory import (
    is_saved_model_directory,
    read_saved_model_directory,
    write_saved_model_directory,
)

# Releases before wrote maps in no fixed order, and lists of names as older h5py did.
FIRST_DETERMINISTIC_RELEASE = (2, 15)
FIRST_RELEASE_WITH_TOP_LEVEL_WEIGHTS = (2, 11)


def release(path, vintage):
    version = path.relative_to(vintage).parts[0]
    return tuple(map(int, version.split(".")[:2]))


def tensors_of(bundle):
    return {
        key: (tensor.dtype, tensor.shape, tensor.read().tobytes())
        if tensor.dtype != "string"
        else tensor.read().tolist()
        for key, tensor in bundle.items()
    }


def test_every_message_is_parsed_whole(vintage):
    classes = {
        "saved_model.pb": messages.SavedModel,
        "keras_metadata.pb": messages.KerasSavedMetadata,
        "fingerprint.pb": messages.FingerprintDef,
    }
    count = 0
    for path in sorted(vintage.rglob("*.pb")):
        data = path.read_bytes()
        message = proto.parse(classes[path.name], data, path=path)
        again = proto.serialize(message)
        assert proto.parse(classes[path.name], again) == message
        # Equal lengths: no field is unknown.
        assert len(again) == len(data), path
        if release(path, vintage) >= FIRST_DETERMINISTIC_RELEASE:
            assert again == data, path
        count += 1
    assert count > 100


def test_every_directory_is_read_and_written(vintage, tmp_path):
    paths = [path for path in vintage.glob("*/*/*") if is_saved_model_directory(path)]
    assert len(paths) > 50
    for path in sorted(paths):
        read = read_saved_model_directory(path)
        write_saved_model_directory(
            tmp_path / "model",
            saved_model=read.saved_model,
            keras_metadata=read.keras_metadata,
            tensors=read.variables or {},
            fingerprint=read.fingerprint,
        )
        again = read_saved_model_directory(tmp_path / "model")
        assert again.saved_model == read.saved_model
        assert again.keras_metadata == read.keras_metadata
        assert again.fingerprint == read.fingerprint
        assert tensors_of(again.variables) == tensors_of(read.variables or {})


def test_hdf5_files_are_written_as_keras_writes_them(vintage, tmp_path):
    paths = sorted(vintage.rglob("model.h5"))
    assert len(paths) > 30
    for path in paths:
        with read_hdf5(path) as model:
            write_hdf5(tmp_path / "model.h5", model)
            with read_hdf5(tmp_path / "model.h5") as again:
                assert again.model_config == model.model_config
                assert again.training_config == model.training_config
                assert [layer.name for layer in again.layers] == [
                    layer.name for layer in model.layers
                ]
        if release(path, vintage) >= FIRST_RELEASE_WITH_TOP_LEVEL_WEIGHTS:
            assert (tmp_path / "model.h5").read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize("case", ["seed_example", "convnet"])
def test_tf_keras_reads_what_we_write(case, vintage, peer, tmp_path):
    path = vintage / "2.6.5" / case / "model.h5"
    with read_hdf5(path) as model:
        write_hdf5(tmp_path / "model.h5", model)
    assert (tmp_path / "model.h5").read_bytes() != path.read_bytes()
    with np.load(vintage / "2.6.5" / case / "io.npz") as arrays:
        batch = (arrays["tx_0"], arrays["ty_0"])
        inputs = arrays["in_0"]
    function = "keras_models.load_predict_train"
    expected = peer.call(function, path, inputs, [batch])
    received = peer.call(function, tmp_path / "model.h5", inputs, [batch])
    assert received["iterations"] == expected["iterations"] > 0
    for name in ("predictions", "predictions_after"):
        np.testing.assert_array_equal(received[name], expected[name])
