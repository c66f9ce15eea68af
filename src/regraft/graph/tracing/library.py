"""The functions that a model needs; equal ones once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from regraft.graph import ir

_NUMBERED = re.compile(r"^__inference_(.*)_\d+$")
# Of numbers with as many digits none begins with another one: protobuf's runtimes
# agree on the order of such names, and hashes need not put them into order.
_FIRST_NUMBER = 1000


def control_outputs(nodes: Iterable[str]) -> dict[str, str]:
    """Returns names for nodes that must have run when a function has, and the nodes."""
    return {f"control_{_FIRST_NUMBER + i}": node for i, node in enumerate(nodes)}


class FunctionLibrary:
    """Functions by name; adding one that is there under another name adds nothing."""

    def __init__(self) -> None:
        self._functions: dict[str, ir.Function] = {}
        self._names: dict[Any, str] = {}
        # What loops and branches are, by name, as numbers that equal ones share.
        self._bodies: dict[str, int] = {}
        self._kinds: dict[Any, int] = {}

    @property
    def functions(self) -> Mapping[str, ir.Function]:
        return MappingProxyType(self._functions)

    def add(self, function: ir.Function) -> str:
        """Adds a function and returns the name that it has here."""
        key = self._content(function)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = self.add_distinct(function)
        return name

    def add_body(self, function: ir.Function) -> str:
        """Adds a function for the one loop or branch that runs it; returns its name.

        TensorFlow derives a loop or branch by functions of more results, which it calls
        by the name of the first: what they are depends on the loop's arguments as well,
        so that no two loops may have one, unless they stand in equal functions.
        """
        kind = self._kinds.setdefault(self._content(function), len(self._kinds))
        name = self.add_distinct(function)
        self._bodies[name] = kind
        return name

    def add_distinct(self, function: ir.Function, label: str = "") -> str:
        """Adds a function even if there is an equal one; returns its name.

        Args:
            function: The function.
            label: What its name has instead of the name that it comes with.
        """
        label = label or _NUMBERED.sub(r"\1", function.name)
        name = f"__inference_{label}_{_FIRST_NUMBER + len(self._functions)}"
        signature = replace(function.signature, name=name)
        self._functions[name] = replace(function, signature=signature)
        return name

    def _content(self, function: ir.Function) -> Any:
        """Returns what makes a function what it is, without its name and its nodes'."""
        return _content(function, self._bodies)


def _content(function: ir.Function, bodies: Mapping[str, int]) -> Any:
    numbers: dict[str, str] = {}

    def tensor(text: str) -> str:
        node, colon, rest = text.removeprefix("^").partition(":")
        return f"{numbers.get(node, node)}{colon}{rest}"

    for index, node in enumerate(function.nodes):
        numbers[node.name] = str(index)
    nodes = tuple(
        (node.op, tuple(map(tensor, node.inputs)), _attrs(node.attrs, bodies))
        for node in function.nodes
    )
    signature = function.signature
    return (
        nodes,
        tuple((a.name, a.type, a.handle_data) for a in signature.inputs),
        tuple((i, _attrs(attrs, bodies)) for i, attrs in function.arg_attrs.items()),
        tuple((name, tensor(value)) for name, value in function.ret.items()),
        tuple(map(tensor, function.control_ret.values())),
    )


def _attrs(attrs: Mapping[str, ir.AttrValue], bodies: Mapping[str, int]) -> Any:
    return tuple((name, _attr(attrs[name], bodies)) for name in sorted(attrs))


def _attr(value: Any, bodies: Mapping[str, int]) -> Any:
    if isinstance(value, ir.TensorValue):
        flat = value.flat
        content = tuple(flat.tolist()) if flat.dtype == object else flat.tobytes()
        return int(value.dtype), str(value.shape), content
    if isinstance(value, ir.FunctionRef):
        return bodies.get(value.name, value.name)
    if isinstance(value, tuple):
        return tuple(_attr(item, bodies) for item in value)
    return type(value).__name__, str(value)
