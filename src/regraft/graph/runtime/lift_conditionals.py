"""Conditionals of TensorFlow 1's graphs as `If`.

A conditional there is no node: what a branch takes comes through a `Switch`, which
hands a value on to one side only, and `Merge` gives what arrived. All nodes between
the two belong to a branch. Here each group of `Merge`s becomes one `If` node, whose
branches are plans of their own; what is inside of a branch is taken apart likewise.

Where nodes don't hang together so, or a branch changes a reference variable, `Switch`
and `Merge` stay: they work on values that are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from regraft.graph import ir
from regraft.graph.runtime.plan import (
    Plan,
    PlanBuilder,
    raise_missing,
    reachable,
    source_of,
)
from regraft.graph.runtime.registry import KERNELS

if TYPE_CHECKING:
    from regraft.graph.runtime.library import FunctionLibrary

Nodes = dict[str, ir.Node]
# Which predicates hold, or don't, where a node runs.
Guards = frozenset[tuple[str, int]]

_SWITCH = ("Switch", "RefSwitch")
_VARIABLES = ("VariableV2", "Variable")
# Branches within branches, and predicates above a node, in one graph in all.
_MOST_NESTED = 50
_MOST_ENTRIES = 10_000_000


@dataclass
class _Group:
    """`Merge`s of one predicate, none of which needs another.

    Attributes:
        predicate: A tensor.
        merges: Each with the input that comes from the side where it holds.
    """

    predicate: str
    merges: list[tuple[ir.Node, int]] = field(default_factory=list)


@dataclass
class _Branch:
    """One side of a conditional.

    Attributes:
        nodes: In running order, with inputs under their names outside.
        wanted: The tensors that it gives.
        taken: The tensors that it takes.
        after: What must have run before it, each with `^`.
    """

    nodes: list[ir.Node]
    wanted: list[str]
    taken: dict[str, None]
    after: dict[str, None]


def lifted_conditionals(
    nodes: Nodes,
    roots: Iterable[str],
    stop: frozenset[str],
    library: FunctionLibrary,
    prefix: str = "",
) -> Nodes:
    """Returns the nodes with every conditional as one node, where that can be.

    Args:
        nodes: With all that `roots` need, without loops.
        roots: Names of nodes that are wanted.
        stop: Names of nodes whose values are given.
        library: Gets the branches.
        prefix: Of their names there.
    """
    order = reachable(nodes, dict.fromkeys(roots), stop)
    if not any(node.op in _SWITCH for node in order):
        return nodes
    analysis = _Analysis(nodes, order, stop)
    if not analysis.is_sound:
        return nodes
    nodes = dict(nodes)
    for number, group in enumerate(analysis.groups):
        _lift(group, nodes, analysis, library, f"{prefix}{number}/")
    return nodes


def _controls(node: ir.Node) -> list[str]:
    return [text for text in node.inputs if text.startswith("^")]


def _named(text: str) -> str:
    return text if ":" in text else f"{text}:0"


class _Analysis:
    """Which nodes belong to which branches.

    Attributes:
        groups: The outermost conditionals, each after those it needs.
        is_sound: Whether all could be told.
    """

    def __init__(
        self,
        nodes: Mapping[str, ir.Node],
        order: Sequence[ir.Node],
        stop: frozenset[str],
    ) -> None:
        self.nodes = nodes
        self._stop = stop
        self._places = {node.name: place for place, node in enumerate(order)}
        self.guards: dict[str, Guards] = {}
        self.groups: list[_Group] = []
        self.is_sound = True
        self._resolved: dict[str, tuple[str, int]] = {}
        self._numbered = {
            source_of(text)
            for node in order
            for text in node.inputs
            if text.endswith(":1") and nodes.get(source_of(text), node).op == "Merge"
        }
        entries = 0
        for node in order:
            found = self._guards(node)
            self.guards[node.name] = found
            entries += len(found)
            if len(found) > _MOST_NESTED or entries > _MOST_ENTRIES:
                self.is_sound = False
                return
        self.groups = self._grouped(order)

    def of_tensor(self, text: str) -> Guards:
        """Returns where a tensor, or what `^` stands before, is there."""
        name = source_of(text)
        found = self.guards.get(name, frozenset())
        node = self.nodes.get(name)
        if text.startswith("^") or node is None or node.op not in _SWITCH:
            return found
        if name not in self.guards or len(node.inputs) < 2:
            return found
        return found | {(self._predicate(node), int(text.endswith(":1")))}

    def _predicate(self, switch: ir.Node) -> str:
        """The tensor that decides."""
        text = switch.inputs[1]
        for node in self._other_names(switch):
            text = node.inputs[0]
        return _named(text)

    def _other_names(self, switch: ir.Node) -> Iterator[ir.Node]:
        """Yields the `Identity`s that the predicate went through."""
        text = switch.inputs[1]
        for _ in range(_MOST_NESTED):
            node = self.nodes.get(source_of(text))
            if node is None or node.op != "Identity" or source_of(text) in self._stop:
                break
            yield node
            text = node.inputs[0]

    def _guards(self, node: ir.Node) -> Guards:
        found = [self.of_tensor(text) for text in node.inputs]
        if node.op != "Merge":
            return frozenset().union(*found)
        data = [text for text in node.inputs if not text.startswith("^")]
        if len(data) != 2:
            return frozenset().union(*found)
        first, second = (self.of_tensor(text) for text in data)
        common = first & second
        sides = {*(first - common), *(second - common)}
        is_one = len(sides) == 2 and len({name for name, _ in sides}) == 1
        if is_one and len(first) == len(second) and node.name not in self._numbered:
            ((predicate, side),) = first - common
            self._resolved[node.name] = predicate, int(side == 0)
        controls = found[len(data) :]
        return common.union(*controls)

    def _grouped(self, order: Sequence[ir.Node]) -> list[_Group]:
        groups: dict[tuple[str, int], _Group] = {}
        depths: dict[str, dict[str, int]] = {}
        entries = 0
        for node in order:
            depth: dict[str, int] = {}
            for text in node.inputs:
                for name, number in depths.get(source_of(text), {}).items():
                    depth[name] = max(number, depth.get(name, 0))
            if node.name in self._resolved and not self.guards[node.name]:
                predicate, place = self._resolved[node.name]
                depth[predicate] = depth.get(predicate, 0) + 1
                key = predicate, depth[predicate]
                group = groups.setdefault(key, _Group(predicate))
                group.merges.append((node, place))
            depths[node.name] = depth
            entries += len(depth)
            if entries > _MOST_ENTRIES:
                self.is_sound = False
                break
        return list(groups.values())

    def branch(self, group: _Group, side: int) -> _Branch | None:
        """Returns one side of a conditional; `None` if it isn't one."""
        wanted = []
        for merge, place in group.merges:
            data = [text for text in merge.inputs if not text.startswith("^")]
            wanted.append(data[place if side else 1 - place])
        mark, other = (group.predicate, side), (group.predicate, 1 - side)
        part = self._part(wanted, mark)
        if any(other in self.guards.get(node.name, ()) for node in part):
            return None
        inside = {node.name for node in part}
        branch = _Branch([], [], {}, {})
        variables: dict[str, ir.Node] = {}

        def outer(text: str) -> str:
            """The name of a tensor where the conditional stands."""
            if source_of(text) in inside:
                return text
            node = self.nodes.get(source_of(text))
            if node is not None and node.op in _SWITCH:
                text = node.inputs[0]
                for each in (node, *self._other_names(node)):
                    branch.after |= dict.fromkeys(_controls(each))
            text = _named(text)
            behind = self.nodes.get(source_of(text))
            if behind is not None and behind.op in _VARIABLES:
                variables[behind.name] = replace(behind, inputs=())
            else:
                branch.taken[text] = None
            return text

        for node in part:
            inputs = (
                text if text.startswith("^") else outer(text)
                for text in node.inputs
                if not text.startswith("^") or source_of(text) in inside
            )
            branch.nodes.append(replace(node, inputs=tuple(inputs)))
            outer_controls = (c for c in _controls(node) if source_of(c) not in inside)
            branch.after |= dict.fromkeys(outer_controls)
        branch.wanted = [outer(text) for text in wanted]
        branch.nodes[:0] = variables.values()
        writes = (KERNELS[n.op].writes for n in branch.nodes if n.op in KERNELS)
        return None if variables and any(writes) else branch

    def _part(self, wanted: Iterable[str], mark: tuple[str, int]) -> list[ir.Node]:
        """Returns the nodes of a branch that are needed, in running order."""
        found: set[str] = set()
        pending = [source_of(text) for text in wanted]
        while pending:
            name = pending.pop()
            if name not in found and mark in self.guards.get(name, ()):
                found.add(name)
                pending += map(source_of, self.nodes[name].inputs)
        return [
            self.nodes[name] for name in sorted(found, key=self._places.__getitem__)
        ]


