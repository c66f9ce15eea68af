"""The weights of a file → a model that is there."""

from __future__ import annotations

import keras

from regraft import _compat
from regraft.errors import MismatchError
from regraft.loading import restore
from regraft.loading.build import finalize, make_plan, writer_in
from regraft.loading.optimizer import restore_optimizer
from regraft.model.description import ModelDescription, ObjectNode
from regraft.model.dialects.context import BuildContext
from regraft.model.state_tree import state_tree


def assign_weights(
    model: keras.Model,
    description: ModelDescription,
    *,
    skip_mismatch: bool,
    by_name: bool = False,
    optimizer: bool = False,
) -> list[str]:
    """Gives a live model the values of a description.

    Args:
        model: Built.
        description: Its config is not looked at.
        skip_mismatch: Whether to leave a variable without a fitting value as it is.
        by_name: Whether only layers of the same name are matched, in an HDF5 file.
        optimizer: Whether the model's optimizer, if it has one, gets its state.

    Returns:
        What was skipped and why.

    Raises:
        MismatchError: A variable has no fitting value.
        NotImplementedError: `by_name` with a SavedModel.
    """
    skipped: list[str] = []
    if description.is_topology:
        raise MismatchError(f"'{description.path}' holds no weights.")
    if by_name:
        if description.weights is None:
            raise NotImplementedError("`by_name` goes with HDF5 files alone.")
        plan, skipped = restore.plan_from_names(
            state_tree(model),
            description.weights,
            writer_in(description),
            path=description.path,
            skip_mismatch=skip_mismatch,
        )
    else:
        plan = _plan(model, description)
    if not skip_mismatch:
        plan.check(description.path)
    skipped += [f"'{place}': the file has no value" for _, place in plan.missing]
    if skip_mismatch:
        skipped += plan.drop_mismatches()
    values = _compat.DeferredValues()
    restore.apply(plan, values, path=description.path)
    values.assign_existing()
    finalize(model)
    if optimizer:
        context = BuildContext(writer_in(description))
        restore_optimizer(model, description, plan, context)
        skipped += [f"'{note.object_path}': {note.text}" for note in context.notes]
    return skipped


def _plan(model: keras.Model, description: ModelDescription) -> restore.RestorePlan:
    """Matches a model with the file, or with the object in it that the model is.

    `tf.train.Checkpoint(model=model, …)` has it under a name of the user's choice.

    Raises:
        MismatchError: Several objects of the file could be the model.
    """
    tree = state_tree(model)
    plan = make_plan(description, tree)
    if plan.assignments or not plan.missing or description.objects is None:
        return plan
    below = {
        name: restore.plan_from_objects(tree, child)
        for name, child in description.objects.root.children.items()
        if isinstance(child, ObjectNode)
    }
    fitting = {
        name: found
        for name, found in below.items()
        if not found.missing and all(map(restore.fits, found.assignments))
    }
    if len(fitting) > 1 and model.name not in fitting:
        raise MismatchError(
            f"'{description.path}' holds several objects that fit the model "
            f"'{model.name}': {', '.join(sorted(fitting))}. One with the model's name "
            "would be taken."
        )
    return fitting.get(model.name) or next(iter(fitting.values()), plan)
