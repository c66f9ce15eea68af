"""Which Python function writes down which JAX primitive.

A lowering's first parameter is the graph under construction, the next ones are the
primitive's operands as `Value`s, its keyword-only parameters are those of the
primitive's parameters that it reads. It returns the results.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Lowering:
    """A row of the registry.

    Attributes:
        function: What writes the primitive down.
        params: Names of the parameters that it reads.
        ignored: Names of those that make no difference in TensorFlow.
    """

    function: Callable[..., Any]
    params: tuple[str, ...]
    ignored: frozenset[str]


LOWERINGS: dict[str, Lowering] = {}

# Computations of several primitives that TensorFlow has one op for, by name. Whoever
# traces marks them; see `tracer.Tracing.composite`.
COMPOSITES: dict[str, Lowering] = {}

NOT_LOWERED: dict[str, str] = {
    "all_gather": "between devices",
    "all_to_all": "between devices",
    "axis_index": "between devices",
    "pmax": "between devices",
    "pmin": "between devices",
    "xla_pmap": "between devices, up to JAX 0.7",
    "zeros_like": "of symbolic zeros only, up to JAX 0.7",
    "ppermute": "between devices",
    "psum": "between devices",
    "debug_callback": "runs Python",
    "io_callback": "runs Python",
    "pure_callback": "runs Python",
    "hessenberg": "TensorFlow has no such op",
    "schur": "TensorFlow has no such op",
    "tridiagonal": "TensorFlow has no such op",
    "random_gamma_grad": "only in derivatives",
    "igamma_grad_a": "only in derivatives",
    "select_and_scatter_add": "only in derivatives",
    "select_and_gather_add": "only in derivatives",
    "rng_uniform": "deprecated in JAX",
    "infeed": "TPU",
    "outfeed": "TPU",
    "approx_top_k": "TPU",
    "after_all": "orders effects that TensorFlow orders itself",
    "create_token": "orders effects that TensorFlow orders itself",
    "get": "reads JAX's mutable references",
    "swap": "writes JAX's mutable references",
    "empty2": "makes JAX's mutable references",
    "ragged_all_to_all": "between devices",
    "reduce": "reduces with a function; TensorFlow has no such op",
    "reduce_window": "reduces with a function; TensorFlow has no such op",
    "select_and_scatter": "only in derivatives",
}


def _register(
    table: dict[str, Lowering], names: tuple[str, ...], ignored: tuple[str, ...]
) -> Callable[[F], F]:
    def add(function: F) -> F:
        parameters = inspect.signature(function).parameters.values()
        params = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        for name in names:
            if name in table:
                raise ValueError(f"'{name}' has two lowerings.")
            table[name] = Lowering(function, params, frozenset(ignored))
        return function

    return add


def lowering(*primitives: str, ignored: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Makes the decorated function the lowering of `primitives`."""
    return _register(LOWERINGS, primitives, ignored)


def composite(*names: str) -> Callable[[F], F]:
    """Makes the decorated function the lowering of marked computations.

    It returns `None` where TensorFlow's op can't do it; then the primitives that the
    computation is made of are lowered.
    """
    return _register(COMPOSITES, names, ())
