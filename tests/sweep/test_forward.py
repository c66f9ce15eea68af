"""What tf_keras writes of every layer class opens here, predicts and trains on.

The configurations come from the arguments of the classes' constructors, see `cases`.
tf_keras trains a model of many of them for a step, saves it and takes another step;
Regraft opens the file, predicts, and takes that step too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import regraft
from peer import PeerError
from regraft.errors import UnsupportedError
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

# What tf_keras can't build, train or save itself (regular expressions of names).
REFUSED = {
    r"L\.AveragePooling3D\(.*dtype='(mixed_)?float16'": "no kernel on a CPU",
    r"CategoryEncoding\(.*dtype=": "counts in float32 and float64 alone",
    r"Conv1DTranspose\(.*dilation_rate=2": "no kernel on a CPU",
    r"ConvLSTM\dD\(.*unroll=True": "not unrolled",
    r"Cropping1D\(.*cropping=2": "nothing is left of four rows",
    r"DepthwiseConv\dD\(.*filters=": "given by `depth_multiplier`",
    r"Discretization\(.*dtype='mixed_": "asks whether the policy is an integer",
    r"(GRU|LSTM|SimpleRNN)\(.*dtype='bfloat16'": "the initializer has no bfloat16",
    r"GroupNormalization\(groups=2, axis=2": "two groups of five channels",
    r"L\.Normalization\(mean=.*0\.6\],.*axis=1": "six means of four rows",
    r"L\.RNN\(.*dtype=": "the cell has a dtype of its own",
    r"Resizing\(.*interpolation='area'": "no gradient",
    r"L\.Softmax\(\) masked": "the mask's shape is taken for the input's",
    r"SpectralNormalization\(.*dtype='mixed_": "its vector changes dtype",
    r"SyncBatchNormalization\(.*fused=True": "it is never fused",
    r"SyncBatchNormalization\(.*synchronized=True": "always given",
}
# What nothing here can run: regular expressions of names, and what the error says.
UNSUPPORTED = {
    r"Conv\dDTranspose\(.*groups=2": "no groups=2 in Conv",
    r"SeparableConv\dD\(.*groups=2": "no groups=2 in SeparableConv",
    r"ConvLSTM\dD\(.*time_major=True": "no time_major=True in ConvLSTM",
    r"Random(Height|Width)\(": "gives every step another size",
}


def _matching(patterns: Iterable[str]) -> list[Case]:
    return [
        case
        for case in generate(KERAS_2_ARGUMENTS)
        if any(re.search(pattern, case.name) for pattern in patterns)
    ]


def _runnable() -> list[Case]:
    others = {case.name for case in _matching([*REFUSED, *UNSUPPORTED])}
    return [case for case in generate(KERAS_2_ARGUMENTS) if case.name not in others]


@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
@pytest.mark.parametrize("cases", rows(_runnable(), {}))
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


# What Keras 3 alone would do otherwise than the Keras that wrote it.
OTHERWISE = (
    r"L\.LSTM\(.*stateful=True",
    r"L\.Identity\(\) masked",
    r"L\.UnitNormalization\(\)",
    r"SeparableConv1D\(.*padding='causal'",
    r"SpectralNormalization\((?!.*trainable=False)",
    r"MultiHeadAttention\(.*dtype='mixed_float16'",
    r"ConvLSTM1D\(.*_constraint='non_neg'.*L1",
)


@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
def test_what_keras_3_does_otherwise_goes_on_as_in_keras_2(
    peer: Any, tmp_path: Path
) -> None:
    cases = tuple(_matching([pattern])[0] for pattern in OTHERWISE)
    expected = peer.call("sweep.write", cases, str(tmp_path), ("h5",))
    found = models.follow(
        regraft.load_model(tmp_path / "h5"), expected["x"], expected["y"]
    )
    assert not models.differences(cases, expected["branches"], found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("case", _matching(REFUSED), ids=lambda case: case.name)
def test_what_tf_keras_refuses_it_refuses(
    case: Case, peer: Any, tmp_path: Path
) -> None:
    with pytest.raises(PeerError):
        peer.call("sweep.write", (case,), str(tmp_path), FORMATS)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", UNSUPPORTED)
def test_what_nothing_here_can_run_is_refused_by_name(
    pattern: str, peer: Any, tmp_path: Path
) -> None:
    cases = [c for c in _matching([pattern]) if c not in _matching(REFUSED)]
    assert cases
    for index, case in enumerate(cases):
        folder = tmp_path / str(index)
        expected = peer.call("sweep.write", (case,), str(folder), ("plain", "h5"))
        for name in ("plain", "h5"):
            with pytest.raises(UnsupportedError, match=UNSUPPORTED[pattern]):
                models.follow(
                    regraft.load_model(folder / name), expected["x"], expected["y"]
                )


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
