"""The order in which Keras 2 lists the variables of a layer or model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import keras

from regraft.model.state_tree import StateNode, grouped

# What a child name stands for.
Child: TypeAlias = keras.Variable | keras.Layer | StateNode


def ordered_variables(tree: StateNode) -> list[keras.Variable]:
    """A layer's variables in the order of an HDF5 file: trainable ones first.

    Source: Keras 2 writes `trainable_weights + non_trainable_weights` of each
    top-level layer. The states of a stateful recurrent layer are not among them.
    """
    found = owned_in_order(tree)
    trained = [item.variable for item in found if item.trained]
    # The optimizer of Keras 3 has no slots for what training overwrites, the scales of
    # float8; they come first in layers made with it, and last in those quantized later.
    return [
        *(v for v in trained if not is_overwritten(v)),
        *(v for v in trained if is_overwritten(v)),
        *(item.variable for item in found if not item.trained),
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
    """`model.trainable_variables` as Keras 2 orders them, without scales of float8.

    Keras 3 trains what a layer inside of a frozen one has, where that was made so.
    """
    return [v for _, v in edges_in_order(tree) if v.trainable and not is_overwritten(v)]


def is_overwritten(variable: keras.Variable) -> bool:
    """Whether training overwrites a trainable variable: a scale of float8."""
    return bool(getattr(variable, "overwrite_with_gradient", False))


@dataclass(frozen=True)
class Owned:
    """A variable below a layer.

    Attributes:
        edge: Its path.
        variable: The variable.
        owner: The layer that has it, directly or in a list or dict.
        trained: Whether it is trainable, and so is every layer that it is in.
    """

    edge: str
    variable: keras.Variable
    owner: keras.Layer | None
    trained: bool


def owned_in_order(tree: StateNode) -> list[Owned]:
    """All variables below, without states, in order."""
    found = _in_order(tree, "", tree.owner)
    return [item for item in found if "states" not in item.edge.split(".")]


def edges_in_order(
    tree: StateNode, prefix: str = ""
) -> list[tuple[str, keras.Variable]]:
    """All variables below with their paths, as Keras 2 collects them.

    A layer's own variables come before those of its sublayers, a model's own ones
    after those of its layers. What a layer holds of its sublayers' under an attribute
    of its own comes with its own ones, and so do variables in its lists and dicts; in
    those of a model layers come first. Layers in dicts are in the order of their keys,
    and so are a layer's variables there.
    """
    found = _in_order(tree, prefix, tree.owner)
    return [(item.edge, item.variable) for item in found]


def children_in_order(tree: StateNode) -> list[tuple[str, Child]]:
    """What an object has by child name, so that Keras 2 lists its variables in order.

    Where nobody has a layer's class, Keras 2 gives it its children as they come in the
    file, and lists as its own the variables among them, and those in lists and dicts.
    """
    children: list[tuple[str, Child]] = [
        *tree.variables,
        *tree.children,
        *tree.aliases,
    ]
    if tree.owner is None or isinstance(tree.owner, keras.Model):
        return children
    ranks = {id(variable): rank for rank, variable in enumerate(tree.held)}
    counted, layers = [], []
    for place, (_, child) in enumerate(children):
        rank = min((ranks[id(v)] for v in _own(child) if id(v) in ranks), default=None)
        if rank is None:
            layers.append(place)
        else:
            counted.append((rank, place))
    places = []
    for _, place in sorted(counted):
        if _has_layers(children[place][1]):
            places += [before for before in layers if before < place]
            layers = [after for after in layers if after > place]
        places.append(place)
    return [children[place] for place in (*places, *layers)]


def _own(child: Child) -> list[keras.Variable]:
    if isinstance(child, keras.Variable):
        return [child]
    return grouped(child) if isinstance(child, StateNode) else []


def _has_layers(child: Child) -> bool:
    """Whether a list or dict has layers, or one in it."""
    if not isinstance(child, StateNode):
        return isinstance(child, keras.Layer)
    below = (item for _, item in (*child.children, *child.aliases))
    return child.owner is not None or any(map(_has_layers, below))


def _in_order(
    tree: StateNode, prefix: str, owner: keras.Layer | None, trained: bool = True
) -> list[Owned]:
    owner = tree.owner or owner
    trained = trained and (tree.owner is None or tree.owner.trainable)
    children = sorted(tree.children, key=_key) if tree.kind == "dict" else tree.children
    own = [
        Owned(prefix + name, variable, owner, trained and variable.trainable)
        for name, variable in tree.variables
    ]
    below = [
        item
        for name, child in children
        for item in _in_order(child, f"{prefix}{name}.", owner, trained)
    ]
    if tree.owner is None or isinstance(tree.owner, keras.Model):
        return below + own
    if len(tree.held) > len(own):
        places = {id(variable): place for place, variable in enumerate(tree.held)}
        rest = len(places)
        return sorted(own + below, key=lambda i: places.get(id(i.variable), rest))
    return own + below


def _key(item: tuple[str, StateNode]) -> str:
    return item[0]
