"""HDF5 files of the multi-backend Keras, 1.0 to 2.3, and of TensorFlow's before 1.13.

Expected values are what that Keras itself computed: see `tests/data/multi_backend`.
"""

from __future__ import annotations

import random
from pathlib import Path

import keras
import numpy as np
import pytest

import regraft
from data.keras_archive import Case
from data.multi_backend import corpus

PREDICT_TOLERANCE = 1e-5  # Of the output's scale, float32.
NEXT_TOLERANCE = 1e-4


# The count of steps is in no file. Where no average is of old batches the same layers
# step alike: `norms_forgetting`.
DEBIASED = {("2.2.4-tensorflow", "norms_last")}
# Embeddings that say the `dtype` of their input, arguments as arrays, slots by name;
# activity regularizers that sum. In TensorFlow: beta before gamma, configs of few
# words, masked losses over what is not masked.
ALWAYS = {
    ("2.0.5-tensorflow", name)
    for name in ("activations", "loss_cosine_proximity", "norms_last", "simple_rnn")
} | {
    ("2.3.1-tensorflow", "activity"),
    ("2.0.2-tf-tf1.2.1", "functional"),
    ("2.0.2-tf-tf1.2.1", "norms_frozen"),
    ("2.0.8-tf-tf1.4.1", "masked_loss"),
    ("2.1.5-tf-tf1.8.0", "activity"),
    ("2.1.5-tf-tf1.8.0", "gru"),
}
COUNT = "Keras 2.1.3 to 2.2 on TensorFlow debias moving averages by a count of steps"


def _marks(case: Case, here: bool) -> list[pytest.MarkDecorator]:
    marks = [] if here else [pytest.mark.slow]
    if tuple(case) in DEBIASED:
        marks.append(pytest.mark.xfail(strict=True, reason=COUNT))
    return marks


def _parameters(every: int) -> list[object]:
    """A seeded share of the files; the others are slow."""
    chosen = random.Random(1)
    return [
        pytest.param(
            case,
            id=case.id,
            marks=_marks(case, chosen.randrange(every) == 0 or tuple(case) in ALWAYS),
        )
        for case in corpus.cases()
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus.unpack(tmp_path_factory.mktemp("multi_backend"))


def _group(arrays: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    keys = sorted(key for key in arrays if key.startswith(f"{prefix}_"))
    return [arrays[key] for key in keys]


def _one(arrays: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    return arrays[0] if len(arrays) == 1 else arrays


def _worst(model: keras.Model, arrays: dict[str, np.ndarray], expected: str) -> float:
    outputs = model.predict(_one(_group(arrays, "in")), verbose=0)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    wanted = _group(arrays, expected)
    assert [a.shape for a in outputs] == [b.shape for b in wanted]
    return max(
        float(np.max(np.abs(a - b)) / np.max(np.abs(b)))
        for a, b in zip(outputs, wanted, strict=True)
    )


@pytest.mark.parametrize("case", _parameters(14))
def test_file_predicts_and_takes_the_same_next_step(case: Case, files: Path) -> None:
    with np.load(case.arrays(files)) as file:
        arrays = dict(file)
    model = regraft.load_model(case.path(files))
    assert _worst(model, arrays, "out") < PREDICT_TOLERANCE
    if _group(arrays, "next"):
        model.train_on_batch(_one(_group(arrays, "tx")), _one(_group(arrays, "ty")))
        assert _worst(model, arrays, "next") < NEXT_TOLERANCE
        # Nothing started fresh.
        assert not regraft.load_report(model).notes


@pytest.mark.filterwarnings("ignore:.*averages an activity regularizer")
def test_summed_activity_is_summed_after_another_save(
    files: Path, tmp_path: Path
) -> None:
    """`ActivityRegularization` has no place in its config for how it sums."""
    path = files / "2.3.1-tensorflow" / "activity.h5"
    with np.load(path.with_suffix(".npz")) as file:
        arrays = dict(file)
    model = regraft.load_model(path)
    for name in ("again", "again.h5"):
        regraft.save_model(model, tmp_path / name)
        loaded = regraft.load_model(tmp_path / name)
        loaded.train_on_batch(_one(_group(arrays, "tx")), _one(_group(arrays, "ty")))
        assert _worst(loaded, arrays, "next") < NEXT_TOLERANCE
