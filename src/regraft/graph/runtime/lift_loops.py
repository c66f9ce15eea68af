"""Loops of TensorFlow 1's main graphs as `While`.

A loop there is a ring of nodes. Each loop variable enters by `Enter`, meets the last
round's value in `Merge`, leaves by `Switch` and `Exit` when `LoopCond` is false, and
goes round through the body to `NextIteration`. Here each ring becomes one `While`
node, whose condition and body are plans of their own; inner loops come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from regraft.errors import UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.lift_conditionals import lifted_conditionals
from regraft.graph.runtime.plan import (
    Plan,
    PlanBuilder,
    check_inputs,
    raise_missing,
    reachable,
    source_of,
)
from regraft.graph.runtime.registry import KERNELS

if TYPE_CHECKING:
    from regraft.graph.runtime.library import FunctionLibrary

Nodes = dict[str, ir.Node]

_ENTER = ("Enter", "RefEnter")
_NEXT = ("NextIteration", "RefNextIteration")
_EXIT = ("Exit", "RefExit")


@dataclass
class _Variable:
    """One loop variable: the nodes of its ring."""

    enter: ir.Node
    merge: ir.Node
    following: ir.Node
    switch: ir.Node | None = None
    exits: list[ir.Node] = field(default_factory=list)


@dataclass
class _Frame:
    """One loop."""

    name: str
    variables: list[_Variable] = field(default_factory=list)
    constants: list[ir.Node] = field(default_factory=list)
    condition: ir.Node | None = None


def lifted(nodes: Nodes, library: FunctionLibrary, prefix: str = "") -> Nodes:
    """Returns the nodes with every loop as one node.

    Args:
        nodes: With all that they need.
        library: Gets conditions and bodies.
        prefix: Of their names there.

    Raises:
        UnsupportedError: A ring is not as TensorFlow makes it.
    """
    check_inputs(nodes)
    nodes = dict(nodes)
    frames = _frames(nodes)
    while frames:
        inner = [f for f in frames.values() if not _holds_other(f, nodes)]
        if not inner:
            raise UnsupportedError("Loops of a TensorFlow 1 graph that are entwined.")
        for frame in inner:
            _lift(frame, nodes, library, prefix)
            del frames[frame.name]
    return nodes


def _frames(nodes: Mapping[str, ir.Node]) -> dict[str, _Frame]:
    enters = {n.name: n for n in nodes.values() if n.op in _ENTER}
    if not enters:
        return {}
    frames: dict[str, _Frame] = {}
    of_merge: dict[str, _Variable] = {}
    entered: set[str] = set()
    for node in nodes.values():
        if node.op not in ("Merge", "RefMerge") or len(node.inputs) < 2:
            continue
        first, second = (nodes.get(source_of(t)) for t in node.inputs[:2])
        if first is None or second is None or second.op not in _NEXT:
            continue
        variable = _Variable(first, node, second)
        of_merge[node.name] = variable
        entered.add(first.name)
        _frame(frames, first).variables.append(variable)
    for enter in enters.values():
        if enter.name not in entered:
            _frame(frames, enter).constants.append(enter)
    of_switch = _add_switches(nodes, of_merge, frames)
    for node in nodes.values():
        if node.op in _EXIT and source_of(node.inputs[0]) in of_switch:
            of_switch[source_of(node.inputs[0])].exits.append(node)
    return frames


def _frame(frames: dict[str, _Frame], enter: ir.Node) -> _Frame:
    name = enter.attrs.get("frame_name", b"")
    text = name.decode() if isinstance(name, bytes) else str(name)
    return frames.setdefault(text, _Frame(text))


def _add_switches(
    nodes: Mapping[str, ir.Node],
    of_merge: Mapping[str, _Variable],
    frames: Mapping[str, _Frame],
) -> dict[str, _Variable]:
    of_switch = {}
    frame_of = {id(v): f for f in frames.values() for v in f.variables}
    for node in nodes.values():
        if node.op not in ("Switch", "RefSwitch"):
            continue
        variable = of_merge.get(source_of(node.inputs[0]))
        condition = nodes.get(source_of(node.inputs[1]))
        if variable is None or condition is None or condition.op != "LoopCond":
            continue
        variable.switch = node
        frame_of[id(variable)].condition = condition
        of_switch[node.name] = variable
    return of_switch


def _stops(frame: _Frame) -> frozenset[str]:
    found = {v.merge.name for v in frame.variables}
    found |= {v.switch.name for v in frame.variables if v.switch is not None}
    return frozenset(found | {n.name for n in frame.constants})


def _inside(frame: _Frame, nodes: Mapping[str, ir.Node]) -> Iterable[str]:
    """Yields the names of the nodes of a loop's body, rings of inner loops too."""
    stop = _stops(frame)
    stack = [source_of(t) for v in frame.variables for t in v.following.inputs]
    seen = set(stop)
    while stack:
        name = stack.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        yield name
        stack.extend(source_of(t) for t in nodes[name].inputs)


