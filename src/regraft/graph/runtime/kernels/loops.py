"""Loops: in Python where the condition is known, else as the backend's own.

While tracing, a loop whose condition depends on known values alone (counters and
limits, as in every recurrent layer) has a trip count that can be found by running
the part of the body that the condition depends on, on the host. Such a loop
becomes `fori_loop` with a fixed bound, through which gradients flow. Any other
becomes `while_loop`, through which none do.

The lists of tensors in a compiled loop have one length. Lists that grow by writing
behind their end get the length of the last round beforehand, which the same run on
the host finds. Where items are pushed, or lists resized, the rounds are laid out one
after the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph.runtime.context import Context
from regraft.graph.runtime.kernels import carry, values
from regraft.graph.runtime.kernels.lists import TensorList
from regraft.graph.runtime.plan import Plan

LOOPS = frozenset({"While", "StatelessWhile", "Enter"})


def run_loop(ctx: Context, cond: Plan, body: Plan, inputs: Sequence[Any]) -> list[Any]:
    """Returns the last results of `body`, begun with `inputs`."""
    state = list(inputs)
    if not _traces(state, ctx):
        return _eager(ctx, cond, body, state)
    trip = _trip(ctx, cond, body, state)
    if trip is None:
        # Where nothing is compiled, a gradient's tensors have values all the same.
        if not values.is_traced(ctx.call(cond, state)):
            return _eager(ctx, cond, body, state)
        most = _most_rounds(ctx, cond, body, state)
        return _traced(ctx, cond, body, state, most, ends_early=True)
    if trip.count < 2 or _resizes_lists(ctx, body, bool(trip.lengths)):
        for _ in range(trip.count):
            state = ctx.call(body, state)
        return state
    for i, length in trip.lengths.items():
        state[i] = state[i].resized(length)
    return _traced(ctx, cond, body, state, trip.count)


def _traces(state: Sequence[Any], ctx: Context) -> bool:
    return any(values.is_traced(_tensors_of(ctx, item)) for item in state)


def _tensors_of(ctx: Context, item: Any) -> list[Any]:
    """Returns the tensors that a loop variable holds now."""
    if isinstance(item, TensorList):
        return [tensor for tensor in item.items if tensor is not None]
    if hasattr(item, "read") and hasattr(item, "assign"):
        return [ctx.read(item)]
    return [item]


def _holds(results: Sequence[Any]) -> bool:
    return bool(np.asarray(values.static(results[0])).item())


def _eager(ctx: Context, cond: Plan, body: Plan, state: list[Any]) -> list[Any]:
    while True:
        goes_on = ctx.call(cond, state)
        # A compiled step doesn't know the random numbers that a body draws.
        if values.is_traced(goes_on):
            if _traces(state, ctx):
                return run_loop(ctx, cond, body, state)
            return _traced(ctx, cond, body, state, None)
        if not _holds(goes_on):
            return state
        state = ctx.call(body, state)


# How often a loop runs, and how long its lists get

_RESIZING = (
    *("TensorListPushBack", "TensorListPopBack", "TensorListResize"),
    *("TensorListConcatLists", "TensorListScatterIntoExistingList"),
)
_LENGTH_READING = ("TensorListLength", "TensorArraySizeV3", "TensorListStack")
# Of what writes an item: where its parameters for list and place stand.
_WRITING = {"TensorListSetItem": (0, 1), "TensorArrayWriteV3": (3, 1)}


@dataclasses.dataclass(frozen=True)
class _Trip:
    """What is known of a loop before it is compiled.

    Attributes:
        count: Of its rounds.
        lengths: In the end, of loop variables that are lists and grow.
    """

    count: int
    lengths: dict[int, int]


def _sliced(plan: Plan, wanted: Iterable[int]) -> tuple[Plan, set[int]]:
    """Returns the part of a plan that some slots need, and the arguments it reads."""
    results = tuple(wanted)
    needed = set(results)
    steps = []
    for step in reversed(plan.steps):
        if needed.intersection(step.outputs):
            steps.append(dataclasses.replace(step, frees=()))
            for group in step.inputs:
                needed.update(group if isinstance(group, tuple) else (group,))
    arguments = {i for i, slot in enumerate(plan.arguments) if slot in needed}
    part = dataclasses.replace(plan, steps=tuple(reversed(steps)), results=results)
    return part, arguments


def _closed(cond: Plan, body: Plan, places: Iterable[int]) -> list[int]:
    """Returns the loop variables that the condition and some slots depend on."""
    control = _sliced(cond, cond.results[:1])[1] | _sliced(body, places)[1]
    while True:
        _, needed = _sliced(body, [body.results[i] for i in sorted(control)])
        if needed <= control:
            return sorted(control)
        control |= needed


def _writes(body: Plan, state: Sequence[Any]) -> list[tuple[int, int]]:
    """Returns what the body writes behind an end: a list's variable, the place's slot.

    Of TensorFlow's two ways only one says whether a list may grow.
    """
    roots = {
        slot: i
        for i, slot in enumerate(body.arguments)
        if isinstance(state[i], TensorList)
    }
    found = []
    for step in body.steps:
        where = _WRITING.get(step.node.op)
        if where is None or not step.attrs.get("resize_if_index_out_of_bounds", True):
            continue
        written, place = (step.inputs[i] for i in where)
        if isinstance(written, int) and isinstance(place, int) and written in roots:
            roots[step.outputs[0]] = roots[written]
            found.append((roots[written], place))
    return found


def _trip(ctx: Context, cond: Plan, body: Plan, state: Sequence[Any]) -> _Trip | None:
    """Returns how a loop runs, or `None` where the data decide."""
    writes = _writes(body, state)
    places = [place for _, place in writes]
    control = _closed(cond, body, places)
    if not _known(control, body, state):
        # Places that the data decide are taken to lie inside.
        writes, places = [], []
        control = _closed(cond, body, places)
        if not _known(control, body, state):
            return None
    test, _ = _sliced(cond, cond.results[:1])
    step, _ = _sliced(body, [*(body.results[i] for i in control), *places])
    if any(s.kernel.takes_context for s in (*test.steps, *step.steps)):
        return None
    current: list[Any] = [None] * len(state)
    for i in control:
        current[i] = state[i]
    count, lengths = 0, {i: len(state[i]) for i, _ in writes}
    while True:  # The run's budget ends a loop that never ends.
        found = ctx.call(test, current)[0]
        if not isinstance(found, np.ndarray):
            return None
        if not found.item():
            break
        made = ctx.call(step, current)
        for i, value in zip(control, made[: len(control)], strict=True):
            current[i] = value
        for (i, _), place in zip(writes, made[len(control) :], strict=True):
            if not isinstance(place, np.ndarray):
                return None
            lengths[i] = max(lengths[i], int(place.item()) + 1)
        count += 1
    return _Trip(count, {i: n for i, n in lengths.items() if n > len(state[i])})


def _most_rounds(
    ctx: Context, cond: Plan, body: Plan, state: Sequence[Any]
) -> int | None:
    """Returns a bound of the rounds of a loop that is differentiated, if there is one.

    Rounds that the data end have no derivative as a loop of their own. Where the
    condition is several that must all hold, those that are known bound the rounds, as
    in recurrent layers over sequences of different lengths.
    """
    if not any(
        values.is_differentiated(tensor)
        for item in state
        for tensor in _tensors_of(ctx, item)
    ):
        return None
    found = [
        trip.count
        for part in _conjuncts(cond)
        if (trip := _trip(ctx, part, body, state)) is not None
    ]
    return min(found, default=None)


def _conjuncts(cond: Plan) -> list[Plan]:
    """Returns conditions that must all hold for a condition to hold."""
    by_output = {step.outputs[0]: step for step in cond.steps if step.outputs}
    pending, found = [cond.results[0]], []
    while pending:
        slot = pending.pop()
        step = by_output.get(slot)
        if step is not None and step.node.op == "LogicalAnd":
            pending += [each for each in step.inputs if isinstance(each, int)]
        else:
            found.append(dataclasses.replace(cond, results=(slot,)))
    return found if len(found) > 1 else []


def _known(control: Sequence[int], body: Plan, state: Sequence[Any]) -> bool:
    """Whether the host can follow; of what never changes it may ask the shape."""
    fixed = _invariant(body)
    return all(i in fixed or _is_array(state[i]) for i in control)


def _is_array(item: Any) -> bool:
    return isinstance(item, np.ndarray) and not isinstance(item, values.SymbolicArray)


def _resizes_lists(ctx: Context, body: Plan, grows: bool) -> bool:
    """Whether a round gives lists another length in a way that isn't foreseen."""
    operations = set(_RESIZING)
    if grows:
        operations.update(_LENGTH_READING)
    return any(
        step.node.op in operations
        for plan in carry.plans_within(ctx, [body])
        for step in plan.steps
    )