def _lift(
    group: _Group,
    nodes: Nodes,
    analysis: _Analysis,
    library: FunctionLibrary,
    prefix: str,
) -> None:
    sides = [b for side in (0, 1) if (b := analysis.branch(group, side)) is not None]
    if len(sides) != 2:
        return
    name = f"{group.merges[0][0].name}/if"
    taken = list(dict.fromkeys([*sides[0].taken, *sides[1].taken]))
    types = tuple(merge.attrs.get("T", ir.NO_TYPE) for merge, _ in group.merges)
    attrs: dict[str, ir.AttrValue] = {
        "Tcond": ir.DataType.of("bool"),
        "Tin": (ir.NO_TYPE,) * len(taken),
        "Tout": types,
    }
    for key, side in zip(("else_branch", "then_branch"), sides, strict=True):
        place = f"{prefix}{name}/{key}"
        library.add_plan(place, _plan(side, taken, types, library, place))
        attrs[key] = ir.FunctionRef(place)
    after = dict.fromkeys(c for merge, _ in group.merges for c in _controls(merge))
    after |= {**sides[0].after, **sides[1].after}
    inputs = (group.predicate, *taken, *after)
    nodes[name] = ir.Node(name, "If", inputs, attrs)
    for index, (merge, _) in enumerate(group.merges):
        attrs_of = {"T": merge.attrs.get("T", ir.NO_TYPE)}
        nodes[merge.name] = ir.Node(
            merge.name, "Identity", (f"{name}:{index}",), attrs_of
        )


def _plan(
    branch: _Branch,
    taken: Sequence[str],
    types: Sequence[ir.AttrValue],
    library: FunctionLibrary,
    place: str,
) -> Plan:
    inner = {node.name: node for node in branch.nodes}
    roots = []
    for index, (text, dtype) in enumerate(zip(branch.wanted, types, strict=True)):
        # What is given is a value, also of a reference variable.
        root = f"{place}/{index}"
        inner[root] = ir.Node(root, "Identity", (text,), {"T": dtype})
        roots.append(root)
    stop = frozenset(source_of(text) for text in taken) - inner.keys()
    inner = lifted_conditionals(inner, roots, stop, library, f"{place}/")
    order = reachable(inner, roots, stop)
    raise_missing({n.op: [f"branch '{place}'"] for n in order if n.op not in KERNELS})
    builder = PlanBuilder(place, library.op_defs, positional=True)
    arguments = [builder.argument(text) for text in taken]
    return builder.build(
        order, arguments, lambda: [builder.slot_of(root) for root in roots]
    )
