"""What Regraft writes of every layer class of Keras 3 opens wherever it can.

The configurations come from the arguments of the classes' constructors, see `cases`; a
model of many of them is trained a step, saved in every way, and takes another step, as
do tf_keras and Regraft from the files. Keras 3's own loader opens the HDF5 files.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import keras
import pytest

from regraft.model.dialects.keras2_arguments import KERAS_2_ARGUMENTS
from sweep import reverse, values_keras3
from sweep.cases import Case
from sweep.groups import ELSEWHERE, class_of

CASES = reverse.all_cases()


def _share() -> tuple[Case, ...]:
    """A case each of a few classes, some of Keras 3 alone."""
    chosen = random.Random(2)
    open_everywhere = [c for c in CASES if not reverse.refusal(c) and not c.stateful]
    both = [c for c in open_everywhere if not reverse.cannot(c)]
    classes = chosen.sample(sorted({class_of(case) for case in both}), 8)
    return tuple(
        chosen.choice([c for c in both if class_of(c) == name]) for name in classes
    )


@pytest.mark.filterwarnings("ignore")  # What other loaders say is their own.
@pytest.mark.parametrize(
    "cases",
    [pytest.param(_share(), id="share")]
    + [
        pytest.param(cases, id=f"group {number}", marks=pytest.mark.slow)
        for number, cases in enumerate(reverse.groups(CASES).values())
    ],
)
def test_what_regraft_writes_opens_wherever_it_can(
    cases: tuple[Case, ...], peer: Any, tmp_path: Path
) -> None:
    wrong = reverse.Sweep(peer, tmp_path).measure(cases)
    unexpected = {}
    for case in cases:
        found, known = wrong[case.name], reverse.cannot(case)
        differing = {column: found.get(column) for column in found.keys() ^ known}
        if differing:
            unexpected[case.name] = differing
    assert not unexpected


# Classes of Keras 2 that forget what they are given, fail at it or cast otherwise.
_OTHERWISE = (
    r"L\.AlphaDropout\(.*noise_shape=",
    r"L\.EinsumDense\(.*activation='relu', activity_regularizer=",
    r"L\.GlobalAveragePooling1D\(\) masked",
    r"L\.GroupNormalization\(.*'float16'",
    r"L\.MultiHeadAttention\(.*output_shape=4, use_gate=True",
    r"L\.RNN\(.*'mixed_",
)


@pytest.mark.filterwarnings("ignore")
def test_saved_model_computes_as_keras_3_where_keras_2_would_not(
    peer: Any, tmp_path: Path
) -> None:
    cases = [case for case in CASES if re.search("|".join(_OTHERWISE), case.name)]
    assert len(cases) == len(_OTHERWISE)
    columns = [("tf_keras", "traces"), ("Regraft", "plain")]
    sweep = reverse.Sweep(peer, tmp_path, columns)
    assert not any(sweep.measure(cases).values())


@pytest.mark.filterwarnings("ignore")
def test_weights_of_bfloat16_open_from_hdf5_everywhere(
    peer: Any, tmp_path: Path
) -> None:
    words = r"^L\.(Conv1D|LayerNormalization)\(.*dtype='bfloat16'"
    cases = [case for case in CASES if re.search(words, case.name)]
    assert len(cases) == 2
    files = (("tf_keras", "keras2"), ("Regraft", "keras2"), ("Keras 3", "keras3"))
    assert not any(reverse.Sweep(peer, tmp_path, files).measure(cases).values())


measured_here = pytest.mark.skipif(
    not hasattr(keras.layers, "AdaptiveAveragePooling1D"),
    reason="The page was measured with a Keras that has more layers.",
)


@measured_here
def test_page_shows_what_was_measured() -> None:
    assert reverse.table(reverse.load_results()) in reverse.PAGE.read_text()


@measured_here
def test_what_was_measured_not_to_open_has_a_reason() -> None:
    by_name = {case.name: case for case in CASES}
    unexplained = {
        name: columns
        for name, columns in reverse.load_results().items()
        if columns != sorted(reverse.cannot(by_name[name]))
    }
    assert not unexplained


@pytest.mark.parametrize("name", sorted(reverse.arguments()))
def test_class_of_keras_3_has_cases_or_a_reason(name: str) -> None:
    words = (reverse.WORDS.bases, values_keras3.REASONS, ELSEWHERE)
    assert any(name in table for table in words)


def test_every_class_of_both_has_cases() -> None:
    both = set(reverse.arguments()) & set(KERAS_2_ARGUMENTS) & set(reverse.WORDS.bases)
    assert both - set(values_keras3.REASONS) <= {class_of(case) for case in CASES}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "case", [c for c in CASES if reverse.refusal(c)], ids=lambda case: case.name
)
def test_what_keras_3_is_said_to_refuse_it_refuses(case: Case) -> None:
    assert not reverse.trains(case)
