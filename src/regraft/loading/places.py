"""Which object of a SavedModel each layer's entry in a network's config is.

Keras 2 lists a layer without a config under no name at all, and two models inside
one file may use a name twice. The place of an entry in its network tells which
object it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras

from regraft.model.description import ObjectNode, Variable
from regraft.model.dialects.context import NODE
from regraft.model.dialects.names import without_count
from regraft.model.dialects.topology import MAX_NESTING, is_network
from regraft.model.state_tree import StateNode, network_layers

_UNDEFINED = "layer-undefined-config"
# What wrappers and recurrent layers call the layers in them, in configs and objects.
_INSIDE = ("layer", "cell", "cells")
# Where Keras 2 keeps what a Keras 3 layer has as an attribute of its own.
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "states": ("keras_api.states",),
    "adapt_mean": ("mean",),
    "adapt_variance": ("variance",),
    "_lookup_layer": ("_index_lookup_layer",),
}


def with_nodes(
    entry: Mapping[str, Any], node: ObjectNode, depth: int = 0
) -> Mapping[str, Any]:
    """Returns a layer's entry whose layers' entries say which object they are.

    Args:
        entry: In any dialect; one with no layers inside is returned as it is.
        node: The layer's object.
        depth: How many layers it is in.
    """
    config = entry.get("config")
    if depth > MAX_NESTING or not isinstance(config, Mapping):
        return entry
    if not is_network(entry):
        inside = _inside(entry, node, depth)
        return {**entry, "config": {**config, **inside}} if inside else entry
    entries = config["layers"]
    found = _pairs(entries, node, is_sequential="input_layers" not in config)
    layers = [
        item if place is None else _placed(item, place, depth)
        for item, place in zip(entries, found, strict=True)
    ]
    return {**entry, "config": {**config, "layers": layers}}


def _inside(entry: Mapping[str, Any], node: ObjectNode, depth: int) -> dict[str, Any]:
    """Entries of the layers in one that is no network, which others may share."""
    if entry.get("class_name") == "Bidirectional":
        return {}  # It copies what is in its config.
    found: dict[str, Any] = {}
    for key in _INSIDE:
        inner, child = entry["config"].get(key), node.child(key)
        if child is None:
            continue
        if isinstance(inner, Mapping):
            found[key] = _placed_by_name(inner, child, depth)
        elif isinstance(inner, list | tuple):
            found[key] = [
                _placed_by_name(item, child.child(str(index)), depth)
                for index, item in enumerate(inner)
            ]
    return found


def _placed_by_name(entry: Any, node: ObjectNode | None, depth: int) -> Any:
    name = entry_name(entry)
    if node is None or name is None or (node.metadata or {}).get("name") != name:
        return entry
    return _placed(entry, node, depth)


def _pairs(
    entries: Any, node: ObjectNode, *, is_sequential: bool
) -> list[ObjectNode | None]:
    """The object of each entry: in a Sequential by order, else by name."""
    nodes = [child for _, child in layer_nodes(node)]
    if is_sequential:
        counted = [item for item in entries if not is_input(item)]
        if len(counted) == len(nodes):
            rest = iter(nodes)
            return [None if is_input(item) else next(rest) for item in entries]
    by_name = {(child.metadata or {}).get("name"): child for child in nodes}
    return [by_name.get(entry_name(item)) for item in entries]


def is_input(entry: Any) -> bool:
    """Whether an entry of a network's config is an input."""
    return isinstance(entry, Mapping) and entry.get("class_name") == "InputLayer"


def entry_name(entry: Any) -> str | None:
    """The name of a layer in a network's config, if that says one."""
    if not isinstance(entry, Mapping):
        return None
    config = entry.get("config")
    name = entry.get("name")
    if name is None and isinstance(config, Mapping):
        name = config.get("name")
    return name if isinstance(name, str) else None


def _placed(entry: Any, node: ObjectNode, depth: int) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    placed = {**with_nodes(entry, node, depth + 1), NODE: node.node_id}
    name = (node.metadata or {}).get("name")
    if entry_name(entry) is None and isinstance(name, str):
        placed["name"] = name
    config = placed.get("config")
    if isinstance(config, Mapping) and _UNDEFINED in config:
        placed["config"] = {k: v for k, v in config.items() if k != _UNDEFINED}
    return placed


def layer_nodes(node: ObjectNode) -> Iterator[tuple[str, ObjectNode]]:
    """Yields the layers of a network's node in the order of its `layer-N` names."""
    index = 0
    while (found := node.child(f"layer-{index}")) is not None:
        yield f"layer-{index}", found
        index += 1


