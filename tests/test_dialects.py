"""SavedModels and checkpoints of TensorFlow 2.1 to 2.11, with what each computed.

Models that go other ways than a file of stock layers: text, feature columns, added
losses, classes that nobody has. Expected values are what that TensorFlow computed: see
`tests/data/dialects`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regraft
from data.dialects import corpus

PREDICT_TOLERANCE = 1e-5  # Of the output's scale, float32.
NEXT_TOLERANCE = 1e-4

# Always run: each was read wrongly once.
KEPT = {
    "2.3.4/hashes",
    "2.3.4/tf_idf",
    "2.3.4/normalized_features",
    "2.4.4/listed_features",
    "2.11.1/measured",
    "2.6.2/cells",
    "2.1.4/smoothed_labels",
    "2.1.4/clipped_values",
    "2.1.4/clipped_norms",
    "2.1.4/chain_without_inputs",
    "2.2.3/smoothed_labels",
    "2.2.3/clipped_values",
    "2.1.4/shared_regularizers",
    "2.2.3/shared_regularizers",
    "2.1.4/shared_with_a_wrapper",
    "2.4.4/shared_cells",
}


def _parameters() -> list[Any]:
    """A seeded share of the models; the others are slow."""
    chosen = random.Random(3)
    return [
        pytest.param(
            case,
            marks=[]
            if chosen.randrange(8) == 0 or case in KEPT
            else [pytest.mark.slow],
        )
        for case in corpus.cases()
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus.unpack(tmp_path_factory.mktemp("dialects"))


class Told:
    """What the writer of a model computed."""

    def __init__(self, directory: Path) -> None:
        with np.load(directory / "told.npz") as file:
            self._arrays = dict(file)

    @property
    def results(self) -> Any:
        """What `test_on_batch` gave, in later files."""
        return self._arrays.get("tested")

    def __getitem__(self, prefix: str) -> Any:
        found = {
            key.partition("_")[2]: value
            for key, value in self._arrays.items()
            if key.partition("_")[0] == prefix
        }
        if not all(key.isdigit() for key in found):
            return found
        listed = [found[key] for key in sorted(found, key=int)]
        return listed[0] if len(listed) == 1 else listed or None


def _assert_near(found: Any, expected: Any, tolerance: float) -> None:
    pairs = zip(_many(found), _many(expected), strict=True)
    for ours, theirs in pairs:
        scale = float(np.max(np.abs(theirs)))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale)


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("case", _parameters())
def test_model_predicts_and_takes_the_same_next_step(case: str, files: Path) -> None:
    told = Told(files / case)
    model = regraft.load_model(files / case / "saved_model")
    _assert_near(model.predict(told["in"], verbose=0), told["out"], PREDICT_TOLERANCE)
    if told.results is not None:
        found = model.test_on_batch(told["tx"], told["ty"], sample_weight=told["tw"])
        _assert_near(np.ravel(found), told.results, PREDICT_TOLERANCE)
    model.train_on_batch(told["tx"], told["ty"], sample_weight=told["tw"])
    _assert_near(model.predict(told["in"], verbose=0), told["next"], NEXT_TOLERANCE)


@pytest.mark.filterwarnings("ignore:.*Keras 2 counts them once")
@pytest.mark.parametrize("case", ["2.1.4", "2.2.3"])
def test_regularizers_count_as_often_after_another_save(
    case: str, files: Path, tmp_path: Path
) -> None:
    told = Told(files / case / "shared_regularizers")
    model = regraft.load_model(files / case / "shared_regularizers" / "saved_model")
    for _ in range(2):
        regraft.save_model(model, tmp_path / "m")
        model = regraft.load_model(tmp_path / "m")
        found = model.test_on_batch(told["tx"], told["ty"])
        _assert_near(np.ravel(found), told.results, PREDICT_TOLERANCE)


@pytest.mark.parametrize(
    "case", [case for case in corpus.cases() if "added_losses" in case]
)
def test_layers_are_listed_in_the_order_of_the_file(case: str, files: Path) -> None:
    """Layers that add losses lead to no output and don't change the others' places."""
    model = regraft.load_model(files / case / "saved_model", compile=False)
    listed = [v for layer in model.layers for v in layer.weights]
    for variable, expected in zip(listed, Told(files / case)["weight"], strict=True):
        np.testing.assert_array_equal(variable, expected)


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in corpus.cases()
        if case.endswith(("added_losses", "numeric_features", "weighted_outputs"))
    ],
)
def test_checkpoint_gives_each_layer_its_weights(case: str, files: Path) -> None:
    """Inputs and layers of losses are counted otherwise there than here."""
    model = regraft.load_model(files / case / "saved_model", compile=False)
    model.set_weights([weight * 0 for weight in model.get_weights()])
    regraft.load_weights(model, files / case / "weights")
    for found, expected in zip(
        model.get_weights(), Told(files / case)["weight"], strict=True
    ):
        np.testing.assert_array_equal(found, expected)