def _holds_other(frame: _Frame, nodes: Mapping[str, ir.Node]) -> bool:
    return any(nodes[name].op in _ENTER for name in _inside(frame, nodes))


def _lift(frame: _Frame, nodes: Nodes, library: FunctionLibrary, prefix: str) -> None:
    name = f"{prefix}{frame.name}"
    condition = frame.condition
    if condition is None:
        raise UnsupportedError(f"Loop '{frame.name}' has no condition.")
    wanted = [condition.inputs[0]]
    test = _part(frame, nodes, library, wanted, prefix, is_body=False)
    library.add_plan(f"{name}/condition", test)
    following = [v.following.inputs[0] for v in frame.variables]
    body = _part(frame, nodes, library, following, prefix, is_body=True)
    library.add_plan(f"{name}/body", body)
    enters = [v.enter for v in frame.variables] + frame.constants
    loop = f"{frame.name}/while"
    nodes[loop] = ir.Node(
        loop,
        "While",
        tuple(enter.inputs[0] for enter in enters),
        {
            "T": tuple(enter.attrs.get("T", ir.NO_TYPE) for enter in enters),
            "cond": ir.FunctionRef(f"{name}/condition"),
            "body": ir.FunctionRef(f"{name}/body"),
        },
    )
    for index, variable in enumerate(frame.variables):
        for exit_node in variable.exits:
            nodes[exit_node.name] = ir.Node(
                exit_node.name, "Identity", (f"{loop}:{index}",), variable.enter.attrs
            )


def _part(
    frame: _Frame,
    nodes: Nodes,
    library: FunctionLibrary,
    wanted: list[str],
    prefix: str,
    *,
    is_body: bool,
) -> Plan:
    """Returns the plan of a condition or body: of all loop variables."""
    roots = dict.fromkeys(source_of(text) for text in wanted)
    place = f"{prefix}{frame.name}/{'body' if is_body else 'condition'}/"
    nodes = lifted_conditionals(nodes, roots, _stops(frame), library, place)
    order = reachable(nodes, roots, _stops(frame))
    missing = {n.op: [f"loop '{frame.name}'"] for n in order if n.op not in KERNELS}
    raise_missing(missing)
    builder = PlanBuilder(frame.name, library.op_defs, positional=True)
    arguments = []
    for variable in frame.variables:
        slot = builder.argument(f"{variable.merge.name}:0")
        if variable.switch is not None:
            builder.alias(f"{variable.switch.name}:1", slot)
        arguments.append(slot)
    constants = [builder.argument(f"{enter.name}:0") for enter in frame.constants]
    arguments += constants
    passed = constants if is_body else []
    return builder.build(
        order, arguments, lambda: [*(builder.slot_of(t) for t in wanted), *passed]
    )
