"""What a run may touch besides its arguments: variables, tables, random numbers."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from regraft import dtypes
from regraft.errors import LimitError, MismatchError, UnsupportedError
from regraft.graph import ir
from regraft.storage.tensor import StoredTensor

if TYPE_CHECKING:
    from regraft.graph.runtime.library import FunctionLibrary
    from regraft.graph.runtime.plan import Plan, Step


class Variable(Protocol):
    """A resource that holds one tensor."""

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> tuple[Any, ...]: ...

    def read(self) -> Any:
        """Returns the value now."""

    def assign(self, value: Any) -> None:
        """Replaces the value."""


class KerasVariable:
    """A `keras.Variable` as a resource; it obeys Keras' `StatelessScope`.

    Make the variable with `autocast=False`: a trace casts by itself.
    """

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    @property
    def dtype(self) -> str:
        return str(self.variable.dtype)

    @property
    def shape(self) -> tuple[Any, ...]:
        return tuple(self.variable.shape)

    @property
    def trainable(self) -> bool:
        """Whether gradients are taken with respect to it."""
        return bool(self.variable.trainable)

    def read(self) -> Any:
        return self.variable.value

    def assign(self, value: Any) -> None:
        self.variable.assign(value)


class HostVariable:
    """A variable that lives on the host: 64-bit numbers and strings stay exact."""

    def __init__(
        self, value: Any = None, *, dtype: str = "", shape: tuple[Any, ...] = ()
    ) -> None:
        self._value = value
        self._dtype = dtype
        self._shape = shape

    @property
    def dtype(self) -> str:
        return self._dtype

    @property
    def shape(self) -> tuple[Any, ...]:
        return self._shape if self._value is None else tuple(self._value.shape)

    @property
    def is_initialized(self) -> bool:
        return self._value is not None

    def read(self) -> Any:
        if self._value is None:
            raise MismatchError("A variable was read before it had a value.")
        return self._value

    def assign(self, value: Any) -> None:
        if (before := _before.get()) is not None:
            before.setdefault(self, self._value)
        self._value = value


# Values of host variables to which they return when what runs now is done.
_before: ContextVar[dict[HostVariable, Any] | None] = ContextVar(
    "_before", default=None
)


@contextmanager
def kept_on_the_host() -> Iterator[None]:
    """Undoes what functions write on the host: they are traced, not called."""
    values: dict[HostVariable, Any] = {}
    token = _before.set(values)
    try:
        yield
    finally:
        _before.reset(token)
        for variable, value in values.items():
            variable.assign(value)


class Table:
    """A lookup table: keys and values are NumPy scalars, or `bytes` for strings.

    Attributes:
        key_dtype: Of its keys.
        value_dtype: Of its values.
        value_shape: Of each value.
        entries: What it holds.
        filled: Whether it may be read; one that functions write always may.
        variable: A `keras.Variable` that stands for it where functions are traced;
            `None` where no function writes it.
    """

    def __init__(
        self,
        key_dtype: str,
        value_dtype: str,
        value_shape: tuple[int, ...] = (),
        *,
        filled: bool = True,
    ) -> None:
        self.key_dtype = key_dtype
        self.value_dtype = value_dtype
        self.value_shape = value_shape
        self.entries: dict[Any, Any] = {}
        self.filled = filled
        self.variable: Any = None

    def columns(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Returns all keys and their values."""
        self._check()
        rows = list(self.entries.values())
        keys = np.empty(len(rows), dtypes.from_name(self.key_dtype).numpy)
        keys[:] = list(self.entries)
        row_shape = np.shape(rows[0]) if rows else self.value_shape
        found = np.empty(
            (len(rows), *row_shape), dtypes.from_name(self.value_dtype).numpy
        )
        for index, row in enumerate(rows):
            found[index] = row
        return keys, found

    def insert(self, keys: Any, values: Any) -> None:
        """Adds entries; a row of values per key."""
        values = np.asarray(values)
        flat = np.asarray(keys).reshape(-1).tolist()
        rows = values.reshape(len(flat), *values.shape[np.ndim(keys) :])
        self.entries.update(zip(flat, rows, strict=True))
        self.filled = True

    def find(self, keys: Any, default: Any) -> np.ndarray[Any, Any]:
        """Returns the value of each key, `default` where there is none.

        Raises:
            MismatchError: Nothing filled the table, so that any answer is wrong.
        """
        self._check()
        keys = np.asarray(keys)
        default = np.asarray(default)
        row = default[()]  # of an array without dimensions what it holds
        rows = [self.entries.get(key, row) for key in keys.reshape(-1).tolist()]
        row_shape = np.shape(rows[0]) if rows else default.shape
        out = np.empty((len(rows), *row_shape), default.dtype)
        for index, found in enumerate(rows):
            out[index] = found
        return out.reshape((*keys.shape, *row_shape))

    def remove(self, keys: Any) -> None:
        """Removes entries; keys that are not there don't matter."""
        for key in np.asarray(keys).reshape(-1).tolist():
            self.entries.pop(key, None)

    def _check(self) -> None:
        if not self.filled:
            raise MismatchError(
                "A lookup table was read that nothing in the file has filled."
            )


