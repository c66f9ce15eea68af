"""Layers of somebody's own class, of a name that Keras has for another.

A file names classes without their module: `Attention` may be Keras' or the writer's.
Most configs tell; of the others Keras' class can't be called as the file says, or has
other variables. Their traces do what the writer's class did.
"""

from __future__ import annotations

import keras

from regraft.loading.restore import fits, plan_from_objects
from regraft.loading.revive import Reviver
from regraft.model.description import ObjectNode
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.registry import builtin_layers
from regraft.model.state_tree import state_tree


def find_namesakes(reviver: Reviver, context: BuildContext) -> bool:
    """Takes layers that don't fit to their objects for others of the same name.

    Args:
        reviver: Knows the objects and their traces.
        context: Of the build that failed; its `namesakes` grow.

    Returns:
        Whether any were found, so that another build may go further.
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
    context.namesakes |= found
    return bool(found)


def _has_others(layer: keras.Layer, node: ObjectNode) -> bool:
    """Whether a built layer has other variables than its object."""
    if not layer.built or hasattr(layer, "saved_class_name"):
        return False
    plan = plan_from_objects(state_tree(layer), node)
    return bool(plan.missing) or not all(map(fits, plan.assignments))
