"""Collects objects and writes them as the two graphs of a SavedModel.

Objects that `checkpoint_only` marks go into the checkpoint's graph alone. That is
where the optimizer belongs: with the optimizer in both graphs tf_keras revives it
as an object that swallows its own state, and training starts with fresh slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from regraft import dtypes
from regraft.model import metadata as keras_json
from regraft.model.object_graph import VARIABLE_VALUE
from regraft.storage.proto import messages
from regraft.storage.tensor import StoredTensor

Tree = Mapping[str, Any]
"""Children of an object: a `StoredTensor`, or a tree or list of such, by name."""

# Source: TensorFlow `python/checkpoint/util.py`, escape_local_name.
_ESCAPES = str.maketrans({".": "..", "/": ".S"})


@dataclass
class _Node:
    kind: str
    children: dict[str, int] = field(default_factory=dict)
    checkpoint_only: bool = False
    identifier: str = ""
    producer: int = 1
    metadata: Mapping[str, Any] | None = None
    name: str = ""
    trainable: bool = False
    synchronization: int = 0
    aggregation: int = 0
    value: StoredTensor | None = None
    slots: list[tuple[int, str, int]] = field(default_factory=list)
    fill: Any = None

    @cached_property
    def metadata_text(self) -> str:
        """The metadata as JSON, once it is whole: two files hold it."""
        return "" if self.metadata is None else keras_json.dump(self.metadata)


class SharedMessages:
    """Messages of values that many objects have."""

    def __init__(self) -> None:
        # With the value, so that its id is no other one's.
        self._written: dict[int, tuple[Any, Any]] = {}

    def of(self, value: Any, write: Callable[[Any], Any]) -> Any:
        """Returns the message of a value, which `write` returns the first time."""
        if id(value) not in self._written:
            self._written[id(value)] = write(value), value
        return self._written[id(value)][0]


class GraphBuilder:
    """Objects under construction; node 0 is the root.

    Attributes:
        shared: Messages that objects share.
    """

    def __init__(self) -> None:
        self._nodes: list[_Node] = []
        self._saved_ids: dict[int, int] = {}
        self._by_identity: dict[int, int] = {}
        self._kept: list[Any] = []
        self.shared = SharedMessages()

    def add_object(
        self,
        identifier: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        checkpoint_only: bool = False,
        producer: int = 1,
    ) -> int:
        """Adds a user object, such as a layer or a list, and returns its id."""
        return self._add(
            _Node(
                "user_object",
                checkpoint_only=checkpoint_only,
                identifier=identifier,
                producer=producer,
                metadata=metadata,
            )
        )

    def add_message(self, fill: Any, identity: Any) -> int:
        """Adds an object of another kind; `fill` is called with its `SavedObject`.

        `identity` is as for `add_variable`.
        """
        known = self._by_identity.get(id(identity))
        if known is None:
            self._kept.append((fill, identity))
            known = self._add(_Node("message", fill=fill))
            self._by_identity[id(identity)] = known
        return known

    def add_variable(
        self,
        value: StoredTensor,
        *,
        name: str,
        trainable: bool = False,
        synchronization: int = 0,
        aggregation: int = 0,
        checkpoint_only: bool = False,
        identity: Any = None,
    ) -> int:
        """Adds a variable and returns its id.

        Args:
            value: What the checkpoint keeps for it.
            name: Its label, such as `"dense/kernel"`.
            trainable: Whether gradients flow to it.
            synchronization: `VariableSynchronization` of `variable.proto`.
            aggregation: `VariableAggregation` of `variable.proto`.
            checkpoint_only: Whether the saved object graph leaves it out.
            identity: An object that stands for the variable: a second call with
                the same one returns the same id.
        """
        key = id(value if identity is None else identity)
        if key not in self._by_identity:
            self._kept.append((value, identity))  # keeps the ids from being reused
            self._by_identity[key] = self._add(
                _Node(
                    "variable",
                    checkpoint_only=checkpoint_only,
                    name=name,
                    trainable=trainable,
                    synchronization=synchronization,
                    aggregation=aggregation,
                    value=value,
                )
            )
        return self._by_identity[key]

    def _add(self, node: _Node) -> int:
        node_id = len(self._nodes)
        self._nodes.append(node)
        if not node.checkpoint_only:
            self._saved_ids[node_id] = len(self._saved_ids)
        return node_id

    def variable_id(self, identity: Any) -> int | None:
        """Returns the id of the variable that `identity` stands for."""
        return self._by_identity.get(id(identity))

    def add_child(self, parent: int, name: str, child: int) -> None:
        """Makes one object the child of another under a name."""
        self._nodes[parent].children[name] = child

    def child(self, parent: int, name: str) -> int | None:
        """Returns the id of a child, `None` where there is none."""
        return self._nodes[parent].children.get(name)

    def add_checkpoint_tree(self, parent: int, name: str, tree: Tree) -> int:
        """Adds a nested dict or list of tensors, to the checkpoint's graph alone."""
        node = self.add_object("", checkpoint_only=True)
        self.add_child(parent, name, node)
        for key, value in tree.items():
            if isinstance(value, Mapping):
                self.add_checkpoint_tree(node, key, value)
            elif isinstance(value, list | tuple):
                items = {str(index): item for index, item in enumerate(value)}
                self.add_checkpoint_tree(node, key, items)
            else:
                variable = self.add_variable(value, name=key, checkpoint_only=True)
                self.add_child(node, key, variable)
        return node

    def add_slot(
        self, optimizer: int, original: int, slot_name: str, value: StoredTensor
    ) -> None:
        """Adds a slot variable, to the checkpoint's graph alone."""
        slot = self.add_variable(value, name=slot_name, checkpoint_only=True)
        self._nodes[optimizer].slots.append((original, slot_name, slot))

    # ------------------------------------------------------------ writing

    def paths(self) -> dict[int, tuple[str, ...]]:
        """Shortest path of names from the root to each object, breadth first."""
        paths: dict[int, tuple[str, ...]] = {0: ()}
        for parent, name, child in self._first_edges():
            paths[child] = (*paths[parent], name)
        return paths

    def _first_edges(self) -> Iterator[tuple[int, str, int]]:
        """Yields the edges by which a walk, breadth first, comes to each object."""
        seen, queue = {0}, [0]
        for parent in queue:  # the queue grows while it is walked
            for name, child in self._nodes[parent].children.items():
                if child not in seen:
                    seen.add(child)
                    queue.append(child)
                    yield parent, name, child

    def saved_objects(self, graph: Any) -> None:
        """Fills a `SavedObjectGraph`, without checkpoint-only objects."""
        ids = self._saved_ids
        for node_id in ids:
            node = self._nodes[node_id]
            proto = graph.nodes.add()
            _fill_saved(proto, node)
            for name, child in node.children.items():
                if child in ids:
                    proto.children.add(node_id=ids[child], local_name=name)

    def saved_id(self, node_id: int) -> int:
        """Returns the id that an object has in the saved object graph."""
        return self._saved_ids[node_id]

    def _order(self) -> list[int]:
        """Returns the objects as the checkpoint's graph lists them.

        Those of the saved object graph come first, so that both graphs agree.
        """
        rest = (i for i, node in enumerate(self._nodes) if node.checkpoint_only)
        return [*self._saved_ids, *rest]

    def tensors(self) -> list[tuple[str, StoredTensor]]:
        """Returns the tensors by checkpoint key; functions have none."""
        keys = self._checkpoint_keys()
        values = ((i, self._nodes[i].value) for i in self._order())
        return [(keys[i], value) for i, value in values if value is not None]

    def checkpoint(self) -> Any:
        """Returns the `TrackableObjectGraph`."""
        order = self._order()
        place = {node_id: index for index, node_id in enumerate(order)}
        keys = self._checkpoint_keys()
        graph = messages.TrackableObjectGraph()
        for node_id in order:
            node = self._nodes[node_id]
            proto = graph.nodes.add()
            for name, child in node.children.items():
                proto.children.add(node_id=place[child], local_name=name)
            for original, slot_name, slot in node.slots:
                proto.slot_variables.add(
                    original_variable_node_id=place[original],
                    slot_name=slot_name,
                    slot_variable_node_id=place[slot],
                )
            if node.value is not None:
                proto.attributes.add(
                    name=VARIABLE_VALUE,
                    full_name=node.name,
                    checkpoint_key=keys[node_id],
                )
        return graph

    def _checkpoint_keys(self) -> dict[int, str]:
        paths = {0: ""}
        for parent, name, child in self._first_edges():
            before = f"{paths[parent]}/" if parent else ""
            paths[child] = before + name.translate(_ESCAPES)
        for node_id, node in enumerate(self._nodes):
            for original, slot_name, slot in node.slots:
                owner = paths[node_id]
                paths[slot] = (
                    f"{paths[original]}/.OPTIMIZER_SLOT/{owner}/"
                    f"{slot_name.translate(_ESCAPES)}"
                )
        return {
            node_id: f"{path}/.ATTRIBUTES/{VARIABLE_VALUE}"
            for node_id, path in paths.items()
        }

    def keras_metadata(self) -> Any:
        """Returns the `KerasSavedMetadata` of all objects that have metadata."""
        paths = self.paths()
        metadata = messages.KerasSavedMetadata()
        for node_id, saved_id in self._saved_ids.items():
            node = self._nodes[node_id]
            if node.metadata is None:
                continue
            proto = metadata.nodes.add(
                node_id=saved_id,
                node_path=".".join(("root", *paths[node_id])),
                identifier=node.identifier,
                metadata=node.metadata_text,
            )
            proto.version.producer = 2
            proto.version.min_consumer = 1
        return metadata


def _fill_saved(proto: Any, node: _Node) -> None:
    if node.fill is not None:
        node.fill(proto)
    elif node.kind == "variable" and node.value is not None:
        variable = proto.variable
        variable.dtype = dtypes.from_name(node.value.dtype).number
        fill_shape(variable.shape, node.value.shape)
        variable.trainable = node.trainable
        variable.synchronization = node.synchronization
        variable.aggregation = node.aggregation
        variable.name = node.name
    else:
        proto.user_object.identifier = node.identifier
        proto.user_object.version.producer = node.producer
        proto.user_object.version.min_consumer = 1
        # Where Keras of TensorFlow 2.2 to 2.4 looks for it.
        proto.user_object.metadata = node.metadata_text


def fill_shape(proto: Any, shape: Iterable[int | None]) -> None:
    """Writes a shape into a `TensorShapeProto`; -1 stands for an unknown length."""
    proto.SetInParent()
    for dim in shape:
        proto.dim.add(size=-1 if dim is None else dim)