class ResourceScope:
    """The resources that a SavedModel makes by name, and what it reads them from.

    Args:
        assets: Contents of asset files by name.
        tensors: The checkpoint's tensors by key, for a main graph's restore op.
    """

    def __init__(
        self,
        assets: Mapping[str, bytes] | None = None,
        tensors: Mapping[str, StoredTensor] | None = None,
    ) -> None:
        self.assets: Mapping[str, bytes] = assets or {}
        self.tensors: Mapping[str, StoredTensor] = {} if tensors is None else tensors
        self.variables: dict[str, Variable] = {}
        self.tables: dict[str, Table] = {}


class Dead(enum.Enum):
    """The value of what a conditional of TensorFlow 1 did not compute."""

    DEAD = "dead"


DEAD = Dead.DEAD


@dataclass(frozen=True, slots=True)
class Call:
    """What a kernel returns when its results are those of a function."""

    plan: Plan
    arguments: Sequence[Any]


@dataclass
class Budget:
    """How many function calls one run may still make.

    Loops and functions that call one another are a file's word: without a bound a
    file of some hundred bytes could run for ever.

    Attributes:
        limit: The most.
        spent: Those made so far.
    """

    limit: int
    spent: int = 0

    def spend(self, plan: Plan) -> None:
        """Counts one call.

        Raises:
            LimitError: It is one too many.
        """
        self.spend_many(plan, 1)

    def spend_many(self, plan: Plan | None, count: int) -> None:
        """Counts calls, or elements of pipelines.

        Raises:
            LimitError: They are too many.
        """
        self.spent += count
        if self.spent > self.limit:
            raise LimitError(
                "A run calls functions, or goes round loops, too often",
                object_path=None if plan is None else plan.name,
                expected=f"at most {self.limit} calls, two for each round of a loop "
                "(LoadOptions.max_function_calls)",
            )

    @property
    def rounds(self) -> int:
        """How many rounds of loops what is compiled may go."""
        return min(self.limit // 2, (1 << 31) - 2)


class Context:
    """What the kernels of a run may touch.

    Args:
        library: Where functions are found by name.
        resources: Resources that are made by name.
        seed_generator: A `keras.random.SeedGenerator` that random ops draw from;
            one of the library's own if it is not given.
        budget: Shared with the run that this one is a part of.
    """

    def __init__(
        self,
        library: FunctionLibrary,
        resources: ResourceScope | None = None,
        seed_generator: Any = None,
        budget: Budget | None = None,
    ) -> None:
        self.library = library
        self.budget = budget or Budget(library.max_calls)
        self.resources = ResourceScope() if resources is None else resources
        self._generator = seed_generator
        self._held: dict[Any, Any] = {}
        self._scoped = False
        self.depth = 0
        # The step of the outermost plan that a run in this context failed at.
        self.failed: Step | None = None
        # Counts the rounds of loops that are compiled, where a run wants to know.
        self.rounds: Variable | None = None

    @property
    def seed_variable(self) -> Variable:
        """The state of the random generator, as a resource."""
        if self._generator is None:
            self._generator = self.library.seed_generator
        return self.library.seed_resource(self._generator)

    def scoped(self, values: Mapping[Any, Any]) -> Context:
        """Returns a context in which these variables have values of their own.

        A loop or branch that is being traced runs in one: what it writes must
        leave it as a result, not by assignment.
        """
        inner = Context(self.library, self.resources, self._generator, self.budget)
        inner._held = dict(values)
        inner._scoped = True
        inner.depth = self.depth
        inner.rounds = self.rounds
        return inner

    def read(self, variable: Variable) -> Any:
        """Returns the value of a variable in this scope."""
        if variable in self._held:
            return self._held[variable]
        return variable.read()

    def assign(self, variable: Variable, value: Any) -> None:
        """Replaces the value of a variable in this scope."""
        if not self._scoped:
            variable.assign(value)
        elif variable in self._held:
            self._held[variable] = value
        else:
            raise UnsupportedError(
                "A loop or branch writes a variable that is none of its arguments."
            )

    def plan(self, ref: ir.FunctionRef) -> Plan:
        """Returns the function of a call."""
        return self.library.plan(ref.name)

    def call(self, plan: Plan, arguments: Sequence[Any]) -> list[Any]:
        """Runs a function now."""
        self.budget.spend(plan)
        self.depth += 1
        try:
            if self.depth > 64:
                raise UnsupportedError(
                    f"Control flow is nested more than 64 deep, in '{plan.name}'."
                )
            return self.library.run(plan, arguments, self)
        finally:
            self.depth -= 1
