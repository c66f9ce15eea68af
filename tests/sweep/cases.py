"""Configurations of layer classes, generated from the arguments of their constructors.

Each class is made with its defaults, with each value that changes what it computes
(`values.VALUES`), and with seeded draws of several. Arguments that go with any other
(initializers, regularizers, constraints) ride along in turn, so that each of their
values comes at least once for each class.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sweep.values import BASES, EXTRA, INPUTS, INVALID, TOGETHER, VALUES

_RIDERS = re.compile(
    r".*_(initializer|regularizer|constraint)$|use_bias$|seed$|trainable$|name$"
)
_RANDOM = re.compile(r"Dropout\w*\(|Noise\(|\.Random|dropout=0\.[1-9]")
_DRAWS = 2


@dataclasses.dataclass(frozen=True)
class Case:
    """One configuration of one layer class.

    Attributes:
        expression: Makes the layer, from `L` and `keras`.
        inputs: Shapes without the batch; `(shape, high)` for integers.
        masked: Whether it gets a mask.
    """

    expression: str
    inputs: tuple[Any, ...]
    masked: bool = False

    @property
    def name(self) -> str:
        return self.expression + (" masked" if self.masked else "")

    @property
    def is_random(self) -> bool:
        """Whether it draws random numbers in training."""
        return _RANDOM.search(self.expression) is not None

    @property
    def stateful(self) -> bool:
        return "stateful=True" in self.expression

    def data(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def generate(arguments: Mapping[str, Collection[str]]) -> list[Case]:
    """The configurations of every class in a table of arguments by class."""
    found: dict[str, Case] = {}
    for class_name in sorted(arguments):
        if class_name in BASES:
            for case in _of_class(class_name, sorted(arguments[class_name])):
                found.setdefault(case.name, case)
    return list(found.values())


def values_of(class_name: str, argument: str) -> Sequence[str]:
    return VALUES.get(f"{class_name}.{argument}", VALUES.get(argument, ()))


def _of_class(class_name: str, arguments: list[str]) -> Iterator[Case]:
    base = BASES[class_name]
    riders: dict[str, Sequence[str]] = {}
    columns: list[dict[str, str]] = []
    for argument in (*arguments, "dtype", "trainable", "name", "activity_regularizer"):
        values = [
            value
            for value in values_of(class_name, argument)
            if not {(class_name, argument), (class_name, f"{argument}={value}")}
            & INVALID
        ]
        if argument == "dtype":  # one that mixes, and one that doesn't
            chosen = random.Random(class_name)
            mixed = [value for value in values if "mixed" in value]
            plain = [value for value in values if "mixed" not in value]
            values = [chosen.choice(kind) for kind in (mixed, plain) if kind]
        if _RIDERS.match(argument):
            riders[argument] = values
        else:
            columns += [_together(class_name, argument, value) for value in values]
    yield _case(class_name, {})
    if base.inputs[0] == (4, 6) and len(base.inputs) == 1:
        yield dataclasses.replace(_case(class_name, {}), masked=True)
    for kwargs, inputs in EXTRA.get(class_name, ()):
        yield _case(class_name, kwargs, inputs)
    most = max((len(values) for values in riders.values()), default=0)
    for index in range(max(len(columns), most)):
        chosen = dict(columns[index]) if index < len(columns) else {}
        if len(chosen) > 1 or "dtype" not in chosen:
            _ride(chosen, riders, index)
        yield _case(class_name, chosen)
    yield from _drawn(class_name, columns, riders)


def _ride(chosen: dict[str, str], riders: Mapping[str, Any], index: int) -> None:
    for number, (argument, values) in enumerate(sorted(riders.items())):
        # Each second one is left at its default, the others in turn.
        place = index + number
        if values and place % 2 == 0 and argument not in chosen:
            chosen[argument] = values[place // 2 % len(values)]
    if chosen.get("use_bias") == "False":
        for argument in [key for key in chosen if key.startswith("bias_")]:
            del chosen[argument]


def _drawn(
    class_name: str, columns: list[dict[str, str]], riders: Mapping[str, Any]
) -> Iterator[Case]:
    rng = random.Random(class_name)
    usable = [c for c in columns if "dtype" not in c]
    for index in range(_DRAWS):
        if len(usable) < 3:
            return
        chosen: dict[str, str] = {}
        for column in rng.sample(usable, 2):
            if not chosen.keys() & column.keys():
                chosen |= column
        if any(pair <= chosen.keys() for pair in _APART):
            continue
        _ride(chosen, riders, index + 7)
        yield _case(class_name, chosen)


# Arguments that can't both be set.
_APART: tuple[frozenset[str], ...] = (
    frozenset({"strides", "dilation_rate"}),
    frozenset({"padding", "output_padding"}),
    frozenset({"data_format", "axis"}),
    frozenset({"data_format", "cropping"}),
    frozenset({"time_major", "unroll"}),
    frozenset({"renorm", "axis"}),
)


def _together(class_name: str, argument: str, value: str) -> dict[str, str]:
    others = TOGETHER.get(f"{class_name}.{argument}", TOGETHER.get(argument, {}))
    return {argument: value, **others}


def _case(
    class_name: str, chosen: Mapping[str, str], inputs: Sequence[Any] | None = None
) -> Case:
    base = BASES[class_name]
    arguments = {**base.needs, **chosen}
    words = ", ".join(f"{key}={value}" for key, value in arguments.items())
    for key, value in chosen.items():
        for spelled in (f"{class_name}.{key}={value}", f"{class_name}.{key}"):
            if inputs is None and spelled in INPUTS:
                inputs = INPUTS[spelled]
    return Case(f"L.{class_name}({words})", tuple(inputs or base.inputs))