def weighted_layers(
    tree: StateNode, node: ObjectNode
) -> list[tuple[str, StateNode, ObjectNode]] | None:
    """Pairs a network's layers that have weights with those of a checkpoint.

    Its layers of operations, inputs and losses are counted otherwise than here; those
    with weights mostly have a count of their own. `None` where there are more or fewer.
    """
    found: list[tuple[str, ObjectNode]] = []
    while (child := node.child(edge := f"layer_with_weights-{len(found)}")) is not None:
        found.append((edge, child))
    # Before TensorFlow 2.2 a Sequential that was built late has no such count.
    found = found or [item for item in layer_nodes(node) if _holds_weights(item[1])]
    layers = [child for _, child in tree.children if any(child.edges())]
    if len(layers) != len(found):
        return None
    pairs = zip(layers, found, strict=True)
    return [(edge, layer, child) for layer, (edge, child) in pairs]


def _holds_weights(node: ObjectNode) -> bool:
    seen, pending = {node.node_id}, [node]
    while pending:
        for child in pending.pop().children.values():
            if not isinstance(child, ObjectNode):
                return True
            if child.node_id not in seen:
                seen.add(child.node_id)
                pending.append(child)
    return False


def layers_before(tree: StateNode, node: ObjectNode) -> int:
    """How many layers a checkpoint has before the first of a Sequential: its input.

    Before TensorFlow 2.2 the input was among them.
    """
    if not isinstance(tree.owner, keras.Sequential):
        return 0
    count = sum(1 for _ in layer_nodes(node))
    return 1 if count == len(network_layers(tree.owner)) + 1 else 0


def later(edge: str, count: int) -> str:
    """The edge of a layer `count` layers later."""
    prefix, _, index = edge.rpartition("-")
    return f"{prefix}-{int(index) + count}" if count and prefix == "layer" else edge


def layers_by_name(
    node: ObjectNode, names: Sequence[str]
) -> dict[str, tuple[str, ObjectNode]]:
    """Which layer of a network's node each of a live network's layers is.

    A network that a class makes has layers that Keras named, by their class and a
    count of the process. Another process counts from another number, but in the same
    order.

    Args:
        node: The network's object.
        names: Of the live layers, as files have them.

    Returns:
        Edge and object by live name; nothing where the file knows no names.
    """
    found: dict[str, tuple[str, ObjectNode]] = {}
    for edge, child in layer_nodes(node):
        name = (child.metadata or {}).get("name")
        if isinstance(name, str):
            found.setdefault(name, (edge, child))
    if found.keys() >= set(names):
        return found
    saved = _counted(found)
    pairs: dict[str, str] = {}
    for kind, ours in _counted(names).items():
        theirs = saved.get(kind, [])
        if len(ours) != len(theirs):
            ours = theirs = [name for name in ours if name in found]
        pairs.update(zip(ours, theirs, strict=True))
    return {ours: found[theirs] for ours, theirs in pairs.items()}


def _counted(names: Iterable[str]) -> dict[str, list[str]]:
    """The names of each kind in the order in which they were given."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names, key=without_count):
        kinds[without_count(name)[0]].append(name)
    return kinds


def added_metrics(node: ObjectNode) -> Mapping[str, ObjectNode | Variable]:
    """Returns the metrics that a layer added in its call: no attributes of it."""
    api = node.child("keras_api")
    added = api.child("layer_metrics") if api is not None else None
    return added.children if added is not None else {}


def find_child(node: ObjectNode, name: str) -> ObjectNode | Variable | None:
    """Returns the child `name`, or what an alias of it leads to."""
    found = node.children.get(name)
    if found is not None:
        return found
    for alias in _ALIASES.get(name, ()):
        place: ObjectNode | Variable | None = node
        for part in alias.split("."):
            place = place.children.get(part) if isinstance(place, ObjectNode) else None
        if place is not None:
            return place
    return added_metrics(node).get(name)


def below(node: ObjectNode) -> dict[int, ObjectNode | Variable]:
    """What is below an object that is no layer, by id."""
    found: dict[int, ObjectNode | Variable] = {}
    pending = [node]
    while pending:
        for child in pending.pop().children.values():
            if child.node_id in found or child is node:
                continue
            found[child.node_id] = child
            if isinstance(child, ObjectNode) and child.kind == "user_object":
                pending.append(child)
    return found
