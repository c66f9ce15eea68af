"""Functions that a file brought, called as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from regraft import dtypes
from regraft.errors import UnsupportedError
from regraft.graph import ir
from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.lowerings.elementwise import cast
from regraft.graph.tracing.lowerings.text import table_of, variable_of
from regraft.graph.tracing.registry import composite
from regraft.graph.tracing.values import Array, Value


@dataclass(frozen=True)
class CapturedVariable:
    """The next variable."""


@dataclass(frozen=True, eq=False)
class CapturedConstant:
    """A tensor that is the same in every call."""

    value: Array


@dataclass(frozen=True, eq=False)
class CapturedTable:
    """A lookup table that is only read."""

    keys: Array
    key_dtype: str
    values: Array
    value_dtype: str


@dataclass(frozen=True, eq=False)
class CapturedText:
    """A variable of text that is only read."""

    value: Array


@dataclass(frozen=True, eq=False)
class CapturedResult:
    """What another function of the file makes, such as a pipeline of `tf.data`."""

    name: str
    captured: tuple[CapturedValue, ...]


CapturedValue = (
    CapturedVariable | CapturedConstant | CapturedTable | CapturedText | CapturedResult
)


@composite("saved_function")
def saved_function(g: Graph, *operands: Value, spec: Mapping[str, Any]) -> list[Value]:
    """Calls a function; its last operands are variables, which it may write."""
    count = len(spec["input_dtypes"])
    variables = operands[count:]
    if any(variable.variable is None for variable in variables):
        raise UnsupportedError("A function of the file captures what was computed.")
    inputs: list[Value | str] = [
        operand if dtype == "string" else cast(g, operand.wide or operand, dtype)
        for operand, dtype in zip(operands, spec["input_dtypes"], strict=False)
    ]
    captured = _Given(g, spec["functions"], variables)
    for one in spec["captured"]:
        captured.add(one)
    inputs += captured.inputs
    types = [*spec["input_dtypes"], *captured.types]
    attrs: dict[str, ir.AttrValue] = {
        "Tin": tuple(map(ir.DataType.of, types)),
        "Tout": tuple(map(ir.DataType.of, spec["output_dtypes"])),
        "f": ir.FunctionRef(_added(g, spec["name"], spec["functions"])),
    }
    g.is_stateful = True
    node = g.call(
        "StatefulPartitionedCall",
        inputs,
        attrs,
        "StatefulPartitionedCall",
        writes=variables,
        has_effects=True,
        after=captured.filled,
    )
    results = []
    for place, dtype in enumerate(spec["output_dtypes"]):
        shape = tuple(g.out[place].shape)
        value = Value(dtype, shape, name=f"{node}:output:{place}")
        g.show_own_lengths(value)
        results.append(
            value if dtype == "string" else cast(g, value, g.dtype_of(place))
        )
    return [*results, *(g.wrote(variable, node) for variable in variables)]


class _Given:
    """What a function is given for what it captures.

    Args:
        g: The graph that calls it.
        functions: Of the file.
        variables: Those that are captured, in order.

    Attributes:
        inputs: The tensors.
        types: Their dtypes.
        filled: The nodes that come before the call.
    """

    def __init__(
        self, g: Graph, functions: Mapping[str, ir.Function], variables: Iterable[Value]
    ) -> None:
        self._g = g
        self._functions = functions
        self._variables = iter(variables)
        self.inputs: list[Value | str] = []
        self.types: list[str] = []
        self.filled: list[str] = []

    def add(self, captured: CapturedValue) -> None:
        """Adds one captured value."""
        if isinstance(captured, CapturedConstant):
            dtype = dtypes.from_numpy(captured.value.dtype).name
            self._give(Value.of(captured.value, dtype), dtype)
        elif isinstance(captured, CapturedTable):
            keys = Value.of(captured.keys, captured.key_dtype)
            found = Value.of(captured.values, captured.value_dtype)
            self._give_filled(table_of(self._g, keys, found))
        elif isinstance(captured, CapturedText):
            self._give_filled(variable_of(self._g, Value.of(captured.value, "string")))
        elif isinstance(captured, CapturedResult):
            self._give(self._result(captured), "variant")
        else:
            variable = next(self._variables).variable
            self._give(variable.resource, "resource")  # type: ignore[union-attr]

    def _result(self, captured: CapturedResult) -> str:
        inner = _Given(self._g, self._functions, self._variables)
        for one in captured.captured:
            inner.add(one)
        attrs: dict[str, ir.AttrValue] = {
            "Tin": tuple(map(ir.DataType.of, inner.types)),
            "Tout": (ir.DataType.of("variant"),),
            "f": ir.FunctionRef(_added(self._g, captured.name, self._functions)),
        }
        call = "StatefulPartitionedCall"
        node = self._g.call(call, inner.inputs, attrs, call, after=inner.filled)
        return f"{node}:output:0"

    def _give(self, tensor: Value | str, dtype: str) -> None:
        self.inputs.append(tensor)
        self.types.append(dtype)

    def _give_filled(self, resource: tuple[str, str]) -> None:
        self._give(resource[0], "resource")
        self.filled.append(resource[1])


def _added(g: Graph, name: str, functions: Mapping[str, ir.Function]) -> str:
    """Adds a function and all that it calls; returns its name in the library."""
    name = _innermost(name, functions)
    done: dict[str, str] = {}
    pending = [name]
    while pending:
        current = functions[pending[-1]]
        missing = [n for n in sorted(ir.functions_of(current.nodes)) if n not in done]
        if any(n in pending or n not in functions for n in missing):
            raise UnsupportedError(f"Function '{name}' of the file calls itself.")
        if missing:
            pending += missing[:1]
            continue
        nodes = tuple(
            replace(n, attrs={key: _renamed(v, done) for key, v in n.attrs.items()})
            for n in current.nodes
        )
        this, library = pending.pop(), g.tracing.library
        caller = functions[pending[-1]].nodes if pending else ()
        loops = (node for node in caller if not node.op.endswith("PartitionedCall"))
        add = library.add_body if this in ir.functions_of(loops) else library.add
        done[this] = add(replace(current, nodes=nodes))
    return done[name]


def _innermost(name: str, functions: Mapping[str, ir.Function]) -> str:
    """Returns the function that others only hand their arguments on to.

    Each save puts one around what it calls; without this a file would grow by it.
    """
    seen = {name}
    while (inner := _handed_on(functions[name], functions)) and inner not in seen:
        seen.add(inner)
        name = inner
    return name


def _handed_on(
    function: ir.Function, functions: Mapping[str, ir.Function]
) -> str | None:
    """Returns what a function calls, if it does nothing else."""
    if len(function.nodes) != 1:
        return None
    (node,) = function.nodes
    called = node.attrs.get("f")
    if not isinstance(called, ir.FunctionRef) or called.name not in functions:
        return None
    signature = function.signature
    arguments = tuple(argument.name for argument in signature.inputs)
    results = [function.ret.get(result.name) for result in signature.outputs]
    count = len(functions[called.name].signature.outputs)
    same = results == [f"{node.name}:output:{i}" for i in range(count)]
    return called.name if same and tuple(node.inputs) == arguments else None


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, tuple):
        return tuple(_renamed(item, names) for item in value)
    if isinstance(value, ir.FunctionRef):
        return replace(value, name=names[value.name])
    return value
