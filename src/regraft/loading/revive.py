"""Objects of a SavedModel whose class nobody has → live layers over their traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from regraft.graph.runtime.saved_functions import SavedFunction
from regraft.loading.functions import FunctionStore
from regraft.loading.restore import RestorePlan, plan_from_objects
from regraft.loading.revived_layer import (
    RevivedLayer,
    RevivedModel,
    RevivedObject,
    TracedRegularizer,
)
from regraft.model.description import ObjectNode, Variable
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.topology import build_layer
from regraft.model.metadata import TensorShape
from regraft.model.state_tree import state_tree

# Functions by preference: with all losses, with conditional ones, plain.
_FUNCTIONS = (
    "call_and_return_all_conditional_losses",
    "call_and_return_conditional_losses",
    "__call__",
)
# Children that Keras 2 adds to every layer, which are not attributes of its own.
_KERAS_CHILDREN = frozenset(
    {
        *_FUNCTIONS,
        "variables",
        "trainable_variables",
        "non_trainable_variables",
        "regularization_losses",
        "keras_api",
        "signatures",
        "optimizer",
        "_default_save_signature",
    }
)
_MODEL = "_tf_keras_model"


class Reviver:
    """Makes live objects of the nodes of one file, each once.

    Args:
        store: The file's functions.
        context: Of the build.

    Attributes:
        store: The file's functions.
    """

    def __init__(self, store: FunctionStore, context: BuildContext) -> None:
        self.store = self._store = store
        self._context = context
        self._live: dict[int, Any] = {}
        self.revived: list[tuple[keras.Layer, ObjectNode, str]] = []

    def revive(self, entry: Mapping[str, Any]) -> keras.Layer:
        """Returns a layer for a config entry whose class nobody has.

        Raises:
            ValueError: The file holds no such object, or no traces of it.
        """
        config = entry.get("config")
        name = config.get("name") if isinstance(config, Mapping) else None
        class_name = str(entry.get("class_name"))
        if "place" in entry:
            model, index = entry["place"]
            node = self._find_at(model, index, class_name)
        else:
            node = self._find(name or entry.get("name"), class_name)
        if (node.metadata or {}).get("must_restore_from_config"):
            raise ValueError(
                f"Layer '{name}' of class {entry.get('class_name')!r} can only be "
                "rebuilt from its class."
            )
        return self.layer(node, f"unknown class {entry.get('class_name')!r}")

    def root(self, node: ObjectNode) -> keras.Model:
        """Returns a live model for a root whose class nobody has.

        Raises:
            ValueError: The file holds no traces of it.
        """
        class_name = (node.metadata or {}).get("class_name")
        try:
            return self.layer(node, f"unknown class {class_name!r}")
        except ValueError as error:
            raise ValueError(
                f"Unknown model class {class_name!r}: {error} Pass the class in "
                f"`custom_objects={{{class_name!r}: …}}`."
            ) from None

    def bind(self, plan: RestorePlan) -> None:
        """Makes the functions of revived layers use the variables of a plan."""
        if self.revived:
            self._store.bind(
                {
                    item.node_id: item.variable
                    for item in plan.assignments
                    if item.node_id is not None
                }
            )
            for _, node, _ in self.revived:
                self._add_regularizers(node)

    def _find(self, name: Any, class_name: str) -> ObjectNode:
        for node in self._store.objects.nodes:
            if not isinstance(node, ObjectNode) or node.metadata is None:
                continue
            if node.node_id in self._live:
                continue
            if node.metadata.get("name") == name and _is_class(node, class_name):
                return node
        raise ValueError(f"The file holds no object of layer '{name}'.")

    def _find_at(self, model: str, index: int, class_name: str) -> ObjectNode:
        """The object at a place of the Sequential of a name."""
        for owner in self._store.objects.nodes:
            if not isinstance(owner, ObjectNode) or owner.metadata is None:
                continue
            node = owner.children.get(f"layer-{index}")
            if (
                owner.metadata.get("name") == model
                and isinstance(node, ObjectNode)
                and _is_class(node, class_name)
                and node.node_id not in self._live
            ):
                return node
        raise ValueError(f"The file holds no object of layer {index} of '{model}'.")

    def layer(self, node: ObjectNode, reason: str) -> keras.Layer:
        """Returns the live layer of a node that runs its traces.

        Raises:
            ValueError: The file holds no traces of it.
        """
        functions = self._functions(node)
        if not functions:
            raise ValueError(
                f"'{(node.metadata or {}).get('name')}' has no traced functions in the "
                "file (it was saved with `save_traces=False`)."
            )
        metadata = node.metadata or {}
        config = metadata.get("config")
        cls = RevivedModel if node.identifier == _MODEL else RevivedLayer
        keywords: dict[str, Any] = {"name": _name(metadata)}
        if cls is RevivedLayer:
            keywords["dtype"] = keras.config.floatx()
            keywords["autocast"] = False
        layer = cls(
            functions=functions,
            saved_class_name=str(metadata.get("class_name")),
            saved_config=config if isinstance(config, dict) else {},
            **keywords,
        )
        self._live[node.node_id] = layer
        self._add_children(layer, node)
        layer.built = True
        if isinstance(layer, RevivedModel) and layer.reads_text:
            self._context.note(
                f"model {layer.name!r}",
                "its functions read text, which runs through "
                "`regraft.load(path).signatures` alone",
            )
        if metadata.get("trainable") is False:
            layer.trainable = False
        self.revived.append((layer, node, reason))
        return layer

    def _functions(self, node: ObjectNode) -> dict[str, SavedFunction]:
        found = {}
        for name in _FUNCTIONS:
            function = self._store.function(node.child(name))
            if function is None and (api := node.child("keras_api")) is not None:
                function = self._store.function(api.child(name))
            if function is not None:
                found[name] = function
        return found

    # ------------------------------------------------------------ children

    def _add_children(self, layer: keras.Layer, node: ObjectNode) -> None:
        for name, child in node.children.items():
            if name in _KERAS_CHILDREN or name.startswith("layer_with_weights-"):
                continue
            value = self._child(layer, name, child)
            if value is None:
                continue
            # A name that the class of all layers uses otherwise keeps off it.
            taken = hasattr(type(layer), name)
            setattr(layer, f"saved_{name}" if taken else name, value)

    def _child(
        self, layer: keras.Layer, name: str, child: ObjectNode | Variable
    ) -> Any:
        if child.node_id in self._live:
            return self._live[child.node_id]
        if isinstance(child, Variable):
            return self._variable(layer, name, child)
        value = self._object(layer, name, child)
        if value is not None:
            self._live[child.node_id] = value
        return value

    def _variable(self, layer: keras.Layer, name: str, node: Variable) -> Any:
        if None in node.shape or node.dtype in ("string", "resource", "variant"):
            return None
        label = node.name.rpartition("/")[2].partition(":")[0] or name
        variable = layer.add_weight(
            shape=node.shape,
            dtype=node.dtype,
            initializer="zeros",
            trainable=node.trainable,
            autocast=False,
            name=label,
        )
        self._live[node.node_id] = variable
        self._store.bind({node.node_id: variable})
        return variable

    def _object(self, layer: keras.Layer, name: str, node: ObjectNode) -> Any:
        if node.metadata is not None:
            return self._sublayer(node)
        if node.identifier == "trackable_list_wrapper":
            return self._list(layer, name, node)
        if node.identifier == "trackable_dict_wrapper":
            return self._dict(layer, name, node)
        if node.kind == "user_object" and _holds_variables(node):
            return self._namespace(name, node)
        return None

    def _list(self, layer: keras.Layer, name: str, node: ObjectNode) -> Any:
        items = [
            self._child(layer, f"{name}_{index}", item)
            for index, item in enumerate(node.items())
        ]
        return items if any(item is not None for item in items) else None

    def _dict(self, layer: keras.Layer, name: str, node: ObjectNode) -> Any:
        items = {
            key: self._child(layer, f"{name}_{key}", item)
            for key, item in node.children.items()
        }
        return items if any(item is not None for item in items.values()) else None

    def _namespace(self, name: str, node: ObjectNode) -> Any:
        holder = RevivedObject(dtype=keras.config.floatx(), autocast=False)
        holder.built = True
        self._live[node.node_id] = holder
        self._add_children(holder, node)
        return holder

    def _sublayer(self, node: ObjectNode) -> keras.Layer | None:
        """A layer inside a revived one: from its config if its class is known."""
        if node.identifier == "_tf_keras_metric":
            return None
        metadata = node.metadata or {}
        config = metadata.get("config")
        if isinstance(config, dict) and node.identifier != "_tf_keras_input_layer":
            try:
                return self._from_config(node, metadata, config)
            except (ValueError, TypeError, NotImplementedError):
                self._live.pop(node.node_id, None)
        if not self._functions(node):
            return None
        return self.layer(node, f"unknown class {metadata.get('class_name')!r}")

    def _from_config(
        self, node: ObjectNode, metadata: Mapping[str, Any], config: Mapping[str, Any]
    ) -> keras.Layer:
        entry = {"class_name": metadata.get("class_name"), "config": config}
        layer = build_layer(entry, self._context)
        if not layer.built:
            shape = metadata.get("build_input_shape")
            if shape is not None:
                layer.build(_plain_shape(shape))
        plan = plan_from_objects(state_tree(layer), node)
        if plan.missing or plan.unused:
            raise ValueError("The rebuilt layer has other variables than the file.")
        return layer

    # -------------------------------------------------------------- losses

    def _add_regularizers(self, node: ObjectNode) -> None:
        """Attaches traced weight losses to the variables that they are of."""
        api = node.child("keras_api")
        own = api.child("layer_regularization_losses") if api is not None else None
        listed = own if own is not None else node.child("regularization_losses")
        for child in listed.items() if listed is not None else ():
            if not isinstance(child, ObjectNode):
                continue
            function = self._store.function(child)
            if function is None:
                continue
            for node_id in function.traces[0].concrete.bound_inputs:
                variable = self._store.live_variable(node_id)
                if variable is not None and variable.regularizer is None:
                    variable.regularizer = TracedRegularizer(function)
                    break


def _is_class(node: ObjectNode, class_name: str) -> bool:
    """Whether a config's class is that of a node.

    A config in Keras 3's words, of a layer that was revived before, says so.
    """
    saved = str((node.metadata or {}).get("class_name"))
    plain = class_name.rpartition(">")[2]
    return plain in (saved.rpartition(">")[2], "RevivedLayer", "RevivedModel")


def _holds_variables(node: ObjectNode) -> bool:
    """Whether there is a variable below an object that is no layer."""
    seen = {node.node_id}
    pending = [node]
    while pending:
        for child in pending.pop().children.values():
            if isinstance(child, Variable):
                return True
            if child.node_id not in seen and child.kind == "user_object":
                seen.add(child.node_id)
                pending.append(child)
    return False


def _name(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("name") or "revived").replace("/", "__")


def _plain_shape(shape: Any) -> Any:
    if isinstance(shape, TensorShape):
        return shape.dims
    if isinstance(shape, list):
        return [_plain_shape(item) for item in shape]
    return shape
