"""What a file of Regraft says of constraints, right or wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import pytest

from regraft.loading.constraints import constrain_again
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.dialect import Dialect
from regraft.model.state_tree import state_tree

KEY = "layer-0.kernel"


def _constrained(said: Any) -> tuple[keras.Model, list[Any]]:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    context = BuildContext(Dialect.from_keras_version("3.15.1"))
    description: Any = SimpleNamespace(extra={"constraints": said})
    tree = state_tree(model)
    assert KEY in dict(tree.edges())
    constrain_again(tree, description, context)
    return model, context.notes


def test_weight_has_its_constraint_again() -> None:
    entry = keras.constraints.serialize(keras.constraints.MaxNorm(0.5))
    model, notes = _constrained({KEY: entry})
    found = model.layers[0].kernel.constraint
    assert isinstance(found, keras.constraints.MaxNorm)
    assert found.max_value == 0.5
    assert not notes


@pytest.mark.parametrize(
    "entry",
    [
        3,
        "nothing",
        {"class_name": [1]},
        {"class_name": "MaxNorm", "config": [1]},
        {"class_name": "MaxNorm", "config": {"other": 1}},
        {"class_name": "system", "module": "os", "config": {}},
    ],
)
def test_what_is_no_constraint_is_noted(entry: Any) -> None:
    model, notes = _constrained({KEY: entry})
    assert model.layers[0].kernel.constraint is None
    assert ["constraint is unknown" in str(note) for note in notes] == [True]


@pytest.mark.parametrize("said", [3, [KEY], {"layer-9.kernel": "non_neg"}])
def test_what_is_of_no_weight_changes_nothing(said: Any) -> None:
    model, notes = _constrained(said)
    assert model.layers[0].kernel.constraint is None
    assert not notes
