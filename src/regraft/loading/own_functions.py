"""Functions that layers and models of a file have beside their `call`."""

from __future__ import annotations

from collections.abc import Iterable

import keras

from regraft.loading.functions import FunctionStore
from regraft.loading.read import own_functions
from regraft.loading.revived_layer import Revived
from regraft.model.description import ObjectNode
from regraft.model.state_tree import is_network


def give_functions(
    layers: Iterable[tuple[keras.Layer, ObjectNode]], store: FunctionStore
) -> None:
    """Lets layers without their class have the functions that it decorated.

    They are attributes, as where Keras 2 loads the file without the class, and compute
    with the weights that the layer has now. What Keras 3 has of that name stays.

    Args:
        layers: Live layers, and their objects in the file.
        store: The file's functions.
    """
    for layer, node in layers:
        if not isinstance(layer, Revived) and not is_network(layer):
            continue
        given = [name for name in own_functions(node) if not hasattr(layer, name)]
        for name in given:
            setattr(layer, name, store.function(node.child(name)))
        if given:
            layer.saved_function_names = tuple(given)
