"""One TensorFlow function under construction, as lowerings see it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from regraft.dtypes import HANDLE
from regraft.errors import UnsupportedOpError
from regraft.graph import ir
from regraft.graph.tracing.builder import data_type
from regraft.graph.tracing.dims import SymbolicBuilder
from regraft.graph.tracing.registry import COMPOSITES, LOWERINGS, NOT_LOWERED
from regraft.graph.tracing.values import Array, Dim, Value, VariableState

if TYPE_CHECKING:
    from regraft.graph.tracing.tracer import Tracing

Jaxpr = Any

# What lengths are called that follow from text.
TOKENS = "tokens_"
# A constant of more bytes is kept once for all functions.
_LARGE = 1024


@dataclass(frozen=True, eq=False)
class Mark:
    """Says what a marked part of a computation is.

    Attributes:
        kind: `"composite"` or `"function"`.
        name: Of the composite's lowering, or label of the function.
        ranks: Of the operands; other ones mean that JAX has transformed the part.
        params: Parameters of the composite's lowering.
        inputs: For a function: places of the operands that are always arguments.
        input_names: Their names.
        outputs: For a function: places of the results that it always has.
        updates: For a function: result → operand, the variable that it becomes.
        label: The name that JAX carries.
    """

    kind: str
    name: str
    ranks: tuple[int, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[int, ...] = ()
    input_names: tuple[str, ...] = ()
    outputs: tuple[int, ...] = ()
    updates: Mapping[int, int] = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True, eq=False)
class SharedConstant:
    """A large constant that functions take as an argument, so that it is kept once.

    Attributes:
        name: What callers know it by, as they know lengths.
        value: Of it.
        dtype: Of it.
    """

    name: str
    value: Array
    dtype: str


@dataclass(frozen=True, eq=False)
class CalledFunction:
    """A function of the library and how it is called.

    Attributes:
        name: Of the function.
        operands: Which of the jaxpr's operands are its arguments, in order.
        variables: Those of them that are variables.
        written: Those of the variables that it writes.
        symbols: Lengths that follow as int32 arguments, and shared constants.
        results: Which of the jaxpr's results it returns, in order.
        is_stateful: Whether it reads variables or draws random numbers.
        captures: What the caller knows each variable by, in order, and the shared
            constants.
    """

    name: str
    operands: tuple[int, ...]
    variables: frozenset[int]
    written: frozenset[int]
    symbols: tuple[str, ...]
    results: tuple[int, ...]
    is_stateful: bool
    captures: tuple[Any, ...] = ()

    @property
    def lengths(self) -> tuple[str, ...]:
        """Those of the symbols that are lengths."""
        shared = {c.name for c in self.captures if isinstance(c, SharedConstant)}
        return tuple(name for name in self.symbols if name not in shared)


def dtype_of(aval: Any) -> str:
    """Returns the name of an abstract value's dtype; `"key"` for random keys."""
    return _dtype_name(aval.dtype)


@functools.cache
def _dtype_name(dtype: Any) -> str:
    return "key" if jnp.issubdtype(dtype, jax.dtypes.prng_key) else str(dtype)


def used_operands(jaxpr: Jaxpr, wanted: Sequence[int]) -> set[int]:
    """Returns the operands that the wanted results depend on."""
    needed, _ = _live(jaxpr, wanted)
    return {i for i, var in enumerate(jaxpr.invars) if var in needed}


def _live(jaxpr: Jaxpr, wanted: Sequence[int]) -> tuple[set[Any], list[bool]]:
    needed = {v for i in wanted if not isinstance(v := jaxpr.outvars[i], core.Literal)}
    runs = []
    for equation in reversed(jaxpr.eqns):
        runs.append(any(var in needed for var in equation.outvars))
        if runs[-1]:
            needed.update(v for v in equation.invars if not isinstance(v, core.Literal))
    return needed, runs[::-1]


