"""Nodes that call a function by its name, in the place of an op's.

TensorFlow 1 wrote the calls of its `Defun`s so, and some of TensorFlow 2's own losses
still are. What comes from here has `StatefulPartitionedCall` nodes in their places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from regraft.graph import ir
from regraft.graph.runtime.registry import KERNELS


class FunctionsByName(Mapping[str, ir.Function]):
    """Functions whose calls of one another are all nodes of an op for that.

    Args:
        functions: As the file has them; each is read when it is first asked for.
    """

    def __init__(self, functions: Mapping[str, ir.Function]) -> None:
        self._functions = functions
        self._rewritten: dict[str, ir.Function] = {}

    def __getitem__(self, name: str) -> ir.Function:
        found = self._rewritten.get(name)
        if found is None:
            found = self._rewritten[name] = self._with_calls(self._functions[name])
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)

    def nodes(self, nodes: Iterable[ir.Node]) -> tuple[ir.Node, ...]:
        """Returns nodes in which a call by name is a node that calls."""
        return tuple(
            self._call(node) if self._is_call(node) else node for node in nodes
        )

    def _is_call(self, node: ir.Node) -> bool:
        return node.op not in KERNELS and node.op in self._functions

    def _call(self, node: ir.Node) -> ir.Node:
        signature = self._functions[node.op].signature
        attrs: dict[str, ir.AttrValue] = {
            "Tin": tuple(_type(arg, node) for arg in signature.inputs),
            "Tout": tuple(_type(arg, node) for arg in signature.outputs),
            "f": ir.FunctionRef(node.op),
        }
        return replace(node, op="StatefulPartitionedCall", attrs=attrs)

    def _with_calls(self, function: ir.Function) -> ir.Function:
        names = {
            f"{node.name}:{arg.name}:0": f"{node.name}:output:{place}"
            for node in function.nodes
            if self._is_call(node)
            for place, arg in enumerate(self._functions[node.op].signature.outputs)
        }
        if not any(map(self._is_call, function.nodes)):
            return function
        nodes = tuple(
            replace(node, inputs=tuple(names.get(text, text) for text in node.inputs))
            for node in self.nodes(function.nodes)
        )
        ret = {key: names.get(text, text) for key, text in function.ret.items()}
        return replace(function, nodes=nodes, ret=ret)


def _type(arg: ir.ArgDef, node: ir.Node) -> ir.DataType:
    given = arg.type or node.attrs.get(arg.type_attr)
    return given if isinstance(given, ir.DataType) else ir.DataType.of("resource")
