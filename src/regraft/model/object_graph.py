"""`SavedObjectGraph` and the checkpoint's `TrackableObjectGraph` ↔ `ObjectGraph`.

The two graphs of a SavedModel describe the same objects: the first says what they
are, the second where the values of their variables are. They are matched by the
names of children from the root on, never by node id or variable name, as
TensorFlow's own loaders do. What only the checkpoint's graph holds (an optimizer
that the writer kept out of the first one) becomes a node of kind `"checkpoint"`.

Source: TensorFlow `core/protobuf/saved_object_graph.proto` and
`core/protobuf/trackable_object_graph.proto`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from regraft import dtypes
from regraft.errors import FormatError
from regraft.model import metadata as keras_json
from regraft.model.description import (
    ObjectGraph,
    ObjectNode,
    SlotVariable,
    Variable,
)
from regraft.storage.tensor import StoredTensor

VARIABLE_VALUE = "VARIABLE_VALUE"


def read_object_graph(
    saved: Any,
    checkpoint: Any | None,
    tensors: Mapping[str, StoredTensor],
    metadata: Mapping[int, str],
    *,
    path: str,
) -> ObjectGraph:
    """Reads the objects of a SavedModel.

    Args:
        saved: `SavedObjectGraph` message.
        checkpoint: `TrackableObjectGraph` message; `None` where the directory has
            no variables.
        tensors: The tensor bundle, by checkpoint key.
        metadata: Keras' JSON texts by node id, of `keras_metadata.pb`. Where it
            has none for a node, the text inside the node is taken (TensorFlow 2.0
            to 2.4).
        path: Directory, for messages.

    Raises:
        FormatError: Ids out of range, or a key that the bundle doesn't have.
    """
    return _Reader(saved, checkpoint, tensors, metadata, path).read()


class _Reader:
    def __init__(
        self,
        saved: Any,
        checkpoint: Any | None,
        tensors: Mapping[str, StoredTensor],
        metadata: Mapping[int, str],
        path: str,
    ) -> None:
        self._saved = saved
        self._checkpoint = checkpoint
        self._tensors = tensors
        self._metadata = metadata
        self._path = path
        self._nodes: list[ObjectNode | Variable] = []

    def read(self) -> ObjectGraph:
        if not len(self._saved.nodes):
            raise FormatError("The object graph is empty", path=self._path)
        places = self._match()
        for node_id, proto in enumerate(self._saved.nodes):
            self._nodes.append(self._make_node(node_id, proto, places.get(node_id)))
        for node_id, proto in enumerate(self._saved.nodes):
            self._link(node_id, proto.children, len(self._saved.nodes))
        if self._checkpoint is not None:
            self._add_checkpoint_only(places)
        return ObjectGraph(tuple(self._nodes))

    def _match(self) -> dict[int, int]:
        """Maps ids of the saved graph to ids of the checkpoint's graph."""
        if self._checkpoint is None or not len(self._checkpoint.nodes):
            return {}
        places = {0: 0}
        pending = [(0, 0)]
        while pending:
            saved_id, checkpoint_id = pending.pop()
            theirs = self._checkpoint_children(checkpoint_id)
            for child in self._saved.nodes[saved_id].children:
                other = theirs.get(child.local_name)
                self._check_id(child.node_id, len(self._saved.nodes))
                if other is not None and child.node_id not in places:
                    places[child.node_id] = other
                    pending.append((child.node_id, other))
        for saved_id, checkpoint_id in list(places.items()):
            self._match_slots(saved_id, checkpoint_id, places)
        return places

    def _match_slots(
        self, saved_id: int, checkpoint_id: int, places: dict[int, int]
    ) -> None:
        """Matches slots, which are nobody's children, by variable and slot name."""
        slots = self._saved.nodes[saved_id].slot_variables
        theirs = {
            (slot.original_variable_node_id, slot.slot_name): slot.slot_variable_node_id
            for slot in self._checkpoint.nodes[checkpoint_id].slot_variables  # type: ignore[union-attr]
        }
        for slot in slots:
            self._check_id(slot.slot_variable_node_id, len(self._saved.nodes))
            original = places.get(slot.original_variable_node_id, -1)
            other = theirs.get((original, slot.slot_name))
            if other is not None:
                self._check_id(other, len(self._checkpoint.nodes))  # type: ignore[union-attr]
                places.setdefault(slot.slot_variable_node_id, other)

    def _checkpoint_children(self, checkpoint_id: int) -> dict[str, int]:
        nodes = self._checkpoint.nodes  # type: ignore[union-attr]
        self._check_id(checkpoint_id, len(nodes))
        return {
            child.local_name: child.node_id for child in nodes[checkpoint_id].children
        }

    def _check_id(self, node_id: int, count: int) -> None:
        if not 0 <= node_id < count:
            raise FormatError(
                "Object graph names a node that it doesn't have",
                path=self._path,
                expected=f"a node id below {count}",
                received=node_id,
            )

    def _make_node(
        self, node_id: int, proto: Any, place: int | None
    ) -> ObjectNode | Variable:
        kind = proto.WhichOneof("kind") or "user_object"
        attributes = {} if place is None else self._attributes(place)
        if kind == "variable":
            return _variable(node_id, proto.variable, attributes.get(VARIABLE_VALUE))
        identifier = proto.user_object.identifier if kind == "user_object" else ""
        return ObjectNode(
            node_id,
            kind,
            identifier,
            self._decode_metadata(node_id, proto, kind),
            slot_variables=_slots(proto.slot_variables),
            attributes=attributes,
            message=proto,
        )

    def _attributes(self, checkpoint_id: int) -> dict[str, StoredTensor]:
        found = {}
        for attribute in self._checkpoint.nodes[checkpoint_id].attributes:  # type: ignore[union-attr]
            key = attribute.checkpoint_key
            if key in self._tensors:
                found[attribute.name] = self._tensors[key]
                continue
            # A table is one attribute with several tensors, `table-keys` and
            # `table-values`; TensorFlow 2.9 to 2.12 leave its name out.
            name = attribute.name or "table"
            stem = key if attribute.name else f"{key}{name}"
            parts = {
                f"{name}-{part}": self._tensors[f"{stem}-{part}"]
                for part in ("keys", "values")
                if f"{stem}-{part}" in self._tensors
            }
            if not parts:
                raise FormatError(
                    "The checkpoint's object graph names a tensor that the bundle "
                    "doesn't have",
                    path=self._path,
                    received=key,
                )
            found.update(parts)
        return found

    def _decode_metadata(
        self, node_id: int, proto: Any, kind: str
    ) -> dict[str, Any] | None:
        text = self._metadata.get(node_id)
        if text is None and kind == "user_object":
            text = proto.user_object.metadata
        if not text:
            return None
        place = f"metadata of node {node_id}"
        value = keras_json.parse_json(text, path=self._path, object_path=place)
        if not isinstance(value, dict):
            raise FormatError(
                "Keras metadata is not a JSON object",
                path=self._path,
                object_path=place,
                received=type(value).__name__,
            )
        return dict(keras_json.decode(value))

    def _link(self, node_id: int, references: Iterable[Any], count: int) -> None:
        node = self._nodes[node_id]
        if isinstance(node, Variable):
            return
        for child in references:
            self._check_id(child.node_id, count)
            node.children[child.local_name] = self._nodes[child.node_id]

    def _add_checkpoint_only(self, places: Mapping[int, int]) -> None:
        """Adds what hangs below matched nodes in the checkpoint's graph alone."""
        known: dict[int, ObjectNode | Variable] = {}
        for saved_id, checkpoint_id in places.items():
            known.setdefault(checkpoint_id, self._nodes[saved_id])
        pending = list(known)
        while pending:
            checkpoint_id = pending.pop()
            parent = known[checkpoint_id]
            if isinstance(parent, Variable):
                continue
            for name, child_id in self._checkpoint_children(checkpoint_id).items():
                if name in parent.children:
                    continue
                if child_id not in known:
                    known[child_id] = self._add_node(child_id)
                    pending.append(child_id)
                parent.children[name] = known[child_id]
        self._translate_slots(known)

    def _add_node(self, checkpoint_id: int) -> ObjectNode | Variable:
        self._check_id(checkpoint_id, len(self._checkpoint.nodes))  # type: ignore[union-attr]
        attributes = self._attributes(checkpoint_id)
        value = attributes.get(VARIABLE_VALUE)
        node_id = len(self._nodes)
        node: ObjectNode | Variable
        if value is not None:
            label = self._checkpoint.nodes[checkpoint_id].attributes[0].full_name  # type: ignore[union-attr]
            node = Variable(node_id, label, value.dtype, value.shape, False, value)
        else:
            node = ObjectNode(node_id, "checkpoint", attributes=attributes)
        self._nodes.append(node)
        return node

    def _translate_slots(self, known: dict[int, ObjectNode | Variable]) -> None:
        """Gives checkpoint-only optimizers their slots, in ids of the whole graph.

        A slot variable need not be any object's child; such a one is added here.
        """
        for checkpoint_id, node in list(known.items()):
            slots = self._checkpoint.nodes[checkpoint_id].slot_variables  # type: ignore[union-attr]
            if not len(slots) or isinstance(node, Variable) or node.slot_variables:
                continue
            translated = []
            for slot in slots:
                for reference in (
                    slot.original_variable_node_id,
                    slot.slot_variable_node_id,
                ):
                    if reference not in known:
                        known[reference] = self._add_node(reference)
                translated.append(
                    SlotVariable(
                        known[slot.original_variable_node_id].node_id,
                        slot.slot_name,
                        known[slot.slot_variable_node_id].node_id,
                    )
                )
            object.__setattr__(node, "slot_variables", tuple(translated))


def _variable(node_id: int, proto: Any, value: StoredTensor | None) -> Variable:
    shape = proto.shape
    return Variable(
        node_id,
        proto.name,
        dtypes.from_number(proto.dtype).name,
        tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim),
        proto.trainable,
        value,
        proto.synchronization,
        proto.aggregation,
    )


def _slots(protos: Iterable[Any]) -> tuple[SlotVariable, ...]:
    return tuple(
        SlotVariable(
            proto.original_variable_node_id,
            proto.slot_name,
            proto.slot_variable_node_id,
        )
        for proto in protos
    )
