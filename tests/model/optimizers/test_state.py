"""An optimizer's state through HDF5 order and the object graph, without TensorFlow."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import regraft
from regraft.errors import MismatchError
from regraft.model.dialects.context import Note
from regraft.model.dialects.dialect import KERAS_2
from regraft.model.optimizers import (
    describe_optimizer,
    plan_restore,
    restore_state,
    state_from_hdf5,
    state_from_keras,
    state_to_hdf5,
)
from regraft.storage.tensor import ArrayTensor

NAMES = ["dense_kernel", "dense_bias", "out_kernel"]
SHAPES = [(3, 2), (2,), (2, 2)]
OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(0.1, amsgrad=True),
    "AdamW": lambda: keras.optimizers.AdamW(0.1, use_ema=True),
    "Adamax": lambda: keras.optimizers.Adamax(0.1),
    "Nadam": lambda: keras.optimizers.Nadam(0.1),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.1, momentum=0.5, centered=True),
    "Adagrad": lambda: keras.optimizers.Adagrad(0.1),
    "Adadelta": lambda: keras.optimizers.Adadelta(0.1),
    "Ftrl": lambda: keras.optimizers.Ftrl(0.1),
    "Lion": lambda: keras.optimizers.Lion(0.1),
    "Adafactor": lambda: keras.optimizers.Adafactor(0.1),
    "Lamb": lambda: keras.optimizers.Lamb(0.1),
    "Muon": lambda: keras.optimizers.Muon(0.1),
}


def variables() -> list[keras.Variable]:
    random = np.random.default_rng(0)
    return [
        keras.Variable(random.normal(size=shape), name=name)
        for name, shape in zip(NAMES, SHAPES, strict=True)
    ]


def stepped(make: Any) -> tuple[keras.Optimizer, list[keras.Variable]]:
    optimizer, live = make(), variables()
    random = np.random.default_rng(1)
    for _ in range(3):
        gradients = [random.normal(size=shape).astype("float32") for shape in SHAPES]
        optimizer.apply(gradients, live)
    return optimizer, live


def values(optimizer: keras.Optimizer) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in optimizer.variables]


def assert_equal(found: keras.Optimizer, expected: keras.Optimizer) -> None:
    for a, b in zip(values(found), values(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_goes_into_another_optimizer(name: str) -> None:
    optimizer, live = stepped(OPTIMIZERS[name])
    state = state_from_keras(optimizer, live[::-1])
    again = OPTIMIZERS[name]()
    again.build(live)
    restore_state(again, live[::-1], state)
    assert_equal(again, optimizer)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_goes_through_hdf5_order(name: str) -> None:
    optimizer, live = stepped(OPTIMIZERS[name])
    entry = describe_optimizer(optimizer, KERAS_2, [])
    weights = state_to_hdf5(state_from_keras(optimizer), entry, NAMES)
    assert len({name for name, _ in weights}) == len(weights)
    again = OPTIMIZERS[name]()
    state = state_from_hdf5(weights, entry, live)
    restore_state(again, live, state)
    assert_equal(again, optimizer)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("target", ["model", "model.h5"])
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:optimizer. Keras 2 has no optimizer")
def test_loaded_model_trains_on_exactly(name: str, target: str, tmp_path: Any) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")])
    model.compile(OPTIMIZERS[name](), "mse")
    x, y = np.ones((4, 3)), np.zeros((4, 2))
    for _ in range(2):
        model.train_on_batch(x, y)
    regraft.save_model(model, tmp_path / target)
    again = regraft.load_model(tmp_path / target)
    assert type(again.optimizer) is type(model.optimizer)
    assert_equal(again.optimizer, model.optimizer)
    # Keras before 3.14 reports the mean since the last reset.
    model.reset_metrics()
    expected = [model.train_on_batch(x, y) for _ in range(3)]
    assert [again.train_on_batch(x, y) for _ in range(3)] == expected


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:optimizer. Keras 2's Nadam:UserWarning")
def test_nadam_beside_an_embedding_trains_on_exactly(tmp_path: Any) -> None:
    """Its file speaks of Keras 2's newer Nadam, which counts otherwise."""
    layers = [keras.Input((3,), dtype="int32"), keras.layers.Embedding(5, 2)]
    model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile(keras.optimizers.Nadam(0.1), "mse")
    x, y = np.array([[0, 1, 3], [1, 2, 1]]), np.zeros((2, 2))
    for _ in range(2):
        model.train_on_batch(x, y)
    regraft.save_model(model, tmp_path / "model.h5")
    again = regraft.load_model(tmp_path / "model.h5")
    for found, expected in zip(
        again.optimizer.variables, model.optimizer.variables, strict=True
    ):
        np.testing.assert_allclose(found.value, expected.value, rtol=1e-6)


