"""Every spelling of an optimizer that files have."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from regraft.errors import UnsupportedError
from regraft.model.dialects.context import BuildContext, Note
from regraft.model.dialects.dialect import KERAS_2, KERAS_3, Dialect
from regraft.model.keras2 import optimizers, optimizers_legacy
from regraft.model.optimizers import build_optimizer, describe_optimizer

TF_2_6 = Dialect.from_keras_version("2.6.0")
TF_2_21 = Dialect.from_keras_version("2.21.0")
MULTI_BACKEND = Dialect.from_keras_version("2.2.4")


def build(
    class_name: str, config: dict[str, Any], dialect: Dialect = TF_2_21, **custom: Any
) -> keras.Optimizer:
    entry = {"class_name": class_name, "config": config}
    return build_optimizer(entry, BuildContext(dialect, custom))


@pytest.mark.parametrize("name", ["adam", "Adam", "Custom>Adam", "ADAM"])
def test_class_names_in_any_case_and_package(name: str) -> None:
    assert isinstance(build(name, {"learning_rate": 0.5}), keras.optimizers.Adam)


@pytest.mark.parametrize(
    ("class_name", "config", "cls"),
    [
        ("Custom>Adam", {"is_legacy_optimizer": False}, keras.optimizers.Adam),
        ("Adam", {"is_legacy_optimizer": False}, keras.optimizers.Adam),
        ("Custom>Adam", {"learning_rate": 0.1}, keras.optimizers.Adam),
        ("Adam", {"learning_rate": 0.1, "decay": 0.0}, optimizers_legacy.Adam),
        ("Adam", {"lr": 0.1}, optimizers_legacy.Adam),
        ("AdamW", {"learning_rate": 0.1}, keras.optimizers.AdamW),
        ("Nadam", {"is_legacy_optimizer": False}, optimizers.Nadam),
        ("Nadam", {"decay": 0.004}, optimizers_legacy.Nadam),
        (
            "Custom>SGD",
            {"use_ema": True, "is_legacy_optimizer": False},
            optimizers.SGD,
        ),
    ],
)
def test_kind_of_optimizer(class_name: str, config: dict[str, Any], cls: type) -> None:
    assert type(build(class_name, config)) is cls


def test_keys_without_meaning_in_keras_3_are_dropped() -> None:
    found = build(
        "Custom>SGD",
        {"jit_compile": True, "is_legacy_optimizer": False, "momentum": 0, "name": "S"},
    )
    assert found.momentum == 0.0
    assert found.name == "S"


def test_decay_divides_the_rate_and_is_written_back() -> None:
    legacy = build("SGD", {"learning_rate": 1.0, "decay": 0.5})
    variable = keras.Variable([0.0])
    for expected in (-1.0, -1.0 - 1 / 1.5, -1.0 - 1 / 1.5 - 1 / 2):
        legacy.apply([np.ones(1, "float32")], [variable])
        np.testing.assert_allclose(variable.value, [expected], rtol=1e-6)
    assert describe_optimizer(legacy, KERAS_2, [])["config"]["decay"] == 0.5


def test_multi_backend_keras_clips_all_gradients_together() -> None:
    found = build("SGD", {"lr": 1.0, "clipnorm": 1.0}, MULTI_BACKEND)
    assert (found.clipnorm, found.global_clipnorm) == (None, 1.0)
    assert not found.sparse_rows


def test_legacy_hyperparameters_are_float32() -> None:
    found = build("Adam", {"learning_rate": 0.1, "beta_2": 0.999}, TF_2_6)
    assert found.beta_2 == float(np.float32(0.999))


@pytest.mark.parametrize(
    ("class_name", "config", "scale"),
    [
        (
            "LossScaleOptimizer",
            {
                "optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1}},
                "loss_scale": {
                    "class_name": "DynamicLossScale",
                    "config": {"initial_loss_scale": 64.0, "increment_period": 7},
                },
            },
            64.0,
        ),
        (
            "LossScaleOptimizerV1",
            {
                "optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1}},
                "loss_scale": {
                    "class_name": "DynamicLossScale",
                    "config": {"initial_loss_scale": 64.0, "increment_period": 7},
                },
            },
            64.0,
        ),
        (
            "LossScaleOptimizerV3",
            {
                "inner_optimizer": {"class_name": "Custom>SGD", "config": {}},
                "dynamic": True,
                "initial_scale": 64.0,
                "dynamic_growth_steps": 7,
            },
            64.0,
        ),
    ],
)
def test_dynamic_loss_scale(
    class_name: str, config: dict[str, Any], scale: float
) -> None:
    found = build(class_name, config)
    assert type(found) is optimizers.LossScaleOptimizer
    assert (found.initial_scale, found.dynamic_growth_steps) == (scale, 7)
    again = describe_optimizer(found, KERAS_2, [])
    assert again["class_name"].startswith("LossScaleOptimizer")
    assert again["config"]["dynamic_growth_steps"] == 7


def test_fixed_loss_scale_is_an_argument_of_the_optimizer() -> None:
    inner = {"class_name": "Custom>SGD", "config": {}}
    config = {"inner_optimizer": inner, "dynamic": False, "initial_scale": 16.0}
    found = build("LossScaleOptimizerV3", config)
    assert type(found) is keras.optimizers.SGD
    assert found.loss_scale_factor == 16.0
    again = describe_optimizer(found, KERAS_2, [])
    assert again["config"]["dynamic"] is False
    assert again["config"]["initial_scale"] == 16.0
    assert found.loss_scale_factor == 16.0


def test_loss_scale_of_keras_2_counts_a_step_that_overflows() -> None:
    inner = {"class_name": "Custom>SGD", "config": {"learning_rate": 1.0}}
    config = {"inner_optimizer": inner, "dynamic": True, "initial_scale": 4.0}
    found = build("LossScaleOptimizerV3", config)
    variable = keras.Variable([1.0])
    found.build([variable])
    before = [v.value for v in found.variables]
    trained, after = found.stateless_apply(
        before, [np.array([np.inf], "float32")], [variable.value]
    )
    names = [v.name for v in found.variables]
    changed = {name: float(value) for name, value in zip(names, after, strict=True)}
    assert changed["iteration"] == 1
    assert changed["dynamic_scale"] == 2.0
    np.testing.assert_array_equal(trained[0], [1.0])


class Halving(keras.optimizers.Optimizer):
    """An optimizer of a user."""

    def __init__(self, learning_rate: Any = 0.1, speed: float = 1.0, **arguments: Any):
        super().__init__(learning_rate, **arguments)
        self.speed = speed

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "speed": self.speed}


@pytest.mark.parametrize("name", ["Halving", "Custom>Halving", "Mine>Halving"])
def test_optimizer_of_the_caller(name: str) -> None:
    config = {"learning_rate": 0.5, "speed": 2.0, "jit_compile": False, "decay": 0.25}
    found = build(name, config, Halving=Halving)
    assert type(found) is Halving
    assert found.speed == 2.0
    assert isinstance(found._learning_rate, keras.optimizers.schedules.InverseTimeDecay)


def test_unknown_optimizer_names_custom_objects() -> None:
    with pytest.raises(ValueError, match="custom_objects"):
        build("Addons>MultiOptimizer", {"learning_rate": 0.1})


def test_argument_that_keras_3_lacks_is_unsupported() -> None:
    with pytest.raises((UnsupportedError, ValueError), match="surprise"):
        build("Custom>SGD", {"surprise": 1, "is_legacy_optimizer": False})


def test_name_of_a_class_is_never_imported() -> None:
    with pytest.raises(ValueError, match="Unknown optimizer"):
        build("os.system", {"module": "os"})


SCHEDULES = keras.optimizers.schedules


@pytest.mark.parametrize(
    "schedule",
    [
        SCHEDULES.ExponentialDecay(0.1, 3, 0.5),
        SCHEDULES.PiecewiseConstantDecay([2, 4], [0.1, 0.2, 0.3]),
        SCHEDULES.PolynomialDecay(0.1, 5),
        SCHEDULES.InverseTimeDecay(0.1, 5, 0.5),
        SCHEDULES.CosineDecay(0.1, 5),
        SCHEDULES.CosineDecayRestarts(0.1, 5),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_schedules_go_to_keras_2_and_come_back(schedule: Any) -> None:
    notes: list[Note] = []
    entry = describe_optimizer(keras.optimizers.SGD(schedule), KERAS_2, notes)
    assert notes == []
    again = build_optimizer(entry, BuildContext(KERAS_2))
    assert type(again._learning_rate) is type(schedule)
    assert again._learning_rate.get_config() == schedule.get_config()


def test_linear_cosine_decay_is_tensorflows() -> None:
    config = {"initial_learning_rate": 0.1, "decay_steps": 10, "name": None}
    entry = {"class_name": "LinearCosineDecay", "config": config}
    found = build("SGD", {"learning_rate": entry})
    # Computed by tf.keras.experimental.LinearCosineDecay of TensorFlow 2.3.4.
    np.testing.assert_allclose(
        [float(found._learning_rate(step)) for step in (0, 3, 10)],
        [0.10010000318288803, 0.055672477930784225, 0.00010000000474974513],
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(0.1, momentum=0.5, clipnorm=1.0),
        keras.optimizers.Adam(0.1, amsgrad=True, gradient_accumulation_steps=3),
        keras.optimizers.Lamb(0.1),
        keras.optimizers.Muon(0.1),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(0.1)),
        optimizers_legacy.Nadam(learning_rate=0.1),
        optimizers.SGD(learning_rate=0.1, clipnorm=1.0, clipvalue=2.0),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_keras_3_form_is_exact(optimizer: keras.Optimizer) -> None:
    entry = keras.saving.serialize_keras_object(optimizer)
    again = build_optimizer(entry, BuildContext(KERAS_3))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()


def test_what_keras_2_has_no_words_for_is_noted() -> None:
    notes: list[Note] = []
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    describe_optimizer(optimizer, KERAS_2, notes)
    describe_optimizer(keras.optimizers.Lamb(0.1), KERAS_2, notes)
    assert [
        word in note.text
        for word, note in zip(
            ("gradient_accumulation_steps", "Lamb"), notes, strict=True
        )
    ] == [True, True]


@pytest.mark.parametrize(
    ("optimizer", "class_name"),
    [
        (keras.optimizers.Adam(0.1), "Adam"),
        (keras.optimizers.SGD(0.1), "SGD"),
        (keras.optimizers.RMSprop(0.1), "Custom>RMSprop"),
        (keras.optimizers.RMSprop(0.1, momentum=0.5), "RMSprop"),
        (keras.optimizers.Adam(0.1, weight_decay=0.1), "Custom>Adam"),
        (keras.optimizers.AdamW(0.1), "Custom>AdamW"),
    ],
)
def test_legacy_form_only_where_it_steps_the_same(
    optimizer: keras.Optimizer, class_name: str
) -> None:
    entry = describe_optimizer(optimizer, KERAS_2, [], prefer_legacy=True)
    assert entry["class_name"] == class_name