class Graph(SymbolicBuilder):
    """A function under construction, as lowerings see it.

    Attributes:
        tracing: Where the functions go that this one calls.
        equation: The one at hand, of a jaxpr.
        out: Abstract values of its results.
        live: Which of these results somebody needs.
        is_flat: Whether marked functions are written down where they are called.
    """

    def __init__(
        self, tracing: Tracing, *, is_flat: bool = False, is_body: bool = False
    ) -> None:
        super().__init__()
        self.is_flat = is_flat
        # What a loop carries is no constant any more, to converters least of all.
        self._shares = not is_body
        self.tracing = tracing
        self.equation: Any = None
        self.out: tuple[Any, ...] = ()
        self._tables: dict[Any, tuple[str, str]] = {}
        self.live: tuple[bool, ...] = ()

    def run(
        self,
        jaxpr: Jaxpr,
        consts: Sequence[Any],
        operands: Sequence[Value | None],
        wanted: Sequence[int] | None = None,
    ) -> list[Any]:
        """Writes the equations of a jaxpr down; returns its results."""
        wanted = range(len(jaxpr.outvars)) if wanted is None else wanted
        needed, runs = _live(jaxpr, wanted)
        env: dict[Any, Any] = dict(zip(jaxpr.invars, operands, strict=True))
        for var, const in zip(jaxpr.constvars, consts, strict=True):
            env[var] = constant(const)
        for equation, runs_here in zip(jaxpr.eqns, runs, strict=True):
            if runs_here:
                self._equation(equation, env, needed)
        outside = set(range(len(jaxpr.outvars))) - set(wanted)
        return [
            None if i in outside else self._operand(var, env)
            for i, var in enumerate(jaxpr.outvars)
        ]

    def inline(self, closed: Jaxpr, operands: Sequence[Value]) -> list[Value]:
        """Writes a closed jaxpr down in the place where it is called."""
        out, live = self.out, self.live
        wanted = [i for i, is_live in enumerate(live) if is_live]
        if len(live) != len(closed.jaxpr.outvars):
            wanted = list(range(len(closed.jaxpr.outvars)))
        results = self.run(closed.jaxpr, closed.consts, operands, wanted)
        self.out, self.live = out, live
        return results

    def _operand(self, var: Any, env: Mapping[Any, Any]) -> Any:
        if isinstance(var, core.Literal):
            return constant(var.val, dtype_of(var.aval))
        return env[var]

    def _equation(self, equation: Any, env: dict[Any, Any], needed: set[Any]) -> None:
        name = equation.primitive.name
        if all(dtype_of(var.aval) == "key" for var in equation.outvars):
            for var in equation.outvars:
                env[var] = Value("key", tuple(var.aval.shape), key=True)
            return
        row = LOWERINGS.get(name)
        if row is None:
            reason = NOT_LOWERED.get(name, "Regraft has no lowering for it")
            raise UnsupportedOpError(
                f"JAX's operation '{name}' can't be written as TensorFlow ops: "
                f"{reason}.",
                (name,),
            )
        operands = [self._operand(var, env) for var in equation.invars]
        self.equation = equation
        self.out = tuple(var.aval for var in equation.outvars)
        self.live = tuple(var in needed for var in equation.outvars)
        params = {p: equation.params[p] for p in row.params if p in equation.params}
        results = row.function(self, *operands, **params)
        if not isinstance(results, list | tuple):
            results = (results,)
        for var, value in zip(equation.outvars, results, strict=True):
            if value is not None:
                env[var] = _checked(value, var.aval, name)

    def write_back(self, updates: Iterable[tuple[Value, Value]]) -> None:
        """Assigns new values to variables."""
        for variable, value in updates:
            state = value.variable
            own: Any = variable.variable
            if state is not None and state.resource == own.resource:
                continue  # A function that was called has written it already.
            self.assign(variable, self._shown_value(value))

    def _shown_value(self, value: Value) -> Value:
        """What a value is that was hidden from derivatives, as a write needs no hiding.

        A runtime adds `variable - stop_gradient(variable)` to what it writes into a
        trained weight, for the derivatives of what reads it afterwards.
        """
        made = self.producer(value)
        if made is not None and made[0] == "AddV2":
            hidden, change = (self._maker(tensor) for tensor in made[1])
            if change is not None and change[0] == "Sub":
                variable, same = change[1]
                if self._maker(same) == ("StopGradient", (variable,)):
                    made = hidden
        if made is None or made[0] != "StopGradient":
            return value
        return replace(value, name=made[1][0])

    def _maker(self, tensor: str) -> tuple[str, tuple[str, ...]] | None:
        """Op and inputs of the node that makes a tensor, if one does."""
        return self.producer(Value("", name=tensor))

    def call_marked(
        self, mark: Mark, closed: Jaxpr, operands: Sequence[Value]
    ) -> list[Value | None]:
        """Calls a marked part as a function of its own."""
        if self.is_flat:
            outer, self.prefix = self.prefix, f"{self.prefix}{mark.name}/"
            results: list[Value | None] = [*self.inline(closed, operands)]
            self.prefix = outer
            return results
        # What the part closes over comes before its operands.
        before = len(operands) - len(mark.ranks)
        mark = replace(
            mark,
            inputs=tuple(before + i for i in mark.inputs),
            updates={out: before + i for out, i in mark.updates.items()},
        )
        variables = {
            i: value.variable.identity
            for i, value in enumerate(operands)
            if value.variable is not None
        }
        self.tracing.note_call(mark, closed, variables)
        called = self.tracing.add(closed, mark, variables, self.live)
        return self.call_function(called, operands, mark.name, mark.updates)

    def call_function(
        self,
        called: CalledFunction,
        operands: Sequence[Value],
        name: str,
        updates: Mapping[int, int] | None = None,
    ) -> list[Any]:
        """Calls a function of the library."""
        inputs: list[Value | str] = [
            self._resource(operands[i]) if i in called.variables else operands[i]
            for i in called.operands
        ]
        inputs += [self.dim_symbol(symbol) for symbol in called.symbols]
        dtypes = tuple(self.boundary(self.out[i]) for i in called.results)
        attrs: dict[str, ir.AttrValue] = {
            "Tin": tuple(
                data_type("resource" if isinstance(i, str) else i.dtype) for i in inputs
            ),
            "Tout": tuple(map(data_type, dtypes)),
            "f": ir.FunctionRef(called.name),
        }
        writes = [operands[i] for i in sorted(called.written)]
        reads = [operands[i] for i in sorted(called.variables - called.written)]
        op = "StatefulPartitionedCall" if called.is_stateful else "PartitionedCall"
        self.is_stateful |= called.is_stateful
        node = self.call(
            op,
            inputs,
            attrs,
            name,
            reads=reads,
            writes=writes,
            has_effects=bool(writes),
        )
        results: list[Value | None] = [None] * len(self.out)
        for place, i in enumerate(called.results):
            shape = tuple(self.out[i].shape)
            results[i] = Value(dtypes[place], shape, name=f"{node}:output:{place}")
            self.show_own_lengths(results[i])
        for out, operand in (updates or {}).items():
            variable = operands[operand]
            results[out] = (
                self.wrote(variable, node) if operand in called.written else variable
            )
        return results

    def show_own_lengths(self, value: Any) -> None:
        """Notes the lengths of a value that no argument has: those of token lists."""
        for axis, dim in enumerate(value.dims):
            if not isinstance(dim, int) and str(dim).startswith(TOKENS):
                self.show(dim, value, axis)

    def gather_variable(self, variable: Value, indices: Value) -> Value:
        """Returns rows of a variable, without reading all of it."""
        inputs: list[Value | str] = [self._resource(variable), indices]
        attrs: dict[str, ir.AttrValue] = {
            "dtype": data_type(variable.dtype),
            "Tindices": data_type(indices.dtype),
        }
        node = self.call(
            "ResourceGather", inputs, attrs, "ResourceGather", reads=[variable]
        )
        shape = (*indices.dims, *variable.dims[1:])
        return Value(variable.dtype, shape, name=f"{node}:output:0")

    def _resource(self, value: Value) -> str:
        state: VariableState = value.variable  # type: ignore[assignment]
        return state.resource

    def table(self, name: str, keys: Value, values: Value) -> tuple[str, str]:
        """Returns a table's handle, and the node after which the table is filled."""
        key = ("table", name)
        if key not in self._tables:
            types: dict[str, ir.AttrValue] = {
                "key_dtype": data_type(keys.dtype),
                "value_dtype": data_type(values.dtype),
            }
            attrs = {**types, "shared_name": name.encode()}
            handle = f"{self.call('HashTableV2', [], attrs, 'table')}:table_handle:0"
            filled = self.call(
                "InitializeTableV2",
                [handle, keys, values],
                {"Tkey": types["key_dtype"], "Tval": types["value_dtype"]},
                "fill",
            )
            self._tables[key] = (handle, filled)
            self.is_stateful = True
        return self._tables[key]

    def kept_variable(self, name: str, value: Value) -> tuple[str, str]:
        """Returns a variable's handle, and the node after which it has its value."""
        key = ("variable", name)
        if key not in self._tables:
            dtype = data_type(value.dtype)
            attrs: dict[str, ir.AttrValue] = {
                "dtype": dtype,
                "shape": ir.TensorShape(value.shape),
                "shared_name": name.encode(),
            }
            handle = f"{self.call('VarHandleOp', [], attrs, 'variable')}:resource:0"
            filled = self.call(
                "AssignVariableOp", [handle, value], {"dtype": dtype}, "assign"
            )
            self._tables[key] = (handle, filled)
            self.is_stateful = True
        return self._tables[key]

    def find(self, table: tuple[str, str], keys: Value, default: Value) -> Value:
        """Returns what a table holds for keys."""
        handle, filled = table
        attrs: dict[str, ir.AttrValue] = {
            "Tin": data_type(keys.dtype),
            "Tout": data_type(default.dtype),
        }
        inputs: list[Value | str] = [handle, keys, default]
        node = self.call("LookupTableFindV2", inputs, attrs, "find", after=[filled])
        return Value(default.dtype, keys.shape, name=f"{node}:values:0")

    def boundary(self, aval: Any) -> str:
        """Returns the dtype of a tensor where functions meet: text for handles."""
        dtype = dtype_of(aval)
        return "string" if self.tracing.has_text and dtype == HANDLE else dtype

    def dim_symbol(self, name: str) -> Value:
        """Returns a named length, or a shared constant."""
        shared = self.tracing.constants.get(name)
        return self._symbol(name) if shared is None else self._shared(shared)

    def constant(self, array: Array, dtype: str) -> str:
        """Returns the tensor of a constant; of a large one, an argument."""
        if dtype != "string" and self._shares and array.nbytes > _LARGE:
            shared = self.tracing.shared_constant(array, dtype)
            if shared is not None:
                return self.tensor(self._shared(shared))
        return super().constant(array, dtype)

    def _shared(self, shared: SharedConstant) -> Value:
        if not self._shares:
            return Value.of(shared.value, shared.dtype)
        known = self._lengths.get(shared.name)
        if known is None:
            self.passed_symbols.append(shared.name)
            known = self.argument("constant", shared.dtype, shared.value.shape)
            self._lengths[shared.name] = known
        return known

    def shape_of(self, index: int = 0) -> tuple[Dim, ...]:
        """Returns the shape of a result of the equation at hand."""
        return tuple(self.out[index].shape)

    def dtype_of(self, index: int = 0) -> str:
        """Returns the dtype of a result of the equation at hand."""
        return dtype_of(self.out[index])


