"""Small graphs, made by hand, for tests of the runtime."""

from __future__ import annotations

from typing import Any

from regraft.graph import ir

FLOAT = ir.DataType.of("float32")


def function(
    name: str,
    inputs: dict[str, str],
    nodes: list[ir.Node],
    outputs: dict[str, str],
    control_ret: dict[str, str] | None = None,
) -> ir.Function:
    """A function; `inputs` by dtype, `outputs` by the tensor they return."""
    signature = ir.OpDef(
        name,
        inputs=tuple(ir.ArgDef(n, ir.DataType.of(t)) for n, t in inputs.items()),
        outputs=tuple(ir.ArgDef(n, FLOAT) for n in outputs),
    )
    return ir.Function(signature, tuple(nodes), outputs, control_ret or {})


def node(name: str, op: str, *inputs: str, **attrs: Any) -> ir.Node:
    """A node of a function."""
    return ir.Node(name, op, inputs, attrs)


def call(name: str, target: str, *inputs: str) -> ir.Node:
    """A node that calls a function of one float32 each."""
    return node(
        name,
        "PartitionedCall",
        *inputs,
        f=ir.FunctionRef(target),
        Tin=(FLOAT,) * len(inputs),
        Tout=(FLOAT,),
    )
