"""Which Python function computes which TensorFlow op.

A kernel's positional parameters are the inputs of the op, in order; its
keyword-only parameters are attributes of the op, without Python defaults: the
plan fills them from the op's signature. A first parameter `ctx` receives the
`Context` of the run; only stateful families and control flow have it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Kernel:
    """A row of the registry.

    Attributes:
        op: Name of the TensorFlow op.
        function: What computes it.
        inputs: Positional parameters (without `ctx`); `...` stands for any number.
        attrs: Keyword parameters.
        static: Inputs that must be known while tracing; they come as NumPy arrays.
        ignored: Attributes that make no difference here.
        takes_context: Whether the first parameter is the run's context.
        passthrough: Whether each output is the input at its place, unchanged.
        constant: Whether it has no inputs and always gives the same value.
        writes: Whether it changes a variable.
        random: Whether it draws random numbers.
        switches: Whether some of its results may be dead: not computed this time.
        merges: Whether it takes dead inputs.
        host: Whether it computes on NumPy values only (strings and tables).
        checks: Whether it looks at values that are known, to refuse them.
        calls: Whether its results are those of the function `f` of all its inputs.
        limits: What it cannot do, for the documentation.
    """

    op: str
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    attrs: tuple[str, ...]
    static: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    takes_context: bool = False
    passthrough: bool = False
    constant: bool = False
    writes: bool = False
    random: bool = False
    switches: bool = False
    merges: bool = False
    host: bool = False
    checks: bool = False
    calls: bool = False
    limits: str = ""


KERNELS: dict[str, Kernel] = {}


def register(
    op: str,
    function: Callable[..., Any],
    *,
    static: Iterable[str] = (),
    ignored: Iterable[str] = (),
    passthrough: bool = False,
    constant: bool = False,
    writes: bool = False,
    random: bool = False,
    switches: bool = False,
    merges: bool = False,
    host: bool = False,
    checks: bool = False,
    calls: bool = False,
    limits: str = "",
) -> None:
    """Adds a row.

    Raises:
        ValueError: The op has a kernel already, or `static` names no input.
    """
    if op in KERNELS:
        raise ValueError(f"{op} has two kernels.")
    parameters = inspect.signature(function).parameters.values()
    inputs = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    attrs = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    takes_context = bool(inputs) and inputs[0] == "ctx"
    inputs = inputs[takes_context:]
    unknown = set(static) - set(inputs)
    if unknown:
        raise ValueError(f"{op} has no inputs {sorted(unknown)}.")
    KERNELS[op] = Kernel(
        op=op,
        function=function,
        inputs=tuple(inputs),
        attrs=attrs,
        static=frozenset(inputs if host else static),
        ignored=frozenset(ignored),
        takes_context=takes_context,
        passthrough=passthrough,
        constant=constant,
        writes=writes,
        random=random,
        switches=switches,
        merges=merges,
        host=host,
        checks=checks,
        calls=calls,
        limits=limits,
    )


def kernel(*ops: str, **options: Any) -> Callable[[F], F]:
    """Makes the decorated function the kernel of `ops`; options as of `register`."""

    def add(function: F) -> F:
        for op in ops:
            register(op, function, **options)
        return function

    return add


def register_table(table: Mapping[str, Callable[..., Any]], **options: Any) -> None:
    """Adds a row per entry of a table of op names and functions."""
    for op, function in table.items():
        register(op, function, **options)
