"""Which variables of a loaded model are trained."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from regraft import _compat
from regraft.loading.restore import RestorePlan
from regraft.model.description import (
    ModelDescription,
    ObjectNode,
    OrderedWeights,
    Variable,
)
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.names import original_name
from regraft.model.state_tree import StateNode


def train_as_saved(
    model: keras.Model, tree: StateNode, description: ModelDescription
) -> None:
    """Marks what of a model is trained, as its file says or its classes do."""
    if train_again(tree, description):
        return
    freeze_again(model)
    if description.weights is not None:
        freeze_forward_layers(model, description.weights)


def train_again(tree: StateNode, description: ModelDescription) -> bool:
    """Marks each variable as trainable or not, if the file says so of each."""
    edges = dict(tree.edges())
    flags = description.extra.get("trainable")
    if isinstance(flags, list) and len(flags) == len(edges):
        # As files said it in the order in which variables are made, which `quantize`
        # changes.
        flags = dict(zip(edges, flags, strict=True))
    if not isinstance(flags, dict) or flags.keys() != edges.keys():
        return False
    for edge, variable in edges.items():
        variable.trainable = bool(flags[edge])
    return True


def freeze_again(model: keras.Model) -> None:
    """Marks the variables of frozen layers as not trainable.

    Keras 3 marks only those that exist when `trainable` is set; a layer whose
    config says `trainable: false` makes its variables afterwards.

    Who sets `trainable` of a layer sets that of the layers inside too. A model or a
    wrapper that is not trained but has layers that are was made so
    (`Model(…, trainable=False)`): its layers compute as in training
    (BatchNormalization), and nothing is optimized.
    """
    pending = [model]
    seen = set()
    while pending:
        layer = pending.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        below = _compat.sublayers(layer)
        made_so = any(b.trainable for b in below)
        if not layer.trainable and not made_so:
            layer.trainable = False
        elif not layer.trainable and layer is not model:
            # Whoever holds it looks at the variables alone.
            for variable in layer.variables:
                variable.trainable = False
        pending.extend(below)


def freeze_directions(plan: RestorePlan) -> None:
    """Freezes what was frozen inside the Bidirectional layers of a SavedModel.

    Keras 2's config of one describes the layer that both directions were copied of.
    """
    for layer, node in plan.layers:
        if isinstance(layer, keras.layers.Bidirectional) and layer.trainable:
            for edge in ("forward_layer", "backward_layer"):
                child = node.child(edge)
                trains = (getattr(child, "metadata", None) or {}).get("trainable")
                if isinstance(trains, bool):
                    getattr(layer, edge).trainable = trains


def freeze_forward_layers(model: keras.Model, weights: OrderedWeights) -> None:
    """Freezes the forward layers that an HDF5 file lists after the backward ones.

    It lists what is trained first, by which values are told apart; the config doesn't
    say what was frozen inside a Bidirectional layer.
    """
    names = [[name for name, _ in entry.weights] for entry in weights.layers]
    for layer in _compat.all_layers(model):
        if isinstance(layer, keras.layers.Bidirectional) and layer.trainable:
            forward, backward = layer.forward_layer, layer.backward_layer
            scopes = [f"{original_name(layer)}/{d.name}/" for d in (forward, backward)]
            first, second = (_first(names, scope) for scope in scopes)
            if first and second and second < first:
                forward.trainable, backward.trainable = False, True


def _first(names: list[list[str]], scope: str) -> tuple[int, int] | None:
    """Where the first weight of a scope is listed: in which layer, as which there."""
    places = (
        (index, place)
        for index, listed in enumerate(names)
        for place, name in enumerate(listed)
        if f"/{scope}" in f"/{name}"
    )
    return next(places, None)


def freeze_unknown(
    plan: RestorePlan, description: ModelDescription, context: BuildContext
) -> None:
    """Freezes what is no weight of the model in its SavedModel.

    Before TensorFlow 2.5, Keras didn't look into a `tf.Module` for weights: its layers
    compute with what is there, and no step trains it.
    """
    root = description.objects.root if description.objects is not None else None
    listed = root.child("variables") if root is not None else None
    if listed is None or not listed.children or description.extra:
        return
    known = {item.node_id for item in listed.children.values()}
    for item in plan.assignments:
        if item.node_id not in known and item.variable.trainable:
            item.variable.trainable = False
            context.note(
                item.place, "is no weight of the model that was saved: it isn't trained"
            )


def train_shared(root: ObjectNode, variables: Mapping[int, keras.Variable]) -> None:
    """Trains what a frozen layer has in common with one that is not.

    Keras 3 freezes the variables of a layer with it; Keras 2 asks each layer for those
    that it trains, but for those within a frozen one.

    Args:
        root: The model in the file, which lists what it trains.
        variables: Live variables by their objects' numbers.
    """
    listed = root.child("trainable_variables")
    for item in () if listed is None else listed.items():
        variable = variables.get(item.node_id)
        if (
            variable is not None
            and isinstance(item, Variable)
            and item.trainable
            and "float" in item.dtype
        ):
            variable.trainable = True
