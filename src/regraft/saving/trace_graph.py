"""Traced functions → the objects, functions and main graph of a SavedModel.

The functions hang below the layers in the object graph, as Keras 2 puts them there.
The main graph is for readers that know no objects (TensorFlow 1's loader, its C++
loader and Serving): variables, what restores them, and one call per signature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from regraft.graph import ir
from regraft.graph.meta_graph_serde import signature_to_proto
from regraft.graph.serde import graph_to_proto, op_def_to_proto
from regraft.graph.struct_serde import (
    concrete_function_to_proto,
    function_spec_to_proto,
    structure_to_proto,
)
from regraft.graph.tracing.builder import op_def
from regraft.graph.tracing.function_graph import SharedConstant
from regraft.saving.graph_builder import GraphBuilder
from regraft.saving.trace_tables import filling_nodes, table_node
from regraft.saving.traces import (
    LayerTraces,
    ModelTraces,
    SavedFunctionSpec,
    SignatureTrace,
    TableTrace,
    TracedFunction,
)

# The graph's version: any TensorFlow since 2.0 reads it.
_VERSIONS = ir.Versions(producer=1286, min_consumer=12)

_PREDICT = "tensorflow/serving/predict"
_INIT_OP = "__saved_model_init_op"

_GENERIC = "_generic_user_object"


def add_function_objects(
    builder: GraphBuilder, traces: ModelTraces, node_ids: Mapping[int, int], root: int
) -> None:
    """Adds functions as children of the layers that they belong to.

    Args:
        builder: Objects so far: all layers are there.
        traces: What the layers compute.
        node_ids: Node of each layer, by `id` of the layer.
        root: Node of the model.
    """
    for constant in shared_constants(traces):
        _add_constant(builder, constant)
    for key, layer_traces in traces.layers.items():
        node = node_ids.get(key)
        if node is not None:
            _add_layer(builder, layer_traces, node)
    for table in traces.tables:
        owner = builder.variable_id(table.table.variable)
        if owner is None:
            continue
        for name, spec in table.functions:
            builder.add_child(owner, name, _add_function(builder, spec))
    if traces.default_save_signature is not None:
        function = _add_function(builder, traces.default_save_signature)
        builder.add_child(root, "_default_save_signature", function)
    signatures = builder.child(root, "signatures")
    if signatures is None:
        signatures = builder.add_object("signature_map")
        builder.add_child(root, "signatures", signatures)
    for name, signature in traces.signatures.items():
        builder.add_child(signatures, name, _add_signature(builder, signature))


def _add_constant(builder: GraphBuilder, constant: SharedConstant) -> None:
    def fill(proto: Any) -> None:
        proto.constant.operation = _node_of(constant)

    builder.add_message(fill, constant)


def _node_of(constant: SharedConstant) -> str:
    """Returns the name of a constant's node in the main graph."""
    return f"captured_{constant.name.replace(' ', '_')}"


def _add_layer(builder: GraphBuilder, traces: LayerTraces, node: int) -> None:
    api = builder.child(node, "keras_api")
    if api is None:
        api = builder.add_object(_GENERIC)
        builder.add_child(node, "keras_api", api)
    call = _add_function(builder, traces.call)
    some = _add_function(builder, traces.conditional_losses)
    every = some
    if traces.all_conditional_losses is not traces.conditional_losses:
        every = _add_function(builder, traces.all_conditional_losses)
    for parent in (node, api):
        builder.add_child(parent, "__call__", call)
        builder.add_child(parent, "call_and_return_all_conditional_losses", every)
    builder.add_child(api, "call_and_return_conditional_losses", some)
    if traces.activity_regularizer is not None:
        function = _add_function(builder, traces.activity_regularizer)
        builder.add_child(api, "activity_regularizer_fn", function)
        builder.add_child(node, "activity_regularizer_fn", function)
    _add_losses(builder, node, "regularization_losses", traces.regularization_losses)
    own = traces.own_regularization_losses
    _add_losses(builder, api, "layer_regularization_losses", own)


def _add_losses(
    builder: GraphBuilder, parent: int, name: str, losses: Sequence[SavedFunctionSpec]
) -> None:
    """Adds a list of functions without arguments."""
    node = builder.add_object("trackable_list_wrapper")
    builder.add_child(parent, name, node)
    for index, loss in enumerate(losses):
        function = _add_function(builder, loss)
        builder.add_child(node, str(index), function)


def _add_function(builder: GraphBuilder, function: SavedFunctionSpec) -> int:
    # Not the builder, which would hold on to itself.
    shared = builder.shared

    def fill(proto: Any) -> None:
        names = (traced.name for traced in function.concrete_functions)
        proto.function.concrete_functions.extend(names)
        spec = shared.of(function.function_spec, function_spec_to_proto)
        proto.function.function_spec.CopyFrom(spec)

    return builder.add_message(fill, function)


def _add_signature(builder: GraphBuilder, signature: SignatureTrace) -> int:
    def fill(proto: Any) -> None:
        bare = proto.bare_concrete_function
        bare.concrete_function_name = signature.function.name
        bare.argument_keywords.extend(signature.inputs)
        bare.allowed_positional_arguments = signature.allowed_positional_arguments

    return builder.add_message(fill, signature)


