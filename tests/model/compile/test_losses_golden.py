"""Losses and metrics of a file give the values and gradients of its TensorFlow."""

from __future__ import annotations

import jax
import keras
import numpy as np
import pytest

from model.compile.golden import tensorflow
from regraft.model.compile.arguments import build_compile_arguments
from regraft.model.compile.losses import LossRules, build_loss
from regraft.model.compile.metrics import build_metric
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.dialect import Dialect
from regraft.model.keras2 import logits

KERAS_VERSIONS = {"1.15": "2.2.4-tf", "2.3": "2.4.0"}
POSITIVE_COSINE = pytest.mark.xfail(
    reason="TensorFlow 1.15 took the similarity itself; its files say 2.2.4-tf, as do "
    "those of 2.0 and 2.1, which took the negative",
)


def dialect(version: str) -> Dialect:
    return Dialect.from_keras_version(KERAS_VERSIONS.get(version, f"{version}.0"))


def loss_cases() -> list[pytest.ParameterSet]:
    found = []
    for row in tensorflow.cases("losses"):
        version, case = row.values
        positive = (version, str(case)[:6]) == ("1.15", "cosine")
        marks = [*row.marks, *([POSITIVE_COSINE] if positive else [])]
        found.append(pytest.param(version, case, marks=marks))
    return found


@pytest.mark.parametrize(("version", "case"), loss_cases())
def test_loss_and_gradient_are_tensorflows(version: str, case: str) -> None:
    about, arrays = tensorflow.load(version)
    entry, target, prediction, activation = about["losses"][case]
    context = BuildContext(dialect(version))
    loss = build_loss(entry, context, LossRules(keras2=True))
    if not isinstance(loss, keras.losses.Loss):
        compiled = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        compiled.compile("sgd", loss)
        loss = compiled._compile_loss
    activate = {None: lambda x: x, "sigmoid": logits.sigmoid, "softmax": logits.softmax}

    def value(x: jax.Array) -> jax.Array:
        output = activate[activation](x)
        return loss(
            arrays[f"given/{target}"], output, sample_weight=arrays["given/weights"]
        )

    found, gradient = jax.value_and_grad(value)(arrays[f"given/{prediction}"])
    np.testing.assert_allclose(found, arrays[f"loss/{case}/value"], rtol=2e-5)
    expected = arrays[f"loss/{case}/gradient"]
    scale = max(float(np.max(np.abs(expected))), 1e-3)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6 * scale)
    assert context.notes == []


@pytest.mark.parametrize("case", ["mse", "sum", "weighted"])
@pytest.mark.parametrize(
    "version",
    [pytest.param(v, marks=tensorflow.version_marks(v)) for v in tensorflow.VERSIONS],
)
def test_masked_loss_is_tensorflows(version: str, case: str) -> None:
    arrays = tensorflow.load(version)[1]
    loss = "mse"
    if case == "sum":
        loss = {"class_name": "MeanSquaredError", "config": {"reduction": "sum"}}
    optimizer = {"class_name": "SGD", "config": {"learning_rate": 0.1}}
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.Masking()])
    arguments = build_compile_arguments(
        {"loss": loss, "optimizer_config": optimizer, "loss_weights": None},
        model,
        BuildContext(dialect(version)),
    )
    model.compile(**arguments)
    values = arrays["given/sequence"] * arrays["given/mask"][..., None]
    weights = arrays["given/weights"] if case == "weighted" else None
    found = model.test_on_batch(values, arrays["given/sequence_targets"], weights)
    np.testing.assert_allclose(found, arrays[f"masked/{case}"], rtol=1e-5)


# Keras 3's IoU asks for int64, which JAX hasn't.
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")
@pytest.mark.parametrize(("version", "case"), tensorflow.cases("metrics"))
def test_metric_is_tensorflows(version: str, case: str) -> None:
    about, arrays = tensorflow.load(version)
    entry, target, prediction, _ = about["metrics"][case]
    context = BuildContext(dialect(version))
    metric = build_metric(entry, context)
    unweighted = case in ("R2Score", "BinaryIoU", "recall_top_k")
    for part in (slice(0, 3), slice(3, 6)):
        metric.update_state(
            arrays[f"given/{target}"][part],
            arrays[f"given/{prediction}"][part],
            sample_weight=None if unweighted else arrays["given/weights"][part],
        )
    expected = arrays[f"metric/{case}/result"]
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-5, atol=1e-6)
    assert context.notes == []
