"""A Keras model as data: what every format is read into and written from.

A `ModelDescription` names the model's configuration in the dialect of the Keras
that wrote it, its variables, its compile arguments and its optimizer's state. It
holds no live Keras object and no open file, only `StoredTensor`s that read
themselves when they are needed.

The two formats order variables differently, and both orders are kept as they are:

* a SavedModel is a graph of objects (`ObjectNode`), in which every variable is the
  child of the object that owns it, under the attribute's name;
* an HDF5 file is a list of layers, each with an ordered list of weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from regraft.storage.tensor import StoredTensor


@dataclass(frozen=True, eq=False)
class Variable:
    """A variable of an object graph.

    Attributes:
        node_id: Its place in the list of nodes.
        name: A label such as `"dense/kernel"`; it need not be unique.
        dtype: Name of a row of `regraft.dtypes`.
        shape: Length of each dimension; `None` where unknown.
        trainable: As the layer that made it said.
        value: `None` where the file holds no value for it.
        synchronization: `VariableSynchronization` of `variable.proto`.
        aggregation: `VariableAggregation` of `variable.proto`.
    """

    node_id: int
    name: str
    dtype: str
    shape: tuple[int | None, ...]
    trainable: bool
    value: StoredTensor | None
    synchronization: int = 0
    aggregation: int = 0


@dataclass(frozen=True)
class SlotVariable:
    """A variable that an optimizer keeps for another one.

    Attributes:
        original_variable_node_id: The variable that is optimized.
        slot_name: Such as `"m"`.
        slot_variable_node_id: The slot.
    """

    original_variable_node_id: int
    slot_name: str
    slot_variable_node_id: int


@dataclass(frozen=True, eq=False)
class ObjectNode:
    """A tracked object that is not a variable: layer, list, optimizer, function, ….

    Attributes:
        node_id: Its place in the list of nodes.
        kind: Field of `SavedObject`'s `kind`: `"user_object"`, `"function"`,
            `"bare_concrete_function"`, `"constant"`, `"resource"`, `"asset"`,
            `"captured_tensor"`; `"checkpoint"` for an object that only the
            checkpoint's graph knows.
        identifier: Of a user object, such as `"_tf_keras_layer"`; else `""`.
        metadata: Keras' metadata of the object, decoded; `None` without.
        children: Objects by attribute name. The graph may have cycles.
        slot_variables: Of an optimizer with slots.
        attributes: Values that the checkpoint keeps for the object itself, such as
            `"table-keys"` and `"table-values"` of a mutable table.
        message: The `SavedObject` as it is in the file, for `kind`s that name
            functions or constants; `None` for one that only the checkpoint knows.
    """

    node_id: int
    kind: str
    identifier: str = ""
    metadata: Mapping[str, Any] | None = None
    children: dict[str, ObjectNode | Variable] = field(default_factory=dict, repr=False)
    slot_variables: tuple[SlotVariable, ...] = ()
    attributes: Mapping[str, StoredTensor] = field(default_factory=dict)
    message: Any = field(default=None, repr=False)

    def child(self, name: str) -> ObjectNode | None:
        """Returns the object under `name`, `None` where there is none."""
        found = self.children.get(name)
        return found if isinstance(found, ObjectNode) else None

    def variable(self, name: str) -> Variable | None:
        """Returns the variable under `name`, `None` where there is none."""
        found = self.children.get(name)
        return found if isinstance(found, Variable) else None

    def items(self) -> Iterator[ObjectNode | Variable]:
        """Yields children "0", "1", … of a list, in order."""
        index = 0
        while (found := self.children.get(str(index))) is not None:
            yield found
            index += 1


@dataclass(frozen=True)
class ObjectGraph:
    """All objects of a SavedModel, by node id; the first one is the root.

    Attributes:
        nodes: Objects and variables. Ids of the saved object graph come first,
            objects that only the checkpoint knows after them.
    """

    nodes: tuple[ObjectNode | Variable, ...]

    @property
    def root(self) -> ObjectNode:
        root = self.nodes[0]
        if isinstance(root, Variable):
            raise TypeError("The root of an object graph is never a variable.")
        return root

    def variables(self) -> Iterator[Variable]:
        return (node for node in self.nodes if isinstance(node, Variable))


@dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer in the order of an HDF5 file.

    Attributes:
        name: Name of the layer.
        weights: Name in the file, such as `"dense/kernel:0"`, and value.
    """

    name: str
    weights: tuple[tuple[str, StoredTensor], ...]


@dataclass(frozen=True)
class OrderedWeights:
    """All weights of a model in the order of an HDF5 file.

    Attributes:
        layers: Top-level layers in the order of `model.layers`; the weights of a
            nested model are all in its one entry.
        top_level: Weights that the model itself owns.
    """

    layers: tuple[LayerWeights, ...]
    top_level: tuple[tuple[str, StoredTensor], ...] = ()


@dataclass(frozen=True)
class ModelDescription:
    """A whole model.

    Attributes:
        path: File or directory that it came from, for messages.
        format: `"tf"`, `"h5"` or `"json"`.
        keras_version: Version of the Keras that wrote it; `None` where the file
            does not say.
        tensorflow_version: Of the TensorFlow that wrote it; `None` likewise.
        backend: Name of the backend, such as `"tensorflow"`; `None` likewise.
        config: `{"class_name": …, "config": …}` in the writer's dialect; `None`
            where the file holds weights alone.
        training_config: Compile arguments in the writer's dialect, or `None`.
        objects: The object graph of a SavedModel.
        weights: The ordered weights of an HDF5 file; `None` where it has the config
            alone.
        optimizer_weights: The optimizer's state in the order of an HDF5 file.
        accumulated_gradients: What the optimizer of an HDF5 file has summed up for its
            next step, where Keras 2 has no place for it.
        extra: What Regraft adds for Keras 3, see `docs/format.md`.
        functions: The traced functions of a SavedModel, for the room that runs them.
    """

    path: str
    format: str
    keras_version: str | None
    tensorflow_version: str | None
    backend: str | None
    config: Mapping[str, Any] | None
    training_config: Mapping[str, Any] | None
    objects: ObjectGraph | None = None
    weights: OrderedWeights | None = None
    optimizer_weights: tuple[tuple[str, StoredTensor], ...] | None = None
    accumulated_gradients: tuple[tuple[str, StoredTensor], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    functions: Any = None

    @property
    def written_by(self) -> str:
        """Who wrote it, as a sentence without its full stop."""
        parts = []
        if self.extra.get("keras_version"):
            parts.append(f"Keras {self.extra['keras_version']} through Regraft")
        elif self.keras_version:
            parts.append(f"Keras {self.keras_version}")
        if self.tensorflow_version and not self.extra:
            parts.append(f"TensorFlow {self.tensorflow_version}")
        return "Written by " + (
            ", ".join(parts) or "a Keras that doesn't say its version"
        )

    @property
    def is_topology(self) -> bool:
        """Whether it has a config alone, and no value of any weight."""
        return self.objects is None and self.weights is None
