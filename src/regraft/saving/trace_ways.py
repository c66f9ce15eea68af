"""The ways to trace a model, from the most general to the last resort."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from regraft import _compat
from regraft.errors import UnsupportedError
from regraft.graph.tracing.dims import eval_dim, symbols


@dataclass(frozen=True)
class Way:
    """One way to trace a model.

    Attributes:
        lengths: What unknown lengths are called: `each` has a name of its own, those of
            one axis have a `shared` one, all are `equal`, all but the batch are
            `short`, which is 1, or all are `fixed` to 1.
        trains: Whether the call in training is traced too.
        note: What has to be said about it.
        least: What unknown lengths other than the batch are at least.
        multiple: What unknown lengths other than the batch are multiples of.
        is_partial: Whether the model may go without functions, if its layers have
            theirs.
        demands: What layers demand of unknown lengths, as found on this way: a limit,
            or that one is another, which none after it names.
    """

    lengths: str
    trains: bool = True
    note: str = ""
    least: int = 1
    multiple: int = 1
    is_partial: bool = False
    demands: tuple[str, ...] = ()

    def with_demand_of(self, error: Exception) -> Way | None:
        """Returns this way with what an error demands; `None` if it demands nothing."""
        demand = _solved(_compat.demanded_of_lengths(error))
        if demand is None or demand in self.demands:
            return None
        if len(self.demands) == _MAX_DEMANDS:
            return None
        return replace(self, demands=(*self.demands, demand))

    def because(self, failure: Exception | None) -> str:
        """Returns what has to be said, and why it came to that.

        Args:
            failure: Why no way before this one could be gone.
        """
        said = [self.note] if self.note else []
        # That two lengths are alike shows wherever they are not.
        limits = [d for d in self.demands if not _NAME.match(d.partition(_ALIKE)[2])]
        if limits:
            said.append(_DEMANDS.format(", ".join(map(_in_words, limits))))
        if self.note and failure is not None:
            said.append(f"({failure})")
        return " ".join(said)


def _solved(demand: str | None) -> str | None:
    """Returns what makes a formula the number that it should be; else the demand."""
    formula, _, number = (demand or "").partition(_ALIKE)
    if not number.isdigit() or _NAME.fullmatch(formula):
        return demand
    names = symbols(formula)
    if len(names) != 1 or "b" in names:
        return None
    (name,) = names
    lengths = range(1, _MAX_LENGTH + 1)
    return next(
        (f"{name}{_ALIKE}{n}" for n in lengths if _is(formula, {name: n}, number)), None
    )


def _is(formula: str, lengths: dict[str, int], number: str) -> bool:
    """Whether a formula of these lengths gives a number."""
    try:
        return eval_dim(formula, lengths) == int(number)
    except (UnsupportedError, ZeroDivisionError):
        return False


def split_demands(demands: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Returns limits of lengths, and lengths that are others, by their names.

    Args:
        demands: Of a `Way`.
    """
    limits: list[str] = []
    alike: dict[str, str] = {}
    for demand in demands:
        left, _, right = demand.partition(_ALIKE)
        if not right:
            limits.append(demand)
            continue
        alike = {name: replaced(other, {left: right}) for name, other in alike.items()}
        alike[left] = right
    return [replaced(limit, alike) for limit in limits], alike


def replaced(formula: str, lengths: Mapping[str, str]) -> str:
    """Puts other lengths into a formula, by their names."""
    return _NAME.sub(lambda found: lengths.get(found[0], found[0]), formula)


def _in_words(formula: str) -> str:
    words = re.sub(r"\bb\b", "the batch", formula)
    words = re.sub(r"\bd\b", "each dimension", words)
    words = re.sub(r"\bd(\d+)_(\d+)", r"dimension \2 of input \1", words)
    return re.sub(r"\bd(\d+)", r"dimension \1", words)


_NAME = re.compile(r"\b[a-z]\w*")
_ONE_SIZE = (
    "A layer can't be traced with unknown lengths, so the functions are for one "
    "example of the smallest size."
)
_SHORT = (
    "A layer can't be traced with unknown lengths, so the functions are for lengths of "
    "1 in any batch."
)
NO_TRAINING = (
    "It can't be traced in training, so its functions do the same in training as in "
    "inference."
)
LOST_DERIVATIVE = (
    "The derivative that '{}' says it has isn't linear, so TensorFlow derives it from "
    "what it computes."
)
_NO_MODEL = (
    "A layer can't be written as TensorFlow ops: only other layers have functions."
)
_EQUAL = "Its layers fit together only where all unknown lengths are equal."
_LEAST = "Its functions are for unknown lengths of at least {}."
_MULTIPLES = (
    "Its layers fit together for some unknown lengths only; the functions are for "
    "multiples of {}."
)
_DEMANDS = "Its layers take no other lengths than these: {}."
_ALIKE = " == "
_MAX_LENGTH = 4096
# How many such demands are met before another way is tried.
_MAX_DEMANDS = 16
# What is halved k times and doubled again has its length back if that is a multiple
# of 2 ** k.
ROUND = (
    Way("equal", note=_EQUAL),
    *(
        Way(lengths, note=_LEAST.format(least), least=least)
        for least in (4, 32, 256)
        for lengths in ("each", "shared")
    ),
    *(
        Way(lengths, note=_MULTIPLES.format(multiple), multiple=multiple)
        for multiple in (2, 4, 8, 16, 32, 64)
        for lengths in ("each", "shared")
    ),
)
SHORT = (
    Way("short", note=_SHORT),
    Way("short", trains=False, note=f"{_SHORT} {NO_TRAINING}"),
)
WAYS = (
    Way("each"),
    Way("shared"),
    *ROUND,
    Way("each", trains=False, note=NO_TRAINING),
    *SHORT,
    Way("fixed", note=_ONE_SIZE),
    Way("fixed", trains=False, note=f"{_ONE_SIZE} {NO_TRAINING}"),
    Way("each", is_partial=True, note=_NO_MODEL),
)
