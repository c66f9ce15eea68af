"""Models that go from hand to hand end equal, and a second save says the same."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import regraft
from interop_models import MODELS, STEPS_BEFORE
from test_interop_tf_keras import (
    PREDICT_TOLERANCE,
    STEPS_TOLERANCE,
    as_list,
    trained,
    weights_of,
    worst,
)

FORMATS = ("traces", "plain", "h5")
ORDERS = list(itertools.permutations(FORMATS))
CHAINS = [
    pytest.param(
        name, order, id=f"{name} {' '.join(order)}",
        marks=[] if (name, order) == ("dense", ORDERS[3]) else pytest.mark.slow,
    )
    for name in MODELS
    for order in ORDERS
]  # fmt: skip


def save(model: Any, path: Path, name: str) -> None:
    if name == "h5":
        regraft.save_model(model, path, save_format="h5")
    else:
        regraft.save_model(model, path, save_traces=name == "traces")


@pytest.mark.parametrize(("name", "order"), CHAINS)
def test_model_that_goes_from_hand_to_hand_ends_equal(
    name: str, order: tuple[str, ...], peer: Any, tmp_path: Path
) -> None:
    """Regraft saves, tf_keras trains and saves, Regraft loads and saves, and again."""
    example = trained(name, "SGD-nesterov")
    first, second, third = (tmp_path / str(number) for number in range(3))
    save(example.model, first, order[0])
    batch, last = example.batches[STEPS_BEFORE : STEPS_BEFORE + 2]
    peer.call("keras_models.train_and_resave", str(first), str(second), order[1], batch)
    example.model.train_on_batch(*batch)
    between = regraft.load_model(second)
    save(between, third, order[2])
    again = regraft.load_model(third)

    theirs = peer.call(
        "keras_models.load_predict_train", str(third), example.inputs, [last]
    )

    ours = as_list(example.model.predict(example.inputs, verbose=0))
    tolerance = PREDICT_TOLERANCE.get(name, 1e-5)
    assert worst(theirs["predictions"], ours) < tolerance
    assert worst(as_list(again.predict(example.inputs, verbose=0)), ours) < tolerance
    example.model.train_on_batch(*last)
    again.train_on_batch(*last)
    expected = weights_of(example.model)
    for kind, values in expected.items():
        limit = STEPS_TOLERANCE.get(name, 1e-4)
        assert worst(theirs["weights"][kind], values) < limit, kind
        assert worst(weights_of(again)[kind], values) < limit, kind


def _content(path: Path) -> dict[str, Any]:
    """Everything in an HDF5 file, by path."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        found[name] = {
            key: np.asarray(value).tolist() for key, value in item.attrs.items()
        }
        if isinstance(item, h5py.Dataset):
            found[name][""] = item[()].tolist()

    with h5py.File(path) as file:
        visit("/", file)
        file.visititems(visit)
    return found


# What each of these says otherwise the second time.
OTHERWISE = {
    "attention": "layers inside MultiHeadAttention are named by a count of the process",
    "op_layers": "a tuple among the arguments of a call comes back as a list",
}
SLOW = ("convnet", "recurrent")


def _second_saves() -> list[Any]:
    found = []
    for name in MODELS:
        marks: list[Any] = [pytest.mark.slow] if name in SLOW else []
        if name in OTHERWISE:
            marks.append(pytest.mark.xfail(strict=True, reason=OTHERWISE[name]))
        found.append(pytest.param(name, marks=marks))
    return found


@pytest.mark.parametrize("name", _second_saves())
def test_second_save_says_the_same(name: str, tmp_path: Path) -> None:
    example = trained(name, "Adam")
    for kind in FORMATS:
        first, second = tmp_path / f"{kind}1", tmp_path / f"{kind}2"
        save(example.model, first, kind)
        save(regraft.load_model(first), second, kind)
        if kind == "h5":
            assert _content(first) == _content(second)
            continue
        files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
        assert files == sorted(
            p.relative_to(second) for p in second.rglob("*") if p.is_file()
        )
        for file in files:
            assert (first / file).read_bytes() == (second / file).read_bytes(), file
