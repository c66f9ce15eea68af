"""A SavedModel with its functions, constants, tables and variables, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from regraft.graph.meta_graph_serde import meta_graph_from_proto
from regraft.graph.runtime.context import HostVariable, KerasVariable, ResourceScope
from regraft.graph.runtime.library import FunctionLibrary
from regraft.graph.runtime.main_graph import GraphSignature, MainGraph
from regraft.graph.runtime.saved_functions import (
    Captures,
    SavedFunction,
    SignatureFunction,
)
from regraft.graph.struct_serde import (
    concrete_function_from_proto,
    function_spec_from_proto,
)
from regraft.storage import proto
from regraft.storage.proto import messages
from regraft.storage.saved_model_directory import read_saved_model_directory

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


class OpenModel:
    """What a loader makes of a directory, as little as tests need."""

    def __init__(self, path: Path) -> None:
        directory = read_saved_model_directory(path)
        message = directory.saved_model.meta_graphs[0]
        self.meta_graph = meta_graph_from_proto(message)
        self.nodes = message.object_graph_def.nodes
        self.tensors: Any = directory.variables or {}
        self.library = FunctionLibrary(
            self.meta_graph.graph.functions,
            self.meta_graph.op_defs,
            ResourceScope(tensors=self.tensors),
        )
        self.concrete = {
            name: concrete_function_from_proto(name, function)
            for name, function in message.object_graph_def.concrete_functions.items()
        }
        self.variables: dict[int, Any] = {}
        self._keys = (
            dict(self._checkpoint_keys()) if OBJECT_GRAPH in self.tensors else {}
        )
        self.captures = Captures(
            self.library,
            self.meta_graph,
            self.nodes,
            self.concrete,
            self.variable,
            self._tables(),
        )

    def _checkpoint_keys(self) -> Iterator[tuple[tuple[int, str], str]]:
        data = self.tensors[OBJECT_GRAPH].read().item()
        saved = proto.parse(messages.TrackableObjectGraph, data)
        stack, seen = [(0, 0)], set()
        while stack:
            here, there = stack.pop()
            if here in seen:
                continue
            seen.add(here)
            for attribute in saved.nodes[there].attributes:
                yield (here, attribute.name), attribute.checkpoint_key
            known = {c.local_name: c.node_id for c in saved.nodes[there].children}
            for child in self.nodes[here].children:
                if child.local_name in known:
                    stack.append((child.node_id, known[child.local_name]))

    def _tables(self) -> dict[int, tuple[Any, Any]]:
        return {
            node: (
                self.tensors[f"{key}-keys"].read(),
                self.tensors[f"{key}-values"].read(),
            )
            for (node, name), key in self._keys.items()
            if name != "VARIABLE_VALUE" and f"{key}-keys" in self.tensors
        }

    def variable(self, node_id: int) -> Any:
        if node_id not in self.variables:
            value = self.tensors[self._keys[node_id, "VARIABLE_VALUE"]].read()
            if value.dtype in (np.int64, np.float64, object):
                made: Any = HostVariable(value, dtype=str(value.dtype))
            else:
                made = KerasVariable(keras.Variable(np.array(value), autocast=False))
            self.variables[node_id] = made
        return self.variables[node_id]

    def child(self, node_id: int, name: str) -> int:
        children = {c.local_name: c.node_id for c in self.nodes[node_id].children}
        return children[name]

    def signature(self, name: str = "serving_default") -> SignatureFunction:
        node = self.nodes[self.child(self.child(0, "signatures"), name)]
        found = node.bare_concrete_function.concrete_function_name
        return SignatureFunction(
            self.library, name, self.concrete[found], self.captures
        )

    def function(self, *path: str) -> SavedFunction:
        node_id = 0
        for name in path:
            node_id = self.child(node_id, name)
        saved = self.nodes[node_id].function
        return SavedFunction(
            self.library,
            [self.concrete[name] for name in saved.concrete_functions],
            function_spec_from_proto(saved.function_spec),
            self.captures,
            ".".join(path),
        )

    def main_graph(self) -> MainGraph:
        """The main graph, its variables restored and its tables filled."""
        graph = MainGraph(self.meta_graph.graph.nodes, self.library)
        if self.meta_graph.saver is not None:
            filename, _, restore = self.meta_graph.saver
            graph.run([], {filename: b""}, targets=[restore])
        return graph

    def graph_signature(self, name: str = "serving_default") -> GraphSignature:
        return GraphSignature(self.main_graph(), name, self.meta_graph.signatures[name])
