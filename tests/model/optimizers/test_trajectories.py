"""Restored optimizers take the steps that TensorFlow took."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from model.optimizers.golden import trajectories
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.dialect import Dialect
from regraft.model.optimizers import build_optimizer, restore_state, state_from_hdf5
from regraft.storage.tensor import ArrayTensor

KERAS_VERSIONS = {
    "1.15": "2.2.4-tf",
    "2.0": "2.2.4-tf",
    "2.3": "2.4.0",
    "addons": "2.15.0",
}
# Their neighbours show all that changed.
SLOW = ("2.3", "2.11", "2.15")
LINEAR_TIMES_RATE = pytest.mark.xfail(
    reason="TensorFlow 2.3 alone keeps `linear` multiplied by the learning rate when "
    "Ftrl shrinks, and its files don't tell it from 2.4",
)


def marks(version: str, case: str, start: int) -> list[pytest.MarkDecorator]:
    # Of the package the later steps show what the first do.
    slow = version in SLOW or (version, start) == ("addons", 0)
    found = [pytest.mark.slow] if slow else []
    if (version, case, start) == ("2.3", "legacy/ftrl_shrinkage", 3):
        found.append(LINEAR_TIMES_RATE)
    return found


CASES = [
    pytest.param(version, case, start, marks=marks(version, case, start))
    for version in trajectories.versions()
    for case in trajectories.cases(version)
    for start in (0, 3)
]


def variables(values: dict[str, np.ndarray]) -> list[keras.Variable]:
    names = {name: name for name in values} | {"table": "embeddings"}
    return [
        keras.Variable(v, name=names[n], dtype="float32") for n, v in values.items()
    ]


@pytest.mark.parametrize(("version", "case", "start"), CASES)
def test_next_steps_are_tensorflows(version: str, case: str, start: int) -> None:
    golden = trajectories.load(version, case)
    dialect = Dialect.from_keras_version(KERAS_VERSIONS.get(version, version + ".0"))
    context = BuildContext(replace(dialect, tensorflow_1=version == "1.15"))
    optimizer = build_optimizer(golden.config, context)
    live = variables(golden.values[start])
    weights = [(n, ArrayTensor(v)) for n, v in golden.states[start]]
    state = state_from_hdf5(weights, golden.config, live, context.notes)
    restore_state(optimizer, live, state)
    assert context.notes == []
    if golden.u_products:
        expected = golden.u_products[start]
        assert float(optimizer._u_product.value) == pytest.approx(expected, rel=1e-5)
    for step in range(start, trajectories.STEPS):
        gradients = list(golden.gradients[step].values())
        optimizer.apply(gradients, live)
        for variable, name in zip(live, golden.values[0], strict=True):
            np.testing.assert_allclose(
                np.asarray(variable.value),
                golden.values[step + 1][name],
                rtol=2e-6,
                atol=2e-6,
                err_msg=f"{name} after step {step}",
            )
