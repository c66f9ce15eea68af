"""A Python function over JAX arrays → TensorFlow functions.

`Tracing` runs the function on symbolic arrays, which gives a jaxpr, and `Graph`
writes each of its equations down through the registry of lowerings. Parts of the
function can be marked while it runs: a *composite* is a computation that TensorFlow
has one op for; a *function* becomes a TensorFlow function of its own that is called.
"""

from __future__ import annotations

import contextvars
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from regraft import dtypes
from regraft.errors import UnsupportedError
from regraft.graph.tracing import lowerings
from regraft.graph.tracing.attributes import splat
from regraft.graph.tracing.composite import Composite, Results, primitive
from regraft.graph.tracing.function_graph import (
    CalledFunction,
    Graph,
    Jaxpr,
    Mark,
    SharedConstant,
    dtype_of,
    ranks_of,
    used_operands,
)
from regraft.graph.tracing.library import FunctionLibrary
from regraft.graph.tracing.values import Array

lowerings.load()


@dataclass(frozen=True, eq=False)
class Call:
    """A marked function as it was called.

    Attributes:
        jaxpr: Closed jaxpr of it.
        mark: What its operands and results are, what it closes over first.
        variables: Operands that are variables, and what they are known by.
    """

    jaxpr: Jaxpr
    mark: Mark
    variables: Mapping[int, Any]


_active: contextvars.ContextVar[Tracing | None] = contextvars.ContextVar(
    "tracing", default=None
)


def active() -> Tracing | None:
    """Returns what is tracing in this context, if anything is."""
    return _active.get()