def traced_functions(traces: ModelTraces) -> Iterator[TracedFunction]:
    """Yields every trace that the object graph names."""
    saved: list[SavedFunctionSpec | None] = [traces.default_save_signature]
    for layer in traces.layers.values():
        saved += [layer.call, layer.conditional_losses, layer.all_conditional_losses]
        saved += [layer.activity_regularizer, *layer.regularization_losses]
    saved += [spec for table in traces.tables for _, spec in table.functions]
    for function in saved:
        if function is not None:
            yield from function.concrete_functions
    for signature in traces.signatures.values():
        yield signature.function


def shared_constants(traces: ModelTraces) -> list[SharedConstant]:
    """Returns the constants that functions capture, each once."""
    found = {
        id(captured): captured
        for traced in traced_functions(traces)
        for captured in traced.captures
        if isinstance(captured, SharedConstant)
    }
    return list(found.values())


def write_functions(
    meta_graph: Any, traces: ModelTraces, builder: GraphBuilder, checkpoint: Any
) -> None:
    """Writes functions, main graph, saver and signatures into a `MetaGraphDef`.

    Args:
        meta_graph: Its object graph has been filled.
        traces: What the model computes.
        builder: The objects; variables are known by their `keras.Variable`.
        checkpoint: The `TrackableObjectGraph`, whose first nodes are those of the
            saved object graph.
    """
    objects = meta_graph.object_graph_def
    ids = _Variables(builder)
    for traced in traced_functions(traces):
        if traced.name in objects.concrete_functions:
            continue
        function = ir.ConcreteFunction(
            traced.name,
            tuple(map(ids.saved_id, traced.captures)),
            traced.input_signature,
            traced.output_signature,
        )
        given = builder.shared.of(traced.input_signature, structure_to_proto)
        proto = objects.concrete_functions[traced.name]
        concrete_function_to_proto(function, proto, given)
    main = _MainGraph()
    for constant in shared_constants(traces):
        main.add_constant(constant, ids.saved_id(constant))
    main.add_variables(objects, checkpoint)
    for table in traces.tables:
        main.add_table(ids.saved_id(table.table.variable), table)
    signatures = {
        name: main.add_signature(name, signature, ids)
        for name, signature in traces.signatures.items()
    }
    main.add_saver()
    signatures[_INIT_OP] = main.init_signature()
    graph = ir.Graph(tuple(main.nodes), _used_functions(traces), _VERSIONS)
    graph_to_proto(graph, meta_graph.graph_def)
    for name, signature in signatures.items():
        signature_to_proto(signature, meta_graph.signature_def[name])
    saver = meta_graph.saver_def
    saver.filename_tensor_name = "saver_filename:0"
    saver.save_tensor_name = "saver_save:0"
    saver.restore_op_name = "saver_restore"
    saver.version = saver.V2
    _add_op_list(meta_graph, graph)


def _used_functions(traces: ModelTraces) -> dict[str, ir.Function]:
    """Returns the bodies that a trace is, or calls at any depth."""
    pending = {traced.name for traced in traced_functions(traces)}
    used = set()
    while pending:
        used |= pending
        nodes = (node for name in pending for node in traces.functions[name].nodes)
        pending = set(ir.functions_of(nodes)) - used
    return {name: body for name, body in traces.functions.items() if name in used}


def _add_op_list(meta_graph: Any, graph: ir.Graph) -> None:
    """Writes the signatures of all ops that are used."""
    used = {node.op for node in graph.nodes}
    used |= {n.op for f in graph.functions.values() for n in f.nodes}
    listed = meta_graph.meta_info_def.stripped_op_list
    for name in sorted(used):
        op_def_to_proto(op_def(name), listed.op.add())


class _Variables:
    """Ids of variables in the saved object graph."""

    def __init__(self, builder: GraphBuilder) -> None:
        self._builder = builder
        self._known: dict[int, int] = {}

    def saved_id(self, variable: Any) -> int:
        known = self._known.get(id(variable))
        if known is None:
            node = self._builder.variable_id(variable)
            if node is None:
                raise ValueError(
                    f"Variable '{variable.path}' is used by the model's functions, "
                    "but no layer of the model owns it."
                )
            known = self._known[id(variable)] = self._builder.saved_id(node)
        return known


