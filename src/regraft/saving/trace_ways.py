"""The ways to trace a model, from the most general to the last resort."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """One way to trace a model.

    Attributes:
        lengths: What unknown lengths are called: see `length_name`.
        trains: Whether the call in training is traced too.
        note: What has to be said about it.
        least: What unknown lengths other than the batch are at least.
        multiple: What unknown lengths other than the batch are multiples of.
        is_partial: Whether the model may go without functions, if its layers have
            theirs.
    """

    lengths: str
    trains: bool = True
    note: str = ""
    least: int = 1
    multiple: int = 1
    is_partial: bool = False

    def because(self, failure: Exception | None) -> str:
        """Returns what has to be said, and why it came to that."""
        return self.note if failure is None else f"{self.note} ({failure})"


_ONE_SIZE = (
    "A layer can't be traced with unknown lengths, so the functions are for one "
    "example of the smallest size."
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
WAYS = (
    Way("each"),
    Way("shared"),
    *ROUND,
    Way("each", trains=False, note=NO_TRAINING),
    Way("fixed", note=_ONE_SIZE),
    Way("fixed", trains=False, note=f"{_ONE_SIZE} {NO_TRAINING}"),
    Way("each", is_partial=True, note=_NO_MODEL),
)
