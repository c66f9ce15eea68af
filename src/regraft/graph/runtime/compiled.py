"""Runs plans compiled, where that can be.

What TensorFlow would run as one graph, JAX should run as one computation. A plan is
cut into segments (`segments.py`); those of the device are compiled once per shapes of
their arguments. Variables are arguments and results of what is compiled, so that
reads and writes mean what they mean step by step. A segment that can't be compiled
runs step by step, and the step that was to blame is the host's from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from regraft.errors import LimitError, UnsupportedError
from regraft.graph.runtime.context import Context, KerasVariable, Variable
from regraft.graph.runtime.in_parts import in_parts, is_worth_it
from regraft.graph.runtime.interpreter import run
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.carry import plans_within
from regraft.graph.runtime.kernels.lists import TensorList
from regraft.graph.runtime.kernels.native import raw_native
from regraft.graph.runtime.plan import Plan
from regraft.graph.runtime.residuals import with_residuals_kept
from regraft.graph.runtime.segments import (
    Given,
    NotCompilableError,
    Segment,
    inlined,
    is_large,
    segments_of,
)
from regraft.graph.runtime.xla_options import compiler_options

if TYPE_CHECKING:
    from regraft.graph.runtime.library import FunctionLibrary

# How often a plan may be cut anew, each time with one more step for the host.
MAX_CUTS = 8
# Compiled forms of a segment that are kept; the eldest goes.
MAX_FORMS = 32
# Known values that are longer than this don't tell one compiled form from another.
MAX_KNOWN_BYTES = 1 << 14


class Compiler:
    """Runs the plans of a library, each compiled for the arguments it has seen.

    Args:
        library: Whose plans they are.
    """

    def __init__(self, library: FunctionLibrary) -> None:
        self._library = library
        self._functions: dict[int, _Function] = {}

    def run(
        self, plan: Plan, inputs: Sequence[Any], captures: Sequence[Any]
    ) -> list[Any]:
        """Runs a plan.

        Args:
            plan: What to run.
            inputs: Values that change from call to call.
            captures: Values and resources that belong to the function.
        """
        if not _is_called_for_values(inputs, captures):
            return run(plan, [*inputs, *captures], self._library.context())
        found = self._functions.get(id(plan))
        if found is None:
            found = self._functions[id(plan)] = _Function(self._library, plan)
        return found.run(inputs, captures)

    def parts_of(self, plan: Plan) -> tuple[int, int]:
        """How many parts of a plan are compiled by now, and how many are not."""
        found = self._functions.get(id(plan))
        return (0, 0) if found is None else found.count()


def _is_called_for_values(inputs: Sequence[Any], captures: Sequence[Any]) -> bool:
    """Whether nobody is tracing the call, so that there are values to compute."""
    if not values.may_compile():
        return False
    for value in inputs:
        if isinstance(value, keras.KerasTensor) or values.is_traced(value):
            return False
    return not any(
        isinstance(one, KerasVariable) and values.is_traced(one.read())
        for one in captures
    )


class _Function:
    """A plan and its segments, per kind of arguments."""

    def __init__(self, library: FunctionLibrary, plan: Plan) -> None:
        self._library = library
        self._plan = plan
        self._inlined: Plan | None = None
        self._on_host: set[int] = set()
        self._cuts: dict[tuple[Any, ...], _Cut] = {}
        self._gave_up = False

    def run(self, inputs: Sequence[Any], captures: Sequence[Any]) -> list[Any]:
        ctx = self._library.context()
        cut = None if self._gave_up else self._cut(inputs, captures, ctx)
        if cut is None:
            return run(self._plan, [*inputs, *captures], ctx)
        whole = cut.whole
        env = dict(cut.known)
        env.update(zip(whole.arguments, inputs, strict=False))
        for part in cut.parts:
            results = part.run([env[slot] for slot in part.segment.takes], ctx)
            env.update(zip(part.segment.gives, results, strict=True))
            if part.blamed is not None:
                self._blame(whole, part.blamed)
        return [env[slot] for slot in whole.results]

    def count(self) -> tuple[int, int]:
        parts = [part for cut in self._cuts.values() for part in cut.parts]
        compiled = sum(part.is_compiled for part in parts)
        return compiled, len(parts) - compiled

    def _cut(
        self, inputs: Sequence[Any], captures: Sequence[Any], ctx: Context
    ) -> _Cut | None:
        exact = tuple(isinstance(value, np.ndarray) for value in inputs)
        key = (exact, *map(id, captures))
        found = self._cuts.get(key)
        if found is not None:
            return found
        given = [Given(exact=one) for one in exact]
        given += [Given(value=value) for value in captures]
        try:
            if self._inlined is None:
                self._inlined = inlined(self._plan, ctx)
            segments = segments_of(self._inlined, given, ctx, frozenset(self._on_host))
        except NotCompilableError:
            self._gave_up = True
            return None
        whole = self._inlined
        known = dict(whole.constants)
        known.update(zip(whole.arguments[len(inputs) :], captures, strict=True))
        _move_to_device(known, segments)
        parts = [_Part(segment, self._library) for segment in segments]
        found = self._cuts[key] = _Cut(whole, parts, known, captures)
        return found

    def _blame(self, whole: Plan, outputs: tuple[int, ...]) -> None:
        """Makes the step that could not be compiled the host's, from now on."""
        numbers = [i for i, step in enumerate(whole.steps) if step.outputs == outputs]
        self._cuts.clear()
        if len(numbers) != 1 or len(self._on_host) >= MAX_CUTS:
            self._gave_up = True
        self._on_host.update(numbers)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A plan without calls, cut into segments.

    Attributes:
        whole: The plan.
        parts: Its segments.
        known: Values of slots that stay the same: constants and captures.
        captures: As the caller gave them.
    """

    whole: Plan
    parts: list[_Part]
    known: Mapping[int, Any]
    captures: Sequence[Any]


def _move_to_device(known: dict[int, Any], segments: Sequence[Segment]) -> None:
    """Makes large constants tensors once, not in each call."""
    host = {slot for one in segments if not one.on_device for slot in one.takes}
    for one in segments:
        for slot, fixed in zip(one.takes, one.fixed, strict=True):
            if not fixed and slot not in host and is_large(known.get(slot)):
                known[slot] = values.to_tensor(known[slot])


class _Rounds:
    """Counts the rounds of loops in a run of what is compiled."""

    dtype = "int32"
    shape = ()

    def read(self) -> Any:
        return np.int32(0)

    def assign(self, value: Any) -> None:
        """Does nothing: each run counts anew."""


class _Uncompilable(Exception):
    """A segment has values that compiled code can't take or give."""