# Loops while tracing


def _invariant(body: Plan) -> set[int]:
    """Returns the loop variables that the body passes on unchanged."""
    return {
        i
        for i, (given, made) in enumerate(
            zip(body.arguments, body.results, strict=True)
        )
        if given == made
    }


def _with_known_lists(
    ctx: Context,
    body: Plan,
    state: list[Any],
    variables: Sequence[Any],
    fixed: set[int],
) -> list[Any]:
    """Returns the state with lists whose item shapes are known.

    A list that is reserved before the loop learns its item shape from the first
    round. That round is run for its shapes alone; compilers drop what it computes.
    """
    unknown = [
        i
        for i, item in enumerate(state)
        if i not in fixed and isinstance(item, TensorList) and not item.is_stackable
    ]
    if not unknown:
        return state
    inner = ctx.scoped({v: ctx.read(v) for v in variables})
    after = inner.call(body, state)
    for i in unknown:
        made = after[i]
        shape = made.shape_of_items() if isinstance(made, TensorList) else None
        if shape is None:
            raise UnsupportedError(
                "A compiled loop fills a list of tensors whose shape it doesn't show. "
                "Call the function outside of jit."
            )
        # Not the file's word but the seen shape: lengths may have been unknown.
        item: Any = state[i]
        state[i] = TensorList(item.dtype, shape, item.items)
    return state


