"""Files that real TensorFlow wrote, 1.15 to 2.21, open, predict and train on.

Expected values are what that TensorFlow itself computed: see `tests/data/vintage`.
"""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import regraft
from data.vintage import corpus
from regraft._compat import all_layers

PREDICT_TOLERANCE = 1e-5  # Of the output's scale, float32.
NEXT_TOLERANCE = 1e-4

# Classes that nobody here has: without traces nothing of them is in the file.
UNKNOWN_CLASSES = {"custom_layer": "GatedScale", "subclassed_model": "TwoTower"}


def _is_keras_model(case: corpus.Case) -> bool:
    return case.name != "session_style"


def _is_without_code(case: corpus.Case) -> bool:
    return case.format == "saved_model_notraces" and case.name in UNKNOWN_CLASSES


CASES = corpus.cases()
KERAS_MODELS = [
    pytest.param(case, id=case.id)
    for case in CASES
    if _is_keras_model(case) and not _is_without_code(case)
]
WITHOUT_CODE = [
    pytest.param(case, id=case.id) for case in CASES if _is_without_code(case)
]
SESSION_STYLE = [
    pytest.param(case, id=case.id) for case in CASES if not _is_keras_model(case)
]


def _group(arrays: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    """Arrays `<prefix>_0`, `<prefix>_1`, … in that order."""
    keys = [key for key in arrays if key.startswith(f"{prefix}_")]
    return [arrays[key] for key in sorted(keys, key=lambda key: int(key.split("_")[1]))]


def _one(arrays: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    return arrays[0] if len(arrays) == 1 else arrays


def _predict(model: keras.Model, inputs: list[np.ndarray]) -> list[np.ndarray]:
    outputs = model.predict(_one(inputs), verbose=0)
    return outputs if isinstance(outputs, list | tuple) else [outputs]


def _worst(outputs: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Largest difference, relative to the largest expected value of its output."""
    assert [a.shape for a in outputs] == [b.shape for b in expected]
    return max(
        float(np.max(np.abs(a - b)) / np.max(np.abs(b)))
        for a, b in zip(outputs, expected, strict=True)
    )


@pytest.mark.parametrize("case", KERAS_MODELS)
def test_loaded_model_predicts_and_takes_the_same_next_step(
    case: corpus.Case, vintage: Path
) -> None:
    with np.load(case.arrays(vintage)) as file:
        arrays = dict(file)
    inputs = _group(arrays, "in")

    model = regraft.load_model(case.path(vintage))

    assert isinstance(model, keras.Model)
    assert _worst(_predict(model, inputs), _group(arrays, "out")) < PREDICT_TOLERANCE
    if expected := _group(arrays, "next"):
        batch, targets = _group(arrays, "tx"), _group(arrays, "ty")
        model.train_on_batch(_one(batch), _one(targets))
        assert _worst(_predict(model, inputs), expected) < NEXT_TOLERANCE


@pytest.mark.parametrize("case", WITHOUT_CODE)
def test_class_without_traces_is_asked_for_by_name(
    case: corpus.Case, vintage: Path
) -> None:
    name = UNKNOWN_CLASSES[case.name]
    with pytest.raises(ValueError, match=rf"{name}.*custom_objects"):
        regraft.load_model(case.path(vintage))


@pytest.mark.parametrize(
    "case", [p for p in KERAS_MODELS if p.values[0].format == "model.h5"]
)
def test_report_counts_the_slots_of_the_file(case: corpus.Case, vintage: Path) -> None:
    path = case.path(vintage)
    with h5py.File(path, "r") as file:
        names = [str(n) for n in file["optimizer_weights"].attrs["weight_names"]]
    # The step, the learning rate since 2.11, and Nadam's product of momenta before.
    single = re.compile("iter|learning_rate:|momentum_cache")
    slots = sum(not single.search(name) for name in names)
    model = regraft.load_model(path)
    below = [layer for layer in all_layers(model) if layer is not model]
    entries = zip(below, regraft.load_report(model).layers, strict=True)
    # What a layer holds counts in itself, too.
    assert slots
    assert sum(entry.slots for at, entry in entries if at in model.layers) == slots


@pytest.mark.parametrize("case", SESSION_STYLE)
def test_session_style_model_is_refused_with_the_way_out(
    case: corpus.Case, vintage: Path
) -> None:
    with pytest.raises(ValueError, match=r"holds no Keras model.*`regraft\.load`"):
        regraft.load_model(case.path(vintage))


def test_corpus_holds_what_its_readme_promises() -> None:
    versions = {case.version for case in CASES}
    assert versions == {
        *("1.15.5", "2.0.4", "2.3.4", "2.6.5", "2.11.1", "2.15.1", "2.21.0")
    }
    assert len(CASES) == 127
