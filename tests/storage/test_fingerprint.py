"""Fingerprints are those that TensorFlow computes."""

from __future__ import annotations

import random

import keras

import regraft
from data.vintage import corpus
from regraft.storage.farmhash import fingerprint64
from regraft.storage.fingerprint import VERSION, fingerprint_of
from regraft.storage.map_order import serialized
from regraft.storage.proto import messages, parse
from regraft.storage.saved_model_directory import read_saved_model_directory

HASHES = (
    "saved_model_checksum",
    "graph_def_program_hash",
    "signature_def_hash",
    "saved_object_graph_hash",
    "checkpoint_hash",
)


def _hashes(message):
    return {name: getattr(message, name) for name in HASHES}


def test_fingerprints_of_the_corpus_are_those_that_tensorflow_wrote(vintage):
    count = 0
    for path in sorted(vintage.rglob("fingerprint.pb")):
        written = parse(messages.FingerprintDef, path.read_bytes())
        if written.version.producer != VERSION:
            continue
        saved_model = read_saved_model_directory(path.parent).saved_model
        index = path.parent / "variables" / "variables.index"
        found = fingerprint_of(saved_model, index.read_bytes())
        assert found is not None
        assert _hashes(found) == _hashes(written), path
        count += 1
    assert count > 5


def _dense():
    return keras.Sequential(
        [keras.Input((3,), name="x"), keras.layers.Dense(2), keras.layers.Dropout(0.5)]
    )


def _normalized():
    return keras.Sequential(
        [keras.Input((3,), name="x"), keras.layers.BatchNormalization()]
    )


def test_both_runtimes_write_functions_with_several_updates_alike(tmp_path):
    regraft.save_model(_normalized(), tmp_path / "m")
    model = read_saved_model_directory(tmp_path / "m").saved_model
    functions = model.meta_graphs[0].graph_def.library.function
    assert max(len(function.control_ret) for function in functions) > 1
    content = (tmp_path / "m" / "saved_model.pb").read_bytes()
    assert serialized(model, content) is content


def test_tensorflow_agrees_about_our_files(peer, tmp_path, vintage):
    regraft.save_model(_dense(), tmp_path / "traced")
    regraft.save_model(_normalized(), tmp_path / "updated")
    regraft.save_model(_dense(), tmp_path / "config", save_traces=False)
    # Written by TensorFlow, so that its functions have attributes of arguments.
    found = next(
        case.path(vintage)
        for case in reversed(corpus.cases())
        if (case.name, case.format) == ("custom_layer", "saved_model")
    )
    regraft.save_model(regraft.load_model(found), tmp_path / "revived")
    for name in ("traced", "updated", "config", "revived"):
        written, computed = peer.call(
            "saved_functions.fingerprints", str(tmp_path / name)
        )
        assert written == computed, name


def test_equal_models_have_equal_fingerprints(tmp_path):
    for name in ("one", "other"):
        keras.utils.clear_session()
        keras.utils.set_random_seed(1)
        regraft.save_model(_dense(), tmp_path / name)
    files = [tmp_path / name / "fingerprint.pb" for name in ("one", "other")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert parse(messages.FingerprintDef, files[0].read_bytes()).uuid.isdigit()


def test_hashes_of_any_length_are_farmhash(peer):
    source = random.Random(3)
    texts = [source.randbytes(n) for n in [*range(0, 260, 3), 1000, 4096, 5001]]
    expected = peer.call("saved_functions.farmhash", texts)
    assert [fingerprint64(text) for text in texts] == expected
