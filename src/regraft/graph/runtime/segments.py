"""A plan taken apart: what the host computes, and what can be compiled.

Calls are written out in place, so that one text table deep inside of a function
doesn't keep the rest of it from being compiled. Each step has a level: the host's
are even, the device's odd, and a step is never below what it needs. What has one
level is one segment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from regraft.graph import ir
from regraft.graph.runtime.context import Context, KerasVariable
from regraft.graph.runtime.kernels.carry import plans_within
from regraft.graph.runtime.plan import (
    Plan,
    Slots,
    Step,
    flat_slots,
    output_sizes,
    with_frees,
)

# More steps than this are not written out; nobody compiles such a function.
MAX_STEPS = 200_000
# More segments than this cost more than they save.
MAX_SEGMENTS = 16
# Constants of numbers with more entries than this are arguments of what is compiled:
# the compiler would fold them, which takes longer than to compute with them.
SMALL = 1024
# Text, and numbers that the device may not hold exactly.
_EXACT = frozenset(("string", "int64", "uint64", "float64", "complex128"))


class NotCompilableError(Exception):
    """A plan runs step by step, for good; it never leaves the runtime."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Steps of one level.

    Attributes:
        plan: They, as a function of `plan.arguments`.
        takes: Slots of the whole whose values are the arguments.
        fixed: Whether each argument must be known while compiling.
        gives: Slots of the whole that take its results.
        on_device: Whether it is to be compiled.
    """

    plan: Plan
    takes: tuple[int, ...]
    fixed: tuple[bool, ...]
    gives: tuple[int, ...]
    on_device: bool


# ------------------------------------------------------------ calls written out


@dataclass(slots=True)
class _Open:
    """A function that is being written out."""

    plan: Plan
    slots: dict[int, int]
    position: int = 0


def inlined(plan: Plan, ctx: Context) -> Plan:
    """Returns a plan without calls of functions.

    Raises:
        NotCompilableError: It is too long.
    """
    writer = _Inliner(ctx)
    return writer.write(plan)


class _Inliner:
    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._count = 0
        self._calls = 0
        self._steps: list[Step] = []
        self._constants: dict[int, Any] = {}

    def _slot(self) -> int:
        self._count += 1
        return self._count - 1

    def write(self, plan: Plan) -> Plan:
        arguments = [self._slot() for _ in plan.arguments]
        opened = [self._open(plan, arguments)]
        results: list[int] = []
        while opened:
            current = opened[-1]
            if current.position == len(current.plan.steps):
                results = [current.slots[slot] for slot in current.plan.results]
                opened.pop()
                if opened:
                    caller = opened[-1]
                    step = caller.plan.steps[caller.position - 1]
                    caller.slots.update(zip(step.outputs, results, strict=True))
                continue
            step = current.plan.steps[current.position]
            current.position += 1
            callee = self._callee(step)
            if callee is None and not (step.inputs or step.outputs):
                continue  # It only orders others, which are in order.
            if callee is None:
                self._steps.append(self._moved(step, current.slots))
                if len(self._steps) > MAX_STEPS:
                    raise NotCompilableError
                continue
            given = [current.slots[s] for s in flat_slots(step.inputs)]
            self._calls += 1
            if self._calls > MAX_STEPS or len(given) != len(callee.arguments):
                raise NotCompilableError
            self._ctx.budget.spend(callee)
            opened.append(self._open(callee, given))
        return Plan(
            name=plan.name,
            arguments=tuple(arguments),
            results=tuple(results),
            steps=tuple(self._steps),
            constants=self._constants,
            slot_count=self._count,
            writes=any(s.kernel.writes for s in self._steps),
            random=any(s.kernel.random for s in self._steps),
        )

    def _callee(self, step: Step) -> Plan | None:
        if not step.kernel.calls or step.references:
            return None
        callee = self._ctx.plan(step.attrs["f"])
        return None if callee.switches else callee

    def _open(self, plan: Plan, arguments: Sequence[int]) -> _Open:
        if plan.switches:
            raise NotCompilableError
        slots = dict(zip(plan.arguments, arguments, strict=True))
        for slot, value in plan.constants.items():
            slots[slot] = self._slot()
            self._constants[slots[slot]] = value
        return _Open(plan, slots)

    def _moved(self, step: Step, slots: dict[int, int]) -> Step:
        for slot in step.outputs:
            slots[slot] = self._slot()
        return replace(
            step,
            inputs=tuple(_moved_group(group, slots) for group in step.inputs),
            references=frozenset(slots[s] for s in step.references),
            outputs=tuple(slots[s] for s in step.outputs),
            frees=(),
        )


def _moved_group(group: Slots, slots: Mapping[int, int]) -> Slots:
    if isinstance(group, tuple):
        return tuple(slots[s] for s in group)
    return slots[group]


# ------------------------------------------------------------ levels


@dataclass(frozen=True, slots=True)
class Given:
    """What is known of an argument when a plan is taken apart.

    Attributes:
        value: The value itself where it stays the same from call to call (a
            resource, a captured constant), else `None`.
        exact: Whether it is text or numbers that only the host holds exactly.
    """

    value: Any = None
    exact: bool = False


def segments_of(
    plan: Plan, given: Sequence[Given], ctx: Context, on_host: frozenset[int]
) -> list[Segment]:
    """Returns the segments of a plan without calls, in running order.

    Args:
        plan: What to take apart.
        given: What is known of each argument.
        ctx: Where functions are found.
        on_host: Numbers of steps that the host must compute besides.

    Raises:
        NotCompilableError: It is better run step by step.
    """
    known = {
        slot
        for slot, item in zip(plan.arguments, given, strict=True)
        if isinstance(item.value, np.ndarray) and not is_large(item.value)
    }
    levels = _Levels(plan, given, ctx, on_host).of_steps()
    order = sorted(range(len(levels)), key=lambda i: levels[i])
    groups: dict[int, list[int]] = {}
    for number in order:
        groups.setdefault(levels[number], []).append(number)
    if len(groups) > MAX_SEGMENTS or not any(level % 2 for level in groups):
        raise NotCompilableError
    return _cut(plan, groups, levels, known)


class _Levels:
    def __init__(
        self,
        plan: Plan,
        given: Sequence[Given],
        ctx: Context,
        on_host: frozenset[int],
    ) -> None:
        self._plan = plan
        self._ctx = ctx
        self._on_host = on_host
        self._level: dict[int, int] = {}
        self._exact: set[int] = set()
        self._neutral = set(plan.constants)
        self._resources: dict[int, Any] = {}
        self._wrote: dict[Any, int] = {}
        self._touched: dict[Any, int] = {}
        for slot, item in zip(plan.arguments, given, strict=True):
            self._level[slot] = 0
            if item.exact:
                self._exact.add(slot)
            elif _is_resource(item.value):
                self._resources[slot] = item.value
            elif item.value is not None:
                self._neutral.add(slot)

    def of_steps(self) -> list[int]:
        return [self._of(i, step) for i, step in enumerate(self._plan.steps)]

    def _of(self, number: int, step: Step) -> int:
        slots = flat_slots(step.inputs)
        within = self._functions(step)
        host = number in self._on_host or self._is_hosts(step, slots, within)
        writes = step.kernel.writes or any(plan.writes for plan in within)
        touched: dict[Any, None] = {
            id(self._resources[s]): None for s in slots if s in self._resources
        }
        if step.kernel.random or any(plan.random for plan in within):
            touched["random"] = None
            writes = True
        level = max((self._level.get(s, 0) for s in slots), default=0)
        for resource in touched:
            seen = self._touched if writes or host else self._wrote
            level = max(level, seen.get(resource, 0))
        level += (level % 2) != (not host)
        for resource in touched:
            self._touched[resource] = max(level, self._touched.get(resource, 0))
            if writes or host:
                self._wrote[resource] = level
        self._name_outputs(step, slots, level, host)
        return level

    def _functions(self, step: Step) -> list[Plan]:
        plans = [self._ctx.plan(ref) for ref in ir.function_refs(step.attrs)]
        return plans_within(self._ctx, plans)

    def _is_hosts(self, step: Step, slots: Sequence[int], within: Any) -> bool:
        kernel = step.kernel
        if kernel.host or kernel.checks or (kernel.takes_context and not slots):
            return True
        if any(s.kernel.host or s.kernel.checks for p in within for s in p.steps):
            return True
        held = [self._resources[s] for s in slots if s in self._resources]
        if any(not isinstance(one, KerasVariable) for one in held):
            return True
        exact = [s for s in slots if s in self._exact]
        if not exact:
            return False
        others = [s for s in slots if s not in self._exact and s not in self._neutral]
        return not others or bool(within)

    def _name_outputs(
        self, step: Step, slots: Sequence[int], level: int, host: bool
    ) -> None:
        kinds = _dtypes_of(step, self._ctx)
        for slot, (dtype, is_ref) in zip(step.outputs, kinds, strict=True):
            self._level[slot] = level
            if host:
                (self._exact if dtype in _EXACT else self._neutral).add(slot)
            if is_ref or dtype == "resource":
                self._resources[slot] = self._resource(step, slots, host)

    def _resource(self, step: Step, slots: Sequence[int], host: bool) -> Any:
        """Returns what an output that is a resource is: an input, or made now."""
        held = [self._resources[s] for s in slots if s in self._resources]
        if len(held) == 1:
            return held[0]
        if not host or slots:
            raise NotCompilableError
        return step.kernel.function(self._ctx, **step.attrs)


def _is_resource(value: Any) -> bool:
    return value is not None and not isinstance(value, np.ndarray)


def _dtypes_of(step: Step, ctx: Context) -> list[tuple[str, bool]]:
    op_def = ctx.library.op_defs[step.node.op]
    attrs = dict(step.node.attrs)
    for row in op_def.attrs:
        if row.name not in attrs and not isinstance(row.default, ir.Absent):
            attrs[row.name] = row.default
    found = []
    for arg, count in output_sizes(op_def, attrs):
        kinds = attrs.get(arg.type_list_attr or arg.type_attr, arg.type)
        for index in range(count):
            kind = kinds[index] if isinstance(kinds, tuple) else kinds
            name = kind.name if isinstance(kind, ir.DataType) else ""
            found.append((name, arg.is_ref))
    return found


# ------------------------------------------------------------ cutting


def _cut(
    plan: Plan,
    groups: Mapping[int, Sequence[int]],
    levels: Sequence[int],
    known: set[int],
) -> list[Segment]:
    last_use: dict[int, int] = dict.fromkeys(plan.results, 1 << 30)
    for step, level in zip(plan.steps, levels, strict=True):
        for slot in flat_slots(step.inputs):
            last_use[slot] = max(level, last_use.get(slot, 0))
    return [
        _segment(plan, level, [plan.steps[i] for i in groups[level]], last_use, known)
        for level in sorted(groups)
    ]


def _segment(
    plan: Plan,
    level: int,
    steps: Sequence[Step],
    last_use: Mapping[int, int],
    known: set[int],
) -> Segment:
    on_device = level % 2 == 1
    made = {slot for step in steps for slot in step.outputs}
    used = dict.fromkeys(s for step in steps for s in flat_slots(step.inputs))
    fixed = known | {
        slot
        for step in steps
        for i in step.static
        for slot in flat_slots((step.inputs[i],))
    }
    constants: dict[int, Any] = {}
    takes: list[int] = []
    for slot in used:
        if slot in made:
            continue
        value = plan.constants.get(slot)
        if value is None or (on_device and is_large(value) and slot not in fixed):
            takes.append(slot)
        else:
            constants[slot] = value
    gives = tuple(sorted(slot for slot in made if last_use.get(slot, -1) > level))
    part = Plan(
        name=plan.name,
        arguments=tuple(takes),
        results=gives,
        steps=with_frees(steps, {*gives, *constants}),
        constants=constants,
        slot_count=plan.slot_count,
        functions=ir.functions_of(step.node for step in steps),
        random=any(step.kernel.random for step in steps),
    )
    return Segment(
        part, tuple(takes), tuple(s in fixed for s in takes), gives, on_device
    )


def is_large(value: Any) -> bool:
    """Whether a known value is better an argument of what is compiled."""
    return (
        isinstance(value, np.ndarray) and value.dtype.kind in "f" and value.size > SMALL
    )
