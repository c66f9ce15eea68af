"""What tf_keras writes of every layer class opens here, predicts and trains on.

The configurations come from the arguments of the classes' constructors, see `cases`.
tf_keras trains a model of many of them for a step, saves it and takes another step;
Regraft opens the file, predicts, and takes that step too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import regraft
from regraft.model.dialects.keras2_arguments import KERAS_2_ARGUMENTS
from sweep import models
from sweep.cases import KERAS_2, Case, generate
from sweep.groups import ELSEWHERE, rows
from sweep.values import BASES, REASONS

FORMATS = ("traces", "plain", "h5")

# Classes that have tests of their own, or none, and why.
WITHOUT_CASES = {
    "AddLoss": "made by `add_loss`; see the tests of topologies",
    "AddMetric": "made by `add_metric`; see the tests of topologies",
    "CuDNNGRU": "runs on NVIDIA's GPUs alone",
    "CuDNNLSTM": "runs on NVIDIA's GPUs alone",
    "DenseFeatures": "over feature columns",
    "SequenceFeatures": "over feature columns",
    **ELSEWHERE,
    "InputLayer": "in every case",
    "Lambda": "a function of its user's",
    "SlicingOpLambda": "of an operator; see the tests of operator layers",
    "TFOpLambda": "of an operator; see the tests of operator layers",
    "TensorFlowOpLayer": "of an operator; see the tests of operator layers",
    "Wrapper": "a base class",
}
# Other names of a class: the file says the class' own.
SECOND_NAMES = ("AvgPool", "MaxPool", "GlobalAvgPool", "GlobalMaxPool", "Convolution")

KNOWN: dict[str, str] = {}


@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
@pytest.mark.parametrize("cases", rows(generate(KERAS_2_ARGUMENTS), KNOWN))
def test_what_tf_keras_writes_predicts_and_trains_on(
    cases: tuple[Case, ...], peer: Any, tmp_path: Path
) -> None:
    expected = peer.call("sweep.write", cases, str(tmp_path), FORMATS)
    wrong = {}
    for name in FORMATS:
        model = regraft.load_model(tmp_path / name)
        assert not regraft.load_report(model).notes
        found = models.follow(model, expected["x"], expected["y"])
        wrong[name] = models.differences(cases, expected["branches"], found, expected)
    assert wrong == {name: {} for name in FORMATS}


@pytest.mark.parametrize("name", sorted(KERAS_2_ARGUMENTS))
def test_class_of_keras_2_has_cases_or_a_reason(name: str) -> None:
    second = any(word in name for word in SECOND_NAMES) and "Pooling" not in name
    assert (name in BASES) + (name in WITHOUT_CASES) + second == 1


@pytest.mark.parametrize("name", sorted(set(KERAS_2_ARGUMENTS) & set(BASES)))
def test_argument_of_keras_2_has_values_or_a_reason(name: str) -> None:
    silent = {
        argument
        for argument in KERAS_2_ARGUMENTS[name]
        if not KERAS_2.values_of(name, argument) and argument not in REASONS
    }
    assert not silent
