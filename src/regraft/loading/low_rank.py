"""Low-rank updates (LoRA) of layers whose maker knows nothing of them.

The config of a layer of the user's own doesn't say that `enable_lora` was called of one
inside of it.
"""

from __future__ import annotations

from regraft.model.description import ModelDescription
from regraft.model.state_tree import StateNode


def add_low_rank_updates(tree: StateNode, description: ModelDescription) -> bool:
    """Adds the updates that a model's layers had and its configs did not bring.

    Returns:
        Whether there were any, so that layers have further variables.
    """
    wanted = description.extra.get("low_rank")
    if not isinstance(wanted, dict):
        return False
    added = False
    for place, layer in tree.layers():
        if place in wanted and not getattr(layer, "lora_enabled", True):
            rank, alpha = wanted[place]
            layer.enable_lora(rank, lora_alpha=alpha)
            added = True
    return added
