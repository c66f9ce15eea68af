"""A described model → a SavedModel directory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from regraft.graph.runtime.kept_tables import tables_of
from regraft.model.compile.metrics import describe_metric
from regraft.model.dialects.describe import under_names_of_their_own
from regraft.model.dialects.describe_topology import describe_layer
from regraft.model.dialects.dialect import KERAS_2, KERAS_2_WITH_FUNCTIONS
from regraft.model.dialects.names import original_name
from regraft.model.keras2.added_metrics import AddedMetric, AddMetric
from regraft.model.keras2.host_lookup import IndexLookup
from regraft.model.keras2.metrics import variable_names
from regraft.model.optimizers import (
    describe_optimizer_state,
    state_from_keras,
)
from regraft.model.optimizers.slots import AROUND_SLOTS
from regraft.model.optimizers.style import INNER_CHILDREN
from regraft.model.ordering import (
    Child,
    children_in_order,
    edges_in_order,
    trainable_variables,
)
from regraft.model.state_tree import StateNode, has_metrics, network_layers, own_metrics
from regraft.model.values import KerasVariableTensor
from regraft.options import SaveOptions
from regraft.saving.describe import SavedModelParts
from regraft.saving.function_names import debug_info
from regraft.saving.graph_builder import GraphBuilder
from regraft.saving.layer_metadata import (
    TENSORFLOW_VERSION,
    identifier,
    layer_metadata,
    model_metadata,
)
from regraft.saving.trace_graph import add_function_objects, write_functions
from regraft.saving.trace_tables import add_table, with_tables
from regraft.saving.traces import ModelTraces
from regraft.storage import proto
from regraft.storage.checkpoint import write_checkpoint
from regraft.storage.proto import messages
from regraft.storage.saved_model_directory import new_saved_model_directory
from regraft.storage.tensor import ArrayTensor, StoredTensor

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
EXTRA_KEY = "regraft"

# Variables that have another dtype in Keras 2, by class and name.
_DTYPES = {
    ("Normalization", "count"): "int64",
    ("R2Score", "num_samples"): "int32",
}
# Enums of variable.proto, by Keras 3's words.
_SYNCHRONIZATION = {"auto": 0, "none": 1, "on_write": 2, "on_read": 3}
_AGGREGATION = {"none": 0, "sum": 1, "mean": 2, "only_first_replica": 3}


def write_saved_model(
    path: str | os.PathLike[str],
    parts: SavedModelParts,
    options: SaveOptions,
    trace: Callable[[], ModelTraces | None] | None = None,
    aliases: Callable[[ModelTraces], Mapping[str, str]] = lambda _: {},
) -> None:
    """Writes a model as a SavedModel directory, all or nothing.

    Args:
        path: Target directory, replaced if it exists.
        parts: The described model.
        options: See `SaveOptions`.
        trace: Returns what the model computes, if that goes along; called while its
            variables are being written.
        aliases: Returns further names of functions, by the name of the function.
    """
    builder = GraphBuilder()
    assembly = ModelAssembly(builder, parts, traced=trace is not None)
    assembly.add()
    with new_saved_model_directory(
        path, alignment_bytes=options.alignment_bytes, progress=options.progress
    ) as writer:
        writer.add_tensors(builder.tensors())
        traces = None if trace is None else trace()
        if traces is not None:
            traces = with_tables(traces, parts.model)
            root = assembly.node_ids[id(parts.model)]
            add_function_objects(builder, traces, assembly.node_ids, root)
        checkpoint = builder.checkpoint()
        writer.add_tensors([_object_graph(checkpoint)])
        saved_model = messages.SavedModel(saved_model_schema_version=1)
        meta_graph = saved_model.meta_graphs.add()
        meta_graph.meta_info_def.tags.extend(("serve", *(options.extra_tags or ())))
        meta_graph.meta_info_def.tensorflow_version = TENSORFLOW_VERSION
        meta_graph.meta_info_def.stripped_default_attrs = True
        builder.saved_objects(meta_graph.object_graph_def)
        if traces is not None:
            write_functions(meta_graph, traces, builder, checkpoint)
            meta_graph.meta_info_def.function_aliases.update(aliases(traces))
        writer.finish(
            saved_model,
            keras_metadata=builder.keras_metadata(),
            fingerprint="compute",
            debug_info=(
                debug_info(parts.model, traces)
                if traces is not None and options.save_debug_info
                else None
            ),
        )


def write_weights(
    prefix: str | os.PathLike[str], parts: SavedModelParts, options: SaveOptions
) -> None:
    """Writes a model's weights and optimizer as a checkpoint of TensorFlow.

    Args:
        prefix: Of the names of its files; those that are there are replaced.
        parts: The described model.
        options: See `SaveOptions`.
    """
    builder = GraphBuilder()
    ModelAssembly(builder, parts, traced=False).add_weights()
    write_checkpoint(
        prefix,
        [*builder.tensors(), _object_graph(builder.checkpoint())],
        alignment_bytes=options.alignment_bytes,
        progress=options.progress,
    )


def _object_graph(checkpoint: Any) -> tuple[str, StoredTensor]:
    scalar = np.empty((), object)
    scalar[()] = proto.serialize(checkpoint)
    return OBJECT_GRAPH_KEY, ArrayTensor(scalar)


class ModelAssembly:
    """Adds a described model to a `GraphBuilder`.

    Args:
        builder: Where to.
        parts: The described model.
        traced: Whether layers have functions beside their configs.

    Attributes:
        node_ids: Node id by `id` of each layer and operation added.
    """

    def __init__(
        self, builder: GraphBuilder, parts: SavedModelParts, *, traced: bool
    ) -> None:
        self._builder = builder
        self._traced = traced
        entry = under_names_of_their_own(parts.entry, traced)
        self._parts = dataclasses.replace(parts, entry=entry)
        self.node_ids: dict[int, int] = {}
        self._metric_ids: dict[int, int | None] = {}

    def add(self) -> None:
        """Adds the model with its layers, variables and optimizer."""
        root = self._add_root()
        self._add_variable_lists(root)
        self._add_optimizer(root)
        signatures = self._builder.add_object("signature_map")
        self._builder.add_child(root, "signatures", signatures)

    def add_weights(self) -> None:
        """Adds what `save_weights` of Keras 2 keeps: no lists and no signatures."""
        self._add_optimizer(self._add_root())

    def _add_root(self) -> int:
        parts = self._parts
        metadata = model_metadata(parts.model, parts.entry, parts.training_config)
        metadata[EXTRA_KEY] = parts.extra
        root = self._builder.add_object(
            identifier(parts.model, parts.entry["class_name"]), metadata=metadata
        )
        self.node_ids[id(parts.model)] = root
        self._add_children(root, parts.tree, parts.entry)
        return root

    def _add_variable_lists(self, root: int) -> None:
        """Adds what `tf.saved_model.load(path).variables` gives."""
        # Optimizers count trainable ones in the order in which Keras 2 collects them.
        collected = [v for _, v in edges_in_order(self._parts.tree)]
        trainable = [v for v in collected if v.trainable]
        frozen = [v for v in collected if not v.trainable]
        # As the model lists them; at last what it doesn't count: states, say.
        known = {id(v): v for v in collected}
        weights = {id(v): v for v in self._parts.model.weights if id(v) in known}
        everything = list({**weights, **known}.values())
        api = self._builder.add_object("_generic_user_object")
        self._builder.add_child(root, "keras_api", api)
        for name, variables in (
            ("variables", everything),
            ("trainable_variables", trainable),
            ("non_trainable_variables", frozen),
        ):
            node = self._add_list([self._add_variable(v) for v in variables])
            self._builder.add_child(api, name, node)
            if name != "non_trainable_variables":
                self._builder.add_child(root, name, node)
        layers = [
            found
            for layer in self._parts.model.layers
            if (found := self.node_ids.get(id(layer))) is not None
        ]
        self._builder.add_child(api, "layers", self._add_list(layers))

    def _add_list(self, items: Sequence[int]) -> int:
        node = self._builder.add_object("trackable_list_wrapper")
        for index, item in enumerate(items):
            self._builder.add_child(node, str(index), item)
        return node

    # -------------------------------------------------------------- layers

    def _add_children(
        self, node: int, tree: StateNode, entry: Mapping[str, Any] | None
    ) -> None:
        if tree.kind == "network" and entry is not None:
            self._add_network_layers(node, tree, entry)
        for name, child in children_in_order(tree):
            self._add_child(node, tree, name, child)
        if isinstance(tree.owner, IndexLookup) and tree.owner.idf is not None:
            weights = ArrayTensor(tree.owner.idf.astype("float32"))
            variable_id = self._builder.add_variable(weights, name="Variable")
            self._builder.add_child(node, "idf_weights", variable_id)
        for name, table in tables_of(tree.owner) if self._traced else ():
            self._builder.add_child(node, name, add_table(self._builder, table))
        if tree.owner is not None:
            self._add_own_metrics(node, own_metrics(tree.owner))

    def _add_child(self, node: int, tree: StateNode, name: str, child: Child) -> None:
        if isinstance(child, keras.Variable):
            dtype = _DTYPES.get((type(tree.owner).__name__, name))
            found: int | None = self._add_variable(child, dtype)
        elif self._builder.child(node, name) is not None:
            return
        elif isinstance(child, keras.Layer):
            found = self.node_ids.get(id(child))
        elif name == "states" and isinstance(tree.owner, AddMetric):
            self._add_layer_metrics(node, tree.owner.added_metrics)
            return
        else:
            found = self._add_below(child)
        if found is not None:
            self._builder.add_child(node, name, found)

    def _add_own_metrics(self, node: int, items: Iterable[tuple[Any, Any]]) -> None:
        """Adds metrics, and lists and dicts of such, to what has them by name."""
        for key, value in items:
            name = str(key)
            if isinstance(value, keras.Metric):
                if id(value) not in self._metric_ids:
                    self._metric_ids[id(value)] = self._add_metric(value)
                found = self._metric_ids[id(value)]
                if found is not None:
                    self._builder.add_child(node, name, found)
            elif has_metrics(value):
                is_dict = isinstance(value, dict)
                below = self._builder.child(node, name)
                if below is None:
                    kind = "dict" if is_dict else "list"
                    below = self._builder.add_object(f"trackable_{kind}_wrapper")
                    self._builder.add_child(node, name, below)
                inside = value.items() if is_dict else enumerate(value)
                self._add_own_metrics(below, inside)

    def _add_layer_metrics(self, node: int, added: Sequence[AddedMetric]) -> None:
        """Adds what a layer counts where Keras 2 has it: no variable of the layer."""
        api = self._builder.add_object("_generic_user_object")
        self._builder.add_child(node, "keras_api", api)
        metrics = self._builder.add_object("trackable_dict_wrapper")
        self._builder.add_child(api, "layer_metrics", metrics)
        for one in added:
            found = self._add_metric(one.metric, one.counted)
            if found is not None:
                self._builder.add_child(metrics, one.metric.name, found)

    def _add_metric(
        self, metric: keras.Metric, variables: Sequence[keras.Variable] | None = None
    ) -> int | None:
        """Adds a metric with its state, or with other variables that have it."""
        entry = describe_metric(metric, KERAS_2, self._parts.notes)
        if not isinstance(entry, Mapping):
            return None
        metadata = {**entry, "name": metric.name, "dtype": str(metric.dtype)}
        node = self._builder.add_object("_tf_keras_metric", metadata=metadata)
        listed = []
        held = variables or metric.variables
        for name, variable in zip(variable_names(metric), held, strict=True):
            dtype = _DTYPES.get((type(metric).__name__, name))
            listed.append(self._add_variable(variable, dtype))
            if name:
                self._builder.add_child(node, name, listed[-1])
        self._builder.add_child(node, "variables", self._add_list(listed))
        return node

    def _add_network_layers(
        self, node: int, tree: StateNode, entry: Mapping[str, Any]
    ) -> None:
        """Adds `layer_with_weights-K` and `layer-N` in the order of the config.

        A Sequential's input layer is in its config but not among its layers.
        """
        live = {
            original_name(child.owner): child
            for _, child in tree.children
            if child.owner is not None
        }
        entries = list(entry["config"]["layers"])
        if isinstance(tree.owner, keras.Sequential):
            entries = [e for e in entries if e["class_name"] != "InputLayer"]
        operations = {
            original_name(operation): operation
            for operation in getattr(tree.owner, "operations", ())
            if not isinstance(operation, keras.layers.Layer)
        }
        layers = {original_name(layer): layer for layer in network_layers(tree.owner)}
        added = []
        weighted = 0
        for layer_entry in entries:
            name = layer_entry.get("name") or layer_entry["config"].get("name")
            child = live.get(name)
            layer = layers.get(name)
            if child is None and layer is not None and id(layer) in self.node_ids:
                # A network before this one has it, too, or a wrapper in this one.
                node_id = self.node_ids[id(layer)]
                has_weights = bool(layer.weights)
            else:
                node_id = self._add_layer(child, layer_entry)
                has_weights = child is not None and any(True for _ in child.edges())
            added.append(node_id)
            if child is None and name in operations:
                self.node_ids[id(operations[name])] = node_id
            if has_weights:
                self._builder.add_child(node, f"layer_with_weights-{weighted}", node_id)
                weighted += 1
        for index, node_id in enumerate(added):
            self._builder.add_child(node, f"layer-{index}", node_id)

    def _add_layer(self, tree: StateNode | None, entry: Mapping[str, Any]) -> int:
        layer = tree.owner if tree is not None else None
        if layer is not None and id(layer) in self.node_ids:
            return self.node_ids[id(layer)]
        metadata = (
            model_metadata(layer, entry)
            if isinstance(layer, keras.Model)
            else layer_metadata(layer, entry)
        )
        node = self._builder.add_object(
            identifier(layer, entry["class_name"]), metadata=metadata
        )
        if layer is not None:
            self.node_ids[id(layer)] = node
        if tree is not None:
            self._add_children(node, tree, entry)
        return node

    def _add_below(self, tree: StateNode) -> int:
        """Adds what is inside a layer: a layer, a metric, or a list or dict of such."""
        if tree.owner is None:
            node = self._builder.add_object(f"trackable_{tree.kind}_wrapper")
            self._add_children(node, tree, None)
            return node
        metric = getattr(tree.owner, "saved_metric", None)
        if metric is not None:
            node = self._builder.add_object("_tf_keras_metric", metadata=metric)
            self._add_children(node, tree, None)
            return node
        dialect = KERAS_2_WITH_FUNCTIONS if self._traced else KERAS_2
        entry = describe_layer(tree.owner, dialect, self._parts.notes)
        return self._add_layer(tree, under_names_of_their_own(entry, self._traced))

    def _add_variable(self, variable: keras.Variable, dtype: str | None = None) -> int:
        return self._builder.add_variable(
            KerasVariableTensor(variable, dtype),
            name=variable.path,
            trainable=bool(variable.trainable),
            synchronization=_SYNCHRONIZATION.get(variable.synchronization, 0),
            aggregation=_AGGREGATION.get(variable.aggregation, 0),
            identity=variable,
        )

    # ----------------------------------------------------------- optimizer

    def _add_optimizer(self, root: int) -> None:
        optimizer = getattr(self._parts.model, "optimizer", None)
        if optimizer is None or self._parts.training_config is None:
            return
        variables = trainable_variables(self._parts.tree)
        tree, slots = describe_optimizer_state(
            state_from_keras(optimizer, variables),
            variables,
            self._parts.training_config.get("optimizer_config"),
        )
        node = self._builder.add_checkpoint_tree(root, "optimizer", tree)
        inner = next(
            (self._builder.child(node, key) for key in tree if key in INNER_CHILDREN),
            None,
        )
        for index, slot_name, value in slots:
            original = self._builder.variable_id(variables[index])
            if original is not None:
                within = inner if slot_name not in AROUND_SLOTS.values() else None
                holder = node if within is None else within
                self._builder.add_slot(holder, original, slot_name, value)
