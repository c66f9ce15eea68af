"""Calls, branches and loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from regraft.errors import MismatchError, UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.context import DEAD, Call, Context
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.branches import traced_switch
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.kernels.loops import run_loop
from regraft.graph.runtime.registry import kernel, register

_CALL_ATTRS = ("Tin", "Tout", "config", "config_proto", "executor_type")
_BRANCH_ATTRS = ("Tcond", "Tin", "Tout", "output_shapes")


@kernel("PartitionedCall", "StatefulPartitionedCall", calls=True, ignored=_CALL_ATTRS)
def partitioned_call(ctx: Context, inputs: list[Any], *, f: ir.FunctionRef) -> Call:
    """The results of a function."""
    return Call(ctx.plan(f), inputs)


@kernel(
    "BatchFunction",
    calls=True,
    ignored=(
        *("Tin", "Tcaptured", "Tout", "container", "shared_name", "batching_queue"),
        *("num_batch_threads", "max_batch_size", "batch_timeout_micros"),
        *(
            "max_enqueued_batches",
            "allowed_batch_sizes",
            "enable_large_batch_splitting",
        ),
        *("low_priority_max_batch_size", "low_priority_batch_timeout_micros"),
        *("low_priority_allowed_batch_sizes", "low_priority_max_enqueued_batches"),
        *("mixed_priority_policy", "batch_padding_policy"),
    ),
)
def batch_function(
    ctx: Context,
    in_tensors: list[Any],
    captured_tensors: list[Any],
    *,
    f: ir.FunctionRef,
) -> Call:
    """The results of a function; each call is a batch of its own."""
    return Call(ctx.plan(f), [*in_tensors, *captured_tensors])


@kernel("RemoteCall", ignored=("Tin", "Tout"))
def remote_call(
    ctx: Context, target: Any, inputs: list[Any], *, f: ir.FunctionRef
) -> Call:
    """The results of a function; here is the only place there is."""
    del target
    return Call(ctx.plan(f), inputs)


def is_true(cond: Any) -> bool:
    """Whether a known condition holds: a number not 0, a text or list not empty."""
    cond = np.asarray(cond)
    if cond.ndim:
        return cond.size > 0
    return bool(cond.item())


@kernel("If", "StatelessIf", ignored=_BRANCH_ATTRS)
def if_(
    ctx: Context,
    cond: Any,
    inputs: list[Any],
    *,
    then_branch: ir.FunctionRef,
    else_branch: ir.FunctionRef,
) -> Any:
    """The results of one of two functions."""
    if not values.is_traced(cond):
        chosen = then_branch if is_true(values.static(cond)) else else_branch
        return Call(ctx.plan(chosen), inputs)
    if values.rank_of(cond):
        size = int(np.prod(values.shape_of(cond)))
        return Call(ctx.plan(then_branch if size else else_branch), inputs)
    index = values.cast(cond, "bool")
    plans = [ctx.plan(else_branch), ctx.plan(then_branch)]
    return traced_switch(ctx, index, plans, inputs)


@kernel("Case", "StatelessCase", ignored=("Tin", "Tout", "output_shapes"))
def case(
    ctx: Context,
    branch_index: Any,
    inputs: list[Any],
    *,
    branches: tuple[ir.FunctionRef, ...],
) -> Any:
    """The results of one of several functions; the last one for a wrong index."""
    plans = [ctx.plan(branch) for branch in branches]
    if values.is_traced(branch_index):
        return traced_switch(ctx, branch_index, plans, inputs)
    index = int(values.static(branch_index))
    return Call(plans[index if 0 <= index < len(plans) else -1], inputs)


@kernel(
    "While",
    "StatelessWhile",
    ignored=("T", "output_shapes", "parallel_iterations"),
)
def while_(
    ctx: Context, inputs: list[Any], *, cond: ir.FunctionRef, body: ir.FunctionRef
) -> list[Any]:
    """A function's results put into it again, as long as another one says so."""
    return run_loop(ctx, ctx.plan(cond), ctx.plan(body), inputs)


@kernel("For", ignored=("T",))
def for_(
    ctx: Context,
    start: Any,
    limit: Any,
    delta: Any,
    inputs: list[Any],
    *,
    body: ir.FunctionRef,
) -> Sequence[Any]:
    """A function applied once per number of a range."""
    plan = ctx.plan(body)
    bounds = [int(values.static(v)) for v in (start, limit, delta)]
    state = list(inputs)
    for index in range(*bounds):
        state = ctx.call(plan, [np.int32(index), *state])
    return state


@kernel(
    "MapDefun",
    ignored=(
        *("Targuments", "Tcaptured", "output_types", "output_shapes"),
        "max_intra_op_parallelism",
    ),
)
def map_defun(
    ctx: Context,
    arguments: list[Any],
    captured_inputs: list[Any],
    *,
    f: ir.FunctionRef,
) -> list[Any]:
    """A function applied to each row of its arguments, the results stacked."""
    plan = ctx.plan(f)
    count = values.shape_of(arguments[0])[0]
    rows = [
        ctx.call(plan, [*(a[place, ...] for a in arguments), *captured_inputs])
        for place in range(int(count))
    ]
    if not rows:
        raise UnsupportedError("A function over no rows.")
    return [xp.stack(list(column)) for column in zip(*rows, strict=True)]


@kernel("NoOp")
def no_op() -> None:
    """Nothing."""


@kernel("ControlTrigger")
def control_trigger() -> None:
    """Nothing; it only orders others."""


@kernel(
    "Assert",
    checks=True,
    ignored=("T", "summarize"),
    limits="checked where it is concrete",
)
def assert_(condition: Any, data: list[Any]) -> None:
    """Refuses values that a graph itself refuses."""
    if values.is_traced(condition) or is_true(values.static(condition)):
        return
    parts = [str(values.static(d)) for d in data if not values.is_traced(d)]
    raise MismatchError(f"The graph refuses its input: {' '.join(parts)}")


@kernel("Print", ignored=("U", "message", "first_n", "summarize"))
def print_(input: Any, data: list[Any]) -> Any:
    """The input; loading a model prints nothing."""
    del data
    return input


@kernel("PrintV2", ignored=("output_stream", "end"))
def print_v2(input: Any) -> None:
    """Nothing; loading a model prints nothing."""
    del input


# Conditionals of TensorFlow 1; its loops become `While` before they run


def _switch(data: Any, pred: Any) -> tuple[Any, Any]:
    if values.is_traced(pred):
        raise UnsupportedError(
            "A conditional of TensorFlow 1 that depends on the values of the inputs "
            "has no two branches that could both be compiled: one changes a variable "
            "by reference, or ends nowhere. Call the function outside of jit."
        )
    return (DEAD, data) if is_true(values.static(pred)) else (data, DEAD)


def _merge(inputs: list[Any]) -> tuple[Any, Any]:
    for index, value in enumerate(inputs):
        if value is not DEAD:
            return value, np.int32(index)
    return DEAD, DEAD


for _op in ("Switch", "RefSwitch"):
    register(_op, _switch, switches=True)
for _op in ("Merge", "RefMerge"):
    register(_op, _merge, merges=True, ignored=("N",))


@kernel("LoopCond")
def loop_cond(input: Any) -> Any:
    """The condition itself."""
    return input
