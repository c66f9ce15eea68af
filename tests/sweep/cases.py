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

from sweep.values import BASES, EXTRA, INPUTS, INVALID, TOGETHER, VALUES, Base

_RIDERS = re.compile(
    r".*_(initializer|regularizer|constraint)$|use_bias$|seed$|trainable$|name$"
)
_RANDOM = re.compile(
    r"Dropout\w*\(|Noise\(|\.Random|dropout=0\.[1-9]"
    r"|\.(AugMix|CutMix|MixUp|RandAugment)\("
)
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


@dataclasses.dataclass(frozen=True)
class Words:
    """What cases are made of: see `values`.

    Attributes:
        bases: How each class is made and called.
        values: What each argument is set to.
    """

    bases: Mapping[str, Base]
    values: Mapping[str, tuple[str, ...]]

    def values_of(self, class_name: str, argument: str) -> Sequence[str]:
        own = self.values.get(f"{class_name}.{argument}")
        return self.values.get(argument, ()) if own is None else own


KERAS_2 = Words(BASES, VALUES)


def generate(
    arguments: Mapping[str, Collection[str]], words: Words = KERAS_2
) -> list[Case]:
    """The configurations of every class in a table of arguments by class."""
    found: dict[str, Case] = {}
    for class_name in sorted(arguments):
        if class_name in words.bases:
            for case in _of_class(class_name, sorted(arguments[class_name]), words):
                found.setdefault(case.name, case)
    return list(found.values())


def _of_class(class_name: str, arguments: list[str], words: Words) -> Iterator[Case]:
    base = words.bases[class_name]
    riders: dict[str, Sequence[str]] = {}
    columns: list[dict[str, str]] = []
    for argument in (*arguments, "dtype", "trainable", "name", "activity_regularizer"):
        values = [
            value
            for value in words.values_of(class_name, argument)
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
    yield _case(class_name, {}, base)
    if base.inputs[0] == (4, 6) and len(base.inputs) == 1:
        yield dataclasses.replace(_case(class_name, {}, base), masked=True)
    for kwargs, inputs in EXTRA.get(class_name, ()):
        yield _case(class_name, kwargs, base, inputs)
    most = max((len(values) for values in riders.values()), default=0)
    for index in range(max(len(columns), most)):
        chosen = dict(columns[index]) if index < len(columns) else {}
        if len(chosen) > 1 or "dtype" not in chosen:
            _ride(chosen, riders, index)
        yield _case(class_name, chosen, base)
    yield from _drawn(class_name, columns, riders, base)


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
    class_name: str,
    columns: list[dict[str, str]],
    riders: Mapping[str, Any],
    base: Base,
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
        yield _case(class_name, chosen, base)


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
    class_name: str,
    chosen: Mapping[str, str],
    base: Base,
    inputs: Sequence[Any] | None = None,
) -> Case:
    arguments = {**base.needs, **chosen}
    spelled_out = ", ".join(f"{key}={value}" for key, value in arguments.items())
    for key, value in chosen.items():
        for spelled in (f"{class_name}.{key}={value}", f"{class_name}.{key}"):
            if inputs is None and spelled in INPUTS:
                inputs = INPUTS[spelled]
    return Case(f"L.{class_name}({spelled_out})", tuple(inputs or base.inputs))
