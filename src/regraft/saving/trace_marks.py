"""What the marks of Keras' functions share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from regraft.graph.tracing.tracer import Tracing

Function = Callable[..., Any]


def is_float(*arrays: Any) -> bool:
    """Whether all are arrays of floating point numbers."""
    return all(
        isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)
        for x in arrays
    )


def like_first(x: Any, *rest: Any) -> list[tuple[Any, Any]]:
    """Says that there is one result, like the first operand."""
    return [(x.shape, x.dtype)]


def in_a_tuple(run: Function) -> Function:
    """Returns a function that gives its one result in a tuple."""
    return lambda *operands: (run(*operands),)


def alike(
    tracing: Tracing, name: str, run: Function, *operands: Any, **params: Any
) -> Any:
    """Marks what gives one array like its first operand."""
    runs = in_a_tuple(run)
    return tracing.known_composite(name, runs, like_first, *operands, **params)[0]