class _MainGraph:
    """The main graph under construction.

    Attributes:
        nodes: So far.
    """

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []
        self._handles: dict[int, str] = {}
        self._names: set[str] = set()
        # What was last appended to a name: thousands of nodes have the same.
        self._counts: dict[str, int] = {}
        self._filled: list[str] = []
        self._restored: list[tuple[str, str, ir.DataType]] = []

    def _add(
        self,
        name: str,
        op: str,
        inputs: Sequence[str] = (),
        attrs: Mapping[str, ir.AttrValue] | None = None,
    ) -> str:
        candidate, count = name, self._counts.get(name, 0)
        while candidate in self._names:
            count += 1
            candidate = f"{name}_{count}"
        self._counts[name] = count
        self._names.add(candidate)
        self.nodes.append(ir.Node(candidate, op, tuple(inputs), attrs or {}))
        return candidate

    def add_constant(self, constant: SharedConstant, saved_id: int) -> None:
        """Adds a constant that functions capture."""
        attrs: dict[str, ir.AttrValue] = {
            "dtype": ir.DataType.of(constant.dtype),
            "value": ir.TensorValue.from_numpy(constant.value),
        }
        self._handles[saved_id] = self._add(_node_of(constant), "Const", (), attrs)

    def add_variables(self, objects: Any, checkpoint: Any) -> None:
        """Adds a handle per variable of the object graph."""
        for saved_id, node in enumerate(objects.nodes):
            if node.WhichOneof("kind") != "variable":
                continue
            dtype = ir.DataType(node.variable.dtype)
            shape = ir.TensorShape(tuple(d.size for d in node.variable.shape.dim))
            label = node.variable.name or f"variable_{saved_id}"
            attrs: dict[str, ir.AttrValue] = {"dtype": dtype, "shape": shape}
            name = self._add(label, "VarHandleOp", (), attrs)
            # Variables with one shared name would be one variable in a session.
            attrs["shared_name"] = name.encode()
            self._handles[saved_id] = name
            for attribute in checkpoint.nodes[saved_id].attributes:
                self._restored.append((attribute.checkpoint_key, name, dtype))

    def add_table(self, saved_id: int, traced: TableTrace) -> None:
        """Adds a table, and what fills it before anything is served."""
        table = traced.table
        node = table_node(traced.name, table, traced.name)
        handle = self._add(node.name, node.op, node.inputs, node.attrs)
        self._handles[saved_id] = handle
        if table.entries:
            nodes, ready = filling_nodes(handle, table, f"{handle}_fill", "")
            self.nodes += nodes
            self._names.update(node.name for node in nodes)
            self._filled.append(f"^{ready}")

    def add_signature(
        self, name: str, signature: SignatureTrace, ids: _Variables
    ) -> ir.Signature:
        """Adds placeholders and a call; returns how they are named."""
        inputs, specs = [], {}
        for key, spec in signature.inputs.items():
            attrs: dict[str, ir.AttrValue] = {"dtype": spec.dtype, "shape": spec.shape}
            node = self._add(f"{name}_{key}", "Placeholder", (), attrs)
            inputs.append(node)
            specs[key] = ir.TensorInfo(f"{node}:0", spec.dtype, spec.shape)
        types = [spec.dtype for spec in signature.inputs.values()]
        for captured in signature.function.captures:
            inputs.append(self._handles[ids.saved_id(captured)])
            is_constant = isinstance(captured, SharedConstant)
            types.append(ir.DataType.of(captured.dtype if is_constant else "resource"))
        call = self._add(
            "StatefulPartitionedCall",
            "StatefulPartitionedCall",
            inputs,
            {
                "Tin": tuple(types),
                "Tout": tuple(spec.dtype for spec in signature.outputs.values()),
                "f": ir.FunctionRef(signature.function.name),
            },
        )
        outputs = {
            key: ir.TensorInfo(f"{call}:{index}", spec.dtype, spec.shape)
            for index, (key, spec) in enumerate(signature.outputs.items())
        }
        return ir.Signature(specs, outputs, _PREDICT)

    def add_saver(self) -> None:
        """Adds what restores the variables, and what stands for saving them."""
        self._add("NoOp", "NoOp", self._filled)
        string = ir.DataType.of("string")
        scalar = ir.TensorShape(())
        self._add(
            "saver_filename", "Placeholder", (), {"dtype": string, "shape": scalar}
        )
        controls = []
        if self._restored:
            keys, names, dtypes = zip(*self._restored, strict=True)
            tensors = self._string_const("saver_tensor_names", keys)
            slices = self._string_const("saver_slices", [""] * len(keys))
            inputs = ("saver_filename", tensors, slices)
            restored = self._add(
                "saver_RestoreV2", "RestoreV2", inputs, {"dtypes": tuple(dtypes)}
            )
            for index, (name, dtype) in enumerate(zip(names, dtypes, strict=True)):
                tensor = f"{restored}:{index}" if index else restored
                assign = self._add(
                    "saver_Assign", "AssignVariableOp", (name, tensor), {"dtype": dtype}
                )
                controls.append(f"^{assign}")
        self._add("saver_restore", "NoOp", controls)
        self._add("saver_save", "Identity", ("saver_filename",), {"T": string})

    def _string_const(self, name: str, values: Sequence[str]) -> str:
        array = np.array([value.encode() for value in values], object)
        attrs: dict[str, ir.AttrValue] = {
            "dtype": ir.DataType.of("string"),
            "value": ir.TensorValue.from_numpy(array),
        }
        return self._add(name, "Const", (), attrs)

    def init_signature(self) -> ir.Signature:
        """Returns the signature of what has to run first: what fills tables."""
        info = ir.TensorInfo("NoOp", ir.DataType(0), ir.TensorShape(None))
        return ir.Signature({}, {_INIT_OP: info})
