"""HDF5 files of tf.keras since TensorFlow 1.15, with the arithmetic of their time.

Expected values are what that Keras itself computed: see `tests/data/eras`. Every
output of a model is one layer, loss or option.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from data.eras import corpus
from data.keras_archive import Case
from regraft.errors import UnsupportedError

PREDICT_TOLERANCE = 1e-5  # Of the output's scale, float32.
NEXT_TOLERANCE = 1e-4
# In float16 other backends add up in another order.
HALF = {"mixed_precision": 5e-3, "experimental_policy": 5e-3}

# Refused with an error that says so.
REFUSED = {"virtual_batches": "virtual_batch_size"}

# Of an era whose normalization differs most; of one with a slot of its own; those whose
# slots alone tell what is shared.
ALWAYS = (
    *(("1.15.0", "norms"), ("2.3.4", "opt_ftrl_all")),
    *((version, "shared_layers") for version in ("2.4.4", "2.10.1", "2.21.0")),
    *((version, "held_metrics") for version in ("2.4.4", "2.12.1")),
)


class Counting:
    """What `make.py` has under this name, in Keras 3."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.seen = keras.metrics.Mean(name="seen")
        self.inner = keras.layers.BatchNormalization(name="inner")
        self.listed = [keras.metrics.Precision()]
        self.last = keras.layers.Dense(units, name="last")

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight((), "ones", trainable=False, name="scale")
        self.made = keras.metrics.TruePositives()
        self.inner.build(shape)
        self.last.build(shape)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.last(self.inner(inputs, training=training)) * self.scale

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "units": self.units}


class CountingLayer(Counting, keras.layers.Layer):
    pass


class CountingModel(Counting, keras.Model):
    pass


class OnlyCounts(keras.layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seen = keras.metrics.Mean(name="seen")

    def call(self, inputs: Any) -> Any:
        return inputs * 2.0


OWN = {kind.__name__: kind for kind in (CountingLayer, CountingModel, OnlyCounts)}

# HDF5 doesn't name the TensorFlow, and 2.3 calls its Keras 2.4.0, as 2.4 does, which
# takes the logits of a sigmoid for a softmax crossentropy.
SHARED_NAME = {("2.3.4", "losses"), ("2.3.4", "loss_objects")}
NAME = "TensorFlow 2.3 and 2.4 both call their Keras 2.4.0; read as 2.4's"


def _marks(case: Case, here: bool) -> list[pytest.MarkDecorator]:
    marks = [] if here else [pytest.mark.slow]
    if tuple(case) in SHARED_NAME:
        marks.append(pytest.mark.xfail(strict=True, reason=NAME))
    return marks


def _parameters(every: int) -> list[Any]:
    """A seeded share of the files; the others are slow."""
    chosen = random.Random(3)
    return [
        pytest.param(
            case,
            id=case.id,
            marks=_marks(case, chosen.randrange(every) == 0 or tuple(case) in ALWAYS),
        )
        for case in corpus.cases()
        if case.name not in REFUSED
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus.unpack(tmp_path_factory.mktemp("eras"))


class Told:
    """What the writer of a file computed."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            self._arrays = dict(file)
        self.names = [str(name) for name in self._arrays["names_0"]]

    def group(self, prefix: str) -> list[np.ndarray]:
        keys = [key for key in self._arrays if key.startswith(f"{prefix}_")]
        keys.sort(key=lambda key: int(key.rpartition("_")[2]))
        return [self._arrays[key] for key in keys]

    def one(self, prefix: str) -> Any:
        found = self.group(prefix)
        return found[0] if len(found) == 1 else found

    def weights(self) -> Any:
        found = self.group("tw")
        if not found:
            return None
        outputs = len(self.group("ty"))
        return found[0] if outputs == 1 else found * outputs


def _reset(model: keras.Model) -> None:
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_state()


def _differing(
    model: keras.Model, told: Told, expected: str, tolerance: float
) -> list[str]:
    _reset(model)
    found = model.predict(told.one("in"), verbose=0)
    found = found if isinstance(found, list) else [found]
    wrong = []
    for name, ours, theirs in zip(told.names, found, told.group(expected), strict=True):
        assert ours.shape == theirs.shape
        error = np.max(np.abs(ours - theirs)) / max(np.max(np.abs(theirs)), 1e-6)
        if not error < tolerance:
            wrong.append(f"{name} by {error:.1e}")
    return wrong


# Keras says so of layers that end a mask.
@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
@pytest.mark.parametrize("case", _parameters(25))
def test_file_predicts_and_takes_the_same_next_step(case: Case, files: Path) -> None:
    if "renorm" in case.name and not hasattr(
        keras.layers.BatchNormalization(), "renorm"
    ):
        pytest.skip("This Keras has no renorm: such files are refused by name.")
    told = Told(case.arrays(files))
    predict = HALF.get(case.name, PREDICT_TOLERANCE)
    following = HALF.get(case.name, NEXT_TOLERANCE)
    model = regraft.load_model(case.path(files), custom_objects=OWN)
    assert _differing(model, told, "out", predict) == []
    if told.group("next"):
        _reset(model)
        loss = model.test_on_batch(
            told.one("tx"), told.one("ty"), sample_weight=told.weights()
        )
        expected = float(told.one("test").reshape(-1)[0])
        first = loss[0] if isinstance(loss, list) else loss
        np.testing.assert_allclose(first, expected, rtol=following)
        _reset(model)
        model.train_on_batch(
            told.one("tx"), told.one("ty"), sample_weight=told.weights()
        )
        assert _differing(model, told, "next", following) == []


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.id) for case in corpus.cases() if case.name in REFUSED],
)
def test_what_has_no_equal_is_refused_by_name(case: Case, files: Path) -> None:
    with pytest.raises(UnsupportedError, match=REFUSED[case.name]):
        regraft.load_model(case.path(files))