def legacy_weights() -> list[tuple[str, ArrayTensor]]:
    optimizer, _ = stepped(OPTIMIZERS["Adam"])
    config = {"learning_rate": 0.1, "amsgrad": True}
    entry = {"class_name": "Adam", "config": config}
    return state_to_hdf5(state_from_keras(optimizer), entry, NAMES)


def test_legacy_order_is_slot_by_slot() -> None:
    names = [name for name, _ in legacy_weights()]
    assert names[:4] == [
        "Adam/iter:0",
        "Adam/dense_kernel/m:0",
        "Adam/dense_bias/m:0",
        "Adam/out_kernel/m:0",
    ]
    assert names[-1] == "Adam/out_kernel/vhat:0"


def test_slots_of_another_number_of_variables_are_found_by_name() -> None:
    entry = {"class_name": "Adam", "config": {"learning_rate": 0.1, "amsgrad": True}}

    class Named:
        def __init__(self, path: str, shape: tuple[int, ...]) -> None:
            self.path, self.shape = path, shape

    kept = [Named("out_kernel", (2, 2)), Named("dense_kernel", (3, 2))]
    notes: list[Note] = []
    weights = legacy_weights()
    state = state_from_hdf5(weights, entry, kept, notes)
    assert notes == []
    by_name = dict(weights)
    found = state.slots["m"]
    assert found[0] is by_name["Adam/out_kernel/m:0"]
    assert found[1] is by_name["Adam/dense_kernel/m:0"]


def test_slots_that_fit_nothing_are_noted_and_start_fresh() -> None:
    entry = {"class_name": "Adam", "config": {"learning_rate": 0.1, "amsgrad": True}}
    notes: list[Note] = []
    live = variables()[:2]
    weights = [(f"w{i}", tensor) for i, (_, tensor) in enumerate(legacy_weights())]
    state = state_from_hdf5(weights, entry, live, notes)
    assert state.slots == {}
    assert state.iterations is None
    assert "can't be assigned" in notes[0].text
    optimizer = keras.optimizers.Adam(0.1, amsgrad=True)
    optimizer.build(live)
    pairs = plan_restore(optimizer, live, state, notes)
    assert pairs == []
    with pytest.raises(MismatchError, match="no slot"):
        plan_restore(optimizer, live, state, None)


def test_slots_nobody_used_in_keras_1_are_left_out() -> None:
    live = variables()
    moments = [
        (f"training/SGD/v_{i}:0", ArrayTensor(np.ones(s))) for i, s in enumerate(SHAPES)
    ]
    weights = [("SGD/iterations:0", ArrayTensor(np.int64(5))), *moments]
    entry = {"class_name": "SGD", "config": {"lr": 0.1, "momentum": 0.0}}
    state = state_from_hdf5(weights, entry, live)
    assert state.slots == {}
    assert int(state.iterations.read()) == 5


def test_rmsprop_of_keras_1_has_no_counter() -> None:
    live = variables()
    weights = [(f"a_{i}:0", ArrayTensor(np.full(s, 2.0))) for i, s in enumerate(SHAPES)]
    entry = {"class_name": "RMSprop", "config": {"lr": 0.1, "rho": 0.9}}
    state = state_from_hdf5(weights, entry, live)
    assert state.iterations is None
    assert len(state.slots["velocity"]) == len(live)


def test_average_that_keras_3_has_not_begun_is_the_variables() -> None:
    optimizer, live = keras.optimizers.SGD(0.1, use_ema=True), variables()
    optimizer.build(live)
    state = state_from_keras(optimizer)
    for tensor, variable in zip(state.slots["average"], live, strict=True):
        np.testing.assert_array_equal(tensor.read(), variable.value)
