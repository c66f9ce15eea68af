"""Optimizers of TensorFlow Addons in files, there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from model.optimizers.golden import trajectories
from regraft.errors import UnknownNameError, UnsupportedError
from regraft.loading.read import read_saved_model
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.dialect import KERAS_2
from regraft.model.optimizers import (
    build_optimizer,
    describe_optimizer,
    restore_state,
    state_from_hdf5,
    state_from_keras,
    state_to_hdf5,
)
from regraft.model.optimizers.style import around_of
from regraft.options import LoadOptions
from regraft.storage.tensor import ArrayTensor

ADAMW = {
    "class_name": "Addons>AdamW",
    "config": {"learning_rate": 0.05, "weight_decay": 0.02},
}
RANGER = {
    "class_name": "Addons>Lookahead",
    "config": {
        "name": "Lookahead",
        "sync_period": 2,
        "slow_step_size": 0.5,
        "clipnorm": 0.9,
        "optimizer": {
            "class_name": "Addons>RectifiedAdam",
            "config": {"learning_rate": 0.05, "amsgrad": True, "clipnorm": 0.1},
        },
    },
}
SWA = {
    "class_name": "Addons>SWA",
    "config": {
        "average_period": 2,
        "start_averaging": 1,
        "optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1}},
    },
}
ENTRIES = {
    "adamw": ADAMW,
    "ranger": RANGER,
    "swa": SWA,
    "average": {
        "class_name": "Addons>MovingAverage",
        "config": {"average_decay": 0.7, "optimizer": ADAMW},
    },
    **{
        name.lower(): {"class_name": f"Addons>{name}", "config": {"learning_rate": 0.1}}
        for name in (
            "Yogi",
            "NovoGrad",
            "AdaBelief",
            "ProximalAdagrad",
            "ConditionalGradient",
        )
    },
    "cocob": {"class_name": "Addons>COCOB", "config": {"alpha": 10.0}},
}


def build(entry: dict[str, Any]) -> keras.Optimizer:
    return build_optimizer(entry, BuildContext(KERAS_2))


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(3)
    return random.normal(size=(8, 4)), random.normal(size=(8, 2))


def stepped(entry: dict[str, Any]) -> keras.Model:
    """A model after three steps."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile(build(entry), "mse")
    for _ in range(3):
        model.train_on_batch(*data())
    return model


def plain(value: Any) -> Any:
    """A config without the words that only some versions have."""
    if not isinstance(value, dict):
        return pytest.approx(value) if isinstance(value, float) else value
    registered = value.get("registered_name") or ""
    name = {"class_name": registered} if registered.startswith("Addons>") else {}
    left = ("module", "registered_name", "is_legacy_optimizer", "name")
    return {k: plain(v) for k, v in {**value, **name}.items() if k not in left}


@pytest.mark.parametrize("case", trajectories.cases("addons"))
def test_configs_are_written_as_they_were(case: str) -> None:
    config = trajectories.load("addons", case).config
    expected = plain(config)
    found = plain(describe_optimizer(build(config), KERAS_2, []))
    if around_of(config) is not None:
        # Nothing heeds what an inner optimizer says of these.
        for key in ("clipnorm", "exclude_from_weight_decay"):
            for entry in (expected, found):
                entry["config"]["optimizer"]["config"].pop(key, None)
    assert found == expected


@pytest.mark.parametrize("case", trajectories.cases("addons"))
def test_three_steps_leave_the_state_of_the_file(case: str) -> None:
    golden = trajectories.load("addons", case)
    names = {"table": "embeddings"}
    live = [
        keras.Variable(value, name=names.get(name, name), dtype="float32")
        for name, value in golden.values[0].items()
    ]
    weights = [(name, ArrayTensor(value)) for name, value in golden.states[0]]
    optimizer = build(golden.config)
    restore_state(optimizer, live, state_from_hdf5(weights, golden.config, live))
    for step in range(3):
        optimizer.apply(list(golden.gradients[step].values()), live)
    found = state_to_hdf5(
        state_from_keras(optimizer, live),
        describe_optimizer(optimizer, KERAS_2, []),
        list(golden.values[0]),
    )
    assert len(found) == len(golden.states[3])
    for (name, tensor), (written, value) in zip(found, golden.states[3], strict=True):
        assert name.endswith(written)
        np.testing.assert_allclose(tensor.read(), value, rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["saved", "model.h5"])
@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
def test_the_next_steps_are_the_same(
    entry: dict[str, Any], name: str, tmp_path: Path
) -> None:
    model = stepped(entry)
    regraft.save_model(model, tmp_path / name)
    again = regraft.load_model(tmp_path / name)
    assert type(again.optimizer) is type(model.optimizer)
    for _ in range(2):
        model.train_on_batch(*data())
        again.train_on_batch(*data())
        for mine, other in zip(
            again.weights + again.optimizer.variables,
            model.weights + model.optimizer.variables,
            strict=True,
        ):
            np.testing.assert_allclose(mine.value, other.value, rtol=1e-6)


def saved_nodes(entry: dict[str, Any], child: str, folder: Path) -> tuple[Any, Any]:
    """The objects of a saved optimizer and of the one within it."""
    regraft.save_model(stepped(entry), folder / "saved")
    found = read_saved_model(str(folder / "saved"), LoadOptions())
    assert found.objects is not None
    optimizer = found.objects.root.child("optimizer")
    assert optimizer is not None
    inner = optimizer.child(child)
    assert inner is not None
    return optimizer, inner


def test_slots_stand_where_lookahead_keeps_them(tmp_path: Path) -> None:
    optimizer, inner = saved_nodes(RANGER, "lh_base_optimizer", tmp_path)
    assert {record.slot_name for record in optimizer.slot_variables} == {"slow"}
    assert {record.slot_name for record in inner.slot_variables} == {"m", "v", "vhat"}
    assert "iter" in optimizer.children
    assert "iter" not in inner.children
    assert {"learning_rate", "beta_1", "sma_threshold"} <= set(inner.children)


def test_averages_stand_beside_the_optimizer_within(tmp_path: Path) -> None:
    optimizer, inner = saved_nodes(SWA, "awg_optimizer", tmp_path)
    assert {record.slot_name for record in optimizer.slot_variables} == {"average"}
    assert set(optimizer.children) == {"iter", "awg_optimizer"}
    assert {"learning_rate", "decay", "momentum"} <= set(inner.children)


def test_variables_take_their_averages() -> None:
    model = stepped(SWA)
    averages = [np.asarray(each.value) for each in model.optimizer._averages]
    model.optimizer.assign_average_vars(model.variables)
    for variable, average in zip(model.trainable_variables, averages, strict=True):
        np.testing.assert_array_equal(variable.value, average)


def test_patterns_that_may_take_forever_are_refused() -> None:
    config = {**ADAMW["config"], "exclude_from_weight_decay": ["(a+)+$"]}
    with pytest.raises(UnsupportedError, match="plain parts of names"):
        build({"class_name": "Addons>AdamW", "config": config})


@pytest.mark.parametrize("name", ["Addons>MultiOptimizer", "Addons>Adam", "Own>LAMB"])
def test_other_classes_are_unknown(name: str) -> None:
    with pytest.raises(UnknownNameError, match=name):
        build({"class_name": name, "config": {}})
