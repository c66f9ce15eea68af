"""Models as the examples of Keras' documentation build them, without their classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from peer import Peer
from promises.checks import (
    again,
    assert_same,
    assert_same_outputs,
    assert_same_step,
    assert_saves_to_the_same_bytes,
    file_of,
)
from regraft.errors import UnsupportedError

pytestmark = pytest.mark.peer


def _saved(peer: Peer, case: str, path: Path, **keywords: Any) -> dict[str, Any]:
    return peer.call("example_models.save", case, str(path), **keywords)


@pytest.mark.parametrize(
    ("loss", "arguments", "save_format"),
    [
        ("Huber", {"delta": 0.3}, "tf"),
        ("LogCosh", {}, "h5"),
        ("MeanSquaredError", {}, "h5"),
        ("Poisson", {"reduction": "sum"}, "tf"),
    ],
)
def test_loss_of_masked_sequences_is_saved_again(
    loss: str,
    arguments: dict[str, Any],
    save_format: str,
    tmp_path: Path,
    peer: Peer,
) -> None:
    ending = ".h5" if save_format == "h5" else ""
    path = tmp_path / f"m{ending}"
    keywords = {"loss": loss, "save_format": save_format, **arguments}
    theirs = _saved(peer, "masked_sequences", path, **keywords)
    model = regraft.load_model(path)
    assert_same(again(model, tmp_path / f"again{ending}"), theirs)
    assert_same(model, theirs)


@pytest.mark.parametrize("save_format", ["tf", "h5"])
@pytest.mark.parametrize("outputs", ["alone", "list", "dict"])
def test_metrics_of_a_step_heed_masks(
    outputs: str, save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(
        peer,
        "metrics_of_masked_sequences",
        path,
        outputs=outputs,
        save_format=save_format,
    )
    model = regraft.load_model(path)
    reopened = again(model, tmp_path / f"again{path.suffix}")
    for one in (reopened, model):
        logs = one.train_on_batch(*theirs["batch"], return_dict=True)
        assert logs.keys() == theirs["logs"].keys()
        for name, value in theirs["logs"].items():
            np.testing.assert_allclose(logs[name], value, rtol=1e-5, err_msg=name)
    fitted = regraft.load_model(path).fit(*theirs["batch"], verbose=0).history
    for name, value in theirs["logs"].items():
        np.testing.assert_allclose(fitted[name], [value], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("weighted", "save_format"), [(False, "tf"), (True, "tf"), (True, "h5")]
)
def test_metrics_are_weighted_by_masks(
    weighted: bool, save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(
        peer,
        "metrics_that_are_no_mean_of_a_function",
        path,
        weighted=weighted,
        save_format=save_format,
    )
    x, y = theirs["batch"]
    model = regraft.load_model(path)
    for one in (again(model, tmp_path / f"again{path.suffix}"), model):
        for weights, expected in theirs["results"].values():
            found = one.evaluate(x, y, sample_weight=weights, verbose=0)
            np.testing.assert_allclose(found, list(expected.values()), rtol=1e-5)


@pytest.mark.parametrize("save_format", ["tf", "h5"])
def test_results_are_listed_output_by_output(
    save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, "results_of_several_outputs", path, save_format=save_format)
    model = regraft.load_model(path)
    x, y = theirs["batch"]
    for one in (again(model, tmp_path / f"again{path.suffix}"), model):
        for _ in range(2):
            found = one.evaluate(x, y, verbose=0)
            np.testing.assert_allclose(found, theirs["results"], rtol=1e-5)
        found = one.test_on_batch(x, y)
        np.testing.assert_allclose(found, theirs["results"], rtol=1e-5)


def test_no_gradient_flows_through_what_a_layer_writes(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "mean_that_training_moves", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same(again(model, tmp_path / "again"), theirs)
    assert_same(model, theirs)


@pytest.mark.parametrize("shared", [False, True])
def test_weights_that_a_layer_divides_in_training_stay_divided(
    shared: bool, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(
        peer, "kernels_that_training_divides", tmp_path / "m", shared=shared
    )
    expected = {value.shape: value for value in theirs["after"]}
    model = regraft.load_model(tmp_path / "m")
    for one in (again(model, tmp_path / "again"), model):
        assert not regraft.load_report(one).notes
        assert_same_outputs(one, theirs, training=False)
        one.train_on_batch(*theirs["batch"])
        for variable in one.weights:
            np.testing.assert_allclose(
                np.asarray(variable), expected[tuple(variable.shape)], rtol=1e-5
            )
    assert_saves_to_the_same_bytes(tmp_path / "again", tmp_path)


@pytest.mark.parametrize("kind", ["reversal", "straight_through", "captured"])
def test_custom_gradients_are_those_of_the_file(
    kind: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "gradient_of_its_own", tmp_path / "m", kind=kind)
    model = regraft.load_model(tmp_path / "m")
    assert_same(again(again(model, tmp_path / "2"), tmp_path / "3"), theirs)
    assert_same(model, theirs)


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("pools", [False, True])
def test_mask_that_a_missing_class_hands_on_is_said_to_be_lost(
    pools: bool, made: bool, tmp_path: Path, peer: Peer
) -> None:
    """Losses and metrics of Keras 2 heed it; it is in no function."""
    theirs = _saved(peer, "masks_of_own_layers", tmp_path / "m", made=made, pools=pools)
    model = regraft.load_model(tmp_path / "m")
    assert_same_outputs(model, theirs, training=False)
    notes = [note for note in regraft.load_report(model).notes if "see none" in note]
    assert len(notes) == (0 if pools else 1)
    if pools:
        assert_same_step(model, theirs)


def test_loop_whose_end_values_tell_is_trained_step_by_step(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "loop_until_values_settle", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same(again(model, tmp_path / "again"), theirs)
    assert_same(model, theirs)
    assert not model.run_eagerly
    assert model.predict(theirs["inputs"], verbose=0).shape == (5, 2)
    fitted = regraft.load_model(tmp_path / "m")
    inner = regraft.load_model(tmp_path / "m")
    own = keras.Sequential([keras.Input((3,)), *inner.layers[1:]])
    own.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    for one in (fitted, own):
        one.fit(*theirs["batch"], batch_size=5, verbose=0)
        for variable, value in zip(one.weights, theirs["after"], strict=True):
            found = np.asarray(variable)
            np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("save_format", "save_traces"), [("tf", True), ("tf", False), ("h5", True)]
)
def test_initializers_that_nobody_knows_stand_in_nobodys_way(
    save_format: str, save_traces: bool, tmp_path: Path, peer: Peer
) -> None:
    ending = ".h5" if save_format == "h5" else ""
    path, second = tmp_path / f"m{ending}", tmp_path / f"again{ending}"
    keywords = {"save_format": save_format, "save_traces": save_traces}
    theirs = _saved(peer, "initializers_of_its_own", path, **keywords)
    model = regraft.load_model(path)
    notes = regraft.load_report(model).notes
    assert [note for note in notes if "'dense'" in note or "'dense_1'" in note] == notes
    assert len(notes) == 2
    assert_same(again(model, second), theirs)
    assert peer.call("example_models.scale_of_initializer", str(second)) == 0.1
    with pytest.raises(UnsupportedError, match="Mine>Scaled"):
        keras.models.clone_model(model)
    assert_same(model, theirs)


@pytest.mark.parametrize("legacy", [False, True])
def test_optimizers_that_only_a_missing_class_uses_are_no_weights(
    legacy: bool, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "optimizers_of_its_own", tmp_path / "m", legacy=legacy)
    model = regraft.load_model(tmp_path / "m")
    *notes, steps = regraft.load_report(model).notes
    assert [note.split("'")[3] for note in notes] == [
        "generator_optimizer",
        "critic_optimizer",
    ]
    assert "its class took steps of its own" in steps
    for one in (model, again(model, tmp_path / "again")):
        assert_same_outputs(one, theirs, training=False)
        for ours, expected in zip(one.weights, theirs["kept"], strict=True):
            np.testing.assert_array_equal(np.asarray(ours), expected)
