"""Layers of somebody's own class, of a name that Keras has for another.

A file names classes without their module: `Attention` may be Keras' or the writer's.
Most configs tell; of the others Keras' class can't be called as the file says, or has
other variables; of those that say next to nothing, its results differ. Their traces do
what the writer's class did.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras

from regraft.loading.functions import FunctionStore
from regraft.loading.restore import RestorePlan, fits, plan_from_objects
from regraft.loading.revive import Reviver
from regraft.loading.verify import check_layer, function_store, traced_ops
from regraft.model.description import ModelDescription, ObjectNode
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.registry import builtin_layers, is_builtin
from regraft.model.state_tree import state_tree
from regraft.options import LoadOptions

# Keras' classes without weights whose configs say one or two things, and the ops that
# tf.keras computes them with. Another order of ops is run and compared.
_BARE: Mapping[str, tuple[str, ...]] = {
    "Identity": (),
    "Layer": (),
    "Rescaling": ("Mul", "AddV2"),
    "Softmax": ("Softmax",),
    "UnitNormalization": ("Square", "Sum", "Maximum", "Rsqrt", "Mul"),
}
_PLUMBING = frozenset(
    {"Cast", "Const", "Identity", "NoOp", "PartitionedCall", "StatefulPartitionedCall"}
)


def find_namesakes(reviver: Reviver, context: BuildContext) -> bool:
    """Takes layers that don't fit to their objects for others of the same name.

    Args:
        reviver: Knows the objects and their traces.
        context: Of the build that failed; its `namesakes` grow.

    Returns:
        Whether any more were found, so that another build may go further.
    """
    found = set()
    for node_id, layer in context.placed_layers.items():
        node = reviver.store.objects.nodes[node_id]
        if not isinstance(node, ObjectNode) or isinstance(layer, keras.Model):
            continue
        name = (node.metadata or {}).get("class_name")
        if name not in builtin_layers() or not reviver.can_call(node):
            continue
        if layer is context.stuck or _has_others(layer, node):
            found.add(node_id)
    return _are_new(found, context)


def _are_new(found: set[int], context: BuildContext) -> bool:
    """Adds to what is taken for others; False if all of it was known."""
    known = len(context.namesakes)
    context.namesakes |= found
    return len(context.namesakes) > known


def find_lookalikes(
    plan: RestorePlan,
    description: ModelDescription,
    context: BuildContext,
    options: LoadOptions,
) -> bool:
    """Takes layers that compute otherwise than their traces for others of that name.

    Only those are looked at whose config another class may well have, too.

    Args:
        plan: Where the values of a model came from.
        description: Of its file.
        context: Of the build; its `namesakes` grow.
        options: How much a trace may call.

    Returns:
        Whether any more were found, so that the model must be built again.
    """
    if context.dialect.generation > 2:
        return False
    bare = [
        (layer, node)
        for layer, node in plan.layers
        if context.placed_layers.get(node.node_id) is layer
        and (node.metadata or {}).get("class_name") in _BARE
        and is_builtin(type(layer))
    ]
    store = function_store(description, plan, options) if bare else None
    if store is None:
        return False
    found = {
        node.node_id
        for layer, node in bare
        if not _computes_alike(node, store)
        and any(not check.passed for check in check_layer(layer, node, store))
    }
    return _are_new(found, context)


def _computes_alike(node: ObjectNode, store: FunctionStore) -> bool:
    """Whether the traces of an object have the ops of Keras' class of its name."""
    expected = _BARE[str((node.metadata or {}).get("class_name"))]
    return all(
        tuple(op for op in ops if op not in _PLUMBING) == expected
        for ops in traced_ops(node, store)
    )


def _has_others(layer: keras.Layer, node: ObjectNode) -> bool:
    """Whether a built layer has other variables than its object."""
    if not layer.built or hasattr(layer, "saved_class_name"):
        return False
    plan = plan_from_objects(state_tree(layer), node)
    return bool(plan.missing) or not all(map(fits, plan.assignments))
