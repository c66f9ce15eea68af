"""`add_metric` of Keras 2: what a call adds is in the logs, and is no weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from peer import Peer
from promises.checks import (
    assert_same_outputs,
    assert_same_step,
    assert_saves_to_the_same_bytes,
    file_of,
)

pytestmark = pytest.mark.peer

CASES = [
    ("metrics_of_tensors", "tf"),
    ("metrics_of_tensors", "h5"),
    ("metrics_of_a_layer", "tf"),
    ("metrics_of_a_class", "tf"),
]


def _saved(
    peer: Peer, case: str, path: Path, save_format: str = "tf", **keywords: Any
) -> dict[str, Any]:
    name = str(path)
    return peer.call(
        "added_metrics.save", case, name, save_format=save_format, **keywords
    )


def _evaluated(model: keras.Model, theirs: dict[str, Any]) -> dict[str, float]:
    x, y = theirs["batch"]
    return model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)


def _assert_same_logs(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(("case", "save_format"), CASES)
def test_logs_show_what_a_call_adds(
    case: str, save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, case, path, save_format)
    model = regraft.load_model(path)
    assert not regraft.load_report(model).notes
    assert_same_outputs(model, theirs, training=False)
    for _ in range(2):  # Each time it counts from the start.
        _assert_same_logs(_evaluated(model, theirs), theirs["logs"])
    x, y = theirs["batch"]
    history = model.fit(x, y, batch_size=4, verbose=0, validation_data=(x, y)).history
    assert {name for name in history if not name.startswith("val_")} == set(
        theirs["logs"]
    )
    assert history.keys() >= {f"val_{name}" for name in theirs["logs"]}


@pytest.mark.parametrize(
    ("case", "save_format", "again"),
    [(*one, "again") for one in CASES]
    + [("metrics_of_tensors", "tf", "again.h5"), ("metrics_of_tensors", "h5", "b.h5")],
)
def test_second_save_shows_it_here_and_in_keras_2(
    case: str, save_format: str, again: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, case, path, save_format)
    model = regraft.load_model(path)
    model.predict(theirs["batch"][0], verbose=0)
    regraft.save_model(model, tmp_path / again)
    reopened = regraft.load_model(tmp_path / again)
    assert len(reopened.get_weights()) == len(model.get_weights()) == 4
    _assert_same_logs(_evaluated(reopened, theirs), theirs["logs"])
    found = peer.call("added_metrics.evaluate", str(tmp_path / again), *theirs["batch"])
    assert found["weights"] == 4
    _assert_same_logs(found["logs"], theirs["logs"])
    assert_same_step(reopened, theirs)


def test_metric_of_a_class_that_nobody_has_is_named(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "metrics_of_a_layer", tmp_path / "m", its_own=True)
    model = regraft.load_model(tmp_path / "m")
    (note,) = regraft.load_report(model).notes
    assert "'largest'" in note
    assert "'Largest'" in note
    expected = {k: v for k, v in theirs["logs"].items() if k != "largest"}
    _assert_same_logs(_evaluated(model, theirs), expected)

    class Largest(keras.metrics.Metric):
        def __init__(self, **keywords: Any) -> None:
            super().__init__(**keywords)
            self.largest = self.add_variable((), "zeros", name="largest")

        def update_state(self, values: Any, sample_weight: Any = None) -> None:
            raise NotImplementedError

        def result(self) -> Any:
            return self.largest + 0.0

    model = regraft.load_model(tmp_path / "m", custom_objects={"Largest": Largest})
    assert not regraft.load_report(model).notes
    _assert_same_logs(_evaluated(model, theirs), theirs["logs"])


@pytest.mark.parametrize("case", ["metrics_of_a_layer", "metrics_of_a_class"])
def test_functions_that_count_are_saved_to_the_same_bytes(
    case: str, tmp_path: Path, peer: Peer
) -> None:
    _saved(peer, case, tmp_path / "m")
    regraft.save_model(regraft.load_model(tmp_path / "m"), tmp_path / "again")
    assert_saves_to_the_same_bytes(tmp_path / "again", tmp_path)


def test_metrics_by_output_key_are_read_and_saved_again(
    tmp_path: Path, peer: Peer
) -> None:
    # tf_keras can't evaluate its own file: it writes lists, and wants dicts.
    theirs = _saved(peer, "metrics_by_key", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    _assert_same_logs(_evaluated(model, theirs), theirs["logs"])
    regraft.save_model(model, tmp_path / "again")
    found = peer.call(
        "added_metrics.evaluate", str(tmp_path / "again"), *theirs["batch"]
    )
    _assert_same_logs(found["logs"], theirs["logs"])


def _by_key(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Inputs and targets of a model with two outputs."""
    draw = np.random.default_rng(seed)
    x, zed, alpha = (draw.normal(size=(8, n)).astype("float32") for n in (4, 3, 2))
    return x, {"zed": zed, "alpha": alpha}


