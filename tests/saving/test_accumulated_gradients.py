"""Optimizers that sum up gradients for a later step go on from every kind of file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import regraft
from saving.kinds_of_files import save_as

ADAM: dict[str, Any] = {"class_name": "Adam"}
NADAM: dict[str, Any] = {"class_name": "Nadam"}
AVERAGED = {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2}
CASES = {
    "Adam": ADAM,
    "Adam averaged": {**ADAM, **AVERAGED, "amsgrad": True},
    "Nadam": NADAM,
    "Nadam averaged": {**NADAM, **AVERAGED},
    "Ftrl": {"class_name": "Ftrl"},
}


def _trained(arguments: dict[str, Any], scaled: bool, steps: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.Dense(2)])
    arguments = dict(arguments)
    make = getattr(optimizers, arguments.pop("class_name"))
    optimizer = make(0.1, gradient_accumulation_steps=2, **arguments)
    if scaled:
        optimizer = optimizers.LossScaleOptimizer(optimizer, 64.0, 3)
    model.compile(optimizer, "mse")
    for step in range(steps):
        model.train_on_batch(*_batch(1 + step))
    return model


def _batch(scale: float = 1.0) -> tuple[Any, Any]:
    x = np.random.default_rng(0).random((4, 3), dtype="float32")
    return x * scale, np.zeros((4, 2), "float32")


@pytest.mark.filterwarnings("ignore:optimizer. Keras 2 has no 'gradient_accum")
@pytest.mark.filterwarnings("ignore:optimizer. Keras 2's Nadam corrects")
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_sums_and_all_else_go_on(
    case: str, scaled: bool, steps: int, tmp_path: Path
) -> None:
    model = _trained(CASES[case], scaled, steps)
    names = ("SavedModel", "keras2.h5", "both.h5", "keras3.h5", "Keras 3.h5")
    names = names if steps == 1 else names[1:4:2]
    found = {}
    for name in names:
        loaded = found[name] = regraft.load_model(save_as(model, name, tmp_path))
        assert not regraft.load_report(loaded).notes, name
    for step in range(4):
        for name, loaded in found.items():
            _check(loaded, model, f"{name} after {step} steps")
            loaded.train_on_batch(*_batch())
        model.train_on_batch(*_batch())


def _check(loaded: keras.Model, model: keras.Model, where: str) -> None:
    optimizer = model.optimizer
    for own, other in zip(
        [*model.variables, *optimizer.variables],
        [*loaded.variables, *loaded.optimizer.variables],
        strict=True,
    ):
        # `LossScaleOptimizer` has a count of steps that it never uses.
        if own is not optimizer._iterations or optimizer is _inner(optimizer):
            np.testing.assert_array_equal(other, own, err_msg=f"{where}: {own.path}")


def _inner(optimizer: Any) -> Any:
    return getattr(optimizer, "inner_optimizer", optimizer)