def _traced(
    ctx: Context,
    cond: Plan,
    body: Plan,
    state: list[Any],
    count: int | None,
    *,
    ends_early: bool = False,
) -> list[Any]:
    """Runs a loop that is compiled.

    Args:
        ctx: Of the run.
        cond: Whether there is another round.
        body: A round.
        state: The loop variables.
        count: Of its rounds, if it is known.
        ends_early: Whether there may be fewer rounds.
    """
    variables = carry.written_variables(ctx, [cond, body], state)
    fixed = _invariant(body)
    state = _with_known_lists(ctx, body, state, variables, fixed)
    moving = [i for i in range(len(state)) if i not in fixed]
    tensors, forms = carry.flatten([state[i] for i in moving])
    before = [values.to_tensor(ctx.read(v)) for v in variables]

    def rebuilt(items: Sequence[Any]) -> tuple[list[Any], Context]:
        full = list(state)
        parts = carry.unflatten(items[: len(tensors)], forms)
        for i, value in zip(moving, parts, strict=True):
            full[i] = value
        held = dict(zip(variables, items[len(tensors) :], strict=True))
        return full, ctx.scoped(held)

    def step(items: Sequence[Any]) -> list[Any]:
        full, inner = rebuilt(items)
        if inner.rounds is not None and count is None:
            inner.assign(inner.rounds, inner.read(inner.rounds) + 1)
        made = inner.call(body, full)
        new, new_forms = carry.flatten([made[i] for i in moving])
        carry.check_fixed(forms, new_forms)
        after = [values.to_tensor(inner.read(v)) for v in variables]
        return [
            ops.cast(value, old.dtype)
            for value, old in zip((*new, *after), items, strict=True)
        ]

    def test(*items: Any) -> Any:
        full, inner = rebuilt(items)
        goes_on = ops.cast(values.to_tensor(inner.call(cond, full)[0]), "bool")
        if inner.rounds is None:
            return goes_on
        return goes_on & (inner.read(inner.rounds) < ctx.budget.rounds)

    def step_or_stay(items: Sequence[Any]) -> list[Any]:
        goes_on = items[-1] & test(*items[:-1])
        made = step(items[:-1])
        kept = [
            ops.where(goes_on, new, old) for new, old in zip(made, items, strict=False)
        ]
        return [*kept, goes_on]

    start = [ops.convert_to_tensor(t) for t in (*tensors, *before)]
    if count is not None and ends_early:
        begin = [*start, ops.convert_to_tensor(True)]
        out = ops.fori_loop(0, count, lambda _, items: step_or_stay(items), begin)[:-1]
    elif count is not None:
        out = ops.fori_loop(0, count, lambda _, items: step(items), start)
    else:
        out = ops.while_loop(test, lambda *items: tuple(step(items)), tuple(start))
    final, inner = rebuilt(list(out))
    for variable in variables:
        ctx.assign(variable, inner.read(variable))
    return final
