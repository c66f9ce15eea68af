"""The loop that runs a plan. It knows no op by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.errors import LimitError, MismatchError
from regraft.graph.runtime.context import DEAD, Call, Context
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.plan import Plan, Slots, Step
from regraft.graph.runtime.step_errors import as_typed

# Calls of calls: more is a function that calls itself without end.
MAX_CALL_DEPTH = 20_000
# Values that all of them together may hold.
MAX_HELD_SLOTS = 1 << 26


@dataclass(slots=True)
class _Frame:
    plan: Plan
    env: list[Any]
    position: int = 0


def run(plan: Plan, arguments: Sequence[Any], ctx: Context) -> list[Any]:
    """Runs a plan and returns its results.

    Functions that call functions don't deepen Python's stack.

    Args:
        plan: What to run.
        arguments: NumPy arrays, backend tensors, or resources.
        ctx: What it may touch.

    Raises:
        MismatchError: The number of arguments is wrong.
        UnsupportedError: A step cannot run with these values.
    """
    frames = [_enter(plan, arguments)]
    try:
        with np.errstate(all="ignore"):
            return _run(plan, frames, ctx)
    except Exception:
        first = frames[0] if frames else None
        if first is not None and first.position < len(first.plan.steps):
            ctx.failed = first.plan.steps[first.position]
        raise


def _run(plan: Plan, frames: list[_Frame], ctx: Context) -> list[Any]:
    held = plan.slot_count
    while True:
        frame = frames[-1]
        env = frame.env
        steps = frame.plan.steps
        while frame.position < len(steps):
            step = steps[frame.position]
            if frame.plan.switches:
                dead = _is_dead(step, env)
                if step.done is not None:
                    env[step.done] = DEAD if dead else None
                if dead:
                    _store(step, [DEAD] * len(step.outputs), frame)
                    continue
            result = _evaluate(step, env, ctx, frame.plan)
            if isinstance(result, Call):
                ctx.budget.spend(result.plan)
                held += result.plan.slot_count
                if len(frames) >= MAX_CALL_DEPTH or held > MAX_HELD_SLOTS:
                    raise LimitError(
                        "Functions call functions too deep",
                        expected=f"at most {MAX_CALL_DEPTH} deep, with "
                        f"{MAX_HELD_SLOTS} values",
                        object_path=frame.plan.name,
                    )
                frames.append(_enter(result.plan, result.arguments))
                break
            _finish(step, result, frame)
        else:
            results = [env[slot] for slot in frame.plan.results]
            held -= frames.pop().plan.slot_count
            if not frames:
                return results
            caller = frames[-1]
            step = caller.plan.steps[caller.position]
            _store(step, results, caller)


def _enter(plan: Plan, arguments: Sequence[Any]) -> _Frame:
    if len(arguments) != len(plan.arguments):
        raise MismatchError(
            f"Function '{plan.name}' takes {len(plan.arguments)} arguments, "
            f"received {len(arguments)}."
        )
    env: list[Any] = [None] * plan.slot_count
    for slot, value in plan.constants.items():
        env[slot] = value
    for slot, value in zip(plan.arguments, arguments, strict=True):
        env[slot] = value
    return _Frame(plan, env)


def _evaluate(step: Step, env: list[Any], ctx: Context, plan: Plan) -> Any:
    inputs = None
    try:
        inputs = [_load(group, env) for group in step.inputs]
        if step.references:
            inputs = [
                _dereferenced(value, group, step, ctx)
                for value, group in zip(inputs, step.inputs, strict=True)
            ]
        for index in step.static:
            inputs[index] = _static(inputs[index])
        if step.kernel.takes_context:
            return step.kernel.function(ctx, *inputs, **step.attrs)
        return step.kernel.function(*inputs, **step.attrs)
    except Exception as error:
        typed = as_typed(error, step, inputs, plan)
        if typed is error:
            raise
        raise typed from error


def _is_dead(step: Step, env: list[Any]) -> bool:
    """Whether a step is in a branch of TensorFlow 1 that is not taken."""
    found = [
        env[slot] is DEAD
        for group in step.inputs
        for slot in (group if isinstance(group, tuple) else (group,))
    ]
    if step.kernel.merges:
        return all(found)
    return any(found) or any(env[slot] is DEAD for slot in step.controls)


def _load(group: Slots, env: list[Any]) -> Any:
    if isinstance(group, tuple):
        return [env[slot] for slot in group]
    return env[group]


def _dereferenced(value: Any, group: Slots, step: Step, ctx: Context) -> Any:
    if isinstance(group, tuple):
        return [
            ctx.read(v) if slot in step.references and v is not DEAD else v
            for v, slot in zip(value, group, strict=True)
        ]
    return ctx.read(value) if group in step.references else value


def _static(value: Any) -> Any:
    if isinstance(value, list):
        return [values.static(item) for item in value]
    return values.static(value)


def _finish(step: Step, result: Any, frame: _Frame) -> None:
    count = len(step.outputs)
    if step.nested:
        flat: list[Any] = []
        for part in result:
            flat.extend(part if isinstance(part, list) else (part,))
        result = flat
    elif count == 1 and not isinstance(result, (list, tuple)):
        result = (result,)
    elif not count:
        result = ()
    _store(step, result, frame)


def _store(step: Step, results: Sequence[Any], frame: _Frame) -> None:
    if len(results) != len(step.outputs):
        raise MismatchError(
            f"Node '{step.node.name}' ({step.node.op}) of '{frame.plan.name}' has "
            f"{len(step.outputs)} results, its kernel gave {len(results)}."
        )
    env = frame.env
    for slot, value in zip(step.outputs, results, strict=True):
        env[slot] = values.normalized(value)
    for slot in step.frees:
        env[slot] = None
    frame.position += 1