def constant(array: Any, dtype: str | None = None) -> Value:
    """Returns a constant of a jaxpr as a value."""
    if jnp.issubdtype(getattr(array, "dtype", np.dtype("O")), jax.dtypes.prng_key):
        return Value("key", tuple(np.shape(array)), key=True)
    array = np.asarray(array)
    return Value.of(array, dtype or str(array.dtype))


def _checked(value: Value, aval: Any, primitive: str) -> Value:
    dtype = dtype_of(aval)
    if value.dtype != dtype and (value.dtype, dtype) != ("string", HANDLE):
        raise TypeError(
            f"The lowering of '{primitive}' gives {value.dtype} instead of {dtype}."
        )
    shape = tuple(aval.shape)
    if value.shape is not None and len(value.shape) != len(shape):
        raise TypeError(
            f"The lowering of '{primitive}' gives shape {value.shape} for {shape}."
        )
    return value.shaped(shape)


def ranks_of(operands: Sequence[Any]) -> tuple[int, ...]:
    """Returns the ranks of operands, as a `Mark` keeps them."""
    return tuple(len(operand.shape) for operand in operands)


def composite_lowering(graph: Graph, mark: Mark, operands: Sequence[Value]) -> Any:
    """Returns the results of a composite; `None` where TensorFlow's op can't do it."""
    if ranks_of(operands) != mark.ranks:
        return None
    row = COMPOSITES.get(mark.name)
    return None if row is None else row.function(graph, *operands, **mark.params)
