"""The order in which Keras 2 lists the variables of a layer or model."""

from __future__ import annotations

import keras

from regraft.model.state_tree import StateNode


def ordered_variables(tree: StateNode) -> list[keras.Variable]:
    """A layer's variables in the order of an HDF5 file: trainable ones first.

    Source: Keras 2 writes `trainable_weights + non_trainable_weights` of each
    top-level layer. The states of a stateful recurrent layer are not among them.
    """
    variables = [
        variable
        for edge, variable in edges_in_order(tree)
        if "states" not in edge.split(".")
    ]
    trained = [v for v in variables if v.trainable]
    # The optimizer of Keras 3 has no slots for what training overwrites, the scales of
    # float8; they come first in layers made with it, and last in those quantized later.
    return [
        *(v for v in trained if not is_overwritten(v)),
        *(v for v in trained if is_overwritten(v)),
        *(v for v in variables if not v.trainable),
    ]


def ordered_by_keras_3(tree: StateNode) -> list[keras.Variable]:
    """A layer's variables in the order in which Keras 3 writes them to HDF5.

    It differs where a layer holds a variable of a layer inside as its own, too, as
    `SpectralNormalization` does.
    """
    ours = ordered_variables(tree)
    if tree.owner is None:
        return ours
    theirs = [*tree.owner.trainable_weights, *tree.owner.non_trainable_weights]
    same = {id(v) for v in ours} == {id(v) for v in theirs} and len(ours) == len(theirs)
    return theirs if same else ours


def trainable_variables(tree: StateNode) -> list[keras.Variable]:
    """`model.trainable_variables` as Keras 2 orders them, without scales of float8."""
    return [v for _, v in edges_in_order(tree) if v.trainable and not is_overwritten(v)]


def is_overwritten(variable: keras.Variable) -> bool:
    """Whether training overwrites a trainable variable: a scale of float8."""
    return bool(getattr(variable, "overwrite_with_gradient", False))


def owned_in_order(
    tree: StateNode,
) -> list[tuple[keras.Layer | None, keras.Variable]]:
    """All variables below with the layer that owns each, without states, in order."""
    return [
        (owner, variable)
        for edge, variable, owner in _in_order(tree, "", tree.owner)
        if "states" not in edge.split(".")
    ]


def edges_in_order(
    tree: StateNode, prefix: str = ""
) -> list[tuple[str, keras.Variable]]:
    """All variables below with their paths, as Keras 2 collects them.

    A layer's own variables come before those of its sublayers, a model's own ones
    after those of its layers. What a layer holds of its sublayers' under an attribute
    of its own comes with its own ones.
    """
    return [
        (edge, variable) for edge, variable, _ in _in_order(tree, prefix, tree.owner)
    ]


def _in_order(
    tree: StateNode, prefix: str, owner: keras.Layer | None
) -> list[tuple[str, keras.Variable, keras.Layer | None]]:
    owner = tree.owner or owner
    own = [(prefix + name, variable, owner) for name, variable in tree.variables]
    below = [
        edge
        for name, child in tree.children
        for edge in _in_order(child, f"{prefix}{name}.", owner)
    ]
    if isinstance(tree.owner, keras.Model):
        return below + own
    if len(tree.held) > len(own):
        places = {id(variable): place for place, variable in enumerate(tree.held)}
        rest = len(places)
        return sorted(own + below, key=lambda edge: places.get(id(edge[1]), rest))
    return own + below
