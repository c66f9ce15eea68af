"""Tables that functions write, as objects of a SavedModel.

A table is an object that functions capture. Two functions of its own make it and fill
it with what it holds when it is saved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.graph import ir
from regraft.graph.runtime.context import Table
from regraft.graph.runtime.kept_tables import tables_of
from regraft.saving.graph_builder import GraphBuilder
from regraft.saving.trace_specs import full_arg_spec
from regraft.saving.traces import (
    ModelTraces,
    SavedFunctionSpec,
    TableTrace,
    TracedFunction,
)

_RESOURCE = ir.DataType.of("resource")


def add_table(builder: GraphBuilder, table: Table) -> int:
    """Adds a table's object; its functions come with those of the layers."""

    def fill(proto: Any) -> None:
        proto.resource.SetInParent()

    return builder.add_message(fill, table.variable)


def with_tables(traces: ModelTraces, model: keras.Model) -> ModelTraces:
    """Adds the tables that functions write, and the functions of these."""
    layers = _compat.all_layers(model)
    tables = {id(table): table for layer in layers for _, table in tables_of(layer)}
    functions = dict(traces.functions)
    made = tuple(_traced(functions, table) for table in tables.values())
    return replace(traces, functions=functions, tables=made) if made else traces


def _traced(functions: dict[str, ir.Function], table: Table) -> TableTrace:
    name = f"regraft_table_{len(functions)}"
    output = ir.OpDef(
        "create_resource", outputs=(ir.ArgDef("table", _RESOURCE),), is_stateful=True
    )
    made = ir.Function(
        output, (table_node("handle", table, name),), {"table": "handle:table_handle:0"}
    )
    create = _saved(_add(functions, made), (), _RESOURCE)
    if not table.entries:
        return TableTrace(table, name, create, None)
    signature = ir.OpDef(
        "initialize",
        (ir.ArgDef("table", _RESOURCE),),
        (ir.ArgDef("done", ir.DataType.of("int32")),),
        control_outputs=("fill",),
        is_stateful=True,
    )
    nodes, ready = filling_nodes("table", table, "fill")
    zero = _constant("done", np.zeros((), np.int32), "int32")
    filled = ir.Function(
        signature, (*nodes, zero), {"done": "done:output:0"}, {ready: ready}
    )
    initialize = _saved(
        _add(functions, filled), (table.variable,), ir.DataType.of("int32")
    )
    return TableTrace(table, name, create, initialize)


def _add(functions: dict[str, ir.Function], function: ir.Function) -> str:
    name = f"__inference_{function.name}_{len(functions)}"
    signature = replace(function.signature, name=name)
    functions[name] = replace(function, signature=signature)
    return name


def table_node(node: str, table: Table, name: str) -> ir.Node:
    """Returns the node that makes a table of this name."""
    attrs: dict[str, ir.AttrValue] = {
        "key_dtype": ir.DataType.of(table.key_dtype),
        "value_dtype": ir.DataType.of(table.value_dtype),
        "shared_name": name.encode(),
    }
    shape = table.columns()[1].shape[1:]
    if not shape:
        return ir.Node(node, "MutableHashTableV2", (), attrs)
    attrs["value_shape"] = ir.TensorShape(shape)
    return ir.Node(node, "MutableHashTableOfTensorsV2", (), attrs)


def filling_nodes(
    handle: str, table: Table, label: str, suffix: str = ":output:0"
) -> tuple[tuple[ir.Node, ...], str]:
    """Returns what fills a table, and the node that must have run.

    Args:
        handle: The table's tensor.
        table: What it holds.
        label: The names of the nodes begin so.
        suffix: What the first output of a node is called by, after its name.
    """
    keys, values = table.columns()
    attrs: dict[str, ir.AttrValue] = {
        "Tin": ir.DataType.of(table.key_dtype),
        "Tout": ir.DataType.of(table.value_dtype),
    }
    names = [f"{label}_keys", f"{label}_values"]
    nodes = (
        _constant(names[0], keys, table.key_dtype),
        _constant(names[1], values, table.value_dtype),
        ir.Node(
            label,
            "LookupTableImportV2",
            (handle, *(name + suffix for name in names)),
            attrs,
        ),
    )
    return nodes, label


def _constant(name: str, value: np.ndarray[Any, Any], dtype: str) -> ir.Node:
    attrs: dict[str, ir.AttrValue] = {
        "dtype": ir.DataType.of(dtype),
        "value": ir.TensorValue.from_numpy(value),
    }
    return ir.Node(name, "Const", (), attrs)


def _saved(
    name: str, captures: tuple[Any, ...], result: ir.DataType
) -> SavedFunctionSpec:
    spec = ir.TensorSpec(ir.TensorShape(()), result)
    traced = TracedFunction(name, captures, ((), {}), spec)
    return SavedFunctionSpec((traced,), full_arg_spec([]))
