"""`RandomFourierFeatures` gives what tf_keras gives, in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from peer import Peer
from regraft.model.keras2.layers_random_features import RandomFourierFeatures

CASES: list[dict[str, Any]] = [
    {},
    {"trainable": True, "kernel_initializer": "Laplacian", "scale": 2.0},
    {"drawn": [-1.0, 2.0], "trainable": True, "name": "features"},
]
X = np.linspace(-1, 1, 24, dtype="float32").reshape(6, 4)
Y = np.linspace(1, -1, 12, dtype="float32").reshape(6, 2)


@pytest.fixture(scope="module")
def written(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("random")
    return directory, peer.call(
        "features.write_random_features", directory, CASES, X, Y
    )


@pytest.mark.parametrize("form", ["{}-traced", "{}-untraced", "{}.h5"])
@pytest.mark.parametrize("index", range(len(CASES)))
def test_features_predict_and_train_on_and_go_back(
    written: Any, index: int, form: str, peer: Peer, tmp_path: Path
) -> None:
    directory, expected = written
    model = regraft.load_model(directory / form.format(index))
    assert not regraft.load_report(model).notes
    layer = model.layers[0]
    assert isinstance(layer, RandomFourierFeatures)
    assert len(layer.trainable_weights) == CASES[index].get("trainable", False)
    out = model.predict(X, verbose=0)
    np.testing.assert_allclose(out, expected[index]["out"], atol=1e-6)
    for name in ("again", "again.h5"):
        regraft.save_model(model, tmp_path / name)
        back = peer.call("features.read_random_features", tmp_path / name, X)
        np.testing.assert_allclose(back, out, atol=1e-6)
    model.train_on_batch(X, Y)
    found = model.predict(X, verbose=0)
    np.testing.assert_allclose(found, expected[index]["next"], atol=1e-5)


@pytest.mark.parametrize(("kernel", "scale"), [("gaussian", 2.0), ("laplacian", 1.0)])
def test_a_new_one_draws_its_kernel(kernel: str, scale: float) -> None:
    keras.utils.set_random_seed(1)
    layer = RandomFourierFeatures(4000, kernel)
    layer.build((None, 8))
    drawn = np.abs(np.asarray(layer.unscaled_kernel))
    # The median of half a normal and of half a Cauchy distribution.
    median = {"gaussian": 0.6745, "laplacian": 1.0}[kernel]
    np.testing.assert_allclose(np.median(drawn), median, rtol=0.02)
    np.testing.assert_allclose(np.asarray(layer.kernel_scale), [scale])
    clone = RandomFourierFeatures.from_config(layer.get_config())
    assert clone.get_config()["kernel_initializer"] == kernel