class Tracing:
    """Traces functions into one library.

    Attributes:
        library: The functions so far.
        marks: By the name that JAX carries.
        calls: The marked functions that were called, by the same name.
        has_text: Whether arrays of `HANDLE`s stand for text.
        failed: That name, of the innermost function that can't be written.
        lost_derivatives: Names of functions whose own derivative can't be written.
        constants: Those that functions share, by name.
    """

    def __init__(self) -> None:
        self.library = FunctionLibrary()
        self.has_text = False
        self.marks: dict[str, Mark] = {}
        self.calls: dict[str, Call] = {}
        self.failed: str | None = None
        self.lost_derivatives: set[str] = set()
        self.constants: dict[str, SharedConstant] = {}
        self._shared: dict[Any, SharedConstant] = {}
        self._numbers = itertools.count()
        self._runs: dict[str, Callable[..., Any]] = {}
        self._cache: dict[Any, CalledFunction] = {}

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Makes this the one that `active()` returns."""
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)

    # While a function runs

    def composite(
        self,
        name: str,
        function: Callable[..., Any],
        *operands: Any,
        **params: Any,
    ) -> Any:
        """Runs `function(*operands)` and marks what it does as one composite."""
        label = f"regraft_{name}_{next(self._numbers)}"
        self.marks[label] = Mark("composite", name, ranks_of(operands), params)
        return _named(function, label)(*operands)

    def known_composite(
        self,
        name: str,
        function: Callable[..., Any],
        results: Results,
        *operands: Any,
        **params: Any,
    ) -> Any:
        """Marks a composite without running it, as `results` says what it gives.

        Args:
            name: Of the composite.
            function: Computes it, in the way that `name` and `params` say in full;
                returns a tuple of arrays. It must not hold on to arrays.
            results: From the operands, shape and dtype of each result.
            operands: Arrays.
            params: Hashable parameters of its lowering.

        Returns:
            A list of arrays.
        """
        items = tuple(sorted(params.items()))
        composite = Composite(name, items, function, results)
        return primitive.bind(*operands, composite=composite)

    def function(
        self,
        name: str,
        function: Callable[..., Any],
        operands: Sequence[Any],
        *,
        inputs: Sequence[int],
        input_names: Sequence[str],
        roles: Callable[[], tuple[Sequence[int], Mapping[int, int]]],
    ) -> Any:
        """Runs `function(*operands)` and marks it as a function of its own.

        Args:
            name: Label.
            function: Returns a flat list of arrays.
            operands: Arrays.
            inputs: Places of the operands that are always arguments.
            input_names: Their names.
            roles: After the run, returns `Mark.outputs` and `Mark.updates`.

        Returns:
            The results, and the label under which the call will be in `calls`.
        """
        label = f"regraft_{name}_{next(self._numbers)}"
        run = self._runs[label] = _named(function, label)
        results = run(*operands)
        outputs, updates = roles()
        self.marks[label] = Mark(
            "function",
            name,
            ranks_of(operands),
            inputs=tuple(inputs),
            input_names=tuple(input_names),
            outputs=tuple(outputs),
            updates=dict(updates),
            label=label,
        )
        return results, label

    def repeat(self, label: str, operands: Sequence[Any]) -> Any:
        """Runs a function again on operands as before; JAX doesn't trace it again.

        Returns:
            The results; `None` where it closes over something or was never written.
        """
        call = self.calls.get(label)
        if call is None or len(call.jaxpr.in_avals) != len(operands):
            return None
        return self._run(label, operands)

    def follow(self, label: str, name: str, operands: Sequence[Any]) -> Any:
        """Runs a function again for somebody else, who is known by another name.

        Args:
            label: Of the function; it closes over nothing.
            name: Label of the call.
            operands: Arrays of the same shapes.

        Returns:
            What `function` returns.
        """
        other = f"regraft_{name}_{next(self._numbers)}"
        self.marks[other] = replace(self.marks[label], name=name, label=other)
        self._runs[other] = self._runs[label]
        return self._run(other, operands), other

    def _run(self, label: str, operands: Sequence[Any]) -> Any:
        # JAX keeps one name for a function, but this one for each place of a call.
        with jax.named_scope(label):
            return self._runs[label](*operands)

    def mark_of(self, equation: Any) -> Mark | None:
        """Returns what a call in a jaxpr is marked as, if it is."""
        mark = self.marks.get(equation.params["name"])
        if mark is not None and mark.label:
            scope = str(equation.source_info.name_stack).rpartition("/")[2]
            mark = self.marks.get(scope, mark)
        return mark

    def note_call(
        self, mark: Mark, closed: Jaxpr, variables: Mapping[int, Any]
    ) -> None:
        """Remembers what a marked function was called with."""
        self.calls.setdefault(mark.label, Call(closed, mark, dict(variables)))

    def shared_constant(self, array: Array, dtype: str) -> SharedConstant | None:
        """Returns a large constant as functions share it; `None` if all is one number.

        Args:
            array: The constant.
            dtype: Its dtype.
        """
        array = np.ascontiguousarray(array, dtypes.from_name(dtype).numpy)
        key = dtype, array.shape, hashlib.blake2b(array.tobytes()).digest()
        if key not in self._shared:
            if splat(array).size != array.size:
                return None
            name = f"constant {len(self._shared)}"
            self.constants[name] = self._shared[key] = SharedConstant(
                name, array, dtype
            )
        return self._shared[key]

    # Afterwards

    def release(self) -> None:
        """Lets go of all but the library; nothing can be traced any more."""
        holders = (self.marks, self.calls, self._runs, self._cache, self._shared)
        for holder in holders:
            holder.clear()

    def add(
        self,
        jaxpr: Jaxpr,
        mark: Mark,
        variables: Mapping[int, Any],
        live: Sequence[bool],
    ) -> CalledFunction:
        """Writes a function into the library.

        Args:
            jaxpr: Closed jaxpr.
            mark: What its operands and results are.
            variables: Operands that are variables, and what they are known by.
            live: Which results somebody needs.
        """
        updates = {o: i for o, i in mark.updates.items() if i in variables}
        wanted = tuple(
            i
            for i in range(len(jaxpr.jaxpr.outvars))
            if i not in updates and (i in mark.outputs or live[i])
        )
        key = (id(jaxpr), frozenset(variables), wanted)
        if (known := self._cache.get(key)) is None:
            try:
                mark = replace(mark, updates=updates)
                known = self._write(jaxpr, mark, variables, wanted)
            except UnsupportedError:
                self.failed = self.failed or mark.label
                raise
            self._cache[key] = known
            # An id is only good as a key while its object lives.
            self._cache[(id(jaxpr), "alive")] = jaxpr
        captures = [variables[i] for i in known.operands if i in variables]
        captures += [self.constants[s] for s in known.symbols if s in self.constants]
        return replace(known, captures=tuple(captures))

    def _write(
        self,
        jaxpr: Jaxpr,
        mark: Mark,
        variables: Mapping[int, Any],
        wanted: tuple[int, ...],
    ) -> CalledFunction:
        graph = Graph(self)
        inner = jaxpr.jaxpr
        updates = {
            out: operand
            for out, operand in mark.updates.items()
            if inner.outvars[out] is not inner.invars[operand]
        }
        used = used_operands(inner, [*wanted, *updates])
        labels = dict(zip(mark.inputs, mark.input_names, strict=False))
        places = [*mark.inputs]
        places += [i for i in range(len(inner.invars)) if i not in mark.inputs]
        values: list[Any] = [None] * len(inner.invars)
        operands = []
        for i in places:
            aval = inner.invars[i].aval
            if i in variables and (i in used or i in updates.values()):
                shape = tuple(aval.shape)
                values[i] = graph.variable(
                    "unknown", dtype_of(aval), shape, variables[i]
                )
            elif i in mark.inputs or i in used:
                label = labels.get(i, "args" if i in mark.inputs else "unknown")
                values[i] = graph.argument(
                    label, graph.boundary(aval), tuple(aval.shape)
                )
            else:
                continue
            operands.append(i)
        results = graph.run(inner, jaxpr.consts, values, [*wanted, *updates])
        graph.write_back(
            (values[operand], results[out]) for out, operand in updates.items()
        )
        name = f"{mark.name}_layer_call_fn" if mark.label else mark.name
        function = graph.finish(name, [("identity", results[i]) for i in wanted])
        positions = {index: operands[index] for index in graph.written}
        return CalledFunction(
            name=self.library.add(function),
            operands=tuple(operands),
            variables=frozenset(i for i in operands if i in variables),
            written=frozenset(positions.values()),
            symbols=tuple(graph.passed_symbols),
            results=wanted,
            is_stateful=graph.is_stateful,
        )


def _named(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    def marked(*operands: Any) -> Any:
        return function(*operands)

    marked.__name__ = marked.__qualname__ = label
    return jax.jit(marked)


def trace(function: Callable[..., Any], *operands: Any) -> tuple[Jaxpr, Any]:
    """Returns the jaxpr of `function(*operands)` and the structure of its result."""
    jaxpr, shape = jax.make_jaxpr(function, return_shape=True)(*operands)
    return jaxpr, shape
