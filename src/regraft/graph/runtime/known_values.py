"""Whether a plan may need values that no compiled step knows: found without a run."""

from __future__ import annotations

from regraft.graph.runtime.plan import Plan, Step, flat_slots

# They are told by the shapes of tensors, which are known wherever the tensors are.
_OF_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank", "TensorListLength"})
# What a slice is of: bounds must be known, an index needn't.
_SLICE = "StridedSlice"


def may_need_values(plan: Plan) -> bool:
    """Whether a step needs what doesn't follow from shapes and constants alone.

    It errs on the safe side: only a try to compile the plan tells for sure. What
    functions that it calls need is theirs to say.
    """
    known = set(plan.constants)
    for step in plan.steps:
        slots = flat_slots(step.inputs)
        if known.issuperset(slots) or step.node.op in _OF_SHAPES:
            known.update(() if step.kernel.random else step.outputs)
        elif not known.issuperset(_needed(step)):
            return True
    return False


def _needed(step: Step) -> list[int]:
    if step.kernel.host:
        return flat_slots(step.inputs)
    if step.node.op == _SLICE:
        return flat_slots(step.inputs[1:])
    return flat_slots([step.inputs[place] for place in step.static])
