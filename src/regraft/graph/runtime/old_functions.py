"""Functions with the control flow of TensorFlow 1.

TensorFlow 2 makes such functions of a SavedModel of TensorFlow 1 that it opens and
saves again. Their loops and conditionals become nodes as those of a main graph do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from regraft.graph import ir
from regraft.graph.op_defs import OpDefs
from regraft.graph.runtime.lift_conditionals import lifted_conditionals
from regraft.graph.runtime.lift_loops import lifted
from regraft.graph.runtime.plan import (
    Plan,
    PlanBuilder,
    effects_of,
    output_sizes,
    raise_missing,
    reachable,
    source_of,
    with_defaults,
)
from regraft.graph.runtime.registry import KERNELS

if TYPE_CHECKING:
    from regraft.graph.runtime.library import FunctionLibrary


def plan_old_function(function: ir.Function, library: FunctionLibrary) -> Plan:
    """Returns the plan of a function with the control flow of TensorFlow 1.

    Raises:
        FormatError: Its body doesn't hang together.
        UnsupportedError: A loop is not as TensorFlow makes it.
    """
    function = _by_position(function, library.op_defs)
    nodes = {node.name: node for node in function.nodes}
    stop = frozenset(arg.name for arg in function.signature.inputs) - nodes.keys()
    wanted = [function.ret.get(out.name, "") for out in function.signature.outputs]
    roots = [*map(source_of, wanted), *function.control_ret.values()]
    needed = _needed(nodes, roots)
    # What is in a loop or branch runs there, if anything needs it.
    effects = [node.name for node in effects_of(function, library.op_defs)]
    roots += [n for n in effects if n not in needed and not _is_in_loop(n, nodes)]
    needed = _needed(nodes, roots)
    prefix = f"{function.name}/"
    made = lifted({name: nodes[name] for name in needed}, library, prefix)
    made = lifted_conditionals(made, roots, stop, library, prefix)
    order = reachable(made, dict.fromkeys(roots), stop)
    raise_missing(
        {n.op: [f"function '{function.name}'"] for n in order if n.op not in KERNELS}
    )
    builder = PlanBuilder(function.name, library.op_defs, positional=True)
    arguments = [builder.argument(f"{a.name}:0") for a in function.signature.inputs]
    return builder.build(order, arguments, lambda: [builder.slot_of(t) for t in wanted])


def _needed(nodes: Mapping[str, ir.Node], roots: Sequence[str]) -> dict[str, None]:
    found: dict[str, None] = {}
    pending = list(roots)
    while pending:
        name = pending.pop()
        if name not in found and name in nodes:
            found[name] = None
            pending += map(source_of, nodes[name].inputs)
    return found


def _is_in_loop(name: str, nodes: Mapping[str, ir.Node]) -> bool:
    """Whether a node needs what a loop hands from round to round."""
    seen: set[str] = set()
    pending = [name]
    while pending:
        current = pending.pop()
        if current in seen or current not in nodes:
            continue
        seen.add(current)
        node = nodes[current]
        if node.op in ("NextIteration", "RefNextIteration"):
            return True
        if node.op not in ("Exit", "RefExit"):
            pending += map(source_of, node.inputs)
    return False


def _by_position(function: ir.Function, op_defs: OpDefs) -> ir.Function:
    """Returns a function whose tensors are named as those of a main graph are."""
    names: dict[str, str] = {}
    for node in function.nodes:
        op_def = op_defs.get(node.op)
        if op_def is None:
            continue
        position = 0
        for arg, count in output_sizes(op_def, with_defaults(node, op_def)):
            for index in range(count):
                names[f"{node.name}:{arg.name}:{index}"] = f"{node.name}:{position}"
                position += 1
    nodes = tuple(
        replace(node, inputs=tuple(names.get(text, text) for text in node.inputs))
        for node in function.nodes
    )
    ret = {key: names.get(text, text) for key, text in function.ret.items()}
    return replace(function, nodes=nodes, ret=ret)
