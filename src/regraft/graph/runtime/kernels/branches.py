"""A choice between functions that depends on a traced value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from regraft.graph.runtime.context import Context
from regraft.graph.runtime.kernels import carry, values
from regraft.graph.runtime.plan import Plan


def traced_switch(
    ctx: Context, index: Any, plans: Sequence[Plan], inputs: Sequence[Any]
) -> list[Any]:
    """Returns the results of `plans[index]`; of a bool, 1 is the second.

    Variables that a branch writes leave it as results, whether written or not.
    """
    variables = carry.written_variables(ctx, plans, inputs)
    before = [values.to_tensor(ctx.read(v)) for v in variables]
    forms: list[list[carry.Form]] = []

    def branch(plan: Plan) -> Any:
        def run() -> list[Any]:
            inner = ctx.scoped(dict(zip(variables, before, strict=True)))
            results = inner.call(plan, inputs)
            tensors, form = carry.flatten(results)
            forms.append(form)
            # A branch may pass on a known number where the other has a tensor.
            state = [values.to_tensor(inner.read(v)) for v in variables]
            return [ops.convert_to_tensor(t) for t in (*tensors, *state)]

        return run

    branches = [branch(plan) for plan in plans]
    if values.dtype_of(index) == "bool":
        out = ops.cond(index, branches[1], branches[0])
    else:
        last = len(branches) - 1
        wrong = (index < 0) | (index > last)
        out = ops.switch(ops.where(wrong, last, index), branches)
    for form in forms[1:]:
        carry.check_fixed(forms[0], form)
    out = list(out)
    count = len(out) - len(variables)
    for variable, value in zip(variables, out[count:], strict=True):
        ctx.assign(variable, value)
    return carry.unflatten(out[:count], forms[0])
