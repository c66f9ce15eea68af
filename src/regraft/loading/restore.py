"""Which value of the file each variable of a built model gets.

A plan is made and checked as a whole before any value is read: each variable of
the model that the file should hold has a value of the right shape, or an error
says which one has not.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from regraft import _compat, dtypes
from regraft.errors import MismatchError, UnsupportedError
from regraft.loading.places import (
    find_child,
    later,
    layer_nodes,
    layers_before,
    layers_by_name,
    weighted_layers,
)
from regraft.model.description import (
    LayerWeights,
    ObjectNode,
    OrderedWeights,
    Variable,
)
from regraft.model.dialects.dialect import Dialect
from regraft.model.dialects.names import original_name
from regraft.model.dialects.weight_layouts import Placed, RawWeight, counts, place
from regraft.model.keras2.added_metrics import AddMetric
from regraft.model.keras2.host_layers import HostLayer
from regraft.model.ordering import ordered_variables
from regraft.model.state_tree import StateNode, own_tree, state_tree, top_layers
from regraft.storage.tensor import StoredTensor


@dataclass(frozen=True)
class Assignment:
    """A variable and the value that the file holds for it.

    Attributes:
        variable: Variable of the live model.
        tensor: Its value.
        place: Path of the value in the file, for messages.
        node_id: Its node in the object graph; `None` in an HDF5 file.
        trainable: What the file says of the variable itself.
        placed: Which of an HDF5 file's weights the value is made of.
    """

    variable: keras.Variable
    tensor: StoredTensor
    place: str
    node_id: int | None = None
    trainable: bool = True
    placed: Placed | None = None


@dataclass
class RestorePlan:
    """All assignments of a model.

    Attributes:
        assignments: One per variable, in the order of the file.
        missing: Variables for which the file has no value, with the path where it
            should be.
        states: Those of recurrent layers of which the file has none.
        unused: Paths of values in the file that no variable takes.
        layers: Each layer with the object that it is in the file.
        stored: Layers that keep their state outside of variables, with what an HDF5
            file lists as their weights.
    """

    assignments: list[Assignment] = field(default_factory=list)
    missing: list[tuple[keras.Variable, str]] = field(default_factory=list)
    states: list[keras.Variable] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    layers: list[tuple[keras.Layer, ObjectNode]] = field(default_factory=list)
    stored: list[tuple[keras.Layer, Sequence[tuple[str, StoredTensor]]]] = field(
        default_factory=list
    )

    def node_ids(self) -> dict[int, int]:
        """Node ids of the object graph by `id` of the variable."""
        return {
            id(item.variable): item.node_id
            for item in self.assignments
            if item.node_id is not None
        }

    def add_forgotten(self, model: keras.Model) -> None:
        """Counts weights that no attribute of the model leads to as missing.

        Nothing may silently keep its initial value.
        """
        known = {id(item.variable) for item in self.assignments}
        known |= {id(variable) for variable, _ in self.missing}
        known |= {id(variable) for variable in self.states}
        self.missing += [
            (variable, f"an attribute of the layer that owns '{variable.path}'")
            for variable in model.weights
            if id(variable) not in known
        ]

    def freeze_single_variables(self) -> None:
        """Freezes variables that were frozen one by one, not with their layer."""
        for item in self.assignments:
            if item.variable.trainable and not item.trainable:
                item.variable.trainable = False

    def check(self, path: str) -> None:
        """Raises an error that names every variable without a value.

        Raises:
            MismatchError: There is one.
        """
        if not self.missing:
            return
        lines = [
            f"  {variable.path} of shape {tuple(variable.shape)}, expected at '{place}'"
            for variable, place in self.missing[:20]
        ]
        if len(self.missing) > 20:
            lines.append(f"  and {len(self.missing) - 20} more")
        near = _nearest(self.missing[0][1], self.unused)
        raise MismatchError(
            f"'{path}' holds no value for {len(self.missing)} of the model's "
            "variables:\n" + "\n".join(lines) + near
        )

    def drop_mismatches(self) -> list[str]:
        """Takes out assignments whose shapes differ, and says which."""
        kept, dropped = [], []
        for item in self.assignments:
            if fits(item):
                kept.append(item)
            else:
                dropped.append(
                    f"'{item.place}': shape {tuple(item.tensor.shape)} in the file, "
                    f"{tuple(item.variable.shape)} in the model"
                )
        self.assignments[:] = kept
        return dropped


def _nearest(place: str, unused: Sequence[str]) -> str:
    if not unused:
        return ""
    near = difflib.get_close_matches(place, unused, n=3, cutoff=0) or unused[:3]
    return "\nValues of the file that no variable takes: " + ", ".join(
        f"'{name}'" for name in near
    )


# ---------------------------------------------------------------- object graph


def plan_from_objects(tree: StateNode, root: ObjectNode) -> RestorePlan:
    """Matches a model with the object graph of a SavedModel.

    Args:
        tree: State tree of the built model.
        root: The model's node.
    """
    plan = RestorePlan()
    taken: set[int] = set()
    _ObjectMatch(plan, taken).match(tree, root, "root")
    plan.unused.extend(_unused(root, taken))
    return plan


# Variables of Keras 2's that are no variables here.
_OUTSIDE = ("idf_weights", "tf_idf_weights", "num_documents", "summary")


def keeps_tables(layer: keras.Layer | None) -> bool:
    """Whether a layer keeps its state outside of variables."""
    if isinstance(layer, HostLayer):
        return not layer.finishes_on_device
    return isinstance(layer, keras.layers.Discretization)


class _ObjectMatch:
    def __init__(self, plan: RestorePlan, taken: set[int]) -> None:
        self._plan = plan
        self._taken = taken

    def match(self, tree: StateNode, node: ObjectNode, path: str) -> None:
        if tree.owner is not None:
            self._plan.layers.append((tree.owner, node))
        if keeps_tables(tree.owner):
            holders = (node, node.child("_vectorize_layer"))
            kept = (n.variable(name) for n in holders if n for name in _OUTSIDE)
            self._taken.update(v.node_id for v in kept if v is not None)
        # Keras 2 lists a model's own variables after those of its layers, and a
        # layer's before those of its sublayers.
        if isinstance(tree.owner, keras.Model):
            self._match_children(tree, node, path)
            self._match_own(tree, node, path)
        else:
            self._match_own(tree, node, path)
            self._match_children(tree, node, path)

    def _match_own(self, tree: StateNode, node: ObjectNode, path: str) -> None:
        by_order = self._by_order(tree, node) if tree.kind == "layer" else None
        for name, variable in tree.variables:
            found = find_child(node, name)
            if not isinstance(found, Variable) and by_order is not None:
                found = by_order.get(id(variable))
            self._assign(variable, found, f"{path}.{name}")

    def _match_children(self, tree: StateNode, node: ObjectNode, path: str) -> None:
        for edge, child, found in self._pair_children(tree, node):
            if isinstance(child.owner, AddMetric):  # It begins to count anew.
                self._plan.states += [variable for _, variable in child.edges("")]
            elif edge == "states" and isinstance(tree.owner, keras.layers.RNN):
                self._match_states(child, found, f"{path}.{edge}")
            elif isinstance(found, ObjectNode):
                self.match(child, found, f"{path}.{edge}")
            else:
                self._miss(child, f"{path}.{edge}")

    def _match_states(self, tree: StateNode, found: Any, path: str) -> None:
        """Takes a recurrent layer's states where they are in the file.

        They are no weights of Keras 2: without traces a SavedModel doesn't hold them,
        as HDF5 never does. They begin with zeros, as after `reset_states`.
        """
        if isinstance(found, ObjectNode) and any(True for _ in found.items()):
            self.match(tree, found, path)
        else:
            self._plan.states += [variable for _, variable in tree.edges("")]

    def _pair_children(
        self, tree: StateNode, node: ObjectNode
    ) -> list[tuple[str, StateNode, Any]]:
        """Pairs children by name of the layer in a network, else by edge.

        The layers of a network come in the file's order, in which Keras 2 lists
        the variables.
        """
        if tree.kind != "network":
            return [
                (edge, child, find_child(node, edge)) for edge, child in tree.children
            ]
        names = [original_name(c.owner) if c.owner else "" for _, c in tree.children]
        layers = layers_by_name(node, names)
        if not layers and (weighted := weighted_layers(tree, node)) is not None:
            return weighted
        skipped = layers_before(tree, node) if not layers else 0
        named = {found.node_id for _, found in layers.values()}
        pairs: list[tuple[str, StateNode, Any]] = []
        for name, (edge, child) in zip(names, tree.children, strict=True):
            if (pair := layers.get(name)) is not None:
                pairs.append((pair[0], child, pair[1]))
                continue
            found = find_child(node, later(edge, skipped))
            if isinstance(found, ObjectNode) and found.node_id in named:
                # Such as an input of features, which Keras 2 has no layer for.
                found = None
            pairs.append((edge, child, found))
        edges = layer_nodes(node) if layers else ()
        order = {edge: place for place, (edge, _) in enumerate(edges)}
        return sorted(pairs, key=lambda pair: order.get(pair[0], len(order)))

    def _assign(self, variable: keras.Variable, found: Any, path: str) -> None:
        if not isinstance(found, Variable) or found.value is None:
            self._plan.missing.append((variable, path))
            return
        self._taken.add(found.node_id)
        self._plan.assignments.append(
            Assignment(variable, found.value, path, found.node_id, found.trainable)
        )

    def _miss(self, tree: StateNode, path: str) -> None:
        for edge, variable in tree.edges(f"{path}."):
            self._plan.missing.append((variable, edge))

    def _by_order(
        self, tree: StateNode, node: ObjectNode
    ) -> dict[int, Variable] | None:
        """Pairs a layer's variables with the node's by order and shape.

        For a layer of the caller's own class, whose attributes may be named
        otherwise than those of the class that was saved.
        """
        saved = node.child("variables")
        listed = (
            [item for item in saved.items() if isinstance(item, Variable)]
            if saved is not None
            else [item for item in node.children.values() if isinstance(item, Variable)]
        )
        live = [variable for _, variable in tree.variables]
        if tree.children or len(listed) != len(live):
            return None
        for ours, theirs in zip(live, listed, strict=True):
            if tuple(ours.shape) != theirs.shape:
                return None
        return {id(ours): theirs for ours, theirs in zip(live, listed, strict=True)}


# Children of a layer's node that list or count what is stored elsewhere.
_BOOKKEEPING = frozenset(
    {
        "optimizer",
        "keras_api",
        "variables",
        "trainable_variables",
        "non_trainable_variables",
        "signatures",
        "regularization_losses",
        "call_and_return_all_conditional_losses",
        "__call__",
    }
)


def _unused(root: ObjectNode, taken: set[int]) -> list[str]:
    """Paths of variables below the model that nothing took."""
    unused = []
    seen = {root.node_id}
    pending: list[tuple[str, ObjectNode]] = [("root", root)]
    while pending:
        path, node = pending.pop()
        for name, child in node.children.items():
            if name in _BOOKKEEPING or child.node_id in seen:
                continue
            seen.add(child.node_id)
            if isinstance(child, ObjectNode):
                if child.identifier != "_tf_keras_metric":
                    pending.append((f"{path}.{name}", child))
            elif child.node_id not in taken and child.value is not None:
                unused.append(f"{path}.{name}")
    return unused


# ---------------------------------------------------------------- HDF5 order


def plan_from_order(
    tree: StateNode, weights: OrderedWeights, writer: Dialect, *, path: str
) -> RestorePlan:
    """Matches a model with the ordered weights of an HDF5 file.

    Layers are matched by name where the file has just the model's names, else by
    their order, as Keras 2 does.

    Raises:
        MismatchError: The number of layers or of a layer's weights differs.
    """
    plan = RestorePlan()
    live = _top_trees(tree)
    outside = {
        original_name(node.owner): node.owner
        for node in live
        if node.owner is not None and keeps_tables(node.owner)
    }
    plan.stored += [
        (outside[layer.name], layer.weights)
        for layer in weights.layers
        if layer.name in outside
    ]
    stored = [layer for layer in weights.layers if layer.name not in outside]
    count = 0
    for node, layer in _pair_layers(live, stored, path):
        raw = [
            RawWeight(count + index, f"{layer.name}/{name}", tensor)
            for index, (name, tensor) in enumerate(layer.weights)
        ]
        count += len(raw)
        _plan_layer(plan, node, layer.name, raw, writer, path)
    own = own_tree(tree)
    name = "top_level_model_weights"
    if weights.top_level:
        raw = [
            RawWeight(count + index, f"{name}/{weight}", tensor)
            for index, (weight, tensor) in enumerate(weights.top_level)
        ]
        _plan_layer(plan, own, name, raw, writer, path)
    else:  # TensorFlow 2.5 and before leave them out.
        found = {id(item.variable) for item in plan.assignments}
        plan.missing += [
            (live, f"{name}/{edge}")
            for edge, live in own.variables
            if id(live) not in found
        ]
    return plan


def plan_from_names(
    tree: StateNode,
    weights: OrderedWeights,
    writer: Dialect,
    *,
    path: str,
    skip_mismatch: bool,
) -> tuple[RestorePlan, list[str]]:
    """Matches top-level layers with those of their name in an HDF5 file.

    Layers that the other side doesn't have are left alone.

    Args:
        tree: State tree of the built model.
        weights: Of the file.
        writer: The Keras that wrote it.
        path: Of the file, for messages.
        skip_mismatch: Whether a layer with another number of weights is left alone.

    Returns:
        The plan, and which layers were left alone for their number of weights.

    Raises:
        MismatchError: A layer has another number of weights in the file.
    """
    plan = RestorePlan()
    skipped = []
    named = {layer.name: (k, layer) for k, layer in enumerate(weights.layers)}
    for node in _top_trees(tree):
        if node.owner is None or original_name(node.owner) not in named:
            continue
        index, layer = named[original_name(node.owner)]
        raw = [
            RawWeight(position, f"{layer.name}/{weight}", tensor)
            for position, (weight, tensor) in enumerate(layer.weights)
        ]
        if place(node, raw, writer) is not None:
            _plan_layer(plan, node, layer.name, raw, writer, path)
            continue
        text = (
            f"Weight count mismatch for layer #{index} (named '{layer.name}'): the "
            f"layer has {len(ordered_variables(node))} weights, '{path}' has {len(raw)}"
        )
        if not skip_mismatch:
            raise MismatchError(f"{text}.")
        skipped.append(text)
    return plan, skipped


def _top_trees(tree: StateNode) -> list[StateNode]:
    """Each layer by itself: what it shares with one before it is stored with both."""
    return [state_tree(layer) for layer in top_layers(tree.owner)]


def _pair_layers(
    live: Sequence[StateNode], stored: Iterable[LayerWeights], path: str
) -> list[tuple[StateNode, LayerWeights]]:
    theirs = [layer for layer in stored if layer.weights]
    listed = {layer.name for layer in theirs}
    ours = [
        (node.owner, node)
        for node in live
        if ordered_variables(node)
        or (node.owner and original_name(node.owner) in listed and counts(node.owner))
    ]
    by_name = {original_name(layer): node for layer, node in ours if layer is not None}
    if by_name.keys() == {layer.name for layer in theirs} and len(by_name) == len(
        theirs
    ):
        return [(by_name[layer.name], layer) for layer in theirs]
    if len(ours) != len(theirs):
        names = ", ".join(layer.name for layer, _ in ours if layer is not None)
        raise MismatchError(
            f"Layer count mismatch: the model has {len(ours)} layers with weights "
            f"({names}), '{path}' has "
            f"{len(theirs)} ({', '.join(layer.name for layer in theirs)})."
        )
    return [(node, layer) for (_, node), layer in zip(ours, theirs, strict=True)]


def _plan_layer(
    plan: RestorePlan,
    node: StateNode,
    name: str,
    raw: Sequence[RawWeight],
    writer: Dialect,
    path: str,
) -> None:
    placed = place(node, raw, writer)
    if placed is None:
        variables = ordered_variables(node)
        raise MismatchError(
            f"Weight count mismatch for layer '{name}': the layer has "
            f"{len(variables)} weights ({', '.join(v.path for v in variables)}), "
            f"'{path}' has {len(raw)} ({', '.join(w.path for w in raw)})."
        )
    for item in placed:
        tensor = item.lay_out([part.tensor for part in item.parts])
        where = item.parts[0].path if item.parts else name
        plan.assignments.append(Assignment(item.variable, tensor, where, placed=item))


# ---------------------------------------------------------------- values


def apply(plan: RestorePlan, values: _compat.DeferredValues, *, path: str) -> None:
    """Gives every variable of a plan its value, when the block of `values` ends.

    Raises:
        MismatchError: A shape differs; raised before any value is read.
    """
    for item in plan.assignments:
        _check_shape(item, path)
    for item in plan.assignments:
        dtype = keras.backend.standardize_dtype(item.variable.dtype)
        values.set(item.variable, _reader(item, dtype), held_dtype(dtype))


def _check_shape(item: Assignment, path: str) -> None:
    if not fits(item):
        raise MismatchError(
            f"Shape mismatch for variable '{item.variable.path}': the model has "
            f"{tuple(item.variable.shape)}, '{path}' has {tuple(item.tensor.shape)} at "
            f"'{item.place}'."
        )


def fits(item: Assignment) -> bool:
    """Whether shapes agree; axes of length one may differ, as in old files."""
    return _squeezed(item.variable.shape) == _squeezed(item.tensor.shape)


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(dim for dim in shape if dim != 1)


def _reader(item: Assignment, dtype: str) -> Any:
    shape = tuple(item.variable.shape)

    def read() -> Any:
        values = item.tensor.read()
        if values.shape != shape:
            values = values.reshape(shape)
        return exact_cast(values, dtype, item.place)

    return read


_WIDE = ("int64", "uint64", "float64")


def exact_cast(values: np.ndarray[Any, Any], dtype: str, place: str) -> Any:
    """Casts a value to a variable's dtype, if the backend can hold it exactly.

    Raises:
        UnsupportedError: JAX would cut a 64-bit value to 32 bits.
    """
    target = dtypes.from_name(dtype).numpy
    if target is None or values.dtype == object:
        raise UnsupportedError(
            f"The variable at '{place}' has dtype {values.dtype}, which no variable "
            "of Keras 3 can hold."
        )
    if dtype in _WIDE or values.dtype.kind in "iu":
        _check_range(values, held_dtype(dtype), place)
    return values if values.dtype == target else values.astype(target)


def held_dtype(dtype: str) -> str:
    """What the backend really stores for a variable of this dtype."""
    if dtype not in _WIDE:
        return dtype
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # JAX tells of what is asked.
        probe = keras.ops.convert_to_tensor(np.zeros((), dtype))
    return str(keras.backend.standardize_dtype(probe.dtype))


def _check_range(values: np.ndarray[Any, Any], held: str, place: str) -> None:
    if held == str(values.dtype):
        return
    target = dtypes.from_name(held).numpy
    if target is None or not np.array_equal(
        values.astype(target).astype(values.dtype),
        values,
        equal_nan=values.dtype.kind == "f",
    ):
        raise UnsupportedError(
            f"The value at '{place}' is {values.dtype}, and this backend would cut it "
            f"to {held}. With JAX, call `jax.config.update('jax_enable_x64', True)` "
            "before the model is loaded."
        )
