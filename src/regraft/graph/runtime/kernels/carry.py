"""Values of a graph as a flat list of backend tensors, and back.

Loops and branches that are being traced can hand on tensors only. Variables,
tables and lists of tensors stand beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from regraft.errors import UnsupportedError
from regraft.graph.runtime.context import Context
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.lists import TensorList
from regraft.graph.runtime.plan import Plan


@dataclass(frozen=True)
class Fixed:
    """A value that stays what it is: a resource, or text that nobody changes."""

    value: Any


@dataclass(frozen=True)
class ListForm:
    """A `TensorList` whose items are one tensor of the carry."""

    like: TensorList


TENSOR = "tensor"
Form = Fixed | ListForm | str


def flatten(items: Sequence[Any]) -> tuple[list[Any], list[Form]]:
    """Returns the tensors of values, and what it takes to put them together."""
    tensors = []
    forms: list[Form] = []
    for item in items:
        if isinstance(item, TensorList):
            tensors.append(item.stacked())
            forms.append(ListForm(item))
        elif (
            isinstance(item, np.ndarray)
            and item.dtype == object
            and not isinstance(item, values.SymbolicArray)
        ):
            forms.append(Fixed(item))
        elif isinstance(item, np.ndarray) or keras.ops.is_tensor(item):
            tensors.append(values.to_tensor(item))
            forms.append(TENSOR)
        else:
            forms.append(Fixed(item))
    return tensors, forms


def unflatten(tensors: Sequence[Any], forms: Sequence[Form]) -> list[Any]:
    """Undoes `flatten`."""
    rest = iter(tensors)
    out: list[Any] = []
    for form in forms:
        if isinstance(form, Fixed):
            out.append(form.value)
        elif isinstance(form, ListForm):
            out.append(form.like.with_stacked(next(rest)))
        else:
            out.append(next(rest))
    return out


def check_fixed(before: Sequence[Form], after: Sequence[Form]) -> None:
    """Refuses a loop or branch that replaces what must stay.

    Raises:
        UnsupportedError: A resource or text differs.
    """
    for one, other in zip(before, after, strict=True):
        if isinstance(one, Fixed) != isinstance(other, Fixed) or (
            isinstance(one, Fixed)
            and isinstance(other, Fixed)
            and one.value is not other.value
        ):
            raise UnsupportedError(
                "A compiled loop or branch would have to choose between resources or "
                "texts. Call the function outside of jit."
            )


def plans_within(ctx: Context, plans: Sequence[Plan]) -> list[Plan]:
    """Returns plans and all that they call."""
    seen: set[str] = set()
    found: list[Plan] = []
    stack = list(plans)
    while stack:
        plan = stack.pop()
        found.append(plan)
        for name in plan.functions - seen:
            seen.add(name)
            stack.append(ctx.library.plan(name))
    return found


def written_variables(
    ctx: Context, plans: Sequence[Plan], items: Sequence[Any]
) -> list[Any]:
    """Returns the variables that plans with these arguments may change.

    The counter of rounds is one of them, in a run that has one.
    """
    within = plans_within(ctx, plans)
    found: dict[int, Any] = {}
    if any(plan.random for plan in within):
        found[id(ctx.seed_variable)] = ctx.seed_variable
    if any(plan.writes for plan in within):
        found |= {id(v): v for v in items if is_variable(v)}
    if ctx.rounds is not None:
        found[id(ctx.rounds)] = ctx.rounds
    return list(found.values())


def is_variable(value: Any) -> bool:
    """Whether a value is a resource that holds a tensor."""
    return hasattr(value, "read") and hasattr(value, "assign")
