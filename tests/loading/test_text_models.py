"""Models that read text: every kind of data, training, nesting, saving again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import jax
import keras
import numpy as np
import pytest

import regraft
from data.vintage import corpus
from peer import Peer
from regraft.errors import MismatchError, UnsupportedError

COUNT = 12
WORDS = np.array([["the dog"], ["A CAT ran."], ["unknown words"], [""]] * 3)
CATS = np.array([["red"], ["blue"], ["pink"], ["green"]] * 3)
NUMBERS = np.linspace(-2, 2, 3 * COUNT, dtype="float32").reshape(COUNT, 3)
TARGETS = np.linspace(0, 1, 2 * COUNT, dtype="float32").reshape(COUNT, 2)


@pytest.fixture(scope="module")
def path(vintage: Path) -> Path:
    return corpus.Case("2.21.0", "text_and_tables", "saved_model_notraces").path(
        vintage
    )


@pytest.fixture
def model(path: Path) -> keras.Model:
    model = regraft.load_model(path)
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def _data() -> list[Any]:
    return [WORDS, CATS, NUMBERS]


FORMS: dict[str, Callable[[], Any]] = {
    "unicode": _data,
    "bytes": lambda: [np.char.encode(WORDS), np.char.encode(CATS), NUMBERS],
    "objects": lambda: (WORDS.astype(object), CATS.astype(object), NUMBERS),
    "lists": lambda: [WORDS.tolist(), CATS.tolist(), NUMBERS.tolist()],
    "flat lists": lambda: [WORDS[:, 0].tolist(), CATS[:, 0].tolist(), NUMBERS],
    "dict": lambda: {"num": NUMBERS, "words": WORDS, "cat": CATS[:, 0].tolist()},
}


@pytest.mark.parametrize("form", FORMS)
def test_text_is_taken_in_every_form(model: keras.Model, form: str) -> None:
    expected = model.predict(_data(), verbose=0)
    found = model.predict(FORMS[form](), batch_size=5, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(model(FORMS[form]()), expected, atol=1e-6)
    np.testing.assert_allclose(
        model.predict_on_batch(FORMS[form]()), expected, atol=1e-6
    )


def _batches() -> Iterator[tuple[Any, Any]]:
    for start in range(0, COUNT, 4):
        rows = slice(start, start + 4)
        yield tuple(part[rows] for part in _data()), TARGETS[rows]


class _Dataset(keras.utils.PyDataset):
    def __len__(self) -> int:
        return COUNT // 4

    def __getitem__(self, index: int) -> Any:
        return list(_batches())[index]


class _Iterable:
    """As `tf.data`: anew for each epoch, and it knows its length."""

    def __iter__(self) -> Iterator[Any]:
        return _batches()

    def __len__(self) -> int:
        return COUNT // 4


def test_all_kinds_of_data_train_alike(path: Path) -> None:
    kinds: dict[str, Callable[[keras.Model], Any]] = {
        "arrays": lambda m: m.fit(
            _data(), TARGETS, batch_size=4, epochs=2, shuffle=False, verbose=0
        ),
        "dataset": lambda m: m.fit(_Dataset(), epochs=2, shuffle=False, verbose=0),
        "iterable": lambda m: m.fit(_Iterable(), epochs=2, verbose=0),
        "generator": lambda m: m.fit(
            (batch for _ in range(2) for batch in _batches()),
            epochs=2,
            steps_per_epoch=3,
            verbose=0,
        ),
        "batches": lambda m: [
            m.train_on_batch(list(x), y) for _ in range(2) for x, y in _batches()
        ],
    }
    weights = {}
    for kind, train in kinds.items():
        model = regraft.load_model(path)
        model.compile("sgd", "mse")
        train(model)
        weights[kind] = model.get_weights()
    for kind in kinds:
        for one, other in zip(weights["arrays"], weights[kind], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6, err_msg=kind)


def test_fit_validates_weighs_and_calls_back(model: keras.Model) -> None:
    seen: list[dict[str, float]] = []

    class Note(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(dict(logs))

    split = model.fit(
        _data(), TARGETS, epochs=2, validation_split=0.25, verbose=0, callbacks=[Note()]
    )
    assert len(seen) == 2
    assert {"loss", "mae", "val_loss", "val_mae"} <= split.history.keys()

    rest = slice(9, None)
    loss = model.evaluate([part[rest] for part in _data()], TARGETS[rest], verbose=0)
    assert loss[0] == pytest.approx(split.history["val_loss"][-1], rel=1e-5)

    weights = np.zeros(COUNT, "float32")
    before = model.get_weights()
    model.fit(_data(), TARGETS, sample_weight=weights, verbose=0)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # Keras before 3.14 reports the mean since the last reset.
    model.reset_metrics()
    logs = model.test_on_batch(_data(), TARGETS, return_dict=True)
    whole = model.evaluate(_data(), TARGETS, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(whole["loss"], rel=1e-5)


def test_wrong_data_is_refused_by_name(model: keras.Model) -> None:
    with pytest.raises(MismatchError, match="'words' takes text"):
        model.predict([NUMBERS[:, :1], CATS, NUMBERS], verbose=0)
    with pytest.raises(MismatchError, match="takes 3 inputs"):
        model.predict([WORDS, CATS], verbose=0)
    with pytest.raises(MismatchError, match="input 'cat'"):
        model.predict({"words": WORDS, "num": NUMBERS}, verbose=0)
    with pytest.raises(MismatchError, match="same number of samples"):
        model.predict([WORDS[:5], CATS, NUMBERS], verbose=0)


def test_saved_and_loaded_again_and_again(
    model: keras.Model, tmp_path: Path, peer: Peer
) -> None:
    model.fit(_data(), TARGETS, verbose=0)
    expected = model.predict(_data(), verbose=0)
    for round_ in range(3):
        target = tmp_path / f"model_{round_}{'.h5' if round_ == 1 else ''}"
        regraft.save_model(model, target)
        model = regraft.load_model(target)
        np.testing.assert_array_equal(model.predict(_data(), verbose=0), expected)
    served = peer.call(
        "text_layers.serve", target, {"words": WORDS, "cat": CATS, "num": NUMBERS}
    )
    np.testing.assert_allclose(served["dense"], expected, atol=1e-6)
    assert model.get_layer("string_lookup_1").get_vocabulary() == [
        *("[UNK]", "red", "green", "blue")
    ]


def test_own_signature_takes_text(model: keras.Model, tmp_path: Path) -> None:
    def shout(words: Any, cat: Any) -> dict[str, Any]:
        number = keras.ops.zeros((keras.ops.shape(words)[0], 3))
        return {"score": 2 * model([words, cat, number])}

    signature = regraft.export_signature(
        shout,
        {
            "words": keras.KerasTensor((None, 1), "string"),
            "cat": keras.KerasTensor((None, 1), "string"),
        },
    )
    regraft.save_model(model, tmp_path / "model", signatures={"shout": signature})

    found = regraft.load(tmp_path / "model").signatures["shout"](words=WORDS, cat=CATS)
    expected = 2 * model.predict([WORDS, CATS, 0 * NUMBERS], verbose=0)
    np.testing.assert_allclose(found["score"], expected, atol=1e-6)


INPUTS: dict[str, Any] = {
    "sequential": WORDS,
    "nested": {
        "words": np.array([["red", "x"], ["blue", "red"]] * 6),
        "others": np.array([["blue", "blue"], ["", "y"]] * 6),
        "number": NUMBERS,
    },
    "behind": [NUMBERS, CATS],
}


@pytest.mark.parametrize("name", INPUTS)
def test_models_compute_and_train_as_in_tf_keras(
    peer: Peer, tmp_path: Path, name: str
) -> None:
    data = INPUTS[name]
    before, after = peer.call(
        "text_layers.train", name, tmp_path / "model", data, TARGETS
    )

    model = regraft.load_model(tmp_path / "model")

    _check(keras.tree.flatten(model.predict(data, batch_size=5, verbose=0)), before)
    _check(keras.tree.flatten(model(data)), before)
    if len(before) == 1:
        model.train_on_batch(data, TARGETS)
        _check(keras.tree.flatten(model.predict(data, verbose=0)), after)
        model.fit(data, TARGETS, epochs=1, batch_size=5, verbose=0)
        expected = [model.predict(data, verbose=0)]
    else:
        expected = before
    regraft.save_model(model, tmp_path / "again")
    again = regraft.load_model(tmp_path / "again")
    _check(keras.tree.flatten(again.predict(data, verbose=0)), expected)


def _check(found: list[Any], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        if other.dtype.kind in "SUO":
            assert np.asarray(one).tolist() == other.tolist()
        else:
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_model_built_around_text_layers_takes_text(
    model: keras.Model, tmp_path: Path
) -> None:
    features = model.get_layer("concatenate").output
    new = keras.Model(model.inputs, keras.layers.Dense(2)(features))

    assert regraft.accept_text(new) is new
    new.compile("sgd", "mse")
    new.fit(_data(), TARGETS, verbose=0)
    expected = new.predict(_data(), verbose=0)

    new.save(tmp_path / "new.keras")
    again = regraft.load_model(tmp_path / "new.keras")
    np.testing.assert_array_equal(again.predict(_data(), verbose=0), expected)


def test_vocabulary_file_of_a_config_is_never_opened(
    path: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "words.txt"
    secret.write_text("red\ngreen\nblue\n")
    saved = tmp_path / "model.h5"
    regraft.save_model(regraft.load_model(path), saved)
    with h5py.File(saved, "r+") as file:
        del file.attrs["regraft"]
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "StringLookup":
                layer["config"]["vocabulary"] = str(secret)
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(UnsupportedError, match=r"string_lookup_1.*doesn't open"):
        regraft.load_model(saved)


@pytest.mark.parametrize("eager", [False, True])
def test_subclassed_model_without_its_class_reads_text(
    peer: Peer, tmp_path: Path, eager: bool
) -> None:
    texts = np.array([["a b"], ["c"], ["b"], ["a a a"]])
    targets = np.arange(8, dtype="float32").reshape(4, 2)
    before, after = peer.call(
        "text_layers.subclassed", tmp_path / "model", texts, targets
    )

    model = regraft.load_model(tmp_path / "model")

    assert "read text" in " ".join(regraft.load_report(model).notes)
    np.testing.assert_allclose(model(texts), before, atol=1e-6)
    np.testing.assert_allclose(model.predict(texts, verbose=0), before, atol=1e-6)
    as_list = texts[:, 0].tolist()
    np.testing.assert_allclose(model.predict(as_list, verbose=0), before, atol=1e-6)
    if eager:
        loss = model.train_on_batch(texts, targets)
    else:
        loss = model.fit(texts, targets, batch_size=4, verbose=0).history["loss"][0]
    np.testing.assert_allclose(loss, np.mean((before - targets) ** 2), rtol=1e-5)
    np.testing.assert_allclose(model.predict(texts, verbose=0), after, atol=1e-6)
    found = model.evaluate(texts, targets, verbose=0)
    np.testing.assert_allclose(found, np.mean((after - targets) ** 2), rtol=1e-5)
    split = model.fit(texts, targets, validation_split=0.5, verbose=0)
    assert set(split.history) == {"loss", "val_loss"}
    served = regraft.load(tmp_path / "model").signatures["serving_default"](texts)
    np.testing.assert_allclose(served["output_1"], before, atol=1e-6)


def test_subclassed_text_model_can_not_be_compiled(peer: Peer, tmp_path: Path) -> None:
    texts = np.array([["a b"], ["c"]])
    targets = np.zeros((2, 2), "float32")
    peer.call("text_layers.subclassed", tmp_path / "model", texts, targets)
    model = regraft.load_model(tmp_path / "model")
    with pytest.raises(UnsupportedError, match=r"run_eagerly.*'Subclassed'"):
        jax.jit(model)(np.zeros((2, 1), "uint32"))


@pytest.mark.parametrize(
    "name",
    [
        *("functional", "subclassed", "hashed_alone", "indexed"),
        *("counted", "counted_subclassed"),
    ],
)
def test_own_text_layers_keep_their_functions_in_every_file(
    peer: Peer, tmp_path: Path, name: str
) -> None:
    theirs = peer.call("own_text.save", name, str(tmp_path / "m0"))
    given, targets = theirs["inputs"], theirs["targets"]
    for round_ in range(3):
        model = regraft.load_model(tmp_path / f"m{round_}")
        regraft.save_model(model, tmp_path / f"m{round_ + 1}")
        # In this order: tables count calls.
        np.testing.assert_allclose(model(given), theirs["outputs"], atol=1e-6)
        found = model.predict(given, verbose=0)
        np.testing.assert_allclose(found, theirs["predicted"], atol=1e-6)
        loss = model.evaluate(given, targets, verbose=0)
        np.testing.assert_allclose(loss, theirs["evaluated"], rtol=1e-5)
        loss = model.train_on_batch(given, targets)
        np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
        found = model.predict(given, verbose=0)
        # What Adam makes of gradients that are rounding alone.
        np.testing.assert_allclose(found, theirs["after"], atol=2e-4)
    again = peer.call("own_text.read", str(tmp_path / "m3"), given, targets)
    for key, value in again.items():
        np.testing.assert_allclose(value, theirs[key], rtol=1e-6, err_msg=key)
    notes = [
        regraft.load_report(regraft.load_model(tmp_path / f"m{i}")).notes
        for i in (1, 3)
    ]
    assert notes[0] == notes[1]
    for name in ("saved_model.pb", "keras_metadata.pb"):
        sizes = [(tmp_path / f"m{i}" / name).stat().st_size for i in (2, 3)]
        assert sizes[0] == sizes[1]


def test_tables_that_functions_write_are_saved_with_what_they_hold(
    peer: Peer, tmp_path: Path
) -> None:
    theirs = peer.call("own_text.save", "counted", str(tmp_path / "m"))
    given, targets = theirs["inputs"], theirs["targets"]
    model = regraft.load_model(tmp_path / "m")
    shapes = [weight.shape for weight in model.get_layer("counted").weights]
    assert shapes == [(2,)]
    for _ in range(3):
        model.predict(given, verbose=0)

    regraft.save_model(model, tmp_path / "again")

    words = {"color": given[0], "number": given[1]}
    served = peer.call("text_layers.serve", tmp_path / "again", words)
    ours = regraft.load(tmp_path / "again").signatures["serving_default"](**words)
    expected = {
        "outputs": model(given),
        "predicted": model.predict(given, verbose=0),
        "evaluated": model.evaluate(given, targets, verbose=0),
        "loss": model.train_on_batch(given, targets),
        "after": model(given),
    }
    for found in (served["last"], ours["last"]):
        np.testing.assert_allclose(found, expected["outputs"], rtol=1e-6)
    again = peer.call("own_text.read", str(tmp_path / "again"), given, targets)
    for key, value in again.items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-5, err_msg=key)


def test_own_text_layer_of_a_network_is_called_by_itself(
    peer: Peer, tmp_path: Path
) -> None:
    theirs = peer.call("own_text.save", "sequential", str(tmp_path / "m"))
    model = regraft.load_model(tmp_path / "m")

    (note,) = regraft.load_report(model).notes
    assert "'averaged' layer's functions read text, so that it runs step by" in note
    assert isinstance(model, keras.Sequential)
    averaged, last = model.layers
    found = last(averaged(theirs["inputs"]))
    np.testing.assert_allclose(found, theirs["outputs"], atol=1e-6)
    part = regraft.accept_text(keras.Model(model.inputs, averaged.output))
    part.run_eagerly = True
    found = last(part.predict(theirs["inputs"], verbose=0))
    np.testing.assert_allclose(found, theirs["outputs"], atol=1e-6)


def test_summary_and_config_are_there(model: keras.Model, tmp_path: Path) -> None:
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert "text_vectorization" in "\n".join(lines)
    config = model.get_layer("text_vectorization").get_config()
    assert config["vocabulary"][:2] == ["the", "ran"]
    shutil.rmtree(tmp_path)
