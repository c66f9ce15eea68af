"""Every activation, initializer, regularizer, constraint, loss, metric and schedule of
both generations of Keras goes over, in both directions, and computes the same there.

Expected values come from tf_keras in the peer process.
"""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from model import object_cases as given
from regraft.model import metadata as keras_json
from regraft.model.compile.losses import LossRules, build_loss, describe_loss
from regraft.model.compile.metrics import build_metric, describe_metric
from regraft.model.compile.names import ONLY_KERAS_3
from regraft.model.dialects.context import BuildContext, Note
from regraft.model.dialects.describe import old_words
from regraft.model.dialects.dialect import KERAS_2
from regraft.model.dialects.objects import build_object
from regraft.model.optimizers.schedules import (
    build_learning_rate,
    describe_learning_rate,
)

ARGUMENTS = {
    "initializers": given.INITIALIZERS,
    "regularizers": given.REGULARIZERS,
    "constraints": given.CONSTRAINTS,
    "losses": given.LOSSES,
    "metrics": given.METRICS,
    "schedules": given.SCHEDULES,
}
# They draw numbers, and each Keras others.
_DRAWN = ("Normal", "Uniform", "Orthogonal", "VarianceScaling")
_BASES = {
    *("Initializer", "Regularizer", "Constraint", "Loss", "Metric", "Optimizer"),
    *("MeanMetricWrapper", "LearningRateSchedule", "SumOverBatchSize"),
    # Filters of a spectrogram, and aliases.
    *("STFT", "STFTInitializer", "IdentityInitializer", "OrthogonalInitializer"),
}


def classes_of(kind: str) -> list[str]:
    module = keras.optimizers.schedules if kind == "schedules" else getattr(keras, kind)
    return sorted(
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__name__ == name and name not in _BASES
    )


ACTIVATIONS = (
    "elu exponential gelu hard_sigmoid linear mish relu selu sigmoid softmax softplus "
    "softsign swish tanh"
)
KERAS_2_ALONE = {
    "constraints": ["RadialConstraint"],
    "metrics": ["MeanRelativeError", "MeanTensor"],
}


def rows() -> Iterator[Any]:
    for kind, table in ARGUMENTS.items():
        names = classes_of(kind) + KERAS_2_ALONE.get(kind, [])
        for name in names:
            if name in ONLY_KERAS_3:
                continue
            default = given.EVERY_LOSS if kind == "losses" else [{}]
            chosen = table.get(name, [{}] if kind != "losses" else [])
            for arguments in [*(default if kind == "losses" else []), *chosen]:
                words = ", ".join(f"{k}={v!r}" for k, v in arguments.items())
                yield pytest.param(kind, name, arguments, id=f"{name}({words})")
    for name in ACTIVATIONS.split():
        yield pytest.param("activations", name, {}, id=name)


def _marked() -> list[Any]:
    """All rows; a seeded share of them is not slow."""
    chosen = random.Random(0)
    return [
        row
        if chosen.randrange(4) == 0
        else pytest.param(*row.values, id=row.id, marks=pytest.mark.slow)
        for row in rows()
    ]


def build(kind: str, entry: Any, context: BuildContext) -> Any:
    if kind == "losses":
        return build_loss(entry, context, LossRules(keras2=True))
    if kind == "metrics":
        return build_metric(entry, context)
    if kind == "schedules":
        return build_learning_rate(entry, context)
    return build_object(kind, entry, context, "a test")


def values(kind: str, made: Any, name: str, arguments: dict[str, Any]) -> Any:
    if kind == "activations":
        return made(given.VECTOR)
    if kind == "regularizers":
        return made(keras.ops.convert_to_tensor(given.MATRIX))
    if kind == "constraints":
        return made(given.KERNEL)
    if kind == "initializers":
        return made((5, 5))
    if kind == "losses":
        return given.loss_value(made, name, arguments)
    if kind == "schedules":
        return np.array([float(made(step)) for step in given.STEPS])
    for positional, keywords in given.updates(name, arguments):
        made.update_state(*positional, **keywords)
    return made.result()


def describe(kind: str, made: Any, notes: list[Note]) -> Any:
    if kind == "losses":
        return describe_loss(made, KERAS_2, notes)
    if kind == "metrics":
        return describe_metric(made, KERAS_2, notes)
    if kind == "schedules":
        return describe_learning_rate(keras.optimizers.SGD(made), KERAS_2, notes)
    key = {"activations": "activation"}.get(kind, kind[:-1])
    return old_words(key, getattr(keras, kind).serialize(made), "a test", notes)


# Keras 3's IoU asks for int64, which JAX hasn't.
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")
@pytest.mark.parametrize(("kind", "name", "arguments"), _marked())
def test_object_goes_over_and_back(
    kind: str, name: str, arguments: dict[str, Any], peer: Any
) -> None:
    theirs = peer.call("objects.describe", kind, name, arguments)
    context = BuildContext(KERAS_2)
    made = build(kind, theirs["entry"], context)
    notes: list[Note] = []
    entry = describe(kind, made, notes)
    # As a file has it.
    entry = json.loads(json.dumps(keras_json.plain(entry)))
    back = peer.call("objects.rebuild", kind, name, arguments, entry)
    ours = np.asarray(values(kind, made, name, arguments))
    assert context.notes == notes == []
    assert ours.shape == theirs["values"].shape == back.shape
    if kind == "initializers" and any(word in name for word in _DRAWN):
        assert np.isfinite(ours).all()
        return
    np.testing.assert_allclose(ours, theirs["values"], rtol=3e-5, atol=2e-6)
    np.testing.assert_allclose(back, theirs["values"], rtol=1e-6, atol=1e-7)


def test_no_class_of_keras_2_is_forgotten(peer: Any) -> None:
    tested = {row.values[1] for row in rows()}
    for kind, names in peer.call("objects.names").items():
        if kind in ("optimizers", "legacy"):
            continue  # see the tests of optimizers
        classes = [name for name in names if name[0].isupper()]
        # Short names of functions.
        classes = [name for name in classes if not name.isupper() or name == "AUC"]
        missing = set(classes) - tested - _BASES
        if kind == "schedules":
            missing -= {"LearningRateSchedule"}
        assert not missing, kind


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_no_class_of_keras_3_is_forgotten(kind: str) -> None:
    tested = {row.values[1] for row in rows()}
    assert not set(classes_of(kind)) - tested - ONLY_KERAS_3
