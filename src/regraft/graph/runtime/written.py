"""Which of its arguments a function writes: variables and tables that it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from regraft.graph import ir
from regraft.graph.runtime.registry import KERNELS


def written_arguments(functions: Mapping[str, ir.Function], name: str) -> set[int]:
    """Returns the places of the arguments that a function, or one it calls, writes.

    Args:
        functions: All of a file's, by name.
        name: Of the function.
    """
    order, seen = [name], {name}
    for current in order:  # grows meanwhile
        for node in functions[current].nodes:
            for called in _called(node, functions):
                if called.name not in seen:
                    seen.add(called.name)
                    order.append(called.name)
    found: dict[str, set[int]] = {one: set() for one in order}
    # Those that are called mostly come last; a round without news is the last one.
    news = True
    while news:
        news = False
        for one in reversed(order):
            places = _written(functions[one], functions, found)
            if places != found[one]:
                found[one] = places
                news = True
    return found[name]


def _written(
    function: ir.Function,
    functions: Mapping[str, ir.Function],
    found: Mapping[str, set[int]],
) -> set[int]:
    places = {arg.name: i for i, arg in enumerate(function.signature.inputs)}
    nodes = {node.name: node for node in function.nodes}
    out = set()
    for node in function.nodes:
        for value in _given_to_writers(node, functions, found):
            source = _source(value, nodes)
            if source in places:
                out.add(places[source])
    return out


def _given_to_writers(
    node: ir.Node,
    functions: Mapping[str, ir.Function],
    found: Mapping[str, set[int]],
) -> Iterator[str]:
    """The inputs of a node that it writes, if they are resources at all."""
    inputs = [value for value in node.inputs if not value.startswith("^")]
    kernel = KERNELS.get(node.op)
    if kernel is not None and kernel.writes:
        yield from inputs
    for called in _called(node, functions):
        # A condition or index comes before what a branch is given.
        first = len(inputs) - len(called.signature.inputs)
        for place in found[called.name]:
            if first + place >= 0:
                yield inputs[first + place]


def _called(
    node: ir.Node, functions: Mapping[str, ir.Function]
) -> Iterator[ir.Function]:
    for ref in ir.function_refs(node.attrs):
        if ref.name in functions:
            yield functions[ref.name]


def _source(value: str, nodes: Mapping[str, ir.Node]) -> str:
    name = value.split(":", 1)[0]
    for _ in range(len(nodes)):
        node = nodes.get(name)
        if node is None or node.op != "Identity" or not node.inputs:
            break
        name = node.inputs[0].split(":", 1)[0]
    return name
