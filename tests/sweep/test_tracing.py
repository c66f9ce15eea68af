"""TensorFlow computes from the functions in a file what layers of every class compute.

The configurations come from the arguments of the classes' constructors, see `cases`;
a model of many of them, of unknown batch, is saved with its functions, and TensorFlow
calls these in inference and in training: outputs, gradients by inputs and by weights,
losses, and what a call in training writes.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from sweep import reverse, tracing
from sweep.cases import Case
from sweep.groups import class_of

CASES = [case for case in reverse.all_cases() if not reverse.refusal(case)]
GROUPS = tracing.groups(CASES)


def _share() -> tuple[Case, ...]:
    """A case each of some classes, whose training is not random."""
    chosen = random.Random(4)
    plain = [c for c in CASES if not c.is_random and not c.stateful]
    classes = chosen.sample(sorted({class_of(case) for case in plain}), 8)
    return tuple(
        chosen.choice([c for c in plain if class_of(c) == name]) for name in classes
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # What Keras says of its own is not ours.
@pytest.mark.parametrize(
    "cases",
    [pytest.param(_share(), id="share")]
    + [pytest.param(cases, id=name) for name, cases in GROUPS.items()],
)
def test_functions_of_layers_compute_what_the_layers_do(
    cases: tuple[Case, ...], peer: Any, tmp_path: Path
) -> None:
    wrong = tracing.Sweep(peer, tmp_path, ("saved_model",)).measure(cases)
    assert {name: said for name, said in wrong.items() if said} == {}
