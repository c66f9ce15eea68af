"""Optimizers with all their options go on where the other Keras stopped."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import pytest

import regraft
from sweep import optimizers
from sweep.optimizers import Case, cases

FORMATS = ("plain", "model.h5")
TOLERANCE = 2e-6
SHARE = 2

# What is known to differ: of which cases, where, and why.
KNOWN: list[tuple[str, tuple[str, ...], str]] = [
    (
        r"^legacy Adagrad\(learning_rate=S\.",
        ("back in plain", "back in model.h5"),
        "tf_keras' legacy Adagrad reads no schedule, not in its own files either",
    ),
    (
        r"^new .* scaled",
        ("back in model.h5",),
        "tf_keras' `LossScaleOptimizerV3.set_weights` refuses",
    ),
    (
        r"^keras3 .* scaled",
        ("tf_keras model.h5",),
        "tf_keras' `LossScaleOptimizerV3.set_weights` refuses",
    ),
    (
        r"^new Nadam",
        ("back in model.h5",),
        "no HDF5 file holds the product of Nadam's momenta; tf_keras begins with 1",
    ),
    (
        r"^keras3 Nadam",
        ("tf_keras plain", "tf_keras model.h5"),
        "Keras 3's Nadam computes otherwise than both of Keras 2",
    ),
]


def groups(kind: str) -> list[Any]:
    """A seeded share, and the cases of each class."""
    every = cases(kind)
    chosen = random.Random(kind).sample(every, SHARE)
    by_class: dict[str, list[Case]] = {}
    for case in every:
        by_class.setdefault(case.class_name, []).append(case)
    return [pytest.param(chosen, id=f"{kind} share")] + [
        pytest.param(members, id=f"{kind} {name}", marks=pytest.mark.slow)
        for name, members in by_class.items()
    ]


def known(case: Case) -> set[str]:
    return {
        what
        for words, whats, _ in KNOWN
        for what in whats
        if re.search(words, case.name)
    }


def unexpected(wrong: dict[str, dict[str, str]], tried: Sequence[Case]) -> Any:
    return {
        case.name: wrong[case.name]
        for case in tried
        if set(wrong[case.name]) != known(case)
    }


def attempt(
    wrong: dict[str, str], what: str, expected: Any, run: Any, *arguments: Any
) -> None:
    try:
        worst = optimizers.worst(run(*arguments), expected)
    except Exception as error:
        wrong[what] = f"{type(error).__name__}: {error}"[-400:]
    else:
        if worst > TOLERANCE:
            wrong[what] = f"{worst:.2g}"


def goes_on(path: Path, case: Case) -> Any:
    model = regraft.load_model(path)
    model.run_eagerly = True
    return optimizers.train(model, case.clips)


def there_and_back(peer: Any, path: Path, again: Path, case: Case) -> Any:
    regraft.save_model(regraft.load_model(path), again)
    return peer.call("sweep.read_optimizer", str(again), case)


@pytest.mark.parametrize("tried", groups("new") + groups("legacy"))
def test_keras_3_goes_on_where_tf_keras_stopped(
    tried: Sequence[Case], peer: Any, tmp_path: Path
) -> None:
    """Both formats; and tf_keras where Regraft saved what it had loaded."""
    wrong: dict[str, dict[str, str]] = {case.name: {} for case in tried}
    for index, case in enumerate(tried):
        folder = tmp_path / str(index)
        folder.mkdir()
        expected = peer.call("sweep.write_optimizer", str(folder), case)
        found = wrong[case.name]
        for name in FORMATS:
            attempt(found, name, expected, goes_on, folder / name, case)
            ways = (peer, folder / name, folder / f"again-{name}", case)
            attempt(found, f"back in {name}", expected, there_and_back, *ways)
    assert not unexpected(wrong, tried)


@pytest.mark.filterwarnings("ignore:optimizer. Keras 2's Nadam:UserWarning")
@pytest.mark.parametrize("tried", groups("keras3"))
def test_tf_keras_goes_on_where_keras_3_stopped(
    tried: Sequence[Case], peer: Any, tmp_path: Path
) -> None:
    wrong: dict[str, dict[str, str]] = {case.name: {} for case in tried}
    names = {"O": keras.optimizers, "S": keras.optimizers.schedules}
    for index, case in enumerate(tried):
        optimizer = optimizers.make(case, names, keras.optimizers.LossScaleOptimizer)
        model = optimizers.build(keras, optimizer)
        optimizers.train(model, case.clips)
        folder = tmp_path / str(index)
        folder.mkdir()
        regraft.save_model(model, folder / "plain", save_traces=False)
        regraft.save_model(model, folder / "model.h5")
        expected = optimizers.train(model, case.clips)
        for name in FORMATS:
            path = folder / name
            attempt(wrong[case.name], name, expected, goes_on, path, case)
            attempt(
                wrong[case.name],
                f"tf_keras {name}",
                expected,
                peer.call,
                "sweep.read_optimizer",
                str(path),
                case,
            )
    assert not unexpected(wrong, tried)
