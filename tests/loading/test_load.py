"""`regraft.load`: SavedModels of any origin are called, trained and looked into."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import regraft
from data.vintage import corpus
from peer import Peer
from regraft import _compat
from regraft.errors import MismatchError

SESSION_STYLE = [case for case in corpus.cases() if case.name == "session_style"]
OBJECTS = [
    case
    for case in corpus.cases()
    if case.format == "saved_model" and case.name in ("convnet", "custom_layer")
]


def _inputs_and_outputs(case: corpus.Case, root: Path) -> list[np.ndarray]:
    with np.load(case.arrays(root)) as file:
        arrays = dict(file)
    return [value for key, value in arrays.items() if key.startswith(("in_", "out_"))]


@pytest.mark.parametrize("case", SESSION_STYLE + OBJECTS, ids=lambda case: case.id)
def test_signature_gives_what_its_writer_computed(
    case: corpus.Case, vintage: Path
) -> None:
    loaded = regraft.load(case.path(vintage))
    inputs, outputs = _inputs_and_outputs(case, vintage)
    (signature,) = loaded.signatures.values()
    (name,) = signature.inputs
    for found in (
        signature(inputs),
        signature({name: inputs}),
        signature(**{name: inputs}),
    ):
        (values,) = found.values()
        np.testing.assert_allclose(values, outputs, rtol=1e-5, atol=1e-6)
    assert "serving_default" in repr(loaded)


@pytest.mark.parametrize("case", SESSION_STYLE[:1] + OBJECTS[:1], ids=lambda c: c.id)
def test_signature_as_a_layer_trains(case: corpus.Case, vintage: Path) -> None:
    loaded = regraft.load(case.path(vintage))
    inputs, outputs = _inputs_and_outputs(case, vintage)
    entry = keras.Input(inputs.shape[1:])
    model = keras.Model(entry, loaded.as_layer()(entry))
    np.testing.assert_allclose(
        model.predict(inputs, verbose=0), outputs, rtol=1e-5, atol=1e-6
    )
    before = [np.array(v.value) for v in loaded.variables if v.trainable]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    losses = model.fit(inputs, np.zeros_like(outputs), epochs=4, verbose=0).history
    assert losses["loss"][-1] < losses["loss"][0]
    after = [np.array(v.value) for v in loaded.variables if v.trainable]
    assert any(np.abs(a - b).max() > 0 for a, b in zip(after, before, strict=True))


def test_module_shows_its_objects_and_functions(tmp_path: Path, peer: Peer) -> None:
    peer.call("modules.save_module", tmp_path / "module")
    loaded = regraft.load(tmp_path / "module")
    np.testing.assert_array_equal(loaded.scale, [2.0, 3.0])
    ones = np.ones((2, 2), "float32")
    np.testing.assert_array_equal(loaded.double(ones)["y"], [[2, 3], [2, 3]])
    found = loaded.signatures["serving_default"](x=ones)
    np.testing.assert_array_equal(found["y"], [[2, 3], [2, 3]])
    with pytest.raises(AttributeError, match="triple"):
        _ = loaded.triple


def test_model_that_was_never_called_shows_and_runs_its_own_functions(
    tmp_path: Path, peer: Peer
) -> None:
    expected = peer.call("modules.save_stepper", tmp_path / "stepper")
    loaded = regraft.load(tmp_path / "stepper")
    assert ".step(texts, state=None)" in repr(loaded)
    assert regraft.inspect(tmp_path / "stepper").callables == ("step",)
    first = loaded.step(np.array(["a", "word"], object))
    found = loaded.step(np.array(["some", "more"], object), state=first)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(MismatchError, match=r"`regraft\.load`.*: step\."):
        regraft.load_model(tmp_path / "stepper")


def test_list_of_texts_is_filled_with_empty_ones(tmp_path: Path, peer: Peer) -> None:
    expected = peer.call("modules.save_list_of_texts", tmp_path / "module")
    signature = regraft.load(tmp_path / "module").signatures["serving_default"]
    found = signature(x=np.array(["a", "b"], object))
    assert np.asarray(found["texts"]).tolist() == expected["texts"].tolist()
    assert expected["texts"].tolist()[0] == [b"", b""]


def test_wrong_arguments_tags_and_names_are_named(vintage: Path) -> None:
    case = SESSION_STYLE[0]
    loaded = regraft.load(case.path(vintage), tags="serve")
    with pytest.raises(MismatchError, match="serving_default"):
        loaded.signatures["serving_default"](np.zeros((2, 9), "float32"))
    with pytest.raises(ValueError, match=r"no signature 'other'.*serving_default"):
        loaded.as_layer("other")
    with pytest.raises(ValueError, match=r"tags \['gpu', 'train'\].*serve"):
        regraft.load(case.path(vintage), tags=["train", "gpu"])


def test_missing_directory_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing"):
        regraft.load(tmp_path / "nothing")


def test_text_signature_as_a_layer_trains_and_is_saved_again(
    tmp_path: Path, peer: Peer
) -> None:
    texts = np.array(["The cat sat!", "", "dog on the mat, mat"])
    targets = np.ones((3, 1), "float32")
    vectors = peer.call("modules.save_sentences", tmp_path / "module", texts)
    layer = regraft.load(tmp_path / "module").as_layer()
    np.testing.assert_allclose(layer(texts), vectors, atol=1e-6)

    entry = keras.Input((), dtype="string")
    model = keras.Model(entry, keras.layers.Dense(1)(layer(entry)))
    regraft.accept_text(model).compile(keras.optimizers.SGD(0.01), "mse")
    before = np.array(layer.trainable_variables[0].value)
    losses = model.fit(texts, targets, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]
    assert np.abs(np.array(layer.trainable_variables[0].value) - before).max() > 0

    regraft.save_model(model, tmp_path / "model")
    given = texts.astype(object)
    expected = model.predict(given, verbose=0)
    theirs = peer.call("own_text.read", str(tmp_path / "model"), given, targets)
    np.testing.assert_allclose(theirs["predicted"], expected, atol=1e-6)
    again = regraft.load_model(tmp_path / "model")
    np.testing.assert_allclose(again.predict(given, verbose=0), expected, atol=1e-6)
    loss = again.train_on_batch(given, targets)
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
    found = again.predict(given, verbose=0)
    np.testing.assert_allclose(found, theirs["after"], atol=1e-6)


def test_layer_whose_shapes_follow_from_values_runs_step_by_step(
    tmp_path: Path, peer: Peer
) -> None:
    rows = np.array([[1, 2], [-1, 3], [4, 5]], "float32")
    kept = peer.call("modules.save_shapes_of_values", tmp_path / "module", rows)
    layer = regraft.load(tmp_path / "module").as_layer()
    np.testing.assert_array_equal(layer(rows), kept)
    entry = keras.Input((2,))
    model = keras.Model(entry, layer(entry))
    regraft.accept_text(model).compile("sgd", "mse")
    np.testing.assert_array_equal(model.predict(rows, verbose=0), kept)


@pytest.mark.parametrize("names_its_op", [True, False])
def test_assets_that_old_builders_list_in_a_collection_are_found(
    tmp_path: Path, peer: Peer, names_its_op: bool
) -> None:
    """Where none is named, all ops of tables and local variables run."""
    texts = np.array(["b", "zz", "a"], object)
    expected = peer.call(
        "modules.save_session_with_asset",
        tmp_path / "m",
        texts,
        names_its_op=names_its_op,
    )
    assert set(regraft.inspect(tmp_path / "m").assets) == {"words.txt"}
    found = regraft.load(tmp_path / "m").signatures["serving_default"](texts)
    np.testing.assert_array_equal(found["rows"], expected)


def test_tables_of_files_hold_what_tensorflow_reads(tmp_path: Path, peer: Peer) -> None:
    """Lines end at line feeds alone; ids beyond 2**53 keep their last digits."""
    path = tmp_path / "module"
    words = b"a\nb\rc\nd\r\n\xff\xfe\ne\x0bf\n\r"
    ids = np.array([2**53 + 1, 2**53, -5, 7], np.int64)
    numbers = b"9007199254740993\tlong\textra\n-5\tshort\n"
    peer.call("modules.save_tables_of_files", path, words, numbers)
    asked = {
        "texts": np.array([b"b", b"b\rc", b"d", b"\xff\xfe", b"e\x0bf", b""], object),
        "ids": ids,
    }
    expected = peer.call("modules.call_signature", path, "serving_default", asked)
    found = regraft.load(path).signatures["serving_default"](**asked)
    assert found["rows"].tolist() == expected["rows"].tolist() == [-1, 1, 2, 3, 4, -1]
    assert found["names"].tolist() == expected["names"].tolist()
    assert expected["names"].tolist() == [b"long", b"none", b"short", b"none"]


@pytest.mark.parametrize("numbers", [b"7\n", b"7.5\tx\n", b"99999999999999999999\tx\n"])
def test_files_of_tables_that_fit_nothing_are_format_errors(
    tmp_path: Path, peer: Peer, numbers: bytes
) -> None:
    peer.call("modules.save_tables_of_files", tmp_path / "module", b"a\n", b"7\tx\n")
    (tmp_path / "module" / "assets" / "columns.txt").write_bytes(numbers)
    signature = regraft.load(tmp_path / "module").signatures["serving_default"]
    with pytest.raises(regraft.FormatError, match="A line of an asset"):
        signature(texts=["a"], ids=[7])


def test_what_is_built_is_not_taken_for_what_had_its_address() -> None:
    layer = keras.layers.GRU(2)
    with _compat.object_sharing(recorded=False):
        configs = [keras.saving.serialize_keras_object(layer) for _ in range(2)]
        both = keras.layers.Bidirectional(layer)
    assert not any("shared_object_id" in config for config in configs)
    assert both.backward_layer.go_backwards
