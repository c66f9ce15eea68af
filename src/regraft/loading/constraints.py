"""Constraints of weights whose layer has no class here, or no config that says them."""

from __future__ import annotations

from regraft.model.description import ModelDescription
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.objects import build_object
from regraft.model.state_tree import StateNode


def constrain_again(
    tree: StateNode, description: ModelDescription, context: BuildContext
) -> None:
    """Gives weights the constraints that a file of Regraft says they had."""
    wanted = description.extra.get("constraints")
    if not isinstance(wanted, dict):
        return
    for edge, variable in tree.edges():
        if edge not in wanted or variable.constraint is not None:
            continue
        try:
            found = build_object("constraints", wanted[edge], context, "a weight")
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            NotImplementedError,
        ):
            found = None  # Nothing that is wrong with it keeps the model from loading.
        if found is None:
            text = "its constraint is unknown: nothing applies it"
            context.note(f"weight {variable.path!r}", text)
        else:
            variable.constraint = found
