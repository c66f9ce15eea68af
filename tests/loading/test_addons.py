"""Files compiled with TensorFlow Addons compute, and train on, as they did there."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import regraft
from data.addons import corpus

BATCH = 4
FILES = corpus.files()
# Where there are both files of a model the SavedModel shows the most.
CASES = [
    pytest.param(name, marks=pytest.mark.slow)
    if name.removesuffix(".h5") in {*FILES} - {name}
    else name
    for name in FILES
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus.unpack(tmp_path_factory.mktemp("addons"))


def agrees(model: keras.Model, expected: np.lib.npyio.NpzFile, when: str) -> None:
    x, y = expected["x"], expected["y"]
    outputs, values = ("next", "next_values") if when else ("out", "values")
    found = model.evaluate(x, y, batch_size=BATCH, verbose=0, return_dict=True)
    assert sorted(found) == list(expected["names"])
    flat = np.concatenate([np.ravel(found[name]) for name in sorted(found)])
    close = {"rtol": 1e-5, "atol": 2e-6}
    np.testing.assert_allclose(flat, expected[values], **close)
    predicted = model.predict(x, verbose=0)
    np.testing.assert_allclose(predicted, expected[outputs], **close)


@pytest.mark.parametrize("name", CASES)
def test_the_next_step_is_the_same(name: str, folder: Path, tmp_path: Path) -> None:
    expected = np.load(folder / f"{name.removesuffix('.h5')}.npz")
    model = regraft.load_model(folder / name)
    assert regraft.load_report(model).notes == []
    regraft.save_model(model, tmp_path / name)
    again = regraft.load_model(tmp_path / name)
    agrees(model, expected, "")
    for each in (model, again):
        each.train_on_batch(expected["x"][:BATCH], expected["y"][:BATCH])
        agrees(each, expected, "next")


def test_losses_that_nothing_reduces_give_one_value_for_each_row(folder: Path) -> None:
    model = regraft.load_model(folder / "loss_of_each.h5")
    expected = np.load(folder / "loss_of_each.npz")
    found = np.asarray(model.loss(expected["y"], expected["out"]))
    by_row = np.mean(np.square(expected["y"] - expected["out"]), axis=-1)
    np.testing.assert_allclose(found, by_row, rtol=1e-5)
    focal = regraft.load_model(folder / "loss_focal").loss
    rows = np.full((4, 3), 0.5, "float32")
    assert focal(rows, rows).shape == (4,)
