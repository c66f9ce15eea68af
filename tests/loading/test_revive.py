"""Layers and models without their classes run, train and are saved again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import regraft
from data.vintage import corpus
from peer import Peer
from regraft.errors import UnsupportedError

CASES = [
    case
    for case in corpus.cases()
    if case.format == "saved_model"
    and case.name in ("custom_layer", "subclassed_model")
    and case.version in ("2.3.4", "2.21.0")
]


def _arrays(case: corpus.Case, root: Path) -> dict[str, np.ndarray]:
    with np.load(case.arrays(root)) as file:
        return dict(file)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_saved_and_loaded_again_and_again_it_stays_the_same(
    case: corpus.Case, vintage: Path, tmp_path: Path
) -> None:
    arrays = _arrays(case, vintage)
    model = regraft.load_model(case.path(vintage))
    for round_number in range(2):
        path = tmp_path / str(round_number)
        regraft.save_model(model, path)
        model = regraft.load_model(path)
    found = model.predict(arrays["in_0"], verbose=0)
    np.testing.assert_allclose(found, arrays["out_0"], rtol=1e-5, atol=1e-6)
    model.train_on_batch(arrays["tx_0"], arrays["ty_0"])
    found = model.predict(arrays["in_0"], verbose=0)
    np.testing.assert_allclose(found, arrays["next_0"], atol=1e-4)


@pytest.mark.parametrize("case", CASES[-2:], ids=lambda case: case.id)
def test_tf_keras_opens_it_without_the_classes(
    case: corpus.Case, vintage: Path, tmp_path: Path, peer: Peer
) -> None:
    arrays = _arrays(case, vintage)
    regraft.save_model(regraft.load_model(case.path(vintage)), tmp_path / "m")
    steps = [(arrays["tx_0"], arrays["ty_0"])]
    theirs = peer.call(
        "keras_models.load_predict_train", str(tmp_path / "m"), arrays["in_0"], steps
    )
    np.testing.assert_allclose(
        theirs["predictions"][0], arrays["out_0"], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        theirs["predictions_after"][0], arrays["next_0"], atol=1e-4
    )


def test_layer_keeps_its_name_weights_config_and_flags(vintage: Path) -> None:
    (case,) = [c for c in CASES if c.id == "2.21.0-custom_layer-saved_model"]
    model = regraft.load_model(case.path(vintage))
    layer = model.get_layer("gated_scale")
    assert tuple(layer.w.shape) == (6, 5)
    assert tuple(layer.g.shape) == (5,)
    assert not layer.count.trainable
    assert layer.get_config()["units"] == 5
    before = float(layer.count.value)
    arrays = _arrays(case, vintage)
    model.train_on_batch(arrays["tx_0"], arrays["ty_0"])
    assert float(layer.count.value) == before + 1
    training = layer(arrays["in_0"], training=True)
    inference = layer(arrays["in_0"], training=False)
    assert np.abs(np.asarray(training) - np.asarray(inference)).max() > 1e-3
    report = regraft.load_report(model)
    (entry,) = [found for found in report.layers if found.name == "gated_scale"]
    assert (entry.class_name, entry.source) == ("GatedScale", "traces")
    model.summary(print_fn=lambda text, line_break=True: None)
    assert len(model.get_weights()) == len(model.weights)


def test_layers_without_any_config_are_found_by_their_place(
    peer: Peer, tmp_path: Path
) -> None:
    inputs = np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3)
    expected = peer.call(
        "keras_models.save_layers_without_config", tmp_path / "model", inputs
    )
    model = regraft.load_model(tmp_path / "model")
    np.testing.assert_allclose(model.predict(inputs, verbose=0), expected, rtol=1e-5)
    regraft.save_model(model, tmp_path / "again")
    again = regraft.load_model(tmp_path / "again")
    np.testing.assert_allclose(again.predict(inputs, verbose=0), expected, rtol=1e-5)


def test_model_whose_config_lost_operands_runs_from_its_traces(
    tmp_path: Path, peer: Peer
) -> None:
    """Keras 2 can't open these: it keeps no tensor that is one of `*args`."""
    rng = np.random.default_rng(4)
    inputs = [rng.normal(size=(6, n, 4)).astype("float32") for n in (3, 5)]
    batch = rng.normal(size=(6, 1)).astype("float32")
    path, hdf5 = tmp_path / "model", tmp_path / "model.h5"
    before, after = peer.call(
        "keras_models.save_lost_operands", str(path), str(hdf5), inputs, batch
    )
    model = regraft.load_model(path)
    np.testing.assert_allclose(
        model.predict(inputs, verbose=0), before, rtol=1e-5, atol=1e-6
    )
    model.train_on_batch(inputs, batch)
    np.testing.assert_allclose(
        model.predict(inputs, verbose=0), after, rtol=1e-4, atol=1e-5
    )
    assert model.get_layer("queries").kernel.shape == (4, 2)
    (note,) = regraft.load_report(model).notes
    assert "from its traced functions" in note
    assert "tf.einsum" in note
    with pytest.raises(UnsupportedError, match=r"tf\.einsum"):
        regraft.load_model(hdf5)
    regraft.save_model(model, tmp_path / "again")
    again = regraft.load_model(tmp_path / "again")
    np.testing.assert_allclose(
        again.predict(inputs, verbose=0), after, rtol=1e-4, atol=1e-5
    )
