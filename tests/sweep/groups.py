"""Cases put together into models, and what is known not to be equal."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from sweep.cases import Case

SIZE = 20
# Classes in the model of `make test`'s share, one case of each.
SHARE = 16
# Classes of both packages that have tests of their own, and why.
ELSEWHERE = {
    "GRUCell": "inside RNN",
    "LSTMCell": "inside RNN",
    "SimpleRNNCell": "inside RNN",
    "StackedRNNCells": "inside RNN",
    "Hashing": "of strings",
    "HashedCrossing": "of strings",
    "IntegerLookup": "of a vocabulary",
    "StringLookup": "of strings",
    "TextVectorization": "of strings",
}


def rows(cases: Sequence[Case], known: Mapping[str, str]) -> list[Any]:
    """Parameters: a seeded share over many classes, the rest `slow`, what is known
    to differ in models of its own.

    Args:
        cases: All of them.
        known: Regular expressions of names, and why they differ.
    """
    found, apart = [], []
    by_kind: dict[Any, list[Case]] = {}
    for case in cases:
        reason = next((r for p, r in known.items() if re.search(p, case.name)), None)
        if reason is not None:
            marks = [pytest.mark.slow, pytest.mark.xfail(strict=True, reason=reason)]
            apart.append(pytest.param((case,), id=case.name, marks=marks))
            continue
        # One batch size, and one length of the batch, in each model.
        time_major = "time_major=True" in case.name
        kind = (class_of(case), case.stateful, time_major)
        by_kind.setdefault(kind, []).append(case)
    found.append(pytest.param(_share(by_kind), id="share"))
    for (name, stateful, time_major), members in by_kind.items():
        for start in range(0, len(members), SIZE):
            words = [name, "stateful"[: 8 * stateful], "time_major"[: 10 * time_major]]
            label = " ".join(filter(None, words)) + f" {start // SIZE}"
            group = tuple(members[start : start + SIZE])
            found.append(pytest.param(group, id=label, marks=pytest.mark.slow))
    return found + apart


def _share(by_kind: Mapping[Any, Sequence[Case]]) -> tuple[Case, ...]:
    rng = random.Random(0)
    plain = [kind for kind in by_kind if not kind[1] and not kind[2]]
    chosen = rng.sample(plain, min(SHARE, len(plain)))
    return tuple(rng.choice(by_kind[kind]) for kind in chosen)


def class_of(case: Case) -> str:
    return case.expression.partition("(")[0].removeprefix("L.")
