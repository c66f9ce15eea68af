"""The traced functions of a SavedModel, bound to the live variables of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import keras

from regraft.errors import FormatError
from regraft.graph import ir
from regraft.graph.meta_graph_serde import meta_graph_from_proto
from regraft.graph.runtime.context import HostVariable, KerasVariable, ResourceScope
from regraft.graph.runtime.library import FunctionLibrary
from regraft.graph.runtime.own_gradients import OwnGradient
from regraft.graph.runtime.saved_functions import Captures, SavedFunction
from regraft.graph.struct_serde import (
    concrete_function_from_proto,
    function_spec_from_proto,
)
from regraft.model.description import ObjectGraph, ObjectNode, Variable
from regraft.options import LoadOptions
from regraft.storage.saved_model_directory import SavedModelDirectory


class FunctionStore:
    """Functions of a SavedModel by their node; nothing is parsed before it is asked.

    Args:
        directory: For assets.
        meta_graph: `MetaGraphDef` message.
        objects: Its object graph, with the variables' values.
        options: How much a run may call.
    """

    def __init__(
        self,
        directory: SavedModelDirectory,
        meta_graph: Any,
        objects: ObjectGraph,
        options: LoadOptions,
    ) -> None:
        self._options = options
        self._directory = directory
        self._proto = meta_graph
        self.objects = objects
        self._live: dict[int, KerasVariable] = {}
        self._host: dict[int, HostVariable] = {}
        self._functions: dict[int, SavedFunction] = {}

    def bind(self, variables: Mapping[int, keras.Variable]) -> None:
        """Makes functions read and write live variables, by node id."""
        for node_id, variable in variables.items():
            self._live[node_id] = KerasVariable(variable)

    def live_variable(self, node_id: int) -> keras.Variable | None:
        """Returns the live variable that stands for a node."""
        found = self._live.get(node_id)
        return None if found is None else found.variable

    @cached_property
    def meta_graph(self) -> ir.MetaGraph:
        """The meta graph without its objects."""
        return meta_graph_from_proto(self._proto)

    @cached_property
    def library(self) -> FunctionLibrary:
        """All functions of the file."""
        return FunctionLibrary(
            self.meta_graph.graph.functions,
            self.meta_graph.op_defs,
            ResourceScope(
                _Assets(self._directory, [name for _, name in self.meta_graph.assets])
            ),
            self._options.max_function_calls,
            dict(self._own_gradients()),
        )

    def _own_gradients(self) -> Iterator[tuple[str, OwnGradient]]:
        """Yields what `tf.custom_gradient` named, as far as it is tensors alone."""
        nodes = self._proto.object_graph_def.nodes
        for function, name in self.meta_graph.graph.registered_gradients:
            concrete = self.concrete_functions.get(function)
            given = () if concrete is None else concrete.output_signature
            if concrete is None or not isinstance(given, list | tuple):
                continue
            captured = [
                nodes[i].captured_tensor
                for i in concrete.bound_inputs
                if 0 <= i < len(nodes)
                and nodes[i].WhichOneof("kind") == "captured_tensor"
            ]
            places = {one.concrete_function for one in captured}
            if len(captured) < len(concrete.bound_inputs) or len(places) > 1:
                continue
            yield (
                name,
                OwnGradient(
                    function,
                    next(iter(places), ""),
                    tuple(one.name for one in captured),
                    tuple(one is not None for one in given),
                ),
            )

    @cached_property
    def concrete_functions(self) -> Mapping[str, ir.ConcreteFunction]:
        """Concrete functions of the object graph by name."""
        found = self._proto.object_graph_def.concrete_functions
        return {
            name: concrete_function_from_proto(name, proto)
            for name, proto in found.items()
        }

    @cached_property
    def _captures(self) -> Captures:
        return Captures(
            self.library,
            self.meta_graph,
            self._proto.object_graph_def.nodes,
            self.concrete_functions,
            self._variable,
            self._tables(),
        )

    def capture(self, node_id: int) -> Any:
        """Returns what a function gets for an object that it captures."""
        return self._captures(node_id)

    def _variable(self, node_id: int) -> KerasVariable | HostVariable:
        found = self._live.get(node_id)
        return found if found is not None else self._host_variable(node_id)

    def _host_variable(self, node_id: int) -> HostVariable:
        """A variable that no live object has, with the value of the file."""
        if node_id not in self._host:
            node = self.objects.nodes[node_id]
            if not isinstance(node, Variable):
                raise FormatError("A function captures a variable that is none")
            value = None if node.value is None else node.value.read()
            self._host[node_id] = HostVariable(
                value, dtype=node.dtype, shape=node.shape
            )
        return self._host[node_id]

    def _tables(self) -> dict[int, tuple[Any, Any]]:
        found = {}
        for node in self.objects.nodes:
            if isinstance(node, ObjectNode) and "table-keys" in node.attributes:
                keys, values = (
                    node.attributes[f"table-{part}"].read()
                    for part in ("keys", "values")
                )
                found[node.node_id] = (keys, values)
        return found

    def function(self, node: ObjectNode | None) -> SavedFunction | None:
        """Returns the function of a node, `None` where the file holds no trace."""
        if node is None or node.message is None or node.kind != "function":
            return None
        names = list(node.message.function.concrete_functions)
        if not names:
            return None
        if node.node_id not in self._functions:
            self._functions[node.node_id] = SavedFunction(
                self.library,
                [self._concrete(name) for name in names],
                function_spec_from_proto(node.message.function.function_spec),
                self.capture,
                names[0],
            )
        return self._functions[node.node_id]

    def _concrete(self, name: str) -> ir.ConcreteFunction:
        try:
            return self.concrete_functions[name]
        except KeyError:
            raise FormatError(
                "A function names a trace that the file doesn't have", received=name
            ) from None


class _Assets(Mapping[str, bytes]):
    """Contents of asset files, read when they are asked for."""

    def __init__(self, directory: SavedModelDirectory, names: Sequence[str]) -> None:
        self._directory = directory
        self._names = names

    def __getitem__(self, name: str) -> bytes:
        if name not in self._names:
            raise KeyError(name)
        return self._directory.read_asset(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def takes_mask(function: SavedFunction | None) -> bool:
    """Whether a function was traced with a mask."""
    return function is not None and any(
        isinstance(item, ir.TensorSpec)
        for trace in function.traces
        for item in keras.tree.flatten(trace.arguments(function.spec.args).get("mask"))
    )
