"""The functions of a graph, each made ready when it is first called."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from regraft.errors import LimitError, MismatchError
from regraft.graph import ir
from regraft.graph.op_defs import OpDefs
from regraft.graph.runtime import kernels
from regraft.graph.runtime.compiled import Compiler
from regraft.graph.runtime.context import (
    Context,
    KerasVariable,
    ResourceScope,
    Variable,
)
from regraft.graph.runtime.interpreter import run
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.known_values import may_need_values
from regraft.graph.runtime.named_calls import FunctionsByName
from regraft.graph.runtime.old_functions import plan_old_function
from regraft.graph.runtime.own_gradients import Gradients
from regraft.graph.runtime.plan import (
    Plan,
    has_old_control_flow,
    missing_ops,
    plan_function,
    raise_missing,
)

kernels.load_all()

# What one run may call where nobody says otherwise: minutes of calls that do nothing.
MAX_CALLS = 10_000_000


# A function that calls more is neither compiled nor traced anew: what comes of it would
# be as long as that.
MOST_TRACED_CALLS = 20_000


class FunctionLibrary:
    """Functions by name.

    Args:
        functions: Of the graph.
        op_defs: Signatures of ops that the file brings.
        resources: Tables and variables that functions make by name.
        max_calls: How many functions one run may call.
        gradients: What `tf.custom_gradient` named, by that name.
    """

    def __init__(
        self,
        functions: Mapping[str, ir.Function],
        op_defs: Mapping[str, ir.OpDef] | None = None,
        resources: ResourceScope | None = None,
        max_calls: int = MAX_CALLS,
        gradients: Gradients | None = None,
    ) -> None:
        self.max_calls = max_calls
        self._gradients = gradients or {}
        self._compiler: Compiler | None = None
        self.functions = FunctionsByName(functions)
        self.op_defs = OpDefs(op_defs)
        self.resources = ResourceScope() if resources is None else resources
        self._plans: dict[str, Plan] = {}
        self._checked: set[str] = set()
        self._expanded: dict[str, int] = {}
        self._generator: Any = None
        self._seed_resources: dict[int, KerasVariable] = {}

    @property
    def seed_generator(self) -> Any:
        """The generator that random ops draw from where a caller gives none."""
        if self._generator is None:
            self._generator = values.new_seed_generator()
        return self._generator

    def seed_resource(self, generator: Any) -> Variable:
        """Returns the state of a `keras.random.SeedGenerator` as a resource."""
        found = self._seed_resources.get(id(generator))
        if found is None or found.variable is not generator.state:
            found = KerasVariable(generator.state)
            self._seed_resources[id(generator)] = found
        return found

    def plan(self, name: str) -> Plan:
        """Returns a function ready to run.

        Raises:
            MismatchError: There is no such function.
            UnsupportedOpError: It needs ops that have no kernel.
        """
        found = self._plans.get(name)
        if found is None:
            self._require(name)
            self.check(name)
            found = self._plans[name] = self._planned(self.functions[name])
        return found

    def _planned(self, function: ir.Function) -> Plan:
        if not has_old_control_flow(function):
            return plan_function(function, self.op_defs, self._gradients)
        return plan_old_function(function, self)

    def add_plan(self, name: str, plan: Plan) -> None:
        """Adds what is ready already: parts of a main graph."""
        self._plans[name] = plan

    def _require(self, name: str) -> None:
        if name not in self.functions:
            raise MismatchError(f"The graph has no function '{name}'.")

    def missing_ops(self, name: str) -> dict[str, list[str]]:
        """Returns the ops without kernel that a function needs, with the users."""
        return missing_ops(self.functions, [name], self.op_defs)[0]

    def check(self, name: str) -> None:
        """Refuses a function that needs ops without kernel.

        Raises:
            UnsupportedOpError: It does; all of them are named.
        """
        if name in self._checked:
            return
        missing, seen = missing_ops(self.functions, [name], self.op_defs, self._checked)
        raise_missing(missing)
        self._checked |= seen

    def may_need_values(self, name: str) -> bool:
        """Whether a function may need values that no compiled step knows."""
        return any(may_need_values(self.plan(each)) for each in self._within(name))

    def draws_random_numbers(self, name: str) -> bool:
        """Whether a function, or one that it calls, draws random numbers."""
        return any(self.plan(current).random for current in self._within(name))

    def uses(self, name: str, ops: Collection[str]) -> bool:
        """Whether a function, or one that it calls, has a node of these ops."""
        return any(
            node.op in ops
            for current in self._within(name)
            for node in self.functions[current].nodes
        )

    def ops(self, name: str) -> list[str]:
        """Returns the op of each node of a function and of those that it calls."""
        return [
            node.op
            for current in self._within(name)
            for node in self.functions[current].nodes
        ]

    def expanded_calls(self, name: str) -> int:
        """How many calls a function makes in all, branches and bodies of loops once.

        Functions that call the next one twice make of a few a great many; the number
        is found by going through each once.
        """
        found = self._expanded
        called = {name: self._calls(name)}
        stack = [(name, iter(called[name]))]
        while stack:
            current, rest = stack[-1]
            below = next((n for n in rest if n not in called), None)
            if below is not None:
                called[below] = [] if below in found else self._calls(below)
                stack.append((below, iter(called[below])))
            else:
                # One that calls itself is stopped when it runs.
                total = sum(1 + found.get(n, 0) for n in called[current])
                found.setdefault(current, min(total, sys.maxsize))
                stack.pop()
        return found[name]

    def _calls_often(self, name: str) -> bool:
        """Whether a function is not compiled, for what it calls."""
        known = name in self.functions
        return known and self.expanded_calls(name) > MOST_TRACED_CALLS

    def _calls(self, name: str) -> list[str]:
        """The functions that a function's nodes name, as often as they do."""
        return [
            ref.name
            for node in self.functions[name].nodes
            for ref in ir.function_refs(node.attrs)
            if ref.name in self.functions
        ]

    def _within(self, name: str) -> Iterator[str]:
        """Yields a function and all that it calls, each once."""
        seen: set[str] = set()
        stack = [name]
        while stack:
            current = stack.pop()
            if current in seen or current not in self.functions:
                continue
            seen.add(current)
            yield current
            stack.extend(self.plan(current).functions)

    def context(self, seed_generator: Any = None) -> Context:
        """Returns a fresh context for one run."""
        return Context(self, self.resources, seed_generator)

    def run(self, plan: Plan, arguments: Sequence[Any], ctx: Context) -> list[Any]:
        """Runs a function that is ready."""
        return run(plan, arguments, ctx)

    def compile_calls(self) -> None:
        """Makes functions that a caller calls for their values run compiled."""
        self._compiler = Compiler(self)

    def compiled_parts(self, name: str) -> tuple[int, int]:
        """How many parts of a function are compiled by now, and how many are not.

        Nothing is compiled before a caller has called the function.
        """
        if self._compiler is None:
            return 0, 0
        return self._compiler.parts_of(self.plan(name))

    def call(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        captures: Sequence[Any],
        context: Context | None = None,
        seed_generator: Any = None,
    ) -> list[Any]:
        """Runs a function for a caller from outside of any run.

        Args:
            plan: The function.
            inputs: Values that change from call to call.
            captures: What belongs to the function: resources, constants.
            context: What the run may touch; a fresh one if not given.
            seed_generator: For that fresh context.
        """
        is_plain = context is None and seed_generator is None
        if self._compiler is not None and is_plain and not self._calls_often(plan.name):
            return self._compiler.run(plan, inputs, captures)
        ctx = context or self.context(seed_generator)
        return run(plan, [*inputs, *captures], ctx)

    def callable(self, name: str) -> GraphFunction:
        """Returns a function as something to call.

        Raises:
            MismatchError: There is no such function.
        """
        self._require(name)
        return GraphFunction(self, self.functions[name])