def _logs_of_both(
    peer: Peer, model: keras.Model, path: str, x: Any, y: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """What evaluation says of a model in Keras 3, and of its file in tf_keras."""
    ours = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    regraft.save_model(model, path)
    return ours, peer.call("added_metrics.evaluate", path, x, y)["logs"]


class ByKey(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first = keras.layers.Dense(3)
        self.second = keras.layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return {"zed": self.first(inputs), "alpha": self.second(inputs)}


class InOrder(ByKey):
    def call(self, inputs: Any) -> Any:
        return [self.first(inputs), self.second(inputs)]


@pytest.mark.parametrize(
    "metrics",
    [{"zed": ["mae", "mse"]}, {"zed": "mae", "alpha": ["mse"]}, [["mse"], ["mae"]]],
)
def test_keras_2_evaluates_metrics_of_a_class_by_output_key(
    metrics: Any, tmp_path: Path, peer: Peer
) -> None:
    x, y = _by_key(3)
    model = ByKey()
    model.compile("sgd", {"zed": "mse", "alpha": "mae"}, metrics=metrics)
    model.fit(x, y, batch_size=4, verbose=0)
    expected, found = _logs_of_both(peer, model, str(tmp_path / "m"), x, y)
    _assert_same_logs(found, expected)


@pytest.mark.parametrize("metrics", [[None, ["mae"]], ["mse", "mae"]])
def test_keras_2_gives_a_class_metrics_in_the_order_of_its_outputs(
    metrics: Any, tmp_path: Path, peer: Peer
) -> None:
    x, targets = _by_key(4)
    y = [targets["zed"], targets["alpha"]]
    model = InOrder()
    model.compile("sgd", ["mse", "mae"], metrics=metrics)
    model.fit(x, y, batch_size=4, verbose=0)
    expected, found = _logs_of_both(peer, model, str(tmp_path / "m"), x, y)
    values = [value for name, value in found.items() if "loss" not in name]
    shown = [value for name, value in expected.items() if "loss" not in name]
    np.testing.assert_allclose(sorted(values), sorted(shown), rtol=1e-5)


@pytest.mark.parametrize("loss", ["mse", {"zed": "mse", "alpha": "mae"}])
@pytest.mark.parametrize("end", ["", ".h5"])
def test_keras_2_evaluates_a_network_by_keys_that_name_no_layer(
    loss: Any, end: str, tmp_path: Path, peer: Peer
) -> None:
    x, y = _by_key(5)
    inputs = keras.Input((4,))
    outputs = {
        "zed": keras.layers.Dense(3, name="first")(inputs),
        "alpha": keras.layers.Dense(2, name="alpha")(inputs),
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        "sgd",
        loss,
        metrics={"alpha": ["mae"]},
        weighted_metrics={"zed": ["mse"], "alpha": "mape"},
    )
    expected, found = _logs_of_both(peer, model, f"{tmp_path / 'm'}{end}", x, y)
    # Keras 2 names results after layers, Keras 3 after keys.
    by_key = {name.replace("first_", "zed_"): value for name, value in found.items()}
    _assert_same_logs(by_key, expected)
