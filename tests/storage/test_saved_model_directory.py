"""Directories of SavedModels, read and written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from regraft.errors import FormatError, UnsafeFileError, UnsupportedError
from regraft.storage import proto
from regraft.storage.proto import messages
from regraft.storage.saved_model_directory import (
    is_saved_model_directory,
    new_saved_model_directory,
    read_saved_model_directory,
    write_saved_model_directory,
)


@pytest.fixture
def saved_model():
    model = messages.SavedModel(saved_model_schema_version=1)
    model.meta_graphs.add().meta_info_def.tags.append("serve")
    return model


@pytest.fixture
def tensors():
    return {
        "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"graph", object),
    }


def files_of(root):
    """All files below `root` with what they hold."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in Path(root).rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("where", ["local", "memory"])
def test_what_is_written_is_read_again(where, tmp_path, saved_model, tensors):
    path = tmp_path / "a" / "model" if where == "local" else "memory://a/model"
    metadata = messages.KerasSavedMetadata()
    metadata.nodes.add(node_id=1, metadata="{}")
    fingerprint = messages.FingerprintDef(graph_def_program_hash=2**63)
    write_saved_model_directory(
        path,
        saved_model=saved_model,
        keras_metadata=metadata,
        tensors=tensors,
        assets={"words/vocabulary.txt": b"a\nb\n"},
        fingerprint=fingerprint,
    )
    assert is_saved_model_directory(path)
    read = read_saved_model_directory(path)
    assert read.saved_model == saved_model
    assert read.keras_metadata == metadata
    assert read.fingerprint == fingerprint
    assert read.debug_info is None
    assert read.read_asset("words/vocabulary.txt") == b"a\nb\n"
    np.testing.assert_array_equal(read.variables["kernel"].read(), tensors["kernel"])
    assert read.variables["_CHECKPOINTABLE_OBJECT_GRAPH"].read()[()] == b"graph"


def test_tensors_may_come_one_by_one_and_report_progress(tmp_path, saved_model):
    def generate():
        for index in range(3):
            yield f"t{index}", np.zeros(index, np.float32)

    write_saved_model_directory(
        tmp_path / "m", saved_model=saved_model, tensors=generate()
    )
    assert len(read_saved_model_directory(tmp_path / "m").variables) == 3
    calls = []
    write_saved_model_directory(
        tmp_path / "m",
        saved_model=saved_model,
        tensors=generate(),
        progress=lambda *step: calls.append(step),
    )
    assert calls == [("tensors", 0, 12), ("tensors", 4, 12), ("tensors", 12, 12)]


def test_identical_models_give_identical_bytes(tmp_path, saved_model, tensors):
    for name in ("first", "second"):
        write_saved_model_directory(
            tmp_path / name, saved_model=saved_model, tensors=tensors
        )
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")


def test_failing_save_leaves_the_old_model(tmp_path, saved_model, tensors):
    path = tmp_path / "model"
    write_saved_model_directory(path, saved_model=saved_model, tensors=tensors)
    before = files_of(tmp_path)
    with pytest.raises(TypeError):
        write_saved_model_directory(
            path,
            saved_model=saved_model,
            tensors={"kernel": np.array([object()], object)},
        )
    assert files_of(tmp_path) == before


def test_save_replaces_the_model_and_keeps_other_files(tmp_path, saved_model, tensors):
    path = tmp_path / "model"
    write_saved_model_directory(
        path, saved_model=saved_model, tensors=tensors, assets={"old.txt": b"old"}
    )
    (path / "README.md").write_text("mine")
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / "notes.txt").write_text("mine too")
    (path / "saved_model.pbtxt").write_text("old")
    write_saved_model_directory(path, saved_model=saved_model)
    assert sorted(files_of(path)) == [
        "README.md",
        "assets.extra/notes.txt",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]
    assert os.listdir(tmp_path) == ["model"]


def test_text_format_is_read(tmp_path, saved_model):
    text = proto.serialize_text(saved_model)
    (tmp_path / "saved_model.pbtxt").write_text(text)
    read = read_saved_model_directory(tmp_path)
    assert read.saved_model == saved_model
    assert read.variables is None


def test_binary_format_counts_where_both_are_there(tmp_path, saved_model):
    (tmp_path / "saved_model.pbtxt").write_text("broken {")
    (tmp_path / "saved_model.pb").write_bytes(proto.serialize(saved_model))
    assert read_saved_model_directory(tmp_path).saved_model == saved_model


def test_chunked_model_is_unsupported(tmp_path):
    (tmp_path / "saved_model.cpb").write_bytes(b"riegeli")
    assert is_saved_model_directory(tmp_path)
    with pytest.raises(UnsupportedError, match="experimental_image_format"):
        read_saved_model_directory(tmp_path)


def test_missing_files_are_named(tmp_path, saved_model, tensors):
    with pytest.raises(FileNotFoundError, match="No SavedModel there"):
        read_saved_model_directory(tmp_path)
    path = tmp_path / "model"
    write_saved_model_directory(path, saved_model=saved_model, tensors=tensors)
    (path / "variables" / "variables.index").unlink()
    with pytest.raises(FormatError, match=r"variables\.index"):
        read_saved_model_directory(path)
    write_saved_model_directory(path, saved_model=saved_model, tensors=tensors)
    (path / "variables" / "variables.data-00000-of-00001").unlink()
    with pytest.raises(FormatError, match="Data file of the bundle is missing"):
        read_saved_model_directory(path)


def test_model_without_meta_graph_is_a_format_error(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(FormatError, match="no meta graph"):
        read_saved_model_directory(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/../../x", "a//b", "", ".", "C:\\x", "c:x", "a\0b"],
)
def test_asset_name_that_leads_out_is_unsafe(name, tmp_path, saved_model):
    path = tmp_path / "model"
    write_saved_model_directory(path, saved_model=saved_model)
    with pytest.raises(UnsafeFileError):
        read_saved_model_directory(path).asset_path(name)
    with pytest.raises(UnsafeFileError):
        write_saved_model_directory(
            tmp_path / "new", saved_model=saved_model, assets={name: b""}
        )
    assert os.listdir(tmp_path) == ["model"]


def test_asset_behind_a_link_that_leads_out_is_unsafe(tmp_path, saved_model):
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "model"
    write_saved_model_directory(path, saved_model=saved_model, assets={"a": b"a"})
    (path / "assets" / "link").symlink_to(tmp_path / "secret")
    (path / "assets" / "parent").symlink_to(tmp_path)
    (path / "assets" / "inside").symlink_to("a")
    read = read_saved_model_directory(path)
    for name in ("link", "parent/secret"):
        with pytest.raises(UnsafeFileError, match="leads out"):
            read.read_asset(name)
    assert read.read_asset("inside") == b"a"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="The system has no pipes.")
def test_named_pipe_is_never_read(tmp_path):
    os.mkfifo(tmp_path / "saved_model.pb")
    with pytest.raises(FileNotFoundError):
        read_saved_model_directory(tmp_path)


def test_an_error_after_the_tensors_leaves_the_old_model(tmp_path):
    path = tmp_path / "model"
    old = messages.SavedModel(saved_model_schema_version=1)
    old.meta_graphs.add()
    write_saved_model_directory(path, saved_model=old, tensors={"a": np.zeros(3)})
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}

    def write():
        with new_saved_model_directory(path) as writer:
            writer.add_tensors([("a", np.ones(1 << 20))])
            raise KeyError("no function")

    with pytest.raises(KeyError, match="no function"):
        write()
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
