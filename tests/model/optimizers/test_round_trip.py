"""tf_keras goes on where Keras 3 stopped, and Keras 3 where tf_keras stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from peer import Peer

pytestmark = pytest.mark.peer

SCHEDULE = (
    "ExponentialDecay",
    {"initial_learning_rate": 0.1, "decay_steps": 2, "decay_rate": 0.5},
)
NEW = [
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"schedule": SCHEDULE, "weight_decay": 0.1}),
    ("Adam", {"learning_rate": 0.05, "amsgrad": True}),
    ("Adam", {"learning_rate": 0.05, "global_clipnorm": 0.5}),
    ("Adam", {"learning_rate": 0.05, "use_ema": True, "ema_overwrite_frequency": 2}),
    ("AdamW", {"learning_rate": 0.05, "weight_decay": 0.1}),
    ("Adamax", {"learning_rate": 0.05}),
    ("RMSprop", {"learning_rate": 0.05, "momentum": 0.5, "centered": True}),
    ("Adagrad", {"learning_rate": 0.05}),
    ("Adadelta", {"learning_rate": 0.5}),
    ("Ftrl", {"learning_rate": 0.05}),
    ("Lion", {"learning_rate": 0.01}),
    ("Adafactor", {"learning_rate": 0.05}),
]
NADAM = ("Nadam", {"learning_rate": 0.05})
LEGACY = [
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "decay": 0.3}),
    ("Adam", {"learning_rate": 0.05, "amsgrad": True, "decay": 0.5}),
    ("Adamax", {"learning_rate": 0.05}),
    NADAM,
    ("RMSprop", {"learning_rate": 0.05}),
    ("RMSprop", {"learning_rate": 0.05, "momentum": 0.5, "centered": True}),
    ("Adagrad", {"learning_rate": 0.05}),
    ("Adadelta", {"learning_rate": 0.5}),
    ("Ftrl", {"learning_rate": 0.05}),
    ("SGD", {"schedule": SCHEDULE, "clipvalue": 0.1, "clipnorm": 0.2}),
]
FORMATS = ("saved_model", "model.h5")


def data(distinct: bool) -> tuple[np.ndarray, np.ndarray]:
    """As `peer/functions/optimizers.py` has it."""
    random = np.random.RandomState(5)
    ids = random.permutation(20)[:18] if distinct else random.randint(0, 8, size=18)
    return ids.reshape(6, 3), random.normal(size=(6, 2))


def clips(arguments: dict[str, Any]) -> bool:
    """Whether ids must not repeat: TensorFlow clips before it adds repeated rows."""
    return any("clip" in key for key in arguments)


def build(class_name: str, arguments: dict[str, Any]) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.layers.Input((3,)),
            keras.layers.Embedding(20, 4, name="table"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(5, "tanh", name="hidden"),
            keras.layers.Dense(2, name="out"),
        ]
    )
    arguments = dict(arguments)
    schedule = arguments.pop("schedule", None)
    if schedule:
        name, values = schedule
        cls = getattr(keras.optimizers.schedules, name)
        arguments["learning_rate"] = cls(**values)
    model.compile(getattr(keras.optimizers, class_name)(**arguments), "mse")
    return model


def train(model: keras.Model, distinct: bool) -> list[list[np.ndarray]]:
    ids, targets = data(distinct)
    found = []
    for _ in range(3):
        model.train_on_batch(ids, targets)
        found.append([keras.ops.convert_to_numpy(w) for w in model.weights])
    return found


def worst(found: list[list[np.ndarray]], expected: list[list[np.ndarray]]) -> float:
    return max(
        float(np.max(np.abs(a - b)))
        for ours, theirs in zip(found, expected, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    )


def row(kind: str, case: tuple[str, dict[str, Any]]) -> Any:
    class_name, arguments = case
    words = [class_name, *(k for k in arguments if k != "learning_rate")]
    return pytest.param(class_name, arguments, kind, id="-".join([kind, *words]))


@pytest.mark.parametrize(
    ("class_name", "arguments", "kind"), [row("keras3", case) for case in NEW]
)
def test_tf_keras_goes_on_where_keras_3_stopped(
    class_name: str, arguments: dict[str, Any], kind: str, peer: Peer, tmp_path: Path
) -> None:
    del kind
    model = build(class_name, arguments)
    train(model, clips(arguments))
    for name in FORMATS:
        regraft.save_model(model, tmp_path / name)
    expected = train(model, clips(arguments))
    for name in FORMATS:
        found, iterations, _ = peer.call(
            "optimizers.load_and_train", tmp_path / name, clips(arguments)
        )
        assert iterations == 6
        assert worst(found, expected) < 2e-6, name


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("class_name", "arguments", "kind"),
    [row("new", case) for case in [*NEW, NADAM]]
    + [row("legacy", case) for case in LEGACY],
)
def test_keras_3_goes_on_where_tf_keras_stopped(
    class_name: str,
    arguments: dict[str, Any],
    kind: str,
    name: str,
    peer: Peer,
    tmp_path: Path,
) -> None:
    expected = peer.call(
        "optimizers.write", tmp_path, class_name, arguments, kind, clips(arguments)
    )
    loaded = regraft.load_model(tmp_path / name)
    assert worst(train(loaded, clips(arguments)), expected) < 2e-6
    # Saved back, it is still the optimizer that tf_keras wrote.
    again = regraft.load_model(tmp_path / name)
    regraft.save_model(again, tmp_path / f"again-{name}")
    found, iterations, cls = peer.call(
        "optimizers.load_and_train", tmp_path / f"again-{name}", clips(arguments)
    )
    assert (cls, iterations) == (class_name, 6)
    if (class_name, kind) != ("Nadam", "new"):  # Its counter starts again.
        assert worst(found, expected) < 2e-6


@pytest.mark.filterwarnings("ignore:optimizer. Keras 2 has no 'gradient_accum")
def test_tf_keras_goes_on_without_what_is_summed_up(peer: Peer, tmp_path: Path) -> None:
    model = build("Adam", {"learning_rate": 0.05, "gradient_accumulation_steps": 2})
    train(model, False)  # Three steps: one gradient waits for the next.
    keras.utils.clear_session(free_memory=False)  # The same names again.
    plain = build("Adam", {"learning_rate": 0.05})
    plain.optimizer.build(plain.trainable_variables)
    named = {v.path: v for v in [*model.variables, *model.optimizer.variables]}
    for variable in [*plain.variables, *plain.optimizer.variables]:
        variable.assign(keras.ops.copy(named[variable.path]))
    for name in FORMATS:
        regraft.save_model(model, tmp_path / name)
    expected = train(plain, False)
    # tf_keras takes a step each time, from the moments and steps so far.
    for name in FORMATS:
        found, iterations, _ = peer.call(
            "optimizers.load_and_train", tmp_path / name, False
        )
        assert iterations == 6
        assert worst(found, expected) < 2e-6, name


# tf_keras 2.21 itself starts a loss scale's optimizer afresh in the other cases:
# `set_weights` of V3 refuses, the legacy one doesn't wait for its counter.
RESTORED_BY_TF_KERAS = {("new", "saved_model"), ("legacy", "model.h5")}


@pytest.mark.parametrize("kind", ["new", "legacy"])
@pytest.mark.parametrize("name", FORMATS)
def test_loss_scale_goes_on_too(
    kind: str, name: str, peer: Peer, tmp_path: Path
) -> None:
    arguments = {"learning_rate": 0.1, "momentum": 0.9}
    expected = peer.call(
        "optimizers.write", tmp_path, "SGD", arguments, kind, False, scaled=True
    )
    loaded = regraft.load_model(tmp_path / name)
    assert isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    assert float(loaded.optimizer.dynamic_scale.value) == 2.0**15
    if name == "saved_model":  # An HDF5 file doesn't hold it.
        assert int(loaded.optimizer.step_counter.value) == 3
    regraft.save_model(loaded, tmp_path / f"again-{name}")
    found, iterations, cls = peer.call(
        "optimizers.load_and_train", tmp_path / f"again-{name}", False
    )
    assert cls.startswith("LossScaleOptimizer")
    assert worst(train(loaded, False), expected) < 2e-6
    if (kind, name) in RESTORED_BY_TF_KERAS:
        assert iterations == 6
        assert worst(found, expected) < 2e-6