class GraphFunction:
    """A function of a library.

    Attributes:
        signature: Its arguments and results.
    """

    def __init__(self, library: FunctionLibrary, function: ir.Function) -> None:
        self.library = library
        self.signature = function.signature

    @property
    def name(self) -> str:
        return self.signature.name

    def check(self) -> None:
        """Refuses ops without kernel, before anything runs.

        Raises:
            UnsupportedOpError: There are any.
        """
        self.library.check(self.name)

    def draws_random_numbers(self) -> bool:
        """Whether it, or a function that it calls, draws random numbers."""
        return self.library.draws_random_numbers(self.name)

    def uses(self, ops: Collection[str]) -> bool:
        """Whether it, or a function that it calls, has a node of these ops."""
        return self.library.uses(self.name, ops)

    def ops(self) -> list[str]:
        """Returns the op of each of its nodes, and of functions that it calls."""
        return self.library.ops(self.name)

    def expanded_calls(self) -> int:
        """How many calls it makes in all, branches and bodies of loops once."""
        return self.library.expanded_calls(self.name)

    def may_need_values(self) -> bool:
        """Whether it may need values that no compiled step knows."""
        return self.library.may_need_values(self.name)

    def compiled_parts(self) -> tuple[int, int]:
        """How many parts of it are compiled by now, and how many the host runs."""
        return self.library.compiled_parts(self.name)

    def __call__(
        self,
        inputs: Sequence[Any],
        captures: Sequence[Any] = (),
        *,
        context: Context | None = None,
        seed_generator: Any = None,
    ) -> list[Any]:
        """Runs the function.

        Args:
            inputs: Flat arguments: arrays of any kind, numbers, text.
            captures: Flat captured values, which are the last arguments:
                resources, tables, arrays.
            context: What the run may touch; a fresh one if not given.
            seed_generator: For that fresh context.

        Returns:
            Flat results: backend tensors, or NumPy arrays where the value doesn't
            depend on a backend tensor or has a dtype that the backend lacks.
        """
        plan = self.library.plan(self.name)
        if len(inputs) + len(captures) != len(plan.arguments):
            raise MismatchError(
                f"Function '{self.name}' takes {len(plan.arguments)} arguments: "
                f"{', '.join(a.name for a in self.signature.inputs)}. "
                f"Received {len(inputs)} inputs and {len(captures)} captures."
            )
        given = [
            values.argument(value, arg.type.name)
            for value, arg in zip(inputs, self.signature.inputs, strict=False)
        ]
        if self.expanded_calls() > MOST_TRACED_CALLS and any(
            map(values.is_traced, given)
        ):
            raise LimitError(
                "A function calls others too often to be compiled",
                object_path=self.name,
                expected=f"at most {MOST_TRACED_CALLS} calls, branches and loops once",
                received=self.expanded_calls(),
            )
        return self.library.call(plan, given, captures, context, seed_generator)