@dataclass(slots=True)
class _Form:
    """A segment compiled for some arguments.

    Attributes:
        call: What is compiled, of tensors and of variables' values.
        variables: Whose values it takes.
        known: Results that are known without running, by place.
        written: Places of the variables whose new values are its last results.
        rounds: The one of them that counts rounds of loops.
        kept: What the form is found by, so that it isn't freed.
    """

    variables: list[Variable]
    kept: list[Any]
    rounds: Variable | None = None
    call: Callable[..., Any] | None = None
    known: dict[int, Any] = field(default_factory=dict)
    written: list[int] = field(default_factory=list)


class _Part:
    """A segment with its compiled forms.

    Attributes:
        segment: What it runs.
        blamed: Outputs of the step that could not be compiled, once one couldn't.
    """

    def __init__(self, segment: Segment, library: FunctionLibrary) -> None:
        self.segment = segment
        self.blamed: tuple[int, ...] | None = None
        self._library = library
        self._forms: dict[Any, _Form] = {}
        self._seen: set[Any] = set()
        plans = plans_within(library.context(), [segment.plan])
        self._random = segment.on_device and any(plan.random for plan in plans)
        self._options = compiler_options(plans) if segment.on_device else {}
        self._in_parts = segment.on_device and is_worth_it(plans)
        # Parts are in the caches: computing a sum again is cheaper than reading it.
        keep = segment.on_device and not self._in_parts
        self._compiles = with_residuals_kept(segment.plan) if keep else segment.plan

    @property
    def is_compiled(self) -> bool:
        return bool(self._forms)

    def run(self, arguments: list[Any], ctx: Context) -> list[Any]:
        """Runs the segment, compiled if it can be."""
        plan = self.segment.plan
        if not self.segment.on_device or self.blamed is not None:
            return run(plan, arguments, ctx)
        try:
            key, tensors = self._key(arguments)
        except (_Uncompilable, UnsupportedError):
            return run(plan, arguments, ctx)
        form = self._forms.get(key)
        if form is not None:
            return _called(form, tensors, ctx, plan)
        if self._forms and key not in self._seen:
            # Compiling for shapes that come once only is not worth it.
            self._seen.add(key)
            return run(plan, arguments, ctx)
        inner = self._library.context()
        form = self._form(arguments, ctx, inner)
        try:
            results = _called(form, tensors, ctx, plan)
        except LimitError:
            raise
        except Exception:  # Step by step, what is the graph's own fault comes again.
            results = run(plan, arguments, ctx)
            self.blamed = () if inner.failed is None else inner.failed.outputs
            return results
        if len(self._forms) >= MAX_FORMS:
            self._forms.pop(next(iter(self._forms)))
            self._seen.clear()
        self._forms[key] = form
        return results

    def _key(self, arguments: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Returns what decides how the segment is compiled, and its tensors.

        Raises:
            UnsupportedError: The device can't hold a value.
            _Uncompilable: Compiled code can't take one.
        """
        key: list[Any] = []
        tensors = []
        for value, fixed in zip(arguments, self.segment.fixed, strict=True):
            if not isinstance(value, np.ndarray) and not keras.ops.is_tensor(value):
                if isinstance(value, TensorList):
                    raise _Uncompilable
                key.append(id(value))
            elif fixed:
                key.append(_known_key(values.static(value)))
            else:
                tensor = values.to_tensor(value)
                tensors.append(tensor)
                key.append((tensor.shape, tensor.dtype))
        return tuple(key), tensors

    def _form(self, arguments: Sequence[Any], ctx: Context, inner: Context) -> _Form:
        plan = self._compiles
        fixed = self.segment.fixed
        is_tensor = [
            not known and (isinstance(value, np.ndarray) or keras.ops.is_tensor(value))
            for value, known in zip(arguments, fixed, strict=True)
        ]
        rest = [
            None if tensor else values.static(value)
            for value, tensor in zip(arguments, is_tensor, strict=True)
        ]
        held = {id(one): one for one in arguments if isinstance(one, KerasVariable)}
        variables: list[Variable] = list(held.values())
        if self._random:
            variables.append(ctx.seed_variable)
        form = _Form(variables, [value for value in rest if value is not None])
        if plan.functions:
            form.rounds = _Rounds()
            variables.append(form.rounds)

        def traced(tensors: Sequence[Any], state: Sequence[Any]) -> Any:
            given = iter(tensors)
            full = [
                next(given) if tensor else value
                for value, tensor in zip(rest, is_tensor, strict=True)
            ]
            scope = inner.scoped(dict(zip(variables, state, strict=True)))
            scope.rounds = form.rounds
            try:
                results = run(plan, full, scope)
            finally:
                inner.failed = scope.failed
            form.known.clear()
            out = []
            for place, result in enumerate(results):
                if keras.ops.is_tensor(result):
                    out.append(result)
                elif isinstance(result, TensorList):
                    raise _Uncompilable
                else:
                    form.known[place] = result
            after = [scope.read(one) for one in variables]
            form.written = [i for i, value in enumerate(after) if value is not state[i]]
            return out, [values.to_tensor(after[i]) for i in form.written]

        function = in_parts(traced) if self._in_parts else traced
        form.call = raw_native("jit")(function, compiler_options=self._options)
        return form


def _known_key(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype != object:
        if value.nbytes > MAX_KNOWN_BYTES:
            raise _Uncompilable
        return (value.shape, value.dtype.str, value.tobytes())
    if isinstance(value, np.ndarray) and value.size <= MAX_KNOWN_BYTES // 64:
        return (value.shape, tuple(value.reshape(-1).tolist()))
    raise _Uncompilable


def _called(form: _Form, tensors: Sequence[Any], ctx: Context, plan: Plan) -> list[Any]:
    if form.call is None:
        raise _Uncompilable
    state = [ctx.read(variable) for variable in form.variables]
    out, new = form.call(tensors, state)
    for place, value in zip(form.written, new, strict=True):
        if form.variables[place] is form.rounds and not values.is_traced(value):
            # As many as allowed: the loop was stopped, and has no result.
            stopped = int(value) >= ctx.budget.rounds
            ctx.budget.spend_many(plan, 2 * (int(value) + stopped))
    for place, value in zip(form.written, new, strict=True):
        ctx.assign(form.variables[place], value)
    given = iter(out)
    return [
        _copied(form.known[place]) if place in form.known else next(given)
        for place in range(len(out) + len(form.known))
    ]


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
